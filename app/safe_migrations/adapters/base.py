"""The interface of an adapter, and what all adapters share."""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import current_app
from sqlalchemy import Connection, Engine, TableClause, create_engine, event, inspect, select, table
from sqlalchemy.exc import DBAPIError

from ..console import StepDone
from ..errors import MigrationError, UnsafeError
from ..retry import RetryPolicy

if TYPE_CHECKING:  # only rehearsals need them
    from .databases import Databases
    from .snapshot import Snapshot

OWN_TABLES = "_migration_"
"""The prefix of this package's own tables, which are not part of the app's schema."""

SCRATCH = f"{OWN_TABLES}rehearsal"
"""The prefix of scratch databases; and the table that marks a database with another name as one."""

RESTORE = f"{OWN_TABLES}restore"
"""A table that exists during a restore in steps that commit; it holds the path of the file."""


def version_options() -> dict[str, Any]:
    """Return the app's options for Alembic that give the table alembic_version another name or another schema."""
    options = current_app.extensions["migrate"].configure_args
    return {name: value for name, value in options.items() if name.startswith("version_table")}


def version_table() -> tuple[str | None, str]:
    """Return schema and name of the table in which Alembic stores the revisions of the database."""
    options = version_options()
    return options.get("version_table_schema"), options.get("version_table", "alembic_version")


def is_own_table(table: str) -> bool:
    """Return True for a table of Alembic or of this package."""
    return table == version_table()[1] or table.startswith(OWN_TABLES)


def double_quoted(name: str) -> str:
    """Return the name quoted as in standard SQL, as SQLite and PostgreSQL do."""
    return '"' + name.replace('"', '""') + '"'


def not_whole(file: Path, product: str, why: str) -> MigrationError:
    """Return the error for a ``file`` that is cut off, damaged, or not a backup."""
    return MigrationError(
        f"{file} is not a complete backup of a {product} database: {why}.",
        "choose another one; the database was not touched:",
        "flask db backups",
    )


def own_session(engine: Engine) -> Connection:
    """Open a session outside the app's pool, which may have no room for a second one; closing it ends it.

    The new pool connects as the app's does: with its options, its ``creator`` and its listeners.
    """
    own = create_engine(engine.url, pool=engine.pool.recreate())
    connection = own.connect().execution_options(isolation_level="AUTOCOMMIT")
    connection.detach()
    return connection


def in_autocommit_block(connection: Connection) -> bool:
    """Return True in Alembic's ``autocommit_block()``, where each statement commits by itself."""
    return connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


@contextmanager
def listening(target: Connection | Engine, listeners: dict[str, Callable[..., None]]) -> Iterator[None]:
    """Listen to SQLAlchemy's events of ``target``, by name."""
    for name, listener in listeners.items():
        event.listen(target, name, listener)
    try:
        yield
    finally:
        for name, listener in listeners.items():
            event.remove(target, name, listener)


class Part(Enum):
    """The part of a database that is written into a file."""

    ALL = "all"
    COPY = "what a rehearsal needs: nothing that runs by itself"
    SCHEMA = "the same without rows"


class Lock(ABC):
    """A lock on one database, which the system frees when its owner dies."""

    @abstractmethod
    def take(self) -> bool:
        """Take the lock if it is free; never wait."""

    def is_held(self) -> bool:
        """Return whether this process still holds the lock. This must be cheap: a run asks after each step."""
        return True

    @abstractmethod
    def holder(self) -> tuple[str, str]:
        """Return who holds the lock, and a line to paste that ends that session; empty strings if it is free again."""


class Adapter(ABC):
    """A kind of database. Class attributes assume the worst unless a subclass knows better."""

    reruns = False
    """Whether a run that ended in a lock time-out can run again, because what it had begun was rolled back."""

    driver_begins = False
    """Whether the driver begins a transaction with the first statement after the end of one."""

    log_in_may_hang = True
    """Whether a server may never answer a login."""

    suffix: str
    """The suffix of its backup files."""

    maintenance_database: str | None = None
    """The database to log in to where none is named."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def options(self, _judge: Callable[[UnsafeError], None]) -> dict[str, Any]:
        """Return options of ``context.configure()``: what belongs to one transaction.

        ``judge`` is called for a loss that only the step itself finds. It raises the error, or accepts the loss.
        """
        return {"transactional_ddl": True}

    def schemas(self, _connection: Connection) -> list[str | None]:
        """Return the schemas of the database; None is the connection's default schema."""
        return [None]

    def has_tables(self, connection: Connection) -> bool:
        """Return whether the app has a table."""
        return next(self._tables(connection), None) is not None

    def has_rows(self, connection: Connection) -> bool:
        """Return whether a table of the app has a row; True if that cannot be read."""
        with self.hidden_rows_refused(connection):
            try:
                return any(
                    connection.scalar(select(1).select_from(each).limit(1)) is not None
                    for each in self._tables(connection)
                )
            except DBAPIError:
                return True

    def hidden_rows_refused(self, _connection: Connection) -> AbstractContextManager[None]:
        """Raise an error for a query that would omit rows the user may not see: their table would look empty."""
        return nullcontext()

    def _tables(self, connection: Connection) -> Iterator[TableClause]:
        for schema in self.schemas(connection):
            for name in inspect(connection).get_table_names(schema):
                if not is_own_table(name):
                    yield table(name, schema=schema)

    @abstractmethod
    def dump(self, connection: Connection, file: Path, retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Write the state of the database at one moment to ``file``. Raise MigrationError or OSError."""

    @abstractmethod
    def verify(self, connection: Connection, file: Path) -> None:
        """Raise MigrationError unless ``file`` is a complete backup of this product."""

    @abstractmethod
    def load(self, connection: Connection, file: Path, retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Replace everything in the database with ``file``, which dump() wrote with the same ``part``.

        Raise MigrationError or DBAPIError.
        """

    @abstractmethod
    def snapshot(self, connection: Connection) -> "Snapshot":
        """Return the schema and the rows; end the transaction."""

    @property
    @abstractmethod
    def databases(self) -> "Databases":
        """Return the databases on the same server."""

    @abstractmethod
    def lock(self, connection: Connection, what: str) -> AbstractContextManager[Lock]:
        """Yield this database's lock for ``what``, not taken yet, and free it at the end.

        The steps run on ``connection``; the lock may use that or a session of its own.
        """

    @abstractmethod
    def is_lock_timeout(self, error: DBAPIError) -> bool:
        """Return whether a statement timed out while it waited for a lock on a row, a table or the file."""

    def in_transaction(self, connection: Connection) -> bool:
        """Return whether the driver has an open transaction; SQLAlchemy does not notice one that SQL has ended."""
        return connection.in_transaction()

    def limit_lock_waits(self, _connection: Connection, _retry: RetryPolicy) -> None:
        """Set the lock time-out of the transaction that has begun there to ``retry.seconds``.

        By default it stays the database's own: some seconds on SQLite, on MySQL 50 for a row and a day for a table.
        """
        return

    @abstractmethod
    def blockers(self, connection: Connection) -> tuple[str, str]:
        """Return the session with the oldest transaction, and a line to paste that ends it; empty strings if none."""

    def waits_for_itself(self, _connection: Connection, _statement: str) -> bool:
        """Return whether the statement, in a transaction, waits for a lock of its own session until it times out."""
        return False

    @abstractmethod
    def version(self, connection: Connection) -> tuple[str, str]:
        """Return product and version: ``("mariadb", "10.11.19")``."""

    def is_irreversible(self, _name: str, _before: str, _after: str) -> bool:
        """Return whether no statement changes an object of a Snapshot from ``after`` back to ``before``."""
        return False

    def partitions(self, _connection: Connection) -> set[tuple[str | None, str]]:
        """Return schema and name of all partitions; those of the default schema also with None as the schema."""
        return set()

    def has_extension(self, _connection: Connection, _name: str) -> bool | None:
        """Return whether the database has that extension; None if the product has no extensions."""
        return None

    def interrupted(self, connection: Connection) -> str:
        """Return what is running, or was killed and may have left half of its work; an empty string if nothing is."""
        file = self.broken_restore(connection)
        return f"a restore is running, or was interrupted: {file}" if file else ""

    def broken_restore(self, _connection: Connection) -> str:
        """Return the file whose restore is running or was interrupted; an empty string if none is."""
        return ""

    def recover(self, connection: Connection, _retry: RetryPolicy) -> None:
        """Undo what a killed run left half-done. Raise HalfDoneError if something cannot be undone.

        Raise MigrationError if a restore was interrupted.
        """
        self.require_restored(connection)
        connection.rollback()

    def require_restored(self, connection: Connection) -> None:
        """Raise MigrationError if a restore was interrupted."""
        if file := self.broken_restore(connection):
            raise MigrationError(
                "a restore was interrupted: this database is incomplete.",
                "run it again, or restore another backup:",
                f"flask db restore {shlex.quote(file)}",
            )

    @abstractmethod
    def prepared(self, connection: Connection, retry: RetryPolicy) -> AbstractContextManager[StepDone]:
        """Prepare ``connection`` for steps: limit lock waits as ``retry`` says.

        Yield a StepDone, to be called in the transaction that ends a step.
        """
