"""The interface that the adapter of each database implements, and functions that all adapters share."""

import os
import shlex
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import Enum
from getpass import getuser
from pathlib import Path
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Any

from flask import current_app
from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Connection,
    Engine,
    Table,
    TableClause,
    and_,
    event,
    inspect,
    or_,
    select,
    table,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.schema import CreateTable

from ..console import StepDone, repeatedly
from ..errors import LostLockError, MigrationError, UnsafeError
from ..retry import RetryPolicy

if TYPE_CHECKING:  # only commands that use scratch databases need them
    from .creation import Creation
    from .databases import Databases
    from .snapshot import Objects, Snapshot

OWN_TABLES = "_migration_"
"""The prefix of this package's own tables, which are not part of the app's schema."""

SCRATCH = f"{OWN_TABLES}rehearsal"
"""The prefix of the names of scratch databases, in which rehearsals run.

Also a table: it marks a database of another name as a scratch database.
"""

RESTORE = f"{OWN_TABLES}restore"
"""A table that exists while a restore runs that commits each statement; it stores the path of the backup file."""

LOG = f"{OWN_TABLES}log"
"""The table that says who applied which revision, and when (histories/log_table.py). Unlike the others, it stays."""

POSITIONS = f"{OWN_TABLES}backfill"
"""A table that says how far each unfinished backfill has come (backfill.py)."""

KEEP_ALIVE = 15.0
"""Seconds between two queries of a session that is idle while something else runs; no usual time-out is as short."""

IN_BATCHES = "in_batches"
"""The execution option of a connection while a backfill commits batches on it."""


def version_options() -> dict[str, Any]:
    """Return the options of ``Migrate(...)`` that begin with version_table, e.g. ``{"version_table": "revisions"}``."""
    options = current_app.extensions["migrate"].configure_args
    return {name: value for name, value in options.items() if name.startswith("version_table")}


def version_table() -> tuple[str | None, str]:
    """Return schema and name of the table in which Alembic stores the current revisions: alembic_version by default.

    The schema is None if it is the connection's default schema.
    """
    options = version_options()
    return options.get("version_table_schema"), options.get("version_table", "alembic_version")


def is_own_table(table: str) -> bool:
    """Return True if the table belongs to Alembic or to this package, and not to the app."""
    return table == version_table()[1] or table.startswith(OWN_TABLES)


def double_quoted(name: str) -> str:
    """Return ``name`` in double quotes, as SQLite and PostgreSQL accept it in SQL."""
    return '"' + name.replace('"', '""') + '"'


def not_whole(file: Path, product: str, why: str) -> MigrationError:
    """Return the error that says that ``file`` is not a complete backup of a ``product`` database, and ``why``."""
    return MigrationError(
        f"{file} is not a complete backup of a {product} database: {why}.",
        "choose another backup from this list; the database was not changed:",
        "flask db backups",
    )


def user_and_host() -> tuple[str, str]:
    """Return the user of this process and the name of its machine, in ASCII, which each database can store."""
    try:
        user = getuser()
    except (KeyError, OSError, ImportError):  # no name, as in many containers; Python's versions raise different ones
        user = str(os.getuid())
    user, host = (name.encode("ascii", "backslashreplace").decode()[:255] for name in (user, socket.gethostname()))
    return user, host


def own_session(engine: Engine) -> Connection:
    """Return a new connection with autocommit, outside the app's pool, which may have no free connection.

    It is opened like the app's connections: with the same options, ``creator`` and listeners. Closing the connection
    ends its session on the server. The engine is the app's: another one would ask the server for its version and types.
    """
    connection = Connection(engine, engine.pool.recreate().connect())
    connection = connection.execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()
    return connection


Ask = Callable[[], None]


@contextmanager
def kept_alive(connection: Connection, query: str = "SELECT 1") -> Iterator[Ask]:
    """Inside the block, run ``query`` on ``connection`` every 15 seconds (KEEP_ALIVE), in another thread.

    Servers, poolers and proxies close sessions that are idle for some time. The block must not use the connection; it
    may call the yielded function, which runs the query now. If the query has failed, raise its error after the block:
    otherwise SQLAlchemy would open another session, which does not hold the lock. Do nothing on SQLite, which has no
    sessions.
    """
    using, errors = Mutex(), list[Exception]()
    is_open = connection.in_transaction()

    def ask() -> None:
        with using:
            if errors:
                raise errors[0]
            try:
                connection.exec_driver_sql(query)
                if not is_open:
                    connection.rollback()
            except (DBAPIError, MigrationError) as error:
                errors.append(error)
                raise

    def keep_alive() -> None:
        with suppress(DBAPIError, MigrationError):  # raised below
            ask()

    with nullcontext() if connection.dialect.name == "sqlite" else repeatedly(KEEP_ALIVE, keep_alive):
        yield ask
    if errors:
        raise errors[0]


def in_autocommit_block(connection: Connection) -> bool:
    """Return True if ``connection`` is in Alembic's ``autocommit_block()``, where each statement commits by itself."""
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def in_batches(connection: Connection) -> bool:
    """Return True while a backfill commits batches on ``connection``.

    A batch is retried and resumed as a whole: its statements are neither retried alone nor recorded for an undo.
    """
    return bool(connection.get_execution_options().get(IN_BATCHES))


@contextmanager
def listening(target: Connection | Engine | type[Engine], listeners: dict[str, Callable[..., None]]) -> Iterator[None]:
    """Register ``listeners``, functions by the name of SQLAlchemy's event, on ``target`` until the block ends.

    The class Engine stands for all engines.
    """
    for name, listener in listeners.items():
        event.listen(target, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners.items():
            event.remove(target, name, listener)


class Part(Enum):
    """The part of a database that dump() writes into a file, and load() reads from it."""

    ALL = "everything, for a backup"
    COPY = "schema and rows for a rehearsal, without events and the like that run by themselves"
    SCHEMA = "the schema for a rehearsal, without rows"


@dataclass(frozen=True)
class KeyColumn:
    """A column of a primary key, and how a value of it is stored as text and compared again without any change."""

    column: ColumnClause[Any]
    text: ColumnElement[Any]
    """The expression that returns a value as text."""
    value: Callable[[str], ColumnElement[Any]]
    """A function that returns the expression of the value with such a text."""


class Lock(ABC):
    """A lock on one database, which one process at a time can hold; it is released when that process ends or dies."""

    @abstractmethod
    def take(self) -> bool:
        """Try to take the lock without waiting. Return False if another process holds it."""

    def is_held(self) -> bool:
        """Return True if this process still holds the lock. Must be fast: it is called after each revision."""
        return True

    def require_held(self) -> None:
        """Raise LostLockError if this process no longer holds the lock."""
        if not self.is_held():
            raise LostLockError

    @abstractmethod
    def holder(self) -> tuple[str, str]:
        """Return a description of the lock's holder, and SQL or a shell command that ends the holder.

        Call it after take() has returned False. Return two empty strings if the lock is free by then; on SQLite, where
        that cannot be seen, describe a holder all the same.
        """


class Adapter(ABC):
    """The operations that differ between databases; a subclass for each database implements them.

    The values of class attributes here are the safe assumptions.
    """

    reruns = False
    """Whether DDL is rolled back with its transaction, so that a run can be retried after a lock time-out."""

    driver_begins = False
    """Whether the driver begins a new transaction by itself with the first statement after COMMIT or ROLLBACK."""

    shows_more_in_sql = False
    """Whether creations() shows more of a table than snapshot(), e.g. the statistics target of a column."""

    runs_several_statements = False
    """Whether the driver accepts several statements in one text."""

    log_in_may_hang = True
    """Whether a login can wait forever, because a server does not answer."""

    begin_batch = "BEGIN"
    """The SQL that begins the transaction of a batch of a backfill."""

    key_hint = ""
    """The hint behind a table's name with which a query uses the index of the primary key."""

    suffix: str
    """The suffix of the names of backup files, e.g. ``.pgdump``."""

    maintenance_database: str | None = None
    """The database to log in to if a URL names only the server; None if a login needs no database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def options(self, _judge: Callable[[UnsafeError], None]) -> dict[str, Any]:
        """Return options for Alembic's ``context.configure()``, e.g. whether each revision is a transaction of its own.

        An adapter that finds only while a revision runs that data would be lost calls ``judge`` with an UnsafeError.
        ``judge`` raises this error, or returns if the user has accepted the loss.
        """
        return {"transactional_ddl": True}

    def schemas(self, _connection: Connection) -> list[str | None]:
        """Return the names of the schemas that may have tables of the app; None is the connection's default schema."""
        return [None]

    def has_tables(self, connection: Connection) -> bool:
        """Return True if the database has a table of the app, not only those of Alembic and this package."""
        return next(self.tables(connection), None) is not None

    def has_rows(self, connection: Connection) -> bool:
        """Return True if a table of the app has a row, or cannot be read."""
        with self.hidden_rows_refused(connection):
            try:
                return any(
                    connection.scalar(select(1).select_from(each).limit(1)) is not None
                    for each in self.tables(connection)
                )
            except DBAPIError:
                return True

    def hidden_rows_refused(self, _connection: Connection) -> AbstractContextManager[None]:
        """Make queries in this block fail if row-level security would hide rows from the user.

        Else a table could look empty. By default, do nothing: only PostgreSQL can hide rows.
        """
        return nullcontext()

    def tables(self, connection: Connection) -> Iterator[TableClause]:
        """Yield the tables of the app."""
        for schema in self.schemas(connection):
            for name in inspect(connection).get_table_names(schema):
                if not is_own_table(name):
                    yield table(name, schema=schema)

    @abstractmethod
    def size(self, connection: Connection) -> int:
        """Return the size of the database in bytes, as its catalog has it: rows, indexes and free space."""

    @abstractmethod
    def dump(self, connection: Connection, file: Path, retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Write ``part`` of the database, as it is at one moment, to ``file``.

        Raise MigrationError or OSError if that fails.
        """

    @abstractmethod
    def verify(self, connection: Connection, file: Path) -> None:
        """Raise MigrationError if ``file`` is not a complete backup, or not one of this database product."""

    @abstractmethod
    def load(self, connection: Connection, file: Path, retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Delete everything in the database, and restore ``file``, which dump() wrote with the same ``part``.

        Raise MigrationError or DBAPIError if that fails.
        """

    @abstractmethod
    def snapshot(self, connection: Connection) -> "Snapshot":
        """Return the schema, and counts and fingerprints of the rows, to compare two states."""

    @abstractmethod
    def schema(self, connection: Connection) -> "Objects":
        """Return what revisions determine of the schema, to compare it with another database's.

        Owners, rights and definers are left out; so are the character sets and collations that tables and columns get
        from the database. No rows are read.
        """

    @abstractmethod
    def creations(self, connection: Connection) -> "list[Creation]":
        """Return the statements that create the database again, in the order to run them.

        The tables of Alembic and of this package are omitted. Raise MigrationError if a client program fails.
        """

    @property
    @abstractmethod
    def databases(self) -> "Databases":
        """Return the object that creates and drops scratch databases on the same server."""

    @abstractmethod
    def lock(self, connection: Connection, what: str) -> AbstractContextManager[Lock]:
        """Yield a lock of this database, which the caller has to take; release it when the block ends.

        ``what`` is upgrade or rehearsal: two locks that do not exclude each other. The command runs its revisions on
        ``connection``; the lock may use the same connection, or one of its own.
        """

    @abstractmethod
    def is_lock_timeout(self, error: DBAPIError) -> bool:
        """Return True if ``error`` says that a statement waited too long for a lock, e.g. on a row or a table."""

    def rolled_back_transaction(self, _error: DBAPIError) -> bool:
        """Return True if the server rolled back the transaction, not only the statement, because of a lock.

        It does so for a deadlock, or perhaps for a time-out: run again, the whole transaction may succeed.
        """
        return False

    def refuses_values(self, error: DBAPIError) -> bool:
        """Return True if a statement failed because of the values of a row, e.g. because they violate a constraint."""
        return isinstance(error, IntegrityError | DataError)

    def primary_key(self, _connection: Connection, _table: TableClause) -> list[KeyColumn]:
        """Return the columns of the table's primary key in the order of its index; an empty list if it has none.

        By default, return an empty list: only a database on which backfills commit in batches needs the key.
        """
        return []

    def beyond(self, key: Sequence[KeyColumn], values: Sequence[str]) -> ColumnElement[bool]:
        """Return the condition that a row's key comes after the key with ``values``, which the key's index can use."""
        return _ordered(key, values, after=True)

    def up_to(self, key: Sequence[KeyColumn], values: Sequence[str]) -> ColumnElement[bool]:
        """Return the condition that a row's key is the one with ``values``, or comes before it."""
        return _ordered(key, values, after=False)

    def estimated_rows(self, _connection: Connection, _table: TableClause) -> int:
        """Return the number of rows of the table, as the catalog has it; 0 if that is not known."""
        return 0

    def in_transaction(self, connection: Connection) -> bool:
        """Return True if a transaction is open on ``connection``.

        By default, return what SQLAlchemy assumes, which does not notice a COMMIT in SQL. If the driver notices it, the
        adapter asks the driver.
        """
        return connection.in_transaction()

    def has_changes(self, _statement: str, _before: bool) -> bool:
        """Return True if a rollback after ``statement`` would lose changes; ``before`` is the answer before it.

        By default, return True.
        """
        return True

    def limit_lock_waits(self, _connection: Connection, _retry: RetryPolicy) -> None:
        """Set the lock time-out of the current transaction to ``retry.seconds``.

        By default, do nothing: the database's own time-out applies, which is some seconds on SQLite, and on MySQL 50
        seconds for a row and a day for a table.
        """
        return

    def lock_waits_limited(self, _connection: Connection, _retry: RetryPolicy) -> AbstractContextManager[object]:
        """Limit each wait for a lock in the block to ``retry.seconds``, if a session sets that, not a transaction."""
        return nullcontext()

    @abstractmethod
    def blockers(self, connection: Connection) -> tuple[str, str]:
        """Return a description of the other session with the oldest transaction, and the SQL that ends this session.

        Return two empty strings if there is none, or the database does not show it. The transaction of ``connection``
        may be rolled back.
        """

    def waits_for_itself(self, _connection: Connection, _statement: str) -> bool:
        """Return True if ``statement`` in a transaction always times out: it waits for a lock of its own session."""
        return False

    @abstractmethod
    def version(self, connection: Connection) -> tuple[str, str]:
        """Return the product and its version, e.g. ``("mariadb", "10.11.19")``."""

    def is_irreversible(self, _name: str, _before: str, _after: str) -> bool:
        """Return True if no SQL can revert a change of the object, e.g. of a PostgreSQL enum that got another value.

        ``before`` and ``after`` are the object's descriptions in two Snapshots.
        """
        return False

    def partitions(self, _connection: Connection) -> set[tuple[str | None, str]]:
        """Return (schema, name) of each partition of a table; in the default schema also (None, name).

        By default, return an empty set: on most databases a partition is not a table.
        """
        return set()

    def columns_as_stored(self, connection: Connection, table: Table) -> list[Any]:
        """Return how an Inspector reports the columns of ``table``, a temporary one; an empty list if it is refused.

        Create the table in a savepoint of the connection's transaction, and roll the savepoint back.
        """
        try:
            with connection.begin_nested() as savepoint:
                connection.execute(CreateTable(table))
                found: list[Any] = inspect(connection).get_columns(table.name)
                savepoint.rollback()
        except SQLAlchemyError:
            return []
        return found

    def has_extension(self, _connection: Connection, _name: str) -> bool | None:
        """Return True if the extension is installed in the database; None if the product has no extensions."""
        return None

    def account(self, _connection: Connection) -> str:
        """Return the account of the session's user, as GRANT takes it; an empty string if the product has none."""
        return ""

    @abstractmethod
    def require_writable(self, connection: Connection, command: str) -> None:
        """Raise MigrationError if the database refuses writes, as a standby does; its `Fix:` may repeat ``command``.

        The transaction of ``connection`` may be rolled back.
        """

    def interrupted(self, connection: Connection) -> str:
        """Return a message if an upgrade, a downgrade or a restore is in progress or was killed.

        Otherwise return an empty string. By default, only a restore is reported.
        """
        file = self.broken_restore(connection)
        return f"a restore of {file} is running, or was interrupted" if file else ""

    def broken_restore(self, _connection: Connection) -> str:
        """Return the path of the backup whose restore is running or was interrupted.

        Return an empty string if there is none, and "FILE" if the path is not known.
        """
        return ""

    def is_damage(self, _error: DBAPIError) -> bool:
        """Return True if ``error`` says that a file is damaged; it may be another one than that of the database."""
        return False

    def damage(self, _connection: Connection) -> str:
        """Read the whole database, and return how its file is damaged.

        Return an empty string if it is not damaged, or if a server has the file.
        """
        return ""

    def replace_damaged(self, _connection: Connection, _file: Path) -> Path:
        """Replace the file of the database, in which damage() finds something, with the backup ``file``.

        Return the name under which the damaged file stays. Raise MigrationError if the disk is full or fails.
        """
        raise NotImplementedError

    def recover(self, connection: Connection, _retry: RetryPolicy) -> None:
        """Undo what a killed upgrade or downgrade left incomplete. Raise HalfDoneError if some of it cannot be undone.

        By default, undo nothing, because the database has rolled it back. Raise MigrationError if a restore was
        interrupted: only a restore that succeeds repairs the database then.
        """
        self.require_restored(connection)
        connection.rollback()

    def require_restored(self, connection: Connection) -> None:
        """Raise MigrationError if a restore is running or was interrupted, so that the database is incomplete."""
        if file := self.broken_restore(connection):
            raise MigrationError(
                "a restore is running or was interrupted: this database is incomplete.",
                "wait until it has finished; if it was interrupted, restore this backup again, or another one:",
                f"flask db restore {shlex.quote(file)}",
            )

    @abstractmethod
    def prepared(
        self, connection: Connection, retry: RetryPolicy, remains: list[str]
    ) -> AbstractContextManager[StepDone]:
        """Prepare ``connection`` to run revisions, e.g. limit each wait for a lock to ``retry.seconds``.

        Yield a function to call at the end of each revision, in its transaction, with the database's new heads. After a
        failure, add to ``remains`` a sentence for each change of the failed revision that could not be undone.
        """


def _ordered(key: Sequence[KeyColumn], values: Sequence[str], after: bool) -> ColumnElement[bool]:
    """Return the comparison of a key with ``values``, column by column: ``a > 1 OR (a = 1 AND b > 2)``.

    MySQL's documentation ("Range Optimization of Row Constructor Expressions") says that it uses the index for these,
    but not for ``(a, b) > (1, 2)``.
    """
    column, value = key[0].column, key[0].value(values[0])
    if len(key) == 1:
        return column > value if after else column <= value
    rest = and_(column == value, _ordered(key[1:], values[1:], after))
    return or_(column > value if after else column < value, rest)
