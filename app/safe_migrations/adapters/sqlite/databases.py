"""Scratch databases on SQLite: files in the folder of the app's database."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import URL, Connection, event

from ..base import SCRATCH
from ..databases import Databases
from .dump import bare, file_of


class SQLiteDatabases(Databases):
    """The database files in the folder of the app's database."""

    def path(self, name: str) -> str:
        """Return a path beside this database's file; in the current folder if the database is in memory."""
        return str(Path(file_of(self.engine)).parent / f"{name}.db")

    def make(self, _connection: Connection, _name: str) -> None:
        """Do nothing: SQLite creates the file when it is opened."""

    def drop(self, _connection: Connection, name: str) -> bool:
        """Remove the file and the files that SQLite and a lock put beside it. Return False if there is none."""
        file = Path(self.path(name))
        found = file.exists()
        for suffix in ("", "-journal", "-wal", "-shm", "-migration-lock"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        return found

    def clear(self, connection: Connection) -> None:
        """Replace the database with one that has nothing but the table that marks it as a scratch database."""
        connection.rollback()
        with closing(sqlite3.connect(":memory:")) as empty:
            empty.execute(f"CREATE TABLE {SCRATCH} (id INTEGER)")
            empty.backup(bare(connection))

    def has(self, _connection: Connection, name: str) -> bool:
        """Return whether the file exists."""
        return Path(self.path(name)).exists()

    def login(self, _connection: Connection, name: str, _original: Connection) -> URL:
        """Return the URL of the file: SQLite has no users."""
        return self.engine.url.set(database=self.path(name))

    def server(self, _connection: Connection) -> str:
        """Return an empty string: all files are on this machine."""
        return ""

    def confine(self, _connection: Connection) -> None:
        """Make SQLite deny ATTACH of other files, and so ``VACUUM INTO``, which attaches its target."""
        event.listen(self.engine, "connect", lambda session, _record: session.set_authorizer(_only_this_file))
        self.engine.dispose()  # sessions that began before that are not confined


def _only_this_file(action: int, file: str | None, *_others: str | None) -> int:
    """Deny ATTACH, except for the unnamed temporary file that a plain VACUUM attaches."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH and file != "" else sqlite3.SQLITE_OK
