"""The type is new, the default is constant, and the downgrade drops both."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "enum_type_and_column"
down_revision = "base0"

databases = ("postgresql",)

account_kind = postgresql.ENUM('basic', 'pro', name='account_kind', create_type=False)


def upgrade():
    account_kind.create(op.get_bind(), checkfirst=True)
    op.add_column('account', sa.Column('kind', account_kind, server_default='basic', nullable=False))


def downgrade():
    op.drop_column('account', 'kind')
    account_kind.drop(op.get_bind(), checkfirst=True)
