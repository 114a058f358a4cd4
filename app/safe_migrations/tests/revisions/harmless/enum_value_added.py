"""Existing values stay the same."""

from alembic import op

revision = "enum_value_added"
down_revision = "account_kind_type"

databases = ("postgresql",)


def upgrade():
    with op.get_context().autocommit_block():
        for value in ("team", "enterprise"):
            op.execute(f"ALTER TYPE account_kind ADD VALUE IF NOT EXISTS '{value}'")


def downgrade():
    """PostgreSQL cannot remove a value of an enum."""
