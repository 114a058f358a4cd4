"""The client programs that back up a server: found, run, and their last words where they fail."""

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

# Characters of a program's last words: some repeat the statement that failed, with all the values in it.
WORDS = 400
# What servers say of rights that a user does not have.
RIGHTS = re.compile("permission denied|must be (owner|member|superuser|able to)|denied (to user|for)", re.IGNORECASE)


class ToolError(MigrationError):
    """A program is missing, too old, or has failed."""

    lost_connection = False
    """Whether the program may have lost its connection: then nobody knows whether its last statement was done."""


class LockTimeOutError(ToolError):
    """A program waited for what others hold, and the server ended that."""


def program(*names: str, package: str) -> str:
    """The path of the first of these programs that is installed. Raises ToolError if none is."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise ToolError(
            f"this needs {' or '.join(names)}, which is not installed.", "install it:", f"apt-get install {package}"
        )
    return found


@contextmanager
def running(args: list[str], package: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """The program while it runs, with pipes as ``options`` say; it is ended if the body raises.

    Raises ToolError with the program's own words if it ends with another status than 0.
    """
    with tempfile.TemporaryFile() as said:
        options["env"] = {**os.environ, "LC_ALL": "C", **options.get("env", {})}
        process = subprocess.Popen(args, stderr=said, **options)
        try:
            yield process
            _close(process.stdin)
            status = process.wait()
        except BrokenPipeError:
            if process.stdin is None:  # another program's pipe, and this one may be waiting for us to read
                _end(process)
                raise
            status = process.wait() or 1  # it ended before it had read all: its words tell why
        except BaseException:
            _end(process)
            raise
        finally:
            _close(process.stdin)
            _close(process.stdout)
        if status:
            error = _failed(args[0], status, said, package)
            # psql: 1 is its own error, 3 a statement that was refused, 2 a lost connection (manual, "Exit Status").
            # Programs of MySQL end with 1 for all of these.
            error.lost_connection = status not in (1, 3)
            raise error


@contextmanager
def unnamed_file(content: str) -> Iterator[tuple[str, list[int]]]:
    """Yield the path of a file of mode 0600 with ``content``, and the descriptors that its reader has to inherit.

    The file has no name, so it is gone however this process ends. Where there is no /dev/fd, as on Windows, it has one,
    and a kill leaves it behind.
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


def _failed(path: str, status: int, said: IO[bytes], package: str) -> ToolError:
    said.seek(0)
    said_lines = said.read().decode(errors="replace").splitlines()
    lines = [line[:WORDS] for line in said_lines if line.strip() and "unknown variable 'loose-" not in line]
    first = max((number for number, line in enumerate(lines) if "ERROR" in line), default=-3)
    words = " ".join(lines[first:])[:WORDS] or f"it ended with status {status}"
    if "No space left" in words or "File too large" in words:
        if re.search("could not (write to|close) (output|archive) file", words):  # which pg_dump writes by itself
            raise OSError(words)
        return ToolError(
            f"the server has no room: {words}", "make room on its disk, as its administrator, then run it again."
        )
    if "version mismatch" in words:
        return _other(f"{Path(path).name} is too old for the server: {words}", package)
    if "Authentication plugin" in words:
        return _other(f"{Path(path).name} cannot log in as this user: {words}", package)
    what = f"{Path(path).name} failed: {words}"
    if "due to lock timeout" in words or "Lock wait timeout" in words:
        return LockTimeOutError(
            what, "wait for those who use the tables, and run it again. What there is:", "flask db status"
        )
    if RIGHTS.search(words):
        return ToolError(
            what,
            "give the user that right, as an administrator, or run it as one:",
            "export DATABASE_URL=DIALECT://ADMINISTRATOR:PASSWORD@SERVER/DATABASE",
        )
    return ToolError(what, "see what it can do here:", f"{path} --help")


def _other(what: str, package: str) -> ToolError:
    return ToolError(what, "install one that can:", f"apt-get install {package}")
