"""Fails on the account that has no status."""

import sqlalchemy as sa
from alembic import op

revision = "set_not_null_generated"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("set-not-null", "set-not-null-scans")


def upgrade():
    with op.batch_alter_table('account', schema=None) as batch_op:
        batch_op.alter_column('status',
               existing_type=sa.VARCHAR(length=20),
               nullable=False)


def downgrade():
    with op.batch_alter_table('account', schema=None) as batch_op:
        batch_op.alter_column('status',
               existing_type=sa.VARCHAR(length=20),
               nullable=True)
