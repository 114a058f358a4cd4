"""The columns and keys of a table as SQLite's PRAGMAs report them, with the exact SQL of defaults."""

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, Constraint, ForeignKeyConstraint, Index, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.schema import ColumnCollectionConstraint

from ..base import double_quoted


@dataclass(frozen=True)
class StoredColumn:
    """A column of a table in the database; ``default`` is SQL, or None."""

    name: str
    type: str
    is_not_null: bool
    default: str | None
    in_key: bool

    @property
    def affinity(self) -> str:
        """Return how SQLite converts values that are stored in the column (sqlite.org/datatype3.html, 3.1)."""
        parts = {"INT": "INTEGER", "CHAR|CLOB|TEXT": "TEXT", "BLOB|^$": "BLOB", "REAL|FLOA|DOUB": "REAL"}
        return next((found for part, found in parts.items() if re.search(part, self.type, re.IGNORECASE)), "NUMERIC")


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


KINDS: dict[type[Constraint], str] = {
    PrimaryKeyConstraint: "primary key",
    UniqueConstraint: "UNIQUE",
    ForeignKeyConstraint: "foreign key",
}


@dataclass(frozen=True)
class Key:
    """A primary key, UNIQUE constraint or foreign key (``kind``), with its columns in lower case.

    Of a foreign key also the table to which it refers: two keys of one column may refer to two tables.
    """

    kind: str
    columns: frozenset[str]
    referred: str = ""

    @classmethod
    def of(cls, kind: str, columns: "Iterable[Column[Any] | str]", referred: str = "") -> "Key":
        """Return the key of columns, or of their names."""
        names = frozenset(str(getattr(column, "name", column)).lower() for column in columns)
        return cls(kind, names, referred.lower())

    def renamed(self, names: dict[str, str]) -> "Key":
        """Return the key with the new names of its columns."""
        return replace(self, columns=frozenset(names.get(name, name) for name in self.columns))

    def __str__(self) -> str:
        to = f" to {self.referred}" if self.referred else ""
        return f"{self.kind} ({', '.join(sorted(self.columns))}){to}"


def stored_keys(driver: sqlite3.Connection, table: str) -> set[Key]:
    """Return the primary key, the UNIQUE constraints and the foreign keys of a table in the database."""
    quoted = double_quoted(table)
    found = {Key.of("primary key", [name for name, each in stored_columns(driver, table).items() if each.in_key])}
    # seq, name, unique, origin (u: a UNIQUE constraint), partial: sqlite.org/pragma.html, index_list
    for name in [row[1] for row in driver.execute(f"PRAGMA index_list({quoted})").fetchall() if row[3] == "u"]:
        columns = driver.execute(f"PRAGMA index_info({double_quoted(name)})").fetchall()
        found.add(Key.of("UNIQUE", [column[2] for column in columns]))
    # id, seq, table, from: sqlite.org/pragma.html, foreign_key_list
    rows = driver.execute(f"PRAGMA foreign_key_list({quoted})").fetchall()
    for number, referred in {(row[0], row[2]) for row in rows}:
        found.add(Key.of("foreign key", [row[3] for row in rows if row[0] == number], referred))
    return {key for key in found if key.columns}


def keys_of(constraints: Iterable[Constraint], indexes: Iterable[Index]) -> set[Key]:
    """Return the primary keys, the UNIQUE constraints and indexes, and the foreign keys among SQLAlchemy's objects."""
    found = {Key.of("UNIQUE", index.columns.values()) for index in indexes if _is_unique(index)}
    for each in constraints:
        if isinstance(each, ColumnCollectionConstraint) and (kind := KINDS.get(type(each))):
            referred = _referred(each) if isinstance(each, ForeignKeyConstraint) else ""
            found.add(Key.of(kind, each.columns.values(), referred))
    return found


def _is_unique(index: Index) -> bool:
    """Return True if no two rows can have the same values in the columns of the index."""
    is_partial = index.dialect_options["sqlite"]["where"] is not None
    return bool(index.unique) and not is_partial and all(isinstance(each, Column) for each in index.expressions)


def _referred(key: ForeignKeyConstraint) -> str:
    """Return the name of the table to which a foreign key refers, without its schema."""
    return key.elements[0].target_fullname.rpartition(".")[0].removeprefix(f"{key.table.schema}.")
