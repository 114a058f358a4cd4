"""The errors of this package, and how a message shows any error, a path or a URL.

CommandError          Alembic's; Flask-Migrate's functions report it by themselves
├── MigrationError     something is wrong on the user's side: `Fix:`
│   ├── UnsafeError    something risky is refused: `Instead:`
│   └── HalfDoneError  a run could not be undone
└── LoginError         no connection

remedies.py turns any other error into a MigrationError.
"""

import os
import re
import traceback
from configparser import Error as IniError
from pathlib import Path

from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError, StatementError


class MigrationError(CommandError):
    """An error that says what is wrong, how to fix it, and gives lines to paste."""

    label = "Fix"

    def __init__(self, what: str, remedy: str, *lines: str) -> None:
        self.what = what
        self.remedy = remedy
        self.lines = lines
        super().__init__("\n".join([what, f"{self.label}: {remedy}", *(f"    {line}" for line in lines)]))


class UnsafeError(MigrationError):
    """The refusal of something that could lose data or break the running app, with what to do instead."""

    label = "Instead"


class HalfDoneError(MigrationError):
    """The error of a run that failed or was killed, and some of whose changes could not be undone."""


class LoginError(CommandError):
    """The error of a driver that could not connect, or got no answer."""


def summary(error: BaseException) -> str:
    """Return the database's own words, or the exception's, on one line without the statement and its parameters."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        number_and_text = error.orig.args
        if len(number_and_text) == 2 and isinstance(number_and_text[0], int):
            return f"{number_and_text[1]} ({number_and_text[0]})"
        lines = str(error.orig).strip().splitlines()
        more = [line for line in lines[1:] if line.startswith(("DETAIL:", "HINT:"))]
        return " ".join(line.strip() for line in lines[:1] + more)
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
        return f"{found} in {frames[-1].name}(), at: {frames[-1].line}"
    return found


def masked(url: URL) -> str:
    """Return ``url`` without its password and without the options behind the ``?``, which may hold another."""
    return repr(url.set(query={}))


def relative(path: Path) -> str:
    """Return ``path`` as someone in this folder would type it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
