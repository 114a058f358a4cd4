"""The server refuses ALGORITHM=INSTANT if the change would take time."""

from alembic import op

revision = "instant_column"
down_revision = "base0"

databases = ("mysql", "mariadb")


def upgrade():
    sql = """
        ALTER TABLE `account`
        ADD COLUMN `closed_by` bigint DEFAULT NULL COMMENT 'who closed it; DROP COLUMN when unused',
        ALGORITHM=INSTANT
    """
    op.execute(sql)


def downgrade():
    sql = """
        ALTER TABLE `account`
        DROP COLUMN `closed_by`
    """
    op.execute(sql)
