"""The rows are lost, and those of every table that refers to them."""

import sqlalchemy as sa
from alembic import op

revision = "truncate_in_loop"
down_revision = "base0"

databases = ("postgresql",)
codes = ("unbounded-data-change", "lock-heavy-command", "raw-sql")

TABLES = ("note", "account")


def upgrade():
    conn = op.get_bind()
    for table in TABLES:
        conn.execute(sa.text(f'TRUNCATE TABLE "{table}" RESTART IDENTITY CASCADE'))


def downgrade():
    pass
