"""The rows are lost, and running code reads the tables."""

from alembic import op

revision = "drop_tables_in_loop"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("drop-table",)

OBSOLETE = ["account", "note"]


def upgrade():
    for name in reversed(OBSOLETE):
        op.drop_table(name)


def downgrade():
    raise NotImplementedError('restore the backup')
