"""The words are in comments."""

from alembic import op

revision = "comments_that_say_drop"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")


def upgrade():
    op.execute("""
        -- this was DROP TABLE note; TRUNCATE account; once
        /* DROP COLUMN title comes in the next release,
           and so does DELETE FROM note; */
        UPDATE note
        SET title = 'Untitled'  -- not DELETE
        WHERE title IS NULL
    """)


def downgrade():
    pass  # the titles may stay
