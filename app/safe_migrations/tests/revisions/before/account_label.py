"""Add account.label."""

import sqlalchemy as sa
from alembic import op

revision = "account_label"
down_revision = "base0"


def upgrade():
    op.add_column('account', sa.Column('label', sa.String(length=50), nullable=True))


def downgrade():
    op.drop_column('account', 'label')
