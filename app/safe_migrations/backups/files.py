"""Backup files: how they are written, named, verified, listed and pruned."""

import hashlib
import os
import re
import shlex
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flask import current_app
from sqlalchemy import URL

from ..adapters import Adapter
from ..adapters.base import Lock, kept_alive, not_whole
from ..adapters.client_programs import ToolError, sigterm_interrupts
from ..backfill import unfinished
from ..binds import folders, name_of_bind
from ..console import log, reported
from ..database import Database, heads_in_words, location
from ..errors import DamagedError, MigrationError, masked, no_right, relative, size_in_words, time_in_words
from ..folder import folder
from ..plan import Plan, again
from ..settings import Settings
from .external import SUFFIX, create, id_and_program, is_external, unlist

PARTIAL = ".partial"
# Marks in names: made by `flask db backup`; made while a backfill had changed some rows.
BY_HAND, UNFINISHED = "-by-hand", "-unfinished"
# revision_in_name() leaves no dash in a revision.
NAME = re.compile(
    rf"(?P<database>.+)-(?P<begun>\d{{8}}T\d{{9}}Z)-(?P<revision>[^-]+)(?P<mark>{BY_HAND}|{UNFINISHED}|)"
    r"-(?P<sum>[0-9a-f]{8})(?P<suffix>\.[a-z.]+)"
)


def name_of(url: URL) -> str:
    """Return a unique name for the database: its own name and a hash of its address, e.g. ``app_1a2b3c4d``."""
    letters = re.sub(r"\W+", "_", (url.database or "").rpartition("/")[2].removesuffix(".db"), flags=re.ASCII)
    return f"{letters.strip('_')[:24] or 'database'}_{hashlib.sha256(location(url).encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Backups:
    """The backup files of one database, ``NAME-UTC-REVISION[-MARK]-CHECKSUM.SUFFIX`` in MIGRATION_BACKUP_DIR.

    prune(), called after an upgrade, a downgrade or a restore, leaves MIGRATION_BACKUP_KEEP automatic backups, and all
    that ``flask db backup`` made (by hand). If there is a MIGRATION_BACKUP_COMMAND, its program makes restore points
    instead of dumps; a file then only lists one (external.py).
    """

    adapter: Adapter
    using: Settings

    @property
    def name(self) -> str:
        """Return the NAME with which the backup files of this database begin, e.g. ``app_1a2b3c4d``."""
        return name_of(self.adapter.engine.url)

    def found(self) -> list[Path]:
        """Return the backup files of this database, newest first; an empty list if the folder does not exist.

        Raise MigrationError if this user may not read the folder.
        """
        folder = self.using.backup_folder
        try:
            named = {file: NAME.fullmatch(file.name) for file in folder.iterdir()} if folder.is_dir() else {}
        except PermissionError as error:
            raise no_right("read", folder) from error
        ours = [(self.name, suffix) for suffix in (self.adapter.suffix, SUFFIX)]
        matching = (file for file, name in named.items() if name and name.group("database", "suffix") in ours)
        return sorted(matching, reverse=True)

    def newest(self) -> Path | None:
        """Return the newest backup file, or None if the database has no backup."""
        return next(iter(self.found()), None)

    def make(self, database: Database, lock: Lock, by_hand: bool = False) -> Path:
        """Write a backup, verify it, and return its path. The caller must hold ``lock``, that of the database.

        Raise DamagedError if that fails because the database itself is damaged.
        """
        try:
            return self._make(database, lock, by_hand)
        except Exception as error:
            full = isinstance(error.__cause__, OSError)  # of the disk for the backup; to read the database takes time
            damage = "" if full else self.adapter.damage(database.connection)
            if not damage:
                raise
            raise self.damaged(damage) from error

    def damaged(self, damage: str) -> DamagedError:
        """Return the error about a database with this ``damage``, with the line that restores the newest backup."""
        newest, file = self.newest(), shlex.quote(self.adapter.engine.url.database or "")
        return DamagedError(
            f"the database {masked(self.adapter.engine.url)} is damaged: {damage}.",
            "restore a backup (list: `flask db backups`), which keeps the damaged file under another name:"
            if newest
            else "check the path in DATABASE_URL; there is no backup; save what SQLite can still read:",
            restore_line(newest) if newest else f"sqlite3 {file} .recover > recovered.sql",
        )

    def _make(self, database: Database, lock: Lock, by_hand: bool) -> Path:
        """Write a backup, verify it, and return its path.

        ``by_hand`` marks a backup as one of ``flask db backup``, which is never pruned. An automatic one that is made
        while a backfill is half-done is marked, so that prune() deletes it before those of whole states. If the backup
        fails, delete the partial file and raise MigrationError. SIGTERM raises KeyboardInterrupt, which ends the
        programs that run.
        """
        folder, command, heads = self.using.backup_folder, self.using.backup_command, database.heads()
        now, suffix = datetime.now(UTC), SUFFIX if command else self.adapter.suffix
        stamp = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}Z"
        with database.read() as connection:
            mark = BY_HAND if by_hand else UNFINISHED if unfinished(connection) else ""
        start = f"{self.name}-{stamp}-{revision_in_name(heads)}{mark}"
        partial = folder / f"{start}{suffix}{PARTIAL}"
        with sigterm_interrupts(), private(partial), writing(folder):
            self._remove_partial(but=partial)
            if command:
                with kept_alive(database.connection):
                    create(command, self.adapter.engine.url, partial, lock.require_held)
                checksum = _checksum(partial)
            else:
                checksum = self._dump(database, partial)
            _sync(partial)
            file = folder / f"{start}-{checksum}{suffix}"
            partial.rename(file)
            os.utime(file)  # _cost() reads when the backup was complete, not when it was last written to
        if not command:
            log.info("Wrote backup %s, %s", relative(file), size_in_words(file.stat().st_size))
        return file

    def _dump(self, database: Database, file: Path) -> str:
        """Dump the database to ``file``, verify that, and return its checksum."""
        last = next((other for other in self.found() if not is_external(other)), None)
        log.info("Backing up %s%s", self._size(database), f"; the last backup {_cost(last)}" if last else "")
        with reported(f"Backing up to {relative(file.parent)}", file, last.stat().st_size if last else 0):
            self.adapter.dump(database.connection, file, self.using.retry)
        with reported("Verifying the backup"), ThreadPoolExecutor() as other:
            # Read twice in parallel: zlib and the programs release the interpreter.
            checksum = other.submit(_checksum, file)
            self.adapter.verify(database.connection, file)
        return checksum.result()

    def _size(self, database: Database) -> str:
        with database.read() as connection:
            return size_in_words(self.adapter.size(connection))

    def verify(self, database: Database, file: Path) -> None:
        """Raise MigrationError if the backup ``file`` is damaged, incomplete, or does not have the name of a backup.

        Accept a backup of another database of the same product, and log that it is one; but raise MigrationError if
        another folder of this app manages that database.
        """
        product, _ = database.product_and_version
        found = NAME.fullmatch(file.name)
        if found is not None and found["database"] != self.name:
            _require_of_no_other_bind(file, found["database"])
        if found is None or found["suffix"] != self.adapter.suffix:
            raise not_whole(file, product, f"its name is not NAME-UTC-REVISION-CHECKSUM{self.adapter.suffix}")
        with kept_alive(database.connection):
            checksum = _checksum(file)
        if checksum != found["sum"]:
            raise not_whole(file, product, "its content does not match the checksum in its name")
        self.adapter.verify(database.connection, file)
        if found["database"] != self.name:
            log.info("%s is a backup of another database, %s", relative(file), found["database"])

    def prune(self, *spared: Path) -> None:
        """Delete the oldest automatic backups until MIGRATION_BACKUP_KEEP are left, but never the files ``spared``.

        If failed attempts left several backups of one revision, all but the newest of them are deleted first; one made
        half-way in a backfill does not count as the newest. Call this only after a command that succeeded.
        """
        automatic, keep = self._automatic(), self.using.backup_keep
        newest = {_part(file, "revision"): file for file in reversed(automatic) if _part(file, "mark") != UNFINISHED}
        # A stable sort: newest first among equals.
        automatic.sort(key=lambda file: newest.get(_part(file, "revision")) != file)
        for file in automatic[keep:]:
            if not any(other.exists() and file.samefile(other) for other in spared):
                remove(file, f"only {keep} automatic backups are kept (MIGRATION_BACKUP_KEEP)")

    def drop_repeated(self, file: Path) -> None:
        """Delete ``file``, the backup of a run that was rolled back, if an earlier one has the same revision.

        Backups by hand do not count. A run that fails repeatedly would otherwise fill the disk. The backup of the first
        attempt stays, because later attempts may have committed changes.
        """
        revision = _part(file, "revision")
        earlier = (other for other in self._automatic() if other.name < file.name)
        if before := next((other for other in earlier if _part(other, "revision") == revision), None):
            remove(file, f"the run was rolled back, and the backup {before.name} has the same revision")

    def _automatic(self) -> list[Path]:
        return [file for file in self.found() if not is_by_hand(file)]

    def _remove_partial(self, but: Path) -> None:
        """Delete the unfinished backup files of killed runs, except ``but``, which is being written."""
        # SQLite's journals too; no other command writes a backup while this one holds the lock.
        for file in self.using.backup_folder.glob(f"{self.name}-*{PARTIAL}*"):
            if file != but:
                file.unlink()


def _require_of_no_other_bind(file: Path, name: str) -> None:
    """Raise MigrationError if ``name``, in the name of a backup, is that of another database of this app."""
    engines = current_app.extensions["migrate"].db.engines
    for each in folders() if len(engines) > 1 else ():
        if each.bind != folder().bind and name_of(engines[each.bind].url) == name:
            raise MigrationError(
                f"{relative(file)} is a backup of the {name_of_bind(each.bind)}, not of the"
                f" {name_of_bind(folder().bind)}.",
                "restore it there:",
                f"flask db -d {shlex.quote(relative(each.path))} restore {shlex.quote(relative(file))}",
            )


def before_steps(backups: Backups, database: Database, lock: Lock, plan: Plan) -> Path:
    """Make a backup before the steps of ``plan`` run, and return its path.

    Raise MigrationError if the backup fails. If a program such as pg_dump failed, the error also shows the command that
    runs ``plan`` without a backup.
    """
    try:
        return backups.make(database, lock)
    except ToolError as error:
        raise MigrationError(
            error.what,
            f"{error.remedy.rstrip('.:')}; or, if you have a backup of your own, go on without one:",
            *error.lines,
            again(plan.command, backup="never"),
        ) from error


def is_by_hand(file: Path) -> bool:
    """Return True if ``flask db backup`` made the backup ``file``, rather than an upgrade, a downgrade or a restore."""
    return _part(file, "mark") == BY_HAND


def restore_line(file: Path) -> str:
    """Return the shell command that restores the backup ``file``; or which tool does that, if it is external."""
    if is_external(file):
        return "restore point {}: restore it with the tool that made it, {}".format(*id_and_program(file))
    return f"flask db restore {shlex.quote(relative(file))}"


def revision_in_name(heads: tuple[str, ...]) -> str:
    """Return the heads as a part of a file name, e.g. ``1a2b+3c4d``, or ``base`` if there are none.

    Characters other than letters, digits, dots and plus signs become underscores.
    """
    return re.sub(r"[^\w.+]+", "_", heads_in_words(heads, "+"))


def _cost(file: Path) -> str:
    """Return how long the backup ``file`` took, from the time in its name to that of the file, and its size."""
    found = NAME.fullmatch(file.name)
    assert found is not None
    begun = datetime.strptime(f"{found['begun']}+0000", "%Y%m%dT%H%M%S%fZ%z").timestamp()
    status = file.stat()
    return f"took {time_in_words(max(status.st_mtime - begun, 0))} for {size_in_words(status.st_size)}"


@contextmanager
def private(file: Path) -> Iterator[None]:
    """Create ``file`` empty and with mode 0600, and delete it at the end of the block, unless it was renamed.

    Delete an earlier file of that name first. Raise MigrationError if the file cannot be created.
    """
    try:
        with writing(file.parent):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                file.with_name(file.name + suffix).unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an OSError in the block, which writes a file to ``folder``, into a MigrationError with a fix."""
    try:
        yield
    except OSError as error:
        raise MigrationError(
            f"cannot write to the backup folder {relative(folder)}: {error.strerror or error}.",
            "free space on its disk or correct its permissions, or set another folder (the database was not changed):",
            "export MIGRATION_BACKUP_DIR=/path/of/a/folder",
        ) from error


def _part(file: Path, group: str) -> str:
    """Return the part ``group`` of the name of a backup file; an empty string if the file has no such name."""
    found = NAME.fullmatch(file.name)
    return found[group] if found else ""


def remove(file: Path, reason: str) -> None:
    """Delete the backup ``file``, and log the ``reason``; of an external one, only its entry in the list.

    If that fails, only log a warning.
    """
    try:
        if is_external(file):
            unlist(file, reason)
            return
        file.unlink(missing_ok=True)
    except OSError as error:
        log.warning("Could not remove backup %s: %s", relative(file), error.strerror)
    else:
        log.info("Removed backup %s: %s", relative(file), reason)


def _sync(file: Path) -> None:
    with file.open("rb+") as opened:  # Windows cannot sync a file that is open only for reading
        os.fsync(opened.fileno())


def _checksum(file: Path) -> str:
    """Return the CRC-32 of the file as eight hexadecimal digits; it detects damage, not forgery."""
    found = 0
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            found = zlib.crc32(piece, found)
    return f"{found:08x}"
