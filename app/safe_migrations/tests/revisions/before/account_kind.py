"""Add account.kind, with a default."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "account_kind"
down_revision = "base0"


def upgrade():
    op.add_column(
        "account", sa.Column("kind", mysql.ENUM("basic", "pro"), server_default=sa.text("'basic'"), nullable=False)
    )


def downgrade():
    op.drop_column("account", "kind")
