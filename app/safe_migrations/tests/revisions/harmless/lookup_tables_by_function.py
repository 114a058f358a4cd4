"""No running code uses the new tables."""

import sqlalchemy as sa
from alembic import op

revision = "lookup_tables_by_function"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")

LOOKUPS = {
    "country": ["Austria", "Germany"],
    "reason": ["moved", "DROP", "other"],
}


def _create_lookup(name, labels):
    """Creates a lookup table with an index, and fills it."""
    table = op.create_table(
        name,
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("label", sa.String(80), nullable=False),
    )
    op.create_index(f"ix_{name}_label", name, ["label"], unique=True)
    op.bulk_insert(table, [{"label": label} for label in labels])


def upgrade():
    for name, labels in LOOKUPS.items():
        _create_lookup(name, labels)


def downgrade():
    for name in LOOKUPS:
        op.drop_index(f"ix_{name}_label", table_name=name)
        op.drop_table(name)
