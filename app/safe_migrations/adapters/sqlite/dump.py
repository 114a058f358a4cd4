"""The backup of a SQLite database: a copy of all its pages, by SQLite's online backup."""

import errno
import shlex
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine

from ...errors import MigrationError
from ...retry import RetryPolicy
from ..base import not_whole


def bare(connection: Connection) -> sqlite3.Connection:
    """The connection of sqlite3 below SQLAlchemy's."""
    below = connection.connection.dbapi_connection
    assert isinstance(below, sqlite3.Connection)
    return below


def file_of(engine: Engine) -> str:
    """The path of the database's file."""
    return str(engine.url.database).removeprefix("file:")


def write(connection: sqlite3.Connection, file: Path, retry: RetryPolicy) -> None:
    """In one piece: a writer waits, and no half of what it writes comes along. Raises MigrationError, and OSError."""
    try:
        with closing(sqlite3.connect(file)) as target:
            target.execute("PRAGMA journal_mode=OFF")  # a full disk would leave the journal behind
            _copy(connection, target, retry, connection)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, whatever the database's own mode is
    except sqlite3.OperationalError as error:
        if _is_of_the_disk(error):
            raise OSError(errno.ENOSPC, str(error)) from error
        raise


def write_schema(connection: sqlite3.Connection, file: Path) -> None:
    """Write the schema of the database into ``file``."""
    with closing(sqlite3.connect(file)) as target, target:
        copy_schema(connection, target)


def copy_schema(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Create the objects of ``source`` in ``target``, in the order in which they were created, without rows."""
    made = source.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " ORDER BY type <> 'table', rowid"
    ).fetchall()
    target.execute("PRAGMA legacy_alter_table=ON")
    for name, sql in made:
        if not target.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone():  # of a virtual table
            target.execute(sql)
    target.execute("PRAGMA legacy_alter_table=OFF")


def verify(file: Path) -> None:
    """Raise MigrationError unless its header and ``integrity_check`` say that it is whole."""
    try:
        with closing(_opened(file)) as found:
            result = [row[0] for row in found.execute("PRAGMA integrity_check")]
        if file.stat().st_size != _size(file):
            result = ["it is cut off"]
    except sqlite3.DatabaseError as error:
        result = [str(error)]
    if result != ["ok"]:
        raise not_whole(file, "SQLite", result[0])


def load(file: Path, connection: sqlite3.Connection, retry: RetryPolicy) -> None:
    """The online backup backwards: one transaction, rolled back if it is broken off. Raises MigrationError."""
    try:
        _load(file, connection, retry)
    except sqlite3.OperationalError as error:
        if not _is_of_the_disk(error):
            raise
        raise MigrationError(
            f"{_path(connection)} cannot be written to its end: {error}.",
            "make room on its disk, then run the command again.",
        ) from error


def _load(file: Path, connection: sqlite3.Connection, retry: RetryPolicy) -> None:
    with closing(_opened(file)) as source:
        size, other, mode = (
            _pragma(*asked)
            for asked in ((source, "page_size"), (connection, "page_size"), (connection, "journal_mode"))
        )
        if mode != "wal" or size == other:
            _copy(source, connection, retry, connection)
            return
        # In WAL mode SQLite takes no pages of another size, and nobody may be there when the mode changes.
        try:
            connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            raise _held(connection) from error
        try:
            _copy(source, connection, retry, connection)
        finally:
            connection.execute("PRAGMA journal_mode=WAL")


def _pragma(connection: sqlite3.Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _path(connection: sqlite3.Connection) -> str:
    """Of its file."""
    return str(connection.execute("PRAGMA database_list").fetchone()[2])


def _is_of_the_disk(error: sqlite3.OperationalError) -> bool:
    """Whether that is full, or refuses to write."""
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _held(connection: sqlite3.Connection) -> MigrationError:
    file = _path(connection)
    return MigrationError(
        f"others hold the file {file}.", "wait for them, or see who they are:", f"fuser -v {shlex.quote(file)}"
    )


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)


def _size(file: Path) -> int:
    """What the header says: size of a page times number of pages (sqlite.org/fileformat.html, section 1.3)."""
    with file.open("rb") as opened:
        header = opened.read(100).ljust(100, b"\0")
    page = int.from_bytes(header[16:18])
    return (65536 if page == 1 else page) * int.from_bytes(header[28:32]) or -1


def _copy(
    source: sqlite3.Connection, target: sqlite3.Connection, retry: RetryPolicy, database: sqlite3.Connection
) -> None:
    """Copy all pages. sqlite3 itself would try for ever while others hold the file of ``database``, one of the two.

    Raises MigrationError after the time that ``retry`` has in all.
    """
    end = time.monotonic() + retry.seconds * retry.tries

    def progress(status: int, _remaining: int, _total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > end:
            raise _held(database)

    source.backup(target, progress=progress)
