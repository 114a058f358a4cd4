"""Edits of files in a migrations folder: `down_revision` in a script, lines below it, and lines of alembic.ini."""

import ast
import errno
import os
import re
import shlex
import shutil
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

from ..errors import MigrationError, relative
from .checksums import assigned_names

IDENTIFIERS = {"revision", "down_revision", "branch_labels", "depends_on"}
"""The names at the top of a script, below which safety_assured and the like are written."""
ASSIGNED = re.compile(
    rb"""(?m)^down_revision\b[^=\r\n]*=[ \t]*(?P<value>None|"[^"\r\n]*"|'[^'\r\n]*'|\([^()]*\)|\[[^][]*\])"""
    rb"""[ \t]*(?:\#[^\r\n]*)?(?=\r|\n|\Z)"""
)
"""An assignment of ids as they stand in a script."""
REVISES = re.compile(rb"""(?m)^([ \t]*Revises:)[ \t]*(?:[^\s,"'\\]+(?:,[ \t]*[^\s,"'\\]+)*)?""")
"""The ids in its docstring."""


def ids_in(script: Path, variable: str) -> list[str]:
    """Return the revision ids that the script assigns to ``variable``, such as down_revision, without running it.

    Return an empty list if it does not assign it, or is not Python.
    """
    with suppress(SyntaxError, ValueError):
        for statement in ast.parse(script.read_bytes()).body:
            if variable in assigned_names(statement):
                found = (each.value for each in ast.walk(statement) if isinstance(each, ast.Constant))
                return [value for value in found if isinstance(value, str)]
    return []


def insert_below_identifiers(script: Path, code: str) -> int:
    """Insert ``code``, whole lines, below the assignments to IDENTIFIERS. Return the number of the line above it."""
    text = script.read_text(encoding="utf-8")
    above = max(node.end_lineno or 0 for node in ast.parse(text).body if assigned_names(node) & IDENTIFIERS)
    lines = text.splitlines(keepends=True)
    lines.insert(above, code)
    replace_file(script, "".join(lines).encode(errors="backslashreplace"))
    return above


def write_line(ini: Path, key: str, value: str) -> str:
    """Write ``key = value`` into the file alembic.ini, in place of the line that it has, and return that text."""
    text = ini.read_bytes().decode()  # read_text() would change the line ends
    line = f"{key} = {value}"
    written, count = re.subn(rf"(?m)^{key}[ \t]*[=:][^\r\n]*", line, text, count=1)
    if not count:
        written = re.sub(r"(?m)^\[alembic\][^\r\n]*(\r?\n|\Z)", rf"[alembic]\g<1>{line}\g<1>", text, count=1)
    replace_file(ini, written.encode())
    return line


def with_parents(path: Path, source: bytes, values: tuple[str, ...]) -> bytes:
    """Return the ``source`` of the script ``path`` with ``values`` as its `down_revision`, and after `Revises:`.

    Everything else stays byte for byte. Raise MigrationError if `down_revision` is not assigned once, as a literal.
    """
    assigned = list(ASSIGNED.finditer(source))
    if len(assigned) != 1:
        raise MigrationError(
            f"{relative(path)} does not assign down_revision once, as a string or a tuple of strings.",
            "write it by hand:",
            f"down_revision = {values[0] if len(values) == 1 else values!r}",
        )
    begin, end = assigned[0].span("value")
    quote = b"'" if b"'" in assigned[0]["value"] else b'"'
    quoted = [quote + value.encode() + quote for value in values]
    value = quoted[0] if len(quoted) == 1 else b"(%b)" % b", ".join(quoted)
    head = REVISES.sub(lambda match: match[1] + b" " + ", ".join(values).encode(), source[:begin], count=1)
    return head + value + source[end:]


def replace_file(path: Path, source: bytes) -> None:
    """Replace the file ``path``; if the process is killed, the old or the new one is there, whole."""
    partial = path.with_name("__pycache__") / f"{path.name}.partial"  # where git does not look if the process is killed
    try:
        partial.parent.mkdir(exist_ok=True)
        if not os.access(path, os.W_OK) or not path.stat().st_mode & 0o200:  # os.access() is always true for root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        write_to_disk(partial, source)
        shutil.copymode(path, partial)
        put_in_place(partial, path)
    except OSError as error:
        raise MigrationError(
            f"{relative(path)} cannot be written: {error.strerror}.",
            "make the file and its folder writable, and run the command again:",
            f"chmod u+w {shlex.quote(relative(path.parent))} {shlex.quote(relative(path))}",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def write_to_disk(path: Path, source: bytes) -> None:
    """Write the file ``path``, and return when the disk has it."""
    with path.open("wb") as file:
        file.write(source)
        file.flush()
        os.fsync(file.fileno())


def put_in_place(new: Path, path: Path) -> None:
    """Rename the file ``new`` to ``path``, which is replaced, and delete the bytecode of ``path``.

    Python takes that for current if the size and the second of a script are the same (SourceLoader).
    """
    new.replace(path)
    Path(cache_from_source(str(path))).unlink(missing_ok=True)
