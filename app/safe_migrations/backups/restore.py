"""The restore of a backup."""

from pathlib import Path

from sqlalchemy.exc import DBAPIError

from ..adapters.client_programs import LockTimeOutError, ToolError
from ..console import add_to, reported
from ..database import Database
from ..errors import MigrationError, relative
from ..lock import locked
from ..lock_waits import is_lock_timeout, lock_timeout_error
from ..retry import RetryPolicy
from ..settings import Settings
from .files import Backups, restore_line


def restore(backups: Backups, database: Database, using: Settings, file: Path) -> None:
    """Replace the database with ``file``, which is verified already, after a backup of the present state.

    There is no such backup if another restore was interrupted: then the database is not worth coming back to.
    Raise MigrationError if the restore fails. It has a note that names that backup, or says that nothing was changed;
    in that case the backup is removed.
    """
    adapter, connection = database.adapter, database.connection
    with locked(database, using.lock_wait):
        broken = adapter.broken_restore(connection)
        before = None if broken else backups.make(database, using.retry)
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
    """Load ``file``; retry the whole after a lock time-out, unless the adapter retries each statement by itself."""

    def timed_out(error: Exception) -> bool:
        return isinstance(error, LockTimeOutError) or is_lock_timeout(database, error)

    adapter, connection = database.adapter, database.connection
    tries = retry if adapter.reruns else RetryPolicy(retry.seconds, 1)
    try:
        tries.call(lambda: adapter.load(connection, file, retry), timed_out)
    except (LockTimeOutError, DBAPIError) as error:
        if not timed_out(error):
            raise
        connection.rollback()
        raise lock_timeout_error(database, retry, restore_line(file)) from error


def _changed_nothing(database: Database, error: BaseException) -> bool:
    """Return True if the database is certainly unchanged: not if the connection was lost during a statement."""
    if not isinstance(error, MigrationError) or (isinstance(error, ToolError) and error.lost_connection):
        return False
    try:
        return not database.adapter.broken_restore(database.connection)
    except DBAPIError:  # the server cannot be asked
        return False
