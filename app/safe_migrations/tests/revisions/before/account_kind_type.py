"""Add account.kind, an enum type."""

from alembic import op

revision = "account_kind_type"
down_revision = "base0"


def upgrade():
    op.execute("CREATE TYPE account_kind AS ENUM ('basic', 'pro')")
    op.execute("ALTER TABLE account ADD COLUMN kind account_kind DEFAULT 'basic'")


def downgrade():
    op.drop_column("account", "kind")
    op.execute("DROP TYPE account_kind")
