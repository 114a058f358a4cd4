"""One run at a time on each database; those who wait find nothing to do."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, make_url, text

from ..adapters.base import own_session
from .support import FIRST, SERVERS, Project, revision, run_on_server, server_url

pytestmark = pytest.mark.usefixtures("database")

REVISIONS = 20


def count_in_a_table(project: Project, begin: str = "") -> None:
    """Give the history REVISIONS more, each of which counts itself in a table; the first one begins with ``begin``."""
    parent = FIRST
    up = f"{begin}op.create_table('counted', sa.Column('n', sa.Integer()))"
    for number in range(REVISIONS):
        name = f"c{number:02}"
        project.write(*revision(name, parent, f"{up}\nop.execute('INSERT INTO counted VALUES ({number})')"))
        parent, up = name, f"op.create_table('t{number}', sa.Column('n', sa.Integer()))"


def exit_statuses(project: Project, count: int) -> list[int]:
    """How ``count`` upgrades at once end."""
    processes = [project.start("flask", "db", "upgrade") for _ in range(count)]
    ends = [(process.communicate(timeout=300), process.returncode) for process in processes]
    print("\n".join(err[-2000:] for (_, err), status in ends if status))
    return [status for _, status in ends]


def test_twenty_at_once(project: Project, engine: Engine) -> None:
    """Twenty upgrades at once all end well, and each revision is applied once."""
    count_in_a_table(project)
    assert [0] * 20 == exit_statuses(project, 20)
    with engine.connect() as connection:
        counted = connection.scalars(text("SELECT n FROM counted ORDER BY n")).all()
    assert list(range(REVISIONS)) == counted


@pytest.mark.parametrize("backend", ["sqlite", "mysql"], indirect=True)
def test_six_at_once_on_stock(project: Project) -> None:
    """The damage: on stock most of six fail, if they meet."""
    project.make_stock()
    project.ok("upgrade")
    count_in_a_table(project, "import time\ntime.sleep(2)\n")
    assert 0 < sum(status != 0 for status in exit_statuses(project, 6))


def slow(project: Project, seconds: float) -> None:
    """Add a revision that takes long."""
    project.write(*revision("s1", FIRST, f"import time\nopen('begun', 'w').close()\ntime.sleep({seconds})"))


def begun(project: Project) -> None:
    """Wait until the slow revision runs."""
    while not (project.path / "begun").exists():
        time.sleep(0.05)


def test_waiting_is_told(project: Project) -> None:
    """Who waits says for whom; who waits too long says so and ends, and the holder goes on."""
    slow(project, 6)
    with project.start("flask", "db", "upgrade") as first:
        begun(project)
        done = project.db("-x", "lock_wait=1", "upgrade")
        assert 1 == done.returncode
        assert "Waiting for another command on this database (" in done.stderr
        assert "gave up after 1 seconds, because another command holds the lock of this database (" in done.stderr
        assert "since " in done.stderr
        assert "Fix: wait until that command has finished, or, if it hangs, end it:\n    " in done.stderr
        first.communicate(timeout=60)
        assert 0 == first.returncode


def test_the_lock_dies_with_its_owner(project: Project) -> None:
    """`kill -9` of the holder frees the lock."""
    slow(project, 60)
    with project.start("flask", "db", "upgrade") as first:
        begun(project)
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    slow(project, 0)
    project.ok("-x", "lock_wait=20", "upgrade")
    assert "s1 (head)" in project.ok("current")


def test_stamp_waits_too(project: Project) -> None:
    """`stamp` changes the revision, so it takes the lock."""
    project.ok("upgrade")
    slow(project, 60)
    with project.start("flask", "db", "upgrade") as first:
        begun(project)
        assert "holds the lock" in project.db("-x", "lock_wait=1", "stamp", "base").stderr
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_two_databases_do_not_meet(project: Project, backend: str) -> None:
    """Two databases on one server have locks of their own."""
    server = server_url(backend)
    other = server.set(database=f"{server.database}_other_{os.getpid()}")
    run_on_server(server, f"CREATE DATABASE {other.database}")
    try:
        slow(project, 60)
        with project.start("flask", "db", "upgrade") as first:
            begun(project)
            environ = {"DATABASE_URL": other.render_as_string(hide_password=False)}
            done = project.db("-x", "lock_wait=0", "upgrade", FIRST, **environ)
            assert (0, None) == (done.returncode, first.poll())
            first.kill()
    finally:
        run_on_server(server, f"DROP DATABASE {other.database}")


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
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


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_concurrent_index_is_not_blocked(project: Project, engine: Engine) -> None:
    """An upgrade that waits for the lock does not block CREATE INDEX CONCURRENTLY of the one that has it."""
    index = "import time\nopen('begun', 'w').close()\ntime.sleep(3)\nwith op.get_context().autocommit_block():\n"
    index += "    op.create_index('ix', 'user', ['email'], postgresql_concurrently=True)"
    project.write(*revision("s1", FIRST, index))
    with project.start("flask", "db", "upgrade") as first:
        begun(project)
        project.ok("upgrade")
        first.communicate(timeout=30)
        assert 0 == first.returncode


@pytest.mark.parametrize("value", ["soon", "-1", "1e9"])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_settings(project: Project, value: str) -> None:
    """A setting that is no number of seconds is refused by its name."""
    done = project.db("-x", f"lock_wait={value}", "upgrade")
    assert (1, True) == (done.returncode, "MIGRATION_LOCK_WAIT (or -x lock_wait=...) is '" in done.stderr)


LOSE = {
    "sqlite": "import glob, os\nfor file in glob.glob('../*-migration-lock'):\n    os.remove(file)",
    "postgresql": "op.execute(\"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
    ' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")',
}


@pytest.mark.parametrize("backend", LOSE, indirect=True)
def test_a_lost_lock_stops_the_run(project: Project, backend: str, engine: Engine) -> None:
    """A lock that is lost while a revision runs is noticed before that is committed, and no other revision runs."""
    project.ok("upgrade")
    project.write(*revision("a1", FIRST, f"op.create_table('a', sa.Column('n', sa.Integer()))\n{LOSE[backend]}"))
    project.write(*revision("b1", "a1", "op.create_table('b', sa.Column('n', sa.Integer()))"))
    done = project.db("upgrade")
    assert (1, {"alembic_version", "user"}) == (done.returncode, set(inspect(engine).get_table_names()))
    assert "Error: the lock of this database was lost during the run" in done.stderr
    assert f"database is at {FIRST}.\n" in done.stderr


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_a_killed_session_stops_the_run(project: Project, engine: Engine) -> None:
    """On MySQL the session of the steps holds the lock: after KILL of it the run fails, and the next one recovers."""
    kill = (
        "number = op.get_bind().scalar(sa.text('SELECT CONNECTION_ID()'))\n"
        "other = sa.create_engine(op.get_bind().engine.url)\n"
        "with other.connect() as session:\n    session.execute(sa.text(f'KILL {number}'))\n"
        "other.dispose()"
    )
    project.ok("upgrade")
    project.write(*revision("a1", FIRST, f"op.create_table('a', sa.Column('n', sa.Integer()))\n{kill}"))
    done = project.db("upgrade")
    assert (1, True) == (done.returncode, "the next upgrade or downgrade rolls them back." in done.stderr)
    project.write(*revision("a1", FIRST, "op.create_table('a', sa.Column('n', sa.Integer()))  # once"))
    project.ok("upgrade")
    assert "a" in inspect(engine).get_table_names()


def lock_file(project: Project) -> Path:
    """Return the path of the project's lock file on SQLite."""
    return Path(f"{make_url(project.environ['DATABASE_URL']).database}-migration-lock")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("make", "works"),
    [
        (lambda path, victim: path.symlink_to(victim), False),
        (lambda path, victim: path.hardlink_to(victim), True),
        (lambda path, victim: path.mkdir(), False),
        (lambda path, victim: os.mkfifo(path), True),
    ],
)
def test_nothing_is_written_to_the_lock_file(project: Project, make: Callable[..., None], works: bool) -> None:
    """A link or a pipe in place of the lock file does no harm: a command writes nothing to it."""
    path, victim = lock_file(project), project.path / "victim"
    victim.write_text("precious")
    make(path, victim)
    done = project.db("upgrade")
    assert (0 if works else 1, "precious") == (done.returncode, victim.read_text()), done.stderr
    assert works or f"'{path}'" in done.stderr


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_contents_of_the_lock_file_are_not_read(project: Project) -> None:
    """What somebody wrote to the lock file reaches neither the terminal nor a line to paste."""
    fcntl = pytest.importorskip("fcntl")
    path = lock_file(project)
    path.write_text("1; rm -rf ~")
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = project.db("upgrade", MIGRATION_LOCK_WAIT="0")
    assert 1 == done.returncode
    assert "another command holds the lock of this database (another process, since " in done.stderr
    assert f"\n    fuser -k {path}\n" in done.stderr
