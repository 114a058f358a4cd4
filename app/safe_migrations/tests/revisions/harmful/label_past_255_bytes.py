"""The table is copied, which blocks writes: the length takes two bytes instead of one."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "label_past_255_bytes"
down_revision = "account_label"

databases = ("mysql", "mariadb")
codes = ("varchar-crosses-255-bytes", "alter-copies-table")


def upgrade():
    op.alter_column('account', 'label',
           existing_type=mysql.VARCHAR(length=50),
           type_=sa.String(length=100),
           existing_nullable=True)


def downgrade():
    op.alter_column('account', 'label',
           existing_type=sa.String(length=100),
           type_=mysql.VARCHAR(length=50),
           existing_nullable=True)
