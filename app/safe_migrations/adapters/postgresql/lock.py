"""PostgreSQL's advisory lock, and a test for connection poolers that would lose it."""

import hashlib
from threading import Lock as Mutex
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ...errors import MigrationError
from ..base import Lock


class AdvisoryLock(Lock):
    """An advisory lock of PostgreSQL, which a session holds until it ends for any reason.

    is_held() may be called by another thread, so that the session is not idle.
    """

    def __init__(self, connection: Connection, what: str) -> None:
        self.connection = connection
        # Advisory locks belong to one database, so each database can use the same number. Other programs hardly use it.
        self.key = int.from_bytes(hashlib.sha256(f"flask db {what}".encode()).digest()[:8], signed=True)
        self.is_lost = False
        self._using = Mutex()

    def take(self) -> bool:
        """Try to take the lock without waiting. Return False if another session holds it.

        Waiting would block the other session: a statement that waits has a snapshot, and CREATE INDEX CONCURRENTLY
        waits until older snapshots are gone.
        """
        with self._using:
            return bool(self.connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": self.key}))

    def is_held(self) -> bool:
        """Return True if the session of the lock still answers: only the end of this session releases the lock."""
        with self._using:
            try:
                return not self.is_lost and bool(self.connection.scalar(text("SELECT true")))
            except DBAPIError:
                self.is_lost = True  # asked again, SQLAlchemy would not ask the same session
                return False

    def holder(self) -> tuple[str, str]:
        """Return a description of the session that holds the lock, and the SQL that ends this session.

        The description has the session's number, its name, and the time when it began.
        """
        query = text(
            "SELECT a.pid, a.application_name, to_char(a.backend_start, 'HH24:MI:SS') FROM pg_locks l"
            " JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
            " AND (l.classid::bigint << 32) | l.objid::bigint = :key AND l.database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with self._using:
            found = self.connection.execute(query, {"key": self.key}).first()
        if found is None:
            return "", ""
        pid, name, since = found
        return f"session {pid}, {name}, since {since}", f"SELECT pg_terminate_backend({pid});"


def require_session(session: Connection, other: Connection) -> None:
    """Raise MigrationError if a connection pooler does not reserve one server session for ``session``.

    Without a pooler, the server session has the number that it reported at login. With a pooler that reserves sessions,
    such as PgBouncer with `pool_mode = session`, a setting made in ``session`` stays there, and is not in ``other``.
    """
    below: Any = session.connection.dbapi_connection
    if below.info.backend_pid == session.scalar(text("SELECT pg_backend_pid()")):
        return
    asked, token = text("SELECT current_setting('safe_migrations.token', true)"), uuid4().hex
    for _ in range(5):  # by chance, a pooler may give the same session several times
        session.execute(text("SELECT set_config('safe_migrations.token', :token, false)"), {"token": token})
        found = (session.scalar(asked) == token, other.scalar(asked) == token)
        other.rollback()
        if found != (True, False):
            raise MigrationError(
                "a connection pooler gives each transaction another session, as PgBouncer does in transaction mode, so"
                " that the lock of this database would be lost.",
                "connect to the database server itself, not to the pooler, for migrations:",
                "DATABASE_URL=postgresql://USER:PASSWORD@SERVER:5432/DATABASE flask db upgrade",
            )
