"""The tables, which are in latin1, are copied, which blocks writes."""

from alembic import op

revision = "convert_tables_in_loop"
down_revision = "tables_in_latin1"

databases = ("mysql", "mariadb")
codes = ("alter-copies-table",)

CHARSET = "utf8mb4"


def upgrade():
    for table in ("user", "account", "note"):
        op.execute(f"ALTER TABLE `{table}` CONVERT TO CHARACTER SET {CHARSET} COLLATE {CHARSET}_unicode_ci")


def downgrade():
    pass
