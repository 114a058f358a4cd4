"""Stops a run if a script ends its transaction, which only Alembic may do, or if the run loses its lock."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from threading import get_ident
from typing import Any

from alembic import context as alembic_context
from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.util import CommandError
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from .adapters.base import Lock, in_batches, listening
from .database import Database
from .errors import MigrationError, UnsafeError, counted

ENDS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?P<verb>COMMIT|END|ROLLBACK|ABORT)(?:\s+(?:WORK|TRANSACTION))?"
    r"(?:\s+AND\s+(?:NO\s+)?CHAIN)?\s*(?:;|$)",
    re.IGNORECASE | re.DOTALL,
)


class Ended(Enum):
    """The ways in which a script ends its transaction, in words."""

    POSTPONED_COMMIT = "commit()"
    COMMIT = "a commit"
    ROLLBACK = "a rollback"


class StepConnection(Connection):
    """The connection that scripts run on. While a script runs, only Alembic may commit or close it."""

    watch: "StepTransaction | None" = None

    def commit(self) -> None:
        """Commit. If a script calls this, do not commit, and raise UnsafeError at the script's next statement.

        An autocommit block may follow, because it commits by itself. On MySQL and MariaDB, and inside such a block,
        commit as usual.
        """
        if self.watch is None or not self.watch.postpones_commit():
            super().commit()

    def close(self) -> None:
        """Close the connection. Raise MigrationError if a script calls this outside an autocommit block."""
        if self.watch is not None:
            self.watch.require_no_script("closes")
        super().close()

    def invalidate(self, exception: BaseException | None = None) -> None:
        """Invalidate the connection. Raise MigrationError if a script calls this outside an autocommit block.

        SQLAlchemy itself calls this with ``exception``, when it finds that the connection is lost.
        """
        if self.watch is not None and exception is None:
            self.watch.require_no_script("invalidates")
        super().invalidate(exception)


class StepTransaction:
    """A watch on each step's transaction. It raises MigrationError if a script ends that, or if the ``lock`` is lost.

    Alembic does not notice that a script ended it: SQLAlchemy begins another transaction, which is never committed.
    """

    def __init__(self, database: Database, lock: Lock, again: str) -> None:
        assert isinstance(database.connection, StepConnection)
        self.database = database
        self.adapter = database.adapter
        self.connection = database.connection
        self.lock = lock
        self.again = again
        """The command that runs the steps, such as "upgrade"."""
        self.step: RevisionStep | None = None
        self.begun = False
        """Whether a step has begun, so that there is something to roll back."""
        self.error: MigrationError | None = None
        self.part_committed = False
        """True if an autocommit block has committed the first part of the step, so that the step cannot be retried."""
        self.committed: set[str] | None = None
        """The revisions that the database was at when a step was last committed; None before the first commit."""
        self.remains: list[str] = []
        """Sentences about what else remains of the failed step; empty if all of that was rolled back, or will be."""
        self.commits_each = False
        """Whether each step is committed before the next one begins."""
        self.backfills: list[tuple[str, int]] = []
        """The backfills that the step has begun: the table, and how many rows are committed."""
        self.has_positions: bool | None = None
        """Whether the database has the table of the positions of backfills; None if that is not known yet."""

        self._ended: Ended | None = None
        """How the script has ended its transaction; its next statement raises an error that says so."""
        self._in_block = False
        """Whether an autocommit block is open."""
        self._open = False
        """Whether the driver's transaction is open, as far as is known."""
        self._used = False
        """Whether the open transaction may have changes of the script, which a rollback would lose."""
        self._heads: set[str] | None = None
        self._committed_elsewhere = False
        self._thread = get_ident()

    def steps(self, steps: Iterable[MigrationStep], context: MigrationContext) -> Iterator[MigrationStep]:
        """Yield each of ``steps`` to Alembic, which runs its script, and watch the script until done() is called.

        Raise MigrationError before the first and after the last step if the lock is lost.
        """
        self.commits_each = not self.adapter.reruns or bool(context.opts.get("transaction_per_migration"))
        self.require_lock()
        for step in steps:
            self._note_commit()
            self.begun = True
            self.step = step if isinstance(step, RevisionStep) else None
            self._used, self._ended = False, None
            self.backfills.clear()
            yield step
        self._note_commit()
        self.require_lock()

    def done(self, heads: set[str], **_version: Any) -> None:
        """Stop watching the step that has run. If its commit comes next, raise MigrationError if the lock is lost."""
        self.step, self._heads = None, set(heads)
        had_block = self.part_committed and self.adapter.reruns
        if self.commits_each or had_block:
            self.require_lock()
        if had_block:  # what follows may be rolled back, but not to the middle of this step
            with alembic_context.get_context().autocommit_block():
                pass
        self.part_committed = False
        self._committed_elsewhere &= not self.commits_each
        self.remains.clear()
        self.backfills.clear()

    def what_remains(self) -> list[str]:
        """Return sentences about all that remains of the failed step: ``remains``, and what the next run continues."""
        least = "at least the" if self.connection.invalidated else "the"  # it was lost in a batch, maybe in its COMMIT
        done = [
            f"{table} is committed for {least} first {counted(rows, 'row')}" for table, rows in self.backfills if rows
        ]
        line = f"The backfill of {', that of '.join(done)}; the next `flask db {self.again}` continues."
        other = "What the script committed on another connection than op.get_bind() remains."
        return [*self.remains, *([other] if self._committed_elsewhere else []), *([line] if done else [])]

    def _note_commit(self) -> None:
        """Remember where the last step has led: Alembic asks for the next one after its commit, if each commits."""
        if self.commits_each:
            self.committed = self._heads

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside the block, raise MigrationError if a script ends its transaction or closes its connection.

        On MySQL and MariaDB a script may commit, because each DDL statement does so anyway, but not roll back changes.
        Raise MigrationError, too, if Alembic then does not find the row of alembic_version that it has to change.
        """
        listeners: dict[str, Callable[..., None]] = {
            "set_connection_execution_options": self._on_options,
            "begin": self._on_begin,
            "commit": lambda _connection: self._on_end(Ended.COMMIT),
            "rollback": lambda _connection: self._on_end(Ended.ROLLBACK),
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
        }
        self.connection.watch = self
        try:
            with (
                listening(self.connection, listeners),
                listening(self.connection.engine, {"handle_error": self._on_error}),
                listening(Engine, {"commit": self._on_commit}),
            ):
                yield
        except PendingRollbackError as after:  # of the end of an autocommit block, on a connection that was lost before
            if not self.connection.invalidated:
                raise
            error: BaseException = after
            while isinstance(error, PendingRollbackError) and error.__context__ is not None:
                error = error.__context__
            raise error from None
        except CommandError as error:
            if self.step is None or "expected to match one row" not in str(error):
                raise
            self.error = MigrationError(
                f"{self.function} changed the table alembic_version, or another program did: {error}.",
                "remove the statement that changes alembic_version, because Alembic writes to it after each script; or"
                " let no other program migrate this database at the same time. See at which revision the database is:",
                "flask db current",
            )
            raise self.error from error
        finally:
            self.connection.watch = self.step = None

    def postpones_commit(self) -> bool:
        """Return True if the commit() that is being called comes from a script, and remember the call.

        Return False on MySQL and MariaDB, where each DDL statement commits anyway, and inside an autocommit block. Many
        scripts call commit() just before such a block.
        """
        postpones = self.step is not None and not self._in_block and self.adapter.reruns
        if postpones:
            self._ended = self._ended or Ended.POSTPONED_COMMIT
        return postpones

    def require_no_script(self, what: str) -> None:
        """Raise MigrationError if a script is running, and is not inside an autocommit block.

        ``what`` is what the script does with the connection, such as "closes".

        The lock and the undo of a failed revision need that connection.
        """
        if self.step is not None and not self._in_block:
            self.error = MigrationError(
                f"{self.function} {what} its connection, which belongs to Alembic.",
                "remove that line; if the script needs a second connection, open one:",
                "with op.get_bind().engine.connect() as connection:",
            )
            raise self.error

    @property
    def function(self) -> str:
        """Return the name of the function that runs, such as ``upgrade() of revision a1``."""
        assert self.step is not None
        return f"{'upgrade' if self.step.is_upgrade else 'downgrade'}() of revision {self.step.revision.revision}"

    def _on_options(self, _connection: Connection, options: dict[str, Any]) -> None:
        """Remember that an autocommit block begins or ends, both of which commit; forget a commit() just before it.

        Raise UnsafeError if the script has called rollback() before the block.
        """
        if "isolation_level" not in options:
            return
        if self.step is not None and self._ended is Ended.ROLLBACK:
            raise self._refused(self._ended.value)
        self._in_block = options["isolation_level"] == "AUTOCOMMIT"
        self._ended = None
        if self._in_block:
            self.part_committed = True
            batched = in_batches(self.connection)
            if self.adapter.reruns and (self._used or not batched):  # a batch notes what it commits
                end = "before the backfill" if batched else "up to the end of its autocommit block"
                note = f"The failed revision's changes {end} were committed and remain."
                if note not in self.remains:
                    self.remains.append(note)

    def require_lock(self) -> None:
        """Raise MigrationError if the lock is lost."""
        try:
            self.lock.require_held()
        except MigrationError as error:
            self.error = error
            raise

    def _on_commit(self, connection: Connection) -> None:
        """Remember that the script has committed on another connection."""
        if self.step is not None and connection is not self.connection and get_ident() == self._thread:
            self._committed_elsewhere = True

    def _on_begin(self, _connection: Connection) -> None:
        self._open = self._used = False  # the settings that an adapter makes then are not the script's

    def _on_end(self, how: Ended) -> None:
        refused = self.adapter.reruns or (how is Ended.ROLLBACK and self._used)
        self._ended = how if self.step and not self._in_block and refused else None
        self._open = False

    def _before(self, _connection: Connection, _cursor: object, statement: str, *_others: object) -> None:
        if self.step is None or self._in_block:
            return
        if self._ended:
            raise self._refused(self._ended.value, undone=self._ended is not Ended.COMMIT)
        if self._open and not self.adapter.in_transaction(self.connection):
            raise self._refused("through the driver's connection", undone=False)
        found = ENDS.match(statement)
        if found and (self._used or not self.adapter.driver_begins):
            verb = found["verb"].upper()
            if self.adapter.reruns or verb == "ROLLBACK":
                raise self._refused(verb)
        # A statement that commits may be followed by others of the adapter, before _after().
        self._open &= self.adapter.has_changes(statement, self._used)

    def _on_error(self, failure: ExceptionContext) -> None:
        """Remember that the database itself rolled back the transaction, as SQLite does on a full disk."""
        if failure.connection is not self.connection:
            return
        error, adapter = failure.sqlalchemy_exception, self.adapter
        rolled_back = not adapter.reruns and isinstance(error, DBAPIError) and adapter.rolled_back_transaction(error)
        if rolled_back or (self._open and not adapter.in_transaction(self.connection)):
            self._on_end(Ended.ROLLBACK)

    def _after(self, _connection: Connection, _cursor: object, statement: str, *_others: object) -> None:
        if self.step is not None and not self._in_block:
            self._used = self.adapter.has_changes(statement, self._used)
        self._open = self.adapter.in_transaction(self.connection)

    def _refused(self, what: str, undone: bool = True) -> MigrationError:
        assert self.step is not None
        self.error = UnsafeError(
            f"{self.function} ends its transaction ({what}). Only Alembic may end it:"
            " it commits the changes together with the new revision.",
            "remove that line; for a statement that must run outside the transaction, or be committed first, use an"
            " autocommit block:",
            "with op.get_context().autocommit_block():",
            "    op.execute(...)",
        )
        if not undone:
            self.remains.append("Earlier changes of the script may have been committed.")
        return self.error
