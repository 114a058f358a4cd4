"""A damaged SQLite database: it can be replaced by a backup, and is kept."""

import errno
import os
from pathlib import Path
from unittest.mock import patch

import pytest
from sqlalchemy import Engine

from ..adapters.sqlite.adapter import SQLite
from .support import FIRST, Project, Sql, on_sqlite, revision, rows

pytestmark = on_sqlite
A1 = revision("a1", FIRST, "op.create_table('pet', sa.Column('id', sa.Integer()))")


def overwrite_rows(content: bytes) -> bytes:
    """Return a database whose pages but the first ones are random."""
    return content[:-40960] + bytes(range(256)) * 160


def overwrite_all(content: bytes) -> bytes:
    """Return a file that is not a database."""
    return b"x" * len(content)


@pytest.fixture(params=[overwrite_rows, overwrite_all])
def damaged(request: pytest.FixtureRequest, upgraded: Project, sql: Sql, database: str) -> tuple[Path, str]:
    """Damage the database; return its file, and the name of a backup from before."""
    del upgraded.environ["MIGRATION_BACKUP"]
    sql("CREATE TABLE large AS SELECT hex(randomblob(50000)) AS content", "PRAGMA journal_mode=wal")
    backup = upgraded.ok("backup").splitlines()[0]
    file = Path(database.removeprefix("sqlite:///"))
    file.chmod(0o640)
    file.write_bytes(request.param(file.read_bytes()))
    upgraded.write(*A1)
    return file, backup


def test_restore(damaged: tuple[Path, str], project: Project, engine: Engine) -> None:
    """A restore gives the damaged file another name, which it prints, and the new one the same permissions."""
    file, backup = damaged
    content = file.read_bytes()
    said = project.ok("restore", "--yes", backup)
    (aside,) = file.parent.glob("test.db-damaged-*")
    assert (True, True) == (" is damaged: " in said, f"Its file is {aside} now" in said)
    assert not (file.parent / "test.db-restored").exists()
    assert (content, 0o640) == (aside.read_bytes(), file.stat().st_mode & 0o777)
    assert [(1,)] == rows(engine, "SELECT 1 FROM large")
    project.ok("upgrade")


def test_restore_fails(damaged: tuple[Path, str], project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no room for the restored file, the damaged one keeps its name."""
    file, backup = damaged
    content = file.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("app.safe_migrations.adapters.sqlite.dump.shutil.copyfileobj", fail)
    said = project.fails("restore", "--yes", backup)
    assert f"Error: the database {file} could not be replaced: [Errno 28] No space left on device.\nFix: free" in said
    assert content == file.read_bytes()
    assert [] == [*file.parent.glob("test.db-damaged-*"), *file.parent.glob("test.db-restored")]


@pytest.mark.parametrize("table", ["alembic_version", "_migration_log"])
def test_status(upgraded: Project, engine: Engine, database: str, table: str) -> None:
    """A status that cannot be read is an error, with the line that restores the newest backup."""
    backup = upgraded.ok("backup").splitlines()[0]
    query = f"SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = '{table}'"
    ((page, size),) = rows(engine, query)
    with Path(database.removeprefix("sqlite:///")).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"x" * size)
    assert f" under another name:\n    flask db restore {backup}\n" in upgraded.fails("status")


@pytest.mark.parametrize("command", ["backup", "downgrade", "upgrade"])
def test_other_commands(damaged: tuple[Path, str], project: Project, command: str) -> None:
    """Each other command says that the database is damaged, and how to restore a backup."""
    _, backup = damaged
    said = project.fails(command)
    assert "is not a complete backup" not in said
    assert f"    flask db restore {backup}\n" in said


@pytest.mark.parametrize("command", ["backup", "downgrade", "upgrade"])
def test_without_a_backup(damaged: tuple[Path, str], project: Project, command: str) -> None:
    """If there is no backup, the message has the line that saves what SQLite can still read."""
    file, backup = damaged
    (project.path / backup).unlink()
    assert f"    sqlite3 {file} .recover > recovered.sql\n" in project.fails(command)


def test_unreadable_backups(upgraded: Project, database: str) -> None:
    """If the backups cannot be listed, the message has the line that lists them, which says why."""
    backup = upgraded.path / upgraded.ok("backup").splitlines()[0]
    file = Path(database.removeprefix("sqlite:///"))
    file.write_bytes(overwrite_all(file.read_bytes()))
    backup.parent.chmod(0)
    said = upgraded.without_rights("status")
    backup.parent.chmod(0o700)
    assert "file is not a database\nFix: check the path in DATABASE_URL; or restore a backup, which keeps the" in said
    assert " List them:\n    flask db backups\n" in said


def test_in_a_script(upgraded: Project, sql: Sql, database: str) -> None:
    """If a script finds the damage, the message names its file and line, too."""
    sql("CREATE TABLE large AS SELECT hex(randomblob(50000)) AS content")
    backup = upgraded.ok("backup").splitlines()[0]
    file = Path(database.removeprefix("sqlite:///"))
    file.write_bytes(overwrite_rows(file.read_bytes()))
    upgraded.write(*revision("a1", FIRST, "op.get_bind().execute(sa.text('SELECT content FROM large')).all()"))
    said = upgraded.fails("upgrade")
    assert f"a1.py, line 9: the database sqlite:///{file} is damaged: database disk image is malformed.\n" in said
    assert f"    flask db restore {backup}\n" in said


def test_other_file(upgraded: Project, database: str) -> None:
    """If a script opens another file that is damaged, the message names the script, and restores nothing."""
    upgraded.ok("backup")
    other = Path(database.removeprefix("sqlite:///")).with_name("other.db")
    other.write_bytes(b"x" * 4096)
    opened = f"sa.create_engine('sqlite:///{other}', poolclass=sa.NullPool).connect()"
    upgraded.write(*revision("a1", FIRST, f"{opened}.exec_driver_sql('SELECT * FROM t')"))
    said = upgraded.fails("upgrade")
    assert "migrations/versions/a1.py, line 9: file is not a database\nFix: SQLite finds no damage in the app's" in said
    assert (True, False) == (f"the database is at {FIRST}." in said, "restore" in said)


def test_unreadable_log(upgraded: Project, sql: Sql) -> None:
    """Another error of the log says nothing about damage, for which the whole file would have to be read."""
    sql("ALTER TABLE _migration_log DROP COLUMN parents")
    with patch.object(SQLite, "damage") as read:
        assert 0 == upgraded.db("status").returncode
    assert not read.called
