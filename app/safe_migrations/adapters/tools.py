"""The client programs that back up a server: found, run, and their last words where they fail."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from app.safe_migrations.errors import MigrationError

WITHOUT = "flask db -x backup=never upgrade"


def program(*names: str, package: str) -> str:
    """The path of the first of these programs that is installed. Raises MigrationError if none is."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise MigrationError(
            f"a backup needs {' or '.join(names)}, and it is not installed.",
            f"install the package {package}; or, if you have a backup of your own, go on without one:",
            WITHOUT,
        )
    return found


@contextmanager
def running(args: list[str], package: str, **options: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """The program while it runs, with pipes as ``options`` say; it is ended if the body raises.

    Raises MigrationError with the program's own words if it ends with another status than 0.
    """
    with tempfile.TemporaryFile() as said:
        options["env"] = {**os.environ, "LC_ALL": "C", **options.get("env", {})}
        process = subprocess.Popen(args, stderr=said, **options)
        try:
            yield process
            _close(process.stdin)
            status = process.wait()
        except BrokenPipeError:  # it ended before it had read all: its words tell why
            status = process.wait() or 1
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            _close(process.stdin)
            _close(process.stdout)
        if status:
            raise _failed(args[0], said, package)


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        try:
            pipe.close()
        except BrokenPipeError:
            return


def _failed(path: str, said: IO[bytes], package: str) -> MigrationError:
    said.seek(0)
    lines = [line for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    words = " ".join(lines[-3:]) or "it said nothing"
    if "version mismatch" in words:
        return MigrationError(
            f"{Path(path).name} is too old for the server: {words}",
            f"install a newer {package}; or, if you have a backup of your own, go on without one:",
            WITHOUT,
        )
    return MigrationError(
        f"{Path(path).name} failed: {words}",
        "mend that, or if you have a backup of your own, go on without one:",
        WITHOUT,
    )
