"""Functions that find and run client programs of databases, e.g. pg_dump, and report their errors."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from ..errors import DUPLICATE_VALUE, MigrationError

# A program's message is cut after so many characters: some repeat the statement that failed, with all its values.
LONGEST = 400
# Lines of programs that are not shown: a warning about an option, and what PostgreSQL says about a row.
HIDDEN = re.compile(r"unknown variable 'loose-|^DETAIL:\s+(Key \(.*\)=\(|Failing row)|^CONTEXT:\s+COPY ")
# Error messages of servers about a missing right.
RIGHTS = re.compile("permission denied|must be (owner|member|superuser|able to)|denied (to user|for)", re.IGNORECASE)

# The message of MySQL and MariaDB about a missing right to a whole database, e.g. to its events.
ACCESS = re.compile("Access denied for user (?P<account>'.*?'@'.*?') to database '(?P<database>.*?)'")


class ToolError(MigrationError):
    """The error of a client program that is missing, is too old, or has failed."""

    lost_connection = False
    """Whether the program may have lost its connection: then it is unknown whether its last statement ran."""


class LockTimeOutError(ToolError):
    """The error of a client program whose statement waited too long for a lock."""


def program(*names: str, package: str) -> str:
    """Return the path of the first of the programs ``names`` that is installed.

    Raise ToolError if none is installed; its message names the ``package`` to install.
    """
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise ToolError(
            f"this command needs {' or '.join(names)}, which is not installed.",
            "install it:",
            f"apt-get install {package}",
        )
    return found


@contextmanager
def running(args: list[str], package: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a program with Popen's ``options``, yield its process, and wait for its end; kill it if the block raises.

    Raise ToolError with the program's own message if its exit status is not 0, or OSError if it could not write a
    backup because the disk is full. The error names ``package`` if a newer version of the program would help.
    """
    with tempfile.TemporaryFile() as stderr:
        options["env"] = {**os.environ, "LC_ALL": "C", **options.get("env", {})}
        process = subprocess.Popen(args, stderr=stderr, **options)
        try:
            yield process
            _close(process.stdin)
            status = process.wait()
        except BrokenPipeError:
            if process.stdin is None:  # the pipe of another program broke; this one may wait for a reader
                _end(process)
                raise
            status = process.wait() or 1  # it ended before it had read everything, and its message says why
        except BaseException:
            _end(process)
            raise
        finally:
            _close(process.stdin)
            _close(process.stdout)
        if status:
            stderr.seek(0)
            error = _failure(args[0], status, stderr.read().decode(errors="replace"), package)
            # psql: 1 is an error of its own, 3 a statement that failed, 2 a lost connection (manual, "Exit Status").
            # Programs of MySQL exit with 1 in each case.
            error.lost_connection = status not in (1, 3)
            raise error


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Inside the block, raise KeyboardInterrupt at SIGTERM, so that what the block began is ended as after Ctrl-C."""
    with _handled_by(signal.default_int_handler, signal.SIGTERM):
        yield


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Inside the block, note Ctrl-C and SIGTERM; call their handlers, which may raise, when it ends.

    Otherwise a signal that arrives before the caller has the new process would leave it running.
    """
    noted: list[int] = []
    try:
        with _handled_by(lambda number, _frame: noted.append(number), signal.SIGINT, signal.SIGTERM):
            yield
    finally:
        for each in noted:
            signal.raise_signal(each)


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object], *signals: signal.Signals) -> Iterator[None]:
    """Inside the block, call ``handler`` at ``signals``.

    Do nothing in another thread than the main one, because only that gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in signals}
    try:
        for each in signals:
            signal.signal(each, handler)
        yield
    finally:
        for each in signals:
            signal.signal(each, before[each] or signal.SIG_DFL)  # None if it was not set from Python


@contextmanager
def unnamed_file(content: str) -> Iterator[tuple[str, list[int]]]:
    """Yield a path from which a child process can read ``content``, and the file descriptors it has to inherit.

    The file has no name, so that a password in it is gone even if this process is killed. Without /dev/fd, as on
    Windows, it is a temporary file of mode 0600, which a kill leaves behind.
    """
    if Path("/dev/fd").is_dir():
        with tempfile.TemporaryFile() as unnamed:
            unnamed.write(content.encode())
            unnamed.seek(0)
            yield f"/dev/fd/{unnamed.fileno()}", [unnamed.fileno()]
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "login"
            file.touch(mode=0o600)
            file.write_text(content, encoding="utf-8")
            yield str(file), []


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        try:
            pipe.close()
        except BrokenPipeError:
            return


def _failure(path: str, status: int, stderr: str, package: str) -> ToolError:
    """Return the error for a failed program, with its message on ``stderr`` and a fix that depends on this message.

    Raise OSError if the program could not write the backup because the disk is full.
    """
    stderr = DUPLICATE_VALUE.sub("...", stderr)
    lines = [line[:LONGEST] for line in stderr.splitlines() if line.strip() and not HIDDEN.search(line)]
    first = max((number for number, line in enumerate(lines) if "ERROR" in line), default=-3)
    words = " ".join(lines[first:])[:LONGEST] or f"exit status {status}"
    what = f"{Path(path).name} failed: {words}"
    if "No space left" in words or "File too large" in words:
        if re.search("could not (write to|close) (output|archive) file", words):  # pg_dump writes the file itself
            raise OSError(words)
        fix = "make room on the server's disk, then run the command again."
        return ToolError(f"the server's disk is full: {words}", fix)
    if "version mismatch" in words:
        what = f"{Path(path).name} is too old for the server: {words}"
        return ToolError(what, "install a newer version of it:", f"apt-get install {package}")
    if "Authentication plugin" in words:
        what = f"{Path(path).name} cannot log in as this user: {words}"
        fix = "install a client that supports the authentication plugin of this user:"
        return ToolError(what, fix, f"apt-get install {package}")
    if "due to lock timeout" in words or "Lock wait timeout" in words:
        return LockTimeOutError(what, "wait until other sessions release their locks, then run the command again.")
    if found := ACCESS.search(words):
        fix = "as the server's administrator, give the user all rights to the database:"
        return ToolError(what, fix, f"GRANT ALL ON `{found['database']}`.* TO {found['account']};")
    if RIGHTS.search(words):
        return ToolError(
            what,
            "let an administrator give the user the missing right; or log in as an administrator, with this line, and"
            " run the command again:",
            "export DATABASE_URL=DIALECT://ADMINISTRATOR:PASSWORD@SERVER/DATABASE",
        )
    return ToolError(what, "remove the cause that this message names, then run the command again.")
