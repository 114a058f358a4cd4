"""A script that ends the transaction of its step is refused; no run reports a revision that was not committed."""

from collections.abc import Callable
from textwrap import indent

import flask_migrate
import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, inspect, text

from .support import FIRST, Project, on_mysql, on_postgresql, on_servers, on_sqlite, revision, rows

USER = sa.table("user", sa.column("id"), sa.column("username"), sa.column("email"))
ADD = "op.add_column('user', sa.Column('age', sa.Integer()))"
DROP = "op.drop_column('user', 'age')"
BIND = "op.get_bind()"
COMMIT = f"{BIND}.commit()"
ENDS = [
    COMMIT,
    f"{BIND}.rollback()",
    "op.execute('COMMIT')",
    "op.execute('-- all of it\\nrollback;')",
    f"{BIND}.connection.rollback()",
    f"{BIND}.get_transaction().rollback()",
]
ALEMBICS = "its connection, which belongs to Alembic.\nFix: remove that line; "
INDEX = """
op.get_bind().commit()
with op.get_context().autocommit_block():
    op.create_index('ix', 'user', ['email'], postgresql_concurrently=True)
"""
NO_INDEX = INDEX.replace("create_index('ix', 'user', ['email']", "drop_index('ix', 'user'")


with_transactional_ddl = pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)


def table(name: str) -> str:
    """Return an operation that creates a table."""
    return f"op.create_table('{name}', sa.Column('id', sa.Integer(), primary_key=True))"


def state(engine: Engine) -> tuple[list[str], bool]:
    """Return the committed revisions, and whether the column exists."""
    with engine.connect() as connection:
        heads = list(connection.scalars(text("SELECT version_num FROM alembic_version")))
        columns = [column["name"] for column in inspect(connection).get_columns("user")]
    return heads, "age" in columns


@pytest.mark.parametrize("up", [f"{COMMIT}\n{ADD}", *(f"{ADD}\n{end}" for end in ENDS)])
@with_transactional_ddl
def test_upgrade_that_ends_it(upgraded: Project, engine: Engine, up: str) -> None:
    """An upgrade() that ends the transaction stops: none of it remains, and no later revision runs."""
    upgraded.write(*revision("a1", FIRST, up, DROP))
    upgraded.write(*revision("b1", "a1", table("later")))
    told = upgraded.fails("upgrade")
    assert ([FIRST], False) == state(engine)
    assert "Error: upgrade() of revision a1 ends its transaction (" in told
    assert "Instead: remove that line; for a statement that must run outside the transaction" in told
    assert f"database is at {FIRST}.\n" in told


@pytest.mark.parametrize("end", ENDS[:2])
@with_transactional_ddl
def test_downgrade_that_ends_it(project: Project, engine: Engine, end: str) -> None:
    """A downgrade() that ends the transaction stops in the same way."""
    project.write(*revision("a1", FIRST, ADD, f"{DROP}\n{end}"))
    project.ok("upgrade")
    told = project.fails("downgrade")
    assert (["a1"], True) == state(engine)
    assert "Error: downgrade() of revision a1 ends its transaction (" in told


@pytest.mark.parametrize("end", ENDS)
@on_mysql
def test_where_each_statement_commits(project: Project, engine: Engine, end: str) -> None:
    """On MySQL and MariaDB each DDL statement ends the transaction anyway, so nothing is lost: it is recorded."""
    project.write(*revision("a1", FIRST, f"{ADD}\n{end}", f"{DROP}\n{end}"))
    project.ok("upgrade")
    assert (["a1"], True) == state(engine)
    project.ok("downgrade")
    assert ([FIRST], False) == state(engine)


FILLED = "op.execute(USER.update().values(email='filled').where(USER.c.id == 1))"
TWICE = "session.execute(USER.insert().values(id=1, username='twice', email='twice'))\nsession.commit()"


def tried(body: str) -> str:
    """Return lines that catch the error of ``body``, roll its session back, and go on."""
    return f"session = Session({BIND})\ntry:\n{indent(body, '    ')}\nexcept IntegrityError:\n    session.rollback()"


ROLLED_BACK = {
    "session": f"with Session({BIND}) as session:\n    session.execute(sa.text('SELECT 1'))\n    session.rollback()",
    "error in a session": tried(TWICE),
    "error in a block": tried(f"with session.begin():\n{indent(TWICE, '    ')}"),
    "connection": f"{BIND}.rollback()",
    "transaction": f"{BIND}.get_transaction().rollback()",
    "statement": "op.execute('ROLLBACK')",
    "chain": "op.execute('ROLLBACK AND CHAIN')",
    "driver": f"{BIND}.connection.rollback()",
    "wrong DDL": f"try:\n    op.execute('ALTER TABLE x ADD (')\nexcept sa.exc.DBAPIError:\n    {BIND}.rollback()",
}


@pytest.mark.parametrize("how", ROLLED_BACK)
def test_rows_that_a_script_rolls_back(upgraded: Project, engine: Engine, backend: str, how: str) -> None:
    """A script that rolls back rows which it has changed stops, on every database: the revision would lack them."""
    if (backend, how) == ("sqlite", "chain"):
        pytest.skip("only servers have it")
    with engine.begin() as connection:
        connection.execute(USER.insert(), [{"id": id, "username": str(id), "email": str(id)} for id in (1, 2)])
    more = "from sqlalchemy.exc import IntegrityError\nfrom sqlalchemy.orm import Session\n"
    more += "USER = sa.table('user', sa.column('id'), sa.column('username'), sa.column('email'))"
    up = f"{FILLED}\n{ROLLED_BACK[how]}\n{FILLED.replace('== 1', '== 2')}"
    upgraded.write(*revision("a1", FIRST, up, more=more))
    told = upgraded.fails("upgrade")
    assert "Error: upgrade() of revision a1 ends its transaction (" in told
    assert ([FIRST], False) == state(engine)
    assert [("1",), ("2",)] == rows(engine, str(sa.select(USER.c.email).order_by(USER.c.id).compile(engine)))


def test_session_after_an_error(upgraded: Project) -> None:
    """The error of a session whose flush has failed is told, not one that the script has handled before."""
    up = f"""class User(sa.orm.declarative_base()):
    __tablename__ = 'user'
    id = sa.Column(sa.Integer, primary_key=True)
session = sa.orm.Session({BIND})
session.add(User(id=1))
try:
    session.flush()
except sa.exc.IntegrityError:
    pass
try:
    {{}}['x']
except KeyError:
    session.execute(sa.text('SELECT 1'))"""
    upgraded.write(*revision("a1", FIRST, up, more="import sqlalchemy.orm"))
    assert "This Session's transaction has been rolled back" in upgraded.fails("upgrade")


@on_mysql
def test_rollback_that_loses_nothing(upgraded: Project, engine: Engine) -> None:
    """On MySQL and MariaDB a script may roll back where nothing is left to commit, as after DDL or a COMMIT."""
    fill = "op.execute(\"UPDATE user SET email = 'x'\")"
    read = f"{BIND}.execute(sa.text('SELECT 1')).all()"
    fails = f"try:\n    {ADD}\nexcept sa.exc.OperationalError:\n    {BIND}.rollback()"
    up = [ADD, f"{BIND}.rollback()", fails, fill, COMMIT, read, f"{BIND}.rollback()", fill, "op.execute('COMMIT')"]
    upgraded.write(*revision("a1", FIRST, "\n".join([*up, "op.execute('ROLLBACK')"]), DROP))
    upgraded.ok("upgrade")
    assert (["a1"], True) == state(engine)


OTHERS = {
    "session": "from app import db\ndb.session.execute({0})\ndb.session.{1}()",
    "engine": "with sa.create_engine(op.get_bind().engine.url, poolclass=sa.NullPool).connect() as other:\n"
    "    other.execute({0})\n    other.{1}()",
}


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("other", OTHERS)
@on_servers
def test_what_was_committed_on_another_connection(upgraded: Project, engine: Engine, other: str, end: str) -> None:
    """The message of a failed run says that this remains, and ends with the line that restores the backup."""
    with engine.begin() as connection:
        connection.execute(USER.insert(), [{"id": 1, "username": "a", "email": "old"}])
    update = "sa.table('user', sa.column('email')).update().values(email='new')"
    upgraded.write(*revision("a1", FIRST, f"{OTHERS[other].format(update, end)}\n{ADD}\nraise ValueError('stop')"))
    place = upgraded.fails("upgrade", MIGRATION_BACKUP="always").partition("ValueError: stop\n")[2]
    if end == "rollback":
        assert place.endswith(f"The failed revision was rolled back; the database is at {FIRST}.\n")
    else:
        lines = place.splitlines()[-4:-1]
        restore = "To restore the last backup, which deletes what was written since:"
        remains = "What the script committed on another connection than op.get_bind() remains."
        assert [f"The database is at {FIRST}.", remains, restore] == lines
    assert [("new" if end == "commit" else "old",)] == rows(engine, str(sa.select(USER.c.email).compile(engine)))


@on_sqlite
def test_on_stock(project: Project, engine: Engine) -> None:
    """The damage: stock exits 0 and the revision is not recorded, so the next upgrade runs the script again."""
    project.ok("upgrade")
    project.make_stock()
    project.write(*revision("a1", FIRST, f"{COMMIT}\n{ADD}", DROP))
    project.ok("upgrade")
    assert [FIRST] == state(engine)[0]


@with_transactional_ddl
def test_what_may_stay(project: Project, engine: Engine) -> None:
    """What the driver's connection has committed remains, and the message says so."""
    project.ok("upgrade")
    project.write(*revision("a1", FIRST, f"{ADD}\n{BIND}.connection.commit()", DROP))
    told = project.fails("upgrade")
    assert ([FIRST], True) == state(engine)
    assert "Earlier changes of the script may have been committed.\n" in told


def test_commit_before_an_autocommit_block(project: Project, engine: Engine) -> None:
    """Public histories commit just before an autocommit block, which commits anyway: that works, up and down."""
    project.write(*revision("a1", FIRST, f"{INDEX}\n{ADD}", f"{DROP}\n{NO_INDEX}"))
    project.write(*revision("b1", "a1", table("later"), "op.drop_table('later')"))
    project.ok("upgrade", MIGRATION_REVIEW="enforce")
    assert (["b1"], True) == state(engine)
    project.ok("downgrade", FIRST)
    assert ([FIRST], False) == state(engine)
    rehearsed = project.db("rehearse", "a1").stdout
    assert ("a1  " in rehearsed, "fails" in rehearsed) == (True, False)
    project.ok("upgrade")
    assert (["b1"], True) == state(engine)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (f"{BIND}.close()", f"closes {ALEMBICS}"),
        (f"with {BIND} as bind:\n    pass", f"closes {ALEMBICS}"),
        (f"{BIND}.invalidate()", f"invalidates {ALEMBICS}"),
        ("op.execute('DELETE FROM alembic_version')", "changed the table alembic_version, or another program did: "),
    ],
)
def test_what_belongs_to_alembic(upgraded: Project, engine: Engine, body: str, error: str) -> None:
    """A script that closes or invalidates its connection, or changes alembic_version, is named; none of it remains."""
    upgraded.write(*revision("a1", FIRST, f"{ADD}\n{body}", DROP))
    told = upgraded.fails("upgrade")
    assert not state(engine)[1]
    assert f"Error: upgrade() of revision a1 {error}" in told
    assert " database is at " in told


@on_postgresql
def test_commit_as_the_first_statement(project: Project, engine: Engine) -> None:
    """COMMIT as the first statement is accepted, because nothing has run yet: old scripts extend enums like this."""
    project.ok("upgrade")
    project.write(*revision("a1", FIRST, f"op.execute('COMMIT')\n{ADD}", DROP))
    project.ok("upgrade")
    assert (["a1"], True) == state(engine)


def test_the_error_is_the_scripts_own(project: Project, engine: Engine, attempt: Callable[..., list[str]]) -> None:
    """If a script rolls back after an error and raises it again, that error is reported."""
    up = f"try:\n    raise ValueError('no such thing')\nexcept ValueError:\n    {BIND}.rollback()\n    raise"
    project.write(*revision("a1", FIRST, f"{ADD}\n{up}"))
    assert "no such thing" in attempt(flask_migrate.upgrade)[0]


@on_postgresql
def test_empty_database(project: Project, engine: Engine) -> None:
    """All revisions from empty are one transaction; once there are tables, each revision is one."""
    names = ["user", "a1", "b1", "c1", "d1"]
    for name, before in (("a1", FIRST), ("b1", "a1"), ("c1", "b1"), ("d1", "c1")):
        project.write(*revision(name, before, table(name)))
    project.ok("upgrade", "b1")
    project.ok("upgrade")
    with engine.connect() as connection:
        found = connection.execute(text("SELECT relname, xmin::text FROM pg_class")).all()
    made_by = {row.relname: row.xmin for row in found}
    assert [1, 3] == [len({made_by[name] for name in chosen}) for chosen in (names[:3], names[2:])]


@on_postgresql
def test_empty_database_and_a_revision_that_needs_a_commit(project: Project, engine: Engine) -> None:
    """A revision may use an enum value that the one before adds, which needs two transactions."""
    project.write(*revision("a1", FIRST, "op.execute(\"CREATE TYPE mood AS ENUM ('sad')\")"))
    project.write(*revision("b1", "a1", "op.execute(\"ALTER TYPE mood ADD VALUE 'happy'\")"))
    project.write(*revision("c1", "b1", "op.execute(\"CREATE TABLE m AS SELECT CAST('happy' AS mood) AS mood\")"))
    assert "Trying again, with a transaction for each revision" in project.ok("upgrade")
    assert ["c1"] == state(engine)[0]


@on_postgresql
def test_empty_database_and_a_revision_that_fails(project: Project, engine: Engine) -> None:
    """Revisions before one that fails stay, and the message names that one, as on a database with tables."""
    project.write(*revision("a1", FIRST, ADD))
    project.write(*revision("b1", "a1", "op.execute('nonsense')"))
    told = project.fails("upgrade")
    assert (["a1"], True) == state(engine)
    assert 'Error: migrations/versions/b1.py, line 9: syntax error at or near "nonsense"' in told


@with_transactional_ddl
def test_empty_database_and_an_autocommit_block(project: Project, engine: Engine) -> None:
    """A step with an autocommit block stays whole if a later one fails, though both began in one transaction."""
    block = f"with op.get_context().autocommit_block():\n    {table('inside')}\n{ADD}"
    project.write(*revision("a1", FIRST, f"{table('before')}\n{block}"))
    project.write(*revision("b1", "a1", f"{table('later')}\nop.execute('nonsense')"))
    project.fails("upgrade")
    assert (["a1"], True) == state(engine)
    project.write(*revision("b1", "a1", table("later")))
    project.ok("upgrade")
    assert ["b1"] == state(engine)[0]
