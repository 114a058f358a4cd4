"""Waits for locks that another session holds, or the revision itself on another connection."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

from .adapters.base import in_autocommit_block, listening
from .database import Database
from .errors import MigrationError
from .retry import RetryPolicy


@contextmanager
def limited_lock_waits_of_others(database: Database, retry: RetryPolicy) -> Iterator[None]:
    """Raise MigrationError if another connection of the app waits too long for a lock while steps run.

    The server sees no deadlock in it: the step continues when the script does, and the script waits.
    """

    def is_other(found: Connection | None) -> bool:
        return found is not None and found is not database.connection and not in_autocommit_block(found)

    def begin(other: Connection) -> None:
        if is_other(other):
            database.adapter.limit_lock_waits(other, retry)

    def on_error(failure: ExceptionContext) -> None:
        error = failure.sqlalchemy_exception
        if is_other(failure.connection) and is_lock_timeout(database, error):
            statement = " ".join((failure.statement or "").split())
            raise MigrationError(
                "the script used a second connection (db.session) and waited for a lock that may be held by its own"
                f" migration: {statement[:80]}",
                "run the statement on the connection of the revision:",
                'op.get_bind().execute(sa.text("..."))',
            ) from error

    with listening(database.adapter.engine, {"begin": begin, "handle_error": on_error}):
        yield


def is_lock_timeout(database: Database, error: BaseException | None) -> bool:
    """Return True for the error of a statement that waited too long for a lock."""
    return isinstance(error, DBAPIError) and database.adapter.is_lock_timeout(error)


def lock_timeout_error(
    database: Database, retry: RetryPolicy, again: str, statement: str | None = None
) -> MigrationError:
    """Return the error after the last try: which sessions hold the locks, and how to end them.

    If that is not known, ``again`` is the command to run later, unless ``statement`` waits for its own session.
    """
    adapter, connection = database.adapter, database.connection
    who, end = adapter.blockers(connection)
    if not who and adapter.waits_for_itself(connection, statement or ""):
        return MigrationError(
            f"no other session holds a lock: this statement waits for its own transaction: {statement}",
            "run the statement outside the revision's transaction:",
            "with op.get_context().autocommit_block():",
        )
    way_out = ("wait for them, or end that session:", end) if end else ("run it again later:", again)
    return MigrationError(
        f"other sessions hold a lock that this needs ({who or 'which session is not known'});"
        f" gave up after {retry.tries} tries of {retry.seconds:g} seconds.",
        *way_out,
    )
