"""SQLite's lock: of a file beside the database, by the operating system."""

import json
import os
import re
import shlex
import socket
import stat
import sys
from datetime import datetime
from pathlib import Path
from typing import IO

from ...errors import MigrationError
from ..base import Lock

if sys.platform == "win32":
    import msvcrt

    def take(file: IO[str]) -> None:
        """Lock a byte behind the text; OSError where another process has it."""
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def take(file: IO[str]) -> None:
        """Lock the file; OSError where another process has it."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}
# What holder() accepts: anyone who can write to the file may have put anything there.
HOST = re.compile(r"\w[\w.-]{0,252}", re.ASCII)
TIME = re.compile(r"\d\d:\d\d:\d\d", re.ASCII)


def opened(path: Path, database: Path) -> IO[str]:
    """Open the lock file, or create it. Raise OSError, or MigrationError if something else has its name.

    It is written to, so it must not lead to another file, such as the ``database``, or belong to another user.
    """
    flags = os.O_RDWR | os.O_CREAT  # without waiting for the other end of a pipe
    flags |= sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_NONBLOCK"))
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise _no_lock_file(path, path.lstat()) from None
        raise
    found = os.fstat(descriptor)
    owners = {found.st_uid if not hasattr(os, "geteuid") else os.geteuid()}
    owners |= {database.stat().st_uid} if database.exists() else set()
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid not in owners:
        os.close(descriptor)
        raise _no_lock_file(path, found)
    return os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")


def _no_lock_file(path: Path, found: os.stat_result) -> MigrationError:
    other = "a file with a second name (a hard link)" if found.st_nlink > 1 else "the file of another user"
    what = KINDS.get(stat.S_IFMT(found.st_mode), other if stat.S_ISREG(found.st_mode) else "a device")
    return MigrationError(
        f"{path} is {what}, and not the lock file of this database.",
        "find out what made it, and move it away; nothing was changed:",
        f"ls -ld {shlex.quote(str(path))}",
    )


class FileLock(Lock):
    """A lock on a file that stays: to remove it would let two processes hold what they take for the same."""

    def __init__(self, file: IO[str], path: Path) -> None:
        self.file = file
        self.path = path

    def take(self) -> bool:
        """Take the lock, and write down who has it."""
        try:
            take(self.file)
        except OSError:
            return False
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now().strftime("%H:%M:%S")}
        self.file.seek(0)
        self.file.truncate()
        self.file.write(json.dumps(holder))
        self.file.flush()
        return True

    def is_held(self) -> bool:
        """Return whether the file still exists: another command would lock the one that replaced it."""
        try:
            return os.path.samestat(os.fstat(self.file.fileno()), self.path.stat())
        except OSError:
            return False

    def holder(self) -> tuple[str, str]:
        """Return what the holder wrote, if it is complete and valid."""
        self.file.seek(0)
        try:
            found = json.loads(self.file.read(1000))
            pid, host, since = int(found["pid"]), found["host"], found["since"]
            is_own_table = pid > 0 and HOST.fullmatch(host) and TIME.fullmatch(since)
        except (ValueError, TypeError, KeyError, RecursionError):
            is_own_table = None
        if not is_own_table:
            return "another process", f"fuser -k {shlex.quote(str(self.path))}"
        end = f"kill {pid}" if host == socket.gethostname() else f"ssh {host} kill {pid}"
        return f"process {pid} on {host}, since {since}", end


class NoLock(Lock):
    """For a database in memory, which no other process sees."""

    def take(self) -> bool:
        """Nobody else can have it."""
        return True

    def is_held(self) -> bool:
        """Return True: no other process can take it."""
        return True

    def holder(self) -> tuple[str, str]:
        """Nobody."""
        return "", ""
