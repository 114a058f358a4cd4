"""One statement writes, and locks, every row of the table."""

import sqlalchemy as sa
from alembic import op

revision = "backfill_of_all_rows"
down_revision = "base0"

databases = ("mysql", "mariadb", "postgresql")
codes = ("unbounded-data-change",)


def upgrade():
    op.add_column("account", sa.Column("plan", sa.String(20), nullable=True))
    account = sa.table("account", sa.column("plan", sa.String))
    op.execute(account.update().values(plan=op.inline_literal("free")))


def downgrade():
    with op.batch_alter_table("account") as batch_op:
        batch_op.drop_column("plan")
