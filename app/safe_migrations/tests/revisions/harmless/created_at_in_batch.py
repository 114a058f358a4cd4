"""All rows get one time: PostgreSQL, MySQL and MariaDB do not rewrite them, and SQLite rebuilds the table."""

import sqlalchemy as sa
from alembic import op

revision = "created_at_in_batch"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")


def upgrade():
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.add_column(
            sa.Column('created_at', sa.DateTime(), server_default=sa.text('CURRENT_TIMESTAMP'), nullable=False)
        )


def downgrade():
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.drop_column('created_at')
