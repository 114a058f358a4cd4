"""Add account.kind, with values."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "account_kind_of_rows"
down_revision = "base0"


def upgrade():
    op.add_column("account", sa.Column("kind", mysql.ENUM("basic", "pro"), nullable=True))
    op.execute("UPDATE account SET kind = 'pro' WHERE balance > 0")


def downgrade():
    op.drop_column("account", "kind")
