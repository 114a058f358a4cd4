"""The table is rewritten, which blocks reads."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "uuid_for_every_row"
down_revision = "base0"

databases = ("postgresql",)
codes = ("volatile-default-rewrites",)


def upgrade():
    op.add_column(
        "account",
        sa.Column(
            "public_id", postgresql.UUID(as_uuid=True), server_default=sa.text("gen_random_uuid()"), nullable=False
        ),
    )


def downgrade():
    op.drop_column("account", "public_id")
