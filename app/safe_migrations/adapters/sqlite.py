"""SQLite: a lock on a file beside the database, and a whole run in one transaction."""

import errno
import json
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, StaticPool
from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters.base import Adapter, Lock, listening, not_whole
from app.safe_migrations.adapters.rebuilds import Rebuilds
from app.safe_migrations.errors import MigrationError
from app.safe_migrations.patience import Patience

if sys.platform == "win32":
    import msvcrt

    def take(file: IO[str]) -> None:
        """Lock a byte behind the text; OSError where another process has it."""
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def take(file: IO[str]) -> None:
        """Lock the file; OSError where another process has it."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLock(Lock):
    """A lock on a file that stays: to remove it would let two processes hold what they take for the same."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def take(self) -> bool:
        """Take the lock, and write down who has it."""
        try:
            take(self.file)
        except OSError:
            return False
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().strftime("%H:%M:%S")}
        self.file.seek(0)
        self.file.truncate()
        self.file.write(json.dumps(holder))
        self.file.flush()
        return True

    def holder(self) -> tuple[str, str]:
        """What the holder wrote down; it may be about to."""
        self.file.seek(0)
        try:
            found = json.loads(self.file.read())
        except ValueError:
            return "another process", "fuser -k FILE"
        return f"process {found['pid']} on {found['host']}, since {found['since']}", f"kill {found['pid']}"


def _bare(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _size(file: Path) -> int:
    """What the header says: size of a page times number of pages (sqlite.org/fileformat.html, section 1.3)."""
    with file.open("rb") as opened:
        header = opened.read(100).ljust(100, b"\0")
    page = int.from_bytes(header[16:18])
    return (65536 if page == 1 else page) * int.from_bytes(header[28:32]) or -1


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, patience: Patience) -> None:
    """Copy all pages. sqlite3 itself would try for ever while others hold the file.

    Raises MigrationError after the time that ``patience`` has in all, and OSError where the disk is full.
    """
    end = time.monotonic() + patience.seconds * patience.tries

    def progress(status: int, _remaining: int, _total: int) -> None:
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > end:
            raise MigrationError("others hold the database's file.", "wait for them, or end them, and try again.")

    try:
        source.backup(target, progress=progress)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise OSError(errno.ENOSPC, str(error)) from error
        raise


class NoLock(Lock):
    """For a database in memory, which no other process sees."""

    def take(self) -> bool:
        """Nobody else can have it."""
        return True

    def holder(self) -> tuple[str, str]:
        """Nobody."""
        return "", ""


class SQLite(Adapter):
    """SQLite has transactional DDL, if Python's sqlite3 is kept from ending the transaction that Alembic begins."""

    configure = {"transactional_ddl": True}
    reruns = True
    log_in_may_hang = False
    suffix = ".sqlite"

    @contextmanager
    def lock(self, _connection: Connection) -> Iterator[Lock]:
        """A lock on the file whose name is the database's and ``-migration-lock``."""
        if isinstance(self.engine.pool, StaticPool):
            yield NoLock()
            return
        name = str(self.engine.url.database).removeprefix("file:")
        with Path(f"{name}-migration-lock").open("a+") as file:
            yield FileLock(file)

    def is_lock_time_out(self, error: DBAPIError) -> bool:
        """SQLITE_BUSY or SQLITE_LOCKED (sqlite.org/rescode.html)."""
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def blockers(self, _connection: Connection) -> tuple[str, str]:
        """SQLite does not tell."""
        return "", ""

    def version(self, _connection: Connection) -> tuple[str, str]:
        """The library's, for there is no server."""
        return "sqlite", sqlite3.sqlite_version

    def has_rows(self, connection: Connection) -> bool:
        """A database in memory ends with its process: there is nothing to bring back."""
        return not isinstance(self.engine.pool, StaticPool) and super().has_rows(connection)

    def dump(self, connection: Connection, file: Path, patience: Patience) -> None:
        """SQLite's online backup, in one piece: a writer waits, and no half of what it writes comes along."""
        with closing(sqlite3.connect(file)) as target:
            _copy(_bare(connection), target, patience)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, whatever the database's own mode is

    def verify(self, _connection: Connection, file: Path) -> None:
        """Its header, and ``integrity_check``."""
        try:
            with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as found:
                result = [row[0] for row in found.execute("PRAGMA integrity_check")]
            if file.stat().st_size != _size(file):
                result = ["it is cut off"]
        except sqlite3.DatabaseError as error:
            result = [str(error)]
        if result != ["ok"]:
            raise not_whole(file, "SQLite", result[0])

    def load(self, connection: Connection, file: Path, patience: Patience) -> None:
        """The online backup backwards: one transaction, rolled back if it is broken off."""
        connection.rollback()
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as source:
            _copy(source, _bare(connection), patience)

    @contextmanager
    def prepared(self, connection: Connection, patience: Patience) -> Iterator[Callable[[], None]]:
        """Begin each transaction with the write lock, enforce no foreign keys inside, and check them at its end.

        Batch mode drops tables and makes them anew: with foreign keys on, that runs ON DELETE on rows of children. The
        pragma does nothing inside a transaction (sqlite.org/foreignkeys.html, section 2), hence the bare connection.
        """
        bare: Any = connection.connection.dbapi_connection
        (enforced,) = bare.execute("PRAGMA foreign_keys").fetchone()
        (busy,) = bare.execute("PRAGMA busy_timeout").fetchone()
        bare.execute("PRAGMA foreign_keys=OFF")
        bare.execute(f"PRAGMA busy_timeout={int(patience.seconds * 1000)}")
        orphans: list[tuple[Any, ...]] | None = None
        rebuilds = Rebuilds(bare)

        def before(_connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
            rebuilds.before(statement)

        def after(_connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
            rebuilds.after(statement)

        def check() -> list[tuple[Any, ...]] | None:
            try:
                return list(bare.execute("PRAGMA foreign_key_check")) if enforced else None
            except sqlite3.OperationalError:  # a foreign key that refers to no unique column can only be repaired
                return None

        def begin(connection: Connection) -> None:
            nonlocal orphans
            if bare.isolation_level is not None:  # it is None in an autocommit block
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                orphans = check()

        def commit(_connection: Connection) -> None:
            found = check()
            if found is not None and orphans is not None and len(found) > len(orphans):
                child, row, parent, _key = next(orphan for orphan in found if orphan not in orphans)
                raise MigrationError(
                    f"{len(found) - len(orphans)} rows would refer to what is not there,"
                    f" row {row} of {child} to {parent} for one.",
                    f"delete or correct the rows of {child} first, in the script; nothing was changed.",
                )

        listeners: dict[str, Callable[..., None]] = {
            "begin": begin,
            "commit": commit,
            "before_cursor_execute": before,
            "after_cursor_execute": after,
        }
        try:
            with listening(connection, listeners):
                yield lambda: None
        finally:
            connection.rollback()
            bare.execute("PRAGMA legacy_alter_table=OFF")
            bare.execute(f"PRAGMA foreign_keys={enforced}")
            bare.execute(f"PRAGMA busy_timeout={busy}")
