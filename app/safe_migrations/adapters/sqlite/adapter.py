"""SQLite: a lock on a file beside the database, and a whole run in one transaction."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, StaticPool
from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters.base import Adapter, Lock, Part, listening
from app.safe_migrations.adapters.sqlite import backup
from app.safe_migrations.adapters.sqlite.backup import bare, file_of
from app.safe_migrations.adapters.sqlite.databases import SQLiteDatabases
from app.safe_migrations.adapters.sqlite.lock import FileLock, NoLock
from app.safe_migrations.errors import MigrationError
from app.safe_migrations.patience import Patience

if TYPE_CHECKING:  # a command that has nothing to do, as most have, does without
    from app.safe_migrations.adapters.snapshot import Snapshot


class SQLite(Adapter):
    """SQLite has transactional DDL, if Python's sqlite3 is kept from ending the transaction that Alembic begins."""

    configure = {"transactional_ddl": True}
    reruns = True
    log_in_may_hang = False
    suffix = ".sqlite"

    @contextmanager
    def lock(self, _connection: Connection, what: str) -> Iterator[Lock]:
        """A lock on the file whose name is the database's and ``-migration-lock``, or ``-rehearsal-lock``."""
        if isinstance(self.engine.pool, StaticPool):
            yield NoLock()
            return
        with Path(f"{file_of(self.engine)}-{'migration' if what == 'upgrade' else what}-lock").open("a+") as file:
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

    def dump(self, connection: Connection, file: Path, patience: Patience, part: Part = Part.ALL) -> None:
        """SQLite's online backup; or the statements that make its schema, run on ``file``."""
        if part is Part.SCHEMA:
            backup.write_schema(bare(connection), file)
        else:
            backup.write(bare(connection), file, patience)

    def verify(self, _connection: Connection, file: Path) -> None:
        """Its header, and ``integrity_check``."""
        backup.verify(file)

    def load(self, connection: Connection, file: Path, patience: Patience) -> None:
        """The online backup backwards: one transaction."""
        connection.rollback()
        backup.load(file, bare(connection), patience)

    @property
    def databases(self) -> SQLiteDatabases:
        """Other files in its folder."""
        return SQLiteDatabases(self.engine)

    def snapshot(self, connection: Connection) -> "Snapshot":
        """From the PRAGMAs, the texts and the rows."""
        from app.safe_migrations.adapters.sqlite.snapshot import taken

        found = taken(bare(connection))
        connection.rollback()
        return found

    @contextmanager
    def prepared(self, connection: Connection, patience: Patience) -> Iterator[Callable[[], None]]:
        """Begin each transaction with the write lock, enforce no foreign keys inside, and check them at its end.

        Batch mode drops tables and makes them anew: with foreign keys on, that runs ON DELETE on rows of children. The
        pragma does nothing inside a transaction (sqlite.org/foreignkeys.html, section 2), hence the bare connection.
        """
        from app.safe_migrations.adapters.sqlite.rebuilds import Rebuilds  # its patterns take their time to load

        driver = bare(connection)
        (enforced,) = driver.execute("PRAGMA foreign_keys").fetchone()
        (busy,) = driver.execute("PRAGMA busy_timeout").fetchone()
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute(f"PRAGMA busy_timeout={int(patience.seconds * 1000)}")
        orphans: list[tuple[Any, ...]] | None = None
        rebuilds = Rebuilds(driver)

        def before(_connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
            rebuilds.before(statement)

        def after(_connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
            rebuilds.after(statement)

        def check() -> list[tuple[Any, ...]] | None:
            try:
                return list(driver.execute("PRAGMA foreign_key_check")) if enforced else None
            except sqlite3.OperationalError:  # a foreign key that refers to no unique column can only be repaired
                return None

        def begin(connection: Connection) -> None:
            nonlocal orphans
            if driver.isolation_level is not None:  # it is None in an autocommit block
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                orphans = check()

        def commit(_connection: Connection) -> None:
            found = check()
            if found is not None and orphans is not None and len(found) > len(orphans):
                child, row, parent, _key = next(orphan for orphan in found if orphan not in orphans)
                raise MigrationError(
                    f"row {row} of {child} would refer to a row of {parent} that is not there"
                    f" ({len(found) - len(orphans)} such rows).",
                    f"delete or correct the rows of {child} first, in the script; nothing was changed:",
                    f"op.execute('DELETE FROM {child} WHERE rowid = {row}')",
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
            driver.execute("PRAGMA legacy_alter_table=OFF")
            driver.execute(f"PRAGMA foreign_keys={enforced}")
            driver.execute(f"PRAGMA busy_timeout={busy}")
