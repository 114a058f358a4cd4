"""SQLite's lock: of a file beside the database, by the operating system."""

import json
import os
import shlex
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import IO

from app.safe_migrations.adapters.base import Lock

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


class FileLock(Lock):
    """A lock on a file that stays: to remove it would let two processes hold what they take for the same."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

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
        """Return whether the file is still there: another command would lock the one that takes its place."""
        try:
            return os.path.samestat(os.fstat(self.file.fileno()), Path(self.file.name).stat())
        except OSError:
            return False

    def holder(self) -> tuple[str, str]:
        """What the holder wrote down; it may be about to."""
        self.file.seek(0)
        try:
            found = json.loads(self.file.read())
        except ValueError:
            return "another process", f"fuser -k {shlex.quote(self.file.name)}"
        pid, host = found["pid"], found["host"]
        end = f"kill {pid}" if host == socket.gethostname() else f"ssh {host} kill {pid}"
        return f"process {pid} on {host}, since {found['since']}", end


class NoLock(Lock):
    """For a database in memory, which no other process sees."""

    def take(self) -> bool:
        """Nobody else can have it."""
        return True

    def is_held(self) -> bool:
        """Nobody can take it."""
        return True

    def holder(self) -> tuple[str, str]:
        """Nobody."""
        return "", ""
