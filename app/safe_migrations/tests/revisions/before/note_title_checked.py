"""Add a CHECK that note.title is not NULL."""

from alembic import op

revision = "note_title_checked"
down_revision = "base0"


def upgrade():
    op.execute("UPDATE note SET title = '' WHERE title IS NULL")
    op.execute("ALTER TABLE note ADD CONSTRAINT ck_note_title_not_null CHECK (title IS NOT NULL) NOT VALID")
    op.execute("ALTER TABLE note VALIDATE CONSTRAINT ck_note_title_not_null")


def downgrade():
    op.drop_constraint(op.f("ck_note_title_not_null"), "note", type_="check")
