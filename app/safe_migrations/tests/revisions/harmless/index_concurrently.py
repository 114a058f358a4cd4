"""Building the index does not block writes."""

from alembic import op

revision = "index_concurrently"
down_revision = "base0"

databases = ("postgresql",)


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index(
            op.f("ix_account_status"), "account", ["status"], postgresql_concurrently=True, if_not_exists=True
        )
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_note_title_lower ON public.note (lower(title))")


def downgrade():
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS public.ix_note_title_lower")
        op.drop_index(
            op.f("ix_account_status"), table_name="account", postgresql_concurrently=True, if_exists=True
        )
