"""Only the definition changes."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "enum_value_appended"
down_revision = "account_kind"

databases = ("mysql", "mariadb")


def upgrade():
    op.alter_column(
        "account",
        "kind",
        existing_type=mysql.ENUM("basic", "pro"),
        type_=mysql.ENUM("basic", "pro", "team"),
        existing_nullable=False,
        existing_server_default=sa.text("'basic'"),
    )


def downgrade():
    op.alter_column(
        "account",
        "kind",
        existing_type=mysql.ENUM("basic", "pro", "team"),
        type_=mysql.ENUM("basic", "pro"),
        existing_nullable=False,
        existing_server_default=sa.text("'basic'"),
    )
