"""Add note.author_id."""

import sqlalchemy as sa
from alembic import op

revision = "note_author_id"
down_revision = "base0"


def upgrade():
    op.add_column('note', sa.Column('author_id', sa.Integer(), nullable=True))


def downgrade():
    with op.batch_alter_table('note') as batch_op:
        batch_op.drop_column('author_id')
