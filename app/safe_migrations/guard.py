"""Runs the command that loaded migrations/env.py, so that `flask db` and `flask_migrate.upgrade()` are equally safe.

In this order: plan the steps, refuse a read-only server, take the lock, undo what a killed run left, plan again if
another command has run steps before the lock was taken, check what the steps require, review them, back up, run them,
verify the result. No lock is taken for a command that does not change the database's revision, or has nothing to do.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationStep
from alembic.script import Script
from alembic.script.revision import RevisionError
from alembic.util import CommandError, to_tuple
from click import get_current_context
from flask import current_app
from sqlalchemy import Engine, Row, StaticPool
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from .autogenerate.directives import autogenerate_options
from .binds import no_folder_error, require_own_database
from .console import Progress, StepDone, add_to, log, log_on_stderr, only_warnings
from .database import Database, app_engine, connected, heads_in_words, models_metadata, name_database
from .errors import HalfDoneError, MigrationError, UnsafeError, masked, relative, summary
from .folder import folder
from .histories.heads import accidental_heads, doubtful_history_refused
from .histories.log_table import edit_error, edited, edits_in_words, readable_entries
from .histories.naming import named_as_written
from .histories.never_ran import never_ran_error
from .lock_waits import is_lock_timeout, limited_lock_waits_of_others, lock_timeout_error
from .plan import (
    Plan,
    again,
    autogenerates,
    changes_revisions,
    compares,
    names_head,
    pending,
    purges,
    rehearses,
    upgrades,
)
from .retry import RetryPolicy
from .settings import Settings, settings
from .transaction import StepConnection, StepTransaction

if TYPE_CHECKING:  # a command that has nothing to do, as most have, does without
    from .adapters import Lock
    from .backups.files import Backups


@doubtful_history_refused()
def run_migrations(engine: Engine | None = None, **options: Any) -> None:
    """Run the `flask db` command that loaded env.py, on the database of ``engine``, by default the app's.

    ``options`` are options of context.configure(); they override those that the app gave Migrate(). Raise SQLAlchemy's
    DBAPIError if the database refuses a connection or a statement, LoginError if it does not answer a login, Alembic's
    CommandError if a revision is unknown, and MigrationError for everything that this package finds: a wrong setting, a
    lock that is held too long, a finding that blocks, a run that cannot be undone. Errors of scripts pass through.
    """
    extension = current_app.extensions["migrate"]
    folder().require_readable()
    engine = engine or app_engine()
    options = autogenerate_options({"target_metadata": models_metadata(), **extension.configure_args, **options})
    name_database(context.config, engine)
    using = settings()
    require_own_database()
    own = {name: value for name, value in options.items() if name.startswith("version_table")}
    extension.configure_args.update(own)  # where env.py alone names them
    with log_on_stderr():
        if context.is_offline_mode():
            from . import backfill  # noqa: F401  # registers op.backfill()

            _run(url=engine.url, literal_binds=True, dialect_opts={"paramstyle": "named"}, **options)
            return
        with connected(engine, StepConnection) as database:
            if changes_revisions():
                _change_revisions(database, using, options)
                return
            context.configure(connection=database.connection, **options)
            if compares():
                _compare(database, options)
                return
            with _options_hidden(engine):
                _run(connection=database.connection, **options)


def _compare(database: Database, options: dict[str, Any]) -> None:
    """Run `check`, `migrate` or `revision`, unless the history or the database does not allow it."""
    if not names_head() and accidental_heads(context.script):
        from .histories.moving import several_heads

        raise several_heads(context.script)
    database.require_whole()
    heads = database.heads()
    logged = _logged(database, heads) if autogenerates() else []
    if not heads:
        _require_adopted(database)
    if error := never_ran_error(logged, context.script, heads):
        raise error
    _run(connection=database.connection, **options)
    if autogenerates():
        _end_comparison(edit_error(edited(logged, context.script, heads)))


def _change_revisions(database: Database, using: Settings, options: dict[str, Any]) -> None:
    """Run `upgrade`, `downgrade` or `stamp`, under the lock if there is anything to do."""
    try:
        plan = pending(database, options)
    except (CommandError, RevisionError) as refused:  # after a rebase, at a revision and at one before it
        if str(refused).startswith("Relative revision -") and not database.heads():
            raise MigrationError(
                "the database is at base already: there is nothing to revert.", "see all revisions:", "flask db history"
            ) from refused
        if "overlaps" in str(refused) and (error := _never_ran_error(database, database.heads())):
            raise error from refused
        raise
    _warn_by_log(plan, database)
    if not plan.steps and not (purges() and plan.heads) and not database.interrupted():
        _run(connection=database.connection, **options)
        log.info("Nothing to do: the database is at %s", heads_in_words(plan.heads))
        return
    from .backups.files import Backups
    from .lock import locked

    if isinstance(database.connection.engine.pool, StaticPool) and get_current_context(silent=True):
        log.warning("The database is in memory, and ends with this command: name a file in DATABASE_URL")
    log.info("Database %s, %s %s", masked(database.connection.engine.url), *database.product_and_version)
    with _nothing_changed(plan):
        database.require_writable(again(plan.command))
    with locked(database, using.lock_wait) as lock:
        backups = Backups(database.adapter, using)
        with _newest_backup_named(backups):
            database.adapter.recover(database.connection, using.retry)
        if set(plan.heads) != set(database.heads()):  # another command has run some of the steps
            plan = pending(database, options)
        with _nothing_changed(plan):
            _require_safe(plan, database, using)
            backup = _backed_up(backups, database, lock, plan)
        transaction = StepTransaction(database, lock, plan.command)
        with _ended(backups, transaction, plan, backup):
            using.retry.call(
                lambda: _run_or_undo(database, transaction, using, options),
                lambda error: _is_rolled_back(transaction, error),
            )


def _require_safe(plan: Plan, database: Database, using: Settings) -> None:
    """Raise MigrationError if a step of ``plan`` must not run, by the history, its requirements or the review."""
    from .backfill import require_continued

    upgraded, downgraded = plan.scripts(upgrade=True), plan.scripts(upgrade=False)
    is_empty = not plan.heads and not database.has_tables()
    if not plan.heads and not is_empty:
        from .histories.unversioned import unversioned_error

        if error := unversioned_error(upgraded, database, plan.recordings):
            raise error
    if upgraded and (error := _never_ran_error(database, plan.heads)):
        raise error
    if any(hasattr(script.module, "requires") for script in (*upgraded, *downgraded)):
        from .requirements import require  # loads packaging

        require(plan, database)
    require_continued({"upgrade": upgraded, "downgrade": downgraded}, database)
    _require_reversible(downgraded)
    _review(plan, database, using, is_empty)


def _require_adopted(database: Database) -> None:
    """Raise MigrationError if the database, which has no revision, has tables that the history creates.

    If there is no history, only warn that one which begins here could not build an empty database.
    """
    if not database.has_tables():
        return
    from .histories.unversioned import not_from_empty_error, unversioned_error
    from .review.recorder import Recordings

    if scripts := upgrades(context.script, "heads", ()):
        if error := unversioned_error(scripts, database, Recordings()):
            raise error
    elif getattr(context.config.cmd_opts, "autogenerate", False) and (found := not_from_empty_error(database)):
        log.warning("%s", found)


@contextmanager
def _options_hidden(engine: Engine) -> Iterator[None]:
    """Inside the block, remove the options after the ``?`` from the engine's URL.

    `flask db current -v` prints the URL, and Alembic hides only the password before the host.
    """
    url, engine.url = engine.url, engine.url.set(query={})
    try:
        yield
    finally:
        engine.url = url


@contextmanager
def _nothing_changed(plan: Plan) -> Iterator[None]:
    """Add "Nothing was changed; the database is still at ..." to an error of the block, if not rehearsing."""
    try:
        yield
    except (MigrationError, DBAPIError, KeyboardInterrupt) as error:
        place = f"Nothing was changed; the database is still at {heads_in_words(plan.heads)}."
        if rehearses():  # on a copy
            raise
        if isinstance(error, MigrationError):
            error.args = (f"{error}\n{place}",)
        else:
            add_to(error, place)
        raise


@contextmanager
def _newest_backup_named(backups: "Backups") -> Iterator[None]:
    """If the block leaves changes that could not be undone, add to its error how to restore the newest backup."""
    try:
        yield
    except HalfDoneError as error:
        with suppress(MigrationError):  # of a folder that cannot be read
            if newest := backups.newest():
                _name_backup(error, newest)
        raise


def _name_backup(error: BaseException, backup: Path) -> None:
    from .backups.files import restore_line

    add_to(error, f"To restore the last backup, which deletes what was written since:\n    {restore_line(backup)}")


@contextmanager
def _ended(backups: "Backups", transaction: StepTransaction, plan: Plan, backup: Path | None) -> Iterator[None]:
    """Tidy the backups after the run in this block. Add to the error of a failed run where the database is.

    Add also what remains of the failed revision, and then how to restore ``backup``, the file that the run itself has
    written, or None. ``plan`` is what the run does. After a success, delete old backups. After a rollback of the whole
    run, delete ``backup`` if an earlier one has the same revision. SystemExit, which a script may raise, counts as a
    failure. The notes that a script gives its error say nothing about the database: here they only stay.
    """
    from .backfill import drop_positions

    database = transaction.database
    try:
        yield
    except BaseException as error:
        half_done = bool(transaction.what_remains()) or isinstance(error, HalfDoneError)
        with suppress(SQLAlchemyError):  # of a connection that is lost: then it is not known what remains
            if not database.connection.invalidated:
                database.connection.rollback()
                now = database.heads()
                undone = "" if half_done else "failed revision"
                if undone and set(plan.heads) == set(now):
                    undone = "whole run" if len(plan.steps) > 1 else undone
                    if backup:
                        backups.drop_repeated(backup)
                if not rehearses():  # on a copy, whose place says nothing
                    start = f"The {undone} was rolled back; the" if undone and transaction.begun else "The"
                    add_to(error, f"{start} database is at {heads_in_words(now)}.")
                drop_positions(transaction)
        for line in [] if rehearses() else transaction.what_remains():
            add_to(error, line)
        if half_done and backup:
            _name_backup(error, backup)
        if database.connection.invalidated and not rehearses():
            known = heads_in_words(plan.heads if transaction.committed is None else transaction.committed)
            add_to(error, f"Before the connection was lost, the database was at {known}.")
        raise
    drop_positions(transaction)
    if backup:
        backups.prune()


def _end_comparison(edit: MigrationError | None) -> None:
    """Raise an error if `check` finds no differences, but a bind without a folder, or ``edit``, of an edited script.

    Only log it if `check` fails anyway, or if `flask db migrate` or `revision --autogenerate` runs.
    """
    compared = context.get_context().opts["revision_context"]
    errors = [each for each in (no_folder_error(), edit) if each]
    generates = getattr(compared.config.cmd_opts, "autogenerate", False)
    changes = [each for script in compared.generated_revisions for each in script.upgrade_ops_list]
    if errors and not generates and all(change.is_empty() for change in changes):
        raise errors.pop()
    for error in errors:
        log.warning("%s", error)


def _warn_by_log(plan: Plan, database: Database) -> None:
    """Log a warning if scripts were edited since they were applied; if there are no steps, also if some never ran."""
    logged = _logged(database, plan.heads)
    if found := edited(logged, context.script, plan.heads):
        log.warning("Edited: %s. See `flask db log`", edits_in_words(found))
    if not plan.steps and (error := never_ran_error(logged, context.script, plan.heads)):
        log.warning("%s", error)


def _never_ran_error(database: Database, heads: tuple[str, ...]) -> MigrationError | None:
    return never_ran_error(_logged(database, heads), context.script, heads)


def _logged(database: Database, heads: tuple[str, ...]) -> list[Row[Any]]:
    """Return the entries of the log, if the user may read them; none in a rehearsal, which runs on a copy."""
    return [] if rehearses() else readable_entries(database, heads)


def _review(plan: Plan, database: Database, using: Settings, is_empty: bool) -> None:
    if using.review == "off":
        return
    from .review.acceptance import accepted

    names = accepted(context.script)
    if is_empty:  # no step can harm the database, and loading the rules takes time
        return
    from .review.losses import warn_of_losses
    from .review.reviewer import require_reviewed

    require_reviewed(plan, database, using.review, using.online, names)
    warn_of_losses(plan, database)


def _require_reversible(scripts: Sequence[Script]) -> None:
    """Raise MigrationError if the downgrade() of one of ``scripts`` only raises an error, before those after it run."""
    if not scripts:  # loading the recorder takes time
        return
    from .review.recorder import irreversible_reason

    for script in scripts:
        if (reason := irreversible_reason(Path(script.path))) is not None:
            file = relative(Path(script.path))
            raise MigrationError(
                ": ".join(filter(None, [f"{file}: the downgrade() of {script.revision} only raises an error", reason])),
                "stay at this revision, or restore a backup that was made before it (list: `flask db backups`);"
                " this line reverts only what comes after it:",
                f"flask db downgrade {script.revision}",
            )


def _backed_up(backups: "Backups", database: Database, lock: "Lock", plan: Plan) -> Path | None:
    """Return the backup before the steps of ``plan``; None if MIGRATION_BACKUP needs none, or no table has rows."""
    mode = backups.using.backup
    if not plan.revision_steps or mode == "never" or not database.has_rows():
        return None
    from .backups.files import before_steps

    if mode == "risky":
        from .review.losses import can_lose  # loads the rules

        if not can_lose(plan, database.facts.product):
            return None
    return before_steps(backups, database, lock, plan)


def _run(**options: Any) -> None:
    if context.is_offline_mode():
        # The command's function that yields the steps can only be read from a configured context: configure one for
        # that, without its log lines, and then again with the function in named_as_written().
        with only_warnings():
            context.configure(**options)
        work = context.get_context().opts["fn"]
        options["fn"] = lambda heads, offline: named_as_written(work(heads, offline), offline)
    context.configure(**options)
    with context.begin_transaction():
        context.run_migrations()


def _run_or_undo(database: Database, transaction: StepTransaction, using: Settings, options: dict[str, Any]) -> None:
    """Run the steps; if one fails, let the adapter undo it where the database does not roll it back."""
    with database.adapter.prepared(database.connection, using.retry, transaction.remains) as step_done:
        _Steps(database, transaction, using, options, step_done).run()


def _is_rolled_back(transaction: StepTransaction, error: Exception) -> bool:
    """Return True if the server rolled back the revision because of a lock, and the adapter undid all the rest."""
    if transaction.remains or transaction.backfills:  # which retries its batches itself
        return False
    return isinstance(error, DBAPIError) and transaction.adapter.rolled_back_transaction(error)


class _Steps:
    """The steps of a command, which run until all are committed.

    After a lock time-out, let other sessions pass, then run the uncommitted steps again. On MySQL and MariaDB the
    adapter retries each statement instead. A step of which an autocommit block has committed a part is not run again.
    """

    def __init__(
        self, database: Database, transaction: StepTransaction, using: Settings, options: dict[str, Any], done: StepDone
    ) -> None:
        from .histories.log_writer import LogWriter

        self.database = database
        self.transaction = transaction
        self.using = using
        self.progress = Progress(done)
        self.writer = LogWriter(database.connection, context.script)
        self.options = self._completed(options)

    def _completed(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options for context.configure() with those of the adapter, and with all that watches the steps."""
        from .backfill import delete_positions

        transaction, writer, work = self.transaction, self.writer, context.get_context().opts["fn"]

        def judge(loss: UnsafeError) -> None:
            from .review.reviewer import require_accepted

            assert transaction.step is not None
            mode = context.get_context().opts.get("rehearsal", self.using.review)
            require_accepted(loss, transaction.step.revision, mode)

        def steps(heads: tuple[str, ...], running: MigrationContext) -> Iterator[MigrationStep]:
            logged = writer.steps(work(heads, running), running)
            return transaction.steps(named_as_written(logged, running), running)

        own = self.database.adapter.options(judge)
        self.is_split = bool(own.get("transaction_per_migration"))
        return {
            **own,
            **options,
            "fn": steps,
            "on_version_apply": (
                writer.on_version_apply,
                partial(delete_positions, transaction),
                *to_tuple(options.get("on_version_apply"), default=()),  # the app's, which belong to the step
                transaction.done,
                self.progress.on_version_apply,
            ),
        }

    def run(self) -> None:
        """Run the steps, and verify where the database is then."""
        retry = self.using.retry
        with self.progress.shown(), limited_lock_waits_of_others(self.database, retry):
            try:
                if purges():  # it deletes all revisions and writes them again
                    retry.call(lambda: self._run_once(transaction_per_migration=False), self._can_run_again)
                elif not self._ran_in_one_transaction():
                    retry.call(self._run_once, self._can_run_again)
            except DBAPIError as error:
                # After a rollback, the caller decides whether to run the revision again.
                if not is_lock_timeout(self.database, error) or self.database.adapter.rolled_back_transaction(error):
                    raise
                tried_once = self.transaction.remains and not self.transaction.backfills
                policy = RetryPolicy(retry.seconds, 1) if tried_once else retry
                line = again(self.transaction.again)
                raise lock_timeout_error(self.database, policy, line, error.statement) from error
        _verify(self.database, self.progress.heads)

    def _run_once(self, **more: Any) -> None:
        connection = self.database.connection
        context.configure(connection=connection, **{**self.options, **more})
        try:
            with self.transaction.watched(), context.begin_transaction():
                self.writer.begin()
                context.run_migrations()
        except DBAPIError:
            connection.rollback()
            raise

    def _can_run_again(self, error: Exception) -> bool:
        reruns = self.database.adapter.reruns and not self.transaction.part_committed
        return reruns and is_lock_timeout(self.database, error)

    def _ran_in_one_transaction(self) -> bool:
        """Run all steps in one transaction if the database has no tables yet. Return True if that succeeded.

        Return False without trying if it has tables, or is not on PostgreSQL. Return False too if a revision after the
        first failed and all were rolled back: one that uses a new enum value, for example, needs that value to be
        committed before.
        """
        if not self.is_split or self.database.has_tables():
            return False
        try:
            self._run_once(transaction_per_migration=False)
        except Exception as error:
            # The first revision alone would fail in the same way.
            is_first = self.progress.heads is None and not self._can_run_again(error)
            if error is self.transaction.error or self.transaction.part_committed or is_first:
                raise
            self.database.connection.rollback()
            log.info("The run was rolled back: %s. Trying again, with a transaction for each revision", summary(error))
            return False
        return True


def _verify(database: Database, expected: set[str] | None) -> None:
    """Raise HalfDoneError if the database is not at the revisions ``expected``; log where it is.

    ``expected`` is None if no step ran. Roll back first, so that only what was committed counts.

    Alembic itself verifies each step only: it counts the rows of alembic_version that it changes.
    """
    database.connection.rollback()  # a transaction that is still open was not committed
    stored = set(database.heads())
    if expected is not None and expected != stored:
        raise HalfDoneError(
            f"the database should be at {heads_in_words(expected)}, but it is at {heads_in_words(stored)}.",
            "find the program or script that also writes to alembic_version; see at which revision the database is:",
            "flask db current",
        )
    log.info("The database is at %s", heads_in_words(stored))
