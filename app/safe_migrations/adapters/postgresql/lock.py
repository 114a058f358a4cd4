"""PostgreSQL's advisory lock, and the refusal of a pooler that breaks it."""

import hashlib
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ...errors import MigrationError
from ..base import Lock


class AdvisoryLock(Lock):
    """A lock that a session holds: the server frees it when the session ends for any reason."""

    def __init__(self, connection: Connection, what: str) -> None:
        self.connection = connection
        # Advisory locks belong to a database, so all can use one number; no other program is likely to use it.
        self.key = int.from_bytes(hashlib.sha256(f"flask db {what}".encode()).digest()[:8], signed=True)

    def take(self) -> bool:
        """Take the lock if it is free. Waiting would hold a snapshot, for which CREATE INDEX CONCURRENTLY waits."""
        return bool(self.connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": self.key}))

    def is_held(self) -> bool:
        """Return whether its session is alive: only the end of that session releases the lock."""
        try:
            return bool(self.connection.scalar(text("SELECT true")))
        except DBAPIError:
            return False

    def holder(self) -> tuple[str, str]:
        """Return the session's number, its name and the time of its last statement, which took the lock."""
        found = self.connection.execute(
            text(
                "SELECT a.pid, a.application_name, to_char(a.state_change, 'HH24:MI:SS') FROM pg_locks l"
                " JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
                " AND (l.classid::bigint << 32) | l.objid::bigint = :key AND l.database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            {"key": self.key},
        ).first()
        if found is None:
            return "", ""
        pid, name, since = found
        return f"session {pid}, {name}, since {since}", f"SELECT pg_terminate_backend({pid});"


def require_session(session: Connection, other: Connection) -> None:
    """Raise MigrationError if a pooler gives each transaction another session, or both connections the same one.

    Behind a pooler, the session's number is not the one from login. What is set in a session stays there if the pooler
    assigns sessions for good, as PgBouncer does with `pool_mode = session`.
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
                "a pooler gives each transaction another session, as PgBouncer does in transaction mode, so the lock"
                " would not hold.",
                "connect to the server itself for migrations:",
                "DATABASE_URL=postgresql://USER:PASSWORD@SERVER:5432/DATABASE flask db upgrade",
            )
