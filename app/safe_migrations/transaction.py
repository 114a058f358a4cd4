"""The transaction of a step, which only Alembic may end, and the lock, which must last until it is committed."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.engine import ExceptionContext

from .adapters.base import Lock, listening
from .database import Database
from .errors import MigrationError, UnsafeError

ENDS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?P<verb>COMMIT|END|ROLLBACK|ABORT)(?:\s+(?:WORK|TRANSACTION))?\s*(?:;|$)",
    re.IGNORECASE | re.DOTALL,
)


class StepTransaction:
    """Watches the transaction on ``connection``: MigrationError if a script ends it, or if the ``lock`` is lost.

    Alembic would not notice the first: SQLAlchemy begins another transaction, which is never committed.
    """

    def __init__(self, database: Database, lock: Lock) -> None:
        self.adapter = database.adapter
        self.connection = database.connection
        self.lock = lock
        self.step: RevisionStep | None = None
        self.error: MigrationError | None = None
        self.asked = self.open = self.used = self.commits_each = False
        self.ended = ""
        self.block: Callable[[], AbstractContextManager[None]] | None = None

    def steps(self, steps: Iterable[MigrationStep], context: MigrationContext) -> Iterator[MigrationStep]:
        """Yield ``steps``; until done() is called for one, its script runs on the connection.

        Raise MigrationError if the lock is lost, before anything is committed.
        """
        self.commits_each = not self.adapter.reruns or bool(context.opts.get("transaction_per_migration"))
        self._require_lock()
        for step in steps:
            self.step = step if isinstance(step, RevisionStep) else None
            self.asked, self.used, self.ended = False, False, ""
            yield step
        self._require_lock()

    def done(self, **_version: Any) -> None:
        """End the watch of a step that has run. Raise MigrationError if it is committed next and the lock is lost."""
        self.step = None
        if self.commits_each or self.block is not None:
            self._require_lock()
        if self.block is not None:  # what follows may be rolled back, but not to the middle of this step
            with self.block():
                pass
            self.block = None

    @contextmanager
    def watched(self, context: MigrationContext) -> Iterator[None]:
        """Watch what the scripts do while ``context`` runs them, except for the end of the transaction where each DDL
        statement commits anyway.
        """
        own, close, invalidate = vars(self.connection), self.connection.close, self.connection.invalidate

        def closed() -> None:
            self._require_none_running("closes")
            close()

        def invalidated(exception: BaseException | None = None) -> None:
            if exception is None:  # else SQLAlchemy has found it lost
                self._require_none_running("invalidates")
            invalidate(exception)

        own.update(close=closed, invalidate=invalidated)
        try:
            with self._transaction_watched(context) if self.adapter.reruns else nullcontext():
                yield
        except CommandError as error:
            if self.step is None or "expected to match one row" not in str(error):
                raise
            self.error = MigrationError(
                f"{self._way} changed the table alembic_version, or another program did: {error}.",
                "remove that line: the table belongs to Alembic, which records the revision after the script. See where"
                " the database is:",
                "flask db current",
            )
            raise self.error from error
        finally:
            del own["close"], own["invalidate"]
            self.step = None

    def _require_none_running(self, what: str) -> None:
        """Raise MigrationError if a script is running: what undoes it, and the lock, need the connection."""
        if self.step is not None:
            self.error = MigrationError(
                f"{self._way} {what} its connection, which belongs to Alembic.",
                "remove that line; what needs a connection of its own opens one:",
                "with op.get_bind().engine.connect() as connection:",
            )
            raise self.error

    @property
    def _way(self) -> str:
        assert self.step is not None
        return f"{'upgrade' if self.step.is_upgrade else 'downgrade'}() of revision {self.step.revision.revision}"

    @contextmanager
    def _transaction_watched(self, context: MigrationContext) -> Iterator[None]:
        """Watch the transaction while ``context`` runs the scripts."""
        block = context.autocommit_block
        own = vars(self.connection)
        listeners: dict[str, Callable[..., None]] = {
            "begin": lambda _connection: self._on_begin(),
            "commit": lambda _connection: self._on_end("commit"),
            "rollback": lambda _connection: self._on_end("rollback"),
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
        }
        vars(context)["autocommit_block"] = lambda: self._autocommit_block(block)
        own["commit"] = self._commit
        try:
            on_error = {"handle_error": self._on_error}
            with listening(self.connection, listeners), listening(self.connection.engine, on_error):
                yield
        finally:
            del own["commit"]

    @contextmanager
    def _autocommit_block(self, block: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
        """Run Alembic's own block, which ends the transaction and begins another: a commit() before it does no harm."""
        self.asked = False
        step, self.step = self.step, None
        with block():
            yield
        self.step, self.block = step, block

    def _require_lock(self) -> None:
        if not self.lock.is_held():
            self.error = MigrationError(
                "the lock of this database was lost during the run: its session was ended, it was released, or its file"
                " was removed. Another command may have run at the same time.",
                "make sure that no other command is running, then check the database:",
                "flask db status",
            )
            raise self.error

    def _commit(self) -> None:
        """Note a commit(), and wait for what follows: public histories have one before an autocommit block."""
        self.asked = self.step is not None

    def _on_begin(self) -> None:
        self.open = self.used = False  # the settings that an adapter makes then are not the script's

    def _on_end(self, how: str) -> None:
        self.ended = how if self.step else ""
        self.open = False

    def _before(self, _connection: Connection, _cursor: object, statement: str, *_others: object) -> None:
        if self.step is None:
            return
        if self.asked:
            raise self._refused("commit()")
        if self.ended:
            raise self._refused(f"a {self.ended}", self.ended == "rollback")
        if self.open and not self.adapter.in_transaction(self.connection):
            raise self._refused("through the driver's connection", undone=False)
        found = ENDS.match(statement)
        if found and (self.used or not self.adapter.driver_begins):
            raise self._refused(found["verb"].upper())

    def _on_error(self, failure: ExceptionContext) -> None:
        """Note a rollback by the database itself, as SQLite's on a full disk."""
        if failure.connection is self.connection and self.open and not self.adapter.in_transaction(self.connection):
            self._on_end("rollback")

    def _after(self, *_others: object) -> None:
        self.used = True
        self.open = self.adapter.in_transaction(self.connection)

    def _refused(self, what: str, undone: bool = True) -> MigrationError:
        assert self.step is not None
        self.error = UnsafeError(
            f"{self._way} ends its transaction ({what}). Only Alembic may end it:"
            " it commits the changes together with the new revision.",
            "remove that line; what has to run outside a transaction, or be committed first, goes into an autocommit"
            " block:",
            "with op.get_context().autocommit_block():",
            "    op.execute(...)",
        )
        if not undone:
            self.error.add_note("What the script did before that may have been committed.")
        return self.error
