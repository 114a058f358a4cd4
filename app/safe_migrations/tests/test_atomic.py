"""All or nothing: a run that fails or is killed leaves the database as it was, or at a revision of the history."""

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from textwrap import dedent
from typing import Any

import pytest
import sqlalchemy as sa
from flask_migrate import downgrade, upgrade
from sqlalchemy import Engine, create_engine

from .support import FIRST, USER, Project, on_sqlite, revision, run_on_server, state

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
STOP = "raise RuntimeError('stop')"
KILLS = int(os.environ.get("TEST_KILLS", "1"))


@pytest.fixture
def engine(database: str, upgraded: Project) -> Iterator[Engine]:
    """Looks at the database, which is at the first revision and has a user."""
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(USER.insert().values(username="alice", email="alice@example.com"))
    yield engine
    engine.dispose()


def on_each(*cases: Any) -> pytest.MarkDecorator:
    """Run a test with each case on MySQL, which undoes operations, and with the last one where a transaction does."""
    found = [("mysql", case) for case in cases] + [(backend, cases[-1]) for backend in ("sqlite", "postgresql")]
    return pytest.mark.parametrize(("backend", "case"), found, indirect=["backend"])


@on_each(
    *((done, STOP, "stop") for done in range(1, 6)),
    (5, "op.execute('nonsense')", "syntax error|error in your SQL syntax"),
)
def test_failure(
    project: Project, engine: Engine, attempt: Callable[..., list[str]], case: tuple[int, str, str]
) -> None:
    """A revision that fails after some operations leaves nothing; mended, it goes through."""
    done, failure, message = case
    before = state(engine)
    broken = [*OPERATIONS[:done], failure, *OPERATIONS[done:]]
    project.write(*revision("a1", FIRST, "\n".join(broken)))
    (error,) = attempt(upgrade)
    assert re.search(message, error)
    assert before == state(engine)
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS)))
    assert [] == attempt(upgrade)
    assert ["('a1',)"] == state(engine)[-1]["alembic_version"]


@on_each(STOP, "op.execute('CREATE TABLE t (a INT, a INT)')", f"{CHANGE}\n{STOP}")
def test_failure_of_the_next(
    project: Project, engine: Engine, attempt: Callable[..., list[str]], case: str, backend: str
) -> None:
    """A revision that fails undoes none before it; but on SQLite, where a run is one transaction, all of them."""
    before = state(engine)
    project.write(*revision("a1", FIRST, OPERATIONS[0], "op.drop_table('pet')"))
    assert [] == attempt(upgrade)
    done = state(engine)
    assert [] == attempt(downgrade)
    project.write(*revision("b1", "a1", case))
    assert attempt(upgrade)
    assert (before if backend == "sqlite" else done) == state(engine)


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_failure_on_stock(project: Project, engine: Engine) -> None:
    """The damage: on stock the first operations stay, and the mended script fails too."""
    project.make_stock()
    before = state(engine)
    project.write(*revision("a1", FIRST, "\n".join([*OPERATIONS[:2], STOP])))
    assert 1 == project.db("upgrade").returncode
    assert before != state(engine)
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS)))
    assert "already exists" in project.db("upgrade").stderr


@on_each(1, 3, 5)
def test_failure_of_a_downgrade(project: Project, engine: Engine, attempt: Callable[..., list[str]], case: int) -> None:
    """A downgrade that fails after some operations leaves the database where it was, rows included."""
    broken = [*BACK[:case], STOP, *BACK[case:]]
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS), "\n".join(broken)))
    assert [] == attempt(upgrade)
    with engine.begin() as connection:
        connection.execute(sa.table("pet", sa.column("id")).insert().values(id=7))
        connection.execute(sa.table("user", sa.column("age")).update().values(age=33))
    before = state(engine)
    assert ["stop"] == attempt(downgrade)
    assert before == state(engine)
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS), "\n".join(BACK)))
    assert [] == attempt(downgrade)


def test_kill(project: Project, engine: Engine, attempt: Callable[..., list[str]]) -> None:
    """Killed at some moment, the next run reaches head, as an upgrade that nobody killed does; TEST_KILLS moments."""
    for number, parent in enumerate([FIRST, "k0", "k1", "k2", "k3"]):
        up = f"""
            import time
            op.create_table("t{number}", sa.Column("n", sa.Integer(), primary_key=True))
            op.execute("INSERT INTO t{number} VALUES (1)")
            op.add_column("user", sa.Column("c{number}", sa.Integer()))
            op.execute(sa.table("user", sa.column("c{number}")).update().values(c{number}=1))
            time.sleep(0.03)
            op.drop_column("user", "c{number}")
            name = sa.column("username", sa.String())
            op.execute(sa.table("user", name).update().values(username=name + "x"))
            time.sleep(0.03)
        """
        project.write(*revision(f"k{number}", parent, dedent(up), f"op.drop_table('t{number}')"))
    before = state(engine)
    assert [] == attempt(upgrade)
    expected = state(engine)
    for _ in range(KILLS):
        assert [] == attempt(downgrade, revision=FIRST)
        with engine.begin() as connection:
            connection.execute(USER.update().values(username="alice"))
        assert before == state(engine)
        with project.start("flask", "db", "upgrade") as process:
            while "Running upgrade" not in process.stderr.readline():
                assert process.poll() is None
            time.sleep(random.uniform(0, 0.5))
            process.kill()
            process.communicate()
        assert [] == attempt(upgrade)
        assert expected == state(engine)


@on_sqlite
def test_orphans(project: Project, engine: Engine, attempt: Callable[..., list[str]]) -> None:
    """A run that would leave rows which refer to nothing is refused, as foreign keys would; old orphans are not."""
    family = (
        "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), "
        "sa.Column('owner_id', sa.Integer(), sa.ForeignKey('user.id')))\n"
        "op.execute('INSERT INTO pet VALUES (1, 1)')"
    )
    project.write(*revision("a1", FIRST, family))
    assert [] == attempt(upgrade)
    before = state(engine)
    project.write(*revision("b1", "a1", "op.execute('DELETE FROM user')"))
    (error,) = attempt(upgrade)
    assert "a row of pet with rowid 1 would refer to a row of user that does not exist (1 such row)." in error
    assert before == state(engine)
    assert "\n    SELECT * FROM pet WHERE rowid IN (1);" in error
    assert "DELETE" not in error
    assert "The failed revision was rolled back; the database is at a1." in project.fails("upgrade")
    run_on_server(engine.url, "PRAGMA foreign_keys=OFF", "INSERT INTO pet VALUES (2, 7)")
    project.write(*revision("b1", "a1", "op.execute('SELECT 1')"))
    assert [] == attempt(upgrade)
