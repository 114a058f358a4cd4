"""Add account.parent_id, an index and a foreign key."""

import sqlalchemy as sa
from alembic import op

revision = "account_parent"
down_revision = "base0"


def upgrade():
    op.add_column("account", sa.Column("parent_id", sa.Integer(), nullable=True))
    op.create_index("ix_account_parent_id", "account", ["parent_id"])
    op.create_foreign_key("fk_account_parent_id_account", "account", "account", ["parent_id"], ["id"])


def downgrade():
    op.drop_constraint("fk_account_parent_id_account", "account", type_="foreignkey")
    op.drop_index("ix_account_parent_id", table_name="account")
    op.drop_column("account", "parent_id")
