"""One user has three accounts."""

from alembic import op

revision = "unique_over_duplicates"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")
codes = ("add-unique", "unique-constraint-blocks")


def upgrade():
    with op.batch_alter_table('account', schema=None) as batch_op:
        batch_op.create_unique_constraint(batch_op.f('uq_account_user_id'), ['user_id'])


def downgrade():
    with op.batch_alter_table('account', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('uq_account_user_id'), type_='unique')
