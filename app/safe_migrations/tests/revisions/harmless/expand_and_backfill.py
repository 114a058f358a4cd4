"""The old column stays, and running code does not know the new one."""

import sqlalchemy as sa
from alembic import op

revision = "expand_and_backfill"
down_revision = "note_subject"

databases = ("sqlite", "mysql", "mariadb", "postgresql")

note = sa.table(
    "note",
    sa.column("id", sa.Integer),
    sa.column("title", sa.String),
    sa.column("subject", sa.String),
)


def upgrade():
    op.execute(
        note.update()
        .where(note.c.subject.is_(None), note.c.title.isnot(None))
        .values(subject=note.c.title)
    )


def downgrade():
    op.execute(note.update().where(note.c.subject.isnot(None)).values(subject=None))
