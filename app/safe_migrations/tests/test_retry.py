"""A step that waits for a lock lets other sessions through."""

import re
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from .. import console
from ..retry import RetryPolicy
from .servers import MariaDBServers
from .support import (
    FIRST,
    Project,
    Sql,
    is_waiting,
    on_mysql,
    on_postgresql,
    on_servers,
    on_sqlite,
    revision,
    rows,
    run_on_server,
)

USERS = "SELECT name FROM people"
LIMIT = 2  # seconds
LIMITED = {"mysql": f"SET lock_wait_timeout = {LIMIT}", "postgresql": f"SET lock_timeout = '{LIMIT}s'"}


@pytest.fixture
def project(project: Project, database: str) -> Project:
    """Return a copy of the project on a database whose next revision alters the table people."""
    project.environ["DATABASE_URL"] = database
    people = "op.create_table('people', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('name', sa.Text()))"
    project.write(*revision("p1", FIRST, people))
    project.ok("upgrade")
    pet = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"
    project.write(*revision("a1", "p1", f"{pet}\nop.add_column('people', sa.Column('age', sa.Integer()))"))
    return project


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """Yield an engine that opens a new connection each time."""
    engine = create_engine(database, poolclass=NullPool)
    yield engine
    engine.dispose()


def stalls(engine: Engine, seconds: float) -> bool:
    """Read the table again and again for ``seconds``; return True as soon as a reader has waited for LIMIT seconds."""
    end = time.monotonic() + seconds
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as reader:
        reader.execute(text(LIMITED[engine.dialect.name]))
        while time.monotonic() < end:
            try:
                reader.execute(text(USERS)).all()
            except OperationalError:
                return True
            time.sleep(0.05)
    return False


@on_servers
def test_readers_do_not_stall(project: Project, engine: Engine) -> None:
    """While a transaction holds the table, others wait for a time-out at most, and the upgrade succeeds after it."""
    with engine.connect() as holder:
        holder.execute(text(USERS)).all()
        with project.start("flask", "db", "-x", "lock_timeout=1", "upgrade") as upgrade:
            assert any("Another session holds a lock; trying again in " in line for line in upgrade.stderr)
            stalled = stalls(engine, LIMIT + 1)
            holder.rollback()
            assert (False, 0) == (stalled, upgrade.wait())
    assert "a1 (head)" in project.ok("current")


@on_servers
def test_readers_stall_on_stock(project: Project, engine: Engine) -> None:
    """The damage: on stock they wait for as long as the transaction lasts."""
    project.make_stock()
    with engine.connect() as holder:
        holder.execute(text(USERS)).all()
        with project.start("flask", "db", "upgrade") as upgrade:
            stalled = stalls(engine, 120)
            holder.rollback()
            assert (True, 0) == (stalled, upgrade.wait())


@on_servers
def test_giving_up(project: Project, engine: Engine) -> None:
    """After the last try the message names the session that holds the lock, and the line that ends it."""
    with engine.connect() as connection:
        connection.execute(text(USERS)).all()
        done = project.db("-x", "lock_timeout=0.2", "-x", "lock_retries=2", "upgrade")
    assert (1, True) == (done.returncode, "gave up after 2 tries of 0.2 seconds" in done.stderr)
    assert "(session " in done.stderr
    assert ("KILL " in done.stderr) or ("pg_terminate_backend(" in done.stderr)


@on_sqlite
@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN"], ids=["writer", "reader"])
def test_others_are_waited_for(project: Project, engine: Engine, begin: str) -> None:
    """SQLite has one writer, who commits when no other connection reads: the run waits for others, and tries again."""
    with engine.connect() as connection:
        connection.execute(text(begin))
        connection.execute(text(USERS)).all()
        with project.start("flask", "db", "-x", "lock_timeout=0.1", "upgrade") as process:
            told = iter(process.stderr)
            assert any("Another session holds a lock; trying again in " in line for line in told)
            connection.rollback()
            assert ("", 0) == ("".join(line for line in told if "Error" in line), process.wait())
    assert "a1 (head)" in project.ok("current")


# Its transaction has changed fewer rows than the other one, so the server rolls it back.
DEADLOCK = """
import threading
from pathlib import Path
people = "UPDATE people SET name = concat(name, '!') WHERE id {}"
run = lambda connection, ids: connection.execute(sa.text(people.format(ids)))
run(op.get_bind(), '= 1')
if not Path('met').exists():
    Path('met').touch()
    other = op.get_bind().engine.connect()
    run(other, '> 1')
    thread = threading.Thread(target=lambda: (run(other, '= 1'), other.commit(), other.close()))
    thread.start()
    try:
        run(op.get_bind(), '= 2')
    finally:
        thread.join()
"""


@on_postgresql
@pytest.mark.parametrize("command", ["upgrade", "status"])
def test_catalog_that_waits(project: Project, engine: Engine, command: str) -> None:
    """PostgreSQL's catalog waits for a table that another session alters; the command says what it waits for."""
    project.environ["MIGRATION_REVIEW"] = "enforce"
    project.ok("upgrade", "p1")
    project.write(*revision("a1", "p1", "op.add_column('people', sa.Column('age', sa.Integer()))"))
    with engine.connect() as holder:
        holder.execute(text("LOCK TABLE people"))
        with project.start("flask", "db", command) as waiting:
            assert any("may wait for a lock of another session: 2 seconds so far" in line for line in waiting.stderr)
            holder.rollback()
            assert waiting.wait() == (command == "status")


@on_mysql
def test_deadlock(project: Project, engine: Engine, sql: Sql) -> None:
    """A revision that the server has rolled back, in favor of another transaction, is undone and run again.

    After the last try the message says to run the command again.
    """
    project.write(*revision("a1", "p1", f"op.add_column('people', sa.Column('age', sa.Integer()))\n{DEADLOCK}"))
    sql("INSERT INTO people (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    done = project.run("flask", "db", "upgrade")
    assert (0, True) == (done.returncode, "trying again in " in done.stderr), done.stderr
    assert [("a!!",), ("b!",), ("c!",)] == rows(engine, "SELECT name FROM people ORDER BY id")
    (project.path / "met").unlink()
    project.write(*revision("b1", "a1", DEADLOCK))
    done = project.run("flask", "db", "-x", "lock_retries=1", "upgrade")
    assert (1, True) == (done.returncode, "Fix: run the command again" in done.stderr), done.stderr


@on_mysql
def test_deadlock_that_the_script_catches(project: Project, engine: Engine, sql: Sql) -> None:
    """A script that goes on after a deadlock stops, because the server has rolled back its earlier changes."""
    caught = DEADLOCK.replace("    finally:", "    except sa.exc.OperationalError:\n        pass\n    finally:")
    project.write(*revision("a1", "p1", f"{caught}\nrun(op.get_bind(), '= 3')"))
    sql("INSERT INTO people (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    assert "upgrade() of revision a1 ends its transaction (a rollback)" in project.fails("upgrade")
    assert [("a!",), ("b!",), ("c!",)] == rows(engine, "SELECT name FROM people ORDER BY id")


@pytest.fixture(scope="module")
def server(mariadb: MariaDBServers) -> URL:
    """Return the URL of a server on which a lock time-out rolls the transaction back, and not only its statement."""
    return mariadb.new("--innodb-rollback-on-timeout")


@pytest.fixture
def holder(project: Project, backend: str, server: URL) -> Iterator[Connection]:
    """Move the project to an empty database on that server; yield a connection to it, to hold locks."""
    run_on_server(server, "DROP DATABASE IF EXISTS app", "CREATE DATABASE app")
    url = server.set(database="app")
    project.environ["DATABASE_URL"] = url.render_as_string()
    project.ok("upgrade", "p1")
    run_on_server(url, "INSERT INTO people (id, name) VALUES (1, 'a'), (2, 'b')")
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


CHANGE = "print('{0}')\nop.execute(\"UPDATE people SET name = concat(name, '!') WHERE id = {0}\")\n"
LOCK = "SELECT * FROM people WHERE id = {} FOR UPDATE"
TWICE = ("-x", "lock_timeout=1", "-x", "lock_retries=2", "upgrade")


@on_mysql
def test_time_out_that_rolls_back(project: Project, holder: Connection) -> None:
    """If a lock time-out rolls back earlier changes (innodb_rollback_on_timeout), all of the revision is run again.

    Retrying the statement alone would lose them. After the last try the message says to run the command again.
    """
    project.write(*revision("a1", "p1", CHANGE.format(1) + CHANGE.format(2)))
    holder.execute(text(LOCK.format(2)))
    done = project.db(*TWICE)
    assert (1, ["1", "2", "1", "2"]) == (done.returncode, done.stdout.split()), done.stderr
    assert "Lock wait timeout exceeded; try restarting transaction (1205)\nFix: run the command again, " in done.stderr
    assert "same tables:\n    flask db -x lock_timeout=1 -x lock_retries=2 upgrade\n" in done.stderr
    assert "the database is at p1." in done.stderr
    with project.start("flask", "db", "-x", "lock_timeout=1", "upgrade") as upgrade:
        assert any("Another session holds a lock; trying again in " in line for line in upgrade.stderr)
        holder.rollback()
        assert 0 == upgrade.wait()
    assert [("a!",), ("b!",)] == rows(holder.engine, "SELECT name FROM people ORDER BY id")


@on_mysql
def test_time_out_of_the_first_statement(project: Project, holder: Connection) -> None:
    """A statement before which the transaction has no changes is retried alone, also on such a server."""
    project.write(*revision("a1", "p1", CHANGE.format(1)))
    holder.execute(text(LOCK.format(1)))
    done = project.db(*TWICE)
    assert (1, ["1"]) == (done.returncode, done.stdout.split()), done.stderr
    assert "gave up after 2 tries of 1 second" in done.stderr


@on_mysql
def test_time_out_of_ddl(project: Project, holder: Connection) -> None:
    """DDL is retried alone, also on such a server: it has committed the changes before it."""
    ddl = "print('ddl')\nop.add_column('people', sa.Column('age', sa.Integer()))"
    project.write(*revision("a1", "p1", CHANGE.format(1) + ddl))
    holder.execute(text(USERS)).all()
    done = project.db(*TWICE)
    assert (1, ["1", "ddl"]) == (done.returncode, done.stdout.split()), done.stderr
    assert "gave up after 2 tries of 1 second" in done.stderr


def test_pauses() -> None:
    """They grow from half a second to ten, and there is none after the last try."""
    pauses = list(RetryPolicy(5, 10).pauses())
    assert 9 == len(pauses)
    assert 0.4 <= pauses[0] <= 0.6
    assert 8 <= pauses[-1] <= 12


@on_postgresql
def test_giving_up_after_an_autocommit_block(project: Project, engine: Engine) -> None:
    """A revision that has committed a part is tried once; the message says so, and that this part remains."""
    block = "with op.get_context().autocommit_block():\n    op.execute('CREATE TABLE inside ()')\n"
    project.write(*revision("a1", "p1", f"{block}op.add_column('people', sa.Column('age', sa.Integer()))"))
    with engine.connect() as connection:
        connection.execute(text(USERS)).all()
        done = project.db("-x", "lock_timeout=0.2", "upgrade")
    assert (1, True) == (done.returncode, "gave up after 1 try of 0.2 seconds" in done.stderr)
    assert "up to the end of its autocommit block were committed and remain.\n" in done.stderr


@on_sqlite
@pytest.mark.parametrize("command", ["upgrade p1", "downgrade base", "stamp base", "stamp --purge base"])
def test_command_to_run_again(project: Project, engine: Engine, command: str) -> None:
    """If the session that holds the lock is unknown, the message says to run the same command again later."""
    if command == "upgrade p1":
        project.ok("downgrade", FIRST)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        done = project.db("-x", "lock_timeout=0.1", "-x", "lock_retries=1", *command.split())
    message = f"Fix: try again later:\n    flask db -x lock_timeout=0.1 -x lock_retries=1 {command}\n"
    assert (1, True) == (done.returncode, message in done.stderr), done.stderr


@on_postgresql
def test_concurrent_index_waits(project: Project, engine: Engine) -> None:
    """In an autocommit block nothing is cut off, and nothing that it committed is run again: the index is valid."""
    block = "op.create_table('before', sa.Column('id', sa.Integer()))\nwith op.get_context().autocommit_block():\n"
    block += "    op.create_index('ix', 'people', ['name'], postgresql_concurrently=True)"
    project.write(*revision("b1", "a1", block))
    project.ok("upgrade", "a1")
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO people (name) VALUES ('Rex')"))
        threading.Timer(1.5, connection.commit).start()
        project.ok("-x", "lock_timeout=0.2", "upgrade")
    assert [(True,)] == rows(engine, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix'::regclass")


OTHER = """op.add_column('people', sa.Column('nick', sa.Text()))
from app import db
db.session.execute(sa.text("UPDATE people SET name = 'Rex'"))
db.session.commit()"""
OTHER_ENGINE = """op.add_column('people', sa.Column('nick', sa.Text()))
engine = sa.create_engine(op.get_bind().engine.url, poolclass=sa.NullPool)
with engine.begin() as other:
    other.execute(sa.text("UPDATE people SET name = 'Rex'"))"""


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
@pytest.mark.parametrize("other", [OTHER, OTHER_ENGINE], ids=["session", "engine"])
def test_another_connection(project: Project, backend: str, other: str) -> None:
    """A script that waits on another connection for what its own revision holds is ended, with what to do."""
    if backend == "sqlite":
        project.environ["DATABASE_URL"] += "?timeout=0.2"
    project.write(*revision("b1", "a1", other))
    done = project.db("-x", "lock_timeout=0.2", "upgrade")
    assert 1 == done.returncode
    assert (
        "on a second connection (such as db.session) the script waited too long for a lock that the revision's own"
        " connection may hold. This statement waited: UPDATE people SET name = 'Rex'\n"
        "Fix: run the statement on the connection of the revision:\n"
        '    op.get_bind().execute(sa.text("..."))\n'
    ) in done.stderr
    assert "b1" not in project.ok("current")


@on_postgresql
def test_another_connection_on_stock(project: Project, engine: Engine) -> None:
    """The damage: on stock it waits for ever, and so do all others behind it."""
    project.make_stock()
    project.write(*revision("b1", "a1", OTHER))
    with project.start("flask", "db", "upgrade") as process:
        while not is_waiting(engine) and process.poll() is None:
            time.sleep(0.05)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=2)  # the server looks for deadlocks after one second
        with engine.connect() as connection:
            connection.execute(text("SET lock_timeout = 500"))
            with pytest.raises(OperationalError):
                connection.execute(text(USERS))
        process.kill()


@on_sqlite
def test_wait_for_a_locked_file(project: Project, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade says that it waits while another program locks the file, before it says that the file is locked."""
    monkeypatch.setattr(console, "REPORTED", 0.2)
    project.environ["DATABASE_URL"] += "?timeout=0.5"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        other.execute(text("BEGIN EXCLUSIVE"))
        said = project.fails("upgrade")
        other.execute(text("ROLLBACK"))
    assert re.search(r"Waiting for the database: 0 seconds so far\n(.*\n)*Error: .*locked", said), said
