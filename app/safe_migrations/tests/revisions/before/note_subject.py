"""Add note.subject."""

import sqlalchemy as sa
from alembic import op

revision = "note_subject"
down_revision = "base0"


def upgrade():
    op.add_column("note", sa.Column("subject", sa.String(200), nullable=True))


def downgrade():
    with op.batch_alter_table("note") as batch_op:
        batch_op.drop_column("subject")
