"""MySQL and MariaDB: a named lock; each DDL statement commits."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters.base import Adapter, Lock
from app.safe_migrations.patience import Patience
from app.safe_migrations.progress import log


class NamedLock(Lock):
    """Held by a session: the server frees it when the session ends, however it does."""

    def __init__(self, connection: Connection, database: str) -> None:
        self.connection = connection
        # Names belong to the whole server, and have 64 characters at most.
        self.name = f"flask db {hashlib.sha256(database.encode()).hexdigest()[:40]}"

    def take(self) -> bool:
        """Ask, and do not wait."""
        return bool(self.connection.scalar(text("SELECT GET_LOCK(:name, 0)"), {"name": self.name}))

    def holder(self) -> tuple[str, str]:
        """The session, and how long it has been idle, which is since it took the lock."""
        number = self.connection.scalar(text("SELECT IS_USED_LOCK(:name)"), {"name": self.name})
        if number is None:
            return "", ""
        found = self.connection.execute(
            text(
                "SELECT user, host, TIME_FORMAT(NOW() - INTERVAL time SECOND, '%H:%i:%s')"
                " FROM information_schema.processlist WHERE id = :id"
            ),
            {"id": number},
        ).first()
        told = f", {found[0]} from {found[1]}, since {found[2]}" if found else ""
        return f"session {number}{told}", f"KILL {number};"


class MySQL(Adapter):
    """Neither product has transactional DDL."""

    @contextmanager
    def lock(self) -> Iterator[Lock]:
        """A named lock, on a session of its own that may be idle for as long as the steps take."""
        with self.own_session() as connection:
            connection.execute(text("SET SESSION wait_timeout = 2147483"))
            yield NamedLock(connection, str(self.engine.url.database))

    def is_lock_time_out(self, error: DBAPIError) -> bool:
        """ER_LOCK_WAIT_TIMEOUT."""
        return _timed_out(error.orig)

    def blockers(self, connection: Connection) -> tuple[str, str]:
        """The oldest transaction of InnoDB but our own, if the user may see it (privilege PROCESS)."""
        query = text(
            "SELECT p.id, p.user, p.host, TIME_FORMAT(t.trx_started, '%H:%i:%s') FROM information_schema.innodb_trx t"
            " JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.id <> CONNECTION_ID()"
            " ORDER BY t.trx_started LIMIT 1"
        )
        try:
            found = connection.execute(query).first()
        except DBAPIError:
            found = None
        connection.rollback()
        if found is None:
            return "", ""
        number, user, host, since = found
        return f"session {number}, {user} from {host}, in a transaction since {since}", f"KILL {number};"

    def version(self, connection: Connection) -> tuple[str, str]:
        """The server's, whichever of the two products it is."""
        product = "mariadb" if getattr(connection.dialect, "is_mariadb", False) else "mysql"
        numbers = [part for part in connection.dialect.server_version_info or () if isinstance(part, int)]
        return product, ".".join(map(str, numbers[:3]))

    @contextmanager
    def prepared(self, connection: Connection, patience: Patience) -> Iterator[None]:
        """``lock_wait_timeout`` for tables (its default is a day) and ``innodb_lock_wait_timeout`` for rows.

        A statement that timed out did nothing and is tried again; the run cannot be, for DDL before it is committed.
        """
        names = ("lock_wait_timeout", "innodb_lock_wait_timeout")
        before = {name: connection.scalar(text(f"SELECT @@SESSION.{name}")) for name in names}
        for name in names:
            connection.execute(text(f"SET SESSION {name} = {max(1, round(patience.seconds))}"))
        connection.rollback()

        def do_execute(cursor: Any, statement: str, parameters: Any, execution: Any) -> bool | None:
            if execution.root_connection is not connection:
                return None
            for pause in patience.pauses():
                try:
                    cursor.execute(statement, parameters)
                except Exception as error:
                    if pause is None or not _timed_out(error):
                        raise
                    log.info("Others hold a lock; trying again in %.1f seconds", pause)
                    time.sleep(pause)
                else:
                    break
            return True

        event.listen(self.engine, "do_execute", do_execute)
        try:
            yield
        finally:
            event.remove(self.engine, "do_execute", do_execute)
            connection.rollback()
            for name, value in before.items():
                connection.execute(text(f"SET SESSION {name} = {value}"))
            connection.rollback()


def _timed_out(error: BaseException | None) -> bool:
    return error is not None and error.args[:1] == (1205,)
