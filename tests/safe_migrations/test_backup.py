"""Backups before a run, and the way back, on every backend."""

import gzip
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine, create_engine, text

from tests.conftest import FIRST, Project, revision
from tests.safe_migrations.test_atomic import state

METADATA = sa.MetaData()
TYPES: dict[str, tuple[sa.types.TypeEngine[Any], object]] = {
    "small": (sa.SmallInteger(), -32768),
    "big": (sa.BigInteger(), 2**63 - 1),
    "numeric": (sa.Numeric(30, 10), Decimal("-12345678901234567890.0123456789")),
    "float": (sa.Double(), 0.1),
    "boolean": (sa.Boolean(), True),
    "date": (sa.Date(), date(1000, 1, 1)),
    "moment": (sa.DateTime(), datetime(9999, 12, 31, 23, 59, 59)),
    "time": (sa.Time(), time(23, 59, 59)),
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
    """With backups, as they are by default, on a database at the first revision."""
    del project.environ["MIGRATION_BACKUP"]
    assert database == project.environ["DATABASE_URL"]
    project.ok("upgrade")


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """Looks at the database."""
    engine = create_engine(database)
    yield engine
    engine.dispose()


def fill(engine: Engine, backend: str) -> None:
    """Tables with a row of every type, one of NULLs and one of what is empty; a view, a trigger."""
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
    """Run them in a transaction."""
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def found(project: Project) -> list[str]:
    """The paths that `flask db backups` lists."""
    return [line.split()[0] for line in project.ok("backups").splitlines()]


def files(project: Project) -> list[Path]:
    """What there is in the folder of backups."""
    return sorted((project.path / "instance" / "backups").glob("*"))


def test_round_trip(project: Project, engine: Engine, backend: str) -> None:
    """What an upgrade backs up comes back after a wreck, byte for byte, at its revision, and strays are gone."""
    fill(engine, backend)
    before = state(engine)
    project.write(*A1)
    assert "Backup instance/backups/" in project.ok("upgrade")
    run(engine, *WRECK)
    (backup,) = found(project)
    assert f"backup    {backup}\n" in project.db("status").stdout
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
    project.ok("-x", "backup=risky", "upgrade")
    assert 1 == len(files(project))


def test_keep(project: Project, engine: Engine) -> None:
    """MIGRATION_BACKUP_KEEP backups stay, after failures too, the newest ones; a partial one of a killed run goes."""
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    project.write(*revision("a1", FIRST, "raise RuntimeError('stop')"))
    project.environ["MIGRATION_BACKUP_KEEP"] = "2"
    for _ in range(2):
        assert 1 == project.db("upgrade").returncode
    last = files(project)[-1]
    last.with_name(last.name + ".partial").touch()
    assert 1 == project.db("upgrade").returncode
    assert 2 == len(files(project))
    assert last in files(project)


@pytest.mark.parametrize("backend", ["mysql", "postgresql"], indirect=True)
def test_missing_program(project: Project, engine: Engine) -> None:
    """Without the client program nothing runs, and the message says which package, and how to go on without."""
    run(engine, "CREATE TABLE kept AS SELECT 1 AS one")
    project.write(*A1)
    done = project.db("upgrade", PATH="/nowhere")
    assert 1 == done.returncode
    assert "is not installed" in done.stderr
    assert "-client" in done.stderr
    assert "    flask db -x backup=never upgrade" in done.stderr
    assert FIRST in project.ok("current")
    project.ok("-x", "backup=never", "upgrade")


@pytest.mark.parametrize("limit", [0, 1000])
def test_no_room(project: Project, engine: Engine, backend: str, limit: int) -> None:
    """If a backup cannot be written to its end, nothing runs, and no half of it stays."""
    if backend == "sqlite":
        limit *= 50  # enough for its schema, and not for the copy of all its pages
    fill(engine, backend)
    before = state(engine)
    project.write(*A1)
    (project.path / "instance").mkdir(exist_ok=True)
    folder = project.path / "instance" / "backups"
    if limit:
        command = f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        project.write("limited.py", f"{command} sys.argv = ['flask', 'db', 'upgrade']; runpy.run_module('flask')")
        done = project.run("limited", PYTHONDONTWRITEBYTECODE="1")
    else:
        folder.touch()
        done = project.db("upgrade")
    assert 1 == done.returncode
    assert "Traceback" not in done.stderr
    assert "Instead: " in done.stderr
    assert not limit or [] == files(project)
    assert before == state(engine)


def test_not_whole(project: Project, engine: Engine, backend: str) -> None:
    """A file that is cut off, anywhere, or no backup at all, is refused, and the database left as it is."""
    fill(engine, backend)
    project.ok("backup")
    (whole,) = files(project)
    before = state(engine)
    content = whole.read_bytes()
    cut = project.path / "cut"
    for size in [0, 10, len(content) // 2, len(content) - 1]:
        cut.write_bytes(content[:size])
        done = project.db("restore", "--yes", "cut")
        assert (1, True) == (done.returncode, "no whole backup" in done.stderr), done.stderr
    for foreign in (b"text", gzip.compress(b"-- Server version\t5.5.5 Other\n-- Dump completed"), b"PGDMP" + b"x" * 99):
        cut.write_bytes(foreign)
        done = project.db("restore", "--yes", "cut")
        assert (1, True) == (done.returncode, "no whole backup" in done.stderr or "Other" in done.stderr), done.stderr
    assert 1 == project.db("restore", "--yes", "missing").returncode
    assert before == state(engine)
    assert 1 == len(files(project))


def test_nobody_there(project: Project, engine: Engine, backend: str) -> None:
    """Without --yes and a terminal nothing is restored."""
    fill(engine, backend)
    project.ok("backup")
    run(engine, "DELETE FROM two")
    before = state(engine)
    done = project.db("restore", found(project)[0])
    assert (1, True) == (done.returncode, "flask db restore --yes instance/backups/" in done.stderr)
    assert before == state(engine)


def test_restore_fails(project: Project, engine: Engine, backend: str) -> None:
    """If a restore fails half-way, the message has the line that brings back what was there before."""
    fill(engine, backend)
    project.ok("backup")
    (backup,) = files(project)
    before = state(engine)
    if backend == "mysql":
        lines = gzip.decompress(backup.read_bytes()).splitlines(keepends=True)
        backup.write_bytes(
            gzip.compress(b"".join([*lines[: len(lines) // 2], b"nonsense;\n", *lines[len(lines) // 2 :]]))
        )
        done = project.db("restore", "--yes", found(project)[0])
    else:
        with engine.connect() as holder:
            if backend == "sqlite":
                holder.connection.execute("BEGIN IMMEDIATE")
            else:
                holder.execute(text("SELECT * FROM one"))
            environ = {"MIGRATION_LOCK_TIMEOUT": "0.2", "MIGRATION_LOCK_RETRIES": "1"}
            done = project.db("restore", "--yes", found(project)[0], **environ)
            holder.rollback()
        assert before == state(engine)
    assert 1 == done.returncode
    assert "Traceback" not in done.stderr
    line = done.stderr.rpartition("    flask db ")[2].split()
    project.ok(line[0], "--yes", line[1])
    assert before == state(engine)


def test_consistent(project: Project, engine: Engine, backend: str) -> None:
    """A backup under a writer has all of each transaction or nothing of it."""
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
    """After a failure that leaves something behind, the message ends with the line that brings all back."""
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


@pytest.mark.parametrize("backend", ["mysql", "postgresql"], indirect=True)
def test_password(project: Project, engine: Engine, database: str, backend: str, tmp_path: Path) -> None:
    """The password stands on no command line of a client program, and in no file that others can read."""
    fill(engine, backend)
    url = sa.make_url(database)
    user, password = f"u{os.getpid()}", "p @:/%\"'\\#;$é"
    quoted = password.replace("\\", "\\\\").replace("'", "''")
    name = f"'{user}'@'%'" if backend == "mysql" else user
    make = (
        f"CREATE USER {name} IDENTIFIED BY '{quoted}'" if backend == "mysql" else f"CREATE ROLE {user} SUPERUSER LOGIN"
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(make.replace("%", "%%"))
        if backend == "mysql":
            connection.exec_driver_sql(f"GRANT ALL ON *.* TO {name}".replace("%", "%%"))
    seen = tmp_path / "seen"
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("mariadb-dump", "mysqldump", "mariadb", "mysql", "pg_dump", "pg_restore", "psql"):
        real = shutil.which(program)
        if real:
            (folder / program).write_text(f'#!/bin/sh\necho "$0 $@" >> {seen}\nexec {real} "$@"\n')
            (folder / program).chmod(0o755)
    try:
        project.environ["DATABASE_URL"] = url.set(username=user, password=password).render_as_string(
            hide_password=False
        )
        path = f"{folder}:{os.environ['PATH']}"
        project.ok("backup", PATH=path)
        project.ok("restore", "--yes", found(project)[0], PATH=path)
        assert 4 <= len(seen.read_text().splitlines())
        assert "p @:" not in seen.read_text()
        assert "p%20" not in seen.read_text()
    finally:
        project.environ["DATABASE_URL"] = database
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"DROP {'USER' if backend == 'mysql' else 'ROLE'} {name}".replace("%", "%%"))
