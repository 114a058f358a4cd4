"""External restore points: a program of the user makes them instead of a dump, and a small file lists each of them."""

import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import quote

from sqlalchemy import URL

from ..adapters.base import KEEP_ALIVE
from ..adapters.client_programs import LONGEST, ToolError, interrupts_deferred
from ..console import log, reported
from ..database import DEFAULT_PORTS
from ..errors import MigrationError, relative

SUFFIX = ".external"
"""The suffix of the file in the backup folder that stands for a restore point: its id, and the program's name."""

# Seconds that a program has to clean up after SIGTERM; then it is killed.
GRACE = 10
# How much of the program's output is read, from its end, in bytes; how many lines of its errors a message shows.
READ, SHOWN = 65536, 5


def is_external(file: Path) -> bool:
    """Return True if the backup ``file`` stands for an external restore point."""
    return file.suffix == SUFFIX


def id_and_program(file: Path) -> tuple[str, str]:
    """Return the id of the restore point that ``file`` stands for, and the name of the program that made it."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    name, program = [*lines, "?", "?"][:2]  # of a file that somebody has cut off
    return name, program


def in_words(file: Path) -> str:
    """Return the restore point that ``file`` stands for as text, e.g. "external: snap-1, made by take-snapshot"."""
    return "external: {}, made by {}".format(*id_and_program(file))


def create(command: Sequence[str], url: URL, file: Path, require_lock: Callable[[], None]) -> None:
    """Run ``command``, which makes a restore point of the database at ``url``, and write its id to ``file``.

    The program has no terminal, and gets the connection's parts in its environment. Call ``require_lock`` every 15
    seconds (KEEP_ALIVE). KeyboardInterrupt, or an error of ``require_lock``, ends the program and all that it has
    started. Raise ToolError if the program cannot be run, fails, or does not print an id.
    """
    program = Path(command[0]).name
    log.info("Making a restore point with %s", program)
    with TemporaryFile() as out, TemporaryFile() as errors:
        status = _run(command, {**os.environ, **environ(url)}, out, errors, require_lock)
        printed, said = _last_lines(out), [_without_password(line, url) for line in _last_lines(errors)]
    if status:
        how = f"ended with exit status {status}" if status > 0 else f"was killed by signal {-status}"
        raise ToolError(
            "\n    ".join([f"{program} {how}, so there is no restore point{':' if said else '.'}", *said]),
            "remove the cause, then run the command again.",
        )
    name = printed[-1] if printed else ""
    if not (name.isprintable() and any(map(str.isalnum, name)) and len(name) <= LONGEST):
        shown = f"is {_without_password(name, url)[:LONGEST]!r}" if name else "is missing"
        raise ToolError(
            f"{program} does not say which restore point it has made: the id, the last line that it prints, {shown}.",
            "let it print the id on stdout, at its end, then run the command again.",
        )
    log.info("%s has made restore point %s", program, name)
    file.write_text(f"{name}\n{program}\n", encoding="utf-8")


def environ(url: URL) -> dict[str, str]:
    """Return the parts of ``url`` by the names of the app's settings, DB_... and DATABASE_URL.

    All are set, also to an empty text, because those of the app itself may be for another bind.
    """
    parts = {
        "DIALECT": url.get_backend_name(),
        "USER": url.username,
        "PASSWORD": url.password or url.query.get("password"),
        "HOST": url.host or url.query.get("host") or url.query.get("unix_socket"),
        "PORT": url.port or url.query.get("port") or DEFAULT_PORTS.get(url.get_backend_name()),
        "NAME": url.database,
    }
    texts = {name: ",".join(part) if isinstance(part, tuple) else str(part or "") for name, part in parts.items()}
    whole = url.set(drivername=url.get_backend_name()).render_as_string(hide_password=False)
    return {**{f"DB_{name}": text for name, text in texts.items()}, "DATABASE_URL": whole}


def not_restorable(file: Path) -> MigrationError:
    """Return the error for a restore of the restore point that ``file`` stands for."""
    name, program = id_and_program(file)
    return MigrationError(
        f"{name} is an external restore point: `flask db restore` restores only its own backups.",
        f"restore it with the tool that made it, {program}; then see where the database is:",
        "flask db status",
    )


def unlist(file: Path, reason: str) -> None:
    """Delete ``file`` from the list for ``reason``, and log that its restore point stays."""
    name, program = id_and_program(file)
    file.unlink(missing_ok=True)
    log.info("Removed %s from the list: %s", relative(file), reason)
    log.info("The restore point %s still exists: delete it with the tool that made it, %s", name, program)


def _run(
    command: Sequence[str], environ: dict[str, str], out: IO[bytes], errors: IO[bytes], require_lock: Callable[[], None]
) -> int:
    """Run ``command`` to its end, and return its exit status, or minus the signal that killed it.

    Its output goes to files, because a pipe would stay open if it leaves a process in the background.
    """
    process = None
    try:
        with interrupts_deferred():
            process = _start(command, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=errors)
        with reported(f"Waiting for {Path(command[0]).name}"):
            while True:
                try:
                    return int(process.wait(KEEP_ALIVE))
                except subprocess.TimeoutExpired:
                    require_lock()
    except BaseException:
        if process is not None:
            _end(process)
        raise


def _start(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start ``command`` in a session of its own: a signal then reaches all its processes, and each only once."""
    try:
        return subprocess.Popen(command, start_new_session=True, **options)
    except OSError as error:
        raise ToolError(
            f"MIGRATION_BACKUP_COMMAND names {command[0]}, which cannot be run: {error.strerror}.",
            "correct its path, and make it executable, then run the command again.",
        ) from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Terminate the processes of the program's session; kill them if the program does not end in time."""
    try:
        _send(process, signal.SIGTERM)
        process.wait(GRACE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        _send(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()


def _send(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    else:  # on Windows
        process.terminate()


def _last_lines(file: IO[bytes]) -> list[str]:
    """Return the last lines (SHOWN) of ``file`` that are not blank."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - READ))
    lines = (line.strip() for line in file.read().decode(errors="replace").splitlines())
    return [line for line in lines if line][-SHOWN:]


def _without_password(line: str, url: URL) -> str:
    """Return ``line`` without the password, which a script may print, e.g. with `set -x`; cut it if it is long."""
    password = environ(url)["DB_PASSWORD"]
    for secret in (password, quote(password, safe=" +")) if password else ():  # the latter in DATABASE_URL
        line = line.replace(secret, "***")
    return line[:LONGEST]
