"""Scratch databases on SQLite: files in the folder of the app's database."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, Connection, event

from ..base import SCRATCH
from ..databases import Databases
from .dump import driver_connection, file_of


class SQLiteDatabases(Databases):
    """The interface to scratch databases on SQLite, which are files in the folder of the app's database."""

    def path(self, name: str) -> str:
        """Return the path of the file for the database ``name``, in the folder of the app's database.

        If the app's database is in memory, that is the current folder.
        """
        return str(Path(file_of(self.engine)).parent / f"{name}.db")

    def make(self, _connection: Connection, _name: str) -> None:
        """Do nothing, because SQLite creates a database file when it is first opened."""

    def drop(self, _connection: Connection, name: str) -> bool:
        """Delete the database file, with its journals and its lock file. Return False if there was no database file."""
        file = Path(self.path(name))
        found = file.exists()
        for suffix in ("", "-journal", "-wal", "-shm", "-migration-lock"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        return found

    def clear(self, connection: Connection) -> None:
        """Delete everything in the database except the table SCRATCH, which marks it as a scratch database."""
        connection.rollback()
        with closing(sqlite3.connect(":memory:")) as empty:
            empty.execute(f"CREATE TABLE {SCRATCH} (id INTEGER)")
            empty.backup(driver_connection(connection))

    def has(self, _connection: Connection, name: str) -> bool:
        """Return True if the file of the database ``name`` exists."""
        return Path(self.path(name)).exists()

    def login(self, _connection: Connection, name: str, _original: Connection) -> URL:
        """Return the URL of the database ``name``. No user is created, because SQLite has none."""
        return self.engine.url.set(database=self.path(name))

    def server(self, _connection: Connection) -> str:
        """Return an empty string as the server's identity: all SQLite databases are on this machine."""
        return ""

    def confine(self, connection: Connection) -> None:
        """Forbid new sessions to ATTACH other database files; this also forbids ``VACUUM INTO``, which attaches one.

        The session of ``connection`` must be the only one of the engine's pool.
        """
        event.listen(self.engine, "connect", lambda session, _record: session.set_authorizer(_only_this_file))
        connection.detach()  # its session began before the authorizer, so the pool must not reuse it


def _only_this_file(action: int, file: str | None, *_others: str | None) -> int:
    """Return SQLITE_DENY for ATTACH of a file, else SQLITE_OK; a plain VACUUM attaches a file without a name."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH and file != "" else sqlite3.SQLITE_OK
