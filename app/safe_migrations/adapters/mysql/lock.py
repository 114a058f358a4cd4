"""The lock that keeps a second command from changing a MySQL or MariaDB database: a named lock (GET_LOCK)."""

import hashlib
from contextlib import suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from ..base import Lock
from .catalog import JOURNAL


def is_on_cluster(connection: Connection) -> bool:
    """Return True if the server is a node of a Galera cluster, where GET_LOCK holds on one node only."""
    found = connection.execute(text("SHOW VARIABLES LIKE 'wsrep_on'")).first()
    connection.rollback()
    return found is not None and found[1] == "ON"


class NamedLock(Lock):
    """A named lock of the session that runs the revisions.

    If the client dies, the server releases the lock when the session's last statement ends. is_held() need not ask the
    server: a lost session cannot run another statement, and a script that calls RELEASE_ALL_LOCKS() is refused.
    """

    def __init__(self, connection: Connection, what: str) -> None:
        self.connection = connection
        database = str(connection.engine.url.database)
        # Names belong to the whole server, and have 64 characters at most.
        self.name = f"flask db {what} {hashlib.sha256(database.encode()).hexdigest()[:40]}"

    def take(self) -> bool:
        """Take the lock and return True; return False at once if another session holds it."""
        taken = bool(self.connection.scalar(text("SELECT GET_LOCK(:name, 0)"), {"name": self.name}))
        self.connection.rollback()
        return taken

    def free(self) -> None:
        """Release the lock; do nothing if the connection is lost."""
        with suppress(SQLAlchemyError):  # of the driver, or because a lost connection was not rolled back
            self.connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": self.name})
            self.connection.rollback()

    def holder(self) -> tuple[str, str]:
        """Return a description of the session that holds the lock, and the SQL that ends this session: ``KILL 7;``.

        The description is like ``session 7, app from localhost, since 10:15:00``. The time is when the journal's table
        was created; without one, as during a rehearsal, it is left out. Return two empty strings if the lock is free.
        """
        ask = self.connection.execute
        number = ask(text("SELECT IS_USED_LOCK(:name)"), {"name": self.name}).scalar()
        session = text("SELECT user, host FROM information_schema.processlist WHERE id = :id")
        found = ask(session, {"id": number}).first()
        # A query of its own: in a join, MariaDB looks for the table in all databases of the server.
        query = (
            "SELECT TIME_FORMAT(create_time, '%H:%i:%s') FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name = :journal"
        )
        since = ask(text(query), {"journal": JOURNAL}).scalar()
        self.connection.rollback()
        if number is None:
            return "", ""
        told = f", {found[0]} from {found[1]}{f', since {since}' if since else ''}" if found else ""
        return f"session {number}{told}", f"KILL {number};"
