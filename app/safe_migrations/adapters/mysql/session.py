"""The database session in which revisions run: its settings, which a script may change, and its statements."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

Execute = Callable[..., list[tuple[Any, ...]]]
"""A function that runs one SQL statement, with parameters if given, and returns the rows of the result."""

ER_NO_SUCH_TABLE, ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK = 1146, 1205, 1213

# The execution option for the function to call before each try of a statement on a connection: the fence of a leased
# lock. It has the arguments of SQLAlchemy's event do_execute.
BEFORE_STATEMENT = "flask_db_before_statement"

# Settings for the statements of journal and undo, whatever the script has set: SHOW CREATE with names in backticks; any
# date, and 0 in an AUTO_INCREMENT column, are inserted as they are; and no limit to the rows of a statement.
PLAIN = {
    "sql_mode": "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES",
    "sql_select_limit": 18446744073709551615,
    "sql_safe_updates": 0,
    "sql_quote_show_create": 1,
}

# The settings of the character sets in which driver and server exchange text.
LETTERS = ("character_set_client", "collation_connection", "character_set_results")
# Other words with which SET changes these: SET NAMES, SET CHARACTER SET, SET CHARSET, SET character_set_connection.
OTHER_NAMES = {"names", "character", "charset", "character_set_connection"}
MAKES_KEYS = "sql_generate_invisible_primary_key"
# SQL modes that change how the server writes SHOW CREATE or reads a statement.
CHANGES_TEXTS = {"ANSI", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "PIPES_AS_CONCAT", "IGNORE_SPACE"}


def error_number(error: BaseException | None) -> int:
    """Return the number that the server gave an error of the driver, such as 1205; 0 if it did not give one."""
    number = error.args[0] if error is not None and error.args else 0
    return number if isinstance(number, int) else 0


class Session:
    """The database session in which revisions run.

    ``is_changed`` says whether a script may have changed settings; ``plain`` are the settings for this package's own
    statements; ``watched`` says whether the journal records the statements that now run.
    """

    def __init__(self, execute: Execute) -> None:
        self.execute = execute
        self.plain = plain_settings(execute)
        self.is_changed = False
        self.watched = True
        self.read_mode()

    def read_mode(self) -> None:
        """Read the SQL mode and the current database from the server, because the script may have changed them."""
        self.watched = False
        ((mode, self.database),) = self.execute("SELECT @@SESSION.sql_mode, DATABASE()")
        self.is_changed |= bool(CHANGES_TEXTS & set(mode.split(",")))
        self.strict = "STRICT_" in mode
        self.escapes = "NO_BACKSLASH_ESCAPES" not in mode
        self.mode_is_known = self.watched = True

    def note_set(self, words: set[str]) -> None:
        """Note that SET or USE, a statement of these ``words``, may have changed settings or the current database.

        Settings that are not in ``plain`` do not count, such as foreign_key_checks in a squash: each later statement of
        this package's would first read all settings, and change some.
        """
        if not words.isdisjoint({"use", *self.plain, *OTHER_NAMES}):
            self.is_changed, self.mode_is_known = True, False

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Run the body's statements without recording them in the journal.

        If a script may have changed settings, those in ``plain`` apply until the body ends.
        """
        before, self.watched = self.watched, False
        try:
            with temporary_settings(self.execute, self.plain) if self.is_changed else nullcontext():
                yield
        finally:
            self.watched = before

    def reset_charsets(self) -> None:
        """Set the session's character sets back to the values from before the script ran."""
        change_settings(self.execute, {name: self.plain[name] for name in LETTERS})


def executing(connection: Connection) -> Execute:
    """Return a function that runs one statement on ``connection``, in its open transaction, or raises DBAPIError."""

    def execute(sql: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        result = connection.exec_driver_sql(sql if parameters else sql.replace("%", "%%"), parameters)
        return [tuple(row) for row in result] if result.returns_rows else []

    return execute


def plain_settings(execute: Execute) -> dict[str, object]:
    """Return the session settings for the statements of this package, whatever a script has set.

    These are PLAIN, the session's present character sets and, if the user may set that, a 0 for MAKES_KEYS: the server
    generates no primary keys. Call this before a script changes the character sets.
    """
    letters = read_settings(execute, LETTERS)
    return {**PLAIN, **letters, **(dict.fromkeys([MAKES_KEYS], 0) if can_turn_off_generated_keys(execute) else {})}


def can_turn_off_generated_keys(execute: Execute) -> bool:
    """Return True if the server can add a primary key `my_row_id` to new tables, and this user may turn that off.

    MySQL has this setting from 8.0.30 on, for tables without a primary key of their own.
    """
    try:
        execute(f"SET SESSION {MAKES_KEYS} = @@SESSION.{MAKES_KEYS}")
    except DBAPIError:  # another version or product, or a user without SESSION_VARIABLES_ADMIN
        return False
    return True


@contextmanager
def temporary_settings(execute: Execute, settings: Mapping[str, object]) -> Iterator[dict[str, object]]:
    """Set these settings of the session for the body, and reset them after it; yield their previous values."""
    before = read_settings(execute, settings)
    changed = [name for name, value in settings.items() if str(before[name]) != str(value)]
    change_settings(execute, {name: settings[name] for name in changed})
    try:
        yield before
    finally:
        change_settings(execute, {name: before[name] for name in changed})


def read_settings(execute: Execute, names: Iterable[str]) -> dict[str, object]:
    """Return the session's value of each of these settings. Raise DBAPIError if one does not exist or none is given."""
    (row,) = execute("SELECT " + ", ".join(f"@@SESSION.{name}" for name in names))
    return dict(zip(names, row, strict=True))


def change_settings(execute: Execute, settings: Mapping[str, object]) -> None:
    """Set these settings of the session in one statement. Raise DBAPIError if the server rejects one."""
    if settings:
        execute("SET SESSION " + ", ".join(f"{name} = %s" for name in settings), tuple(settings.values()))
