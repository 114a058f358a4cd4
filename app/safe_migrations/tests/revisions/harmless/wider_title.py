"""No value is lost; the length takes two bytes before and after."""

import sqlalchemy as sa
from alembic import op

revision = "wider_title"
down_revision = "base0"

databases = ("sqlite", "mysql", "mariadb", "postgresql")


def upgrade():
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.alter_column('title',
               existing_type=sa.VARCHAR(length=200),
               type_=sa.String(length=255),
               existing_nullable=True)


def downgrade():
    with op.batch_alter_table('note', schema=None) as batch_op:
        batch_op.alter_column('title',
               existing_type=sa.String(length=255),
               type_=sa.VARCHAR(length=200),
               existing_nullable=True)
