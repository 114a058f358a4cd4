"""Fails on a table with rows, or (MySQL, MariaDB) gives them '' and refuses what running code inserts."""

import sqlalchemy as sa
from alembic import op

revision = "not_null_without_default"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("add-not-null-column",)


def upgrade():
    op.add_column('account', sa.Column('currency', sa.String(length=3), nullable=False))


def downgrade():
    op.drop_column('account', 'currency')
