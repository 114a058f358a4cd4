"""Add an index that the foreign key of note can use."""

from alembic import op

revision = "note_account_id_index"
down_revision = "base0"


def upgrade():
    op.create_index('ix_note_account_id', 'note', ['account_id'])


def downgrade():
    op.drop_constraint('fk_note_account_id_account', 'note', type_='foreignkey')
    op.drop_index('ix_note_account_id', table_name='note')
    op.create_foreign_key('fk_note_account_id_account', 'note', 'account', ['account_id'], ['id'])
