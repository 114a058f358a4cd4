"""Running code uses the old name."""

import sqlalchemy as sa
from alembic import op

revision = "rename_column_in_batch"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("rename-column",)


def upgrade():
    with op.batch_alter_table("note") as batch_op:
        batch_op.alter_column(
            "title", new_column_name="subject", existing_type=sa.String(length=200), existing_nullable=True
        )


def downgrade():
    with op.batch_alter_table("note") as batch_op:
        batch_op.alter_column(
            "subject", new_column_name="title", existing_type=sa.String(length=200), existing_nullable=True
        )
