"""Running code writes the old value."""

from alembic import op

revision = "enum_value_renamed"
down_revision = "account_kind_type"

databases = ("postgresql",)
codes = ("enum-value",)


def upgrade():
    op.execute("ALTER TYPE account_kind RENAME VALUE 'pro' TO 'plus'")


def downgrade():
    op.execute("ALTER TYPE account_kind RENAME VALUE 'plus' TO 'pro'")
