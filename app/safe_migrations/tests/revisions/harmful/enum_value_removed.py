"""Fails on the rows that have the value."""

from alembic import op
from sqlalchemy.dialects import mysql

revision = "enum_value_removed"
down_revision = "account_kind_of_rows"

databases = ("mysql", "mariadb")
codes = ("enum-reorder", "change-type")


def upgrade():
    op.alter_column(
        "account",
        "kind",
        existing_type=mysql.ENUM("basic", "pro"),
        type_=mysql.ENUM("free", "basic"),
        existing_nullable=True,
    )


def downgrade():
    op.alter_column(
        "account",
        "kind",
        existing_type=mysql.ENUM("free", "basic"),
        type_=mysql.ENUM("basic", "pro"),
        existing_nullable=True,
    )
