"""The session in which the steps of a run go on, whose settings a script may change."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

Execute = Callable[..., list[tuple[Any, ...]]]
"""Runs one statement, with parameters if there are any, and returns its rows."""

# What journal and undo need of a session, whatever the script has set: the server's texts with names in backticks; a 0
# in a column that counts, and any date that a table may have, as they are; and no limit to the rows of a statement.
PLAIN = {
    "sql_mode": "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES",
    "sql_select_limit": 18446744073709551615,
    "sql_safe_updates": 0,
    "sql_quote_show_create": 1,
}

# The character sets in which driver and server understand each other.
LETTERS = ("character_set_client", "collation_connection", "character_set_results")
MAKES_KEYS = "sql_generate_invisible_primary_key"
# Modes of SQL that change how the server writes or reads a text.
CHANGES_TEXTS = {"ANSI", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "PIPES_AS_CONCAT", "IGNORE_SPACE"}


class Session:
    """The settings of the session, as the script has set them, and the run's own statements between the script's."""

    def __init__(self, execute: Execute) -> None:
        self.execute = execute
        self.plain = plain(execute)
        self.is_changed = False
        self.watched = True
        self.read_mode()

    def read_mode(self) -> None:
        """Ask for the mode of SQL and the database, which the script may have changed."""
        self.watched = False
        ((mode, self.database),) = self.execute("SELECT @@SESSION.sql_mode, DATABASE()")
        self.is_changed |= bool(CHANGES_TEXTS & set(mode.split(",")))
        self.strict = "STRICT_" in mode
        self.escapes = "NO_BACKSLASH_ESCAPES" not in mode
        self.mode_is_known = self.watched = True

    def forget(self) -> None:
        """Note that the script may have changed settings, or the database."""
        self.is_changed, self.mode_is_known = True, False

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Run our own statements, with plain settings if the script's may change a text."""
        before, self.watched = self.watched, False
        try:
            with temporary_settings(self.execute, self.plain) if self.is_changed else nullcontext():
                yield
        finally:
            self.watched = before

    def read_what_we_write(self) -> None:
        """Let the server read what we write, whatever character set the script has set."""
        change_settings(self.execute, {name: self.plain[name] for name in LETTERS})


def executing(connection: Connection) -> Execute:
    """Return what runs statements on ``connection``, in its open transaction. That raises DBAPIError."""

    def execute(sql: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        result = connection.exec_driver_sql(sql if parameters else sql.replace("%", "%%"), parameters)
        return [tuple(row) for row in result] if result.returns_rows else []

    return execute


def plain(execute: Execute) -> dict[str, object]:
    """Return PLAIN, the character sets of a session that no script has changed yet, and no keys added by the server."""
    letters = read_settings(execute, LETTERS)
    return {**PLAIN, **letters, **(dict.fromkeys([MAKES_KEYS], 0) if may_forgo_keys(execute) else {})}


def may_forgo_keys(execute: Execute) -> bool:
    """Return True if the server can add a key `my_row_id` to tables without one (MySQL 8.0.30), and we may set that."""
    if not execute(f"SHOW VARIABLES LIKE '{MAKES_KEYS}'"):
        return False
    try:
        execute(f"SET SESSION {MAKES_KEYS} = @@SESSION.{MAKES_KEYS}")
    except DBAPIError:  # without SESSION_VARIABLES_ADMIN
        return False
    return True


@contextmanager
def temporary_settings(execute: Execute, settings: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Give settings of the session other values for a while; yield those that they had."""
    before = read_settings(execute, settings)
    changed = [name for name, value in settings.items() if str(before[name]) != str(value)]
    change_settings(execute, {name: settings[name] for name in changed})
    try:
        yield before
    finally:
        change_settings(execute, {name: before[name] for name in changed})


def read_settings(execute: Execute, names: Iterable[str]) -> dict[str, object]:
    """Return these settings of the session. Raise DBAPIError for one that the server does not have."""
    (row,) = execute("SELECT " + ", ".join(f"@@SESSION.{name}" for name in names))
    return dict(zip(names, row, strict=True))


def change_settings(execute: Execute, settings: Mapping[str, object]) -> None:
    """Give settings of the session these values, in one statement. Raise DBAPIError as read_settings() does."""
    if settings:
        execute("SET SESSION " + ", ".join(f"{name} = %s" for name in settings), tuple(settings.values()))
