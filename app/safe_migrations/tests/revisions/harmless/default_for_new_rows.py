"""No existing row changes."""

import sqlalchemy as sa
from alembic import op

revision = "default_for_new_rows"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")


def upgrade():
    with op.batch_alter_table("account") as batch_op:
        batch_op.alter_column(
            "status",
            existing_type=sa.String(length=20),
            existing_nullable=True,
            server_default=sa.text("'new'"),
        )


def downgrade():
    with op.batch_alter_table("account") as batch_op:
        batch_op.alter_column(
            "status",
            existing_type=sa.String(length=20),
            existing_nullable=True,
            existing_server_default=sa.text("'new'"),
            server_default=None,
        )
