"""The lock on a SQLite database: a file beside the database, which the operating system locks."""

import os
import shlex
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ...errors import MigrationError, relative
from ..base import Lock

if sys.platform == "win32":
    import msvcrt

    def take(file: int) -> None:
        """Lock the first byte of the file. Raise OSError if another process has locked it."""
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def take(file: int) -> None:
        """Lock the file. Raise OSError if another process has locked it."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _unopened(path: Path, error: OSError) -> MigrationError:
    """Return the error if the lock file ``path`` cannot be opened."""
    folder, file = shlex.quote(relative(path.parent)), shlex.quote(relative(path))
    what = f"the lock file {relative(path)} cannot be opened: {error.strerror}."
    if path.is_symlink() or path.is_dir():
        return MigrationError(
            what, "it must be a file, not a link or a folder: move that away:", f"mv {file} {file}-old"
        )
    return MigrationError(
        what,
        "give this user the right to create the file in its folder, and to read it. See the permissions:",
        f"ls -ld {folder} {file}",
    )


class FileLock(Lock):
    """A lock on the file ``path``, which the operating system frees when the process ends.

    The file is never written, in case ``path`` is some other file. It is never deleted, because two processes could
    then lock two files of the same name.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDONLY | os.O_CREAT  # the others, as far as they exist: a pipe does not wait for its other end
        flags |= sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK"))
        try:
            self.file = os.open(path, flags, 0o666)
        except OSError as error:
            raise _unopened(path, error) from error
        self.path = path

    def take(self) -> bool:
        """Take the lock and set the file's time of modification, for holder() of another process.

        Return False at once if another process holds the lock.
        """
        try:
            take(self.file)
        except OSError:
            return False
        with suppress(OSError):  # of another user
            os.utime(self.path)
        return True

    def is_held(self) -> bool:
        """Return False if the lock file was deleted or replaced, so that another command can lock a new file."""
        try:
            return os.path.samestat(os.fstat(self.file), self.path.stat())
        except OSError:
            return False

    def holder(self) -> tuple[str, str]:
        """Return ``another process, since 10:15:00``, and a shell command that kills the process that holds the lock.

        Call it after take() has returned False: it does not find out whether the lock is free by then.
        """
        since = datetime.fromtimestamp(os.fstat(self.file).st_mtime)
        return f"another process, since {since:%H:%M:%S}", f"fuser -k {shlex.quote(str(self.path))}"

    def close(self) -> None:
        """Release the lock."""
        os.close(self.file)
