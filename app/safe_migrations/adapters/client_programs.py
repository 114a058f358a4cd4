"""The databases' client programs: found, run, and their errors reported in their own words."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..errors import MigrationError

# Characters of a program's message: some repeat the statement that failed, with all its values.
LONGEST = 400
# How servers refuse something for which a user has no right.
RIGHTS = re.compile("permission denied|must be (owner|member|superuser|able to)|denied (to user|for)", re.IGNORECASE)

# The same of MySQL and MariaDB, of what needs a right to the whole database, such as its events.
ACCESS = re.compile("Access denied for user (?P<account>'.*?'@'.*?') to database '(?P<database>.*?)'")


class ToolError(MigrationError):
    """A program is missing, too old, or has failed."""

    lost_connection = False
    """Whether the program may have lost its connection, so that its last statement may have run or not."""


class LockTimeOutError(ToolError):
    """A program's statement timed out while it waited for a lock."""


def program(*names: str, package: str) -> str:
    """Return the path of the first of these programs that is installed. Raise ToolError if none is."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise ToolError(
            f"this needs {' or '.join(names)}, which is not installed.", "install it:", f"apt-get install {package}"
        )
    return found


@contextmanager
def running(args: list[str], package: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a running program, with pipes as ``options`` say; kill it if the body raises.

    Raise ToolError with the program's own words if its exit status is not 0.
    """
    with tempfile.TemporaryFile() as stderr:
        options["env"] = {**os.environ, "LC_ALL": "C", **options.get("env", {})}
        process = subprocess.Popen(args, stderr=stderr, **options)
        try:
            yield process
            _close(process.stdin)
            status = process.wait()
        except BrokenPipeError:
            if process.stdin is None:  # the pipe was another program's, and this one may wait for us to read
                _end(process)
                raise
            status = process.wait() or 1  # it ended before it had read everything, and has said why
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
def unnamed_file(content: str) -> Iterator[tuple[str, list[int]]]:
    """Yield the path of a file of mode 0600 with ``content``, and the descriptors that its reader has to inherit.

    The file has no name, so it is gone however this process ends. Without /dev/fd, as on Windows, it has one, and a
    kill leaves it behind.
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
    """Return the error for a program's message. Raise OSError if the program has no room for the backup."""
    lines = [line[:LONGEST] for line in stderr.splitlines() if line.strip() and "unknown variable 'loose-" not in line]
    first = max((number for number, line in enumerate(lines) if "ERROR" in line), default=-3)
    words = " ".join(lines[first:])[:LONGEST] or f"exit status {status}"
    what = f"{Path(path).name} failed: {words}"
    if "No space left" in words or "File too large" in words:
        if re.search("could not (write to|close) (output|archive) file", words):  # pg_dump writes the file itself
            raise OSError(words)
        return ToolError(f"the server's disk is full: {words}", "make room on its disk, then run it again.")
    if "version mismatch" in words:
        what = f"{Path(path).name} is too old for the server: {words}"
        return ToolError(what, "install a newer one:", f"apt-get install {package}")
    if "Authentication plugin" in words:
        what = f"{Path(path).name} cannot log in as this user: {words}"
        return ToolError(what, "install one that can:", f"apt-get install {package}")
    if "due to lock timeout" in words or "Lock wait timeout" in words:
        return LockTimeOutError(what, "wait for the other sessions, and run it again. To see them:", "flask db status")
    if found := ACCESS.search(words):
        fix = "give the user its rights, as the server's administrator:"
        return ToolError(what, fix, f"GRANT ALL ON `{found['database']}`.* TO {found['account']};")
    if RIGHTS.search(words):
        return ToolError(
            what,
            "give the user that right, as an administrator, or run it as one:",
            "export DATABASE_URL=DIALECT://ADMINISTRATOR:PASSWORD@SERVER/DATABASE",
        )
    return ToolError(what, "see the program's options:", f"{path} --help")
