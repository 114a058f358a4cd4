"""Running code uses the old name."""

from alembic import op

revision = "change_column_in_sql"
down_revision = "base0"

databases = ("mysql", "mariadb")
codes = ("rename-column",)


def upgrade():
    op.execute("ALTER TABLE `account` CHANGE COLUMN `status` `state` VARCHAR(20) NULL")


def downgrade():
    op.execute("ALTER TABLE `account` CHANGE COLUMN `state` `status` VARCHAR(20) NULL")
