"""Standbys, which are read-only, and what a run meets when a primary dies and a standby takes its place."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from flask import Flask
from sqlalchemy import URL, Engine, create_engine

from ..database import Database
from ..lock import locked
from .servers import MariaDBServers, PostgreSQLServers, Proxy, scalar
from .support import (
    FILES,
    FIRST,
    Project,
    on_mysql,
    on_postgresql,
    on_servers,
    on_sqlite,
    revision,
    rows,
    run_on_server,
    server_url,
    state,
    wait_until,
)

WRITING = ("upgrade", "downgrade base", "stamp a1", "stamp --purge a1", "log --accept " + FIRST)
READING = ("current", "status", "check", "review", "log", "history -i", "heads")
ALICE = "INSERT INTO {} (id, username, email) VALUES (1, 'alice', 'a@b'), (2, 'bob', 'b@c')"
A1 = revision("a1", FIRST, "op.add_column('user', sa.Column('age', sa.Integer()))", "op.drop_column('user', 'age')")


def text_of(url: URL, **changes: object) -> str:
    """Return the URL as text."""
    return url.set(**changes).render_as_string(hide_password=False)  # type: ignore[arg-type]


def both(one: URL, other: URL, database: str, options: str = "&target_session_attrs=read-write") -> str:
    """Return a URL of PostgreSQL with two servers, of which the driver chooses the primary."""
    hosts = "&".join(f"host={each.host}:{each.port}" for each in (one, other))
    return f"postgresql+psycopg://postgres@/{database}?{hosts}{options}"


def refused(project: Project, url: str, because: str, *commands: str) -> str:
    """Assert that all commands that write are refused before a backup; return what the first one says."""
    environ = {"DATABASE_URL": url, "MIGRATION_BACKUP": "always"}
    backups = sorted(project.path.glob("instance/backups/*"))
    said = [project.fails(*command.split(), **environ) for command in commands or WRITING]
    assert [because in each for each in said] == [True] * len(said)
    assert [] == [each for each in said if "Traceback" in each]
    assert backups == sorted(project.path.glob("instance/backups/*"))
    return said[0]


def pasted(project: Project, said: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the lines of the message, and then `flask db upgrade` if they do not have it."""
    lines = re.findall(r"^    (.*)$", said, re.M)
    if not lines[-1].endswith("flask db upgrade"):
        lines.append("flask db upgrade")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"PATH": path, **project.environ, **environ}
    command = ["sh", "-ec", "\n".join(lines)]
    return subprocess.run(command, cwd=project.path, env=environ, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def shared_folder() -> Iterator[Path]:
    """Yield a folder into which the servers' users can look."""
    with TemporaryDirectory(dir=FILES) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def postgresql(shared_folder: Path) -> Iterator[PostgreSQLServers]:
    """Yield what starts PostgreSQL servers, and stop them at the end; skip the tests where none is tested."""
    server_url("postgresql")
    servers = PostgreSQLServers(shared_folder)
    try:
        yield servers
    finally:
        servers.stop()


@pytest.fixture(scope="module")
def pair(postgresql: PostgreSQLServers) -> tuple[URL, URL]:
    """Return a primary and its standby, of PostgreSQL; a test that fails over takes others."""
    primary = postgresql.new()
    return primary, postgresql.standby(primary, "standby")


@pytest.fixture
def served(pair: tuple[URL, URL], project: Project, tmp_path: Path) -> Iterator[tuple[URL, URL]]:
    """Yield the URLs of a database on both; it is at FIRST, with rows, and a1 is pending."""
    primary, standby = (each.set(database=f"d{tmp_path.name}") for each in pair)
    run_on_server(pair[0], f"CREATE DATABASE {primary.database}")
    project.ok("upgrade", DATABASE_URL=text_of(primary))
    run_on_server(primary, ALICE.format('"user"'))
    project.write(*A1)
    wait_until(lambda: replayed(*pair))
    yield primary, standby
    run_on_server(pair[0], f"DROP DATABASE {primary.database} WITH (FORCE)")


def replayed(primary: URL, standby: URL) -> bool:
    """Return True if the standby has replayed everything that the primary has written."""
    written = scalar(primary, "SELECT pg_current_wal_flush_lsn()")
    return bool(scalar(standby, f"SELECT pg_last_wal_replay_lsn() >= '{written}'"))


@on_postgresql
def test_standby(project: Project, backend: str, served: tuple[URL, URL]) -> None:
    """What writes is refused before anything happens, with a URL that works; what reads says what it says there."""
    primary, standby = served
    reads = {
        each: [
            (done.returncode, done.stdout.replace(text_of(server), ""), done.stderr)
            for server in served
            for done in [project.db(*each.split(), DATABASE_URL=text_of(server))]
        ]
        for each in READING
    }
    assert [] == [each for each, (one, other) in reads.items() if one != other]
    backup = project.db("backup", DATABASE_URL=text_of(standby)).stdout.strip()
    said = refused(project, text_of(standby), "is a standby (read-only)", *WRITING, f"restore --yes {backup}")
    assert f"\nNothing was changed; the database is still at {FIRST}.\n" in said
    assert f"&host=127.0.0.1:{primary.port}&" in said
    assert "The database is at a1\n" in pasted(project, said).stderr
    wait_until(lambda: replayed(*served))
    assert "Nothing to do: the database is at a1" in project.ok("upgrade", DATABASE_URL=text_of(standby))
    project.environ["DATABASE_URL"] = both(standby, standby, str(standby.database))
    assert "Fix: of the servers in DATABASE_URL that answer, none is a primary" in project.fails("upgrade")


@on_postgresql
def test_several_servers(project: Project, backend: str, served: tuple[URL, URL]) -> None:
    """With both servers in the URL, a run finds the primary, and so does the program that dumps and restores."""
    primary, standby = served
    project.environ.update(DATABASE_URL=both(standby, primary, str(primary.database)), MIGRATION_BACKUP="always")
    assert f"host=127.0.0.1%3A{standby.port}&" in project.ok("upgrade")
    (backup,) = project.ok("backups").splitlines()
    assert f"The database is at {FIRST}\n" in project.ok("restore", "--yes", backup.split()[0])


@on_postgresql
def test_made_read_only(project: Project, backend: str, served: tuple[URL, URL]) -> None:
    """A primary on which default_transaction_read_only is on is not called a standby; the line works."""
    url = text_of(served[0])
    run_on_server(served[0], f"ALTER DATABASE {served[0].database} SET default_transaction_read_only = on")
    because = "is read-only: default_transaction_read_only is on"
    off = "PGOPTIONS='-c default_transaction_read_only=off'"
    backup = project.db("backup", DATABASE_URL=url).stdout.strip()
    for command in (*WRITING, f"restore {backup} --yes"):
        again = command.removesuffix(" a1")  # which is the head
        assert f"    {off} flask db {again}\n" in refused(project, url, because, command)
    said = refused(project, url, because, "upgrade")
    assert "The database is at a1\n" in pasted(project, said, DATABASE_URL=url).stderr


@on_sqlite
def test_read_only_file(project: Project, engine: Engine) -> None:
    """A file that is opened read-only is refused in the same way, and is not called a fault of the script."""
    project.ok("upgrade")
    run_on_server(engine.url, ALICE.format("user"))
    project.write(*A1)
    file = engine.url.database
    said = refused(
        project, f"sqlite:///file:{file}?mode=ro&uri=true", "is read-only: attempt to write a readonly database"
    )
    assert f"    ls -ld {Path(str(file)).parent} {file}\nNothing was changed; the database is still at {FIRST}." in said


# Kills the primary at one point of a script: after its DDL, or after its rows.
DIES = (
    "import os\n\n\ndef point(name):\n    if os.environ.get('DIES') == name:\n        os.system(os.environ['KILL'])\n"
)


def dying(quoted: str) -> list[tuple[str, str]]:
    """Return revisions a1, a2 and a3, each of which changes schema and rows."""
    return [
        revision(
            f"a{n}",
            f"a{n - 1}" if n > 1 else FIRST,
            f"op.create_table('t{n}', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('v', sa.String(9)))\n"
            f"point('a{n} ddl')\n"
            f"op.bulk_insert(sa.table('t{n}', sa.column('v')), [{{'v': str(i)}} for i in range(100)])\n"
            f"op.add_column('user', sa.Column('c{n}', sa.String(9)))\n"
            f"op.execute('UPDATE {quoted} SET c{n} = username')\n"
            f"op.drop_column('user', 'x{n}')\n"
            f"point('a{n} rows')\n"
            f"op.alter_column('user', 'c{n}', existing_type=sa.String(9), type_=sa.String(99))",
            more=DIES,
        )
        for n in (1, 2, 3)
    ]


def before_dying(url: URL, quoted: str) -> None:
    """Fill the database at ``url``, which is at FIRST, with what dying() changes."""
    added = ", ".join(f"ADD COLUMN x{n} VARCHAR(9) DEFAULT 'x'" for n in (1, 2, 3))
    run_on_server(url, f"ALTER TABLE {quoted} {added}", ALICE.format(quoted))


def state_of(url: str) -> object:
    """Return the state() of the database."""
    engine = create_engine(url)
    try:
        return state(engine)
    finally:
        engine.dispose()


@on_postgresql
def test_failover(project: Project, backend: str, postgresql: PostgreSQLServers) -> None:
    """If the primary dies in a run, the next run goes on at the new primary: nothing is lost, nothing is done twice."""
    servers, primary = postgresql, postgresql.new("failing")
    quoted = '"user"'
    project.ok("upgrade", DATABASE_URL=text_of(primary, database="postgres"))
    before_dying(primary, quoted)
    run_on_server(primary.set(database="template1"), "CREATE DATABASE begun TEMPLATE postgres")
    for script in dying(quoted):
        project.write(*script)
    project.ok("upgrade", DATABASE_URL=text_of(primary))
    expected = state_of(text_of(primary))
    for number, (point, at) in enumerate({"a2 rows": "a1", "backup": FIRST}.items()):
        standby = servers.standby(primary, f"taking over {number}")
        for statement in ("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"):
            run_on_server(primary, statement)
        is_sync = partial(scalar, primary, "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
        wait_until(is_sync)
        database = f"app{number}"
        run_on_server(primary, f"CREATE DATABASE {database} TEMPLATE begun")
        first, *_ = servers.processes(primary)
        kill = f"kill -STOP {first}; kill -9 $(ps -o pid= --ppid {first}) {first}"
        project.environ["DATABASE_URL"] = both(primary, standby, database)
        environ = {"DIES": point, "KILL": kill}
        if point == "backup":
            environ |= {
                "MIGRATION_BACKUP": "always",
                "MIGRATION_BACKUP_COMMAND": f"sh -c {shlex.quote(f'{kill}; echo id')}",
            }
        done = project.db("upgrade", **environ)
        assert (1, "") == (done.returncode, done.stdout)
        assert "the connection to the database was lost: " in done.stderr
        assert f"Before the connection was lost, the database was at {at}.\n" in done.stderr
        assert "Traceback" not in done.stderr
        run_on_server(standby, "SELECT pg_promote()")
        assert at == scalar(standby.set(database=database), "SELECT version_num FROM alembic_version")
        project.ok("upgrade")
        assert expected == state_of(project.environ["DATABASE_URL"])
        primary = standby


def caught_up(replica: URL) -> bool:
    """Return True if the replica has applied everything that it has received."""
    engine = create_engine(replica)
    try:
        with engine.connect() as connection:
            found = connection.exec_driver_sql("SHOW SLAVE STATUS").mappings().one()
    finally:
        engine.dispose()
    assert 0 == found["Last_SQL_Errno"]
    return str(found["Slave_SQL_Running_State"]).startswith("Slave has read all relay log")


@on_mysql
def test_replica(project: Project, backend: str, mariadb: MariaDBServers) -> None:
    """A replica refuses what writes, also for a user who could write there: stock then breaks the replication."""
    primary = mariadb.new()
    replica = mariadb.replica(primary)
    app = {"username": "app", "password": "secret", "database": "app"}
    run_on_server(primary, "CREATE DATABASE app", "CREATE USER app IDENTIFIED BY 'secret'", "GRANT ALL ON app.* TO app")
    project.ok("upgrade", DATABASE_URL=text_of(primary, **app))
    run_on_server(primary.set(database="app"), ALICE.format("user"))
    project.write(*A1)
    position = scalar(primary, "SELECT @@gtid_binlog_pos")
    assert 0 == scalar(replica, f"SELECT MASTER_GTID_WAIT('{position}', 20)")
    said = refused(project, text_of(replica, **app), "is a standby, or was made read-only (read_only)")
    assert f"\nNothing was changed; the database is still at {FIRST}.\n" in said
    assert "export DATABASE_URL='mysql://app:PASSWORD@PRIMARY:3306/app'" in said
    assert f"revision  {FIRST}\n" in project.db("status", DATABASE_URL=text_of(replica, **app)).stdout
    why = f"is a standby (read-only): it replicates 127.0.0.1:{primary.port} (read_only). This user may write to it"
    refused(project, text_of(replica, database="app"), why, "upgrade")
    project.take_out()
    project.ok("upgrade", DATABASE_URL=text_of(replica, database="app"))
    project.ok("upgrade", DATABASE_URL=text_of(primary, database="app"))
    with pytest.raises(AssertionError, match="1060"):  # Duplicate column name
        wait_until(lambda: not caught_up(replica))


@on_mysql
def test_failover_of_mariadb(project: Project, backend: str, mariadb: MariaDBServers) -> None:
    """If the primary dies in a revision, the journal is on the replica too: once that is promoted, a run undoes it."""
    primary = mariadb.new("--binlog-format=MIXED", "--log-slave-updates")
    project.environ["DATABASE_URL"] = text_of(primary, database="app")
    run_on_server(primary, "CREATE DATABASE app", "CREATE DATABASE expected")
    quoted = "`user`"
    for name in ("app", "expected"):
        project.ok("upgrade", FIRST, DATABASE_URL=text_of(primary, database=name))
        before_dying(primary.set(database=name), quoted)
    for script in dying(quoted):
        project.write(*script)
    project.ok("upgrade", DATABASE_URL=text_of(primary, database="expected"))
    expected = state_of(text_of(primary, database="expected"))
    replica = mariadb.replica(primary, "--binlog-format=MIXED", "--rpl-semi-sync-slave-enabled=1")
    position = scalar(primary, "SELECT @@gtid_binlog_pos")
    assert 0 == scalar(replica, f"SELECT MASTER_GTID_WAIT('{position}', 20)")
    run_on_server(
        primary, "SET GLOBAL rpl_semi_sync_master_timeout = 60000", "SET GLOBAL rpl_semi_sync_master_enabled = 1"
    )
    done = project.db("upgrade", DIES="a2 rows", KILL=f"kill -9 {mariadb.process(primary)}")
    assert (1, False) == (done.returncode, "Traceback" in done.stderr)
    assert "Before the connection was lost, the database was at a1.\n" in done.stderr
    wait_until(lambda: caught_up(replica))
    run_on_server(replica, "STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = 0")
    project.environ["DATABASE_URL"] = text_of(replica, database="app")
    assert "its unfinished revision was undone" in project.ok("upgrade").lower()
    assert expected == state_of(project.environ["DATABASE_URL"])


# For each moment of a command: the command, its settings, the line after which the connections are dropped, and whether
# new ones are, too, as those of a program that dumps.
MOMENTS = {
    "step": ("upgrade", {}, "Running upgrade", False),
    "backup": ("upgrade", {"MIGRATION_BACKUP": "always"}, "Backing up", True),
    "restore point": (
        "upgrade",
        {
            "MIGRATION_BACKUP": "always",
            "MIGRATION_BACKUP_COMMAND": "sh -c 'while [ ! -e go ]; do sleep 0.05; done; echo id'",
        },
        "Making a restore point",
        False,
    ),
    "lock": ("upgrade", {}, "Waiting for another command", False),
    "restore": ("restore --yes", {}, "Wrote backup", True),
}


@on_servers
@pytest.mark.parametrize("moment", MOMENTS)
def test_dropped_connections(
    project: Project, database: str, engine: Engine, app_on: Callable[[str], Flask], moment: str
) -> None:
    """If a proxy drops a command's connections, it exits 1 with a message; nothing is lost, and the next one works."""
    project.ok("upgrade")
    quoted = engine.dialect.identifier_preparer.quote("user")
    run_on_server(engine.url, ALICE.format(quoted))
    waits = "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.01)"
    pet = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"
    project.write(
        *revision("a1", FIRST, f"{pet}\n{waits if moment == 'step' else ''}\nop.execute('INSERT INTO pet VALUES (1)')")
    )
    before = state(engine)
    command, environ, line, is_down = MOMENTS[moment]
    args = command.split()
    if moment == "restore":
        args.append(project.db("backup").stdout.strip())
    with closing(Proxy(engine.url)) as proxy, ExitStack() as stack:
        if moment == "lock":
            stack.enter_context(app_on(database).app_context())
            stack.enter_context(locked(Database(stack.enter_context(engine.connect())), 1))
        url = text_of(proxy.url)
        with project.start("flask", "db", *args, DATABASE_URL=url, **environ) as run:
            said = "".join(takewhile(lambda each: line not in each, run.stderr))
            proxy.drop(is_down)
            project.write("go", "")
            said += run.communicate()[1]
        stack.close()
        proxy.drop()
        assert (1, False, True) == (run.returncode, "Traceback" in said, "\nFix: " in said), said
        places = {
            "lock": "See from which revision it will continue:\n    flask db current\n",
            "restore": "\nTo return to the state before this restore:\n    flask db restore instance/backups/",
        }
        assert re.search(places.get(moment, rf"[Tt]he database (was|is|is still) at {FIRST}\."), said), said
        if moment != "step" or engine.dialect.name == "postgresql":  # on MySQL, the next run undoes it
            assert before == state(engine)
        project.ok(*args, DATABASE_URL=url)
    assert moment == "restore" or [(1,)] == rows(engine, "SELECT id FROM pet")
    assert moment != "restore" or before == state(engine)
