"""The way back to a backup."""

from pathlib import Path

from sqlalchemy.exc import DBAPIError

from ..console import add_to, reported
from ..database import Database
from ..errors import MigrationError
from ..lock import locked
from ..lock_waits import is_lock_timeout, lock_timeout_error
from ..remedies import relative
from ..retry import RetryPolicy
from ..settings import Settings
from .client_programs import LockTimeOutError, ToolError
from .files import Backups, heads_in_name, restore_line


def restore(backups: Backups, database: Database, using: Settings, file: Path) -> None:
    """Make the database what ``file`` has, after a backup of what is there. ``file`` is verified already.

    Where another restore was broken off, what is there is no state to come back to. Raises MigrationError, with a
    note that names the backup of the state before, if it fails half-way; one that changed nothing leaves none.
    """
    adapter, connection = database.adapter, database.connection
    with locked(database, using.lock_wait):
        broken = adapter.broken_restore(connection)
        before = None if broken else backups.make(connection, database.heads(), using.retry)
        try:
            with reported(f"Restoring {relative(file)}"):
                _load(database, using.retry, file)
        except BaseException as error:
            if _changed_nothing(database, error):
                add_to(error, "Nothing was changed.")
                if before:
                    before.unlink()
            elif before:
                add_to(error, f"The state before the restore:\n    {restore_line(before)}")
            raise
        if before:
            backups.prune(file, before)


def _load(database: Database, retry: RetryPolicy, file: Path) -> None:
    """Try again where others hold a lock; an adapter that cannot run the whole again does so with each statement."""

    def has_waited(error: Exception) -> bool:
        return isinstance(error, LockTimeOutError) or is_lock_timeout(database, error)

    adapter, connection = database.adapter, database.connection
    tries = retry if adapter.reruns else RetryPolicy(retry.seconds, 1)
    try:
        tries.call(lambda: adapter.load(connection, file, retry), has_waited)
    except (LockTimeOutError, DBAPIError) as error:
        if not has_waited(error):
            raise
        connection.rollback()
        raise lock_timeout_error(database, retry, restore_line(file)) from error


def _changed_nothing(database: Database, error: BaseException) -> bool:
    """Whether it is sure that the database is as it was: what a lost connection did last, nobody knows."""
    if not isinstance(error, MigrationError) or (isinstance(error, ToolError) and error.lost_connection):
        return False
    try:
        return not database.adapter.broken_restore(database.connection)
    except DBAPIError:  # nobody is there to ask
        return False


def require_revision(file: Path, wanted: str, heads: tuple[str, ...]) -> None:
    """Raise MigrationError unless the database says after the restore of ``file`` what its name says."""
    found = heads_in_name(heads)
    if found != wanted:
        raise MigrationError(
            f"after the restore of {relative(file)} the database says that it is at {found}, not {wanted}.",
            "see whether that is the database that you mean:",
            "flask db status",
        )
