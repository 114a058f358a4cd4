"""The words are in strings."""

import sqlalchemy as sa
from alembic import op

revision = "texts_that_look_like_sql"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")


def upgrade():
    op.execute(
        """
        INSERT INTO note (title, body)
        VALUES ('How to tidy up', 'Never run DELETE FROM note; or DROP TABLE account; by hand -- ask first')
        """
    )
    op.bulk_insert(
        sa.table("note", sa.column("title", sa.String), sa.column("body", sa.Text)),
        [
            {"title": "TRUNCATE TABLE account", "body": "UPDATE account SET balance = 0"},
            {"title": "COMMIT", "body": "It''s ALTER TABLE note DROP COLUMN body"},
        ],
    )


def downgrade():
    op.execute("DELETE FROM note WHERE title IN ('How to tidy up', 'TRUNCATE TABLE account', 'COMMIT')")
