"""MySQL and MariaDB: a named lock; and because each DDL statement commits, a journal and an undo."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from ...console import StepDone, log
from ...retry import RetryPolicy
from ..base import RESTORE, Adapter, Lock, Part
from .catalog import (
    JOURNAL,
    drop_all,
    existing_tables,
    heads_as_text,
    list_objects,
    quoted,
)
from .lock import NamedLock
from .session import Execute, executing

if TYPE_CHECKING:  # a command that has nothing to do, as most have, loads none of these
    from ..snapshot import Snapshot
    from .databases import MySQLDatabases
    from .dump import Dump

ER_LOCK_WAIT_TIMEOUT = 1205


class MySQL(Adapter):
    """The adapter for MySQL and MariaDB, which commit each DDL statement. ``transactional_ddl`` is set anyway, so that
    Alembic begins one transaction per step.
    """

    suffix = ".sql.gz"

    def dump(self, connection: Connection, file: Path, _patience: RetryPolicy, part: Part = Part.ALL) -> None:
        """Write a compressed dump of one snapshot (``--single-transaction``)."""
        self._dump(connection).write(file, part)
        connection.rollback()

    def verify(self, connection: Connection, file: Path) -> None:
        """Raise MigrationError unless it unpacks, is a whole dump of this product, and no row is too large."""
        self._dump(connection).verify(file)
        connection.rollback()

    def load(self, connection: Connection, file: Path, retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Drop everything, and run the dump. Each statement commits, so a table marks that a restore is under way."""
        dump = self._dump(connection)
        with self._impatient(connection, retry) as execute:
            definers = dump.verify(file)
            dump.require_rights(definers if part is Part.ALL else {("", is_logged) for _, is_logged in definers})
            _require_free(execute)
            execute(f"CREATE TABLE IF NOT EXISTS {RESTORE} (file TEXT)")
            execute(f"INSERT INTO {RESTORE} VALUES (%s)", (str(file),))
            execute("COMMIT")
            drop_all(execute)
            dump.run(file, part)
            execute(f"DROP TABLE {RESTORE}")

    def _dump(self, connection: Connection) -> "Dump":
        from .dump import Dump

        return Dump(self.engine.url, self.version(connection)[0], executing(connection))

    @property
    def databases(self) -> "MySQLDatabases":
        """Return the other databases of its server."""
        from .databases import MySQLDatabases

        return MySQLDatabases(self.engine)

    def snapshot(self, connection: Connection) -> "Snapshot":
        """Read SHOW CREATE, and the rows."""
        from .snapshot import taken

        found = taken(executing(connection))
        connection.rollback()
        return found

    @contextmanager
    def lock(self, connection: Connection, what: str) -> Iterator[Lock]:
        """Yield a named lock on ``connection``, where a statement may run on long after its client was killed."""
        lock = NamedLock(connection, what)
        try:
            yield lock
        finally:
            lock.free()

    def is_lock_timeout(self, error: DBAPIError) -> bool:
        """ER_LOCK_WAIT_TIMEOUT, of a row or a table (MySQL manual, "Server Error Message Reference")."""
        return _timed_out(error.orig)

    def blockers(self, connection: Connection) -> tuple[str, str]:
        """Return the oldest other InnoDB transaction in this database and its KILL line, if the user has PROCESS.

        Transactions in other databases are excluded: they rarely hold the lock, and the line to paste would kill them.
        """
        query = text(
            "SELECT p.id, p.user, p.host, TIME_FORMAT(t.trx_started, '%H:%i:%s') FROM information_schema.innodb_trx t"
            " JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id WHERE p.id <> CONNECTION_ID()"
            " AND p.db = DATABASE() ORDER BY t.trx_started LIMIT 1"
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

    def waits_for_itself(self, connection: Connection, statement: str) -> bool:
        """Return True for EXCHANGE PARTITION on MariaDB (seen on 10.11), which only works under autocommit."""
        return (
            self.version(connection)[0] == "mariadb"
            and re.search(r"\bEXCHANGE\s+PARTITION\b", statement, re.I) is not None
        )

    def version(self, connection: Connection) -> tuple[str, str]:
        """Return MySQL or MariaDB, whichever the server is, and its version."""
        product = "mariadb" if getattr(connection.dialect, "is_mariadb", False) else "mysql"
        numbers = [part for part in connection.dialect.server_version_info or () if isinstance(part, int)]
        return product, ".".join(map(str, numbers[:3]))

    def interrupted(self, connection: Connection) -> str:
        """Return a sentence about a run or restore that is in progress or was killed; an empty string without one."""
        execute = executing(connection)
        marks = existing_tables(execute, JOURNAL, RESTORE)  # in one query, for a run with nothing to do asks too
        if RESTORE in marks:
            return super().interrupted(connection)
        return "a run is in progress or was killed; a killed one is rolled back by the next run" if marks else ""

    def broken_restore(self, connection: Connection) -> str:
        """Read the mark that a restore leaves until it is done."""
        execute = executing(connection)
        if not existing_tables(execute, RESTORE):
            return ""
        return next((str(file) for (file,) in execute(f"SELECT file FROM {RESTORE}")), "FILE")

    def recover(self, connection: Connection, retry: RetryPolicy) -> None:
        """Undo what a killed run had done of its last revision."""
        from .undo import undo

        with self._impatient(connection, retry) as execute:
            super().recover(connection, retry)
            if existing_tables(execute, JOURNAL):
                outcome = undo(execute, heads_as_text(execute))
                log.info("A run was killed here. Rolled back: %s", ", ".join(outcome.restored) or "nothing")
                outcome.require_whole()

    @contextmanager
    def prepared(self, connection: Connection, retry: RetryPolicy) -> Iterator[StepDone]:
        """Limit lock waits, and keep a journal from which a failure is undone."""
        from .journaling import journaled  # loads all that reads SQL

        with self._impatient(connection, retry) as execute, journaled(connection, execute) as step_done:
            yield step_done

    @contextmanager
    def _impatient(self, connection: Connection, retry: RetryPolicy) -> Iterator[Execute]:
        """Wait as ``retry`` says: ``lock_wait_timeout`` for tables, ``innodb_lock_wait_timeout`` for rows.

        A statement that timed out changed nothing and is retried; the run is not, because earlier DDL is committed.
        """
        names = ("lock_wait_timeout", "innodb_lock_wait_timeout")
        before = {name: connection.scalar(text(f"SELECT @@SESSION.{name}")) for name in names}
        for name in names:
            connection.execute(text(f"SET SESSION {name} = {max(1, round(retry.seconds))}"))
        connection.rollback()

        def do_execute(cursor: Any, statement: str, parameters: Any, execution: Any) -> bool | None:
            if execution.root_connection is not connection:
                return None
            retry.call(lambda: cursor.execute(statement, parameters), _timed_out)
            return True

        event.listen(self.engine, "do_execute", do_execute)
        try:
            yield executing(connection)
        finally:
            event.remove(self.engine, "do_execute", do_execute)
            with suppress(DBAPIError):  # of a session that is lost
                connection.rollback()
                for name, value in before.items():
                    connection.execute(text(f"SET SESSION {name} = {value}"))
                connection.rollback()


def _timed_out(error: BaseException | None) -> bool:
    return error is not None and error.args[:1] == (ER_LOCK_WAIT_TIMEOUT,)


def _require_free(execute: Execute) -> None:
    """Raise DBAPIError for a lock time-out if a session uses a table: once half of them are dropped it is too late.

    A user who may not lock tables is not asked; DROP waits instead.
    """
    tables = [f"{quoted(name)} WRITE" for kind, name in list_objects(execute) if kind == "TABLE"]
    if tables:
        try:
            execute(f"LOCK TABLES {', '.join(tables)}")
            execute("UNLOCK TABLES")
        except DBAPIError as error:
            if _timed_out(error.orig):
                raise
