"""The lock on a node of a Galera cluster, where GET_LOCK holds on one node only: rows of a table, with a lease.

The owner renews the lease in a thread. Another process takes the lock over after it has seen no renewal for as long as
the lease. It measures that time itself, so the clocks of the machines need not agree.

An owner that was paused or cut off may have lost the lock without knowing. Therefore a fence precedes each statement
that may write (READS has the others), in the same transaction: an UPDATE of the row that a taker deletes. The cluster
lets only one of the two commit, on whichever nodes they are, however long the owner was paused:

- If the owner is late, its fence finds no row; or its COMMIT is refused, and so is a DDL statement, because it commits
  the open transaction first (error 1213).
- If the taker is late, the fence has changed the row, and the taker begins to wait again.
- If a statement of the owner still runs: its rows are not committed, and that will be refused; DDL has its place in the
  order of the cluster, and each node finishes it before a taker, who is later, commits or reads (wsrep_sync_wait).

One step rests on time: the server commits the fence of DDL, and only then gives the DDL its place in the order. A pause
of the process cannot come between the two. If the node stops there, the cluster expels it before the lease ends, and
does not accept the DDL (evs.inactive_timeout); if the whole cluster could not replicate, nor could a taker, who then
waits for SETTLE.

The renewals have a row of their own: they must not wait for the owner's transaction, nor collide with it if a proxy
sends the two to different nodes. They may take long, because the cluster puts all writes behind running DDL; the owner
keeps the lock all the same.
"""

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from threading import Event, Thread
from threading import Lock as Mutex
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError

from ...errors import LostLockError
from ..base import Lock, in_autocommit_block, in_batches, listening, own_session, user_and_host
from .catalog import LOCK, quoted
from .session import BEFORE_STATEMENT, ER_LOCK_DEADLOCK, ER_LOCK_WAIT_TIMEOUT, ER_NO_SUCH_TABLE, error_number

# Seconds. The owner renews the lease three times in that time. If a node fails, the others cannot write for up to 15
# seconds (Galera's evs.inactive_timeout). Longer, and a person who runs a killed command again would wait too long.
LEASE = 30.0
# If a look at the lock took longer than this, or the last one is longer ago, the time without a renewal is counted from
# zero: what has delayed the look may have delayed the renewal too.
GAP = 2.0
# After a takeover: if the cluster could not replicate until now (flow control), DDL of the previous owner that waited
# for that gets its place in the order now, and is seen by the recovery.
SETTLE = 1.0

COLUMNS = (
    "name VARCHAR(32) PRIMARY KEY, owner CHAR(32) NOT NULL, renewals BIGINT NOT NULL, lease DOUBLE NOT NULL,"
    " since DATETIME NOT NULL, os_user VARCHAR(255) NOT NULL, host VARCHAR(255) NOT NULL, node VARCHAR(64) NOT NULL,"
    " session BIGINT NOT NULL"
)
ER_DUP_ENTRY = 1062
# Statements that are taken to write nothing: a function that SELECT calls may write all the same, and NEXTVAL() does.
# COMMIT needs no fence, because one precedes each statement that has written in the transaction. MariaDB's statements
# SET STATEMENT and BEGIN NOT ATOMIC run others.
READS = re.compile(
    r"[\s(]*(SELECT|SHOW|SET(?!\s+STATEMENT\b)|USE|DESC|DESCRIBE|EXPLAIN|BEGIN\Z|START\s+TRANSACTION|COMMIT|ROLLBACK"
    r"|SAVEPOINT|RELEASE|UNLOCK)\b",
    re.IGNORECASE,
)


@contextmanager
def leased_lock(connection: Connection, what: str) -> Iterator["LeasedLock"]:
    """Yield a lock for the statements on ``connection``, not taken yet, and release it at the end.

    Inside the block, reads on ``connection`` see what any node has committed before.
    """
    lock = LeasedLock(connection, what)
    before = connection.scalar(text("SELECT @@SESSION.wsrep_sync_wait"))
    connection.execute(text("SET SESSION wsrep_sync_wait = 15"))  # all statements, SHOW too
    connection.rollback()
    statements = dict.fromkeys(("do_execute", "do_executemany", "do_execute_no_params"), lock.fence)
    connection.execution_options(**{BEFORE_STATEMENT: lock.fence})
    try:
        with (
            listening(connection.engine, statements),
            listening(connection, {"after_cursor_execute": lock.end_of_statement}),
        ):
            yield lock
    finally:
        try:
            connection.execution_options(**{BEFORE_STATEMENT: None})
            with suppress(DBAPIError):  # of a session that is lost
                connection.rollback()
                connection.execute(text(f"SET SESSION wsrep_sync_wait = {before}"))
                connection.rollback()
        finally:  # after Ctrl-C too: the thread would renew the lease until the process ends
            lock.free()


class LeasedLock(Lock):
    """A lock of two rows: the fence changes the one called "upgrade", the renewals "upgrade renewed"."""

    def __init__(self, connection: Connection, what: str) -> None:
        self.connection = connection
        self.name, self.renewed = what, f"{what} renewed"
        # A script may USE another database.
        self.table = f"{quoted(str(connection.engine.url.database))}.{LOCK}"
        self.owner = uuid4().hex
        self.is_taken = self.is_lost = False
        self._own: Connection | None = None
        self._using = Mutex()
        self._ended = Event()
        self._seen: dict[str, Row[Any]] = {}
        self._since = self._looked = float("-inf")

    def take(self) -> bool:
        """Take the lock and return True; return False if another process holds it, or was first."""
        try:
            self.is_taken = self._taken()
        except DBAPIError as error:
            number = error_number(error.orig)
            if number == ER_NO_SUCH_TABLE:
                self._run(f"CREATE TABLE IF NOT EXISTS {self.table} ({COLUMNS}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")
            elif number not in (ER_DUP_ENTRY, ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK):
                raise
        if self.is_taken:
            Thread(target=self._renew_until_freed, daemon=True, name="lock").start()
        return self.is_taken

    def _taken(self) -> bool:
        rows = self._run(f"SELECT * FROM {self.table} WHERE name IN ('{self.name}', '{self.renewed}')")
        found, now = {row.name: row for row in rows}, time.monotonic()
        if _state(found) != _state(self._seen) or now - self._looked > GAP:
            self._since = now
        self._seen, self._looked = found, now
        if len(found) == 2 and now - self._since < found[self.name].lease:
            return False
        node, session = self._place(self.connection)
        self.connection.rollback()
        self._run("BEGIN")
        try:
            # The renewals first: if the owner has gone on, this finds out before its session is ended.
            if not all(self._deleted(found[name], session) for name in (self.renewed, self.name) if name in found):
                return False
            os_user, host = user_and_host()
            insert = "INSERT INTO {} VALUES (:name, :owner, 0, :lease, NOW(), :os_user, :host, :node, :session)"
            values = {"owner": self.owner, "lease": LEASE, "os_user": os_user, "host": host}
            for name in (self.name, self.renewed):
                self._run(insert.format(self.table), name=name, node=node, session=session, **values)
            self._run("COMMIT")
        finally:
            with suppress(DBAPIError):  # of a session that is lost
                self._run("ROLLBACK")
        if found:
            time.sleep(SETTLE)
        return True

    def _deleted(self, row: Row[Any], own_number: int) -> bool:
        """Delete the row and return True; return False if it has changed since it was read.

        If the owner is connected to the same node, its open transaction may have the row of the fence, and the DELETE
        times out. Only then end the owner's session. On another node no KILL is needed: this process's COMMIT makes the
        cluster roll that transaction back.
        """
        delete = text(f"DELETE FROM {self.table} WHERE name = :name AND owner = :owner AND renewals = :renewals")
        values = {"name": row.name, "owner": row.owner, "renewals": row.renewals}
        try:
            return self._session().execute(delete, values).rowcount == 1
        except DBAPIError as error:
            if error_number(error.orig) != ER_LOCK_WAIT_TIMEOUT or row.name != self.name:
                raise
            # The row has the number of this process's session if that could not release the lock before.
            if row.node != self._place(self._session())[0] or row.session == own_number:
                raise
        with suppress(DBAPIError):  # it has ended by now, or runs DDL, when the server refuses this
            self._run(f"KILL {row.session}")
        return self._session().execute(delete, values).rowcount == 1

    @staticmethod
    def _place(connection: Connection) -> tuple[str, int]:
        """Return the id of the node, which is another one after a restart, and the number of the session there."""
        node = connection.execute(text("SHOW STATUS LIKE 'wsrep_gcomm_uuid'")).one()[1]
        return str(node), int(connection.scalar(text("SELECT CONNECTION_ID()")) or 0)

    def is_held(self) -> bool:
        """Renew the lease, and return False if the lock is lost. Return True if that cannot be found out now."""
        self._renew()
        return not self.is_lost

    def free(self) -> None:
        """Release the lock and end the session of its own."""
        self._ended.set()
        with self._using:
            if self._own is not None:
                with suppress(DBAPIError):
                    self._run(f"DELETE FROM {self.table} WHERE owner = :owner", owner=self.owner)
                self._close()
        self.is_taken = False

    def holder(self) -> tuple[str, str]:
        """Return a description of the owner that take() has seen, and SQL that ends it, on any node.

        The SQL deletes the row of the renewals, because an open transaction of the owner may have the other one. Like
        all writes it waits for running DDL. Then another process takes the lock over at once. The owner stops before
        its next statement after that, or after its next renewal, which is due within a third of the lease.
        """
        if self.name not in self._seen:
            return "", ""
        row = self._seen[self.name]
        return (
            f"{row.os_user} on {row.host}, since {row.since:%H:%M:%S}",
            f"DELETE FROM {self.table} WHERE name = '{self.renewed}' AND owner = '{row.owner}';",
        )

    def fence(self, _cursor: object, statement: str, *others: Any) -> None:
        """Raise LostLockError before a statement of the owner that may write, if the lock is lost.

        Otherwise change the lock's row in the transaction of the statement, so that this cannot commit after another
        process has taken the lock.
        """
        if not self.is_taken or others[-1].root_connection is not self.connection or READS.match(statement):
            return
        if not self.is_lost:
            with closing(self.connection.connection.cursor()) as cursor:
                if in_autocommit_block(self.connection) and not in_batches(self.connection):
                    cursor.execute("BEGIN")
                cursor.execute(
                    f"UPDATE {self.table} SET renewals = renewals + 1"
                    f" WHERE name = '{self.name}' AND owner = '{self.owner}'"
                )
                self.is_lost = cursor.rowcount != 1
        if self.is_lost:
            raise LostLockError

    def end_of_statement(self, *_args: object) -> None:
        """Commit a statement of an autocommit block, which fence() has put into a transaction, but not a batch."""
        if self.is_taken and in_autocommit_block(self.connection) and not in_batches(self.connection):
            self.connection.connection.commit()

    def _renew_until_freed(self) -> None:
        while not self.is_lost and not self._ended.wait(LEASE / 3):
            self._renew()

    def _renew(self) -> None:
        with self._using:
            if self._ended.is_set():
                return
            renew = f"UPDATE {self.table} SET renewals = renewals + 1 WHERE name = '{self.renewed}' AND owner = :owner"
            try:
                if self._session().execute(text(renew), {"owner": self.owner}).rowcount != 1:
                    self.is_lost = True
            except DBAPIError:  # a node may have failed; the next renewal uses another session
                self._close()

    def _run(self, sql: str, **values: object) -> list[Row[Any]]:
        result = self._session().execute(text(sql), values)
        return list(result) if result.returns_rows else []

    def _session(self) -> Connection:
        if self._own is None:
            self._own = own_session(self.connection.engine)
            # Reads see what any node has committed; renewals take their place in the order without waiting first.
            self._own.execute(text("SET SESSION wsrep_sync_wait = 1, innodb_lock_wait_timeout = 1"))
        return self._own

    def _close(self) -> None:
        if self._own is not None:
            with suppress(DBAPIError):
                self._own.close()
        self._own = None


def _state(rows: dict[str, Row[Any]]) -> dict[str, tuple[str, int]]:
    return {name: (row.owner, row.renewals) for name, row in rows.items()}
