"""Every status is overwritten."""

from alembic import op

revision = "update_with_where_in_comment"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("unbounded-data-change",)


def upgrade():
    op.execute(
        """
        UPDATE account
        SET status = 'active'
        -- WHERE status IS NULL
        """
    )


def downgrade():
    pass
