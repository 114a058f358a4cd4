"""The table is rebuilt, and no row has a value yet."""

from alembic import op

revision = "foreign_key_in_batch"
down_revision = "note_author_id"

databases = ("sqlite",)


def upgrade():
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.create_foreign_key(batch_op.f('fk_note_author_id_user'), 'user', ['author_id'], ['id'])


def downgrade():
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_note_author_id_user'), type_='foreignkey')
