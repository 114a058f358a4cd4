"""Running code uses the old name."""

from alembic import op

revision = "rename_table_in_sql"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("rename-table",)


def upgrade():
    op.execute("ALTER TABLE note RENAME TO notes")


def downgrade():
    op.execute("ALTER TABLE notes RENAME TO note")
