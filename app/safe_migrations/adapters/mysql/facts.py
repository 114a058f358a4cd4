"""Facts about MySQL and MariaDB."""

import re
from typing import Any

from alembic.operations.ops import AlterColumnOp
from sqlalchemy import Integer, Select, column, func, select, table
from sqlalchemy import types as sqltypes
from sqlalchemy.types import TypeEngine

from ..casts import KINDS, Kind
from ..facts import Facts
from .types import ColumnType

# Functions with another value in each row.
DIFFERS = r"\b(?:uuid(?:_short)?|sys_guid|random_bytes|nextval|next\s+value|lastval|setval|utc_timestamp)\b"

# Users, roles, privileges and variables belong to the server, and the value of a variable is not known beforehand.
REACHES_OUT = re.compile(
    r"(CREATE|ALTER|DROP|RENAME) (OR REPLACE |UNDO )?(USER|ROLE|SERVER|TABLESPACE)\b|(CREATE|DROP) (DATABASE|SCHEMA)\b"
    r"|(GRANT|REVOKE|FLUSH|INSTALL|UNINSTALL|SHUTDOWN|RESTART|KILL|PURGE|BINLOG|CLONE)\b|(ALTER|LOCK) INSTANCE\b"
    r"|(CHANGE|START|STOP|RESET) (MASTER|REPLICA|REPLICATION|GROUP_REPLICATION|SLAVE|ALL|PERSIST|BINARY)\b"
    r"|SET (PASSWORD|DEFAULT ROLE)\b|SET .*\b(GLOBAL|PERSIST|PERSIST_ONLY)\b|.*\b(INTO (OUTFILE|DUMPFILE)|SONAME)\b"
    # Engines whose rows may be in another database.
    r"|.*\bENGINE (= )?(FEDERATED|CONNECT|SPIDER|MERGE|MRG_MYISAM|S3|OQGRAPH)\b|.*\bUNION = \("
)
HOLDS_CODE = re.compile(
    r"(CREATE|ALTER) .*\b(TRIGGER|PROCEDURE|FUNCTION|EVENT|PACKAGE)\b"
    r"|(PREPARE|EXECUTE|BEGIN|IF|CASE|LOOP|WHILE|REPEAT|FOR)\b"
)
RUNS_STRINGS = re.compile(r"\b(PREPARE \S* FROM|EXECUTE IMMEDIATE)\b ?")

MYSQL_KINDS = {
    **KINDS,
    **dict.fromkeys(("TINYINT", "BOOL", "BOOLEAN"), Kind("integer", 8)),
    "MEDIUMINT": Kind("integer", 24),
    **dict.fromkeys(("NUMERIC", "DECIMAL"), Kind("decimal", 10)),
    "FLOAT": Kind("float", 24),
    "REAL": Kind("float", 53),
    "TINYTEXT": Kind("text", 255, in_bytes=True),
    "TEXT": Kind("text", 65_535, in_bytes=True),
    "MEDIUMTEXT": Kind("text", 16_777_215, in_bytes=True),
    "LONGTEXT": Kind("text"),
    **dict.fromkeys(("BINARY", "VARBINARY"), Kind("binary", 1)),
    "TINYBLOB": Kind("binary", 255),
    "BLOB": Kind("binary", 65_535),
    "MEDIUMBLOB": Kind("binary", 16_777_215),
    "LONGBLOB": Kind("binary"),
    "DATETIME": Kind("datetime", 0),
    "TIMESTAMP": Kind("timestamp", 0),
    "TIME": Kind("time", 0),
}
"""By the manual, "Data Type Storage Requirements"."""


class MySQLFacts(Facts):
    """By MySQL's manual, "Online DDL Operations", and by what MySQL 9.7 answers to ALGORITHM=INPLACE, LOCK=NONE."""

    product = dialect = "mysql"
    oldest = (8, 0)
    grammar = "mysql"
    ends_transaction = Facts.ends_transaction | {"LOCK TABLE", "UNLOCK TABLES"}
    reaches_out = REACHES_OUT
    holds_code = HOLDS_CODE
    runs_strings = RUNS_STRINGS
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
    redefines_columns = True
    # "Data Type Default Values" in its manual.
    without_default: tuple[type[TypeEngine[Any]], ...] = (sqltypes.Text, sqltypes.JSON, sqltypes.LargeBinary)
    lengths_that_grow_free = 0
    """Texts of up to so many bytes can grow past 255 bytes without a copy."""

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
        """Return True for those in the table above."""
        return self.alters_by_copy and change in self.copied_changes

    def copies_for_type(self, before: TypeEngine[object] | None, after: TypeEngine[object]) -> bool:
        """Return True for all but a VARCHAR that grows, values appended to an ENUM, and another name of the type."""
        old, new = self._type(before), self._type(after)
        return self.alters_by_copy and (old is None or new is None or not old.becomes(new))

    def copies_for_default(self, default: str) -> bool:
        """Return True for anything in parentheses, numbers too; SQLAlchemy puts now() into parentheses."""
        return self.alters_by_copy and default.startswith("(")

    def crosses_length_bytes(
        self, before: TypeEngine[object] | None, after: TypeEngine[object], width: int | None = None
    ) -> bool:
        """Return True if a length of one byte becomes two: above 255 (manual, "Online DDL Operations", VARCHAR)."""
        old, new = self._type(before), self._type(after)
        if not self.alters_by_copy or old is None or new is None or old.kind != new.kind:
            return False
        if old.length is None or new.length is None:
            return False
        least, most = ((width or each.width) * (each.length or 0) for each in (old, new))
        return self.lengths_that_grow_free < least <= 255 < most

    def enum_values(self, type_: TypeEngine[object] | None) -> list[str]:
        """Return those of ENUM and SET (MySQL manual, "The ENUM Type")."""
        found = self._type(type_)
        return found.members if found is not None else []

    def has_width(self, width: int, table_name: str, column_name: str, schema: str | None) -> Select[tuple[int]]:
        """Return a query on information_schema."""
        return _information("columns", table_name, schema).where(
            column("column_name") == column_name,
            column("character_octet_length", Integer) <= column("character_maximum_length", Integer) * width,
        )

    def has_engine(self, engine: str, table_name: str, schema: str | None) -> Select[tuple[int]]:
        """Return a query on information_schema."""
        return _information("tables", table_name, schema).where(column("engine") == engine)

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

    def _type(self, type_: TypeEngine[object] | None) -> ColumnType | None:
        return None if type_ is None else ColumnType.of(type_, self.sql_dialect)

    def renaming(self, _kind: str, table: str, schema: str | None, old: str, new: str) -> str:
        """Return the statement for both: a unique constraint is an index."""
        return f"ALTER TABLE {self.quoted(table, schema)} RENAME INDEX {self.quoted(old)} TO {self.quoted(new)}"


class MariaDBFacts(MySQLFacts):
    """By MariaDB's Knowledge Base, "InnoDB Online DDL Overview", and by what MariaDB 10.11 answers."""

    product = dialect = "mariadb"
    oldest = (10, 5)
    lengths_that_grow_free = 127  # MDEV-15563, in 10.4.3
    sequences = True
    generated_not_null = False
    without_default = ()  # from 10.2.1 on

    copied_changes = MySQLFacts.copied_changes - {"DROP AUTO_INCREMENT", "inline CHECK"}

    @property
    def ignores_inline_references(self) -> bool:
        """Return True before 10.5 (MDEV-20729)."""
        return self.version < (10, 5)

    @property
    def alters_by_copy(self) -> bool:
        """Return False from 11.2 on: copying does not block writes (MariaDB documentation, "Online Schema Change")."""
        return self.version < (11, 2)

    def copies_for_default(self, default: str) -> bool:
        """Return True for a few functions; any other default is evaluated once."""
        return self.alters_by_copy and re.search(DIFFERS, default, re.IGNORECASE) is not None


def _information(view: str, table_name: str, schema: str | None) -> Select[tuple[int]]:
    """Return a query for a table in a view of information_schema."""
    return (
        select(1)
        .select_from(table(view, schema="information_schema"))
        .where(column("table_schema") == (schema or func.database()), column("table_name") == table_name)
    )
