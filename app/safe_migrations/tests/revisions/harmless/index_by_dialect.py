"""Building the index does not block writes; SQLite has no other way."""

from alembic import op

revision = "index_by_dialect"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")


def upgrade():
    if op.get_bind().dialect.name == "postgresql":
        with op.get_context().autocommit_block():
            op.create_index("ix_note_title", "note", ["title"], postgresql_concurrently=True)
    else:
        op.create_index("ix_note_title", "note", ["title"])


def downgrade():
    if op.get_bind().dialect.name == "postgresql":
        with op.get_context().autocommit_block():
            op.drop_index("ix_note_title", table_name="note", postgresql_concurrently=True)
    else:
        op.drop_index("ix_note_title", table_name="note")
