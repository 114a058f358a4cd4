"""What MySQL and MariaDB do with an operation."""

from typing import Any

from sqlalchemy.types import TypeEngine

from app.safe_migrations.adapters.casts import KINDS, Kind
from app.safe_migrations.adapters.facts import Facts

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
    """By MySQL's manual, "Online DDL Operations"."""

    product = dialect = "mysql"
    oldest = (8, 0)
    grammar = "mysql"
    ends_transaction = Facts.ends_transaction | {"LOCK TABLE", "UNLOCK TABLES"}
    keys_in_tables = True
    runs_comments = True
    longest_name = 64
    names_in_bytes = False
    invents_values = True  # in strict mode too (manual, "Data Type Default Values")
    kinds = MYSQL_KINDS
    widening = frozenset({("date", "datetime"), ("timestamp", "datetime")})

    def rewrites(self, _old: TypeEngine[Any] | None, _new: TypeEngine[Any]) -> bool:
        """Readers go on while a table is copied; writers wait."""
        return False


class MariaDBFacts(MySQLFacts):
    """By MariaDB's Knowledge Base, "InnoDB Online DDL Overview"."""

    product = dialect = "mariadb"
    oldest = (10, 5)
