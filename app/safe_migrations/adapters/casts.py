"""The effect of a type change on a column's values: they stay the same, are cut or refused, or change.

Types are compared as CREATE TABLE writes them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf
from typing import Any

from sqlalchemy import ColumnElement, TypeDecorator, func, or_
from sqlalchemy import Enum as EnumType
from sqlalchemy.exc import ArgumentError, CompileError
from sqlalchemy.types import TypeEngine

from .dialects import dialect_of


class Cast(Enum):
    """The effect of a type change on the existing values of a column."""

    KEEPS = "all values stay the same"
    SHRINKS = "values that are too long, too large or too precise are cut or refused"
    LOSES = "some values are changed or refused"


@dataclass(frozen=True)
class Kind:
    """A column type, whatever SQL calls it: VARCHAR(80) is of the family "text", with size 80.

    ``size`` is in characters or bytes of a text, bits of an integer or float, digits of a decimal, or digits of the
    fraction of a second.
    """

    family: str
    size: float = inf
    scale: float = 0
    unsigned: bool = False
    values: frozenset[str] = frozenset()
    """The values of an enum, or of a SET."""
    in_order: tuple[str, ...] = field(default=(), compare=False)
    """The values of the enum or SET, in the order of their definition."""
    name: str | None = None
    """The name of an enum, if the database has it as a type of its own, as PostgreSQL does."""
    stored: str = ""
    """How values are stored, where types of one family differ in it: "padded" for CHAR."""
    in_bytes: bool = False
    """Whether ``size`` of a text is in bytes; a character takes up to four."""

    @property
    def bits(self) -> float:
        """Return how many bits the largest integer has: 31 for a 32-bit integer with a sign, 32 for an unsigned one."""
        return self.size if self.unsigned else self.size - 1

    @property
    def digits(self) -> float:
        """Return how many digits the largest integer or decimal has before the decimal point.

        For any other family return ``size``.
        """
        if self.family == "integer":
            return len(str(2 ** int(self.bits)))
        return inf if self.size == inf else self.size - self.scale

    @property
    def width(self) -> float:
        """Return how many characters the longest value has when it is converted to text; infinity if there is no limit.

        A text with ``in_bytes`` is counted in bytes. Return infinity also for a family of unknown width, e.g. json.
        """
        if self.family in ("text", "binary"):
            return self.size
        if self.family == "enum":
            return max(map(len, self.values), default=inf)
        signs = {"integer": 1, "decimal": self.scale + 3}
        return self.digits + signs[self.family] if self.family in signs else WIDTHS.get(self.family, inf)


WIDTHS = {"boolean": 5, "date": 10, "datetime": 32, "timestamp": 32, "time": 21, "uuid": 36, "float": 24}

KINDS = {
    **dict.fromkeys(("SMALLINT", "SMALLSERIAL"), Kind("integer", 16)),
    **dict.fromkeys(("INTEGER", "INT", "SERIAL"), Kind("integer", 32)),
    **dict.fromkeys(("BIGINT", "BIGSERIAL"), Kind("integer", 64)),
    **dict.fromkeys(("NUMERIC", "DECIMAL"), Kind("decimal", inf, inf)),
    "REAL": Kind("float", 24),
    **dict.fromkeys(("FLOAT", "DOUBLE", "DOUBLE PRECISION"), Kind("float", 53)),
    **dict.fromkeys(("VARCHAR", "CHARACTER VARYING", "TEXT"), Kind("text")),
    "CITEXT": Kind("text", stored="citext"),
    **dict.fromkeys(("CHAR", "CHARACTER"), Kind("text", 1, stored="padded")),
    **dict.fromkeys(("BYTEA", "BLOB"), Kind("binary")),
    **dict.fromkeys(("BOOLEAN", "BOOL"), Kind("boolean", 1)),
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMP WITHOUT TIME ZONE", "DATETIME"), Kind("datetime", 6)),
    "TIMESTAMP WITH TIME ZONE": Kind("datetime", 6, stored="in UTC"),
    "DATE": Kind("date"),
    **dict.fromkeys(("TIME", "TIME WITHOUT TIME ZONE"), Kind("time", 6)),
    "TIME WITH TIME ZONE": Kind("time", 6, stored="with its zone"),
    "JSON": Kind("json"),
    "JSONB": Kind("json", stored="parsed"),
    "UUID": Kind("uuid"),
}
"""The Kind of each type, by its name in CREATE TABLE. A size in parentheses, as in VARCHAR(80), replaces the size."""

WIDENING = frozenset({("date", "datetime")})
"""Pairs (old, new) of families: the new one can store all values of the old one, whatever the sizes."""

OPTIONS = re.compile(r"\s*(\(.*?\)|\b(UNSIGNED|ZEROFILL)\b|\b(COLLATE|CHARACTER SET|CHARSET)\b.*)", re.IGNORECASE)
SIZES = re.compile(r"\((\d+)(?:,\s*(-?\d+))?\)")


def spelled(type_: TypeEngine[Any], dialect: str) -> str | None:
    """Return the type as CREATE TABLE writes it, e.g. VARCHAR(80).

    Return None if the dialect cannot write it, e.g. a String without a length on MySQL.
    """
    try:
        return str(type_.compile(dialect=dialect_of(dialect)))
    except CompileError:
        return None


def kind_of(type_: TypeEngine[Any] | None, dialect: str, kinds: Mapping[str, Kind]) -> Kind | None:
    """Return the Kind of a type on ``dialect``: of an enum, one with its values.

    Of any other type, return the entry of ``kinds`` for its SQL name, with the size that the type gives, or a family of
    its own if ``kinds`` has none. Return None if ``type_`` is None, or the dialect cannot write it.
    """
    text = None if type_ is None else spelled(type_, dialect)
    if type_ is None or text is None:
        return None
    text = text.upper()
    enum = enum_of(type_, dialect)
    if enum is not None:
        name, values = None if text.startswith("ENUM(") else enum.name, tuple(map(str, enum.enums))
        return Kind("enum", values=frozenset(values), in_order=values, name=name)
    return kind_of_text(text, kinds)


def kind_of_text(text: str, kinds: Mapping[str, Kind]) -> Kind:
    """Return the Kind of a type in upper case, e.g. VARCHAR(80); a type not in ``kinds`` is a family of its own."""
    word = OPTIONS.sub("", text).strip()
    if word not in kinds:
        return Kind(text)
    kind = replace(kinds[word], unsigned="UNSIGNED" in text)
    sizes = SIZES.search(text)
    if sizes is None or kind.family in ("integer", "boolean"):  # TINYINT(1) is as wide as TINYINT
        return kind
    if kind.family == "float":
        return replace(kind, size=24 if int(sizes[1]) <= 24 else 53)
    return replace(kind, size=int(sizes[1]), scale=int(sizes[2] or 0))


def enum_of(type_: TypeEngine[Any], dialect: str) -> EnumType | None:
    """Return SQLAlchemy's enum for a type that the database stores as an ENUM, even if a TypeDecorator wraps it.

    Return None for any other type, e.g. an enum that is stored as VARCHAR.
    """
    known = dialect_of(dialect)
    try:
        found: TypeEngine[Any] = type_.dialect_impl(known)
    except ArgumentError:  # a type of another database, with options that this one lacks
        return None
    if isinstance(found, TypeDecorator):
        found = found.load_dialect_impl(known)
    return found if isinstance(found, EnumType) and found.native_enum and known.supports_native_enum else None


def cast(old: Kind | None, new: Kind | None, widening: frozenset[tuple[str, str]] = WIDENING) -> Cast:
    """Return the effect on a column's values if its type changes from ``old`` to ``new``.

    None as ``old``, for a type that could not be read, counts as a text without a maximum length; None as ``new`` gives
    LOSES. ``widening`` has the pairs (old, new) of families that keep all values. A text without a maximum length keeps
    the values of every type but binary.
    """
    if new is None:
        return Cast.LOSES
    if new.family == "text" and (old is None or old.family != "binary"):
        each = 4 if new.in_bytes and (old is None or not old.in_bytes) else 1
        return _fits((inf if old is None else old.width) <= new.size / each)
    if old is None:
        return Cast.LOSES
    if old.family == new.family:
        return _cast_within(old, new)
    if old.family in ("integer", "decimal") and new.family in ("integer", "decimal"):
        whole = old.family == "integer" or old.scale == 0
        return _fits(old.digits <= _digits_held(new) and _signs_fit(old, new)) if whole else Cast.LOSES
    if (old.family, new.family) == ("integer", "float"):
        return Cast.KEEPS if old.bits <= new.size else Cast.LOSES
    return Cast.KEEPS if (old.family, new.family) in widening else Cast.LOSES


def _cast_within(old: Kind, new: Kind) -> Cast:
    if old.family == "enum":
        return Cast.KEEPS if old.values <= new.values else Cast.LOSES
    if old.family == "integer":
        return _fits(old.bits <= new.bits and _signs_fit(old, new))
    return _fits(_signs_fit(old, new) and old.digits <= new.digits and old.scale <= new.scale and old.size <= new.size)


def _signs_fit(old: Kind, new: Kind) -> bool:
    return old.unsigned or not new.unsigned


def _digits_held(new: Kind) -> float:
    """Return the largest number of digits with which every whole number fits: 9 for a 32-bit integer."""
    return new.digits - 1 if new.family == "integer" else new.digits


def _fits(it_does: bool) -> Cast:
    return Cast.KEEPS if it_does else Cast.SHRINKS


def exceeds_size(old: Kind, new: Kind, column: ColumnElement[Any]) -> ColumnElement[bool] | None:
    """Return an SQL condition that selects values of ``column`` that are too large or too precise for ``new``.

    Return None unless both kinds are texts, or both are integers or decimals.
    """
    if old.family == new.family == "text":
        return (func.octet_length(column) if new.in_bytes else func.char_length(column)) > new.size
    if old.family not in ("integer", "decimal"):
        return None
    if new.family == "integer":
        return or_(column > 2 ** int(new.bits) - 1, column < (0 if new.unsigned else -(2 ** int(new.bits))))
    if new.family == "decimal":
        return or_(func.abs(column) >= 10 ** int(new.digits), func.round(column, int(new.scale)) != column)
    return None
