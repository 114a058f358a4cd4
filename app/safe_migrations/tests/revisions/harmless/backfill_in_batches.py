"""Only rows without a title change, some at a time."""

import sqlalchemy as sa
from alembic import op

revision = "backfill_in_batches"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")

BATCH_SIZE = 1000


def upgrade():
    conn = op.get_bind()
    last = conn.execute(sa.text("SELECT COALESCE(MAX(id), 0) FROM note")).scalar()
    for low in range(0, last, BATCH_SIZE):
        conn.execute(
            sa.text("UPDATE note SET title = :title WHERE title IS NULL AND id > :low AND id <= :high"),
            {"title": "Untitled", "low": low, "high": low + BATCH_SIZE},
        )


def downgrade():
    pass
