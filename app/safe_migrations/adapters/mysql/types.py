"""Whether MySQL and MariaDB copy the table for a change of a column's type.

Measured on MySQL 9.7 and MariaDB 10.11 with ALGORITHM=INPLACE, LOCK=NONE, as the tests do; in the manuals see "Online
DDL Operations" and "InnoDB Online DDL Overview".
"""

import re
from dataclasses import dataclass

from sqlalchemy.engine import Dialect
from sqlalchemy.exc import CompileError
from sqlalchemy.types import TypeEngine

TYPE = re.compile(r"(?P<kind>[A-Z]+)(?: PRECISION)?(?:\((?P<arguments>.*?)\))?(?P<options>(?: [A-Z].*)?)", re.DOTALL)
MEMBER = re.compile(r"'((?:[^']|'')*)'")
CHARSET = re.compile(r" (?:CHARACTER SET (?P<charset>\w+)|COLLATE (?P<collation>\w+))", re.IGNORECASE)
SAME = {"BOOL": "TINYINT", "BOOLEAN": "TINYINT", "INTEGER": "INT", "NUMERIC": "DECIMAL", "REAL": "DOUBLE"}
INTEGERS = ("TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT")
# The arguments of a type without parentheses.
ARGUMENTS = {"DECIMAL": "10,0", "CHAR": "1", "BIT": "1", "DATETIME": "0", "TIMESTAMP": "0", "TIME": "0"}
DEFAULT_CHARSET = "utf8mb4"
BYTES = {"latin1": 1, "ascii": 1, "binary": 1, "utf8": 3, "utf8mb3": 3, "ucs2": 2}


@dataclass(frozen=True)
class ColumnType:
    """A type as the servers see it: ``VARCHAR``, its length, options such as ``UNSIGNED``, and its character set."""

    kind: str
    arguments: str
    options: str
    charset: str | None
    collation: str | None

    @classmethod
    def of(cls, type_: TypeEngine[object], dialect: Dialect) -> "ColumnType | None":
        """Return the type on that dialect; None if it has no SQL, such as a String without a length."""
        try:
            text = type_.compile(dialect=dialect)
        except CompileError:
            return None
        if text == "JSON" and getattr(dialect, "is_mariadb", False):
            text = "LONGTEXT COLLATE utf8mb4_bin"  # MariaDB's documentation, "JSON Data Type": an alias
        said = {key: value for found in CHARSET.finditer(text) for key, value in found.groupdict().items() if value}
        if (found := TYPE.fullmatch(CHARSET.sub("", text))) is None:
            return None
        kind = SAME.get(found["kind"], found["kind"])
        arguments = found["arguments"] or ARGUMENTS.get(kind, "")
        if kind not in ("ENUM", "SET"):
            arguments = arguments.replace(" ", "")
        if kind == "FLOAT":
            kind, arguments = ("DOUBLE" if arguments.isdigit() and int(arguments) > 24 else "FLOAT"), ""
        if (kind in INTEGERS and "ZEROFILL" not in found["options"]) or kind in ("TEXT", "BLOB", "YEAR"):
            arguments = ""
        charset = said.get("charset") or said.get("collation", "").partition("_")[0] or None
        return cls(kind, arguments, found["options"], charset, said.get("collation"))

    @property
    def members(self) -> list[str]:
        """Return the values of an ENUM or a SET."""
        return MEMBER.findall(self.arguments) if self.kind in ("ENUM", "SET") else []

    @property
    def length(self) -> int | None:
        """Return the length of a VARCHAR or VARBINARY; None for any other type."""
        return int(self.arguments) if self.kind in ("VARCHAR", "VARBINARY") else None

    @property
    def width(self) -> int:
        """Return how many bytes a character may take: four, unless the type says otherwise."""
        return 1 if self.kind == "VARBINARY" else BYTES.get(self.charset or DEFAULT_CHARSET, 4)

    def becomes(self, other: "ColumnType") -> bool:
        """Return True if no row is rewritten for the ``other`` type; for VARCHAR past 255 bytes see facts.py."""
        if self.kind != other.kind or self.options != other.options:
            return False
        if (self.charset or DEFAULT_CHARSET) != (other.charset or DEFAULT_CHARSET):
            return False
        if self.length is not None and other.length is not None:
            return self.length <= other.length
        if self.members:
            count = len(self.members)
            same = other.members[:count] == self.members
            return same and _bytes(self.kind, count) == _bytes(self.kind, len(other.members))
        return self.arguments == other.arguments


def _bytes(kind: str, members: int) -> int:
    """Return the size of a value: its number, or a bit for each (manual, "Data Type Storage Requirements")."""
    return 1 + (members > 255) if kind == "ENUM" else next(size for size in (1, 2, 3, 4, 8) if members <= size * 8)
