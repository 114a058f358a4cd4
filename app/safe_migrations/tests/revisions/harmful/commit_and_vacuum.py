"""VACUUM fails because psycopg begins a transaction again, and the commit stays; VACUUM FULL would block reads."""

from alembic import op

revision = "commit_and_vacuum"
down_revision = "base0"

databases = ("postgresql",)
codes = ("transaction-control", "lock-heavy-command")


def upgrade():
    # VACUUM cannot run inside a transaction block
    op.execute("COMMIT")
    op.execute("VACUUM FULL account")


def downgrade():
    pass
