"""Add account.number and a unique index."""

import sqlalchemy as sa
from alembic import op

revision = "account_number_index"
down_revision = "base0"


def upgrade():
    op.add_column("account", sa.Column("number", sa.Integer(), nullable=True))
    with op.get_context().autocommit_block():
        op.create_index("uq_account_number", "account", ["number"], unique=True, postgresql_concurrently=True)


def downgrade():
    op.drop_column("account", "number")
