"""Operations for SQL that Alembic has no operation for: changes of rows, and commands such as DROP VIEW."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from alembic.operations import Operations
from alembic.operations.ops import MigrateOperation
from sqlalchemy import (
    BindParameter,
    ClauseElement,
    ColumnClause,
    ColumnElement,
    Dialect,
    String,
    TableClause,
    Update,
    column,
    literal,
    null,
    table,
    text,
    type_coerce,
    types,
)
from sqlalchemy.exc import CompileError, InvalidRequestError
from sqlalchemy.sql.selectable import AliasedReturnsRows
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import UserDefinedType

from ...errors import WrongArgumentError

# Commands whose effect depends on code elsewhere, on a string, or on the name of a setting.
MAY_DO_ANYTHING = {"DO", "BEGIN NOT ATOMIC", "CALL", "EXEC", "EXECUTE", "PREPARE", "LOAD", "SET PRAGMA", "COPY PROGRAM"}
LOSES_DATA = {"DROP DATABASE", "DROP SCHEMA", "DROP MATERIALIZED VIEW", "DROP TABLESPACE", "DROP OWNED BY"}
LOSES_DATA |= {"DISCARD TABLESPACE", "ALTER TYPE ... DROP ATTRIBUTE"}
# Settings of SQLite: in a transaction the first has no effect, and the second ends with it (sqlite.org/pragma.html).
HARMLESS_PRAGMAS = {"foreign_keys", "defer_foreign_keys"}
# Commands that no statement reverts.
IRREVERSIBLE = {"ALTER TYPE ... ADD VALUE"}
# Commands that change no value, besides each CREATE.
KEEPS_DATA = {"COMMENT ON", "SET", "ANALYZE", "GRANT", "REVOKE", "PRAGMA", "REFRESH MATERIALIZED VIEW", "OWNER TO"}
KEEPS_DATA |= {"VALIDATE CONSTRAINT", "ADD UNIQUE USING INDEX", "ADD PRIMARY KEY USING INDEX"}
KEEPS_DATA |= {"ALTER TYPE ... ADD VALUE", "RENAME INDEX", "RENAME CONSTRAINT"}
# Commands that leave nothing for a downgrade to revert.
KEEPS_SCHEMA = {"VALIDATE CONSTRAINT", "ANALYZE", "REFRESH MATERIALIZED VIEW", "SET"}
# Words of a statement that changes the schema or existing rows.
DESTRUCTIVE = re.compile(r"(?<!\bON )\b(ALTER|DROP|RENAME|TRUNCATE|UPDATE|DELETE|MERGE|REPLACE)\s", re.IGNORECASE)
# The messages and comments of a DO. Strings are kept, because they may be SQL; inside of one begins no comment.
MESSAGES = re.compile(
    r"\bRAISE\s+\w+\s+'(?:[^']|'')*'|(?P<kept>\bE'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"[^\"]*\")"
    r"|--[^\n]*|/\*(?!M?!).*?\*/",
    re.IGNORECASE | re.DOTALL,
)
# What else has such a word in a DO and changes neither: rights, foreign keys, triggers, locks, upserts, what only adds
# something, and a change of owner.
HARMLESS_SQL = re.compile(
    r"\b(GRANT|REVOKE)\b[^;]*?\sON\s"
    r"|\b(ON|OR|OF|FOR|DO|BEFORE|AFTER)\s+(UPDATE|DELETE|TRUNCATE)\b"
    r"|\bOR\s+REPLACE\s+(FUNCTION|PROCEDURE|TRIGGER|VIEW)\b"
    r"|\bALTER\s+(MATERIALIZED\s+)?\w+\s+(IF\s+EXISTS\s+)?(ONLY\s+)?(\"[^\"]*\"|[\w.])+(\s*\([^()]*\))?"
    r"\s+(ADD|OWNER\s+TO)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass
class ChangeRowsOp(MigrateOperation):
    """A statement, or a part of one, that changes, inserts or deletes rows of a table."""

    verb: str
    """UPDATE, DELETE, INSERT, REPLACE (an INSERT that may overwrite) or TRUNCATE."""
    table_name: str
    schema: str | None = None
    bounded: bool = True
    """False if the statement affects all rows, because no WHERE, LIMIT or join selects some of them."""
    columns: tuple[str, ...] = ()
    """The columns that an UPDATE sets."""
    given: bool = False
    """Whether an INSERT has its rows in VALUES, instead of selecting them from a table."""
    cascade: bool = False
    """Whether TRUNCATE also empties the tables that refer to it."""
    source: tuple[str | None, str] | None = None
    """The schema and name of the table of which an INSERT ... SELECT copies all rows; None for other statements."""
    copied: frozenset[str] | None = None
    """The columns whose values are copied from ``source`` under the same name; None for all columns."""
    text: str = ""

    in_batches = False
    """Whether it commits by itself on a server, as op.backfill() does."""

    @property
    def replaces_only_null(self) -> bool:
        """Return True if no downgrade has to restore values: an op.backfill() replaces nothing but NULL."""
        return False

    def backfills(self, column: str) -> bool:
        """Return True if this is an UPDATE that sets the column in all rows, or in all rows where it is NULL.

        Its WHERE may select more rows than these: ``a IS NULL OR b IS NULL``.
        """
        if self.verb != "UPDATE" or column not in self.columns or not self.bounded:
            return self.verb == "UPDATE" and column in self.columns
        where = re.split(r"\bWHERE\b", self.text, flags=re.IGNORECASE)[-1]
        is_null = rf'\W*(["`]?\w+["`]?\.)?["`]?{re.escape(column)}["`]?\s+IS\s+NULL\W*'
        alternatives = re.split(r"\bOR\b", where, flags=re.IGNORECASE)
        return not re.search(r"\bAND\b", where, re.IGNORECASE) and any(
            re.fullmatch(is_null, each, re.IGNORECASE) for each in alternatives
        )


@Operations.register_operation("backfill")
@dataclass
class BackfillOp(ChangeRowsOp):
    """An ``op.backfill()``: an UPDATE of existing rows, which a server commits in batches (backfill.py)."""

    in_batches = True
    values: Mapping[str, Any] = field(default_factory=dict)
    """By column, an expression of SQLAlchemy or a value of Python."""
    where: ColumnElement[bool] | str | None = None
    batch_size: int | None = None

    @classmethod
    def backfill(
        cls,
        operations: Operations,
        table_name: str,
        values: "Mapping[Any, Any]",
        where: Any = None,
        batch_size: "int | None" = None,
        schema: "str | None" = None,
    ) -> None:
        """Set ``values``, by column, in the existing rows of a table, or in those for which ``where`` is true.

        ``values`` are expressions of SQLAlchemy or values of Python; ``where`` is an expression or SQL. On a server,
        each ``batch_size`` rows, in the order of the primary key, are committed together, by default as many as take
        0.15 seconds. A run that was killed or has failed continues after the last of them.
        """
        if not isinstance(table_name, str):
            kind = type(table_name).__name__
            raise WrongArgumentError(f"op.backfill() takes the name of the table as text, such as 'user', not a {kind}")
        if not isinstance(values, Mapping) or not values:
            raise WrongArgumentError("op.backfill() takes a dict with a value for each column, such as {'name': 'x'}")
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise WrongArgumentError(
                f"the batch_size of op.backfill() is {batch_size!r}, not an integer of at least 1, or None"
            )
        is_condition = _is_sql(where) or isinstance(where, bool) or (isinstance(where, str) and where.strip())
        if where is not None and not is_condition:
            raise WrongArgumentError(
                f"the where of op.backfill() is {where!r}, not SQL such as 'name IS NULL', or None"
            )
        values = {_column_name(name): value for name, value in values.items()}
        found = cls("UPDATE", table_name, schema, where is not None, tuple(values), values=values, where=where)
        found.batch_size = batch_size
        try:
            with suppress(CompileError):  # of SQL that the database does not have
                found.statement.compile(dialect=operations.migration_context.dialect).construct_params()
        except InvalidRequestError as error:
            (name,) = re.findall(r"parameter '(.*?)'", str(error))
            raise WrongArgumentError(
                f"op.backfill() takes :{name} for a parameter, which has no value; write \\:{name}, in a raw string"
            ) from error
        with suppress(Exception):  # SQL that only the database has
            found.text = found.sql()
        operations.invoke(found)

    @cached_property
    def table(self) -> TableClause:
        """Return the table, to which ``statement`` adds the columns that it names."""
        return table(self.table_name, schema=self.schema)

    @cached_property
    def statement(self) -> Update:
        """Return the UPDATE of all rows at once."""
        values = {name: _of_table(self.table, _as_expression(value)) for name, value in self.values.items()}
        where = _of_table(self.table, self.where)
        for name in self.columns:
            if name not in self.table.c:
                self.table.append_column(column(name))
        update = self.table.update().ordered_values(*values.items())  # MySQL evaluates them in this order
        if self.where is None:
            return update
        if not isinstance(self.where, str):
            return update.where(where)
        end = "\n" if "--" in self.where or "#" in self.where else ""  # of a comment
        return update.where(text(f"({self.where}{end})"))  # in parentheses, because more conditions may follow

    @property
    def replaces_only_null(self) -> bool:
        """Return True if each value that is replaced is NULL."""
        has_alternatives = re.search(r"\bOR\b", self.text.rpartition("WHERE")[2], re.IGNORECASE)
        return self.bounded and len(self.columns) == 1 and self.backfills(self.columns[0]) and not has_alternatives

    def sql(self, dialect: Dialect | None = None) -> str:
        """Return the UPDATE as SQL with its values as literals.

        If a value has no literal, return the UPDATE with parameters, followed by their values. If ``dialect`` is
        that of a driver, each % may be doubled, as the driver expects it.
        """
        with suppress(Exception):
            return str(self.statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        compiled = self.statement.compile(dialect=dialect)
        return f"{compiled} {compiled.params}"


def _column_name(given: Any) -> str:
    """Return the name of a column that is given as text, as a column, or as an attribute of a model."""
    found = given.__clause_element__() if hasattr(given, "__clause_element__") else given
    name = found.name if isinstance(found, ColumnClause) else found
    if not isinstance(name, str):
        raise WrongArgumentError(f"op.backfill() takes the name of a column as text, such as 'name', not {given!r}")
    return name


def _of_table(target: TableClause, expression: Any) -> Any:
    """Return an expression with the columns of ``target`` in place of those of another table with its name.

    Such a table, of a model or a sa.table(), would be a second one in the UPDATE. Columns are added to ``target``. In a
    subquery, such a column is that of the row that the UPDATE changes, as in SQLAlchemy's own update(). A text becomes
    a literal: PostgreSQL takes that for any type, such as a date or an enum, but a parameter only for a text.
    """
    if hasattr(expression, "__clause_element__"):
        expression = expression.__clause_element__()
    if not isinstance(expression, ClauseElement):
        return expression

    def own(element: Any, **_options: Any) -> Any:
        if isinstance(element, BindParameter):
            is_text = isinstance(element.type, String) and not isinstance(element.type, types.Enum)
            is_text = is_text and (isinstance(element.value, str) or element.expanding)  # the values of an IN
            return element.render_literal_execute() if is_text else None
        if isinstance(element, AliasedReturnsRows):
            return element
        if isinstance(element, TableClause):
            return target if (element.schema, element.name) == (target.schema, target.name) else None
        of = element.table if isinstance(element, ColumnClause) else None
        if not isinstance(of, TableClause) or own(of) is None:
            return None
        if element.name not in target.c:
            target.append_column(column(element.name, element.type))
        return target.c[element.name]

    return replacement_traverse(expression, {}, own)


def _as_expression(value: Any) -> Any:
    """Return a value of Python with the type in SQL that goes with it, in which it can be written as a literal."""
    if value is None:
        return null()
    if isinstance(value, Enum) and not isinstance(value, str | int):
        value = value.name  # as SQLAlchemy stores it
    if _is_sql(value):
        return value
    if isinstance(value, dict | list):
        value = json.dumps(value)  # a text has a literal, and becomes JSON in a column of that type
    if isinstance(value, str):
        # Without type_coerce() SQLAlchemy names it after the column, and fails if that has a space in its name.
        return type_coerce(literal(value), String())
    found = literal(value)
    if isinstance(found.type, types.NullType):
        kind = type(value).__name__
        raise WrongArgumentError(f"a value of op.backfill() is of type {kind}, not SQL, a text, a number or the like")
    return found


def _is_sql(value: Any) -> bool:
    return isinstance(value, ClauseElement) or hasattr(value, "__clause_element__")


@dataclass
class CommandOp(MigrateOperation):
    """A statement, or a part of ALTER TABLE, for which there is no other operation, e.g. DROP VIEW."""

    words: str
    """The kind of command: ``DROP VIEW``, ``ALTER TYPE ... RENAME VALUE``, or ``DETACH PARTITION`` of ALTER TABLE.

    If the command could not be parsed, its first words.
    """
    name: str | None = None
    """The name of the object that the command concerns; the name of a table is in ``table_name``."""
    table_name: str | None = None
    schema: str | None = None
    drops: bool = False
    cascade: bool = False
    concurrently: bool = False
    parsed: bool = True
    """False if the command could not be parsed, so that its effect is unknown."""
    text: str = ""

    @property
    def may_do_anything(self) -> bool:
        """Return True if the kind of the command does not show what the command does, as with CALL and EXECUTE."""
        return self.words in MAY_DO_ANYTHING and self.name not in HARMLESS_PRAGMAS

    @property
    def may_read_only(self) -> bool:
        """Return True for a SELECT that names no command that changes rows or the schema, even if it was not parsed."""
        return re.match(r"(?is)\s*SELECT\b(?!.*\bINTO\b)", self.text) is not None and not self.may_destroy

    @property
    def may_destroy(self) -> bool:
        """Return True if the command's effect is unknown, and it contains a word such as DROP, ALTER or DELETE."""
        if not self.parsed:
            return DESTRUCTIVE.search(f"{self.words} {self.text}") is not None
        if not self.may_do_anything:
            return False
        text = MESSAGES.sub(lambda found: found["kept"] or " ", self.text)
        return DESTRUCTIVE.search(HARMLESS_SQL.sub(" ", text)) is not None

    @property
    def loses_data(self) -> bool:
        """Return True if the command can delete rows or values, as DROP SCHEMA and a DROP with CASCADE can."""
        return self.words in LOSES_DATA or self.cascade

    @property
    def keeps_schema(self) -> bool:
        """Return True if the command leaves nothing in the schema for a downgrade to revert, e.g. ANALYZE.

        A SELECT may if it calls a function.
        """
        return self.words in KEEPS_SCHEMA or (self.words == "SELECT" and "(" not in self.text)

    @property
    def is_reversible(self) -> bool:
        """Return False if no statement can revert the command's change of the schema: ALTER TYPE ... ADD VALUE."""
        return self.words not in IRREVERSIBLE

    @property
    def keeps_data(self) -> bool:
        """Return True if the command was parsed and leaves all values in tables as they are, e.g. CREATE VIEW."""
        return self.parsed and (self.words in KEEPS_DATA or self.words.startswith("CREATE "))


@dataclass(frozen=True)
class Translation:
    """One operation that an SQL statement was translated into."""

    op: MigrateOperation
    statement: str
    """The text of the whole statement, which may have several operations."""
    requests: Mapping[str, str] = field(default_factory=dict)
    """The ALGORITHM and LOCK clauses of a MySQL statement, e.g. ``{"algorithm": "INPLACE", "lock": "NONE"}``."""


class NamedType(UserDefinedType[Any]):
    """A column type of which only the name is known, because SQLAlchemy's dialect lacks it: an enum or a domain."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_options: Any) -> str:
        """Return the name of the type as the script writes it."""
        return self.name
