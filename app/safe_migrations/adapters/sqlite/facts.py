"""Facts about SQLite: its limits, and the effects of its ALTER TABLE."""

import re
from math import inf
from typing import Any

from sqlalchemy.types import TypeEngine

from ..facts import Facts

CONSTANT = re.compile(r"[( ]*(?:[x]?'(?:[^']|'')*'|[+-]?[\d.]+(?:e[+-]?\d+)?|(?!CURRENT_)\w+)?[) ]*", re.IGNORECASE)


class SQLiteFacts(Facts):
    """The limits of SQLite, and the effects of its ALTER TABLE, according to sqlite.org/lang_altertable.html."""

    product = dialect = "sqlite"
    oldest = (3, 35)
    grammar = "sqlite"
    default_schema = "main"
    longest_name = inf
    sizes_hold = False
    locks_out_writers = True
    rebuilds = True
    rewrites_sql = False
    # A date is text, and CAST(... AS DATETIME) makes a number of it (sqlite.org/datatype3.html, 3.1).
    widening = frozenset({("boolean", "integer"), ("integer", "boolean"), ("decimal", "float"), ("float", "decimal")})

    def rewrites(self, _old: TypeEngine[Any] | None, _new: TypeEngine[Any]) -> bool:
        """Return False: SQLite rewrites a table without blocking reads; only COMMIT blocks them."""
        return False

    def differ_sql(self, one: str, other: str) -> str:
        """Return a comparison with IS NOT: before 3.39, SQLite has no IS DISTINCT FROM."""
        return f"{one} IS NOT {other}"

    def is_constant(self, default: str) -> bool:
        """Return True for a number, a string or a word such as TRUE; False for CURRENT_TIMESTAMP and expressions."""
        return CONSTANT.fullmatch(default) is not None
