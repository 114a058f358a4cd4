"""Only the definitions change."""

import sqlalchemy as sa
from alembic import op

revision = "nullable_columns_in_loop"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")

TABLES = ["account", "note"]


def upgrade():
    for table_name in TABLES:
        op.add_column(table_name, sa.Column("deleted_at", sa.DateTime(), nullable=True))
        op.add_column(table_name, sa.Column("deleted_by", sa.Integer(), nullable=True))


def downgrade():
    for table_name in reversed(TABLES):
        with op.batch_alter_table(table_name) as batch_op:
            batch_op.drop_column("deleted_by")
            batch_op.drop_column("deleted_at")
