"""Ctrl-C during a run: no error is reported, but where the database is, and how to restore what could not be undone."""

import pytest
from sqlalchemy import Engine

from .support import FIRST, Project, Sql, on_mysql, on_servers, on_sqlite, revision, rows

ADD = "op.add_column('user', sa.Column('age', sa.Integer()))"
UPDATE = "op.execute(sa.table('user', sa.column('email')).update().values(email='filled'))"
INTERRUPT = "import os, signal, threading, time\nthreading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()"
SLEEP = {"mysql": "SLEEP(10) = 1", "postgresql": "pg_sleep(10) IS NULL"}


@pytest.fixture
def upgraded(upgraded: Project, sql: Sql, engine: Engine) -> Project:
    """Return a project at the first revision, with a row in user."""
    user = engine.dialect.identifier_preparer.quote("user")
    sql(f"INSERT INTO {user} (id, username, email) VALUES (1, 'a', 'a')")
    return upgraded


def interrupted(project: Project, up: str, **environ: str) -> str:
    """Return what an upgrade says whose script is interrupted soon after it begins to run ``up``."""
    project.write(*revision("a1", FIRST, f"{INTERRUPT}\n{up}"))
    done = project.run("flask", "db", "upgrade", **environ)
    assert (1, True) == (done.returncode, done.stderr.endswith("\nAborted!\n")), done.stderr
    assert "Error" not in done.stderr
    assert FIRST in project.ok("current")
    return done.stderr


@pytest.mark.usefixtures("database")
def test_rolled_back(upgraded: Project) -> None:
    """The revision is rolled back, and the last line says so."""
    said = interrupted(upgraded, f"{ADD}\ntime.sleep(10)")
    assert f" The failed revision was rolled back; the database is at {FIRST}.\n" in said


@on_mysql
def test_what_cannot_be_restored(upgraded: Project, engine: Engine) -> None:
    """The line that restores the backup comes last, as after an error."""
    said = interrupted(upgraded, f"{UPDATE}\n{ADD}\ntime.sleep(10)", MIGRATION_BACKUP="always")
    place, lost, restore = (said.find(each) for each in (f"is at {FIRST}", "Could not be restored: rows", "db restore"))
    assert 0 < place < lost < restore, said
    assert [("filled",)] == rows(engine, "SELECT email FROM user")


@on_servers
@pytest.mark.parametrize("how", ["block", "backfill"])
def test_during_a_statement_outside_of_the_transaction(upgraded: Project, backend: str, how: str) -> None:
    """What SQLAlchemy says of the connection that it has closed then is not reported, and blames no script."""
    sleep = SLEEP[backend]
    up = f"op.backfill('user', {{'email': 'b'}}, where={sleep!r})"
    if how == "block":
        up = f"with op.get_context().autocommit_block():\n    op.execute('SELECT {sleep}')"
    assert f"Before the connection was lost, the database was at {FIRST}.\n" in interrupted(upgraded, up)


@on_sqlite
def test_during_a_statement_of_sqlite(upgraded: Project) -> None:
    """SQLAlchemy then closes the connection, which rolls the run back; nothing more is asked of it."""
    count = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 8000000) SELECT count(*) FROM c"
    said = interrupted(upgraded, f"{ADD}\nop.execute({count!r})")
    assert f"Before the connection was lost, the database was at {FIRST}.\n" in said


@pytest.mark.usefixtures("database")
def test_before_the_first_step(upgraded: Project) -> None:
    """Nothing was changed then, and the last line says so."""
    said = interrupted(upgraded, "time.sleep(10)", MIGRATION_REVIEW="enforce")
    assert f" Nothing was changed; the database is still at {FIRST}.\n" in said
