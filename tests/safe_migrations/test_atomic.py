"""All or nothing: a run that fails or is killed leaves the database as it was, or at a revision of the history."""

import os
import random
import signal
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine, text

from tests.conftest import FIRST, Project, revision
from tests.test_migrations import schema_of

TRANSACTIONAL = ["sqlite", "postgresql"]
OPERATIONS = [
    "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))",
    "op.add_column('user', sa.Column('age', sa.Integer()))",
    'op.execute("UPDATE \\"user\\" SET username = \'changed\'")',
    "op.create_index('ix', 'user', ['email', 'username'])",
    "op.execute('CREATE VIEW v AS SELECT 1 AS one')",
]
FAILURES = {"python": "raise RuntimeError('stop')", "sql": "op.execute('nonsense')"}


@pytest.fixture
def project(project: Project, database: str) -> Project:
    """A copy of the project on a database at the first revision, with a user."""
    project.environ["DATABASE_URL"] = database
    project.ok("upgrade")
    return project


@pytest.fixture
def engine(project: Project, database: str) -> Iterator[Engine]:
    """Looks at the database, which has a user."""
    engine = create_engine(database)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO \"user\" (username, email) VALUES ('alice', 'alice@example.com')"))
    yield engine
    engine.dispose()


def state(engine: Engine) -> tuple[object, ...]:
    """Schema, rows and revision."""
    with engine.connect() as connection:
        rows = connection.execute(text('SELECT * FROM "user" ORDER BY id')).all()
        return schema_of(connection), rows, connection.scalars(text("SELECT version_num FROM alembic_version")).all()


@pytest.mark.parametrize("backend", TRANSACTIONAL, indirect=True)
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("done", range(1, len(OPERATIONS)))
def test_failure(project: Project, engine: Engine, failure: str, done: int) -> None:
    """A revision that fails after ``done`` operations leaves nothing; mended, it goes through."""
    before = state(engine)
    broken = [*OPERATIONS[:done], FAILURES[failure], *OPERATIONS[done:]]
    project.write(*revision("a1", FIRST, "\n".join(broken)))
    assert 1 == project.db("upgrade").returncode
    assert before == state(engine)
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS)))
    project.ok("upgrade")
    assert "a1 (head)" in project.ok("current")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_failure_on_stock(project: Project, engine: Engine) -> None:
    """The damage: on stock the first operations stay, and the mended script fails too."""
    project.make_stock()
    before = state(engine)
    project.write(*revision("a1", FIRST, "\n".join([*OPERATIONS[:2], FAILURES["python"]])))
    assert 1 == project.db("upgrade").returncode
    assert before != state(engine)
    project.write(*revision("a1", FIRST, "\n".join(OPERATIONS)))
    assert "table pet already exists" in project.db("upgrade").stderr


@pytest.mark.parametrize("backend", TRANSACTIONAL, indirect=True)
def test_failure_of_a_downgrade(project: Project, engine: Engine) -> None:
    """A downgrade that fails leaves the database where it was."""
    project.write(*revision("a1", FIRST, OPERATIONS[0], "op.drop_table('pet')\nraise RuntimeError('stop')"))
    project.ok("upgrade")
    before = state(engine)
    assert 1 == project.db("downgrade").returncode
    assert before == state(engine)


@pytest.mark.parametrize("backend", TRANSACTIONAL, indirect=True)
def test_kill(project: Project, engine: Engine) -> None:
    """Killed at ten moments, the next run reaches head, as an upgrade that nobody killed does."""
    parent = FIRST
    for number in range(5):
        project.write(
            *revision(
                f"k{number}",
                parent,
                f"op.create_table('t{number}', sa.Column('n', sa.Integer()))\n"
                f"op.execute('INSERT INTO t{number} VALUES (1)')\nimport time\ntime.sleep(0.1)",
                f"op.drop_table('t{number}')",
            )
        )
        parent = f"k{number}"
    project.ok("upgrade")
    expected = state(engine)
    for _ in range(10):
        project.ok("downgrade", FIRST)
        with project.start("flask", "db", "upgrade") as process:
            time.sleep(random.uniform(0.3, 1.3))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        project.ok("-x", "lock_wait=20", "upgrade")
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
    assert (1, True) == (done.returncode, "row 1 of pet to user" in done.stderr)
    assert before == state(engine)
    with engine.begin() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(text("INSERT INTO pet VALUES (2, 7)"))
    project.write(*revision("b1", "a1", "op.execute('SELECT 1')"))
    project.ok("upgrade")
