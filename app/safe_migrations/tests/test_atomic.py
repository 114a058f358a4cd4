"""All or nothing: a run that fails or is killed leaves the database as it was, or at a revision of the history."""

import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from flask_migrate import downgrade, upgrade
from sqlalchemy import Engine, create_engine, text

from .support import FIRST, USER, Project, revision, state

CHANGE = "op.execute(sa.table('user', sa.column('username')).update().values(username='changed'))"
OPERATIONS = [
    "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))",
    "op.add_column('user', sa.Column('age', sa.Integer()))",
    "op.create_index('ix', 'user', ['email', 'username'])",
    "op.execute('CREATE VIEW v AS SELECT 1 AS one')",
    CHANGE,
]
BACK = [
    "op.execute('DROP VIEW v')",
    "op.drop_index('ix', 'user')",
    "op.drop_column('user', 'age')",
    "op.drop_table('pet')",
    CHANGE,
]
FAILURES = {"python": "raise RuntimeError('stop')", "sql": "op.execute('nonsense')"}
ERRORS = {"python": "stop", "sql": "syntax error|error in your SQL syntax"}
KILLS = int(os.environ.get("TEST_KILLS", "5"))


@pytest.fixture
def engine(database: str, attempt: Callable[..., list[str]]) -> Iterator[Engine]:
    """Looks at the database, which is at the first revision and has a user."""
    assert [] == attempt(upgrade)
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(USER.insert().values(username="alice", email="alice@example.com"))
    yield engine
    engine.dispose()


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("done", range(1, len(OPERATIONS) + 1))
def test_failure(project: Project, engine: Engine, attempt: Callable[..., list[str]], failure: str, done: int) -> None:
    """A revision that fails after ``done`` operations leaves nothing; mended, it goes through."""
    before = state(engine)
    broken = [*OPERATIONS[:done], FAILURES[failure], *OPERATIONS[done:]]
    project.write(*revision("a1", FIRST, "\n".join(broken)))
    (error,) = attempt(upgrade)
    assert re.search(ERRORS[failure], error)
    assert before == state(engine)
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS)))
    assert [] == attempt(upgrade)
    assert ["('a1',)"] == state(engine)[-1]["alembic_version"]


@pytest.mark.parametrize("begin", ["", "op.execute('SELECT 1')\n", CHANGE + "\n"])
def test_failure_of_the_next(
    project: Project, engine: Engine, attempt: Callable[..., list[str]], begin: str, backend: str
) -> None:
    """A revision that fails undoes none before it; but on SQLite, where a run is one transaction, all of them."""
    before = state(engine)
    project.write(*revision("a1", FIRST, OPERATIONS[0], "op.drop_table('pet')"))
    assert [] == attempt(upgrade)
    done = state(engine)
    assert [] == attempt(downgrade)
    project.write(*revision("b1", "a1", f"{begin}raise RuntimeError('stop')"))
    assert ["stop"] == attempt(upgrade)
    assert (before if backend == "sqlite" else done) == state(engine)


@pytest.mark.parametrize("bad", ["CREATE TABLE t (nonsense", "CREATE TABLE t (a INT, a INT)", "DROP TABLE missing"])
def test_failure_at_the_first_statement(
    project: Project, engine: Engine, attempt: Callable[..., list[str]], bad: str, backend: str
) -> None:
    """So does one whose first statement is refused, with or without a commit of what came before."""
    before = state(engine)
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS), "\n".join(BACK)))
    project.write(*revision("b1", "a1", f"op.execute({bad!r})"))
    assert attempt(upgrade)
    found = state(engine)
    if backend == "sqlite":
        assert before == found
    else:
        assert ["('a1',)"] == found[-1]["alembic_version"]
        assert "pet" in found[-1]


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_failure_on_stock(project: Project, engine: Engine) -> None:
    """The damage: on stock the first operations stay, and the mended script fails too."""
    project.make_stock()
    before = state(engine)
    project.write(*revision("a1", FIRST, "\n".join([*OPERATIONS[:2], FAILURES["python"]])))
    assert 1 == project.db("upgrade").returncode
    assert before != state(engine)
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS)))
    assert "already exists" in project.db("upgrade").stderr


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("done", range(1, len(BACK) + 1))
def test_failure_of_a_downgrade(
    project: Project, engine: Engine, attempt: Callable[..., list[str]], failure: str, done: int
) -> None:
    """A downgrade that fails after ``done`` operations leaves the database where it was, rows included."""
    broken = [*BACK[:done], FAILURES[failure], *BACK[done:]]
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS), "\n".join(broken)))
    assert [] == attempt(upgrade)
    with engine.begin() as connection:
        connection.execute(sa.table("pet", sa.column("id")).insert().values(id=7))
        connection.execute(sa.table("user", sa.column("age")).update().values(age=33))
    before = state(engine)
    (error,) = attempt(downgrade)
    assert re.search(ERRORS[failure], error)
    assert before == state(engine)
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS), "\n".join(BACK)))
    assert [] == attempt(downgrade)


def test_kill(project: Project, engine: Engine, attempt: Callable[..., list[str]]) -> None:
    """Killed at some moment, the next run reaches head, as an upgrade that nobody killed does; TEST_KILLS moments."""
    parent = FIRST
    for number in range(5):
        up = [
            f"op.create_table('t{number}', sa.Column('n', sa.Integer(), primary_key=True))",
            f"op.execute('INSERT INTO t{number} VALUES (1)')",
            f"op.add_column('user', sa.Column('c{number}', sa.Integer()))",
            f"op.execute(sa.table('user', sa.column('c{number}')).update().values(c{number}=1))",
            "import time; time.sleep(0.05)",
            f"op.drop_column('user', 'c{number}')",
            "name = sa.column('username', sa.String())",
            "op.execute(sa.table('user', name).update().values(username=name + 'x'))",
            "time.sleep(0.05)",
        ]
        project.write(*revision(f"k{number}", parent, "\n".join(up), f"op.drop_table('t{number}')"))
        parent = f"k{number}"
    before = state(engine)
    assert [] == attempt(upgrade)
    expected = state(engine)
    for _ in range(KILLS):
        assert [] == attempt(downgrade, revision=FIRST)
        with engine.begin() as connection:
            connection.execute(USER.update().values(username="alice"))
        assert before == state(engine)
        with project.start("flask", "db", "upgrade") as process:
            time.sleep(random.uniform(0.5, 1.6))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        assert [] == attempt(upgrade)
        assert expected == state(engine)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_orphans(project: Project, engine: Engine) -> None:
    """A run that would leave rows which refer to nothing is refused, as foreign keys would; old orphans are not."""
    family = (
        "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), "
        "sa.Column('owner_id', sa.Integer(), sa.ForeignKey('user.id')))\n"
        "op.execute('INSERT INTO pet VALUES (1, 1)')"
    )
    project.write(*revision("a1", FIRST, family))
    project.ok("upgrade")
    before = state(engine)
    project.write(*revision("b1", "a1", "op.execute('DELETE FROM user')"))
    done = project.db("upgrade")
    assert (1, True) == (
        done.returncode,
        "a row of pet with rowid 1 would refer to a row of user that does not exist (1 such rows)." in done.stderr,
    )
    assert before == state(engine)
    assert "\n    SELECT * FROM pet WHERE rowid IN (1);\n" in done.stderr
    assert "DELETE" not in done.stderr
    with engine.begin() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text("INSERT INTO pet VALUES (2, 7)"))
    project.write(*revision("b1", "a1", "op.execute('SELECT 1')"))
    project.ok("upgrade")
