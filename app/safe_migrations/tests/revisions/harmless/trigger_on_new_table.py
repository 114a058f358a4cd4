"""The function deletes rows later, from a table that no running code uses."""

import sqlalchemy as sa
from alembic import op

revision = "trigger_on_new_table"
down_revision = "base0"

databases = ("postgresql",)


def upgrade():
    op.create_table(
        "visit",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )
    op.execute("""
        CREATE OR REPLACE FUNCTION forget_visits() RETURNS trigger AS $$
        BEGIN
            -- UPDATE visit SET at = NULL would do as well
            DELETE FROM visit WHERE at < now() - interval '90 days';
            RETURN NULL;
        END;
        $$ LANGUAGE plpgsql;
    """)
    op.execute("""
        CREATE TRIGGER forget_visits AFTER INSERT ON visit
        FOR EACH STATEMENT EXECUTE FUNCTION forget_visits()
    """)


def downgrade():
    op.execute("DROP TRIGGER IF EXISTS forget_visits ON visit")
    op.execute("DROP FUNCTION IF EXISTS forget_visits()")
    op.drop_table("visit")
