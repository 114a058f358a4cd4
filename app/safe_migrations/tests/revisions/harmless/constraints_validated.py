"""Comparing the rows does not block writes."""

from alembic import op

revision = "constraints_validated"
down_revision = "constraints_not_valid"

databases = ("postgresql",)

UNVALIDATED = [
    ("account", "ck_account_balance_bounds"),
    ("note", "fk_note_author_id_user"),
]


def upgrade():
    for table, constraint in UNVALIDATED:
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {constraint}")


def downgrade():
    pass  # a constraint that is valid does no harm
