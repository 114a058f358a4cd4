"""A validated CHECK proves that no title is NULL: no row is read (PostgreSQL 12)."""

import sqlalchemy as sa
from alembic import op

revision = "not_null_after_check"
down_revision = "note_title_checked"

databases = ("postgresql",)


def upgrade():
    op.alter_column("note", "title", existing_type=sa.String(length=200), nullable=False)
    op.drop_constraint(op.f("ck_note_title_not_null"), "note", type_="check")


def downgrade():
    op.execute("ALTER TABLE note ADD CONSTRAINT ck_note_title_not_null CHECK (title IS NOT NULL) NOT VALID")
    op.alter_column("note", "title", existing_type=sa.String(length=200), nullable=True)
