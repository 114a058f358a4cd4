"""Fails: the foreign key needs the index."""

from alembic import op

revision = "index_before_foreign_key"
down_revision = "base0"

databases = ("mysql", "mariadb")
codes = ("index-needed-by-foreign-key",)


def upgrade():
    op.drop_index(op.f('ix_account_user_id'), table_name='account')
    op.drop_constraint('fk_account_user_id_user', 'account', type_='foreignkey')


def downgrade():
    op.create_foreign_key('fk_account_user_id_user', 'account', 'user', ['user_id'], ['id'])
    op.create_index(op.f('ix_account_user_id'), 'account', ['user_id'], unique=False)
