"""The adapter for SQLite: a lock on a file beside the database, and a whole run in one transaction."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, StaticPool
from sqlalchemy.exc import DBAPIError

from ...console import StepDone
from ...errors import UnsafeError
from ...retry import RetryPolicy
from ..base import Adapter, Lock, Part, listening
from . import dump as backup
from .dump import bare, file_of
from .lock import FileLock

if TYPE_CHECKING:  # a command that has nothing to do, as most have, does without
    from ..snapshot import Snapshot
    from .databases import SQLiteDatabases


class SQLite(Adapter):
    """SQLite has transactional DDL once Python's sqlite3 is kept from ending Alembic's transaction."""

    reruns = True
    log_in_may_hang = False
    suffix = ".sqlite"

    def options(self, judge: Callable[[UnsafeError], None]) -> dict[str, Any]:
        """Return options for one transaction, and for rebuilds of tables."""
        from .rebuilds import ON_LOSS  # Alembic finds the class there for rebuilds

        return {**super().options(judge), ON_LOSS: judge}

    @contextmanager
    def lock(self, _connection: Connection, what: str) -> Iterator[Lock]:
        """Yield the lock of the file whose name is the database's and ``-migration-lock``, or ``-rehearsal-lock``.

        No other process sees a database in memory: its file is a temporary one.
        """
        in_memory = isinstance(self.engine.pool, StaticPool)
        with TemporaryDirectory() if in_memory else nullcontext() as folder:
            start = f"{folder}/memory" if folder else file_of(self.engine)
            path = Path(f"{start}-{'migration' if what == 'upgrade' else what}-lock")
            with closing(FileLock(path)) as lock:
                yield lock

    def is_lock_timeout(self, error: DBAPIError) -> bool:
        """Return True for SQLITE_BUSY and SQLITE_LOCKED (sqlite.org/rescode.html)."""
        return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def in_transaction(self, connection: Connection) -> bool:
        """Return what sqlite3 says."""
        return bare(connection).in_transaction

    def blockers(self, _connection: Connection) -> tuple[str, str]:
        """Return empty strings: SQLite does not show who holds a lock."""
        return "", ""

    def version(self, _connection: Connection) -> tuple[str, str]:
        """Return the version of the library."""
        return "sqlite", sqlite3.sqlite_version

    def has_rows(self, connection: Connection) -> bool:
        """Return False for a database in memory too: it ends with its process, so no backup is needed."""
        return not isinstance(self.engine.pool, StaticPool) and super().has_rows(connection)

    def dump(self, connection: Connection, file: Path, retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Write an online backup; or create the schema alone in ``file``."""
        if part is Part.SCHEMA:
            backup.write_schema(bare(connection), file)
        else:
            backup.write(bare(connection), file, retry)

    def verify(self, _connection: Connection, file: Path) -> None:
        """Run ``integrity_check`` on the file."""
        backup.verify(file)

    def load(self, connection: Connection, file: Path, retry: RetryPolicy, _part: Part = Part.ALL) -> None:
        """Copy the pages of the backup into the database, in one transaction."""
        connection.rollback()
        backup.load(file, bare(connection), retry)

    @property
    def databases(self) -> "SQLiteDatabases":
        """Return the databases in the folder of the app's database."""
        from .databases import SQLiteDatabases

        return SQLiteDatabases(self.engine)

    def snapshot(self, connection: Connection) -> "Snapshot":
        """Return the schema as PRAGMAs and texts show it, and the rows."""
        from .snapshot import taken

        found = taken(bare(connection))
        connection.rollback()
        return found

    @contextmanager
    def prepared(self, connection: Connection, retry: RetryPolicy) -> Iterator[StepDone]:
        """Begin each transaction with the write lock, and check foreign keys only at its end."""
        from .foreign_keys import foreign_keys_checked

        below = bare(connection)

        def begin(connection: Connection) -> None:
            if below.isolation_level is not None:  # it is None in an autocommit block
                connection.exec_driver_sql("BEGIN IMMEDIATE")

        (busy,) = below.execute("PRAGMA busy_timeout").fetchone()
        below.execute(f"PRAGMA busy_timeout={retry.milliseconds}")
        try:
            with listening(connection, {"begin": begin}), foreign_keys_checked(connection):
                yield lambda _heads: None
        finally:
            below.execute(f"PRAGMA busy_timeout={busy}")
