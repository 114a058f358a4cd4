"""Backups: a file for each run that has steps, written whole or not at all."""

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

from sqlalchemy import URL, Connection

from ..adapters import Adapter
from ..adapters.base import not_whole
from ..console import log, reported
from ..database import Database
from ..errors import MigrationError
from ..plan import Plan
from ..remedies import relative
from ..retry import RetryPolicy
from ..settings import Settings
from .client_programs import ToolError

PARTIAL = ".partial"
# The usual ones, for URLs that name none: they are of the same place.
PORTS = {"mysql": 3306, "mariadb": 3306, "postgresql": 5432}
# A revision has no dash here, as heads_in_name() writes it.
NAME = re.compile(
    r"(?P<database>.+)-\d{8}T\d{9}Z-(?P<revision>[^-]+)(?P<by_hand>-by-hand)?-(?P<sum>[0-9a-f]{8})(?P<suffix>\.[a-z.]+)"
)


def name_of(url: URL) -> str:
    """A name for the database at ``url``, and none other's: letters of its own, and a hash of where it is."""
    place = f"{url.host}:{url.port or PORTS.get(url.get_backend_name())}/{url.database}"
    letters = re.sub(r"\W+", "_", (url.database or "").rpartition("/")[2].removesuffix(".db"), flags=re.ASCII)
    return f"{letters.strip('_')[:24] or 'database'}_{hashlib.sha256(place.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Backups:
    """The backups of one database: ``NAME-UTC-REVISION[-by-hand]-CHECKSUM.SUFFIX`` in ``folder``.

    After a run has succeeded ``keep`` of them stay; those made by hand stay until somebody deletes them.
    """

    adapter: Adapter
    folder: Path
    keep: int

    @property
    def name(self) -> str:
        """How the names of the files begin."""
        return name_of(self.adapter.engine.url)

    def found(self) -> list[Path]:
        """The newest first. Raises MigrationError if the folder is none."""
        require_folder(self.folder)
        files = self.folder.iterdir() if self.folder.exists() else iter(())
        named = {file: NAME.fullmatch(file.name) for file in files}
        ours = [
            file
            for file, name in named.items()
            if name and (name["database"], name["suffix"]) == (self.name, self.adapter.suffix)
        ]
        return sorted(ours, reverse=True)

    def newest(self) -> Path | None:
        """The last one that was made, if there is one. Raises as found() does."""
        return next(iter(self.found()), None)

    def make(self, connection: Connection, heads: tuple[str, ...], retry: RetryPolicy, by_hand: bool = False) -> Path:
        """Write one and verify it. Raises MigrationError if that fails; then there is no file. Call it locked."""
        now = datetime.now(UTC)
        stamp = f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}Z"
        begin = f"{self.name}-{stamp}-{heads_in_name(heads)}{'-by-hand' if by_hand else ''}"
        partial = self.folder / f"{begin}{self.adapter.suffix}{PARTIAL}"
        with private(partial), reported(f"Backing up to {relative(self.folder)}", partial), writing(self.folder):
            self._remove_partial(but=partial)
            self.adapter.dump(connection, partial, retry)
            with ThreadPoolExecutor() as others:  # two read it at once: zlib and the tools release the interpreter
                checksum = others.submit(_checksum, partial)
                self.adapter.verify(connection, partial)
            _sync(partial)
            file = self.folder / f"{begin}-{checksum.result()}{self.adapter.suffix}"
            partial.rename(file)
        log.info("Backup %s, %.1f MB", relative(file), file.stat().st_size / 1e6)
        return file

    def verify(self, connection: Connection, file: Path) -> str:
        """Raise MigrationError unless ``file`` is whole; the revision that it has."""
        product, _ = self.adapter.version(connection)
        found = NAME.fullmatch(file.name)
        if found is None or found["suffix"] != self.adapter.suffix:
            raise not_whole(file, product, f"its name is not NAME-UTC-REVISION-CHECKSUM{self.adapter.suffix}")
        if _checksum(file) != found["sum"]:
            raise not_whole(file, product, "its content has another checksum than its name")
        self.adapter.verify(connection, file)
        if found["database"] != self.name:
            log.info("%s is of another database (%s)", relative(file), found["database"])
        return found["revision"]

    def prune(self, *spared: Path) -> None:
        """Delete all automatic backups except ``keep`` and those ``spared``. Call it after a run has succeeded.

        The newest backup of each revision goes last: several of one revision are those of attempts that failed.
        """
        automatic = self._automatic()
        newest = {_revision(file): file for file in reversed(automatic)}
        automatic.sort(key=lambda file: newest[_revision(file)] != file)  # stable: the newest first among equals
        for file in automatic[self.keep :]:
            if not any(other.exists() and file.samefile(other) for other in spared):
                _remove(file, f"MIGRATION_BACKUP_KEEP is {self.keep}")

    def drop_repeated(self, file: Path) -> None:
        """Delete ``file``, the backup of a run that was rolled back, if the attempt before left one of this revision.

        So a run that fails again and again does not fill the disk, and the backup from before the first attempt stays:
        a script may have committed something then.
        """
        before = next((other for other in self._automatic() if other.name < file.name), None)
        if before and _revision(before) == _revision(file):
            _remove(file, f"the run was rolled back, and {before.name} is of the same revision")

    def _automatic(self) -> list[Path]:
        return [file for file in self.found() if not is_by_hand(file)]

    def _remove_partial(self, but: Path) -> None:
        """Remove what a killed run left, SQLite's journal included: with the lock held, no other command writes it."""
        for file in self.folder.glob(f"{self.name}-*{PARTIAL}*"):
            if file != but:
                file.unlink()


def before_steps(backups: Backups, database: Database, plan: Plan, using: Settings) -> Path | None:
    """Return the backup before the steps of ``plan``, if the settings want one and there are rows to lose."""
    connection = database.connection
    if using.backup == "never" or not backups.adapter.has_rows(connection):
        return None
    if using.backup == "risky":
        from ..review.losses import can_lose

        if not can_lose(plan, database.facts.product):
            return None
    try:
        return backups.make(connection, plan.heads, using.retry)
    except ToolError as error:
        raise MigrationError(
            error.what,
            f"{error.remedy.rstrip('.:')}; or, if you have a backup of your own, go on without one:",
            *error.lines,
            f"flask db -x backup=never {plan.command}",
        ) from error


def is_by_hand(file: Path) -> bool:
    """Return whether `flask db backup` made ``file``, and not a run."""
    found = NAME.fullmatch(file.name)
    return bool(found and found["by_hand"])


def restore_line(file: Path) -> str:
    """The command that brings it back."""
    return f"flask db restore {shlex.quote(relative(file))}"


def require_folder(folder: Path) -> None:
    """Raise MigrationError if ``folder`` is not a folder, or its path has a broken link."""
    link = next((each for each in (folder, *folder.parents) if each.is_symlink() and not each.exists()), None)
    if link is not None:
        target = link.resolve()
        raise MigrationError(
            f"{relative(link)}, where backups should be, is a link to {target}, which does not exist.",
            "create that folder, or mount the disk that has it:",
            f"mkdir -p {shlex.quote(str(target))}",
        )
    if folder.exists() and not folder.is_dir():
        raise MigrationError(
            f"{relative(folder)}, where backups should be, is not a folder.",
            "name the folder that has them:",
            "export MIGRATION_BACKUP_DIR=/path/of/a/folder",
        )


@contextmanager
def private(file: Path) -> Iterator[None]:
    """Make ``file``, for our eyes only, and remove it at the end. Raises MigrationError if it cannot be made."""
    require_folder(file.parent)
    try:
        with writing(file.parent):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield
    finally:
        for each in (file, *(file.with_name(file.name + suffix) for suffix in ("-journal", "-wal", "-shm"))):
            with suppress(OSError):
                each.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """While a file in ``folder`` is written: raises MigrationError where the system cannot."""
    try:
        yield
    except OSError as error:
        raise MigrationError(
            f"no backup can be written to {relative(folder)}: {error.strerror or error}.",
            "make room or name another folder; nothing was changed:",
            "export MIGRATION_BACKUP_DIR=/path/of/a/folder",
        ) from error


def heads_in_name(heads: tuple[str, ...]) -> str:
    """The revisions, as far as names of files can say them."""
    return re.sub(r"[^\w.+]+", "_", "+".join(sorted(heads))) or "base"


def _revision(file: Path) -> str:
    """Return the part of a backup's name that has its revisions."""
    found = NAME.fullmatch(file.name)
    return found["revision"] if found else ""


def _remove(file: Path, reason: str) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        log.warning("Could not remove backup %s: %s", relative(file), error.strerror)
    else:
        log.info("Removed backup %s: %s", relative(file), reason)


def _sync(file: Path) -> None:
    with file.open("rb+") as opened:  # Windows syncs no file that is open for reading alone
        os.fsync(opened.fileno())


def _checksum(file: Path) -> str:
    """CRC-32: it is there to find damage, not forgery. Raises OSError."""
    found = 0
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            found = zlib.crc32(piece, found)
    return f"{found:08x}"
