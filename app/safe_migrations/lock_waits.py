"""The errors for a statement that waited too long for a lock of another session, or of its own revision."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from .adapters.base import in_autocommit_block, listening
from .database import Database, location
from .errors import MigrationError, counted
from .retry import RetryPolicy


@contextmanager
def limited_lock_waits_of_others(database: Database, retry: RetryPolicy) -> Iterator[None]:
    """Inside the block, raise MigrationError if a second connection waits for a lock longer than ``retry.seconds``.

    A second connection is one that a script opens to the same database, such as db.session's, or that of an engine of
    its own. The revision's own may hold that lock, and be idle until the script continues. No server detects such a
    deadlock.

    Only PostgreSQL waits for ``retry.seconds``; on other databases their own time-out applies.
    """

    here = location(database.adapter.engine.url)

    def is_other(found: Connection | None) -> bool:
        if found is None or found is database.connection or in_autocommit_block(found):
            return False
        return location(found.engine.url) == here

    def begin(other: Connection) -> None:
        if is_other(other):
            database.adapter.limit_lock_waits(other, retry)

    def on_error(failure: ExceptionContext) -> None:
        error = failure.sqlalchemy_exception
        if is_other(failure.connection) and is_lock_timeout(database, error):
            statement = " ".join((failure.statement or "").split())
            raise MigrationError(
                "on a second connection (such as db.session) the script waited too long for a lock that the revision's"
                f" own connection may hold. This statement waited: {statement[:80]}",
                "run the statement on the connection of the revision:",
                'op.get_bind().execute(sa.text("..."))',
            ) from error

    with listening(Engine, {"begin": begin, "handle_error": on_error}):
        yield


def is_lock_timeout(database: Database, error: BaseException | None) -> bool:
    """Return True if ``error`` was raised because a statement waited too long for a lock."""
    return isinstance(error, DBAPIError) and database.adapter.is_lock_timeout(error)


def lock_timeout_error(
    database: Database, retry: RetryPolicy, again: str, statement: str | None = None
) -> MigrationError:
    """Return the error to raise after the last try. It names the session that holds the lock, and how to end it.

    If no such session is found, the error says to run the command ``again`` later; or, if ``statement`` always waits
    for a lock of its own transaction, to use an autocommit block.
    """
    adapter, connection = database.adapter, database.connection
    who, end = adapter.blockers(connection)
    if not who and adapter.waits_for_itself(connection, statement or ""):
        return MigrationError(
            f"no other session holds a lock: this statement waits for its own transaction: {statement}",
            "run the statement outside the revision's transaction, in an autocommit block:",
            "with op.get_context().autocommit_block():",
        )
    way_out = ("wait until that session has finished, or end it:", end) if end else ("try again later:", again)
    return MigrationError(
        f"another session holds a lock that this command needs ({who or 'it is not known which session'});"
        f" gave up after {counted(retry.tries, 'try')} of {counted(retry.seconds, 'second')}.",
        *way_out,
    )
