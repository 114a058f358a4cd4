"""Other SQLite databases: files in the same folder."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, event

from ..base import SCRATCH, Databases
from .dump import bare, file_of


class SQLiteDatabases(Databases):
    """Each is a file in the folder of the app's."""

    def path(self, name: str) -> str:
        """A file beside this database's, or beside what runs, if that is in memory."""
        return str(Path(file_of(self.engine)).parent / f"{name}.db")

    def make(self, _connection: Connection, name: str) -> None:
        """SQLite makes the file when it is opened, with what it says of foreign keys and the like."""

    def drop(self, _connection: Connection, name: str) -> bool:
        """Remove the file, and what SQLite may have beside it."""
        file = Path(self.path(name))
        found = file.exists()
        for suffix in ("", "-journal", "-wal", "-shm", "-migration-lock"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
        return found

    def clear(self, connection: Connection) -> None:
        """Copy a database with nothing in it but the mark over it."""
        connection.rollback()
        with closing(sqlite3.connect(":memory:")) as empty:
            empty.execute(f"CREATE TABLE {SCRATCH} (id INTEGER)")
            empty.backup(bare(connection))

    def has(self, _connection: Connection, name: str) -> bool:
        """Return whether the file exists."""
        return Path(self.path(name)).exists()

    def confine(self, _connection: Connection) -> None:
        """Let SQLite itself refuse other files, however a statement names them; ``VACUUM INTO`` attaches one too."""
        event.listen(self.engine, "connect", lambda session, _record: session.set_authorizer(_only_this_file))


def _only_this_file(action: int, file: str | None, *_others: str | None) -> int:
    """Deny ATTACH, but for the unnamed temporary file that a plain VACUUM attaches."""
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH and file != "" else sqlite3.SQLITE_OK
