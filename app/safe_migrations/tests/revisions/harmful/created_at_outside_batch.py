"""Fails: SQLite cannot add a column with a default that is not constant."""

import sqlalchemy as sa
from alembic import op

revision = "created_at_outside_batch"
down_revision = "base0"

databases = ("sqlite",)
codes = ("add-column-limits",)


def upgrade():
    op.add_column('note', sa.Column('created_at', sa.DateTime(), server_default=sa.func.now(), nullable=False))


def downgrade():
    op.drop_column('note', 'created_at')
