"""The columns of a table as SQLite's PRAGMA table_xinfo reports them, with the exact SQL of their defaults."""

import sqlite3
from dataclasses import dataclass

from ..base import double_quoted


@dataclass(frozen=True)
class StoredColumn:
    """A column of a table in the database; ``default`` is SQL, or None."""

    name: str
    type: str
    is_not_null: bool
    default: str | None
    in_key: bool


def stored_columns(driver: sqlite3.Connection, table: str) -> dict[str, StoredColumn]:
    """Return the columns of a table by their names in lower case, generated ones too."""
    # cid, name, type, notnull, dflt_value, pk, hidden (1 in a virtual table): sqlite.org/pragma.html, table_xinfo
    rows = driver.execute(f"PRAGMA table_xinfo({double_quoted(table)})").fetchall()
    return {
        name.lower(): StoredColumn(name, type_, bool(not_null), default, bool(key))
        for _, name, type_, not_null, default, key, hidden in rows
        if hidden != 1
    }


def keeps_default(driver: sqlite3.Connection, before: StoredColumn, after: StoredColumn) -> bool:
    """Return True if the default of ``before``, if any, has the same SQL or the same value in ``after``."""
    if before.default in (None, after.default):
        return True
    try:
        query = f"SELECT CAST(({before.default}) AS TEXT) IS CAST(({after.default}) AS TEXT)"
        return after.default is not None and bool(driver.execute(query).fetchone()[0])
    except sqlite3.Error:  # of a default that is only a name
        return False
