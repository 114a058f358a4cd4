"""The recording of each statement of an upgrade or downgrade in the journal, and the undo of a revision that fails."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ...console import StepDone, log
from ...errors import LostLockError, summary
from ..base import in_autocommit_block, in_batches, listening
from .catalog import heads_as_text
from .journal import Journal
from .session import Execute
from .undo import undo


@contextmanager
def journaled(connection: Connection, execute: Execute, remains: list[str]) -> Iterator[StepDone]:
    """Record in a journal what statements on ``connection`` change; if the body raises, undo the unfinished revision.

    Yield the function to call with the new heads when a revision is done. ``execute`` runs the journal's own SQL.
    Add to ``remains`` a sentence for each change that could not be undone.
    """
    _read_committed(connection)
    journal = Journal(execute)
    connection.rollback()
    with _watched(connection, journal):
        try:
            yield journal.step_done
        except BaseException as error:
            journal.stop()
            _undo(connection, journal, error, remains)
            raise
        journal.stop()
        journal.entries.discard()


def _read_committed(connection: Connection) -> None:
    """Set the isolation level READ COMMITTED, so that copying a table does not lock its rows.

    Leave it unchanged if the binary log has the format STATEMENT: the server would refuse writes (error 1665).
    """
    found = connection.execute(text("SHOW VARIABLES WHERE variable_name IN ('log_bin', 'binlog_format')"))
    settings = {value for _, value in found}
    connection.rollback()
    if settings != {"ON", "STATEMENT"}:
        connection.execution_options(isolation_level="READ COMMITTED")


@contextmanager
def _watched(connection: Connection, journal: Journal) -> Iterator[None]:
    """Call the methods of ``journal`` at each statement, commit and rollback on ``connection``, but not in batches."""

    def before(_connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
        # What the driver gets has parameters, and therefore each % twice.
        if not in_batches(connection):
            journal.before(statement.replace("%%", "%"), in_autocommit_block(connection))

    def after(*_args: Any) -> None:
        if not in_batches(connection):
            journal.after()

    def commit(_connection: Connection) -> None:
        journal.committing()

    def rollback(_connection: Connection) -> None:
        journal.rolling_back()

    listeners: dict[str, Callable[..., None]] = {
        "rollback": rollback,
        "before_cursor_execute": before,
        "after_cursor_execute": after,
        "commit": commit,
    }
    with listening(connection, listeners):
        yield


def _undo(connection: Connection, journal: Journal, error: BaseException, remains: list[str]) -> None:
    """Undo the revision that failed with ``error``, and add to ``remains`` what could not be undone.

    If the connection is lost, or the undo fails, add that the next upgrade or downgrade undoes the revision; but not if
    the journal has nothing to undo, as in a backfill. Raise LostLockError if the lock is lost: then its new owner
    undoes the revision.
    """

    def add_rest(reason: str = "") -> None:
        left = "The changes of the failed revision remain in the database; the next upgrade or downgrade rolls them"
        remains.extend([f"{left} back.{reason}"] if journal.has_changes else [])

    if connection.invalidated:
        # Another session could overtake the last statement, for the server may still be running that.
        add_rest()
        return
    try:
        connection.rollback()
        journal.fail()
        # Not those of the journal: a revision that was done may have been rolled back before it was committed.
        outcome = undo(journal.execute, heads_as_text(journal.execute))
    except LostLockError as lost:
        add_rest()
        raise lost from error
    except DBAPIError as failure:
        add_rest(f" Rolling them back now failed: {summary(failure)}")
        return
    lines = outcome.lines()
    if outcome.restored:
        whole = "" if lines else "; the database is as it was before this revision"
        log.info("Rolled back: %s%s", ", ".join(outcome.restored), whole)
    remains += lines
