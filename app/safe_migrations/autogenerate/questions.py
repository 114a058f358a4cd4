"""Answers that only people know about a change of the models: asked on a terminal, or given with -x."""

import sys
from collections.abc import Iterable

import click
from alembic import context

from ..errors import MigrationError

FORMS = {
    "rename": ("rename=user.username:login", "rename=TABLE.OLD:NEW, or for a table rename=OLD:NEW"),
    "default": ("default=user.age:0", "default=TABLE.COLUMN:VALUE"),
    "drop": ("drop=pet", "drop=TABLE"),
}


def has_terminal() -> bool:
    """Return True if there is a terminal to ask on."""
    return sys.stdin.isatty()


def confirm(question: str) -> bool:
    """Ask, if there is a terminal; return True for yes."""
    return has_terminal() and click.confirm(question, err=True)


def given(name: str) -> list[str]:
    """Return the values of `-x name=...`, each once: Flask-Migrate passes them on twice."""
    arguments = [argument.partition("=") for argument in context.get_x_argument()]
    return list(dict.fromkeys(value for key, _, value in arguments if key == name))


def given_pairs(name: str) -> dict[str, str]:
    """Return ``{"user.username": "login"}`` for `-x rename=user.username:login`.

    Raise MigrationError for another form, or two answers for one name.
    """
    found: dict[str, str] = {}
    for value in given(name):
        left, colon, right = value.partition(":")
        if not left or not colon or (name == "rename" and not right):
            raise wrong_answer(name, value, f"the form is {FORMS[name][1]}")
        if left in found:
            raise wrong_answer(name, value, f"{left} is given twice, with different values")
        found[left] = right
    return found


def wrong_answer(name: str, value: str, why: str, fitting: Iterable[str] = ()) -> MigrationError:
    """Return the error for an answer that does not fit; ``fitting`` are some that would."""
    values = list(fitting)
    lines = [f'flask db -x {name}={each} migrate -m "..."' for each in values] or [
        f'flask db -x {FORMS[name][0]} migrate -m "..."'
    ]
    return MigrationError(
        f"-x {name}={value} cannot be used: {why}.",
        "use one of these; no script was written:" if values else "see the differences, then use this form:",
        *(lines if values else ["flask db check", *lines]),
    )
