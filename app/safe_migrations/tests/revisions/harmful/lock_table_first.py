"""The lock blocks reads of the table until the revision is done."""

from alembic import op

revision = "lock_table_first"
down_revision = "base0"

databases = ("postgresql",)
codes = ("lock-heavy-command",)


def upgrade():
    op.execute("""
        LOCK TABLE account IN ACCESS EXCLUSIVE MODE;

        UPDATE account SET status = 'dormant'
        WHERE balance = 0 AND status IS NULL;
    """)


def downgrade():
    pass
