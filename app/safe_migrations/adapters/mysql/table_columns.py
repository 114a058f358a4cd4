"""The columns of a table, except generated ones, and whether a change of a column's type keeps its values.

Here a value is kept if a conversion to the new type and back returns the same value. A review (adapters/casts.py)
only asks whether the conversion to the new type succeeds without a loss.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ..base import OWN_TABLES
from ..casts import Cast, cast, kind_of_text
from .catalog import quoted
from .facts import MYSQL_KINDS
from .session import Execute

ROW_NUMBER = f"{OWN_TABLES}row"

SAME_CHARSET = {"utf8": "utf8mb3"}


@dataclass(frozen=True)
class Column:
    """A column of a table, not a generated one.

    ``follows_updates`` is True if it has ON UPDATE CURRENT_TIMESTAMP; ``charset`` and ``collation`` are empty if it is
    not a text column.
    """

    name: str
    type: str
    follows_updates: bool
    nullable: bool
    charset: str
    collation: str

    @property
    def definition(self) -> str:
        """Return the type, and for a text column the character set and collation, as a definition in SQL."""
        return f"{self.type} CHARACTER SET {self.charset} COLLATE {self.collation}" if self.charset else self.type


def columns_of(execute: Execute, table: str) -> list[Column]:
    """Return the columns of a table except generated ones, with names in lower case."""
    return [
        Column(
            name.lower(),
            kind,
            "on update" in extra.lower(),
            nullable == "YES",
            charset or "",
            collation or "",
        )
        for name, kind, extra, nullable, charset, collation in execute(
            "SELECT column_name, column_type, extra, is_nullable, character_set_name, collation_name"
            " FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s"
            " ORDER BY ordinal_position",
            (table,),
        )
        if " GENERATED" not in extra.upper()
    ]


def create_copied(execute: Execute, table: str, columns: Mapping[str, Column], key: list[str]) -> None:
    """Create a table for copied rows of ``columns``, by the names that they get, with the primary key ``key``.

    Without a key, number the rows in a column of their own. Some servers refuse tables without a primary key, and some
    (Percona XtraDB Cluster, Group Replication) CREATE TABLE ... AS SELECT.
    """
    lines = [
        f"{quoted(name)} {column.definition} {'NOT NULL' if name in key else 'NULL'}"
        for name, column in columns.items()
    ]
    lines += [f"PRIMARY KEY ({listed(key)})"] if key else [f"{ROW_NUMBER} BIGINT AUTO_INCREMENT PRIMARY KEY"]
    execute(f"CREATE TABLE {table} ({', '.join(lines)}) ENGINE=InnoDB")


def equals(one: str, other: str, column: Column) -> str:
    """Return an SQL condition that is true if the expressions ``one`` and ``other`` are equal, or both NULL.

    ``column`` has their type. Texts are compared byte by byte, because a collation may equate a and A.
    """
    return f"CAST({one} AS BINARY) <=> CAST({other} AS BINARY)" if column.charset else f"{one} <=> {other}"


def listed(names: list[str], alias: str = "") -> str:
    """Return a list of columns in SQL: ``t.`id`, t.`name```, or without ``t.`` if there is no alias."""
    return ", ".join((f"{alias}." if alias else "") + quoted(name) for name in names)


@dataclass(frozen=True)
class Modification:
    """A column's new definition in MODIFY or CHANGE: the type (``VARCHAR(80)``), and all words in capitals."""

    type: str
    words: tuple[str, ...]

    @property
    def is_generated(self) -> bool:
        """Return True if the definition makes this a generated column, whose values the server computes."""
        return "AS" in self.words

    @property
    def charset(self) -> str:
        """Return the character set that the definition names, directly or by its collation; else an empty string."""
        for at, word in enumerate(self.words):
            if word == "CHARSET" or self.words[at - 1 : at + 1] == ("CHARACTER", "SET"):
                return "".join(self.words[at + 1 : at + 2]).lower() or "?"
        at = self.words.index("COLLATE") + 1 if "COLLATE" in self.words else len(self.words)
        return "".join(self.words[at : at + 1]).lower().partition("_")[0]

    @property
    def not_null(self) -> bool:
        """Return True if the definition has NOT NULL or PRIMARY KEY."""
        return ("NOT", "NULL") in zip(self.words, self.words[1:], strict=False) or "PRIMARY" in self.words


def loses_values(column: Column, now: Modification | None, charset: str, strict: bool) -> bool:
    """Return True if the column is dropped, or if values may change when it gets the definition ``now``.

    ``now`` is None for a dropped column. ``charset`` is the table's character set, for a definition that names none;
    ``strict`` says whether the server rejects values that do not fit.
    """
    if now is None or now.is_generated or not keeps_values(column.type, now.type):
        return True
    if column.charset and not keeps_text(column.charset, now.charset or charset):
        return True
    is_timestamp = column.type.lower().startswith("timestamp")  # MariaDB makes NULL the time, in its strict mode too
    if column.nullable and now.not_null and (is_timestamp or not strict):
        return True
    return not strict and column.type.lower().startswith(("enum", "set"))


def keeps_values(before: str, now: str) -> bool:
    """Return True if no value changes when a column is converted from type ``before`` to ``now`` and back.

    An ENUM that stays an ENUM keeps its values, and so does a SET: in strict mode the server refuses to remove a value
    that a row uses. For other modes, loses_values() decides.
    """
    before, now = before.upper(), now.upper()
    if before.startswith(("ENUM(", "SET(")):
        return before.partition("(")[0] == now.partition("(")[0]
    old, new = kind_of_text(before, MYSQL_KINDS), kind_of_text(now, MYSQL_KINDS)
    return old.family == new.family and new.stored in ("", old.stored) and cast(old, new) is Cast.KEEPS


def keeps_text(before: str, now: str) -> bool:
    """Return True if a conversion from character set ``before`` to ``now`` and back is certain to change no text."""
    before, now = (SAME_CHARSET.get(charset, charset) for charset in (before, now))
    return before == now or (now == "utf8mb4" and before in {"ascii", "latin1", "utf8mb3"})
