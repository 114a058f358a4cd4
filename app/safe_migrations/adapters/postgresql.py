"""PostgreSQL: an advisory lock, and a transaction for each revision."""

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters.base import Adapter, Lock, listening
from app.safe_migrations.errors import MigrationError
from app.safe_migrations.patience import Patience

# Advisory locks belong to a database, so one number serves all; any other program is unlikely to take this one.
KEY = int.from_bytes(hashlib.sha256(b"flask db upgrade").digest()[:8], signed=True)


class AdvisoryLock(Lock):
    """Held by a session: the server frees it when the session ends, however it does."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def take(self) -> bool:
        """Never the variant that waits: it would hold a snapshot, for which CREATE INDEX CONCURRENTLY waits in turn."""
        return bool(self.connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": KEY}))

    def holder(self) -> tuple[str, str]:
        """The session, by its number, its name and the time of its last statement, which took the lock."""
        found = self.connection.execute(
            text(
                "SELECT a.pid, a.application_name, to_char(a.state_change, 'HH24:MI:SS') FROM pg_locks l"
                " JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
                " AND (l.classid::bigint << 32) | l.objid::bigint = :key AND l.database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            {"key": KEY},
        ).first()
        if found is None:
            return "", ""
        pid, name, since = found
        return f"session {pid}, {name}, since {since}", f"SELECT pg_terminate_backend({pid});"


class PostgreSQL(Adapter):
    """PostgreSQL has transactional DDL."""

    configure = {"transaction_per_migration": True}
    reruns = True

    @contextmanager
    def lock(self, connection: Connection) -> Iterator[Lock]:
        """An advisory lock, on a session of its own that tells its name."""
        with self.own_session() as session:
            _require_session(session, connection)
            name = f"flask db, process {os.getpid()} on {socket.gethostname()}"[:63]
            session.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
            if session.dialect.server_version_info >= (14,):  # type: ignore[operator]
                session.execute(text("SET idle_session_timeout = 0"))
            yield AdvisoryLock(session)

    def is_lock_time_out(self, error: DBAPIError) -> bool:
        """lock_not_available (PostgreSQL manual, appendix A)."""
        return getattr(error.orig, "sqlstate", None) == "55P03"

    def blockers(self, connection: Connection) -> tuple[str, str]:
        """The oldest transaction of this database but our own."""
        found = connection.execute(
            text(
                "SELECT pid, usename, application_name, client_addr, to_char(xact_start, 'HH24:MI:SS')"
                " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1"
            )
        ).first()
        connection.rollback()
        if found is None:
            return "", ""
        pid, user, name, host, since = found
        told = (
            f"session {pid}, {user}{f' ({name})' if name else ''} from {host or 'here'}, in a transaction since {since}"
        )
        return told, f"SELECT pg_terminate_backend({pid});"

    def version(self, connection: Connection) -> tuple[str, str]:
        """The server's."""
        return "postgresql", ".".join(map(str, connection.dialect.server_version_info or ()))

    @contextmanager
    def prepared(self, connection: Connection, patience: Patience) -> Iterator[Callable[[], None]]:
        """``lock_timeout`` for the session, which counts for each lock that a statement waits for.

        Not in an autocommit block: what has to run there, as CREATE INDEX CONCURRENTLY, waits without blocking others,
        and leaves an invalid index behind if it is ended.
        """
        before = connection.scalar(text("SELECT current_setting('lock_timeout')"))
        connection.rollback()
        now = before

        def begin(connection: Connection) -> None:
            nonlocal now
            block = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
            wanted = "0" if block else f"{int(patience.seconds * 1000)}ms"
            if wanted != now:
                connection.exec_driver_sql(f"SET lock_timeout = '{wanted}'")
                now = wanted

        def rollback(_connection: Connection) -> None:
            nonlocal now
            now = None  # a SET is rolled back too

        try:
            with listening(connection, {"begin": begin, "rollback": rollback}):
                yield lambda: None
        finally:
            connection.rollback()
            connection.execute(text("SELECT set_config('lock_timeout', :before, false)"), {"before": before})
            connection.commit()


def _require_session(session: Connection, other: Connection) -> None:
    """Raise MigrationError if a pooler gives each transaction another session, or two of us the same one.

    Behind a pooler, the session's number is not the one that it was told at login. Those that keep a session together,
    as PgBouncer does with `pool_mode = session`, keep what is set in it.
    """
    driver: Any = session.connection.dbapi_connection
    if driver.info.backend_pid == session.scalar(text("SELECT pg_backend_pid()")):
        return
    asked, token = text("SELECT current_setting('safe_migrations.token', true)"), uuid4().hex
    for _ in range(5):
        session.execute(text("SELECT set_config('safe_migrations.token', :token, false)"), {"token": token})
        found = (session.scalar(asked) == token, other.scalar(asked) == token)
        other.rollback()
        if found != (True, False):
            raise MigrationError(
                "a pooler stands before the server and gives each transaction another session, as PgBouncer does in"
                " transaction mode: no lock holds there.",
                "connect to the server itself for migrations:",
                "DATABASE_URL=postgresql://USER:PASSWORD@SERVER:5432/DATABASE flask db upgrade",
            )
