"""The effects of DDL on MySQL and MariaDB, e.g. whether ALTER TABLE copies the table and blocks writes."""

import re
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any

from alembic.operations.ops import AlterColumnOp
from sqlalchemy import Integer, Select, column, func, select, table
from sqlalchemy import types as sqltypes
from sqlalchemy.dialects.mysql import LONGBLOB, LONGTEXT, MEDIUMBLOB, MEDIUMTEXT, SET, TINYBLOB, TINYTEXT
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
"""The kind of each column type, by the type's name (MySQL manual, "Data Type Storage Requirements")."""

CHARSET = re.compile(r" CHARACTER SET (\w+)| COLLATE ([^\W_]+)", re.IGNORECASE)
DEFAULT_CHARSET = "utf8mb4"
BYTES = {"latin1": 1, "ascii": 1, "binary": 1, "utf8": 3, "utf8mb3": 3, "ucs2": 2}
"""The maximum number of bytes of a character, by character set. In all others it is four."""

OTHER_COLLATIONS = {"latin1": "latin1_swedish_ci", "binary": "binary"}
"""Those of latin1 and binary, which are the same on MySQL and MariaDB (SHOW CHARACTER SET)."""


class MySQLFacts(Facts):
    """The effects of DDL on MySQL.

    Sources: its manual, "Online DDL Operations", and tests of ALGORITHM=INPLACE, LOCK=NONE on MySQL 9.7.
    """

    product = dialect = "mysql"
    oldest = (8, 0)
    grammar = "mysql"
    ends_transaction = Facts.ends_transaction | {"LOCK TABLE", "UNLOCK TABLES"}
    keys_in_tables = True
    runs_comments = True
    outside_transaction = "FLUSH TABLES"
    longest_name = 64
    names_in_bytes = False
    checks_stop_renames = True
    unnamed_primary_keys = True
    foreign_keys_need_index = True
    pipes_are_or = True
    invents_values = True  # in strict mode too (manual, "Data Type Default Values")
    needs_dropped_default = True
    kinds = MYSQL_KINDS
    widening = frozenset({("date", "datetime"), ("timestamp", "datetime")})
    # "Data Type Default Values" in its manual.
    without_default: tuple[type[TypeEngine[Any]], ...] = (
        *(sqltypes.Text, sqltypes.JSON, sqltypes.LargeBinary),
        *(TINYTEXT, MEDIUMTEXT, LONGTEXT, TINYBLOB, MEDIUMBLOB, LONGBLOB),
    )
    default_collations: Mapping[str, str] = {"utf8mb4": "utf8mb4_0900_ai_ci", **OTHER_COLLATIONS}
    """Default collations that do not end in _general_ci, by character set; rare sets, such as gbk, are left out."""
    lengths_that_grow_free = 0
    """A VARCHAR of at most this many bytes can grow past 255 bytes without a copy of the table."""

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
    """The changes for which ALTER TABLE copies the table, besides changes of type and of default.

    Adding a primary key, and changing NOT NULL, do not copy the table.
    """

    def differ_sql(self, one: str, other: str) -> str:
        """Return a comparison of bytes: most collations ignore case, and many spaces at the end."""
        return f"NOT (CAST({one} AS BINARY) <=> CAST({other} AS BINARY))"

    def rewrites(self, _old: TypeEngine[Any] | None, _new: TypeEngine[Any]) -> bool:
        """Return False: a change of type may copy the table, but it never blocks reads."""
        return False

    @property
    def ignores_inline_references(self) -> bool:
        """Return True if the server ignores REFERENCES in a column's definition, as MySQL does before 9.0.

        See the MySQL 9.0 release notes, WL#16130.
        """
        return self.version < (9, 0)

    @property
    def alters_by_copy(self) -> bool:
        """Return True if ALTER TABLE blocks writes while it copies a table, as every version of MySQL does."""
        return True

    def copies(self, change: str) -> bool:
        """Return True if ALTER TABLE copies the table and blocks writes for ``change``, one of ``copied_changes``.

        For any other change, and on a server that copies without blocking writes, return False.
        """
        return self.alters_by_copy and change in self.copied_changes

    def copies_for_type(self, before: TypeEngine[object] | None, after: TypeEngine[object]) -> bool:
        """Return True if changing a column's type copies the table and blocks writes.

        It does not for a longer VARCHAR, values appended to an ENUM, or another name for the same type. (A VARCHAR that
        grows past 255 bytes is left to crosses_length_bytes().) If ``before`` is None, or a type cannot be
        written here, assume a copy. The tests measure this with ALGORITHM=INPLACE, LOCK=NONE.
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
        """Return True if both types are stored in the same way, e.g. BOOL and TINYINT.

        A type that is None, or cannot be written here, equals only another such type.
        """
        return self._stored(one) == self._stored(other)

    def copies_for_default(self, default: str) -> bool:
        """Return True if adding a column with this default copies the table: any in parentheses does, e.g. ``(1)``.

        SQLAlchemy writes now() in parentheses.
        """
        return self.alters_by_copy and default.startswith("(")

    def crosses_length_bytes(
        self, before: TypeEngine[object] | None, after: TypeEngine[object], width: int | None = None
    ) -> bool:
        """Return True if a VARCHAR or VARBINARY grows past 255 bytes, for which ALTER TABLE copies the table.

        The stored length then takes two bytes instead of one (manual, "Online DDL Operations", VARCHAR). ``width`` is
        the maximum number of bytes of a character in the column; if None, that of the type's character set is taken.
        Return False if ``before`` is None, for other types, and if this server does not copy the table for it.
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
        """Return the values of an ENUM or SET in order; an empty list for any other type."""
        kind = self.kind(type_)
        return list(kind.in_order) if kind is not None else []

    def default_collation(self, charset: str) -> str:
        """Return the collation of a column that names only its character set (SHOW CHARACTER SET)."""
        return self.default_collations.get(charset.lower(), f"{charset.lower()}_general_ci")

    def width_of(self, table_name: str, column_name: str, schema: str | None) -> Select[tuple[int]]:
        """Return a query for the maximum number of bytes that a character takes in a column."""
        octets, characters = (column(f"character_{each}_length", Integer) for each in ("octet", "maximum"))
        found = _information("columns", table_name, schema).where(column("column_name") == column_name)
        return found.with_only_columns(octets // characters)

    def has_engine(self, engine: str, table_name: str, schema: str | None) -> Select[tuple[int]]:
        """Return a query that finds a row if the table has the storage engine ``engine``."""
        return _information("tables", table_name, schema).where(column("engine") == engine)

    def changed_by_update(self, table_name: str, schema: str | None) -> list[Select[tuple[int]]]:
        """Return two queries that find a row if an UPDATE of the table may change more than the columns that it sets.

        One looks for columns with ON UPDATE CURRENT_TIMESTAMP, the other for triggers.
        """
        follows = _information("columns", table_name, schema).where(column("extra").ilike("%on update%"))
        place = column("event_object_schema") == (func.database() if schema is None else schema)
        triggers = select(1).select_from(table("triggers", schema="information_schema"))
        return [follows, triggers.where(place, column("event_object_table") == table_name)]

    def redefines_column(self, operation: AlterColumnOp) -> bool:
        """Return True if Alembic writes ``operation`` as MODIFY or CHANGE, which repeats the column's whole definition.

        Only a change of the default alone becomes ALTER COLUMN, which changes nothing else. On a DATETIME or TIMESTAMP
        Alembic writes CHANGE for that too (alembic/ddl/mysql.py).
        """
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
        """Return the Kind of a type in this database, also a SET; None if type_ is None or cannot be written here.

        TEXT(M) and BLOB(M) are the smallest type of their family that holds M characters or bytes (manual, "The BLOB
        and TEXT Types").
        """
        if isinstance(type_, SET):
            return Kind("set", values=frozenset(type_.values), in_order=tuple(type_.values))
        kind = super().kind(type_)
        if kind is None or not (sized := re.match(r"(TEXT|BLOB)\((\d+)\)", text := self.spelled(type_))):
            return kind
        size = int(sized[2]) * (BYTES.get(_charset(text), 4) if sized[1] == "TEXT" else 1)
        kinds = [MYSQL_KINDS[f"{prefix}{sized[1]}"] for prefix in ("TINY", "", "MEDIUM", "LONG")]
        return next(each for each in kinds if size <= each.size)

    def _stored(self, type_: TypeEngine[Any] | None) -> tuple[Kind, str] | None:
        """Return the Kind of a type, and the character set that it names or else utf8mb4.

        Return None if the type is None or cannot be written here.
        """
        kind = self.kind(type_)
        return None if kind is None else (kind, _charset(self.spelled(type_)))

    def renaming(self, kind: str, table: str, schema: str | None, old: str, new: str) -> str:
        """Return the statement that renames an index or a unique constraint, which is an index; empty for a CHECK."""
        if kind == "ck":
            return ""
        return f"ALTER TABLE {self.quoted(table, schema)} RENAME INDEX {self.quoted(old)} TO {self.quoted(new)}"


def _charset(text: str) -> str:
    """Return the character set that a type names, or else utf8mb4."""
    found = CHARSET.search(text)
    return (found[1] or found[2] if found else DEFAULT_CHARSET).lower()


class MariaDBFacts(MySQLFacts):
    """The effects of DDL on MariaDB, where they differ from MySQL.

    Sources: MariaDB's Knowledge Base, "InnoDB Online DDL Overview", and tests on MariaDB 10.11.
    """

    product = dialect = "mariadb"
    needs_dropped_default = False
    oldest = (10, 5)
    default_collations = OTHER_COLLATIONS  # utf8mb4_general_ci before 11.6
    lengths_that_grow_free = 127  # MDEV-15563, in 10.4.3
    generated_not_null = False
    without_default = ()  # from 10.2.1 on

    copied_changes = MySQLFacts.copied_changes - {"DROP AUTO_INCREMENT", "inline CHECK"}

    def _stored(self, type_: TypeEngine[Any] | None) -> tuple[Kind, str] | None:
        """Return the Kind of a type, and the character set that it names or else utf8mb4.

        Return None if the type is None or cannot be written here. JSON is stored as LONGTEXT (MariaDB documentation,
        "JSON Data Type").
        """
        found = super()._stored(type_)
        return (Kind("text"), DEFAULT_CHARSET) if found and found[0].family == "json" else found

    @property
    def ignores_inline_references(self) -> bool:
        """Return True if the server ignores REFERENCES in a column's definition: MariaDB before 10.5 (MDEV-20729)."""
        return self.version < (10, 5)

    @property
    def alters_by_copy(self) -> bool:
        """Return True if ALTER TABLE blocks writes while it copies a table, as MariaDB does before 11.2.

        See the MariaDB documentation, "Online Schema Change".
        """
        return self.version < (11, 2)

    def copies_for_default(self, default: str) -> bool:
        """Return True if adding a column with this default copies the table, e.g. uuid() or nextval()."""
        return self.alters_by_copy and re.search(DIFFERS, default, re.IGNORECASE) is not None


def _information(view: str, table_name: str, schema: str | None) -> Select[tuple[int]]:
    """Return a query that finds the table's rows in a view of information_schema, e.g. in "columns"."""
    return (
        select(1)
        .select_from(table(view, schema="information_schema"))
        .where(column("table_schema") == (schema or func.database()), column("table_name") == table_name)
    )


def _bytes(kind: Kind) -> int:
    """Return how many bytes a value of an ENUM (1 or 2) or of a SET (1, 2, 3, 4 or 8) takes; 1 for any other kind."""
    count = len(kind.in_order)
    return 1 + (count > 255) if kind.family == "enum" else next(size for size in (1, 2, 3, 4, 8) if count <= size * 8)
