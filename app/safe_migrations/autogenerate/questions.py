"""Questions of `flask db migrate` about changed models, and their answers: typed on the terminal, or passed with -x."""

import shlex
import sys
from collections.abc import Iterable

import click
from alembic import context

from ..errors import UsageError

FORMS = {
    "rename": ("rename=user.username:login", "rename=TABLE.OLD:NEW for a column, or rename=OLD:NEW for a table"),
    "default": ("default=user.age:0", "default=TABLE.COLUMN:VALUE"),
    "drop": ("drop=pet", "drop=TABLE"),
    "safe": ("safe=drop-table:unused since May", "safe=CODE:REASON"),
}


def has_terminal() -> bool:
    """Return True if stdin is a terminal, so that the user can be asked."""
    return sys.stdin.isatty()


def confirm(question: str) -> bool:
    """Ask ``question`` on the terminal, and return True for yes; return False for no, or without a terminal."""
    return has_terminal() and click.confirm(question, err=True)


def given(name: str) -> list[str]:
    """Return the values that the user passed as `-x name=...`, without repetitions: Flask-Migrate passes each twice."""
    arguments = [argument.partition("=") for argument in context.get_x_argument()]
    return list(dict.fromkeys(value for key, _, value in arguments if key == name))


def given_pairs(name: str) -> dict[str, str]:
    """Return the values of `-x name=LEFT:RIGHT`: {"user.age": "0"} for `-x default=user.age:0`.

    Raise UsageError if a value has another form, or if one LEFT is passed twice with different values.
    """
    found: dict[str, str] = {}
    for value in given(name):
        left, colon, right = value.partition(":")
        if not left or not colon or (name == "rename" and not right):
            raise wrong_answer(name, value, f"write it as {FORMS[name][1]}")
        if left in found:
            raise wrong_answer(name, value, f"{left} is passed twice, with different values")
        found[left] = right
    return found


def wrong_answer(name: str, value: str, why: str, fitting: Iterable[str] = ()) -> UsageError:
    """Return the UsageError for `-x name=value`, which cannot be used; ``fitting`` lists values that can."""
    values = [f"{name}={each}" for each in fitting]
    lines = [f'flask db -x {shlex.quote(each)} migrate -m "..."' for each in values or [FORMS[name][0]]]
    return UsageError(
        f"-x {name}={value} cannot be used: {why}.",
        "use one of these (no script was written):"
        if values
        else "list the differences with the first line, then answer as in the second (no script was written):",
        *(lines if values else ["flask db check", *lines]),
    )
