"""A Galera cluster of three nodes: upgrades on all of them, with one lock that no late process can write past.

These run where TEST_GALERA_URL has the URLs of the nodes, separated by commas (`.ci/servers start` prints them).
"""

import gzip
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from ..adapters.base import IN_BATCHES, POSITIONS, listening
from ..adapters.mysql import leased_lock
from ..adapters.mysql.adapter import MySQL
from ..adapters.mysql.catalog import LOCK
from ..errors import LostLockError
from ..retry import RetryPolicy
from .support import AGREE, FIRST, LOG, Project, holding_lock, limited_user, revision, run_on_server, wait_until
from .test_lock import MEET, REVISIONS, count_in_a_table

NODES = [node for node in os.environ.get("TEST_GALERA_URL", "").split(",") if node]
pytestmark = pytest.mark.skipif(not NODES, reason="only on a Galera cluster: TEST_GALERA_URL has the URLs of its nodes")
TABLE = "op.create_table('{}', sa.Column('n', sa.Integer(), primary_key=True))"


@pytest.fixture
def nodes(project: Project) -> Iterator[list[str]]:
    """Yield the URLs of an empty database on each node; the project uses the first one."""
    servers = [make_url(node).set(drivername="mysql+pymysql", query={"charset": "utf8mb4"}) for node in NODES]
    name = f"test_{uuid4().hex}"
    run_on_server(servers[0], f"CREATE DATABASE {name}")
    found = [server.set(database=name).render_as_string(hide_password=False) for server in servers]
    project.environ["DATABASE_URL"] = found[0]
    yield found
    run_on_server(servers[0], f"DROP DATABASE {name}")


@pytest.fixture
def short_lease(project: Project) -> None:
    """Let the commands of the project hold the lock with a lease of 2 seconds."""
    lease = "from app.safe_migrations.adapters.mysql import leased_lock\nleased_lock.LEASE = 2\n"
    project.write("wsgi.py", (project.path / "wsgi.py").read_text() + lease)


@contextmanager
def connected(node: str) -> Iterator[Connection]:
    """Yield a connection to a node, whose reads see what any node has committed before."""
    engine = create_engine(node)
    with engine.connect() as connection:
        connection.execute(text("SET SESSION wsrep_sync_wait = 15"))
        connection.rollback()
        yield connection
    engine.dispose()


def rows(node: str, query: str) -> list[Any]:
    """Return the first column of the rows that the query selects on a node."""
    with connected(node) as connection:
        return list(connection.scalars(text(query)))


def tables(node: str) -> set[str]:
    """Return the names of the tables of the database."""
    return set(rows(node, "SHOW TABLES"))


def upgrades_at_once(project: Project, nodes: list[str], count: int) -> list[int | None]:
    """Return the exit statuses of ``count`` upgrades at once, on the nodes in turn."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(project.start("flask", "db", "upgrade", DATABASE_URL=nodes[number % len(nodes)]))
            for number in range(count)
        ]
        said = [each.communicate()[1] for each in started]
        print("\n".join(err[-2000:] for err, each in zip(said, started, strict=True) if each.returncode))
        return [each.returncode for each in started]


def test_many_at_once(project: Project, nodes: list[str]) -> None:
    """Upgrades at once on three nodes all end well, and each revision is applied, and logged, once."""
    count_in_a_table(project)
    with ExitStack() as stack:
        users = [make_url(node) for node in nodes]
        limited = stack.enter_context(limited_user(users[0]))
        own = [url.set(username=limited.username, password=limited.password) for url in users]
        strings = [url.render_as_string(hide_password=False) for url in own]
        assert [0] * 6 == upgrades_at_once(project, strings, 6)
    for node in nodes:
        assert list(range(REVISIONS)) == rows(node, "SELECT n FROM counted ORDER BY n")
        logged = rows(node, f"SELECT revision FROM {LOG} ORDER BY id")
        assert [FIRST, *(f"c{number:02}" for number in range(REVISIONS))] == logged


def test_many_at_once_on_stock(project: Project, nodes: list[str]) -> None:
    """The damage: on stock, of upgrades on three nodes that meet, some fail."""
    project.ok("upgrade")
    project.make_stock()
    count_in_a_table(project, MEET)
    assert 0 < sum(status != 0 for status in upgrades_at_once(project, nodes, 3))


@pytest.mark.usefixtures("short_lease")
def test_a_killed_run_is_undone_from_another_node(project: Project, nodes: list[str]) -> None:
    """After kill -9 the next run, on another node, waits for the end of the lease, and undoes the revision first."""
    project.ok("upgrade")
    with holding_lock(project, before=TABLE.format("a")) as holder:
        holder.kill()
    assert {"a", "_migration_journal"} < tables(nodes[2])
    (project.path / "go").touch()
    said = project.ok("upgrade", DATABASE_URL=nodes[1])
    assert "Waiting for another command on this database (" in said
    assert "restored to their state before it: table a" in said
    assert ["s1"] == rows(nodes[2], "SELECT version_num FROM alembic_version")
    assert {"a", "alembic_version", "user", LOG, LOCK} == tables(nodes[2])


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("taker", [0, 1])
@pytest.mark.parametrize("after", [TABLE.format("b"), 'op.execute("INSERT INTO a VALUES (7)")'], ids=["DDL", "rows"])
def test_a_paused_run_stops(project: Project, nodes: list[str], taker: int, after: str) -> None:
    """A run that was paused for longer than its lease changes nothing more, and does not undo what its successor does,
    on the same node or another.
    """
    project.ok("upgrade")
    with holding_lock(project, after, before=TABLE.format("a")) as holder:
        holder.send_signal(signal.SIGSTOP)
        project.write(*revision("s1", FIRST, TABLE.format("c")))
        project.ok("upgrade", DATABASE_URL=nodes[taker])
        (project.path / "go").touch()
        holder.send_signal(signal.SIGCONT)
        said = holder.communicate()[1]
    assert (1, False) == (holder.returncode, "Traceback" in said), said
    assert "the lock of this database was lost" in said
    assert "The changes of the failed revision remain in the database; the next upgrade or downgrade rolls them" in said
    for node in nodes:
        assert {"c", "alembic_version", "user", LOG, LOCK} == tables(node)
        assert ["s1"] == rows(node, "SELECT version_num FROM alembic_version")


def committed(connection: Connection, statement: str) -> None:
    """Run and commit the statement."""
    connection.exec_driver_sql(statement)
    connection.commit()


@pytest.mark.parametrize("taker", [0, 1])
@pytest.mark.parametrize("autocommit", [False, True], ids=["", "autocommit"])
@pytest.mark.parametrize("late", ["CREATE TABLE late (n INT PRIMARY KEY)", "INSERT INTO kept VALUES (1)"])
def test_a_late_statement(nodes: list[str], late: str, autocommit: bool, taker: int) -> None:
    """A statement that was sent before the lock was lost, and arrives after that, is refused or never committed."""

    def lose(_cursor: object, statement: str, *_others: object) -> None:
        if statement == late:
            with connected(nodes[taker]) as other, leased_lock.leased_lock(other, "upgrade") as taking:
                wait_until(taking.take)
                assert taking.is_taken

    with connected(nodes[0]) as connection, patch.object(leased_lock, "LEASE", 0.1):
        connection.execute(text("CREATE TABLE kept (n INT PRIMARY KEY)"))
        with leased_lock.leased_lock(connection, "upgrade") as lock, patch.object(lock, "_renew"):
            wait_until(lock.take)
            if autocommit:
                connection.execution_options(isolation_level="AUTOCOMMIT")
            with listening(connection.engine, {"do_execute": lose}), pytest.raises(DBAPIError) as refused:
                committed(connection, late)
            assert refused.value.orig is not None
            assert refused.value.orig.args[0] in (1213, 2013)
    assert {"kept", LOCK} == tables(nodes[1])
    assert [] == rows(nodes[1], "SELECT * FROM kept")


def test_a_retry_after_the_lock_was_lost(nodes: list[str]) -> None:
    """DDL that timed out has committed the fence; if the lock is lost in the pause after that, it is not retried."""
    late = "CREATE TABLE late (n INT PRIMARY KEY)"
    driver: Any = make_url(nodes[0]).get_dialect().import_dbapi()
    plain = driver.cursors.Cursor

    def execute(cursor: Any, query: str, args: object = None) -> Any:
        if query == late and not taking.is_taken:
            plain.execute(cursor, "COMMIT")
            wait_until(taking.take)
            raise driver.OperationalError(1205, "Lock wait timeout exceeded")
        return plain.execute(cursor, query, args)

    engine = create_engine(nodes[0], connect_args={"cursorclass": type("TimesOut", (plain,), {"execute": execute})})
    with (
        patch.object(leased_lock, "LEASE", 0.1),
        connected(nodes[1]) as other,
        leased_lock.leased_lock(other, "upgrade") as taking,
        engine.connect() as connection,
        leased_lock.leased_lock(connection, "upgrade") as lock,
        patch.object(lock, "_renew"),
    ):
        wait_until(lock.take)
        with MySQL(engine).lock_waits_limited(connection, RetryPolicy(1, 2)), pytest.raises(LostLockError):
            committed(connection, late)
        assert taking.is_taken
    engine.dispose()
    assert {LOCK} == tables(nodes[1])


def test_ctrl_c_at_the_end(nodes: list[str]) -> None:
    """Ctrl-C while the session is reset releases the lock all the same."""
    stack = ExitStack()
    with connected(nodes[0]) as connection:
        lock = stack.enter_context(leased_lock.leased_lock(connection, "upgrade"))
        wait_until(lock.take)
        with patch.object(connection, "rollback", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
            stack.close()
    assert not lock.is_taken
    assert [] == rows(nodes[0], f"SELECT * FROM {LOCK}")


def test_an_owner_that_goes_on_is_not_ended(nodes: list[str]) -> None:
    """An owner that renews its lease while another process takes the lock over keeps its lock and its session."""
    with (
        patch.object(leased_lock, "LEASE", 0.1),
        connected(nodes[0]) as connection,
        connected(nodes[0]) as other,
        leased_lock.leased_lock(connection, "upgrade") as lock,
        leased_lock.leased_lock(other, "upgrade") as taking,
    ):
        with patch.object(leased_lock, "Thread"):
            wait_until(lock.take)
        connection.execute(text("CREATE TABLE a (n INT PRIMARY KEY)"))
        connection.execute(text("INSERT INTO a VALUES (1)"))
        renewed = list[bool]()

        def place(connection: Connection) -> tuple[str, int]:
            renewed.append(lock.is_held())
            return leased_lock.LeasedLock._place(connection)

        with patch.object(taking, "_place", place):
            wait_until(lambda: taking.take() or renewed)
        assert not taking.is_taken
        connection.commit()
        assert lock.is_held()
    assert [1] == rows(nodes[0], "SELECT n FROM a")


def test_which_statements_are_fenced(nodes: list[str]) -> None:
    """In the batches of a backfill, which begin and commit transactions, each statement that may write is fenced."""
    with connected(nodes[0]) as connection, leased_lock.leased_lock(connection, "upgrade") as lock:
        wait_until(lock.take)
        connection.execution_options(isolation_level="AUTOCOMMIT", **{IN_BATCHES: True})

        def fences(*statements: str) -> int:
            own = f"SELECT renewals FROM {LOCK} WHERE name = 'upgrade'"
            before = connection.exec_driver_sql(own).scalar_one()
            for statement in statements:
                connection.exec_driver_sql(statement)
            return int(connection.exec_driver_sql(own).scalar_one() - before)

        assert fences("CREATE TABLE a (n INT PRIMARY KEY)") == 1
        assert fences("BEGIN", "SELECT * FROM a", "SET @a = 1", "COMMIT", "START TRANSACTION", "COMMIT") == 0
        assert fences("BEGIN", "INSERT INTO a VALUES (1)", "UPDATE a SET n = 2", "COMMIT") == 2
        assert fences("SET STATEMENT lock_wait_timeout=5 FOR INSERT INTO a VALUES (3)") == 1
        assert fences("BEGIN NOT ATOMIC INSERT INTO a VALUES (4); END") == 1
        connection.execution_options(**{IN_BATCHES: False})


@pytest.mark.usefixtures("short_lease")
def test_the_lock_can_be_taken_from_a_process_that_hangs(project: Project, nodes: list[str]) -> None:
    """A command that gives up prints SQL that works on any node: it stops the owner, and the next command can begin."""
    project.ok("upgrade")
    with holding_lock(project, TABLE.format("a")) as holder:
        said = project.fails("-x", "lock_wait=0", "upgrade", DATABASE_URL=nodes[1])
        assert re.search(r"holds the lock of this database \(\S+ on \S+, since \d\d:\d\d:\d\d\)", said)
        (line,) = re.findall(r"(?<=\n    )DELETE FROM .*;(?=\n)", said)
        run_on_server(make_url(nodes[2]).set(database=""), line)
        project.write(*revision("s1", FIRST, TABLE.format("b")))
        project.ok("-x", "lock_wait=2", "upgrade", DATABASE_URL=nodes[1])
        (project.path / "go").touch()
        assert "the lock of this database was lost" in holder.communicate()[1]
    assert {"b", "alembic_version", "user", LOG, LOCK} == tables(nodes[2])


CONFLICT = """
from pathlib import Path
if not Path('met').exists():
    Path('met').touch()
    other = sa.create_engine({node!r})
    with other.begin() as connection:
        connection.execute(sa.text("UPDATE kept SET n = n + 10 WHERE id = 1"))
    other.dispose()
"""


@pytest.mark.parametrize("at", ["COMMIT", "statement", "next revision"])
def test_a_conflict_with_another_node(project: Project, nodes: list[str], at: str) -> None:
    """A revision whose rows another node has changed first is undone and run again: at its COMMIT, at its next
    statement, or at the first statement of the next revision, before which it was not yet committed.
    """
    ids = "sa.Column('id', sa.Integer(), primary_key=True)"
    project.write(*revision("k1", FIRST, f"op.create_table('kept', {ids}, sa.Column('n', sa.Integer()))"))
    project.ok("upgrade")
    run_on_server(make_url(nodes[0]), "INSERT INTO kept VALUES (1, 1)")
    change, conflict = 'op.execute("UPDATE kept SET n = n * 2")', CONFLICT.format(node=nodes[1])
    last = {"COMMIT": conflict, "statement": f"{conflict}\n{change.replace('2', '3')}", "next revision": "pass"}[at]
    project.write(*revision("a1", "k1", f"{TABLE.format('a')}\n{change}\n{last}"))
    project.write(*revision("b1", "a1", f"{conflict}\n{TABLE.format('b')}"))
    assert "trying again in " in project.ok("upgrade")
    assert [66 if at == "statement" else 22] == rows(nodes[2], "SELECT n FROM kept")
    assert {"a", "b", "kept", "alembic_version", "user", LOG, LOCK} == tables(nodes[2])
    assert [FIRST, "k1", "a1", "b1"] == rows(nodes[2], f"SELECT revision FROM {LOG} ORDER BY id")


def test_a_failed_revision_leaves_nothing(project: Project, nodes: list[str]) -> None:
    """A revision that fails leaves no trace on any node; values that it has deleted come back."""
    project.ok("upgrade")
    run_on_server(make_url(nodes[0]), "INSERT INTO user (username, email) VALUES ('alice', 'a@b')")
    project.write(*revision("a1", FIRST, f"{TABLE.format('a')}\nop.drop_column('user', 'email')\nraise ValueError"))
    before = [rows(node, "SHOW CREATE TABLE user") for node in nodes]
    assert "Rolled back: " in project.fails("upgrade", DATABASE_URL=nodes[1])
    for node in nodes:
        assert {"alembic_version", "user", LOG, LOCK} == tables(node)
        assert ["a@b"] == rows(node, "SELECT email FROM user")
    assert before == [rows(node, "SHOW CREATE TABLE user") for node in nodes]


def test_a_table_without_a_key(project: Project, nodes: list[str]) -> None:
    """If the cluster refuses such tables, as Percona's strict mode does, the message says to add a primary key."""
    project.write(
        *revision("a1", FIRST, "op.execute('CREATE TABLE a (n INT)')\nop.execute('INSERT INTO a VALUES (1)')")
    )
    assert "such as rows of a table without a primary key: add one" in project.fails("upgrade")
    assert "a" not in tables(nodes[1])


def test_backup_restore_and_rehearsal(project: Project, nodes: list[str]) -> None:
    """A backup is restored on another node, and a rehearsal runs; the lock's table is in no backup or difference."""
    project.ok("upgrade")
    run_on_server(make_url(nodes[0]), "INSERT INTO user (username, email) VALUES ('alice', 'a@b')")
    project.ok("backup")
    (backup,) = (project.path / "instance" / "backups").iterdir()
    assert LOCK.encode() not in gzip.decompress(backup.read_bytes())
    run_on_server(make_url(nodes[2]), "DELETE FROM user")
    project.ok("restore", "--yes", str(backup), DATABASE_URL=nodes[1])
    assert ["alice"] == rows(nodes[2], "SELECT username FROM user")
    assert {"alembic_version", "user", LOG, LOCK} == tables(nodes[2])
    assert [] == rows(nodes[2], f"SELECT * FROM {LOCK}")
    project.write(*revision("a1", FIRST, TABLE.format("a"), "op.drop_table('a')"))
    assert re.search("a1 .* 1 -> 1  ok", project.db("rehearse", "a1", DATABASE_URL=nodes[1]).stdout)
    project.write(*revision("a1", FIRST, "pass"))
    project.ok("upgrade")
    assert AGREE in project.ok("check", DATABASE_URL=nodes[2])


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_backfill(project: Project, nodes: list[str], number: int) -> None:
    """A backfill that was killed or paused goes on on another node; a batch that is late is not committed."""
    project.write(
        *revision("a1", FIRST, f"{TABLE.format('item')}\nop.add_column('item', sa.Column('m', sa.Integer()))")
    )
    project.ok("upgrade")
    with connected(nodes[0]) as connection:
        committed(connection, f"INSERT INTO item VALUES {', '.join(f'({each}, 0)' for each in range(1, 13))}")
        slow = "CREATE TRIGGER slow BEFORE UPDATE ON item FOR EACH ROW SET @slept = SLEEP(IF(NEW.n = 8, 3, 0))"
        committed(connection, slow)
    project.write(*revision("b1", "a1", "op.backfill('item', {'m': sa.column('m') + 1}, batch_size=3)"))
    with project.start("flask", "db", "upgrade") as holder:
        wait_until(lambda: rows(nodes[2], "SELECT sum(m) FROM item") == [6])
        holder.send_signal(number)
        said = project.ok("upgrade", DATABASE_URL=nodes[1])
        if number == signal.SIGSTOP:
            holder.send_signal(signal.SIGCONT)
            assert "the lock of this database was lost" in holder.communicate()[1]
    assert "Continuing the backfill of item after 6 rows" in said
    for node in nodes:
        assert [1] * 12 == rows(node, "SELECT m FROM item")
        assert POSITIONS not in tables(node)
