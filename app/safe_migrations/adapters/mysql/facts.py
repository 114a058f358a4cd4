"""What MySQL and MariaDB do with an operation."""

import re
from typing import Any

from alembic.operations.ops import AlterColumnOp
from sqlalchemy import Integer, Select, column, func, select, table
from sqlalchemy import types as sqltypes
from sqlalchemy.types import TypeEngine

from ..casts import KINDS, Kind
from ..facts import Facts
from .types import ColumnType

# What is another value in each row.
DIFFERS = r"\b(?:uuid(?:_short)?|sys_guid|random_bytes|nextval|next\s+value|lastval|setval|utc_timestamp)\b"

# Users, roles, what they may do, and variables are the server's; what a variable says nobody can read beforehand.
REACHES_OUT = re.compile(
    r"(CREATE|ALTER|DROP|RENAME) (OR REPLACE |UNDO )?(USER|ROLE|SERVER|TABLESPACE)\b|(CREATE|DROP) (DATABASE|SCHEMA)\b"
    r"|(GRANT|REVOKE|FLUSH|INSTALL|UNINSTALL|SHUTDOWN|RESTART|KILL|PURGE|BINLOG|CLONE)\b|(ALTER|LOCK) INSTANCE\b"
    r"|(CHANGE|START|STOP|RESET) (MASTER|REPLICA|REPLICATION|GROUP_REPLICATION|SLAVE|ALL|PERSIST|BINARY)\b"
    r"|SET (PASSWORD|DEFAULT ROLE)\b|SET .*\b(GLOBAL|PERSIST|PERSIST_ONLY)\b|.*\b(INTO (OUTFILE|DUMPFILE)|SONAME)\b"
    # Engines whose rows may be elsewhere.
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
    foreign_keys_copy = True
    foreign_keys_need_index = True
    blocking_indexes = frozenset({"FULLTEXT", "SPATIAL"})
    invents_values = True  # in strict mode too (manual, "Data Type Default Values")
    kinds = MYSQL_KINDS
    widening = frozenset({("date", "datetime"), ("timestamp", "datetime")})
    redefines_columns = True
    # "Data Type Default Values" in its manual.
    without_default: tuple[type[TypeEngine[Any]], ...] = (sqltypes.Text, sqltypes.JSON, sqltypes.LargeBinary)
    enums_by_place = True
    auto_increment_blocks_writes = True
    lengths_that_grow_free = 0
    """Up to how many bytes a text may hold that can grow past 255 without a copy."""

    def rewrites(self, _old: TypeEngine[Any] | None, _new: TypeEngine[Any]) -> bool:
        """Readers go on while a table is copied; writers wait."""
        return False

    @property
    def ignores_inline_references(self) -> bool:
        """Up to 9.0 (MySQL 9.0 release notes, WL#16130)."""
        return self.version < (9, 0)

    @property
    def alters_by_copy(self) -> bool:
        """All versions; adding a primary key and a nullable change are done in place, and rows can be written."""
        return True

    def copies_for_type(self, before: TypeEngine[object] | None, after: TypeEngine[object]) -> bool:
        """All but a VARCHAR that grows, values that an ENUM gets at its end, and what is another word for the same."""
        if not self.alters_by_copy:
            return False
        old, new = self._type(before), self._type(after)
        return old is None or new is None or not old.becomes(new)

    def copies_for_default(self, default: str) -> bool:
        """All that stands in parentheses, CURRENT_TIMESTAMP and numbers among it; SQLAlchemy writes now() so."""
        return self.alters_by_copy and default.startswith("(")

    def copies_for_auto_increment(self, _numbered: bool) -> bool:
        """AUTO_INCREMENT copies, whether it comes or goes."""
        return self.alters_by_copy

    def crosses_length_bytes(
        self, before: TypeEngine[object] | None, after: TypeEngine[object], width: int | None = None
    ) -> bool:
        """Up to 255 bytes the length takes one byte, and above two (MySQL manual, "Online DDL Operations", VARCHAR)."""
        old, new = self._type(before), self._type(after)
        if not self.alters_by_copy or old is None or new is None or old.kind != new.kind:
            return False
        if old.length is None or new.length is None:
            return False
        least, most = ((width or each.width) * (each.length or 0) for each in (old, new))
        return self.lengths_that_grow_free < least <= 255 < most

    def enum_values(self, type_: TypeEngine[object] | None) -> list[str]:
        """Of ENUM and SET, which sort by the place, too (MySQL manual, "The ENUM Type")."""
        found = self._type(type_)
        return found.members if found is not None else []

    def has_width(self, width: int, table_name: str, column_name: str, schema: str | None) -> Select[tuple[int]]:
        """By information_schema."""
        return _told("columns", table_name, schema).where(
            column("column_name") == column_name,
            column("character_octet_length", Integer) <= column("character_maximum_length", Integer) * width,
        )

    def has_engine(self, engine: str, table_name: str, schema: str | None) -> Select[tuple[int]]:
        """By information_schema."""
        return _told("tables", table_name, schema).where(column("engine") == engine)

    def redefines_column(self, operation: AlterColumnOp) -> bool:
        """MODIFY and CHANGE do, and Alembic takes them for all but a default (alembic/ddl/mysql.py)."""
        return (
            operation.modify_name is not None
            or operation.modify_nullable is not None
            or operation.modify_type is not None
            or operation.modify_comment is not False
            or operation.kw.get("autoincrement") is not None
            or (
                operation.modify_server_default is not None
                and operation.existing_type is not None
                and operation.existing_type._type_affinity is sqltypes.DateTime
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

    @property
    def ignores_inline_references(self) -> bool:
        """Up to 10.5 (MDEV-20729)."""
        return self.version < (10, 5)

    @property
    def alters_by_copy(self) -> bool:
        """From 11.2 on rows can be written while a table is copied (MariaDB documentation, "Online Schema Change")."""
        return self.version < (11, 2)

    def copies_for_default(self, default: str) -> bool:
        """What is the same in all rows is worked out once; a few functions are not."""
        return self.alters_by_copy and re.search(DIFFERS, default, re.IGNORECASE) is not None

    def copies_for_check(self, inline: bool) -> bool:
        """Not if it stands in the definition of a new column."""
        return self.alters_by_copy and not inline

    def copies_for_auto_increment(self, auto_increment: bool) -> bool:
        """Not when AUTO_INCREMENT goes."""
        return self.alters_by_copy and auto_increment


def _told(view: str, table_name: str, schema: str | None) -> Select[tuple[int]]:
    """What a view of information_schema tells of a table."""
    return (
        select(1)
        .select_from(table(view, schema="information_schema"))
        .where(column("table_schema") == (schema or func.database()), column("table_name") == table_name)
    )
