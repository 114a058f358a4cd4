"""Backups of a SQLite database: copies of all pages, made with SQLite's online backup API."""

import errno
import os
import shlex
import shutil
import sqlite3
import stat
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from ...console import log
from ...errors import MigrationError, counted
from ...retry import RetryPolicy
from ..base import not_whole


def driver_connection(connection: Connection) -> sqlite3.Connection:
    """Return the sqlite3 connection that SQLAlchemy's ``connection`` uses."""
    below = connection.connection.dbapi_connection
    assert isinstance(below, sqlite3.Connection)
    return below


def file_of(engine: Engine) -> str:
    """Return the path of the database file to which ``engine`` connects."""
    return str(engine.url.database).removeprefix("file:")


def size(connection: sqlite3.Connection) -> int:
    """Return the size of the database in bytes."""
    return int(_pragma(connection, "page_count") * _pragma(connection, "page_size"))


def write(connection: sqlite3.Connection, file: Path, retry: RetryPolicy) -> None:
    """Copy the database into ``file``.

    Raise MigrationError if the database stays locked, OSError if the disk is full or fails.
    """
    try:
        with closing(sqlite3.connect(file)) as target:
            target.execute("PRAGMA journal_mode=OFF")  # a full disk would leave the journal behind
            _copy(connection, target, retry, connection)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, whatever the database's own mode is
    except sqlite3.OperationalError as error:
        if _is_disk_error(error):
            raise OSError(errno.ENOSPC, str(error)) from error
        raise


def write_schema(connection: sqlite3.Connection, file: Path) -> None:
    """Create the tables, indexes, views and triggers of the database in ``file``, without rows."""
    with closing(sqlite3.connect(file)) as target, target:
        copy_schema(connection, target)


def copy_schema(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Create the tables, indexes, views and triggers of ``source`` in ``target``, without rows."""
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
    """Raise MigrationError if ``file`` is damaged, cut off or not a SQLite database."""
    try:
        with closing(_opened(file)) as found:
            result = [row[0] for row in found.execute("PRAGMA integrity_check")]
            whole = size(found)
        if not whole or whole != file.stat().st_size:  # SQLite takes an empty file for a database
            result = ["it is cut off"]
    except sqlite3.DatabaseError as error:
        result = [str(error)]
    if result != ["ok"]:
        raise not_whole(file, "SQLite", result[0])


def damage(connection: sqlite3.Connection) -> str:
    """Return the first damage that SQLite finds in the database; an empty string if it finds none, or cannot look."""
    try:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return str(error) if is_damage(error) else ""
    return "" if found == "ok" else str(found).splitlines()[-1]


def is_damage(error: sqlite3.Error) -> bool:
    """Return True if SQLite says that the file of a database is damaged, or is not a database."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def replace_damaged(database: Path, file: Path) -> Path:
    """Put a copy of the backup ``file`` in the place of ``database``, which nothing may have open, in one step.

    Return the new name of ``database`` and its journals. The copy has the same permissions, so that the app can use it.
    Raise MigrationError if the disk is full or fails.
    """
    aside = database.with_name(f"{database.name}-damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    copy = database.with_name(f"{database.name}-restored")
    before = database.stat()
    try:
        with file.open("rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)
            copy.chmod(stat.S_IMODE(before.st_mode))
            with suppress(OSError, AttributeError):  # only root may; Windows has no owners
                os.chown(copy, before.st_uid, before.st_gid)
            target.flush()
            os.fsync(target.fileno())
        try:
            aside.hardlink_to(database)  # a kill never leaves an app without a database, which an upgrade would create
        except OSError:  # of a disk without links
            database.replace(aside)
        for suffix in ("-journal", "-wal", "-shm"):  # SQLite would take them for those of the copy
            with suppress(FileNotFoundError):
                database.with_name(database.name + suffix).replace(aside.with_name(aside.name + suffix))
        copy.replace(database)
    except OSError as error:
        raise _not_replaced(str(database), error) from error
    finally:
        copy.unlink(missing_ok=True)
    return aside


def load(file: Path, connection: sqlite3.Connection, retry: RetryPolicy) -> None:
    """Replace the database with ``file``, in one transaction.

    Raise MigrationError if the database stays locked, or its disk is full or fails.
    """
    with closing(_opened(file)) as source:
        try:
            _copy(source, connection, retry, connection)
        except sqlite3.OperationalError as error:
            if not _is_disk_error(error):
                raise
            raise _not_replaced(_path(connection), error) from error


def _not_replaced(database: str, error: Exception) -> MigrationError:
    return MigrationError(
        f"the database {database} could not be replaced: {error}.",
        "free space on its disk, then run the command again.",
    )


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _path(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA database_list").fetchone()[2])


def _is_disk_error(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _opened(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)


def _copy(
    source: sqlite3.Connection, target: sqlite3.Connection, retry: RetryPolicy, database: sqlite3.Connection
) -> None:
    """Copy all pages of ``source`` to ``target``. Raise MigrationError if another process keeps ``database`` locked.

    ``database`` is one of the two connections. The copy waits for its lock as long as all tries of ``retry`` together,
    because sqlite3 itself would wait for ever.
    """
    limit, reported = retry.seconds * retry.tries, False
    end = time.monotonic() + limit

    def progress(status: int, _remaining: int, _total: int) -> None:
        nonlocal reported
        if status not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return
        held = _path(database)
        if not reported:
            log.info("Another process has locked %s; waiting up to %s for it", held, counted(limit, "second"))
            reported = True
        if time.monotonic() > end:
            raise MigrationError(
                f"the database file {held} is locked by another process.",
                "wait until that process has finished, then run the command again. To see which process it is:",
                f"fuser -v {shlex.quote(held)}",
            )

    busy = _pragma(database, "busy_timeout")
    database.execute("PRAGMA busy_timeout=0")  # else the driver would wait before each call of progress()
    try:
        source.backup(target, progress=progress)
    finally:
        database.execute(f"PRAGMA busy_timeout={busy}")
