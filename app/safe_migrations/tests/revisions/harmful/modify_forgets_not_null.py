"""MODIFY makes the column nullable."""

import sqlalchemy as sa
from alembic import op

revision = "modify_forgets_not_null"
down_revision = "base0"

databases = ("mysql", "mariadb")
codes = ("modify-drops-attributes",)


def upgrade():
    op.alter_column('account', 'balance', type_=sa.Numeric(precision=12, scale=2))


def downgrade():
    op.alter_column('account', 'balance', type_=sa.Numeric(precision=10, scale=2))
