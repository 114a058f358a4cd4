"""One run at a time on each database; those who wait find nothing to do."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, make_url, text

from ..adapters.base import own_session
from .support import (
    FIRST,
    LOG,
    Project,
    empty_database,
    holding_lock,
    on_mysql,
    on_postgresql,
    on_servers,
    on_sqlite,
    revision,
    rows,
)

pytestmark = pytest.mark.usefixtures("database")

REVISIONS = 5
TABLE = "op.create_table('a', sa.Column('n', sa.Integer()))"


@on_sqlite
def test_lock_file_of_another(upgraded: Project, database: str) -> None:
    """A lock file that this user may not read is named as that."""
    path = Path(database.removeprefix("sqlite:///") + "-migration-lock")
    path.touch(0o000)
    said = upgraded.without_rights("backup")
    assert f"Error: the lock file {path} cannot be opened: Permission denied.\nFix: give this user the right" in said


def count_in_a_table(project: Project, begin: str = "") -> None:
    """Give the history REVISIONS more, each of which counts itself in a table; the first one begins with ``begin``."""
    parent = FIRST
    up = f"{begin}op.create_table('counted', sa.Column('n', sa.Integer(), primary_key=True, autoincrement=False))"
    for number in range(REVISIONS):
        name = f"c{number:02}"
        project.write(*revision(name, parent, f"{up}\nop.execute('INSERT INTO counted VALUES ({number})')"))
        parent, up = name, f"op.create_table('t{number}', sa.Column('n', sa.Integer(), primary_key=True))"


def exit_statuses(project: Project, count: int) -> list[int]:
    """Return the exit statuses of ``count`` upgrades at once."""
    ends = project.at_once(count, "flask", "db", "upgrade")
    print("\n".join(done.stderr[-2000:] for done in ends if done.returncode))
    return [done.returncode for done in ends]


@pytest.mark.parametrize(("backend", "count"), [("sqlite", 3), ("mysql", 20), ("postgresql", 20)], indirect=["backend"])
def test_many_at_once(project: Project, engine: Engine, count: int) -> None:
    """Upgrades at once, twenty on a server, all end well, and each revision is applied, and logged, once."""
    count_in_a_table(project)
    assert [0] * count == exit_statuses(project, count)
    assert [(number,) for number in range(REVISIONS)] == rows(engine, "SELECT n FROM counted ORDER BY n")
    logged = [name for (name,) in rows(engine, f"SELECT revision FROM {LOG} ORDER BY id")]
    assert [FIRST, *(f"c{number:02}" for number in range(REVISIONS))] == logged


MEET = """\
import os, pathlib, time
pathlib.Path(f"{os.getpid()}.begun").touch()
while len(list(pathlib.Path().glob("*.begun"))) < 2:
    time.sleep(0.05)
"""


@on_sqlite
def test_two_at_once_on_stock(project: Project) -> None:
    """The damage: on stock one of two upgrades fails, if they meet."""
    project.ok("upgrade")
    project.make_stock()
    count_in_a_table(project, MEET)
    assert [0, 1] == sorted(exit_statuses(project, 2))


def test_waiting_for_the_owner(project: Project) -> None:
    """A command that waits names the holder of the lock; one that waits too long ends with an error, and the holder
    goes on. `kill -9` of the holder frees the lock.
    """
    with holding_lock(project) as holder:
        said = project.fails("-x", "lock_wait=0.3", "upgrade")
        assert holder.poll() is None
        holder.kill()
    assert "Waiting for another command on this database (" in said
    assert "gave up after 0.3 seconds, because another command holds the lock of this database (" in said
    assert "since " in said
    assert "Fix: wait until that command has finished, or, if it hangs, end it:\n    " in said
    project.write(*revision("s1", FIRST, "pass"))
    project.ok("-x", "lock_wait=20", "upgrade")
    assert "s1 (head)" in project.ok("current")


@on_servers
def test_two_databases_do_not_meet(project: Project, backend: str, tmp_path: Path) -> None:
    """Two databases on one server have locks of their own."""
    with empty_database(backend, tmp_path) as other, holding_lock(project) as holder:
        project.ok("-x", "lock_wait=0", "upgrade", FIRST, DATABASE_URL=other)
        assert holder.poll() is None


@on_postgresql
def test_session_outside_the_pool(engine: Engine) -> None:
    """A session of its own needs no room in the app's pool, connects as the app does, and ends when it is closed."""
    made = []

    def connect() -> object:
        made.append(engine.dialect.loaded_dbapi.connect(*args, **options))
        return made[-1]

    args, options = engine.dialect.create_connect_args(engine.url)
    full = create_engine(engine.url, creator=connect, pool_size=1, max_overflow=0)
    with full.connect(), own_session(full) as session:
        session.execute(text("SELECT 1"))
        assert (2, False, 0) == (len(made), made[1].closed, made[1].info.transaction_status)
    assert [False, True] == [connection.closed for connection in made]
    full.dispose()


@on_postgresql
def test_concurrent_index_is_not_blocked(project: Project) -> None:
    """An upgrade that waits for the lock does not block CREATE INDEX CONCURRENTLY of the one that has it."""
    index = "op.create_index('ix', 'user', ['email'], postgresql_concurrently=True)"
    block = f"with op.get_context().autocommit_block():\n    {index}"
    with holding_lock(project, block) as holder, project.start("flask", "db", "upgrade") as waiting:
        assert any("Waiting for another command on this database (" in line for line in waiting.stderr)
        (project.path / "go").touch()
        ends = [process.communicate(timeout=30) for process in (holder, waiting)]
        assert (0, 0) == (holder.returncode, waiting.returncode), ends


LOSE = {
    "sqlite": "import glob, os\nfor file in glob.glob('../*-migration-lock'):\n    os.remove(file)",
    "postgresql": "op.execute(\"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
    ' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")',
}


@pytest.mark.parametrize("backend", LOSE, indirect=True)
def test_a_lost_lock_stops_the_run(project: Project, backend: str, engine: Engine) -> None:
    """A lock that is lost while a revision runs is noticed before that is committed, and no other revision runs."""
    project.ok("upgrade")
    project.write(*revision("a1", FIRST, f"{TABLE}\n{LOSE[backend]}"))
    project.write(*revision("b1", "a1", TABLE.replace("'a'", "'b'")))
    said = project.fails("upgrade")
    assert {"alembic_version", LOG, "user"} == set(inspect(engine).get_table_names())
    assert [(FIRST,)] == rows(engine, f"SELECT revision FROM {LOG}")
    assert "Error: the lock of this database was lost during the run" in said
    assert f"database is at {FIRST}.\n" in said


@on_mysql
def test_a_killed_session_stops_the_run(project: Project, engine: Engine) -> None:
    """On MySQL the session of the steps holds the lock: after KILL of it the run fails, and the next one recovers."""
    kill = (
        "number = op.get_bind().scalar(sa.text('SELECT CONNECTION_ID()'))\n"
        "with op.get_bind().engine.connect() as other:\n    other.execute(sa.text(f'KILL {number}'))"
    )
    project.ok("upgrade")
    project.write(*revision("a1", FIRST, f"{TABLE}\n{kill}"))
    assert "the next upgrade or downgrade rolls them back." in project.fails("upgrade")
    project.write(*revision("a1", FIRST, TABLE))
    project.ok("upgrade")
    assert "a" in inspect(engine).get_table_names()


def lock_file(project: Project) -> Path:
    """Return the path of the project's lock file on SQLite."""
    return Path(f"{make_url(project.environ['DATABASE_URL']).database}-migration-lock")


@on_sqlite
@pytest.mark.parametrize(
    ("make", "works"),
    [
        pytest.param(lambda path, victim: path.symlink_to(victim), False, id="symbolic link"),
        pytest.param(lambda path, victim: path.hardlink_to(victim), True, id="hard link"),
        pytest.param(lambda path, victim: path.mkdir(), False, id="folder"),
        pytest.param(lambda path, victim: os.mkfifo(path), True, id="pipe"),
    ],
)
def test_nothing_is_written_to_the_lock_file(project: Project, make: Callable[..., None], works: bool) -> None:
    """A link or a pipe in place of the lock file does no harm: a command writes nothing to it.

    The message of a refusal has the line that moves it away.
    """
    path, victim = lock_file(project), project.write("victim", "precious")
    make(path, victim)
    done = project.db("upgrade")
    assert (0 if works else 1, "precious") == (done.returncode, victim.read_text()), done.stderr
    if not works:
        assert f"Error: the lock file {path} cannot be opened: " in done.stderr
        line = f"mv {path} {path}-old"
        assert f"Fix: it must be a file, not a link or a folder: move that away:\n    {line}\n" in done.stderr
        subprocess.run(line, shell=True, check=True)
        project.ok("upgrade")


@on_sqlite
@pytest.mark.parametrize("command", ["upgrade", "stamp head"])
def test_the_contents_of_the_lock_file_are_not_read(project: Project, command: str) -> None:
    """What changes the revision takes the lock; and what somebody wrote to its file reaches neither the terminal nor a
    line to paste.
    """
    fcntl = pytest.importorskip("fcntl")
    path = lock_file(project)
    path.write_text("1; rm -rf ~")
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        said = project.fails("-x", "lock_wait=0", *command.split())
    assert "another command holds the lock of this database (another process, since " in said
    assert f"\n    fuser -k {path}\n" in said
