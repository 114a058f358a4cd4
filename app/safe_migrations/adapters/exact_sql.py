"""SQL that reaches the database as it is written: neither Alembic nor SQLAlchemy takes a part of it for a parameter.

SQLAlchemy's text() takes ``:name`` for a parameter, and DDL has NULL in its place; it removes the backslash of
``\\:``; and where the driver marks parameters with %, it doubles each %. Alembic reads defaults into text() and writes
its result into scripts. So stock Flask-Migrate makes ``{"mail"NULL}`` of the default ``{"mail":true}``.
"""

import re
from typing import Any

from alembic.ddl.impl import DefaultImpl
from alembic.ddl.mysql import MariaDBImpl, MySQLImpl
from alembic.ddl.postgresql import PostgresqlImpl
from alembic.ddl.sqlite import SQLiteImpl
from sqlalchemy import ClauseElement, Index, Inspector, Table, TextClause, bindparam, text
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import UserDefinedType

# What text() takes for a parameter or an escaped colon, with all colons that directly follow.
COLONS = re.compile(r"(?:(?<![:\w\\]):(?=\w)|(?<=\\):)[:\w]*")

# Expressions that look like one string, or like one in parentheses, to Alembic.
EXPRESSION = re.compile(r"\(.*|(?!'(?:[^']|'')*'$)'.*", re.DOTALL)


def escaped(sql: str) -> str:
    """Return SQL with colons escaped where that is necessary, so that text(), and so op.execute(), means ``sql``."""
    return COLONS.sub(lambda found: found[0].replace(":", "\\:"), sql)


def parameters(sql: TextClause) -> list[str]:
    """Return the names of the parameters in a text() that have no value: DDL has NULL in place of each."""
    compiled: Any = sql.compile()
    return [name for name, parameter in compiled.binds.items() if parameter.required]


class _Escaped(str):
    """SQL that is escaped already: an Inspector may show a listener the same column twice."""

    __slots__ = ()


class _Verbatim(UserDefinedType[str]):
    """The type of a parameter that is written into SQL as it is."""

    def literal_processor(self, _dialect: Any) -> Any:
        """Return a function that returns its argument, without quotes."""
        return str


class ExactImpl(DefaultImpl):
    """A part of an implementation that reads SQL from the database, and writes it into scripts, without a change.

    Alembic finds the implementation of a database by its ``__dialect__``.
    """

    def correct_for_autogen_constraints(
        self, conn_unique_constraints: Any, conn_indexes: set[Index], *of_models: Any
    ) -> None:
        """Write the expressions of the database's indexes, of which Alembic makes a text(), without parameters."""
        super().correct_for_autogen_constraints(conn_unique_constraints, conn_indexes, *of_models)
        for index in conn_indexes:
            expressions: Any = index.expressions
            expressions[:] = [replacement_traverse(each, {}, _without_parameters) for each in expressions]

    def autogen_column_reflect(self, inspector: Inspector, table: Table, column_info: Any) -> None:
        """Escape the default and the expression of a column of the database, of which SQLAlchemy makes a text()."""
        super().autogen_column_reflect(inspector, table, column_info)  # type: ignore[no-untyped-call]
        for owner, key in ((column_info, "default"), (column_info.get("computed"), "sqltext")):
            if owner and isinstance(sql := owner.get(key), str) and not isinstance(sql, _Escaped):
                owner[key] = _Escaped(escaped(sql))

    def adjust_reflected_dialect_options(self, reflected_object: Any, kind: str) -> dict[str, Any]:
        """Return the options of an index of the database, with an exact condition."""
        return {
            name: text(escaped(value)) if isinstance(value, str) and "_where" in name else value
            for name, value in super().adjust_reflected_dialect_options(reflected_object, kind).items()
        }

    def render_ddl_sql_expr(
        self, expr: ClauseElement, is_server_default: bool = False, is_index: bool = False, **kw: Any
    ) -> str:
        """Return the SQL of an expression for a script, which passes it to text(), or that of an index as it is."""
        exact: Any = replacement_traverse(expr, {}, _without_parameters)
        sql = super().render_ddl_sql_expr(exact, is_server_default=is_server_default, is_index=is_index, **kw)
        if self.dialect.paramstyle in ("format", "pyformat"):
            sql = sql.replace("%%", "%")
        return sql if is_index else escaped(sql)


def _without_parameters(element: Any, **_options: Any) -> TextClause | None:
    """Write each parameter without a value as its name, e.g. ``:true``. Return None for other elements."""
    if not isinstance(element, TextClause):
        return None
    names = parameters(element)
    return element.bindparams(*(bindparam(name, f":{name}", _Verbatim()) for name in names)) if names else None


def exact(sql: TextClause) -> str:
    """Return the SQL that a text() is meant to be, with the names of parameters that have no value, e.g. ``:true``."""
    found: Any = replacement_traverse(sql, {}, _without_parameters)
    return str(found.compile(compile_kwargs={"literal_binds": True}))


class _Default(ExactImpl):
    __dialect__ = "default"


class ExactSQLiteImpl(ExactImpl, SQLiteImpl):
    """Alembic's implementation for SQLite, with exact SQL. RebuildImpl replaces it where revisions run."""

    __dialect__ = "sqlite"

    def autogen_column_reflect(self, inspector: Inspector, table: Table, column_info: Any) -> None:
        """Escape as above, and add the parentheses that SQLite requires: Alembic omits them for ``'a' || 'b'``."""
        default = column_info.get("default")
        if isinstance(default, str) and not isinstance(default, _Escaped) and EXPRESSION.fullmatch(default):
            column_info["default"] = f"({default})"
        super().autogen_column_reflect(inspector, table, column_info)


class _PostgreSQL(ExactImpl, PostgresqlImpl):
    __dialect__ = "postgresql"


class _MySQL(ExactImpl, MySQLImpl):
    __dialect__ = "mysql"


class _MariaDB(ExactImpl, MariaDBImpl):
    __dialect__ = "mariadb"
