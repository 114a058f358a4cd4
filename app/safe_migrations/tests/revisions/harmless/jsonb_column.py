"""The default is constant: no row is rewritten."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "jsonb_column"
down_revision = "base0"

databases = ("postgresql",)


def upgrade():
    op.add_column(
        "note",
        sa.Column(
            "meta",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
    )
    op.add_column("note", sa.Column("tags", postgresql.ARRAY(sa.String()), server_default="{}", nullable=False))


def downgrade():
    op.drop_column("note", "tags")
    op.drop_column("note", "meta")
