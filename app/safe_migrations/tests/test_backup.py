"""Backups before a run, and the way back, on every backend."""

import gzip
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy import URL, Engine, create_engine, make_url, text

from .. import console
from ..adapters import adapter_of
from ..backups.files import Backups, name_of
from ..database import Database
from ..errors import MigrationError
from ..lock import locked
from .support import (
    DUMPERS,
    FIRST,
    LOADERS,
    SERVERS,
    Project,
    Sql,
    is_mariadb,
    is_waiting,
    make_app,
    mysql_user,
    on_mysql,
    on_postgresql,
    on_servers,
    on_sqlite,
    revision,
    rows,
    run_on_server,
    wait_until,
    with_programs,
)
from .support import state as state_of

WRECK = ["DROP VIEW texts", "DROP TABLE everything", "DELETE FROM two", "CREATE TABLE stray (id INTEGER)"]
RIGHTS = ["ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC", "GRANT ALL ON SCHEMA public TO PUBLIC"]
A1 = revision("a1", FIRST, "op.add_column('user', sa.Column('age', sa.Integer()))", "op.drop_column('user', 'age')")


@pytest.fixture(autouse=True)
def set_up(upgraded: Project, sql: Sql) -> None:
    """Make backups, as by default; the database is at the first revision, and its table ``kept`` has a row."""
    del upgraded.environ["MIGRATION_BACKUP"]
    sql("CREATE TABLE kept AS SELECT 1 AS one, 2 AS two")


def fill(engine: Engine) -> None:
    """Create the objects of every kind, and rows with values of every type, that the folder backup/ has."""
    file = Path(__file__).with_name("backup") / f"{engine.dialect.name}.sql"
    with engine.begin() as connection:
        for statement in file.read_text().splitlines():
            connection.exec_driver_sql(statement.replace("%", "%%"))


def state(engine: Engine) -> object:
    """Return schema and rows; on PostgreSQL as pg_dump writes them, without the lines that differ each time."""
    if engine.dialect.name != "postgresql":
        return state_of(engine)
    server = [f"--host={engine.url.host}", f"--port={engine.url.port}", f"--username={engine.url.username}"]
    run = ["pg_dump", *server, str(engine.url.database)]
    found = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in found.splitlines() if "restrict" not in line)


def listed(project: Project, **environ: str) -> list[Path]:
    """Return the files that `flask db backups` lists."""
    return [project.path / line.split()[0] for line in project.db("backups", **environ).stdout.splitlines()]


def files(project: Project) -> list[Path]:
    """Return all files in the backup folder, the oldest first."""
    return sorted((project.path / "instance" / "backups").glob("*"))


def revisions(project: Project) -> list[str]:
    """Return the part of the files' names that says of which revision they are, and whether they were made by hand."""
    return ["-".join(file.name.split("-")[2:-1]) for file in files(project)]


def back_up(project: Project, **environ: str) -> Path:
    """Return the backup that `flask db backup` makes."""
    return project.path / project.ok("backup", **environ).splitlines()[0]


def test_round_trip(project: Project, engine: Engine, sql: Sql, backend: str) -> None:
    """A restore brings back what an upgrade backed up, byte for byte, at its revision, and drops everything else: every
    kind of object, and every privilege. Without --yes and a terminal nothing is restored.
    """
    bare, empty = back_up(project), state(engine)
    fill(engine)
    before = state(engine)
    project.write(*A1)
    assert "Wrote backup instance/backups/" in project.ok("upgrade")
    sql(*WRECK, *(RIGHTS if backend == "postgresql" else []))
    backup, _ = listed(project)
    name = str(backup.relative_to(project.path))
    assert f"backup    {name}\n" in project.db("status").stdout
    wrecked = state(engine)
    assert f"\nInstead: add --yes:\n    flask db restore {name} --yes" in project.fails("restore", name)
    assert wrecked == state(engine)
    done = project.db("restore", "--yes", name)
    assert (0, f"The database is at {FIRST}\n") == (done.returncode, done.stdout)
    assert before == state(engine)
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files(project)}
    assert 0o700 == stat.S_IMODE(backup.parent.stat().st_mode)
    project.ok("upgrade")
    project.ok("restore", "--yes", str(bare))
    assert empty == state(engine)


def test_size(project: Project, engine: Engine, sql: Sql, backend: str) -> None:
    """Before a backup the log says how large the database is, and how long the last backup took."""
    with engine.begin() as connection:
        kind = "BYTEA" if backend == "postgresql" else "LONGBLOB"
        connection.execute(text(f"CREATE TABLE large (data {kind})"))
        connection.execute(text("INSERT INTO large VALUES (:data)"), {"data": os.urandom(3_000_000)})
    if backend == "mysql":
        sql("ANALYZE TABLE large")
    said = project.db("backup").stderr
    assert 3 <= float(re.findall(r"Backing up (\S+) MB\n", said)[0]) < 30
    (backup,) = files(project)
    begun = datetime.strptime(f"{backup.name.split('-')[1]}+0000", "%Y%m%dT%H%M%S%fZ%z")
    assert 0 <= backup.stat().st_mtime - begun.timestamp() < 60
    later = (begun + timedelta(minutes=41)).timestamp()
    os.utime(backup, (later, later))
    assert re.search(r"Backing up \S+ MB; the last backup took 41 minutes for 3\.\d MB\n", project.db("backup").stderr)


@on_postgresql
def test_progress(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that takes long logs its size and its rate, and how large the last backup was; later more rarely."""
    back_up(project)
    monkeypatch.setattr(console, "REPORTED", 0.1)
    monkeypatch.setattr(console, "ALIVE", 0.45)
    path = with_programs(tmp_path / "bin", 'sleep 1.5; exec {real} "$@"', *DUMPERS)
    said = project.db("backup", PATH=path).stderr
    told = re.findall(r"Backing up to instance/backups: 0\.0 MB of about 0\.0 MB, 0\.0 MB per second\n", said)
    assert 3 <= len(told) <= 9, said


def test_more_than_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A file that has grown larger than the last one is not said to be a part of that."""
    monkeypatch.setattr(console, "REPORTED", 0.01)
    file = tmp_path / "file"
    file.write_bytes(bytes(2_000_000))
    for expected, said in ((1_000_000, "Backing up: 2.0 MB, "), (3_000_000, "Backing up: 2.0 MB of about 3.0 MB, ")):
        caplog.clear()
        with caplog.at_level(logging.INFO), console.reported("Backing up", file, expected):
            wait_until(lambda: bool(caplog.messages))
        assert [True] == list({each.startswith(said) for each in caplog.messages})


@on_postgresql
def test_missing_schema(project: Project, engine: Engine, sql: Sql) -> None:
    """A restore creates the schema public if that was dropped."""
    before, backup = state(engine), back_up(project)
    sql("DROP SCHEMA public CASCADE")
    project.ok("restore", "--yes", str(backup))
    assert before == state(engine)


@on_sqlite
def test_on_stock(project: Project, engine: Engine) -> None:
    """The damage: stock drops a column with its values, and nothing brings them back."""
    project.write(*revision("a1", FIRST, "op.drop_column('kept', 'two')"))
    project.make_stock()
    project.ok("upgrade")
    assert [(1,)] == rows(engine, "SELECT * FROM kept")
    assert [] == files(project)


def test_none_needed(project: Project, sql: Sql) -> None:
    """Nothing is backed up if there are no rows, nothing is pending, a revision is stamped, or -x says never."""
    sql("DELETE FROM kept")
    project.write(*A1)
    project.ok("upgrade")
    sql("INSERT INTO kept VALUES (1, 2)")
    project.ok("upgrade")
    project.ok("stamp", FIRST)
    project.ok("stamp", "a1")
    project.ok("-x", "backup=never", "downgrade")
    assert [] == files(project)


@on_sqlite
@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("op.add_column('user', sa.Column('age', sa.Integer()))", 0),
        ("op.execute('INSERT INTO kept VALUES (3, 4)')", 0),
        ("op.execute('UPDATE kept SET one = 2')", 1),
        ("op.backfill('kept', {'one': 2})", 1),
        ("op.execute('ALTER TABLE kept DROP COLUMN two')", 1),
        ("op.get_bind().execute(sa.text('SELECT 1')).scalar()", 1),
    ],
    ids=["add", "insert", "update", "backfill", "drop", "read"],
)
def test_risky(project: Project, up: str, expected: int) -> None:
    """With MIGRATION_BACKUP=risky, a backup is made only if a step can lose data or cannot be inspected."""
    project.write(*revision("a1", FIRST, up))
    project.ok("upgrade", MIGRATION_BACKUP="risky")
    assert expected == len(files(project))


def earlier(project: Project) -> list[Path]:
    """Return a backup made by hand, and the one of an upgrade to a1."""
    project.ok("backup")
    project.write(*A1)
    project.ok("upgrade")
    return files(project)


@pytest.mark.parametrize(
    ("backend", "failure"),
    [("sqlite", "SystemExit(0)"), *((backend, "RuntimeError('stop')") for backend in SERVERS)],
    indirect=["backend"],
)
def test_keep_after_failures(project: Project, failure: str) -> None:
    """A crash loop removes no earlier backup, whatever MIGRATION_BACKUP_KEEP is, and leaves one; partial ones go."""
    before = earlier(project)
    project.write(*revision("a2", "a1", f"raise {failure}"))
    project.environ["MIGRATION_BACKUP_KEEP"] = "1"
    before[-1].with_name(before[-1].name + ".partial").touch()
    errors = [project.db("upgrade").stderr for _ in range(3)]
    *kept, own = files(project)
    assert before == kept
    assert [f"the run was rolled back, and the backup {own.name} has the same revision"] == [
        line.partition(": ")[2] for line in errors[-1].splitlines() if "Removed backup" in line
    ]


@on_sqlite
def test_keep_the_first_of_a_revision(project: Project) -> None:
    """A run that was rolled back removes its backup, too, if the database has been at another revision since."""
    earlier(project)
    project.ok("downgrade")
    before = files(project)
    project.write(*revision("a1", FIRST, "raise RuntimeError('stop')"))
    project.fails("upgrade")
    assert before == files(project)


@on_postgresql
def test_keep_what_a_failed_run_has_changed(project: Project) -> None:
    """The backup of an attempt that committed something stays, even if an earlier one of the same revision exists."""
    change = "with op.get_context().autocommit_block():\n    op.execute('UPDATE kept SET one = one + 1')"
    project.write(*revision("a1", FIRST, f"{change}\nraise SystemExit(0)"))
    for _ in range(2):
        assert "were committed and remain" in project.fails("upgrade")
    assert 2 == len(files(project))


@on_sqlite
def test_keep_after_a_success(project: Project) -> None:
    """MIGRATION_BACKUP_KEEP backups stay, the newest of each revision before several of one, and removals are logged.

    Those made by hand do not count, and are never removed.
    """
    project.environ["MIGRATION_BACKUP_KEEP"] = "3"
    (by_hand, _) = earlier(project)
    outputs = [project.ok(command) for command in ("downgrade", "upgrade", "downgrade", "upgrade")]
    assert [f"{FIRST}-by-hand", FIRST, "a1", FIRST] == revisions(project)
    assert by_hand in files(project)
    assert [0, 0, 1, 1] == [output.count("Removed backup instance/backups/") for output in outputs]
    project.environ["MIGRATION_BACKUP_KEEP"] = "2"
    project.write(*revision("a2", "a1", "pass"))
    project.ok("upgrade")
    assert [f"{FIRST}-by-hand", FIRST, "a1"] == revisions(project)
    assert [False, False, True] == [line.endswith("  by hand") for line in project.ok("backups").splitlines()]


@on_sqlite
def test_closed_pipe(project: Project) -> None:
    """`flask db backups | true` prints no error about the closed pipe."""
    project.ok("backup")
    with project.start("flask", "db", "backups") as process:
        process.stdout.close()
        assert "" == process.stderr.read()


@on_servers
def test_missing_program(project: Project) -> None:
    """Without the client program nothing runs; the message names the package, and how to go on without a backup: the
    line repeats what was typed.
    """
    project.write(*A1)
    said = project.fails("upgrade", PATH="/nowhere")
    assert "is not installed" in said
    assert "-client" in said
    assert "    flask db -x backup=never upgrade" in said
    assert FIRST in project.ok("current")
    project.ok("-x", "backup=never", "upgrade")
    told = project.fails("-x", "backup=always", "-x", "lock_wait=9", "downgrade", PATH="/nowhere")
    assert "    flask db -x backup=never -x lock_wait=9 downgrade -1\n" in told
    said = project.fails("restore", "--yes", str(back_up(project)), PATH="/nowhere")
    assert (True, False) == ("is not installed" in said, "is not a complete backup" in said), said


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Limit each file that is written inside the block to ``size`` bytes, except Python's bytecode."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with patch.object(sys, "dont_write_bytecode", True):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room(project: Project, engine: Engine, backend: str) -> None:
    """If a backup cannot be written completely, nothing runs, and no part of it stays."""
    fill(engine)
    before = state(engine)
    project.write(*A1)
    with limited(50_000 if backend == "sqlite" else 1000):  # enough for its schema, and not for all that it has
        assert "Fix: " in project.fails("upgrade")
    assert [] == files(project)
    assert before == state(engine)


@on_sqlite
def test_none_listed(project: Project) -> None:
    """Without backups `flask db backups` says where it has looked, and so if it may not look there."""
    done = project.db("backups")
    assert (0, "", "No backups in instance/backups\n") == (done.returncode, done.stdout, done.stderr)
    back_up(project)
    folder = project.path / "instance" / "backups"
    folder.chmod(0)
    try:
        said = project.without_rights("backups")
    finally:
        folder.chmod(0o700)
    assert "Error: instance/backups cannot be read: Permission denied.\n" in said


@on_sqlite
def test_no_folder(project: Project, engine: Engine) -> None:
    """If the backup folder cannot be created, nothing runs."""
    before = state(engine)
    project.write(*A1)
    project.write("instance/backups", "a file")
    assert "Fix: " in project.fails("upgrade")
    assert before == state(engine)


@on_sqlite
def test_no_room_for_the_database(project: Project, engine: Engine, sql: Sql) -> None:
    """If the disk has no room for the restored database, a restore says so, and nothing is changed."""
    sql("CREATE TABLE large AS SELECT zeroblob(200000) AS content")
    large = back_up(project)
    sql("DROP TABLE large", "VACUUM")
    before = state(engine)
    with limited(100_000):
        said = project.fails("restore", "--yes", str(large))
    assert "test.db could not be replaced: " in said
    assert "cannot write to the backup folder" not in said
    assert before == state(engine)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only who may mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@on_sqlite
def test_no_room_leaves_nothing(project: Project, sql: Sql, small_disk: Path) -> None:
    """A backup that fills the disk leaves no SQLite journal, and removes one that an earlier backup left."""
    sql("CREATE TABLE large AS SELECT zeroblob(2000000) AS content")
    backup = back_up(project, MIGRATION_BACKUP_DIR=str(small_disk / "backups"))
    backup.with_name(f"{backup.name}.partial-journal").touch()
    (small_disk / "fill").write_bytes(bytes(900_000))
    assert "database or disk is full" in project.fails("backup", MIGRATION_BACKUP_DIR=str(backup.parent))
    assert [backup] == list(backup.parent.iterdir())


@on_sqlite
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_no_room_for_a_step(project: Project, small_disk: Path, mode: str) -> None:
    """If the disk is full in the middle of a step, the message blames the disk: not the script, nor a later error."""
    project.environ |= {"MIGRATION_BACKUP": "never", "DATABASE_URL": f"sqlite:///{small_disk / 'app.db'}"}
    project.ok("upgrade")
    full = create_engine(project.environ["DATABASE_URL"])
    insert = "INSERT INTO user (id, username, email) VALUES ({0}, {0}, random() || hex(zeroblob(20000)))"
    with full.begin() as connection:
        for statement in (f"PRAGMA journal_mode={mode}", *map(insert.format, range(30))):
            connection.execute(text(statement))
    (small_disk / "fill").write_bytes(bytes(shutil.disk_usage(small_disk).free - 300_000))
    before = state(full)
    alter = "with op.batch_alter_table('user') as batch:\n    batch.alter_column('email', type_=sa.String(500))"
    project.write(*revision("a1", FIRST, alter))
    said = project.fails("upgrade")
    assert "migrations/versions/a1.py, line 9: database or disk is full\nFix: free space on the database's disk" in said
    assert before == state(full)
    full.dispose()


@on_sqlite
@pytest.mark.parametrize("free", [0, 100_000], ids=["at the start", "at the end"])
def test_no_room_for_a_run(project: Project, small_disk: Path, free: int) -> None:
    """If the disk is full before the first step, or when the run is committed, the message blames the disk, too."""
    project.environ |= {"MIGRATION_BACKUP": "never", "DATABASE_URL": f"sqlite:///{small_disk / 'app.db'}"}
    project.ok("upgrade")
    (small_disk / "fill").write_bytes(bytes(shutil.disk_usage(small_disk).free - free))
    insert = "op.execute(\"INSERT INTO user (username, email) VALUES ('a', hex(zeroblob(450000)))\")"
    project.write(*revision("a1", FIRST, insert))
    said = project.fails("upgrade")
    assert "database or disk is full\nFix: free space on the database's disk" in said
    assert "cannot reach" not in said


@on_servers
def test_no_room_on_the_server(project: Project, tmp_path: Path) -> None:
    """If a program says that the server's disk is full, the message does not suggest another backup folder."""
    project.write(*A1)
    full = "echo 'ERROR: could not extend file: No space left on device' >&2; exit 1"
    said = project.fails("upgrade", PATH=with_programs(tmp_path / "bin", full, *DUMPERS))
    assert "Error: the server's disk is full: ERROR: could not" in said
    assert "Fix: make room on the server's disk" in said


@on_postgresql
def test_crafted_archive(project: Project, engine: Engine, sql: Sql, tmp_path: Path) -> None:
    """A dump that tells psql to run a program is refused."""
    sql(f"COMMENT ON TABLE kept IS '{'x' * 200}'")
    backup = back_up(project)
    before, ran = state(engine), tmp_path / "ran"
    comment = b"COMMENT ON TABLE public.kept IS '" + b"x" * 200 + b"';"
    command = f"SELECT 1;\n\\! touch {ran}\n".encode()
    crafted = renamed(backup, backup.read_bytes().replace(comment, command + b"-" * (len(comment) - len(command))))
    assert "The database was not changed." in project.fails("restore", "--yes", str(crafted))
    assert not ran.exists()
    assert before == state(engine)


def renamed(file: Path, content: bytes) -> Path:
    """Write ``content`` to another file, whose name has the checksum of that, and return it."""
    begin, _, _ = file.name.rpartition("-")
    other = file.with_name(f"{begin}-{zlib.crc32(content):08x}.{file.name.partition('.')[2]}")
    other.write_bytes(content)
    return other


def test_not_whole(project: Project, engine: Engine, backend: str) -> None:
    """A file that is cut off, anywhere, or that is not a backup of this database product, is refused."""
    fill(engine)
    whole = back_up(project)
    content = whole.read_bytes()
    wrong = [content[: len(content) * part // 5] for part in range(5)]
    wrong += [b"text", b"PGDMP" + b"x" * 99, gzip.compress(b"-- Server version\t5.5.5\n-- Dump completed")]
    if backend == "mysql":
        other = b"MySQL" if is_mariadb(engine.url) else b"MariaDB"
        head = b"-- %s dump 10\n-- Server version\t10.0-%s\n-- Dump completed\n" % (other, other)
        wrong.append(gzip.compress(head))
    backups = Backups(adapter_of(engine), cast(Any, None))
    with engine.connect() as connection:
        backups.verify(Database(connection), whole)
        for part in wrong:
            with pytest.raises(MigrationError, match="not a complete backup"):
                backups.verify(Database(connection), renamed(whole, part))


@on_sqlite
@pytest.mark.parametrize(
    ("name", "message"),
    [("{name}", "its content does not match the checksum in its name"), ("cut{suffix}", "its name is not NAME-UTC-")],
    ids=["damaged", "renamed"],
)
def test_wrong_file(project: Project, engine: Engine, name: str, message: str) -> None:
    """A file that is damaged or has another name is not restored, and the message says which."""
    backup = back_up(project)
    before, content = state(engine), backup.read_bytes()
    wrong = backup.with_name(name.format(name=backup.name, suffix=backup.suffix))
    wrong.write_bytes(content.replace(b"CREATE TABLE", b"CREATE table", 1))
    assert message in project.fails("restore", "--yes", str(wrong))
    assert before == state(engine)


def test_restore_waits_too_long(project: Project, engine: Engine, backend: str) -> None:
    """A restore that times out waiting for a lock changes nothing, and leaves no backup that would push another out."""
    backup = back_up(project)
    before = state(engine)
    short = {"MIGRATION_BACKUP_KEEP": "1", "MIGRATION_LOCK_TIMEOUT": "0.2", "MIGRATION_LOCK_RETRIES": "2"}
    with engine.connect() as holder:
        holder.exec_driver_sql("BEGIN IMMEDIATE" if backend == "sqlite" else "SELECT * FROM kept")
        said = project.fails("restore", "--yes", str(backup), **short)
        holder.rollback()
    assert "database was not changed." in said
    told = "db; waiting up to 0.4 seconds for it" if backend == "sqlite" else "a lock that this command needs (session "
    assert told in said
    assert (before, [backup]) == (state(engine), files(project))
    project.ok("restore", "--yes", str(backup), **short)


@on_mysql
def test_restore_fails_half_way(project: Project, engine: Engine) -> None:
    """The message has the line that brings back what was there before; what could not be undone passes for no whole
    database until a restore has gone through.
    """
    fill(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO two VALUES (:id)"), [{"id": number} for number in range(2, 20000)])
    backup = back_up(project)
    before = state(engine)
    project.environ["MIGRATION_BACKUP_KEEP"] = "1"
    first, table, rest = gzip.decompress(backup.read_bytes()).partition(b"CREATE TABLE `one`")
    broken = str(renamed(backup, gzip.compress(first + b"nonsense;\n" + table + rest)))
    line = project.fails("restore", "--yes", broken).rpartition("    flask db restore ")[2].strip()
    assert " is running, or was interrupted" in project.db("status").stdout
    said = [project.db(command).stderr for command in ("upgrade", "check", "migrate", "rehearse")]
    refusal = "a restore is running or was interrupted: this database is incomplete"
    assert [True] * 4 == [refusal in error for error in said], said
    project.db("restore", "--yes", broken)
    project.ok("restore", "--yes", line)
    assert before == state(engine)
    assert "interrupted" not in project.db("status").stdout


@on_mysql
def test_no_right_to_events(project: Project, database: str) -> None:
    """A user whose rights do not suffice for a backup gets the line that gives them."""
    url = make_url(database)
    with mysql_user(url, f"SELECT, LOCK TABLES, SHOW VIEW, TRIGGER ON {url.database}.*") as limited_user:
        errors = project.fails("backup", DATABASE_URL=limited_user.render_as_string(hide_password=False))
    assert "to database" in errors
    assert f"GRANT ALL ON `{url.database}`.* TO '{limited_user.username}'@" in errors


@on_servers
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_restore_interrupted(project: Project, engine: Engine, number: int) -> None:
    """After Ctrl-C the message has that line too; after kill -9 the next restore succeeds."""
    backup = back_up(project)
    before = state(engine)
    with engine.connect() as holder:
        holder.execute(text("SELECT * FROM kept"))
        with project.start("flask", "db", "restore", "--yes", str(backup)) as process:
            wait_until(lambda: is_waiting(engine))
            os.kill(process.pid, number)
            _, errors = process.communicate()
    assert number == signal.SIGKILL or "    flask db restore instance/backups/" in errors
    project.ok("restore", "--yes", str(backup), MIGRATION_LOCK_TIMEOUT="0.2")
    assert before == state(engine)


@pytest.fixture
def other_command(project: Project, engine: Engine, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold the lock until another command polls for it, as an upgrade to s1 does which then ends."""
    project.write(*revision("s1", FIRST, "pass"))
    with make_app(project.environ["DATABASE_URL"]).app_context(), ExitStack() as holding:
        holding.enter_context(locked(Database(holding.enter_context(engine.connect())), 0))

        def end(_seconds: float) -> None:
            sql("UPDATE alembic_version SET version_num = 's1'")
            holding.close()

        monkeypatch.setattr("app.safe_migrations.lock.time.sleep", end)
        yield


@on_sqlite
def test_none_after_waiting(project: Project, other_command: None) -> None:
    """An upgrade that waited while another one ran all steps makes no backup."""
    assert "Waiting for another command" in project.ok("upgrade")
    assert [] == files(project)


@on_sqlite
def test_state_before_under_the_lock(project: Project, request: pytest.FixtureRequest) -> None:
    """A restore that waited for an upgrade names its backup by the revision after that upgrade."""
    backup = back_up(project)
    request.getfixturevalue("other_command")
    project.ok("restore", "--yes", str(backup))
    assert "s1" == revisions(project)[-1]


@on_sqlite
def test_names() -> None:
    """A database has the same name whether its URL has the default port or none, whoever logs in."""
    ports = ("me:too@127.0.0.1", "127.0.0.1:5432", "127.0.0.1:5433")
    first, same, other = (name_of(make_url(f"postgresql://{place}/app")) for place in ports)
    assert first == same != other


@on_sqlite
def test_of_another_database(project: Project, tmp_path: Path) -> None:
    """Two databases may share a folder: neither lists nor prunes the other's backups; a restore of one says so."""
    project.environ["MIGRATION_BACKUP_KEEP"] = "1"
    other = {"DATABASE_URL": f"sqlite:///{tmp_path / 'other' / 'test.db'}"}
    (tmp_path / "other").mkdir()
    run_on_server(make_url(other["DATABASE_URL"]), "CREATE TABLE kept AS SELECT 1 AS one")
    project.write(*A1)
    project.ok("upgrade")
    project.ok("upgrade", **other)
    mine, theirs = listed(project), listed(project, **other)
    assert (1, 1, 2) == (len(mine), len(theirs), len({*mine, *theirs}))
    assert "is a backup of another database" in project.ok("restore", "--yes", str(*theirs))


@on_mysql
def test_odd_values(project: Project, engine: Engine, sql: Sql) -> None:
    """A dump keeps invalid dates, a table's history and generated columns, and works although a view does not."""
    sql(
        "SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'",
        "CREATE TABLE odd (id INT AUTO_INCREMENT PRIMARY KEY, n INT, day DATE, twice INT AS (n * 2) STORED, b BIT(9))",
        "INSERT INTO odd (id, n, day, b) VALUES (0, 1, '2021-02-31', b'101010101'), (7, 2, '0000-00-00', NULL)",
        "CREATE VIEW broken AS SELECT id FROM odd",
    )
    queries, path = ["SELECT CAST(day AS CHAR), id, twice, HEX(b) FROM odd"], native_path()
    if is_mariadb(engine.url):
        sql(
            "CREATE SEQUENCE numbers START WITH 5",
            "CREATE TABLE counted (id INT PRIMARY KEY DEFAULT (NEXT VALUE FOR numbers), n INT)",
            "INSERT INTO counted (n) VALUES (1)",
            "CREATE TABLE aged (id INT PRIMARY KEY, n INT) WITH SYSTEM VERSIONING",
            "INSERT INTO aged VALUES (1, 1)",
            "UPDATE aged SET n = 2",
        )
        queries += ["SELECT * FROM counted", "SELECT n FROM aged FOR SYSTEM_TIME ALL"]
        path = os.environ["PATH"]

    before = rows(engine, *queries)
    backup = back_up(project, PATH=path)
    sql("RENAME TABLE odd TO gone", "CREATE TABLE stray (id INT)")
    project.ok("backup", PATH=path)
    project.ok("restore", "--yes", str(backup), PATH=path)
    assert before == rows(engine, *queries)


def native_path() -> str:
    """Return a PATH with MySQL's own client programs, from MYSQL_CLIENTS or where they are installed."""
    return f"{os.environ.get('MYSQL_CLIENTS', '')}:{os.environ['PATH']}"


@on_mysql
def test_programs_of_the_other_product(project: Project, database: str, sql: Sql, tmp_path: Path) -> None:
    """If the other product's programs cannot dump something or log in, the message says so, and what to install."""
    url = make_url(database)
    name, own, other, package = "mariadb-dump", "MySQL", "MariaDB", "mysql"
    makes = ["CREATE TABLE odd (n INT, twice INT AS (n * 2) STORED)"]
    if is_mariadb(url):
        name, own, other, package = "mysqldump", "MariaDB", "MySQL", "mariadb"
        makes = ["CREATE SEQUENCE odd", "CREATE TABLE odd (id INT) WITH SYSTEM VERSIONING"]
    real = shutil.which(name, path=native_path())
    said = subprocess.run([real, "--version"], capture_output=True, text=True, check=True).stdout if real else ""
    if real is None or ("MariaDB" in said) == is_mariadb(url):
        pytest.skip(f"only where {name} of the other product is; MYSQL_CLIENTS may name the folder of MySQL's")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).symlink_to(real)
    for make in makes:
        sql(make)
        errors = project.fails("backup", PATH=str(tmp_path / "bin"))
        assert f"{name} is {other}'s program, which cannot dump the " in errors
        assert f"Fix: install {own}'s own program:\n    apt-get install {package}-client" in errors
        sql(f"DROP {make.split()[1]} odd")
    with mysql_user(url, "ALL ON *.*") as of_user:
        environ = {"PATH": str(tmp_path / "bin"), "DATABASE_URL": of_user.render_as_string(hide_password=False)}
        done = project.db("backup", **environ)
    told = f"{name} cannot log in as this user: " in done.stderr and "apt-get install mariadb-client" in done.stderr
    assert done.returncode == 0 or told, done.stderr


@on_mysql
def test_keys_that_the_server_adds(project: Project, engine: Engine, sql: Sql, tmp_path: Path) -> None:
    """A table with a key that MySQL added is restored with it, and one without does not get one."""
    name = "sql_generate_invisible_primary_key"
    if not rows(engine, f"SHOW VARIABLES LIKE '{name}'"):
        pytest.skip("only on MySQL from 8.0.30 on")
    sql(f"SET SESSION {name} = 0", "CREATE TABLE bare (v INT)", "INSERT INTO bare VALUES (1), (1)")
    sql(f"SET SESSION {name} = 1", "CREATE TABLE keyed (v INT)", "INSERT INTO keyed VALUES (1), (1)")
    sql("DELETE FROM keyed WHERE my_row_id = 1")
    queries = "SELECT my_row_id, v FROM keyed", "SHOW CREATE TABLE keyed", "SHOW CREATE TABLE bare"
    before, backup = rows(engine, *queries), back_up(project)
    sql("DROP TABLE bare", "UPDATE keyed SET v = 2")
    init = f'exec {{real}} "$@" --init-command="SET SESSION {name} = 1"'
    project.ok("restore", "--yes", str(backup), PATH=with_programs(tmp_path / "bin", init, "mysql", "mariadb"))
    assert before == rows(engine, *queries)


@on_mysql
def test_options_of_the_user(project: Project, engine: Engine, sql: Sql, tmp_path: Path) -> None:
    """No option file of the user changes the content or target of a backup, and localhost does not mean a socket."""
    (tmp_path / ".my.cnf").write_text("[client]\nport=1\n[mysqldump]\nno-data\n[mysql]\nport=1\n")
    url = engine.url.set(host="localhost").render_as_string(hide_password=False)
    environ = {"HOME": str(tmp_path), "MYSQL_UNIX_PORT": "/nowhere", "DATABASE_URL": url}
    backup = back_up(project, **environ)
    sql("DELETE FROM kept")
    project.ok("restore", "--yes", str(backup), **environ)
    assert [(1, 2)] == rows(engine, "SELECT * FROM kept")


@on_mysql
def test_password_after_a_kill(project: Project, tmp_path: Path) -> None:
    """Nothing with a password is left behind by a backup that is killed while the client program runs."""
    slow = f'cat "${{1#*=}}" > {tmp_path}/read; touch {tmp_path}/begun; sleep 5'
    path = with_programs(tmp_path / "bin", slow, *DUMPERS)
    (tmp_path / "temporary").mkdir()
    with project.start("flask", "db", "backup", PATH=path, TMPDIR=str(tmp_path / "temporary")) as process:
        wait_until((tmp_path / "begun").exists)
        process.kill()
        process.communicate()
    assert "[client]" == (tmp_path / "read").read_text().splitlines()[0]
    assert [] == list((tmp_path / "temporary").iterdir())


@on_mysql
def test_rows_that_are_too_large(project: Project, sql: Sql) -> None:
    """A row that the server would not accept in a restore is reported by the backup."""
    sql("CREATE TABLE large (data LONGBLOB)", "INSERT INTO large VALUES (REPEAT('a', @@max_allowed_packet DIV 2))")
    project.write(*A1)
    lines = ["SET GLOBAL max_allowed_packet = 1073741824;", "flask db -x backup=never upgrade"]
    assert lines == [line.strip() for line in project.fails("upgrade").splitlines()[-3:-1]]
    assert [] == files(project)


@on_mysql
def test_small_file_that_unpacks_to_a_large_one(project: Project, engine: Engine) -> None:
    """A line of any length, to which a few kilobytes can unpack, is refused before it fills the memory."""
    backup = back_up(project)
    packer = zlib.compressobj(wbits=31)
    head, *_ = gzip.decompress(backup.read_bytes()).partition(b"\n/*")
    parts = [packer.compress(head + b"\n-- "), *(packer.compress(b"x" * 1_000_000) for _ in range(250))]
    bomb = renamed(backup, b"".join([*parts, packer.compress(b"\n-- Dump completed\n"), packer.flush()]))
    assert bomb.stat().st_size < 1_000_000
    with engine.connect() as connection:
        tracemalloc.start()
        try:
            with pytest.raises(MigrationError, match="max_allowed_packet"):
                Backups(adapter_of(engine), cast(Any, None)).verify(Database(connection), bomb)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 200_000_000


@on_mysql
@pytest.mark.parametrize("rights", ["", "SUPER", "SET_ANY_DEFINER, SYSTEM_USER", "ALL PRIVILEGES"])
def test_definers(project: Project, engine: Engine, rights: str) -> None:
    """A user who may not create objects that others defined is told so before anything is dropped; others can restore.

    MySQL asks for more than SUPER where the definer is an administrator, and for SUPER where triggers are logged.
    """
    fill(engine)
    ((is_logged,),) = rows(engine, "SELECT @@log_bin AND NOT @@log_bin_trust_function_creators")
    enough = {"SUPER"} if is_mariadb(engine.url) else set()
    enough |= {"ALL PRIVILEGES"} if is_logged else {"ALL PRIVILEGES", "SET_ANY_DEFINER, SYSTEM_USER"}
    may = rights in enough
    if is_mariadb(engine.url):
        rights = rights.replace("SET_ANY_DEFINER, SYSTEM_USER", "SET USER")
    grants = [f"ALL ON `{engine.url.database}`.*", *([f"{rights} ON *.*"] if rights else [])]
    with mysql_user(engine.url, *grants) as user:
        environ = {"DATABASE_URL": user.render_as_string(hide_password=False)}
        backup = back_up(project, **environ)
        before = state(engine)
        done = project.db("restore", "--yes", str(backup), **environ)
    told = f"{user.username}@% may not create the backup's" in done.stderr
    assert (0 if may else 1, not may) == (done.returncode, told), done.stderr
    assert before == state(engine)


@on_postgresql
def test_subscription(project: Project, engine: Engine, sql: Sql) -> None:
    """A restore leaves a subscription, and says how it goes on; the copy of a rehearsal has none."""
    options = "PUBLICATION p WITH (connect = false, slot_name = NONE)"
    sql(f"CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 port=1' {options}")
    try:
        before = state(engine)
        done = project.ok("restore", "--yes", str(back_up(project)))
        assert 'until you run: ALTER SUBSCRIPTION "news" REFRESH PUBLICATION' in done
        assert before == state(engine)
        project.write(*A1)
        assert " ok\n" in project.db("rehearse").stdout
    finally:
        sql("DROP SUBSCRIPTION news")


@on_postgresql
def test_too_few_locks(project: Project, tmp_path: Path) -> None:
    """If the server has too few locks for a restore, nothing is changed.

    A server without locks would disturb other tests, so psql only says that it is one.
    """
    said = r"ERROR:  out of shared memory\nHINT:  You might need to increase max_locks_per_transaction."
    path = with_programs(tmp_path / "bin", f"printf '{said}' >&2; exit 3", "psql")
    said = project.fails("restore", "--yes", str(back_up(project)), PATH=path)
    assert "The database was not changed." in said
    assert "    ALTER SYSTEM SET max_locks_per_transaction = " in said


@on_postgresql
def test_more_objects_than_locks(project: Project, sql: Sql) -> None:
    """A rehearsal works on a database that has more objects than the server has locks."""
    locks = "current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int"
    sql(f"SELECT lo_create(0) FROM generate_series(1, {locks} * 3 / 2)")
    project.write(*A1)
    assert " ok\n" in project.db("rehearse").stdout


@on_postgresql
def test_extension_of_another(project: Project, engine: Engine, sql: Sql, owner: URL) -> None:
    """An administrator's extension stays, and a rehearsal works without one that nothing needs."""
    sql("CREATE EXTENSION pg_stat_statements", 'CREATE COLLATION other FROM "C"')
    sql(f"ALTER COLLATION other OWNER TO {owner.username}")
    project.environ["DATABASE_URL"] = owner.render_as_string(hide_password=False)
    project.ok("restore", "--yes", str(back_up(project)))
    with engine.connect() as connection:
        assert adapter_of(engine).has_extension(connection, "pg_stat_statements")
    project.write(*A1)
    done = project.db("rehearse")
    assert " ok\n" in done.stdout
    assert "The extension pg_stat_statements is missing" in done.stderr
    sql("CREATE TABLE of_another (id INTEGER)")
    said = project.fails("backup")
    assert "permission denied for table of_another" in said
    assert "give the user the missing right" in said


@on_sqlite
def test_wal(project: Project, engine: Engine, sql: Sql) -> None:
    """A database in WAL mode is restored, and stays in that mode."""
    backup, before = back_up(project), state(engine)
    sql("PRAGMA journal_mode=WAL", "DELETE FROM kept")
    project.ok("restore", "--yes", str(backup))
    assert before == state(engine)
    assert [("wal",)] == rows(engine, "PRAGMA journal_mode")


def test_consistent(project: Project, engine: Engine, sql: Sql) -> None:
    """A backup during writes has all of each transaction or nothing of it."""
    sql("CREATE TABLE one (id INTEGER PRIMARY KEY)", "CREATE TABLE two (id INTEGER PRIMARY KEY)")
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.wait(0.002):
            number += 1
            with engine.begin() as connection:
                connection.exec_driver_sql(f"INSERT INTO one VALUES ({number})")
                connection.exec_driver_sql(f"INSERT INTO two VALUES ({number})")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup = back_up(project)
    finally:
        ended.set()
        writer.join()
    project.ok("restore", "--yes", str(backup))
    found = rows(engine, "SELECT count(*), max(id) FROM one UNION SELECT count(*), max(id) FROM two")
    assert (1, True) == (len(found), bool(found[0][0]))


@on_servers
def test_login(project: Project, engine: Engine, backend: str, tmp_path: Path) -> None:
    """Client programs log in with all options of the app's URL; no secret is on a command line or shown by a command.

    Options may have spaces, and the name of a database may begin with a dash.
    """
    user, password, quote = f"u{uuid4().hex[:12]}", "p @:/%\"'\\#;$é", engine.dialect.identifier_preparer.quote
    url = engine.url.set(username=user, password=password, database=f"--help{uuid4().hex}")
    if backend == "mysql":
        account, escaped = f"USER '{user}'@'%'", password.replace("\\", "\\\\").replace("'", "''")
        makes = [f"CREATE {account} IDENTIFIED BY '{escaped}'", f"GRANT ALL ON *.* TO {account.removeprefix('USER ')}"]
        url = url.set(password=None).update_query_dict({"password": password})
    else:
        account, makes = f"ROLE {user}", [f"CREATE ROLE {user} SUPERUSER LOGIN"]
        options = {"options": "-c statement_timeout=60000 -c a.b=hidden", "sslpassword": "a 'hidden\\ word"}
        url = url.update_query_dict({**options, "sslcert": "", "application_name": "it's me"})
    run_on_server(engine.url, *makes, f"CREATE DATABASE {quote(str(url.database))}")
    path = with_programs(tmp_path / "bin", f'echo "$0 $@" >> {tmp_path}/seen; exec {{real}} "$@"', *DUMPERS, *LOADERS)
    try:
        project.environ["DATABASE_URL"] = url.render_as_string(hide_password=False)
        project.ok("upgrade")
        project.ok("restore", "--yes", str(back_up(project, PATH=path)), PATH=path)
        shown = project.ok("current", "-v")
    finally:
        run_on_server(engine.url, f"DROP DATABASE {quote(str(url.database))}", f"DROP {account}")
    seen = (tmp_path / "seen").read_text()
    assert 4 <= len(seen.splitlines())
    assert [] == [secret for secret in ("hidden", "p @:", "p%20", "p+%40") if secret in seen + shown]
    assert f"/{url.database}" in shown


@on_mysql
def test_index_that_innodb_made(project: Project, engine: Engine, sql: Sql) -> None:
    """After a restore InnoDB drops the index that it made for a foreign key as before it; and one that a person made,
    beside another one that can serve, stays.
    """
    sql(
        "CREATE TABLE pet (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, c INTEGER, KEY wide (b, c), KEY fk_b (b),"
        " CONSTRAINT fk_a FOREIGN KEY (a) REFERENCES user (id), CONSTRAINT fk_b FOREIGN KEY (b) REFERENCES user (id))"
    )
    project.ok("restore", "--yes", str(back_up(project)))
    sql("ALTER TABLE pet ADD KEY other (a, c)")
    assert {"wide", "fk_b", "other"} == {index["name"] for index in sa.inspect(engine).get_indexes("pet")}
