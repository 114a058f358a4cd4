"""The index exists: no row is read."""

from alembic import op

revision = "constraint_from_index"
down_revision = "account_number_index"

databases = ("postgresql",)


def upgrade():
    op.execute("""
        ALTER TABLE account
            ADD CONSTRAINT uq_account_number UNIQUE USING INDEX uq_account_number
    """)


def downgrade():
    op.drop_constraint("uq_account_number", "account", type_="unique")
