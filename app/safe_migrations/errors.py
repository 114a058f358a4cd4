"""The error classes of this package, and functions that put an error, a path or a URL into words.

CommandError           Alembic's class, which Flask-Migrate's functions log before they exit
├── MigrationError     something is wrong on the user's side; the message has a `Fix:`
│   ├── UnsafeError    something risky is refused; the message has an `Instead:`
│   ├── UsageError     something was typed wrongly, such as -x NAME=VALUE; the exit status is 2
│   ├── LostLockError  the lock was lost during the run
│   ├── HalfDoneError  a failed run left changes that could not be undone
│   └── DamagedError   the file of a SQLite database is damaged
└── LoginError         the database does not answer a login, or the driver fails at it

WrongArgumentError (an ArgumentError of SQLAlchemy): an argument of op.backfill() is wrong on any database

remedies.py turns any other error into a MigrationError.
"""

import os
import re
import shlex
import traceback
from collections.abc import Sequence
from configparser import Error as IniError
from pathlib import Path

from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import URL
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NoSuchTableError,
    SQLAlchemyError,
    StatementError,
)

IN_LOG = "(the row is in the server's log, as DETAIL)"
DUPLICATE_VALUE = re.compile(r"(?<=Duplicate entry ')(?:(?!\nERROR ).)*(?=' for key)", re.DOTALL)
"""The value in an error of MySQL or MariaDB about a unique constraint; it may have quotes and lines.

A line that begins with ERROR is the next error of a client program.
"""


class MigrationError(CommandError):
    """An error whose message says what is wrong and how to fix it, with lines to paste."""

    label = "Fix"

    def __init__(self, what: str, remedy: str, *lines: str) -> None:
        self.what = what
        self.remedy = remedy
        self.lines = lines
        super().__init__("\n".join([what, f"{self.label}: {remedy}", *(f"    {line}" for line in lines)]))


class UnsafeError(MigrationError):
    """The refusal of an operation that could lose data or break the running app; it says what to do instead."""

    label = "Instead"


class UsageError(MigrationError):
    """The error for a wrong `-x NAME=VALUE`: a name that nothing reads, or an answer that does not fit."""


class LostLockError(MigrationError):
    """The error for a run that has lost the lock of its database, which another command may have taken."""

    def __init__(self) -> None:
        super().__init__(
            "the lock of this database was lost during the run: its session was ended, it was released or not renewed"
            " in time, or its file was removed. Another command may have run at the same time.",
            "make sure that no other command is running, then check the database:",
            "flask db status",
        )


class HalfDoneError(MigrationError):
    """The error for a run that failed or was killed and left changes that could not be undone."""


class DamagedError(MigrationError):
    """The error if the database itself is damaged: it cannot be backed up, only replaced."""


class WrongArgumentError(ArgumentError):
    """The error if an argument of op.backfill() cannot be right, whatever the database has."""


class LoginError(CommandError):
    """The error if the server does not answer a login, or the driver fails at it without an error of the DBAPI."""


def no_right(done: str, path: Path) -> MigrationError:
    """Return the error for a file or folder that this user may not have ``done``: "read" or "written"."""
    return MigrationError(
        f"{relative(path)} cannot be {done}: Permission denied.",
        "give this user the right. See the permissions:",
        f"ls -ld {shlex.quote(relative(path.parent))} {shlex.quote(relative(path))}",
    )


def summary(error: BaseException) -> str:
    """Return the text of ``error`` on one line, without the SQL statement, its parameters and any `Fix:`.

    Values of a row are left out: PostgreSQL's DETAIL, and the duplicate value that MySQL and MariaDB name.
    An error of Python's or of a script begins with the name of its class.
    """
    if isinstance(error, DBAPIError) and error.orig is not None:
        number_and_text = error.orig.args
        if len(number_and_text) == 2 and isinstance(number_and_text[0], int):
            return f"{DUPLICATE_VALUE.sub('...', str(number_and_text[1]))} ({number_and_text[0]})"
        lines = str(error.orig).strip().splitlines()
        details = [line for line in lines[1:] if line.startswith("DETAIL:")]
        if details and isinstance(error, IntegrityError | DataError):  # with values of a row, maybe of a person
            details = [IN_LOG]
        hints = [line for line in lines[1:] if line.startswith("HINT:")]
        return " ".join(line.strip() for line in [*lines[:1], *details, *hints])
    if isinstance(error, StatementError) and error.orig is not None:  # raised before the driver was called
        return summary(error.orig)
    if isinstance(error, CommandError):
        return re.split(r"(?<=\w\.)\s", str(error))[0]
    if isinstance(error, NoSuchTableError):  # its text is the bare name
        return f"there is no table {error}."
    if isinstance(error, SQLAlchemyError | RevisionError | UserWarning):
        return re.sub(r"\s*\(Background on this error at: .*\)", "", str(error))
    if isinstance(error, IniError):  # the second line names the file
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    text = error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0]
    found = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    if frames and (not text or isinstance(error, KeyError)):  # the text is empty or a bare name
        if text and Path(frames[-1].filename).match("alembic/operations/batch.py"):
            return f"the batch changes {error}, which the table does not have"
        return f"{found} in {frames[-1].name}(), at: {frames[-1].line}"
    return found


def masked(url: URL) -> str:
    """Return ``url`` as text, with the password hidden, and of its options only host and port.

    The others may contain another password.
    """
    return repr(url.set(query={name: url.query[name] for name in ("host", "port") if name in url.query}))


def counted(count: float, noun: str) -> str:
    """Return the number with ``noun``, which is in the singular, e.g. "1 row", "2 rows", "10 tries", "0.5 seconds"."""
    number = int(count) if count == int(count) else count
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def first_few(names: Sequence[str]) -> str:
    """Return the first three of ``names`` as text, and how many are left, e.g. "a, b, c and 4 more"."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def size_in_words(count: float) -> str:
    """Return a number of bytes as text, e.g. "12.3 MB" or "104.9 GB"."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def time_in_words(seconds: float) -> str:
    """Return a duration as text, e.g. "0.4 seconds", "90 seconds", "41 minutes" or "2.5 hours"."""
    if seconds < 120:
        return counted(round(seconds, 1 if seconds < 10 else None), "second")
    return counted(round(seconds / 60), "minute") if seconds < 7200 else counted(round(seconds / 3600, 1), "hour")


def relative(path: Path) -> str:
    """Return ``path`` as text, relative to the current folder if it is an absolute path inside of that folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
