"""Rules about columns: what they find beside the pairs of RULES.md, and that the servers do what they claim."""

from contextlib import nullcontext
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ..database import Database
from .support import Operating, Review, ReviewOn, found, levels, locks, on_mysql, on_postgresql, on_sqlite

not_on_mysql = pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)


@pytest.mark.parametrize(
    "up",
    [
        "op.alter_column('user', 'username', new_column_name='username', existing_type=sa.String(80))",
        "op.alter_column('user', 'username', existing_type=sa.String(80), comment='their name')",
        "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))\n"
        "op.alter_column('pet', 'id', new_column_name='number')\n"
        "op.rename_table('pet', 'animal')",
    ],
)
def test_no_rename(review: Review, up: str) -> None:
    """The same name is not a rename, and no running code uses a table that the same run creates."""
    findings = review(up, "postgresql")
    assert [] == found(findings, "rename-column") + found(findings, "rename-table")


@pytest.mark.parametrize(
    ("up", "line"),
    [
        (
            "op.add_column('user', sa.Column('login', sa.String(60)))\nop.drop_column('user', 'username')",
            "    op.execute('ALTER TABLE \"user\" RENAME COLUMN username TO login')",
        ),
        (
            "op.drop_column('user', 'nobody_knows')\nop.add_column('user', sa.Column('age', sa.Integer()))",
            "    op.execute('ALTER TABLE \"user\" RENAME COLUMN nobody_knows TO age')",
        ),
        (
            "with op.batch_alter_table('user') as batch_op:\n"
            "    batch_op.drop_column('username')\n"
            "    batch_op.add_column(sa.Column('Login', sa.Text()))",
            '    op.execute(\'ALTER TABLE "user" RENAME COLUMN username TO "Login"\')',
        ),
        (
            "op.drop_table('user')\n"
            "op.create_table('account', sa.Column('id', sa.Integer(), primary_key=True), "
            "sa.Column('username', sa.String(80)), sa.Column('email', sa.String(120)), sa.Column('age', sa.Integer()))",
            "    op.rename_table('user', 'account')",
        ),
    ],
)
def test_possible_rename(review: Review, up: str, line: str) -> None:
    """A drop and an add may be a rename: of columns of one kind of type, of tables with most columns in common."""
    (finding,) = found(review(up, "postgresql"), "possible-rename")
    assert f"if it is a rename, replace the drop and the add with:\n{line}" == finding.instead
    assert ("blocks", up.splitlines().index(next(each for each in up.splitlines() if "drop_" in each)) + 8) == (
        finding.level.value,
        finding.line,
    )


@pytest.mark.parametrize(
    "up",
    [
        "op.drop_column('user', 'username')\nop.add_column('user', sa.Column('age', sa.Integer()))",
        "op.drop_column('user', 'username')\nop.add_column('user', sa.Column('username', sa.Text()))",
        "op.drop_table('user')\nop.create_table('pet', sa.Column('id', sa.Integer()), sa.Column('name', sa.Text()))",
        "op.add_column('user', sa.Column('login', sa.String(80)))\n"
        "op.execute('UPDATE \"user\" SET login = username')\nop.drop_column('user', 'username')",
        "op.create_table('account', sa.Column('id', sa.Integer()), sa.Column('username', sa.Text()), "
        "sa.Column('email', sa.Text()))\n"
        "op.execute('INSERT INTO account SELECT id, username, email FROM \"user\"')\nop.drop_table('user')",
        "op.create_table('pet', sa.Column('id', sa.Integer()), sa.Column('name', sa.Text()))\n"
        "op.drop_column('pet', 'name')\nop.add_column('pet', sa.Column('nick', sa.Text()))\nop.drop_table('pet')\n"
        "op.create_table('animal', sa.Column('id', sa.Integer()), sa.Column('name', sa.Text()))",
    ],
)
def test_no_possible_rename(review: Review, up: str) -> None:
    """Another kind of type, a column of the same name, tables with other columns, and values or rows that are copied;
    nor what the same run makes.
    """
    assert [] == found(review(up, "postgresql"), "possible-rename")


@on_sqlite
@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("x INTEGER AS (id * 2)", "sa.Computed('id * 3')", []),
        ("x INTEGER AS (id * 2)", "nullable=True", ["blocks"]),
        ("x INTEGER", "sa.Computed('id * 3')", ["blocks"]),
    ],
    ids=["generated", "no longer generated", "was not generated"],
)
def test_drop_of_a_column_that_is_added_again(
    review_on: ReviewOn, before: str, after: str, expected: list[str]
) -> None:
    """It loses no value only if the column is generated before and after."""
    up = f"op.drop_column('user', 'x')\nop.add_column('user', sa.Column('x', sa.Integer(), {after}))"
    assert expected == levels(review_on(up, f"ALTER TABLE {{user}} ADD {before}"), "drop-column")


ADD_AGE = "op.add_column('user', sa.Column('age', sa.Integer(), nullable=False))"


@on_sqlite
def test_add_not_null_column(review_on: ReviewOn) -> None:
    """A table without rows is no reason, nor is a column that the database fills."""
    assert ["blocks"] == levels(review_on(ADD_AGE), "add-not-null-column")
    filled = "op.add_column('user', sa.Column('age', sa.Integer(), sa.Computed('id + 1'), nullable=False))"
    assert [] == levels(review_on(filled), "add-not-null-column")
    assert [] == levels(review_on(ADD_AGE, "DELETE FROM {user}"), "add-not-null-column")


@pytest.mark.parametrize(
    ("column", "change", "expected"),
    [
        ("nullable=False, server_default='0'", "server_default=None", ["warns"]),
        ("nullable=True", "nullable=False", ["warns"]),
        ("nullable=True, server_default='0'", "nullable=False, existing_server_default='0'", []),
        ("nullable=True", "nullable=False, server_default='0'", []),
        ("nullable=True, server_default='0'", "server_default=None", []),
    ],
)
def test_new_column_required(
    review_on: ReviewOn, operating: Operating, column: str, change: str, expected: list[str]
) -> None:
    """In the end, running code that does not know the new column can insert a row, or it is reported."""
    connection, op = operating
    if change == "server_default=None" and Database(connection).facts.product == "mysql":
        expected = ["warns"]  # of a nullable column, too
    up = f"op.add_column('user', sa.Column('age', sa.Integer(), {column}))\n"
    up += "op.execute(sa.table('user', sa.column('age')).update().values(age=1))\n"
    up += "with op.batch_alter_table('user') as batch:\n"
    up += f"    batch.alter_column('age', existing_type=sa.Integer(), {change})"
    assert expected == levels(review_on(up), "add-not-null-column")
    exec(up, {"op": op, "sa": sa})
    user = sa.table("user", *map(sa.column, ("id", "username", "email")))
    with pytest.raises(DBAPIError) if expected else nullcontext():
        connection.execute(user.insert().values(id=9, username="z", email="z"))


@not_on_mysql
def test_add_not_null_column_fails(operating: Operating) -> None:
    """It is refused where there are rows, and not where there are none."""
    connection, op = operating
    with pytest.raises(DBAPIError, match=r"(?i)not null"), connection.begin_nested():
        op.add_column("user", sa.Column("age", sa.Integer(), nullable=False))
    connection.execute(sa.table("user").delete())
    op.add_column("user", sa.Column("age", sa.Integer(), nullable=False))


@on_mysql
def test_add_not_null_column_invents(operating: Operating) -> None:
    """MySQL and MariaDB invent values, in strict mode."""
    connection, op = operating
    assert "STRICT_TRANS_TABLES" in str(connection.exec_driver_sql("SELECT @@sql_mode").scalar())
    op.add_column("user", sa.Column("age", sa.Integer(), nullable=False))
    op.add_column("user", sa.Column("nick", sa.String(20), nullable=False))
    assert (0, "") == connection.exec_driver_sql("SELECT age, nick FROM user").one()


SET_AGE = (
    "with op.batch_alter_table('user') as batch_op:\n"
    "    batch_op.alter_column('age', existing_type=sa.Integer(), nullable=False)"
)


def test_set_not_null(database: str, review_on: ReviewOn) -> None:
    """It blocks where a NULL is there, and warns where none is; not if it is NOT NULL, or an UPDATE has filled it."""
    add = "ALTER TABLE {user} ADD COLUMN age INTEGER"
    (finding,) = found(review_on(SET_AGE, add), "set-not-null")
    assert ("blocks", True) == (finding.level, finding.fails)
    assert ["warns"] == levels(review_on(SET_AGE, "UPDATE {user} SET age = 3"), "set-not-null")
    fill = "op.execute(sa.table('user', sa.column('age')).update().values(age=3))\n"
    assert [] == levels(review_on(fill + SET_AGE, "UPDATE {user} SET age = NULL"), "set-not-null")
    nulls = fill.replace("values", "where(sa.column('age').is_(None)).values")
    assert [] == levels(review_on(nulls + SET_AGE), "set-not-null")
    some = fill.replace("values", "where(sa.column('age').is_(None), sa.column('id') < 9).values")
    assert ["warns"] == levels(review_on(some + SET_AGE), "set-not-null")
    other = fill.replace("age", "id")
    assert ["warns"] == levels(review_on(other + SET_AGE), "set-not-null")
    assert ["blocks"] == levels(review_on(SET_AGE + "\n" + fill), "set-not-null")
    again = "op.alter_column('user', 'email', existing_type=sa.String(120), nullable=False)"
    assert [] == levels(review_on(again), "set-not-null")
    assert [] == levels(review_on(SET_AGE.replace("nullable", "existing_nullable=False, nullable")), "set-not-null")


def test_set_not_null_fails(operating: Operating) -> None:
    """Each database refuses it where a NULL is there."""
    connection, op = operating
    op.add_column("user", sa.Column("age", sa.Integer()))
    connection.commit()
    with pytest.raises(DBAPIError), op.batch_alter_table("user") as batch_op:
        batch_op.alter_column("age", existing_type=sa.Integer(), nullable=False)
    connection.rollback()


CHECK = "op.create_check_constraint('ck', 'user', {!r}, postgresql_not_valid=True)"
VALIDATE = "op.execute('ALTER TABLE \"user\" VALIDATE CONSTRAINT ck')"
SET = "op.alter_column('user', 'age', existing_type=sa.Integer(), nullable=False)"


@on_postgresql
def test_set_not_null_scans(database: str, review_on: ReviewOn) -> None:
    """A CHECK of an earlier revision is enough, if the database has looked at all rows, or does so just before."""
    add = ["ALTER TABLE {user} ADD COLUMN age INTEGER", "UPDATE {user} SET age = 3"]
    check = "ALTER TABLE {user} ADD CONSTRAINT ck CHECK (age IS NOT NULL AND id > 0) NOT VALID"
    (finding,) = found(review_on(SET, *add), "set-not-null-scans")
    assert "blocks" == finding.level.value
    assert ["blocks"] == levels(
        review_on(f"{CHECK.format('age IS NOT NULL')}\n{VALIDATE}\n{SET}"), "set-not-null-scans"
    )
    findings = review_on(SET, check)
    assert (["blocks"], []) == (levels(findings, "set-not-null-scans"), levels(findings, "set-not-null"))
    assert [] == levels(review_on(f"{VALIDATE}\n{SET}"), "set-not-null-scans")
    assert [] == levels(review_on(SET, "ALTER TABLE {user} VALIDATE CONSTRAINT ck"), "set-not-null-scans")
    assert ["blocks"] == levels(review_on(f"op.drop_constraint('ck', 'user')\n{SET}"), "set-not-null-scans")
    either = ["ALTER TABLE {user} DROP CONSTRAINT ck", "ALTER TABLE {user} ADD CHECK (age IS NOT NULL OR id > 0)"]
    assert ["blocks"] == levels(review_on(SET, *either), "set-not-null-scans")


@on_postgresql
def test_set_not_null_scans_or_not(operating: Operating) -> None:
    """PostgreSQL says so itself, and keeps readers out."""
    connection, op = operating
    notes: list[str | None] = []
    raw: Any = connection.connection.driver_connection
    raw.add_notice_handler(lambda note: notes.append(note.message_primary))
    connection.exec_driver_sql("SET client_min_messages = debug1")
    op.add_column("user", sa.Column("age", sa.Integer(), server_default="3"))
    connection.commit()
    op.alter_column("user", "age", nullable=False)
    assert ['verifying table "user"'] == notes
    assert "AccessExclusiveLock" in locks(connection, "user")
    connection.rollback()
    op.create_check_constraint(op.f("ck"), "user", "age IS NOT NULL", postgresql_not_valid=True)
    connection.commit()
    op.execute('ALTER TABLE "user" VALIDATE CONSTRAINT ck')
    assert {"ShareUpdateExclusiveLock", "AccessShareLock"} >= locks(connection, "user")
    notes.clear()
    op.alter_column("user", "age", nullable=False)
    assert ['existing constraints on column "user.age" are sufficient to prove that it does not contain nulls'] == notes


DEFAULTS = {
    "sa.Integer(), server_default='3'": False,
    "sa.Text(), server_default='gen_random_uuid()'": False,
    "sa.DateTime(), server_default=sa.func.now()": False,
    "sa.Text(), server_default=sa.text(\"to_char(now(), 'YYYY random()')\")": False,
    "sa.DateTime(), server_default=sa.text(\"timezone('utc', now())::timestamp(3)\")": False,
    "sa.DateTime(), server_default=sa.text('clock_timestamp()')": True,
    "sa.Uuid(), server_default=sa.text('gen_random_uuid()')": True,
    "sa.Text(), server_default=sa.text('md5(pg_catalog.random()::text)')": True,
    "sa.Integer(), sa.Identity()": True,
    "sa.Integer(), sa.Computed('id + 1', persisted=True)": True,
}


@pytest.mark.parametrize(("column", "rewrites"), DEFAULTS.items())
def test_volatile_default(review: Review, column: str, rewrites: bool) -> None:
    """It is found where PostgreSQL rewrites the table."""
    findings = found(
        review(f"op.add_column('user', sa.Column('x', {column}))", "postgresql"), "volatile-default-rewrites"
    )
    assert rewrites == bool(findings)


@on_postgresql
@pytest.mark.parametrize(("column", "rewrites"), DEFAULTS.items())
def test_volatile_default_rewrites(operating: Operating, column: str, rewrites: bool) -> None:
    """PostgreSQL rewrites the table for those, and only for those."""
    connection, op = operating
    node = sa.text("SELECT pg_relation_filenode('\"user\"')")
    before = connection.scalar(node)
    op.add_column("user", eval(f"sa.Column('x', {column})", {"sa": sa}))
    assert rewrites == (connection.scalar(node) != before)
    assert "AccessExclusiveLock" in locks(connection, "user")


@on_postgresql
def test_serial_rewrites(operating: Operating, review_on: ReviewOn) -> None:
    """A key that is added counts up; in raw SQL too."""
    connection, op = operating
    drop = 'op.drop_constraint("pk_user", "user")\n'
    for added in (
        "op.add_column('user', sa.Column('x', sa.Integer(), primary_key=True))",
        "op.execute('ALTER TABLE \"user\" ADD x bigserial')",
    ):
        assert ["blocks"] == levels(review_on(drop + added), "volatile-default-rewrites")
    node = sa.text("SELECT pg_relation_filenode('\"user\"')")
    before = connection.scalar(node)
    op.drop_constraint("pk_user", "user")
    op.add_column("user", sa.Column("x", sa.Integer(), primary_key=True))
    assert before != connection.scalar(node)
