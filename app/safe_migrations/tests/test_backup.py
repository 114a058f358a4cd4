"""Backups before a run, and the way back, on every backend."""

import gzip
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import Engine, create_engine, make_url, text

from ..adapters import adapter_of
from ..backups.files import Backups, name_of
from ..database import Database
from ..errors import MigrationError
from .support import FIRST, SERVERS, Project, copied, is_mariadb, revision, run_on_server, state

METADATA = sa.MetaData()
TYPES: dict[str, tuple[sa.types.TypeEngine[Any], object]] = {
    "small": (sa.SmallInteger(), -32768),
    "big": (sa.BigInteger(), 2**63 - 1),
    "numeric": (sa.Numeric(30, 10), Decimal("-12345678901234567890.0123456789")),
    "float": (sa.Double(), 0.1),
    "boolean": (sa.Boolean(), True),
    "date": (sa.Date(), date(1000, 1, 1)),
    "moment": (sa.DateTime(), datetime(9999, 12, 31, 23, 59, 59)),
    "time": (sa.Time(), clock(23, 59, 59)),
    "interval": (sa.Interval(), timedelta(days=1, seconds=2)),
    "string": (sa.String(80), 'it\'s "quoted" \\ `a` %s %% \r\n\t ; -- 😀 é'),
    "text": (sa.Text(), "😀" * 5000 + "\\N \\. \x1a"),
    "bytes": (sa.LargeBinary(1 << 20), bytes(range(256)) * 40),
    "json": (sa.JSON(), {"é": ["😀", None, 1.5]}),
    "enum": (sa.Enum("it's", "b", name="kind"), "it's"),
    "uuid": (sa.Uuid(), UUID(int=2**128 - 1)),
}
EVERYTHING = sa.Table(
    "everything",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    *(sa.Column(name, kind) for name, (kind, _) in TYPES.items()),
    sa.Column("parent", sa.ForeignKey("everything.id")),
)
COUNTED = [sa.Table(name, METADATA, sa.Column("id", sa.Integer, primary_key=True)) for name in ("one", "two")]
VIEW = "CREATE VIEW texts AS SELECT id, string FROM everything"
TRIGGERS = {
    "sqlite": ["CREATE TRIGGER t AFTER INSERT ON one BEGIN DELETE FROM everything WHERE id = -new.id; END"],
    "mysql": ["CREATE TRIGGER t AFTER INSERT ON one FOR EACH ROW DELETE FROM everything WHERE id = -new.id"],
    "postgresql": [
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE TRIGGER t AFTER INSERT ON one FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE SCHEMA other",
        "CREATE TABLE other.kept AS SELECT 1 AS one",
    ],
}
WRECK = ["DROP VIEW texts", "DROP TABLE everything", "DELETE FROM two", "CREATE TABLE stray (id INTEGER)"]
A1 = revision("a1", FIRST, "op.add_column('user', sa.Column('age', sa.Integer()))", "op.drop_column('user', 'age')")


@pytest.fixture(autouse=True)
def on(project: Project, database: str) -> None:
    """Yield a project that makes backups, as by default, with its database at the first revision."""
    del project.environ["MIGRATION_BACKUP"]
    assert database == project.environ["DATABASE_URL"]
    project.ok("upgrade")


def fill(engine: Engine, backend: str) -> None:
    """Create tables with a row of values of every type, one of NULLs and one of empty values; a view, a trigger."""
    METADATA.create_all(engine)
    full = {name: value for name, (_, value) in TYPES.items()}
    with engine.begin() as connection:
        rows = [
            {"id": 1, **full, "parent": None},
            {"id": 2, **dict.fromkeys(full), "parent": 1},
            {"id": 3, **dict.fromkeys(full), "parent": 2, "string": "", "text": "", "bytes": b""},
        ]
        connection.execute(EVERYTHING.insert(), rows)
        for table in COUNTED:
            connection.execute(table.insert(), [{"id": 1}])
        for statement in [VIEW, *TRIGGERS[backend]]:
            connection.execute(text(statement))


def run(engine: Engine, *statements: str) -> None:
    """Run the statements in a transaction."""
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def failed(project: Project, *args: str, **environ: str) -> str:
    """Return what `flask db ARGS` says on stderr; fail the test unless it ends with 1 and a message."""
    done = project.db(*args, **environ)
    assert (1, False) == (done.returncode, "Traceback" in done.stderr), done.stderr
    return done.stderr


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, but no longer than 20 seconds."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


def with_program(folder: Path, name: str, script: str) -> str:
    """Return the PATH on which a shell script comes before the client program ``name``."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def found(project: Project) -> list[str]:
    """Return the paths that `flask db backups` lists."""
    return [line.split()[0] for line in project.ok("backups").splitlines()]


def files(project: Project) -> list[Path]:
    """Return the names of all files in the backup folder."""
    return sorted((project.path / "instance" / "backups").glob("*"))


def test_round_trip(project: Project, engine: Engine, backend: str) -> None:
    """A restore brings back what an upgrade backed up, byte for byte, at its revision, and drops everything else.

    Without --yes and a terminal nothing is restored.
    """
    fill(engine, backend)
    before = state(engine)
    project.write(*A1)
    assert "Wrote backup instance/backups/" in project.ok("upgrade")
    run(engine, *WRECK)
    (backup,) = found(project)
    assert f"backup    {backup}\n" in project.db("status").stdout
    wrecked = state(engine)
    assert f"    flask db restore {backup} --yes" in failed(project, "restore", backup)
    assert wrecked == state(engine)
    done = project.db("restore", "--yes", backup)
    assert (0, f"The database is at {FIRST}\n") == (done.returncode, done.stdout)
    assert before == state(engine)
    assert 2 == len(found(project))
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files(project)}
    assert 0o700 == stat.S_IMODE(files(project)[0].parent.stat().st_mode)
    project.ok("upgrade")
    project.ok("downgrade")


def test_on_stock(project: Project, engine: Engine, backend: str) -> None:
    """The damage: stock drops a column with its values, and nothing brings them back."""
    fill(engine, backend)
    project.write(*revision("a1", FIRST, "op.drop_column('everything', 'text')"))
    project.make_stock()
    project.ok("upgrade")
    assert [] == files(project)


def test_none_needed(project: Project, engine: Engine) -> None:
    """Nothing is backed up if there are no rows, nothing is pending, a revision is stamped, or -x says never."""
    project.write(*A1)
    project.ok("upgrade")
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    project.ok("upgrade")
    project.ok("stamp", FIRST)
    project.ok("stamp", "a1")
    project.ok("-x", "backup=never", "downgrade")
    assert [] == files(project)


RISKY = [
    ("op.add_column('user', sa.Column('age', sa.Integer()))", 0),
    ("op.execute('CREATE INDEX ix ON kept (one)')", 0),
    ("op.execute('INSERT INTO kept VALUES (3, 4)')", 0),
    ("op.execute('UPDATE kept SET one = 2')", 1),
    ("op.execute('ALTER TABLE kept DROP COLUMN two')", 1),
    ("op.drop_table('kept')", 1),
    ("op.get_bind().execute(sa.text('SELECT 1')).scalar()", 1),
]


@pytest.mark.parametrize(
    ("backend", "up", "expected"),
    [("sqlite", *case) for case in RISKY] + [(server, *case) for server in SERVERS for case in (RISKY[0], RISKY[-2])],
    indirect=["backend"],
)
def test_risky(project: Project, engine: Engine, up: str, expected: int) -> None:
    """With MIGRATION_BACKUP=risky, only if a step can lose data or cannot be inspected.

    How SQL is read for the servers' dialects, the tests of that tell.
    """
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one, 2 AS two")
    project.write(*revision("a1", FIRST, up))
    project.ok("upgrade", MIGRATION_BACKUP="risky")
    assert expected == len(files(project))


def earlier(project: Project, engine: Engine) -> list[Path]:
    """Return a backup made by hand, and one of an upgrade to a1 with a name as older releases gave them."""
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    project.ok("backup")
    project.write(*A1)
    project.ok("upgrade")
    return files(project)


@pytest.mark.parametrize("failure", ["RuntimeError('stop')", "SystemExit(0)"])
def test_keep_after_failures(project: Project, engine: Engine, failure: str) -> None:
    """A crash loop removes no earlier backup, whatever MIGRATION_BACKUP_KEEP is, and leaves one; partial ones go."""
    before = earlier(project, engine)
    project.write(*revision("a2", "a1", f"raise {failure}"))
    project.environ["MIGRATION_BACKUP_KEEP"] = "1"
    before[-1].with_name(before[-1].name + ".partial").touch()
    errors = [project.db("upgrade").stderr for _ in range(5)]
    after = files(project)
    assert before == [file for file in after if file in before]
    assert 3 == len(after)
    (own,) = set(after) - set(before)
    lines = [line for line in errors[-1].splitlines() if "Removed backup" in line]
    assert [f"the run was rolled back, and the backup {own.name} has the same revision"] == [
        line.partition(": ")[2] for line in lines
    ]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("failure", ["raise RuntimeError('stop')", "raise SystemExit(0)", "op.execute('SELECT nope')"])
def test_keep_what_a_failed_run_has_changed(project: Project, engine: Engine, failure: str) -> None:
    """The backup of an attempt that committed something stays, even if an earlier one of the same revision exists."""
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    change = "with op.get_context().autocommit_block():\n    op.execute('UPDATE kept SET one = one + 1')"
    project.write(*revision("a1", FIRST, f"{change}\n{failure}"))
    for _ in range(2):
        assert "were committed and remain" in project.db("upgrade").stderr
    assert 2 == len(files(project))


def test_keep_after_a_success(project: Project, engine: Engine) -> None:
    """MIGRATION_BACKUP_KEEP backups stay, the newest of each revision before several of one, and removals are logged.

    Those made by hand do not count, and are never removed.
    """
    project.environ["MIGRATION_BACKUP_KEEP"] = "3"
    (by_hand, _) = earlier(project, engine)
    outputs = [project.ok(command) for command in ("downgrade", "upgrade", "downgrade", "upgrade")]
    revisions = ["-".join(file.name.split("-")[2:-1]) for file in files(project)]
    assert [f"{FIRST}-by-hand", FIRST, "a1", FIRST] == revisions
    assert by_hand in files(project)
    assert [0, 0, 1, 1] == [output.count("Removed backup instance/backups/") for output in outputs]
    project.environ["MIGRATION_BACKUP_KEEP"] = "2"
    project.write(*revision("a2", "a1", "pass"))
    project.ok("upgrade")
    revisions = ["-".join(file.name.split("-")[2:-1]) for file in files(project)]
    assert [f"{FIRST}-by-hand", FIRST, "a1"] == revisions
    listed = project.ok("backups").splitlines()
    assert [False, False, True] == [line.endswith("  by hand") for line in listed]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_nobody_reads(project: Project, engine: Engine) -> None:
    """`flask db backups | true` prints no error about the closed pipe."""
    project.ok("backup")
    with project.start("flask", "db", "backups") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate()
    assert "" == errors


@pytest.mark.parametrize("backend", ["mysql", "postgresql"], indirect=True)
def test_missing_program(project: Project, engine: Engine) -> None:
    """Without the client program nothing runs; the message names the package, and how to go on without a backup: the
    line repeats what was typed.
    """
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    project.write(*A1)
    said = failed(project, "upgrade", PATH="/nowhere")
    assert "is not installed" in said
    assert "-client" in said
    assert "    flask db -x backup=never upgrade" in said
    assert FIRST in project.ok("current")
    project.ok("-x", "backup=never", "upgrade")
    assert "    flask db -x backup=never downgrade -1\n" in failed(project, "downgrade", PATH="/nowhere")
    project.ok("backup")
    (backup,) = found(project)
    said = failed(project, "restore", "--yes", backup, PATH="/nowhere")
    assert (True, False) == ("is not installed" in said, "is not a complete backup" in said), said


def limited(project: Project, size: int, *args: str) -> "subprocess.CompletedProcess[str]":
    """Run ``flask db ARGS`` with a limit of ``size`` bytes for each file that it writes."""
    command = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}));"
    project.write("limited.py", f"{command} sys.argv = {['flask', 'db', *args]}; runpy.run_module('flask')")
    return project.run("limited", PYTHONDONTWRITEBYTECODE="1")


@pytest.mark.parametrize("limit", [0, 1000])
def test_no_room(project: Project, engine: Engine, backend: str, limit: int) -> None:
    """If a backup cannot be written completely, nothing runs, and no part of it stays."""
    if backend == "sqlite":
        limit *= 50  # enough for its schema, and not for the copy of all its pages
    fill(engine, backend)
    before = state(engine)
    project.write(*A1)
    (project.path / "instance").mkdir(exist_ok=True)
    folder = project.path / "instance" / "backups"
    if limit:
        done = limited(project, limit, "upgrade")
    else:
        folder.touch()
        done = project.db("upgrade")
    assert 1 == done.returncode
    assert "Traceback" not in done.stderr
    assert "Fix: " in done.stderr
    assert not limit or [] == files(project)
    assert before == state(engine)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_no_room_for_the_database(project: Project, engine: Engine) -> None:
    """If the disk has no room for the restored database, a restore says so, and nothing is changed."""
    run(engine, "CREATE TABLE large AS SELECT zeroblob(200000) AS content")
    project.ok("backup")
    (large,) = found(project)
    run(engine, "DROP TABLE large")
    with engine.connect() as connection:
        connection.connection.execute("VACUUM")
    before = state(engine)
    said = limited(project, 100000, "restore", "--yes", large).stderr
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


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_no_room_leaves_nothing(project: Project, engine: Engine, small_disk: Path) -> None:
    """A backup that fills the disk leaves no SQLite journal, and removes one that an earlier backup left."""
    run(engine, "CREATE TABLE large AS SELECT zeroblob(2000000) AS content")
    project.environ["MIGRATION_BACKUP_DIR"] = str(small_disk / "backups")
    project.ok("backup")
    (backup,) = (small_disk / "backups").iterdir()
    backup.with_name(f"{backup.name}.partial-journal").touch()
    (small_disk / "fill").write_bytes(bytes(900_000))
    assert "database or disk is full" in failed(project, "backup")
    assert [backup] == list((small_disk / "backups").iterdir())


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_no_room_for_a_step(project: Project, engine: Engine, small_disk: Path, mode: str) -> None:
    """If the disk is full in the middle of a step, the message blames the disk: not the script, nor a later error."""
    project.environ |= {"MIGRATION_BACKUP": "never", "DATABASE_URL": f"sqlite:///{small_disk / 'app.db'}"}
    project.ok("upgrade")
    full = create_engine(project.environ["DATABASE_URL"])
    with full.connect() as connection:
        connection.execute(text(f"PRAGMA journal_mode={mode}"))
    insert = "INSERT INTO user (id, username, email) VALUES ({}, {}, random() || hex(zeroblob(20000)))"
    run(full, *(insert.format(number, number) for number in range(30)))
    (small_disk / "fill").write_bytes(bytes(shutil.disk_usage(small_disk).free - 300_000))
    before = state(full)
    alter = "with op.batch_alter_table('user') as batch:\n    batch.alter_column('email', type_=sa.String(500))"
    project.write(*revision("a1", FIRST, alter))
    said = failed(project, "upgrade")
    assert "migrations/versions/a1.py, line 9: database or disk is full\nFix: free space on the database's disk" in said
    assert before == state(full)
    full.dispose()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_read_only(project: Project, engine: Engine, database: str) -> None:
    """A read-only database is not reported as a fault of the script."""
    project.environ["MIGRATION_BACKUP"] = "never"
    project.write(*A1)
    file = Path(str(sa.make_url(database).database))
    said = failed(project, "upgrade", DATABASE_URL=f"sqlite:///file:{file}?mode=ro&uri=true")
    assert "readonly database" in said
    assert "make the database file and its folder writable" in said
    assert f"    ls -ld {file.parent} {file}" in said


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_no_room_on_the_server(project: Project, engine: Engine, tmp_path: Path) -> None:
    """If a program says that the server's disk is full, the message does not suggest another backup folder."""
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    project.write(*A1)
    full = "echo 'ERROR: could not extend file: No space left on device' >&2; exit 1"
    (path,) = {with_program(tmp_path / "bin", name, full) for name in ("pg_dump", "mysqldump", "mariadb-dump")}
    said = failed(project, "upgrade", PATH=path)
    assert "Error: the server's disk is full: ERROR: could not" in said
    assert "Fix: make room on the server's disk" in said


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_crafted_archive(project: Project, engine: Engine, tmp_path: Path) -> None:
    """A dump that tells psql to run a program is refused."""
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one", f"COMMENT ON TABLE kept IS '{'x' * 200}'")
    project.ok("backup")
    (backup,) = files(project)
    before, ran = state(engine), tmp_path / "ran"
    comment = b"COMMENT ON TABLE public.kept IS '" + b"x" * 200 + b"';"
    command = f"SELECT 1;\n\\! touch {ran}\n".encode()
    crafted = renamed(backup, backup.read_bytes().replace(comment, command + b"-" * (len(comment) - len(command))))
    assert "The database was not changed." in failed(project, "restore", "--yes", str(crafted))
    assert not ran.exists()
    assert before == state(engine)


def renamed(file: Path, content: bytes) -> Path:
    """Write ``content`` to another file, whose name has the checksum of that, and return it."""
    begin, _, _ = file.name.rpartition("-")
    other = file.with_name(f"{begin}-{zlib.crc32(content):08x}.{file.name.partition('.')[2]}")
    other.write_bytes(content)
    return other


def test_not_whole(project: Project, engine: Engine, backend: str, database: str) -> None:
    """A file that is cut off or damaged, anywhere, or not a backup, is refused, and the database is not changed."""
    fill(engine, backend)
    project.ok("backup")
    (whole,) = files(project)
    before = state(engine)
    content = whole.read_bytes()
    backups = Backups(adapter_of(engine), whole.parent, 5)
    with engine.connect() as connection:
        backups.verify(Database(connection), whole)
        for part in range(20):
            size = len(content) * part // 20
            whole.write_bytes(content[:size])
            flipped = bytearray(content)
            flipped[size] ^= 1
            for wrong in (whole, renamed(whole, content[:size])):
                with pytest.raises(MigrationError, match="not a complete backup"):
                    backups.verify(Database(connection), wrong)
            whole.write_bytes(flipped)
            with pytest.raises(MigrationError, match="does not match the checksum"):
                backups.verify(Database(connection), whole)
        for foreign in (
            b"",
            b"text",
            gzip.compress(b"-- Server version\t5.5.5\n-- Dump completed"),
            b"PGDMP" + b"x" * 99,
        ):
            with pytest.raises(MigrationError, match="not a complete backup"):
                backups.verify(Database(connection), renamed(whole, foreign))
        if backend == "mysql":
            of_the_other = b"MySQL" if is_mariadb(sa.make_url(database)) else b"MariaDB"
            head = b"-- %s dump 10\n-- Server version\t10.0-%s\n-- Dump completed\n" % (of_the_other, of_the_other)
            with pytest.raises(MigrationError, match="not a complete backup"):
                backups.verify(Database(connection), renamed(whole, gzip.compress(head)))
    for name in (whole, "missing"):
        done = project.db("restore", "--yes", str(name))
        assert (1, True) == (done.returncode, "Fix: " in done.stderr), done.stderr
    other = whole.with_name("cut" + whole.suffix)
    other.write_bytes(content)
    assert "its name is not" in project.db("restore", "--yes", str(other)).stderr
    assert before == state(engine)


def test_restore_waits_too_long(project: Project, engine: Engine, database: str) -> None:
    """A restore that times out waiting for a lock changes nothing, and leaves no backup that would push another out."""
    fill(engine, engine.dialect.name)
    project.ok("backup")
    (backup,) = files(project)
    before = state(engine)
    project.environ |= {"MIGRATION_BACKUP_KEEP": "1", "MIGRATION_LOCK_TIMEOUT": "1", "MIGRATION_LOCK_RETRIES": "2"}
    with engine.connect() as holder:
        if engine.dialect.name == "sqlite":
            holder.connection.execute("BEGIN IMMEDIATE")
        else:
            holder.execute(text("SELECT * FROM two"))
        done = project.db("restore", "--yes", str(backup))
        holder.rollback()
    assert (1, False, True) == (done.returncode, "Traceback" in done.stderr, "database was not changed." in done.stderr)
    assert engine.dialect.name == "sqlite" or "a lock that this command needs (session " in done.stderr
    assert (before, [backup]) == (state(engine), files(project))
    project.ok("restore", "--yes", str(backup))


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_restore_fails_half_way(project: Project, engine: Engine, backend: str) -> None:
    """The message has the line that brings back what was there before; what could not be undone passes for no whole
    database until a restore has gone through.
    """
    fill(engine, backend)
    with engine.begin() as connection:
        connection.execute(COUNTED[1].insert(), [{"id": number} for number in range(2, 20000)])
    project.ok("backup")
    (backup,) = files(project)
    before = state(engine)
    project.environ["MIGRATION_BACKUP_KEEP"] = "1"
    lines = gzip.decompress(backup.read_bytes()).splitlines(keepends=True)
    middle = next(at for at, line in enumerate(lines) if line.startswith(b"CREATE TABLE `one`"))
    content = gzip.compress(b"".join([*lines[:middle], b"nonsense;\n", *lines[middle:]]))
    done = project.db("restore", "--yes", str(renamed(backup, content)))
    assert (1, False) == (done.returncode, "Traceback" in done.stderr)
    assert " is running, or was interrupted" in project.db("status").stdout
    for command in ("upgrade", "check", "migrate", "rehearse"):
        said = project.db(command).stderr
        assert "a restore is running or was interrupted: this database is incomplete" in said, command
    project.db("restore", "--yes", str(renamed(backup, content)))
    line = done.stderr.rpartition("    flask db ")[2].split()
    project.ok(line[0], "--yes", line[1])
    assert before == state(engine)
    assert "half-way" not in project.db("status").stdout


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_no_right_to_events(project: Project, engine: Engine, backend: str) -> None:
    """A user whose rights do not suffice for a backup gets the line that gives them."""
    user, name = f"u{uuid4().hex[:12]}", engine.url.database
    run(engine, f"CREATE USER {user} IDENTIFIED BY 'secret'")
    run(engine, f"GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER ON {name}.* TO {user}")
    try:
        url = engine.url.set(username=user, password="secret").render_as_string(hide_password=False)
        errors = project.db("backup", DATABASE_URL=url).stderr
    finally:
        run(engine, f"DROP USER {user}")
    assert "to database" in errors
    assert f"GRANT ALL ON `{name}`.* TO '{user}'@" in errors, errors


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_restore_interrupted(project: Project, engine: Engine, backend: str, number: int) -> None:
    """After Ctrl-C the message has that line too; after kill -9 the next restore succeeds."""
    fill(engine, backend)
    project.ok("backup")
    (backup,) = files(project)
    before = state(engine)
    with engine.connect() as holder:
        holder.execute(text("SELECT * FROM one"))
        with project.start("flask", "db", "restore", "--yes", str(backup)) as process:
            wait_until(lambda: len(files(project)) > 1)
            time.sleep(1)
            os.kill(process.pid, number)
            _, errors = process.communicate()
    assert number == signal.SIGKILL or "    flask db restore instance/backups/" in errors
    project.ok("restore", "--yes", str(backup), MIGRATION_LOCK_TIMEOUT="1")
    assert before == state(engine)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_state_before_under_the_lock(project: Project, engine: Engine) -> None:
    """A restore that waited for an upgrade names its backup by the revision after that upgrade."""
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    project.ok("backup")
    (backup,) = found(project)
    slow = "import time, pathlib; pathlib.Path('begun').touch(); time.sleep(4)"
    project.write(*revision("a1", FIRST, slow))
    with project.start("flask", "db", "upgrade") as upgrade:
        wait_until((project.path / "begun").exists)
        assert "Waiting for another command" in project.ok("restore", "--yes", backup)
        upgrade.communicate()
    assert "-a1-" in found(project)[0]


def test_names() -> None:
    """A database has the same name whether its URL has the default port or none, whoever logs in."""
    one, same, other = (
        "postgresql://127.0.0.1/app",
        "postgresql://me:too@127.0.0.1:5432/app",
        "postgresql://127.0.0.1:5433/app",
    )
    assert name_of(make_url(one)) == name_of(make_url(same)) != name_of(make_url(other))
    assert name_of(make_url("sqlite:///one/app.db")) != name_of(make_url("sqlite:///other/app.db"))


def test_of_another_database(project: Project, engine: Engine, database: str, tmp_path: Path) -> None:
    """Two databases may share a folder: neither lists nor prunes the other's backups; a restore of one says so."""
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    project.environ["MIGRATION_BACKUP_KEEP"] = "1"
    other = copied(tmp_path / "other")
    other.environ = {**project.environ, "MIGRATION_BACKUP_DIR": str(project.path / "instance" / "backups")}
    other.environ["DATABASE_URL"] = f"sqlite:///{tmp_path / 'other' / Path(str(sa.make_url(database).database)).name}"
    other.ok("upgrade")
    project.ok("backup")
    assert "" == other.ok("backups")
    other.ok("backup")
    assert 2 == len(files(project))
    assert 1 == len(found(project))
    if engine.dialect.name == "sqlite":
        (theirs,) = set(files(project)) - {project.path / name for name in found(project)}
        assert "is a backup of another database" in project.ok("restore", "--yes", str(theirs))


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_odd_values(project: Project, engine: Engine, database: str) -> None:
    """A dump keeps invalid dates, a table's history and generated columns, and works although a view does not."""
    statements = [
        "SET SESSION sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO'",
        "CREATE TABLE odd (id INT AUTO_INCREMENT PRIMARY KEY, n INT, day DATE, twice INT AS (n * 2) STORED, b BIT(9))",
        "INSERT INTO odd (id, n, day, b) VALUES (0, 1, '2021-02-31', b'101010101'), (7, 2, '0000-00-00', NULL)",
        "CREATE VIEW broken AS SELECT id FROM odd",
    ]
    if is_mariadb(sa.make_url(database)):
        statements += [
            "CREATE SEQUENCE numbers START WITH 5",
            "CREATE TABLE counted (id INT PRIMARY KEY DEFAULT (NEXT VALUE FOR numbers), n INT)",
            "INSERT INTO counted (n) VALUES (1)",
            "CREATE TABLE aged (id INT PRIMARY KEY, n INT) WITH SYSTEM VERSIONING",
            "INSERT INTO aged VALUES (1, 1)",
            "UPDATE aged SET n = 2",
        ]
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        query = "SELECT CAST(day AS CHAR), id, twice, HEX(b) FROM odd"
        before = connection.exec_driver_sql(query).fetchall()
    path = os.environ["PATH"] if is_mariadb(sa.make_url(database)) else native_path()
    project.ok("backup", PATH=path)
    run(engine, "RENAME TABLE odd TO gone", "CREATE TABLE stray (id INT)")
    project.ok("backup", PATH=path)
    project.ok("restore", "--yes", found(project)[1], PATH=path)
    with engine.connect() as connection:
        assert before == connection.exec_driver_sql(query).fetchall()
        if is_mariadb(sa.make_url(database)):
            assert 2 == connection.scalar(text("SELECT COUNT(*) FROM aged FOR SYSTEM_TIME ALL"))
            assert [(5, 1)] == connection.execute(text("SELECT * FROM counted")).fetchall()


def native_path() -> str:
    """Return a PATH with MySQL's own client programs, from MYSQL_CLIENTS or where they are installed."""
    return f"{os.environ.get('MYSQL_CLIENTS', '')}:{os.environ['PATH']}"


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_programs_of_the_other_product(project: Project, engine: Engine, database: str, tmp_path: Path) -> None:
    """If the other product's programs cannot dump something or log in, the message says so, and what to install."""
    url, user = sa.make_url(database), f"u{uuid4().hex[:12]}"
    of_mariadb = is_mariadb(url)
    name = "mysqldump" if of_mariadb else "mariadb-dump"
    real = shutil.which(name, path=native_path())
    said = subprocess.run([real, "--version"], capture_output=True, text=True, check=True).stdout if real else ""
    if real is None or ("MariaDB" in said) == of_mariadb:
        pytest.skip(f"only where {name} of the other product is; MYSQL_CLIENTS may name the folder of MySQL's")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).symlink_to(real)
    for make, drop in (
        [
            ("CREATE SEQUENCE numbers", "DROP SEQUENCE numbers"),
            ("CREATE TABLE aged (id INT) WITH SYSTEM VERSIONING", "DROP TABLE aged"),
        ]
        if of_mariadb
        else [("CREATE TABLE odd (n INT, twice INT AS (n * 2) STORED)", "DROP TABLE odd")]
    ):
        run(engine, make)
        errors = project.db("backup", PATH=str(tmp_path / "bin")).stderr
        own, other, package = ("MariaDB", "MySQL", "mariadb") if of_mariadb else ("MySQL", "MariaDB", "mysql")
        assert (make, True) == (make, f"{name} is {other}'s program, which cannot dump the " in errors), errors
        assert f"Fix: install {own}'s own program:\n    apt-get install {package}-client" in errors
        run(engine, drop)
    run_on_server(url, f"CREATE USER '{user}' IDENTIFIED BY 'secret'", f"GRANT ALL ON *.* TO '{user}'")
    try:
        of_user = url.set(username=user, password="secret").render_as_string(False)
        done = project.db("backup", PATH=str(tmp_path / "bin"), DATABASE_URL=of_user)
    finally:
        run_on_server(url, f"DROP USER '{user}'")
    told = f"{name} cannot log in as this user: " in done.stderr and "apt-get install mariadb-client" in done.stderr
    assert done.returncode == 0 or told, done.stderr


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_keys_that_the_server_adds(project: Project, engine: Engine, tmp_path: Path) -> None:
    """A table with a key that MySQL added is restored with it, and one without does not get one."""
    setting = "SET SESSION sql_generate_invisible_primary_key"
    with engine.connect() as connection:
        if not connection.execute(text("SHOW VARIABLES LIKE 'sql_generate_invisible_primary_key'")).all():
            pytest.skip("only on MySQL from 8.0.30 on")
    run(engine, "CREATE TABLE bare (v INT)", "INSERT INTO bare VALUES (1), (1)")
    run(engine, f"{setting} = 1", "CREATE TABLE keyed (v INT)", "INSERT INTO keyed VALUES (1), (1)")
    run(engine, "DELETE FROM keyed WHERE my_row_id = 1", f"{setting} = 0")

    def found_now() -> list[object]:
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT my_row_id, v FROM keyed")).all()
            return [*(connection.execute(text(f"SHOW CREATE TABLE {name}")).one() for name in ("bare", "keyed")), rows]

    before = found_now()
    for name in ("mysql", "mariadb"):
        if real := shutil.which(name):
            path = with_program(tmp_path / "bin", name, f'exec {real} "$@" --init-command="{setting} = 1"')
    project.ok("backup")
    run(engine, "DROP TABLE bare", "UPDATE keyed SET v = 2")
    project.ok("restore", "--yes", found(project)[-1], PATH=path)
    assert before == found_now()


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_options_of_the_user(project: Project, engine: Engine, database: str, tmp_path: Path) -> None:
    """No option file of the user changes the content or target of a backup, and localhost does not mean a socket."""
    run(engine, "CREATE TABLE kept (id INT PRIMARY KEY)", "INSERT INTO kept VALUES (1)")
    (tmp_path / ".my.cnf").write_text("[client]\nport=1\n[mysqldump]\nno-data\n[mysql]\nport=1\n")
    url = sa.make_url(database).set(host="localhost").render_as_string(hide_password=False)
    environ = {"HOME": str(tmp_path), "MYSQL_UNIX_PORT": "/nowhere", "DATABASE_URL": url}
    backup = project.ok("backup", **environ).splitlines()[-1]
    run(engine, "DELETE FROM kept")
    backup = project.ok("backups", **environ).split()[0]
    project.ok("restore", "--yes", backup, **environ)
    assert ["(1,)"] == state(engine)[-1]["kept"]


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_password_after_a_kill(project: Project, engine: Engine, tmp_path: Path) -> None:
    """Nothing with a password is left behind by a backup that is killed while the client program runs."""
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    slow = f'cat "${{1#*=}}" > {tmp_path}/read; touch {tmp_path}/begun; sleep 5'
    (path,) = {with_program(tmp_path / "bin", name, slow) for name in ("mysqldump", "mariadb-dump")}
    (tmp_path / "temporary").mkdir()
    with project.start("flask", "db", "backup", PATH=path, TMPDIR=str(tmp_path / "temporary")) as process:
        wait_until((tmp_path / "begun").exists)
        process.kill()
        process.communicate()
    assert "[client]" == (tmp_path / "read").read_text().splitlines()[0]
    assert [] == list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_rows_that_are_too_large(project: Project, engine: Engine) -> None:
    """A row that the server would not accept in a restore is reported by the backup."""
    run(
        engine,
        "CREATE TABLE large (id INT PRIMARY KEY, data LONGBLOB)",
        "INSERT INTO large VALUES (1, REPEAT('a', @@max_allowed_packet DIV 2))",
    )
    project.write(*A1)
    done = project.db("upgrade")
    lines = ["SET GLOBAL max_allowed_packet = 1073741824;", "flask db -x backup=never upgrade"]
    assert (1, lines) == (done.returncode, [line.strip() for line in done.stderr.splitlines()[-2:]]), done.stderr
    assert [] == files(project)


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_small_file_that_unpacks_to_a_large_one(project: Project, engine: Engine) -> None:
    """A line of any length, to which a few kilobytes can unpack, is refused before it fills the memory."""
    project.ok("backup")
    (backup,) = files(project)
    packer = zlib.compressobj(wbits=31)
    head, *_ = gzip.decompress(backup.read_bytes()).partition(b"\n/*")
    parts = [packer.compress(head + b"\n-- "), *(packer.compress(b"x" * 1_000_000) for _ in range(400))]
    bomb = renamed(backup, b"".join([*parts, packer.compress(b"\n-- Dump completed\n"), packer.flush()]))
    assert bomb.stat().st_size < 1_000_000
    with engine.connect() as connection:
        tracemalloc.start()
        try:
            with pytest.raises(MigrationError, match="max_allowed_packet"):
                Backups(adapter_of(engine), backup.parent, 5).verify(Database(connection), bomb)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 200_000_000


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
@pytest.mark.parametrize("rights", ["", "SUPER", "SET_ANY_DEFINER, SYSTEM_USER", "ALL PRIVILEGES"])
def test_definers(project: Project, engine: Engine, database: str, rights: str) -> None:
    """A user who may not create objects that others defined is told so before anything is dropped; others can restore.

    MySQL asks for more than SUPER where the definer is an administrator, and for SUPER where triggers are logged.
    """
    fill(engine, "mysql")
    url, user = sa.make_url(database), f"u{uuid4().hex[:12]}"
    with engine.connect() as connection:
        is_logged = connection.scalar(text("SELECT @@log_bin AND NOT @@log_bin_trust_function_creators"))
    if is_mariadb(url):
        rights = rights.replace("SET_ANY_DEFINER, SYSTEM_USER", "SET USER")
    enough = {"SUPER"} if is_mariadb(url) else set()
    enough |= {"ALL PRIVILEGES"} if is_logged else {"ALL PRIVILEGES", "SET USER", "SET_ANY_DEFINER, SYSTEM_USER"}
    grants = [
        f"GRANT ALL ON `{url.database}`.* TO '{user}'",
        *([f"GRANT {rights} ON *.* TO '{user}'"] if rights else []),
    ]
    run_on_server(url, f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'", *grants)
    try:
        project.environ["DATABASE_URL"] = url.set(username=user, password="secret").render_as_string(False)
        project.ok("backup")
        before = state(engine)
        done = project.db("restore", "--yes", found(project)[0])
        told = f"{user}@% may not create the backup's" in done.stderr
        assert (rights not in enough, rights not in enough) == (done.returncode == 1, told), done.stderr
        assert before == state(engine)
    finally:
        run_on_server(url, f"DROP USER '{user}'@'%'")


OF_POSTGRESQL = [
    "CREATE TABLE part (id INT, y INT) PARTITION BY RANGE (y)",
    "CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (1) TO (9)",
    "CREATE TYPE comp AS (a INT, b TEXT)",
    "CREATE DOMAIN positive AS INT CHECK (VALUE > 0)",
    "CREATE TYPE mood AS ENUM ('good', 'bad')",
    "CREATE TABLE typed (c comp, p positive, m mood[], s SERIAL, i INT GENERATED ALWAYS AS IDENTITY)",
    "INSERT INTO typed (c, p, m) VALUES (ROW(1, 'x'), 2, '{good}')",
    'CREATE COLLATION german (provider = icu, locale = "de")'.replace('"', "'"),
    "CREATE TEXT SEARCH CONFIGURATION words (COPY = simple)",
    "CREATE FUNCTION add3(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $2 + 3'",
    "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = add3)",
    "CREATE AGGREGATE sum3 (int) (SFUNC = add3, STYPE = int, INITCOND = 0)",
    "CREATE PROCEDURE nothing() LANGUAGE sql AS 'SELECT 1'",
    "CREATE MATERIALIZED VIEW seen AS SELECT p FROM typed",
    "CREATE STATISTICS stats ON s, i FROM typed",
    "CREATE EXTENSION hstore",
    "CREATE SCHEMA ext",
    "CREATE EXTENSION citext SCHEMA ext",
    "CREATE TABLE extended (h hstore, c ext.citext)",
    "CREATE PUBLICATION news FOR TABLE typed",
    "CREATE FOREIGN DATA WRAPPER nowhere",
    "CREATE RULE quiet AS ON DELETE TO typed DO INSTEAD NOTHING",
    "SELECT lo_from_bytea(0, 'large')",
]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_all_kinds(project: Project, engine: Engine, empty_app: Flask) -> None:
    """Every kind of object is restored, and none stays that the backup does not contain."""
    project.ok("backup")
    (bare,) = found(project)
    empty = dumped(engine)
    run(engine, *OF_POSTGRESQL)
    full = dumped(engine)
    project.ok("backup")
    with_all = found(project)[0]
    for _ in range(2):
        project.ok("restore", "--yes", bare)
        assert empty == dumped(engine)
        project.ok("restore", "--yes", with_all)
        assert full == dumped(engine)


@pytest.fixture
def other_user(engine: Engine, database: str) -> Iterator[str]:
    """Yield a user who owns the database and nothing else on the server."""
    name = f"other_{uuid4().hex}"
    run(engine, f"CREATE ROLE {name} LOGIN PASSWORD 'secret'", f"ALTER DATABASE {engine.url.database} OWNER TO {name}")
    yield name
    run(engine, f"REASSIGN OWNED BY {name} TO postgres", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_privileges(project: Project, engine: Engine, other_user: str) -> None:
    """A restore grants and revokes exactly what the backup says, whatever the default privileges are."""
    give = "ALTER DEFAULT PRIVILEGES {} GRANT ALL ON {} TO PUBLIC"
    run(engine, "CREATE TABLE hidden (id INTEGER)", "CREATE FUNCTION f() RETURNS INTEGER LANGUAGE sql AS 'SELECT 1'")
    run(engine, f"GRANT SELECT ON hidden TO {other_user}", give.format("IN SCHEMA public", "TABLES"))
    run(engine, give.format("", "SEQUENCES"), "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    before = dumped(engine, "--schema-only")
    assert before.count("GRANT") > 2
    project.ok("backup")
    (backup,) = files(project)
    for wreck in (
        "SELECT 1",
        "DROP SCHEMA public CASCADE",
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC; GRANT ALL ON SCHEMA public TO PUBLIC",
    ):
        run(engine, wreck)
        project.ok("restore", "--yes", str(backup))
        assert before == dumped(engine, "--schema-only")


def dumped(engine: Engine, *options: str) -> str:
    """Return the output of pg_dump without the lines that differ each time."""
    server = [f"--host={engine.url.host}", f"--port={engine.url.port}", f"--username={engine.url.username}"]
    run = ["pg_dump", *options, *server, str(engine.url.database)]
    found = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in found.splitlines() if "restrict" not in line)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_subscription(project: Project, engine: Engine, database: str) -> None:
    """A restore leaves a subscription, and says how it goes on; the copy of a rehearsal has none."""
    url = sa.make_url(database)
    options = "PUBLICATION p WITH (connect = false, slot_name = NONE)"
    run_on_server(url, f"CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 port=1' {options}")
    try:
        before = dumped(engine)
        project.ok("backup")
        done = project.ok("restore", "--yes", found(project)[0])
        assert 'until you run: ALTER SUBSCRIPTION "news" REFRESH PUBLICATION' in done
        assert before == dumped(engine)
        project.write(*A1)
        assert " ok\n" in project.db("rehearse").stdout
    finally:
        run_on_server(url, "DROP SUBSCRIPTION news")


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_more_objects_than_locks(project: Project, engine: Engine, database: str, tmp_path: Path) -> None:
    """If the server has too few locks for a restore, nothing is changed; a rehearsal does without so many.

    A server without locks would disturb other tests, so psql only says that it is one.
    """
    locks = "current_setting('max_locks_per_transaction')::int * current_setting('max_connections')::int"
    run_on_server(sa.make_url(database), f"SELECT lo_create(0) FROM generate_series(1, 2 * {locks})")
    project.ok("backup")
    said = r"ERROR:  out of shared memory\nHINT:  You might need to increase max_locks_per_transaction."
    path = with_program(tmp_path / "bin", "psql", f"printf '{said}' >&2; exit 3")
    said = failed(project, "restore", "--yes", found(project)[0], PATH=path)
    assert "The database was not changed." in said
    assert "    ALTER SYSTEM SET max_locks_per_transaction = " in said
    project.write(*A1)
    assert " ok\n" in project.db("rehearse").stdout


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_extension_of_another(project: Project, engine: Engine, other_user: str) -> None:
    """An administrator's extension stays, and a rehearsal works without one that nothing needs."""
    run(
        engine,
        f"ALTER ROLE {other_user} CREATEDB CREATEROLE",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {other_user}",
    )
    run(engine, *(f'ALTER TABLE "{name}" OWNER TO {other_user}' for name in ("user", "alembic_version")))
    run(engine, "CREATE EXTENSION pg_stat_statements", 'CREATE COLLATION other FROM "C"')
    run(engine, f"ALTER COLLATION other OWNER TO {other_user}")
    url = engine.url.set(username=other_user, password="secret").render_as_string(hide_password=False)
    project.environ["DATABASE_URL"] = url
    project.ok("backup")
    (backup,) = files(project)
    project.ok("restore", "--yes", str(backup))
    with engine.connect() as connection:
        assert adapter_of(engine).has_extension(connection, "pg_stat_statements")
    project.write(*A1)
    done = project.db("rehearse")
    assert " ok\n" in done.stdout
    assert "The extension pg_stat_statements is missing" in done.stderr
    run(engine, "CREATE TABLE of_another (id INTEGER)")
    said = failed(project, "backup")
    assert "permission denied for table of_another" in said
    assert "give the user the missing right" in said


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_wal(project: Project, engine: Engine) -> None:
    """A database in WAL mode takes a backup, and stays in that mode."""
    fill(engine, "sqlite")
    project.ok("backup")
    before = state(engine)
    with engine.connect() as connection:
        connection.execute(text("PRAGMA journal_mode=WAL"))
    run(engine, "DELETE FROM two")
    project.ok("restore", "--yes", found(project)[-1])
    assert before == state(engine)
    with engine.connect() as connection:
        assert "wal" == connection.scalar(text("PRAGMA journal_mode"))


def test_consistent(project: Project, engine: Engine, backend: str) -> None:
    """A backup during writes has all of each transaction or nothing of it."""
    METADATA.create_all(engine)
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.wait(0.002):
            number += 1
            with engine.begin() as connection:
                for table in COUNTED:
                    connection.execute(table.insert().values(id=number))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(2):
            project.ok("backup")
    finally:
        ended.set()
        writer.join()
    for backup in found(project):
        project.ok("restore", "--yes", backup)
        rows = state(engine)[-1]
        assert rows["one"] == rows["two"] != []


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_line_after_what_cannot_be_undone(project: Project, engine: Engine) -> None:
    """If a failed run leaves changes, the message ends with the line that restores the backup."""
    run(engine, "CREATE TABLE log (what VARCHAR(80)) ENGINE=MyISAM", "INSERT INTO log VALUES ('kept')")
    before = state(engine)
    body = "op.execute(\"UPDATE log SET what = 'lost'\")\nop.add_column('user', sa.Column('age', sa.Integer()))\n1 / 0"
    project.write(*revision("a1", FIRST, body))
    done = project.db("upgrade")
    assert 1 == done.returncode
    line = done.stderr.rstrip().splitlines()[-1].split()
    assert ["flask", "db", "restore"] == line[:3]
    project.ok("restore", "--yes", line[3])
    assert before == state(engine)


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_line_of_the_next_run(project: Project, engine: Engine) -> None:
    """The next run, which refuses to start because of them, ends with that line too."""
    run(engine, "INSERT INTO user (id, username, email) VALUES (1, 'alice', 'a@b')")
    double = "INSERT INTO user (id, username, email) VALUES (2, 'alice', 'c@d')"
    others = f"with op.get_bind().engine.begin() as connection:\n    connection.exec_driver_sql({double!r})"
    body = f"op.drop_index('uq_user_username', 'user')\n{others}\n1 / 0"
    project.write(*revision("a1", FIRST, body))
    project.db("upgrade")
    done = project.db("upgrade")
    lines = [line.strip() for line in done.stderr.rstrip().splitlines()]
    assert (1, f"flask db restore {found(project)[0]}") == (done.returncode, lines[-1])
    assert any("a revision failed half-way" in line for line in lines)


def watched_programs(folder: Path) -> tuple[Path, str]:
    """Return a file to which client programs append their command lines, and the PATH that makes them do so."""
    seen, path = folder / "seen", ""
    for program in ("mariadb-dump", "mysqldump", "mariadb", "mysql", "pg_dump", "pg_restore", "psql"):
        if real := shutil.which(program):
            path = with_program(folder / "bin", program, f'echo "$0 $@" >> {seen}\nexec {real} "$@"')
    return seen, path


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_password_behind_the_url(project: Project, database: str) -> None:
    """`flask db current -v` shows the password neither before the host nor among the options."""
    url = sa.make_url(database)
    user = f"u{uuid4().hex[:12]}"
    run_on_server(url, f"CREATE USER '{user}' IDENTIFIED BY 'hidden'", f"GRANT ALL ON *.* TO '{user}'")
    try:
        url = url.set(username=user, password=None).update_query_dict({"password": "hidden"})
        shown = project.ok("current", "-v", DATABASE_URL=url.render_as_string(hide_password=False))
    finally:
        run_on_server(sa.make_url(database), f"DROP USER '{user}'")
    assert (True, False) == (f"/{url.database}" in shown, "hidden" in shown)


@pytest.mark.parametrize("backend", ["mysql", "postgresql"], indirect=True)
def test_login(project: Project, engine: Engine, database: str, backend: str, tmp_path: Path) -> None:
    """Client programs log in with all options of the app's URL, and no secret is on their command lines.

    Options may have spaces, and the name of a database may begin with a dash.
    """
    user, password, quote = f"u{os.getpid()}", "p @:/%\"'\\#;$é", engine.dialect.identifier_preparer.quote
    url = sa.make_url(database).set(username=user, password=password, database=f"--help{uuid4().hex}")
    account, make = user, [f"CREATE ROLE {user} SUPERUSER LOGIN"]
    if backend == "mysql":
        account, escaped = f"'{user}'@'%'", password.replace("\\", "\\\\").replace("'", "''")
        make = [f"CREATE USER {account} IDENTIFIED BY '{escaped}'", f"GRANT ALL ON *.* TO {account}"]
    else:
        options = {
            "options": "-c statement_timeout=60000 -c a.b=hidden",
            "sslpassword": "a 'hidden\\ word",
            "sslcert": "",
        }
        url = url.update_query_dict({**options, "application_name": "it's me"})
    run_on_server(sa.make_url(database), *make, f"CREATE DATABASE {quote(str(url.database))}")
    seen, path = watched_programs(tmp_path)
    try:
        project.environ["DATABASE_URL"] = url.render_as_string(hide_password=False)
        project.ok("upgrade")
        project.ok("backup", PATH=path)
        project.ok("restore", "--yes", found(project)[0], PATH=path)
        shown = project.ok("current", "-v")
    finally:
        run_on_server(sa.make_url(database), f"DROP DATABASE {quote(str(url.database))}")
        run_on_server(sa.make_url(database), f"DROP {'USER' if backend == 'mysql' else 'ROLE'} {account}")
    assert 4 <= len(seen.read_text().splitlines())
    assert [] == [secret for secret in ("hidden", "p @:", "p%20") if secret in seen.read_text() + shown]
    assert f"/{url.database}" in shown


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_index_that_innodb_made(project: Project, database: str) -> None:
    """After a restore InnoDB drops the index that it made for a foreign key as before it; and one that a person made,
    beside another one that can serve, stays.
    """
    project.ok("upgrade")
    server = make_url(database)
    run_on_server(
        server,
        "CREATE TABLE pet (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, c INTEGER, KEY wide (b, c), KEY fk_b (b),"
        " CONSTRAINT fk_a FOREIGN KEY (a) REFERENCES user (id), CONSTRAINT fk_b FOREIGN KEY (b) REFERENCES user (id))",
    )
    project.ok("backup")
    (file,) = (project.path / "instance" / "backups").glob("*.sql.gz")
    project.ok("restore", str(file), "--yes")
    run_on_server(server, "ALTER TABLE pet ADD KEY other (a, c)")
    engine = create_engine(database)
    with engine.connect() as connection:
        names = {index["name"] for index in sa.inspect(connection).get_indexes("pet")}
    engine.dispose()
    assert {"wide", "fk_b", "other"} == names
