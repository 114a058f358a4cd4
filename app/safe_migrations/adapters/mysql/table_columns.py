"""The columns of a table that hold values of their own, and whether a statement keeps these values.

Here each value has to survive the new type and the way back; in a review (adapters/casts.py) only the new type.
"""

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
    """A column that holds values of its own."""

    name: str
    type: str
    follows_updates: bool
    nullable: bool
    charset: str


def columns_of(execute: Execute, table: str) -> list[Column]:
    """Return the columns of a table except generated ones, with names in lower case."""
    return [
        Column(
            name.lower(),
            kind,
            "on update" in extra.lower(),
            nullable == "YES",
            charset or "",
        )
        for name, kind, extra, nullable, charset in execute(
            "SELECT column_name, column_type, extra, is_nullable, character_set_name"
            " FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = %s"
            " ORDER BY ordinal_position",
            (table,),
        )
        if " GENERATED" not in extra.upper()
    ]


def primary_key(keys: list[str]) -> str:
    """Return SQL for the key of a copy: these columns, or one that numbers the rows, for servers that require a key."""
    return f"(PRIMARY KEY ({listed(keys)}))" if keys else f"({ROW_NUMBER} BIGINT AUTO_INCREMENT PRIMARY KEY)"


def equals(one: str, other: str, column: Column) -> str:
    """Return SQL for: two values of that column's type are the same, byte by byte: a collation may equate a and A."""
    return f"CAST({one} AS BINARY) <=> CAST({other} AS BINARY)" if column.charset else f"{one} <=> {other}"


def listed(names: list[str], alias: str = "") -> str:
    """Return the columns as SQL, of the table with that alias."""
    return ", ".join((f"{alias}." if alias else "") + quoted(name) for name in names)


@dataclass(frozen=True)
class Modification:
    """The definition of a column in MODIFY or CHANGE: its type (``VARCHAR(80)``), and all its words in capitals."""

    type: str
    words: tuple[str, ...]

    @property
    def is_generated(self) -> bool:
        """Return True if its values are computed from now on."""
        return "AS" in self.words

    @property
    def charset(self) -> str:
        """Return the character set that it gets, or an empty string if that is the table's."""
        for at, word in enumerate(self.words):
            if word == "CHARSET" or self.words[at - 1 : at + 1] == ("CHARACTER", "SET"):
                return "".join(self.words[at + 1 : at + 2]).lower() or "?"
        at = self.words.index("COLLATE") + 1 if "COLLATE" in self.words else len(self.words)
        return "".join(self.words[at : at + 1]).lower().partition("_")[0]

    @property
    def not_null(self) -> bool:
        """Return True if it rejects NULL."""
        return ("NOT", "NULL") in zip(self.words, self.words[1:], strict=False) or "PRIMARY" in self.words


def loses(column: Column, now: Modification | None, charset: str, strict: bool) -> bool:
    """Return True if the column is dropped, or gets a type that does not keep all its values.

    ``charset`` is that of the table; ``strict`` says whether the server refuses values that do not fit.
    """
    if now is None or now.is_generated or not keeps_values(column.type, now.type):
        return True
    if column.charset and not keeps_letters(column.charset, now.charset or charset):
        return True
    is_timestamp = column.type.lower().startswith("timestamp")  # MariaDB makes NULL the time, in its strict mode too
    if column.nullable and now.not_null and (is_timestamp or not strict):
        return True
    return not strict and column.type.lower().startswith(("enum", "set"))


def keeps_values(before: str, now: str) -> bool:
    """Return True if no value changes when a column is converted from type ``before`` to ``now`` and back.

    In strict mode the server refuses to remove a value of an ENUM or SET that a row uses.
    """
    before, now = before.upper(), now.upper()
    if before.startswith(("ENUM(", "SET(")):
        return before.partition("(")[0] == now.partition("(")[0]
    old, new = kind_of_text(before, MYSQL_KINDS), kind_of_text(now, MYSQL_KINDS)
    return old.family == new.family and new.stored in ("", old.stored) and cast(old, new) is Cast.KEEPS


def keeps_letters(before: str, now: str) -> bool:
    """Return True if no text changes when it is converted from character set ``before`` to ``now`` and back."""
    before, now = (SAME_CHARSET.get(charset, charset) for charset in (before, now))
    return before == now or (now == "utf8mb4" and before in {"ascii", "latin1", "utf8mb3"})
