"""Add account.parent_id."""

import sqlalchemy as sa
from alembic import op

revision = "account_parent_id"
down_revision = "base0"


def upgrade():
    op.add_column("account", sa.Column("parent_id", sa.Integer(), nullable=True))


def downgrade():
    op.drop_column("account", "parent_id")
