"""'active' is not a number: an error on the servers, 0 on SQLite."""

import sqlalchemy as sa
from alembic import op

revision = "varchar_to_integer"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("change-type", "alter-copies-table")


def upgrade():
    with op.batch_alter_table('account') as batch_op:
        batch_op.alter_column(
            'status',
            existing_type=sa.String(length=20),
            type_=sa.Integer(),
            existing_nullable=True,
            postgresql_using='status::integer',
        )


def downgrade():
    with op.batch_alter_table('account') as batch_op:
        batch_op.alter_column(
            'status', existing_type=sa.Integer(), type_=sa.String(length=20), existing_nullable=True
        )
