"""The foreign key is dropped before its index; no running code uses the column."""

from alembic import op

revision = "index_after_foreign_key"
down_revision = "account_parent"

databases = ("mysql", "mariadb")


def upgrade():
    with op.batch_alter_table('account', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_account_parent_id_account'), type_='foreignkey')
        batch_op.drop_index(batch_op.f('ix_account_parent_id'))


def downgrade():
    with op.batch_alter_table('account', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_account_parent_id'), ['parent_id'], unique=False)
        batch_op.create_foreign_key(
            batch_op.f('fk_account_parent_id_account'), 'account', ['parent_id'], ['id']
        )
