"""Fails: CONCURRENTLY cannot run inside a transaction block."""

import sqlalchemy as sa
from alembic import op

revision = "concurrently_in_transaction"
down_revision = "base0"

databases = ("postgresql",)
codes = ("concurrently-in-transaction",)


def upgrade():
    op.create_index(
        "ix_note_title_lower", "note", [sa.text("lower(title)")], unique=False, postgresql_concurrently=True
    )


def downgrade():
    op.drop_index("ix_note_title_lower", table_name="note", postgresql_concurrently=True)
