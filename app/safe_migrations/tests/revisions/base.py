"""Add accounts and notes, and rows."""

import sqlalchemy as sa
from alembic import op

revision = "base0"
down_revision = "fb3704abff84"

user = sa.table("user", sa.column("id"), sa.column("username"), sa.column("email"))


def upgrade():
    op.bulk_insert(
        user,
        [
            {"username": "alice", "email": "alice@example.com"},
            {"username": "bob", "email": "bob@example.com"},
        ],
    )
    account = op.create_table(
        "account",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("balance", sa.Numeric(10, 2), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_account_user_id_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_index(op.f("ix_account_user_id"), "account", ["user_id"], unique=False)
    note = op.create_table(
        "note",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("account_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_note_account_id_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_note")),
    )
    alice = sa.select(user.c.id).where(user.c.username == "alice").scalar_subquery()
    for balance, status in ((10, "active"), (0, None), (-5, "closed")):
        op.execute(account.insert().values(user_id=alice, balance=balance, status=status))
    first = sa.select(sa.func.min(account.c.id)).scalar_subquery()
    for title, body in (("Hello", "World"), ("Hello", None), (None, "no title"), ("long " * 20, "x" * 5000)):
        op.execute(note.insert().values(title=title, body=body, account_id=first))


def downgrade():
    op.drop_table("note")
    op.drop_table("account")
    op.execute(user.delete().where(user.c.id > 0))
