"""The named lock of MySQL and MariaDB."""

import hashlib
from contextlib import suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ..base import Lock
from .catalog import JOURNAL


class NamedLock(Lock):
    """Held by the session of the steps: if its client dies, the server frees it when the last statement is over.

    The session cannot lose it and go on: the journal refuses what releases all locks.
    """

    def __init__(self, connection: Connection, what: str) -> None:
        self.connection = connection
        database = str(connection.engine.url.database)
        # Names belong to the whole server, and have 64 characters at most.
        self.name = f"flask db {what} {hashlib.sha256(database.encode()).hexdigest()[:40]}"

    def take(self) -> bool:
        """Take it, or return False without waiting."""
        taken = bool(self.connection.scalar(text("SELECT GET_LOCK(:name, 0)"), {"name": self.name}))
        self.connection.rollback()
        return taken

    def free(self) -> None:
        """Release the lock, unless the session is lost."""
        with suppress(DBAPIError):
            self.connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": self.name})
            self.connection.rollback()

    def holder(self) -> tuple[str, str]:
        """Return the session, and since when there is a journal: a run begins with that."""
        number = self.connection.scalar(text("SELECT IS_USED_LOCK(:name)"), {"name": self.name})
        found = self.connection.execute(
            text(
                "SELECT p.user, p.host, TIME_FORMAT(t.create_time, '%H:%i:%s') FROM information_schema.processlist p"
                " LEFT JOIN information_schema.tables t ON t.table_schema = DATABASE() AND t.table_name = :journal"
                " WHERE p.id = :id"
            ),
            {"id": number, "journal": JOURNAL},
        ).first()
        self.connection.rollback()
        if number is None:
            return "", ""
        told = f", {found[0]} from {found[1]}{f', since {found[2]}' if found[2] else ''}" if found else ""
        return f"session {number}{told}", f"KILL {number};"
