"""What stands around the steps of a run: a journal of each statement, and the undo if one fails."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, text
from sqlalchemy.exc import DBAPIError

from ...console import StepDone, add_to, log
from ...errors import summary
from ..base import OWN_TABLES, in_autocommit_block, listening, own_session
from .journal import Journal
from .session import Execute, change_settings, executing, plain
from .undo import undo


@contextmanager
def journaled(connection: Connection, execute: Execute) -> Iterator[StepDone]:
    """Keep a journal of what runs on ``connection``, as ``execute`` does; undo if the body raises.

    What it gives is to be called when a step is done.
    """
    with _beside(connection.engine) as beside:
        _read_committed(connection)
        journal = Journal(execute, beside)
        connection.rollback()
        with _watched(connection, journal), _hidden(connection.dialect):
            try:
                yield journal.step_done
            except BaseException as error:
                journal.stop()
                _undo(connection, journal, error)
                raise
            journal.stop()
            journal.entries.discard()


@contextmanager
def _beside(engine: Engine) -> Iterator[Execute]:
    """A session of its own, opened when it is needed, that sees what is committed."""
    with ExitStack() as stack:
        opened: list[Execute] = []

        def execute(sql: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
            if not opened:
                connection = stack.enter_context(own_session(engine))
                connection.execute(text("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"))
                opened.append(executing(connection))
                change_settings(opened[0], plain(opened[0]))
            return opened[0](sql, parameters)

        yield execute


def _read_committed(connection: Connection) -> None:
    """The journal compares rows with a table that is newer than the transaction; and changes lock fewer rows.

    A server that writes statements into its binary log does not allow it (error 1665).
    """
    found = connection.execute(text("SHOW VARIABLES WHERE variable_name IN ('log_bin', 'binlog_format')"))
    settings = {value for _, value in found}
    connection.rollback()
    if settings != {"ON", "STATEMENT"}:
        connection.execution_options(isolation_level="READ COMMITTED")


@contextmanager
def _watched(connection: Connection, journal: Journal) -> Iterator[None]:
    """Show the journal each statement of the steps, and what ends a transaction otherwise."""

    def before(_connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
        # What the driver gets has parameters, and therefore each % twice.
        journal.before(statement.replace("%%", "%"), in_autocommit_block(connection))

    def after(_connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
        journal.after(statement)

    def commit(_connection: Connection) -> None:
        journal.committing()

    def rollback(_connection: Connection) -> None:
        journal.commit_last_step()

    listeners: dict[str, Callable[..., None]] = {
        "rollback": rollback,
        "before_cursor_execute": before,
        "after_cursor_execute": after,
        "commit": commit,
    }
    with listening(connection, listeners):
        yield


@contextmanager
def _hidden(dialect: Dialect) -> Iterator[None]:
    """Let inspectors list no table of the run's: a script may go on to change each that is listed."""
    listed = dialect.get_table_names

    def others(*args: Any, **options: Any) -> list[str]:
        return [name for name in listed(*args, **options) if not name.startswith(OWN_TABLES)]

    vars(dialect)["get_table_names"] = others
    try:
        yield
    finally:
        del vars(dialect)["get_table_names"]


def _undo(connection: Connection, journal: Journal, error: BaseException) -> None:
    """After ``error``: undo, and add to it what could not be undone."""
    left = "What it had done is still there; the next run undoes it."
    if connection.invalidated:
        # Another session could overtake the last statement, for the server may still be running that.
        add_to(error, left)
        return
    try:
        connection.rollback()
        journal.fail()
        outcome = undo(journal.execute, journal.entries.heads)
    except DBAPIError as failure:
        add_to(error, f"{left} ({summary(failure)})")
        return
    if outcome.restored:
        log.info("Undone: %s", ", ".join(outcome.restored))
    for line in outcome.lines():
        add_to(error, line)
