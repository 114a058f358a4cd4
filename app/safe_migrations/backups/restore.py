"""The restore of a backup: it backs up the present state, replaces the database and retries after lock time-outs."""

from pathlib import Path

from sqlalchemy.exc import DBAPIError

from ..adapters.client_programs import LockTimeOutError, ToolError
from ..console import add_to, log, reported
from ..database import Database
from ..errors import DamagedError, MigrationError, relative
from ..lock import locked
from ..lock_waits import is_lock_timeout, lock_timeout_error
from ..retry import RetryPolicy
from .files import Backups, remove, restore_line


def restore(backups: Backups, database: Database, file: Path) -> None:
    """Back up the present state, then replace everything in the database with the backup ``file``.

    The caller must have verified ``file``. The present state is not backed up if an earlier restore was interrupted,
    which left the database incomplete. A damaged SQLite database cannot be: its file stays under another name. If the
    restore fails, raise its error, with a note that says that the database was not changed, or that has the command
    that restores the previous state, if that was backed up.
    """
    adapter, connection, using = database.adapter, database.connection, backups.using
    with locked(database, using.lock_wait) as lock:
        broken = adapter.broken_restore(connection)
        before, damaged = None, ""
        try:
            before = None if broken else backups.make(database, lock)
        except DamagedError as error:
            damaged = error.what
        if damaged:  # behind the handler: an error of the replacement is not to be explained by the damage
            aside = adapter.replace_damaged(connection, file)
            log.warning("%s Its file is %s now; restart the app if it has that open", damaged, relative(aside))
            return
        try:
            with reported(f"Restoring {relative(file)}"):
                _load(database, using.retry, file)
        except BaseException as error:
            if _changed_nothing(database, error):
                add_to(error, "The database was not changed.")
                if before:
                    remove(before, "the restore changed nothing")
            elif before:
                add_to(error, f"To return to the state before this restore:\n    {restore_line(before)}")
            raise
        if before:
            backups.prune(file, before)


def _load(database: Database, retry: RetryPolicy, file: Path) -> None:
    """Replace the database with the backup ``file``. Raise MigrationError if the last retry ends in a lock time-out.

    The whole load is retried, except on MySQL and MariaDB, whose adapter retries each statement by itself.
    """

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
    """Return True if a restore that failed with ``error`` certainly changed nothing; False if that is unknown."""
    if not isinstance(error, MigrationError) or (isinstance(error, ToolError) and error.lost_connection):
        return False
    try:
        return not database.adapter.broken_restore(database.connection)
    except DBAPIError:  # the server cannot be asked
        return False
