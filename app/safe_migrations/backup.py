"""Backups: a file for each run that has steps, written whole or not at all; and the way back."""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import Connection

from app.safe_migrations.adapters import Adapter
from app.safe_migrations.errors import MigrationError
from app.safe_migrations.lock import locked
from app.safe_migrations.patience import Patience
from app.safe_migrations.progress import log
from app.safe_migrations.remedies import relative
from app.safe_migrations.settings import Settings

PARTIAL = ".partial"
# Seconds after which a backup or a restore shows that it goes on.
SHOWN = 2.0


@dataclass(frozen=True)
class Backups:
    """The backups of one database: ``NAME-UTC-REVISION.SUFFIX`` in ``folder``, of which the newest ``keep`` stay."""

    adapter: Adapter
    folder: Path
    keep: int

    @property
    def name(self) -> str:
        """The database's name, as far as file names may hold it."""
        return re.sub(r"[^\w.]+", "_", Path(str(self.adapter.engine.url.database)).stem) or "database"

    def found(self) -> list[Path]:
        """The newest first."""
        form = re.compile(rf"{re.escape(self.name)}-\d{{8}}T\d{{9}}Z-.*{re.escape(self.adapter.suffix)}")
        files = self.folder.iterdir() if self.folder.is_dir() else iter(())
        return sorted((file for file in files if form.fullmatch(file.name)), reverse=True)

    def make(self, connection: Connection, heads: tuple[str, ...], patience: Patience) -> Path:
        """Write one and verify it. Raises MigrationError if that fails; then there is no file. Call it locked."""
        now = datetime.now(UTC)
        revision = "+".join(heads) or "base"
        stamp = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}Z"
        file = self.folder / f"{self.name}-{stamp}-{revision}{self.adapter.suffix}"
        partial = file.with_name(file.name + PARTIAL)
        with private(partial), shown(f"Backing up to {relative(file)}", partial):
            self._remove_partial(but=partial)
            self.adapter.dump(connection, partial, patience)
            self.adapter.verify(connection, partial)
            _synced(partial)
            partial.rename(file)
        log.info("Backup %s, %.1f MB", relative(file), file.stat().st_size / 1e6)
        return file

    def prune(self, spared: Path | None = None) -> None:
        """Delete all but the newest ``keep``, and but for ``spared``."""
        for file in self.found()[self.keep :]:
            if spared is None or not (spared.exists() and file.samefile(spared)):
                file.unlink(missing_ok=True)

    def _remove_partial(self, but: Path) -> None:
        """What a killed run left: we have the lock, so nobody is writing it."""
        for file in self.folder.glob(f"*{self.adapter.suffix}{PARTIAL}"):
            if file != but and file.name.startswith(f"{self.name}-"):
                file.unlink()


def before_steps(backups: Backups, connection: Connection, heads: tuple[str, ...], using: Settings) -> Path | None:
    """The backup before a run, if the settings want one and there are rows to lose."""
    if using.backup == "never" or not backups.adapter.has_rows(connection):
        return None
    try:
        return backups.make(connection, heads, using.patience)
    finally:
        backups.prune()


def restore(backups: Backups, connection: Connection, heads: tuple[str, ...], using: Settings, file: Path) -> None:
    """Make the database what ``file`` has, after a backup of what is there. ``file`` is verified already.

    Raises MigrationError that names the backup of the state before if it fails half-way.
    """
    adapter = backups.adapter
    with locked(adapter, connection, using.lock_wait):
        before = backups.make(connection, heads, using.patience)
        try:
            with shown(f"Restoring {relative(file)}"):
                adapter.load(connection, file, using.patience)
        except Exception as error:
            error.add_note(f"The state before the restore:\n    {restore_line(before)}")
            raise
        finally:
            backups.prune(spared=file)


def restore_line(file: Path) -> str:
    """The command that brings it back."""
    return f"flask db restore {shlex.quote(relative(file))}"


@contextmanager
def private(file: Path) -> Iterator[None]:
    """Make ``file``, for our eyes only, and remove it at the end. Raises MigrationError if it cannot be written."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield
    except OSError as error:
        raise MigrationError(
            f"no backup can be written to {relative(file.parent)}: {error.strerror or error}.",
            "make room or name another folder; nothing was changed:",
            "export MIGRATION_BACKUP_DIR=/path/of/a/folder",
        ) from error
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


@contextmanager
def shown(what: str, file: Path | None = None) -> Iterator[None]:
    """Tell every SHOWN seconds that it goes on, with the size of ``file``."""
    ended = Event()

    def tell() -> None:
        while not ended.wait(SHOWN):
            size = f": {file.stat().st_size / 1e6:.1f} MB" if file is not None and file.exists() else ""
            log.info("%s%s", what, size)

    Thread(target=tell, daemon=True, name="shown").start()
    try:
        yield
    finally:
        ended.set()


def _synced(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
