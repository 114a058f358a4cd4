"""Existing rows, and those that running code inserts, get the default without a rewrite."""

import sqlalchemy as sa
from alembic import op

revision = "not_null_with_default"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")


def upgrade():
    op.add_column("account", sa.Column("is_locked", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("account", sa.Column("currency", sa.String(3), server_default=sa.text("'EUR'"), nullable=False))


def downgrade():
    with op.batch_alter_table("account") as batch_op:
        batch_op.drop_column("currency")
        batch_op.drop_column("is_locked")
