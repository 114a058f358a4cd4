"""The adapter for MySQL and MariaDB. They cannot roll back DDL, so a journal records changes for an undo."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, TableClause, event, text
from sqlalchemy.exc import DBAPIError

from ...console import StepDone, log
from ...retry import RetryPolicy
from ..base import RESTORE, Adapter, KeyColumn, Lock, Part, in_batches, kept_alive
from .catalog import (
    JOURNAL,
    LOCK,
    drop_all,
    existing_tables,
    heads_as_text,
    list_objects,
    quoted,
)
from .lock import NamedLock, is_on_cluster
from .session import (
    BEFORE_STATEMENT,
    ER_LOCK_DEADLOCK,
    ER_LOCK_WAIT_TIMEOUT,
    Execute,
    change_settings,
    error_number,
    executing,
    read_settings,
)

# Errors that PyMySQL raises as OperationalError: a violated CHECK (MySQL, MariaDB), a wrong value for an operator, a
# division by 0, a result out of range.
OF_VALUES = (3819, 4025, 1292, 1365, 1690)

SERVER_STATUS_IN_TRANS = 1  # a bit of the protocol's status flags

# The attribute of a driver's error of a lock time-out that rolled the transaction back, which its number does not say.
ROLLED_BACK = "rolled_back_transaction"

if TYPE_CHECKING:  # a command that has nothing to do, as most have, loads none of these
    from ..creation import Creation
    from ..snapshot import Objects, Snapshot
    from .databases import MySQLDatabases
    from .dump import Dump


class MySQL(Adapter):
    """The adapter for MySQL and MariaDB.

    Alembic's option ``transactional_ddl`` is True although each DDL statement commits, because Alembic then begins a
    transaction for each revision.
    """

    driver_begins = True
    suffix = ".sql.gz"
    key_hint = "FORCE INDEX (PRIMARY)"

    def size(self, connection: Connection) -> int:
        """Return the size of tables and indexes in bytes, by statistics that MySQL may have gathered a day ago."""
        query = "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()"
        return int(connection.scalar(text(query)) or 0)

    def dump(self, connection: Connection, file: Path, _retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Write a compressed dump of ``part`` of the database, as it is at one moment, to ``file``.

        ``--single-transaction`` achieves that for InnoDB tables only. Raise MigrationError or OSError if it fails.
        """
        self._dump(connection).write(file, part)
        connection.rollback()

    def verify(self, connection: Connection, file: Path) -> None:
        """Raise MigrationError if ``file`` is not a complete dump of this product, or a row is too large to restore."""
        self._dump(connection).verify(file)
        connection.rollback()

    def load(self, connection: Connection, file: Path, retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Drop everything in the database, and run the dump in ``file``.

        Before anything is dropped, raise MigrationError if the dump is damaged or the user may not create its views,
        triggers or the like, and DBAPIError if another session uses a table. Each statement commits: if one fails, the
        table _migration_restore remains, which marks the database as incomplete; raise MigrationError.
        """
        dump = self._dump(connection)
        with self.lock_waits_limited(connection, retry) as execute:
            definers = dump.verify(file)
            dump.require_rights(definers if part is Part.ALL else {("", is_logged) for _, is_logged in definers})
            _require_unused_tables(execute)
            execute(f"CREATE TABLE IF NOT EXISTS {RESTORE} (id INT AUTO_INCREMENT PRIMARY KEY, file TEXT)")
            execute(f"INSERT INTO {RESTORE} (file) VALUES (%s)", (str(file),))
            execute("COMMIT")
            drop_all(execute)
            dump.run(file, part)
            execute(f"DROP TABLE {RESTORE}")

    def _dump(self, connection: Connection) -> "Dump":
        from .dump import Dump

        alive = partial(kept_alive, connection, "DO 0")  # not SELECT: before DO, a leased lock's fence runs
        return Dump(self.engine.url, self.version(connection)[0], executing(connection), alive)

    def columns_as_stored(self, connection: Connection, table: Table) -> list[Any]:
        """Return how an Inspector reports the columns of ``table``, a temporary one; an empty list if it is refused.

        A savepoint does not restore what DDL did, so drop the table. With the word TEMPORARY this commits nothing.
        """
        found = super().columns_as_stored(connection, table)
        connection.execute(text(f"DROP TEMPORARY TABLE IF EXISTS {table.name}"))
        return found

    @property
    def databases(self) -> "MySQLDatabases":
        """Return the object that creates and drops scratch databases on this server."""
        from .databases import MySQLDatabases

        return MySQLDatabases(self.engine)

    def creations(self, connection: Connection) -> "list[Creation]":
        """Return the statements that create the database again, in the order to run them."""
        from .creation import creations

        return list(creations(connection))

    def snapshot(self, connection: Connection) -> "Snapshot":
        """Return the SHOW CREATE of the app's objects, and counts and fingerprints of rows."""
        from .snapshot import taken

        return taken(executing(connection))

    def schema(self, connection: Connection) -> "Objects":
        """Return the SHOW CREATE of the app's objects, without definers and inherited collations.

        No rows are read.
        """
        from .snapshot import schema

        return schema(executing(connection))

    @contextmanager
    def lock(self, connection: Connection, what: str) -> Iterator[Lock]:
        """Yield a named lock (GET_LOCK), not taken yet, and release it at the end; a leased lock on a Galera cluster.

        The session of ``connection`` holds the named lock. If the client is killed during a statement, the server keeps
        the lock until the statement ends.
        """
        if is_on_cluster(connection):
            from .leased_lock import leased_lock

            with leased_lock(connection, what) as leased:
                yield leased
            return
        lock = NamedLock(connection, what)
        try:
            yield lock
        finally:
            lock.free()

    def is_lock_timeout(self, error: DBAPIError) -> bool:
        """Return True for ER_LOCK_WAIT_TIMEOUT: a statement waited too long for the lock of a row or a table."""
        return _timed_out(error.orig)

    def rolled_back_transaction(self, error: DBAPIError) -> bool:
        """Return True for ER_LOCK_DEADLOCK, which Galera also raises if another node has changed the same rows.

        Return True, too, for a lock time-out of which lock_waits_limited() has found that out.
        """
        return error_number(error.orig) == ER_LOCK_DEADLOCK or getattr(error.orig, ROLLED_BACK, False)

    def refuses_values(self, error: DBAPIError) -> bool:
        """Return True, too, for the errors of values that PyMySQL does not call so, such as a violated CHECK."""
        return super().refuses_values(error) or error_number(error.orig) in OF_VALUES

    def primary_key(self, connection: Connection, table: TableClause) -> list[KeyColumn]:
        """Return the columns of the primary key.

        Raise MigrationError if two values of a TIMESTAMP column can look the same in the session's time zone.
        """
        from .keys import primary_key

        return primary_key(executing(connection), table)

    def estimated_rows(self, connection: Connection, table: TableClause) -> int:
        """Return the estimate of InnoDB's statistics, which may be off by half."""
        query = (
            "SELECT table_rows FROM information_schema.tables WHERE table_name = :name"
            " AND table_schema = coalesce(:schema, DATABASE())"
        )
        return int(connection.scalar(text(query), {"name": table.name, "schema": table.schema}) or 0)

    def in_transaction(self, connection: Connection) -> bool:
        """Return True if the server's last status flags say that a transaction is open."""
        below: Any = connection.connection.dbapi_connection
        return bool(below.server_status & SERVER_STATUS_IN_TRANS)

    def has_changes(self, statement: str, before: bool) -> bool:
        """Return False after a statement that commits, such as DDL, and ``before`` after one that changes no rows."""
        from .statements import read

        found = read(statement)
        return found.verb != "COMMIT" and not found.commits_implicitly and (before or found.may_change_rows)

    def blockers(self, connection: Connection) -> tuple[str, str]:
        """Return a description of the session with the oldest transaction, and the SQL that ends this session.

        Both are empty strings if there is none, or if the user lacks the privilege PROCESS. The session of
        ``connection`` is left out. So are sessions in other databases, which rarely lock a table of this one.
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
        """Return True for EXCHANGE PARTITION on MariaDB: in a transaction it waits for a lock of its own session.

        With autocommit the statement works (seen on MariaDB 10.11).
        """
        return (
            self.version(connection)[0] == "mariadb"
            and re.search(r"\bEXCHANGE\s+PARTITION\b", statement, re.I) is not None
        )

    def version(self, connection: Connection) -> tuple[str, str]:
        """Return the product and the version of the server, e.g. ``("mariadb", "10.11.19")``."""
        product = "mariadb" if getattr(connection.dialect, "is_mariadb", False) else "mysql"
        numbers = [part for part in connection.dialect.server_version_info or () if isinstance(part, int)]
        return product, ".".join(map(str, numbers[:3]))

    def account(self, connection: Connection) -> str:
        """Return the account in which the server has found the user: its host may be a pattern, as in 'app'@'%'."""
        user, _, host = str(connection.scalar(text("SELECT CURRENT_USER()"))).rpartition("@")
        return f"'{user}'@'{host}'"

    def require_writable(self, connection: Connection, _command: str) -> None:
        """Raise MigrationError if the server is read-only for this user, or is a read-only replica."""
        from .standby import require_writable

        require_writable(connection)

    def interrupted(self, connection: Connection) -> str:
        """Return a message if an upgrade, downgrade or restore is in progress, or has stopped half-way.

        Otherwise return an empty string.
        """
        execute = executing(connection)
        marks = existing_tables(execute, JOURNAL, RESTORE)  # in one query, for a run with nothing to do asks too
        if RESTORE in marks:
            return super().interrupted(connection)
        if JOURNAL in marks:
            return "an upgrade or downgrade is in progress, or has stopped half-way: the next undoes or continues it"
        return ""

    def broken_restore(self, connection: Connection) -> str:
        """Return the path of the backup whose restore is in progress or was interrupted.

        Return an empty string if there is none, and the placeholder "FILE" if the path was not stored.
        """
        execute = executing(connection)
        if not existing_tables(execute, RESTORE):
            return ""
        return next((str(file) for (file,) in execute(f"SELECT file FROM {RESTORE}")), "FILE")

    def recover(self, connection: Connection, retry: RetryPolicy) -> None:
        """Undo the revision that an earlier upgrade or downgrade has left unfinished; do nothing if there is none.

        Raise HalfDoneError if some of its changes cannot be undone, MigrationError if a restore was interrupted.
        """
        marks = existing_tables(executing(connection), JOURNAL, RESTORE)
        if RESTORE in marks:
            self.require_restored(connection)
        connection.rollback()
        if JOURNAL not in marks:
            return
        from .undo import undo

        with self.lock_waits_limited(connection, retry) as execute:
            outcome = undo(execute, heads_as_text(execute))
            said = "An earlier run failed, was killed or lost its connection."
            if outcome.restored or outcome.lines():
                log.info(
                    "%s Its unfinished revision was undone%s; restored to their state before it: %s",
                    said,
                    " in part" if outcome.lines() else "",
                    ", ".join(outcome.restored) or "no object",
                )
            else:
                log.info("%s It left nothing to undo", said)
            outcome.require_whole()

    @contextmanager
    def prepared(self, connection: Connection, retry: RetryPolicy, remains: list[str]) -> Iterator[StepDone]:
        """Limit lock waits as ``retry`` says, record changes in a journal, and undo a revision that fails.

        Yield the function to call at the end of each revision, in its transaction, with the database's new heads. Add
        to ``remains`` what could not be undone.
        """
        from .journaling import journaled  # loads all that reads SQL

        with (
            self.lock_waits_limited(connection, retry) as execute,
            journaled(connection, execute, remains) as step_done,
        ):
            yield step_done

    @contextmanager
    def lock_waits_limited(self, connection: Connection, retry: RetryPolicy) -> Iterator[Execute]:
        """Limit each wait for a lock on ``connection`` to ``retry.seconds``, and retry a statement that times out.

        Yield a function that runs SQL on ``connection``. Until the block ends, ``lock_wait_timeout`` for tables and
        ``innodb_lock_wait_timeout`` for rows have this limit, in whole seconds and at least 1. Only the statement is
        retried, because earlier DDL is already committed. If the time-out has rolled back earlier changes too, which
        innodb_rollback_on_timeout makes the server do, the statement is not retried: the revision fails as after a
        deadlock.
        """
        execute = executing(connection)
        limits = dict.fromkeys(("lock_wait_timeout", "innodb_lock_wait_timeout"), max(1, round(retry.seconds)))
        before = read_settings(execute, limits)
        change_settings(execute, limits)
        connection.rollback()

        def do_execute(cursor: Any, statement: str, parameters: Any, execution: Any) -> bool | None:
            if execution.root_connection is not connection or in_batches(connection):
                return None
            before_statement = connection.get_execution_options().get(BEFORE_STATEMENT)
            was_open = self.in_transaction(connection)

            def run() -> None:
                if before_statement is not None:  # again before a retry: DDL has committed what came before it
                    before_statement(cursor, statement, parameters, execution)
                cursor.execute(statement, parameters)

            def may_retry(error: Exception) -> bool:
                if not _timed_out(error):
                    return False
                if was_open and self.has_changes(statement, before=True):  # DDL has committed the earlier changes
                    cursor.execute("DO 0")  # unlike an error, its answer says whether the transaction is still open
                    if not self.in_transaction(connection):
                        setattr(error, ROLLED_BACK, True)
                        return False
                return True

            retry.call(run, may_retry)
            return True

        # First: because this returns True, no other listener is called.
        event.listen(self.engine, "do_execute", do_execute, insert=True)
        try:
            yield execute
        finally:
            event.remove(self.engine, "do_execute", do_execute)
            with suppress(DBAPIError):  # of a session that is lost
                if not connection.invalidated:  # it would become a new session, and no longer known to be lost
                    connection.rollback()
                    change_settings(execute, before)
                    connection.rollback()


def _timed_out(error: BaseException | None) -> bool:
    return error_number(error) == ER_LOCK_WAIT_TIMEOUT


def _require_unused_tables(execute: Execute) -> None:
    """Raise DBAPIError (a lock time-out) if another session uses a table of the database.

    This finds out before the first DROP TABLE commits. If the user may not lock tables, nothing is raised: then each
    DROP TABLE waits by itself.
    """
    found = [name for kind, name in list_objects(execute) if kind == "TABLE" and name != LOCK]
    tables = [f"{quoted(name)} WRITE" for name in found]
    if tables:
        try:
            execute(f"LOCK TABLES {', '.join(tables)}")
            execute("UNLOCK TABLES")
        except DBAPIError as error:
            if _timed_out(error.orig):
                raise
