"""Facts about MySQL and MariaDB."""

import re
from dataclasses import replace
from math import inf
from typing import Any

from alembic.operations.ops import AlterColumnOp
from sqlalchemy import Integer, Select, column, func, select, table
from sqlalchemy import types as sqltypes
from sqlalchemy.dialects.mysql import SET
from sqlalchemy.types import TypeEngine

from ..casts import KINDS, Kind
from ..facts import Facts

# Functions with another value in each row.
DIFFERS = r"\b(?:uuid(?:_short)?|sys_guid|random_bytes|nextval|next\s+value|lastval|setval|utc_timestamp)\b"

MYSQL_KINDS = {
    **KINDS,
    **dict.fromkeys(("TINYINT", "BOOL", "BOOLEAN"), Kind("integer", 8)),
    "MEDIUMINT": Kind("integer", 24),
    **dict.fromkeys(("NUMERIC", "DECIMAL"), Kind("decimal", 10)),
    "VARCHAR": Kind("text", stored="with its length"),
    "FLOAT": Kind("float", 24),
    "REAL": Kind("float", 53),
    "TINYTEXT": Kind("text", 255, in_bytes=True),
    "TEXT": Kind("text", 65_535, in_bytes=True),
    "MEDIUMTEXT": Kind("text", 16_777_215, in_bytes=True),
    "LONGTEXT": Kind("text"),
    "BINARY": Kind("binary", 1),
    "VARBINARY": Kind("binary", stored="with its length"),
    "TINYBLOB": Kind("binary", 255),
    "BLOB": Kind("binary", 65_535),
    "MEDIUMBLOB": Kind("binary", 16_777_215),
    "LONGBLOB": Kind("binary"),
    "DATETIME": Kind("datetime", 0),
    "TIMESTAMP": Kind("timestamp", 0),
    "TIME": Kind("time", 0),
}
"""By the manual, "Data Type Storage Requirements"."""

CHARSET = re.compile(r" CHARACTER SET (\w+)| COLLATE ([^\W_]+)", re.IGNORECASE)
DEFAULT_CHARSET = "utf8mb4"
BYTES = {"latin1": 1, "ascii": 1, "binary": 1, "utf8": 3, "utf8mb3": 3, "ucs2": 2}
"""How many bytes a character may take; in other character sets it is four."""


class MySQLFacts(Facts):
    """By MySQL's manual, "Online DDL Operations", and by what MySQL 9.7 answers to ALGORITHM=INPLACE, LOCK=NONE."""

    product = dialect = "mysql"
    oldest = (8, 0)
    grammar = "mysql"
    ends_transaction = Facts.ends_transaction | {"LOCK TABLE", "UNLOCK TABLES"}
    keys_in_tables = True
    runs_comments = True
    longest_name = 64
    names_in_bytes = False
    checks_stop_renames = True
    unnamed_primary_keys = True
    foreign_keys_need_index = True
    invents_values = True  # in strict mode too (manual, "Data Type Default Values")
    kinds = MYSQL_KINDS
    widening = frozenset({("date", "datetime"), ("timestamp", "datetime")})
    # "Data Type Default Values" in its manual.
    without_default: tuple[type[TypeEngine[Any]], ...] = (sqltypes.Text, sqltypes.JSON, sqltypes.LargeBinary)
    lengths_that_grow_free = 0
    """A VARCHAR of at most this many bytes can grow past 255 bytes without a copy."""

    copied_changes = frozenset(
        {
            "STORED",
            "ADD AUTO_INCREMENT",
            "DROP AUTO_INCREMENT",
            "CHECK",
            "inline CHECK",
            "DROP PRIMARY KEY",
            "the table",
        }
    )
    """What copies the table, besides changes of type and defaults. Adding a primary key and NULL are done in place."""

    def rewrites(self, _old: TypeEngine[Any] | None, _new: TypeEngine[Any]) -> bool:
        """Return False: copying a table does not block reads."""
        return False

    @property
    def ignores_inline_references(self) -> bool:
        """Return True before 9.0 (MySQL 9.0 release notes, WL#16130)."""
        return self.version < (9, 0)

    @property
    def alters_by_copy(self) -> bool:
        """Return True if ALTER TABLE blocks writes while it copies a table."""
        return True

    def copies(self, change: str) -> bool:
        """Return True if ALTER TABLE copies the table for that change, and blocks writes until it is done."""
        return self.alters_by_copy and change in self.copied_changes

    def copies_for_type(self, before: TypeEngine[object] | None, after: TypeEngine[object]) -> bool:
        """Return True for all but a VARCHAR that grows, values appended to an ENUM, and another name of the type.

        Measured with ALGORITHM=INPLACE, LOCK=NONE, as the tests do; VARCHAR past 255 bytes is crosses_length_bytes().
        ``before`` is None if it is unknown.
        """
        old, new = self._stored(before), self._stored(after)
        if old is None or new is None or not self.alters_by_copy:
            return self.alters_by_copy
        (was, charset), (becomes, new_charset) = old, new
        grows = was.stored == "with its length" and was.size <= becomes.size
        appends = was.in_order == becomes.in_order[: len(was.in_order)] and _bytes(was) == _bytes(becomes)
        in_place = replace(was, size=becomes.size if grows else was.size, values=becomes.values) == becomes
        return charset != new_charset or not (in_place and appends)

    def stores_alike(self, one: TypeEngine[Any] | None, other: TypeEngine[Any] | None) -> bool:
        """Return True if columns of both types are stored in the same way, whatever the types are called."""
        return self._stored(one) == self._stored(other)

    def copies_for_default(self, default: str) -> bool:
        """Return True for anything in parentheses, numbers too; SQLAlchemy puts now() into parentheses."""
        return self.alters_by_copy and default.startswith("(")

    def crosses_length_bytes(
        self, before: TypeEngine[object] | None, after: TypeEngine[object], width: int | None = None
    ) -> bool:
        """Return True if the table is copied because a text grows past 255 bytes: its length then takes two bytes.

        See the manual, "Online DDL Operations", VARCHAR.

        ``width`` is the number of bytes that a character may take in the column, if that is known.
        """
        old, new = self._stored(before), self._stored(after)
        if not self.alters_by_copy or old is None or new is None:
            return False
        sizes = [
            kind.size * (1 if kind.family == "binary" else width or BYTES.get(charset, 4))
            for kind, charset in (old, new)
        ]
        same = old[0].family == new[0].family and old[0].stored == new[0].stored == "with its length"
        return same and self.lengths_that_grow_free < sizes[0] <= 255 < sizes[1] < inf

    def enum_values(self, type_: TypeEngine[object] | None) -> list[str]:
        """Return the values of an ENUM or SET, in order; none for another type (MySQL manual, "The ENUM Type")."""
        kind = self.kind(type_)
        return list(kind.in_order) if kind is not None else []

    def width_of(self, table_name: str, column_name: str, schema: str | None) -> Select[tuple[int]]:
        """Return a query on information_schema."""
        octets, characters = (column(f"character_{each}_length", Integer) for each in ("octet", "maximum"))
        found = _information("columns", table_name, schema).where(column("column_name") == column_name)
        return found.with_only_columns(octets // characters)

    def has_engine(self, engine: str, table_name: str, schema: str | None) -> Select[tuple[int]]:
        """Return a query on information_schema."""
        return _information("tables", table_name, schema).where(column("engine") == engine)

    def changed_by_update(self, table_name: str, schema: str | None) -> list[Select[tuple[int]]]:
        """Find columns with ON UPDATE CURRENT_TIMESTAMP, and triggers."""
        follows = _information("columns", table_name, schema).where(column("extra").ilike("%on update%"))
        place = column("event_object_schema") == (func.database() if schema is None else schema)
        triggers = select(1).select_from(table("triggers", schema="information_schema"))
        return [follows, triggers.where(place, column("event_object_table") == table_name)]

    def redefines_column(self, operation: AlterColumnOp) -> bool:
        """Return True for MODIFY and CHANGE, which Alembic uses for all but a default (alembic/ddl/mysql.py)."""
        kind = self.kind(operation.existing_type)
        return (
            operation.modify_name is not None
            or operation.modify_nullable is not None
            or operation.modify_type is not None
            or operation.modify_comment is not False
            or operation.kw.get("autoincrement") is not None
            or (
                operation.modify_server_default is not None
                and kind is not None
                and kind.family in ("datetime", "timestamp")
            )
        )

    def kind(self, type_: TypeEngine[Any] | None) -> Kind | None:
        """Return the kind of a type, which may be a SET."""
        if isinstance(type_, SET):
            return Kind("set", values=frozenset(type_.values), in_order=tuple(type_.values))
        return super().kind(type_)

    def _stored(self, type_: TypeEngine[Any] | None) -> tuple[Kind, str] | None:
        """Return how a column of the type is stored, with its character set; None if it is unknown."""
        kind = self.kind(type_)
        if kind is None:
            return None
        text = self.spelled(type_)
        found = CHARSET.search(text)
        if re.match(r"(TEXT|BLOB)\(", text):  # a size there only chooses the type
            kind = replace(kind, size=65_535)
        return kind, (found[1] or found[2] if found else DEFAULT_CHARSET).lower()

    def renaming(self, _kind: str, table: str, schema: str | None, old: str, new: str) -> str:
        """Return the statement for both: a unique constraint is an index."""
        return f"ALTER TABLE {self.quoted(table, schema)} RENAME INDEX {self.quoted(old)} TO {self.quoted(new)}"


class MariaDBFacts(MySQLFacts):
    """By MariaDB's Knowledge Base, "InnoDB Online DDL Overview", and by what MariaDB 10.11 answers."""

    product = dialect = "mariadb"
    oldest = (10, 5)
    lengths_that_grow_free = 127  # MDEV-15563, in 10.4.3
    generated_not_null = False
    without_default = ()  # from 10.2.1 on

    copied_changes = MySQLFacts.copied_changes - {"DROP AUTO_INCREMENT", "inline CHECK"}

    def _stored(self, type_: TypeEngine[Any] | None) -> tuple[Kind, str] | None:
        """Return the same; JSON is another name of LONGTEXT (MariaDB documentation, "JSON Data Type")."""
        found = super()._stored(type_)
        return (Kind("text"), DEFAULT_CHARSET) if found and found[0].family == "json" else found

    @property
    def ignores_inline_references(self) -> bool:
        """Return True before 10.5 (MDEV-20729)."""
        return self.version < (10, 5)

    @property
    def alters_by_copy(self) -> bool:
        """Return False from 11.2 on: copying does not block writes (MariaDB documentation, "Online Schema Change")."""
        return self.version < (11, 2)

    def copies_for_default(self, default: str) -> bool:
        """Return True for functions that give each row another value (DIFFERS)."""
        return self.alters_by_copy and re.search(DIFFERS, default, re.IGNORECASE) is not None


def _information(view: str, table_name: str, schema: str | None) -> Select[tuple[int]]:
    """Return a query for a table in a view of information_schema."""
    return (
        select(1)
        .select_from(table(view, schema="information_schema"))
        .where(column("table_schema") == (schema or func.database()), column("table_name") == table_name)
    )


def _bytes(kind: Kind) -> int:
    """Return the bytes that a stored value takes: 1 or 2 for an ENUM; for a SET, one bit for each of its values."""
    count = len(kind.in_order)
    return 1 + (count > 255) if kind.family == "enum" else next(size for size in (1, 2, 3, 4, 8) if count <= size * 8)
