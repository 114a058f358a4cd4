"""The way back to a backup."""

from pathlib import Path

from sqlalchemy import Connection

from app.safe_migrations.backup import Backups, heads_in_name, restore_line
from app.safe_migrations.database import heads_of
from app.safe_migrations.errors import MigrationError
from app.safe_migrations.lock import locked
from app.safe_migrations.progress import add_to, reported
from app.safe_migrations.remedies import relative
from app.safe_migrations.settings import Settings


def restore(backups: Backups, connection: Connection, using: Settings, file: Path) -> None:
    """Make the database what ``file`` has, after a backup of what is there. ``file`` is verified already.

    Where another restore was broken off, what is there is no state to come back to. Raises MigrationError, with a
    note that names the backup of the state before, if it fails half-way.
    """
    adapter = backups.adapter
    with locked(adapter, connection, using.lock_wait):
        broken = adapter.broken_restore(connection)
        before = None if broken else backups.make(connection, heads_of(connection), using.patience)
        try:
            with reported(f"Restoring {relative(file)}"):
                adapter.load(connection, file, using.patience)
        except BaseException as error:
            if before:
                line = f"The state before the restore:\n    {restore_line(before)}"
                add_to(error, line)
            raise
        finally:
            if before:
                backups.prune(file, before)


def require_revision(file: Path, wanted: str, heads: tuple[str, ...]) -> None:
    """Raise MigrationError unless the database says after the restore of ``file`` what its name says."""
    found = heads_in_name(heads)
    if found != wanted:
        raise MigrationError(
            f"after the restore of {relative(file)} the database says that it is at {found}, not {wanted}.",
            "see whether that is the database that you mean:",
            "flask db status",
        )
