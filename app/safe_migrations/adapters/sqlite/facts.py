"""What SQLite does with an operation."""

from typing import Any

from sqlalchemy.types import TypeEngine

from app.safe_migrations.adapters.facts import UNLIMITED, Facts


class SQLiteFacts(Facts):
    """By sqlite.org/lang_altertable.html."""

    product = dialect = "sqlite"
    oldest = (3, 35)
    grammar = "sqlite"
    default_schema = "main"
    ddl_commits = False
    one_writer = True
    longest_name = UNLIMITED
    sizes_hold = False
    # A date is text, and CAST(... AS DATETIME) makes a number of it (sqlite.org/datatype3.html, 3.1).
    widening = frozenset({("boolean", "integer"), ("integer", "boolean"), ("decimal", "float"), ("float", "decimal")})

    def rewrites(self, _old: TypeEngine[Any] | None, _new: TypeEngine[Any]) -> bool:
        """Readers go on until the commit: a table is copied to a new one."""
        return False
