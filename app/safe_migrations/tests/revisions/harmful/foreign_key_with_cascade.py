"""All rows are compared with the new key, which blocks writes; MySQL and MariaDB copy the table."""

from alembic import op

revision = "foreign_key_with_cascade"
down_revision = "base0"

databases = ("mysql", "mariadb", "postgresql")
codes = ("constraint-scan-blocks", "add-foreign-key-blocks", "add-foreign-key")


def upgrade():
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.drop_constraint('fk_note_account_id_account', type_='foreignkey')
        batch_op.create_foreign_key(
            'fk_note_account_id_account', 'account', ['account_id'], ['id'], ondelete='CASCADE'
        )


def downgrade():
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.drop_constraint('fk_note_account_id_account', type_='foreignkey')
        batch_op.create_foreign_key('fk_note_account_id_account', 'account', ['account_id'], ['id'])
