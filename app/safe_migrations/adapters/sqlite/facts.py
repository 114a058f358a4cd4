"""Facts about SQLite."""

import re
from math import inf
from typing import Any

from sqlalchemy.types import TypeEngine

from ..facts import Facts

CONSTANT = re.compile(r"[( ]*(?:[x]?'(?:[^']|'')*'|[+-]?[\d.]+(?:e[+-]?\d+)?|(?!CURRENT_)\w+)?[) ]*", re.IGNORECASE)


class SQLiteFacts(Facts):
    """By sqlite.org/lang_altertable.html."""

    product = dialect = "sqlite"
    oldest = (3, 35)
    grammar = "sqlite"
    default_schema = "main"
    longest_name = inf
    sizes_hold = False
    rebuilds = True
    # A date is text, and CAST(... AS DATETIME) makes a number of it (sqlite.org/datatype3.html, 3.1).
    widening = frozenset({("boolean", "integer"), ("integer", "boolean"), ("decimal", "float"), ("float", "decimal")})

    def rewrites(self, _old: TypeEngine[Any] | None, _new: TypeEngine[Any]) -> bool:
        """Return False: reads are not blocked until the commit."""
        return False

    def is_constant(self, default: str) -> bool:
        """Return True for a number, a string, a word such as TRUE; not for CURRENT_TIMESTAMP or an expression."""
        return CONSTANT.fullmatch(default) is not None
