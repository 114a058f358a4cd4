"""No running code uses the new tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "table_in_other_schema"
down_revision = "base0"

databases = ("postgresql",)

SCHEMA = "audit"


def upgrade():
    op.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ix_event_at", "event", ["at"], schema=SCHEMA)
    op.create_index("ix_event_payload", "event", ["payload"], schema=SCHEMA, postgresql_using="gin")
    op.execute(f"COMMENT ON TABLE {SCHEMA}.event IS 'who did what; rows are never updated'")


def downgrade():
    op.drop_table("event", schema=SCHEMA)
    op.execute(f"DROP SCHEMA {SCHEMA}")
