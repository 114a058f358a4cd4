"""Fails: SQLite has no ALTER COLUMN."""

import sqlalchemy as sa
from alembic import op

revision = "type_change_outside_batch"
down_revision = "base0"

databases = ("sqlite",)
codes = ("constraint-outside-batch",)


def upgrade():
    op.alter_column('note', 'title',
           existing_type=sa.VARCHAR(length=200),
           type_=sa.Text(),
           existing_nullable=True)


def downgrade():
    op.alter_column('note', 'title',
           existing_type=sa.Text(),
           type_=sa.VARCHAR(length=200),
           existing_nullable=True)
