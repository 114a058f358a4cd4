"""The adapter for SQLite: a whole run is one transaction, under a lock on a file beside the database."""

import shlex
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, StaticPool
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from ...console import StepDone
from ...errors import MigrationError, UnsafeError, masked
from ...retry import RetryPolicy
from ..base import Adapter, Lock, Part, listening
from . import dump as backup
from .dump import driver_connection, file_of
from .lock import FileLock

if TYPE_CHECKING:  # a command that has nothing to do, as most have, does without
    from ..creation import Creation
    from ..snapshot import Objects, Snapshot
    from .databases import SQLiteDatabases


class SQLite(Adapter):
    """The adapter for SQLite, where a whole run, DDL included, is one transaction."""

    reruns = True
    log_in_may_hang = False
    suffix = ".sqlite"

    def options(self, judge: Callable[[UnsafeError], None]) -> dict[str, Any]:
        """Return options for Alembic: a run is one transaction; ``judge`` may refuse a loss in a table rebuild."""
        from .rebuilds import ON_LOSS  # Alembic finds the class there for rebuilds

        return {**super().options(judge), ON_LOSS: judge}

    @contextmanager
    def lock(self, _connection: Connection, what: str) -> Iterator[Lock]:
        """Yield a lock, not taken yet, on the file ``app.db-migration-lock``; for rehearsals ``app.db-rehearsal-lock``.

        For a database in memory the file is a temporary one, because no other process can use that database.
        """
        in_memory = isinstance(self.engine.pool, StaticPool)
        with TemporaryDirectory() if in_memory else nullcontext() as folder:
            start = f"{folder}/memory" if folder else file_of(self.engine)
            path = Path(f"{start}-{'migration' if what == 'upgrade' else what}-lock")
            with closing(FileLock(path)) as lock:
                yield lock

    def is_lock_timeout(self, error: DBAPIError) -> bool:
        """Return True if a lock caused the error: SQLITE_BUSY or SQLITE_LOCKED (sqlite.org/rescode.html)."""
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def in_transaction(self, connection: Connection) -> bool:
        """Return True if Python's sqlite3 reports an open transaction on the connection."""
        return driver_connection(connection).in_transaction

    def blockers(self, _connection: Connection) -> tuple[str, str]:
        """Return two empty strings, because SQLite does not show which session holds a lock."""
        return "", ""

    def version(self, _connection: Connection) -> tuple[str, str]:
        """Return ``("sqlite", VERSION)``, with the version of the SQLite library, e.g. ``3.45.1``."""
        return "sqlite", sqlite3.sqlite_version

    def has_rows(self, connection: Connection) -> bool:
        """Return True if a table of the app has a row, or cannot be read.

        Return False for a database in memory, which needs no backup.
        """
        return not isinstance(self.engine.pool, StaticPool) and super().has_rows(connection)

    def size(self, connection: Connection) -> int:
        """Return the number of pages times their size (sqlite.org/pragma.html), which is the size of the file."""
        return backup.size(driver_connection(connection))

    def require_writable(self, connection: Connection, _command: str) -> None:
        """Raise MigrationError if the file or its folder is read-only: change one page, and roll that back.

        If another session is writing, or the file is damaged, return without a test.
        """
        connection.rollback()
        below = driver_connection(connection)
        (busy,) = below.execute("PRAGMA busy_timeout").fetchone()
        try:
            (version,) = below.execute("PRAGMA user_version").fetchone()
            below.execute("PRAGMA busy_timeout=0")
            below.execute("BEGIN IMMEDIATE")
            below.execute(f"PRAGMA user_version={version}")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                file = file_of(self.engine)
                raise MigrationError(
                    f"{masked(self.engine.url)} is read-only: {error}.",
                    "make the database file and its folder writable for this user, and remove mode=ro from"
                    " DATABASE_URL if it is there. See the permissions:",
                    f"ls -ld {shlex.quote(str(Path(file).parent))} {shlex.quote(file)}",
                ) from error
            is_busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not is_busy and not backup.is_damage(error):
                raise
        finally:
            below.rollback()
            below.execute(f"PRAGMA busy_timeout={busy}")

    def dump(self, connection: Connection, file: Path, retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Copy the database into ``file``; only its schema, without rows, if ``part`` is Part.SCHEMA."""
        if part is Part.SCHEMA:
            backup.write_schema(driver_connection(connection), file)
        else:
            backup.write(driver_connection(connection), file, retry)

    def verify(self, _connection: Connection, file: Path) -> None:
        """Raise MigrationError if the backup ``file`` is damaged, cut off or not a SQLite database."""
        backup.verify(file)

    def load(self, connection: Connection, file: Path, retry: RetryPolicy, _part: Part = Part.ALL) -> None:
        """Replace everything in the database with the backup ``file``, in one transaction."""
        connection.rollback()
        backup.load(file, driver_connection(connection), retry)

    def is_damage(self, error: DBAPIError) -> bool:
        """Return True for SQLITE_CORRUPT and SQLITE_NOTADB (sqlite.org/rescode.html)."""
        return isinstance(error.orig, sqlite3.Error) and backup.is_damage(error.orig)

    def damage(self, connection: Connection) -> str:
        """Return the first damage that SQLite finds in the file; an empty string if it finds none."""
        connection.rollback()
        return backup.damage(driver_connection(connection))

    def replace_damaged(self, connection: Connection, file: Path) -> Path:
        """Replace the damaged file of the database with the backup ``file``, and return its new name."""
        connection.invalidate()  # it connects again when it is used
        self.engine.dispose()
        return backup.replace_damaged(Path(file_of(self.engine)), file)

    @property
    def databases(self) -> "SQLiteDatabases":
        """Return the interface that creates and drops scratch databases: files in the folder of the app's database."""
        from .databases import SQLiteDatabases

        return SQLiteDatabases(self.engine)

    def creations(self, connection: Connection) -> "list[Creation]":
        """Return the statements that create the database again, in the order to run them."""
        from .creation import creations

        return list(creations(driver_connection(connection)))

    def snapshot(self, connection: Connection) -> "Snapshot":
        """Return the schema and fingerprints of the rows, to compare with another snapshot."""
        from .snapshot import taken

        return taken(driver_connection(connection))

    def schema(self, connection: Connection) -> "Objects":
        """Return the tables, columns, keys, indexes, views and triggers, without rows."""
        from .snapshot import objects

        return objects(driver_connection(connection))

    @contextmanager
    def prepared(self, connection: Connection, retry: RetryPolicy, remains: list[str]) -> Iterator[StepDone]:
        """Prepare ``connection`` for a run: take the write lock at BEGIN, and check foreign keys only before COMMIT.

        A statement waits ``retry.seconds`` for a lock. The yielded function does nothing; other databases need it.
        """
        from .foreign_keys import foreign_keys_checked

        below = driver_connection(connection)

        def begin(connection: Connection) -> None:
            if below.isolation_level is not None:  # it is None in an autocommit block
                connection.exec_driver_sql("BEGIN IMMEDIATE")

        def on_error(failure: ExceptionContext) -> None:
            if failure.connection is connection and failure.statement is None:
                below.rollback()  # a COMMIT that waited too long for readers: it leaves the transaction open

        (busy,) = below.execute("PRAGMA busy_timeout").fetchone()
        below.execute(f"PRAGMA busy_timeout={retry.milliseconds}")
        try:
            with (
                listening(connection.engine, {"handle_error": on_error}),
                listening(connection, {"begin": begin}),
                foreign_keys_checked(connection),
            ):
                yield lambda _heads: None
        finally:
            if not connection.invalidated:
                below.execute(f"PRAGMA busy_timeout={busy}")
