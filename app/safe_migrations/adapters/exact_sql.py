"""SQL that reaches the database as it is written: neither Alembic nor SQLAlchemy takes a part of it for a parameter.

SQLAlchemy's text() takes ``:name`` for a parameter, and DDL has NULL in its place; it removes the backslash of
``\\:``; and where the driver marks parameters with %, it doubles each %. Alembic reads defaults into text() and writes
its result into scripts. So stock Flask-Migrate makes ``{"mail"NULL}`` of the default ``{"mail":true}``.
"""

import re
from typing import Any

from alembic.ddl.impl import DefaultImpl
from alembic.ddl.sqlite import SQLiteImpl
from sqlalchemy import Inspector, Table

# What text() takes for a parameter or an escaped colon, with all colons that directly follow.
COLONS = re.compile(r"(?:(?<![:\w\\]):(?=\w)|(?<=\\):)[:\w]*")

# Expressions that look like one string, or like one in parentheses, to Alembic.
EXPRESSION = re.compile(r"\(.*|(?!'(?:[^']|'')*'$)'.*", re.DOTALL)


def escaped(sql: str) -> str:
    """Return SQL with colons escaped where that is necessary, so that text(), and so op.execute(), means ``sql``."""
    return COLONS.sub(lambda found: found[0].replace(":", "\\:"), sql)


class _Escaped(str):
    """SQL that is escaped already: an Inspector may show a listener the same column twice."""

    __slots__ = ()


class ExactImpl(DefaultImpl):
    """A part of an implementation that reads SQL from the database, and writes it into scripts, without a change.

    Alembic finds the implementation of a database by its ``__dialect__``.
    """

    def autogen_column_reflect(self, inspector: Inspector, table: Table, column_info: Any) -> None:
        """Escape the default and the expression of a column of the database, of which SQLAlchemy makes a text()."""
        super().autogen_column_reflect(inspector, table, column_info)  # type: ignore[no-untyped-call]
        for owner, key in ((column_info, "default"), (column_info.get("computed"), "sqltext")):
            if owner and isinstance(sql := owner.get(key), str) and not isinstance(sql, _Escaped):
                owner[key] = _Escaped(escaped(sql))


class ExactSQLiteImpl(ExactImpl, SQLiteImpl):
    """Alembic's implementation for SQLite, with exact SQL. RebuildImpl replaces it where revisions run."""

    __dialect__ = "sqlite"

    def autogen_column_reflect(self, inspector: Inspector, table: Table, column_info: Any) -> None:
        """Do the same, with the parentheses that SQLite requires: Alembic omits them for ``'a' || 'b'``."""
        default = column_info.get("default")
        if isinstance(default, str) and not isinstance(default, _Escaped) and EXPRESSION.fullmatch(default):
            column_info["default"] = f"({default})"
        super().autogen_column_reflect(inspector, table, column_info)
