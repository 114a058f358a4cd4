"""The values are lost, and running code selects the columns."""

import sqlalchemy as sa
from alembic import op

revision = "drop_column_if_it_is_there"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("drop-column", "not-inspectable")


def drop_column_if_exists(table_name, column_name):
    inspector = sa.inspect(op.get_bind())
    columns = {column["name"] for column in inspector.get_columns(table_name)}
    if column_name in columns:
        with op.batch_alter_table(table_name) as batch_op:
            batch_op.drop_column(column_name)


def upgrade():
    for table, column in (("account", "created_at"), ("note", "body")):
        drop_column_if_exists(table, column)


def downgrade():
    op.add_column("account", sa.Column("created_at", sa.DateTime(), nullable=True))
    op.add_column("note", sa.Column("body", sa.Text(), nullable=True))
