"""Lines to paste for findings: operations rendered as Python code, and queries rendered as SQL."""

import re
import shlex
import warnings
from ast import literal_eval
from collections.abc import Collection, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import replace
from itertools import groupby
from keyword import iskeyword
from textwrap import dedent
from textwrap import indent as _indented
from types import MappingProxyType
from typing import Any, Literal

from alembic.autogenerate import render_python_code, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    CreateIndexOp,
    CreatePrimaryKeyOp,
    CreateUniqueConstraintOp,
    DropIndexOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import ClauseElement, Column, Select, String, TypeDecorator
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeEngine

from ...adapters.exact_sql import escaped
from ...adapters.facts import Facts
from ...console import only_warnings
from ...errors import summary
from ..known_schema import KnownColumn
from ..sql.ops import BackfillOp, NamedType
from .implied_ops import table_of

REHEARSE = (
    "run this revision in a quiet period, and first rehearse it on a copy of the database:\n    flask db rehearse"
)
"""The advice for operations that always block."""
EXAMPLE = "the value in this line is only an example"
"""The words for a line with example_value()."""
NONE: Mapping[str, str] = MappingProxyType({})
PART = re.compile(r'"((?:[^"]|"")+)"|([^\W\d]\w*)')
"""A part of a name in SQL, with quotes or without."""
EXAMPLE_VALUES = {
    **dict.fromkeys(("integer", "decimal", "float", "boolean"), "0"),
    "date": "'2000-01-01'",
    **dict.fromkeys(("datetime", "timestamp"), "'2000-01-01 00:00:00'"),
    "time": "'00:00:00'",
    "uuid": "'00000000-0000-0000-0000-000000000000'",
    "json": "'{}'",
}
"""A value as SQL for each family of types; of all others, an empty string."""


def as_python(*operations: MigrateOperation, indent: int = 4, batch: bool = False, facts: Facts | None = None) -> str:
    """Return the operations as lines of Python code; with ``batch``, in a batch_alter_table() block for each table.

    Expressions are written in the SQL of the database that ``facts`` describe. Return a comment that says so if an
    operation cannot be rendered.
    """
    found = UpgradeOps(list(operations))
    if batch:
        blocks = groupby(operations, table_of)
        found.ops = [ModifyTableOps(name, list(changes), schema=schema) for (name, schema), changes in blocks]
    with only_warnings(), warnings.catch_warnings(action="ignore", category=UserWarning):  # a drop without a name
        dialect = facts.sql_dialect if facts is not None else DefaultDialect()
        context = MigrationContext.configure(dialect=dialect)
        try:
            text = render_python_code(found, render_as_batch=batch, render_item=_own_type, migration_context=context)
        except Exception as error:  # a type of the app's own: the finding matters more than the line to paste
            return " " * indent + f"# write this operation by hand; it cannot be rendered ({summary(error)})"
    text = re.sub(r", (table_name|schema)=None(?=[,)])", "", re.sub(r",\n +", ", ", text))
    lines = [line for line in text.splitlines() if line and not line.strip().startswith("#")]
    return with_imports(_indented(dedent("\n".join(lines)), " " * indent))


def _own_type(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Return the code of a type that neither SQLAlchemy nor a dialect of it defines; False for anything else.

    Of a type of the app, that is the type it stores its values in, so that the lines need no import from the app.
    """
    if kind == "type" and isinstance(item, NamedType):
        return _named_type(item.name)
    if kind == "type" and isinstance(item, TypeDecorator) and not type(item).__module__.startswith("sqlalchemy."):
        return python_type(item.impl_instance)
    return False


def _named_type(name: str) -> str:
    """Return the code of a type of PostgreSQL of which only the name is known, as SQL; an ENUM can be any of them."""
    *schema, last = [quoted.replace('""', '"') or plain.lower() for quoted, plain in PART.findall(name)]
    options = f"name={last!r}, {f'schema={schema[-1]!r}, ' if schema else ''}create_type=False"
    code = f"postgresql.ENUM({options})"
    return f"postgresql.ARRAY({code})" if name.endswith("]") else code


def with_imports(lines: str) -> str:
    """Return the lines; if they use types such as mysql.TEXT(), put the import of the dialect above them."""
    dialects = sorted(set(re.findall(r"(?<![\w.'\"])(mysql|mariadb|postgresql|sqlite)\.(?=[A-Z])", lines)))
    if not dialects:
        return lines
    indent = lines[: len(lines) - len(lines.lstrip())]
    return f"{indent}from sqlalchemy.dialects import {', '.join(dialects)}\n{lines}"


def concurrently(op: CreateIndexOp | DropIndexOp, facts: Facts) -> str:
    """Return the Python code that creates or drops the index with CONCURRENTLY, in an autocommit block."""
    again = copy(op)
    again.kw = {**op.kw, "postgresql_concurrently": True}
    return f"    with op.get_context().autocommit_block():\n{as_python(again, indent=8, facts=facts)}"


def execute(statement: str) -> str:
    """Return the line of Python that runs an SQL statement: op.execute(...)."""
    return f"    op.execute({escaped(statement)!r})"


def backfill(
    table: str, schema: str | None, values: Mapping[str, str], where: str, constants: Mapping[str, str] = NONE
) -> str:
    """Return the line of Python that sets ``values`` (SQL by column) in the rows for which ``where`` (SQL) is true.

    The code in ``constants``, by column, stands in place of the SQL.
    """
    code = {**{column: f"sa.text({escaped(sql)!r})" for column, sql in values.items()}, **constants}
    given = ", ".join(f"{column!r}: {each}" for column, each in code.items())
    return (
        f"    op.backfill({table!r}, {{{given}}}, where={escaped(where)!r}{f', schema={schema!r}' if schema else ''})"
    )


def as_backfill(update: str | BackfillOp, facts: Facts, never_null: Collection[str] = ()) -> str:
    """Return the line of Python that runs an UPDATE of all rows in batches, where that changes a value.

    These are the rows where a column has another value than before, if that is made of the column itself or the column
    is one of ``never_null``, and else those where it is NULL. Values keep the text that they have in the script. Return
    an empty string for an UPDATE with several tables, parameters, or clauses besides SET and WHERE, or with values that
    cannot be compared.
    """
    from sqlglot import exp

    from ...adapters.sql_words import statements  # its library takes its time to load, and few scripts need it
    from ..sql.phrases import find
    from ..sql.trees import Unread, name_of, tree_of
    from ..sql.trees import table_of as table_in

    constants, compared = dict[str, str](), set[str]()
    if isinstance(update, BackfillOp):
        constants = {name: repr(value) for name, value in update.values.items() if _is_constant(value)}
        compared = {name for name in never_null if isinstance(update.values.get(name), str | int | float)}
        values = {**update.values, **dict.fromkeys(constants.keys() - compared)}
        update = replace(update, where=None, values=values).sql(facts.sql_dialect)
    try:
        tree, words = tree_of(update, facts), next(statements(update, facts))
        found = find(words, r"UPDATE {table} SET (?P<values>.*?)(?: WHERE .*)?")
        tree.set("where", None)
        if found is None or any(tree.args[each] for each in tree.args.keys() - {"this", "expressions"}):
            return ""
        if len(list(tree.find_all(exp.Table))) != 1 or tree.find(exp.TableAlias, exp.Placeholder, exp.Query):
            return ""
        table, schema = table_in(tree.this, facts)
        texts, where = {}, []
        for each, part in zip(tree.expressions, found.part("values").parts(), strict=True):
            name, sql = name_of(each.this, facts), part.part(part.keywords.split(" ").index("=") + 1).text
            texts[name], quoted = sql, facts.quoted(name)
            own = {name_of(column, facts) for column in each.expression.find_all(exp.Column)}
            if name not in {*own, *never_null}:
                where.append(f"{quoted} IS NULL")
            elif name in constants.keys() - compared:  # no SQL compares a dict with a column of each type
                return ""
            elif isinstance(each.expression, exp.Binary | exp.Predicate | exp.Not):
                where.append(facts.differ_sql(quoted, f"({sql})"))
            else:
                where.append(facts.differ_sql(quoted, sql))
    except Unread:
        return ""
    return backfill(table, schema, texts, " OR ".join(where), constants)


def _is_constant(value: Any) -> bool:
    """Return True if the repr() of a value is Python code for it that needs no import, as with texts and dicts."""
    with suppress(Exception):  # whatever literal_eval() and the comparison raise
        return bool(literal_eval(repr(value)) == value)
    return False


def autocommit(statement: str) -> str:
    """Return the lines of Python that run an SQL statement outside the revision's transaction."""
    return f"    with op.get_context().autocommit_block():\n    {execute(statement)}"


def column_alone(op: MigrateOperation, facts: Facts) -> str:
    """Return the advice to add a column before what comes with it; empty if the operation adds no column."""
    return f"add the column alone:\n{as_python(op, facts=facts)}\nand then " if isinstance(op, AddColumnOp) else ""


def new_revision(message: str) -> str:
    """Return the command that writes an empty revision with the message."""
    quoted = shlex.quote(message) if re.search(r'[\\"$`!]', message) else f'"{message}"'
    return f"    flask db revision -m {quoted}"


def with_condition(statement: str, condition: str, facts: Facts) -> str:
    """Return an UPDATE or DELETE with another condition in its WHERE.

    Return an empty string if the statement is neither, or has a parameter.
    """
    from sqlglot import exp

    from ..sql.trees import Unread, tree_of  # its library takes its time to load, and few scripts need it

    try:
        tree = tree_of(statement, facts)
    except Unread:
        return ""
    if not isinstance(tree, exp.Update | exp.Delete) or tree.find(exp.Placeholder):
        return ""
    where = exp.Where(this=tree_of(condition, facts))
    tree.set("where", where)
    return str(tree.sql(dialect=facts.grammar, comments=False))


def identifier(name: str) -> str:
    """Return the name of a table or column as one that Python takes for a variable."""
    found = re.sub(r"\W|^(?=\d)", "_", name)
    return f"{found}_" if iskeyword(found) else found


def example_value(type_: TypeEngine[Any] | None, facts: Facts) -> str:
    """Return a value of the type as SQL, which stands in lines to paste for one that only the author knows."""
    kind = facts.kind(type_)
    if kind is None:
        return "''"
    if kind.in_order:
        return literal(kind.in_order[0])
    return "false" if kind.family == "boolean" and facts.enums_are_types else EXAMPLE_VALUES.get(kind.family, "''")


def literal(value: str) -> str:
    """Return a string as SQL."""
    return "'" + value.replace("'", "''") + "'"


def literals(sql: str) -> list[str]:
    """Return the strings in SQL, without their quotes."""
    return [value.replace("''", "'") for value in re.findall(r"'((?:[^']|'')*)'", sql)]


def keeping(op: AlterColumnOp, known: KnownColumn | None) -> AlterColumnOp:
    """Return a copy of the operation that names all attributes of the known column, which MODIFY would drop."""
    again = copy(op)
    again.kw = dict(op.kw)
    if known is None:
        return again
    again.existing_type = known.type if known.type is not None else op.existing_type
    again.existing_nullable = known.nullable if op.existing_nullable is None else op.existing_nullable
    if known.default is not None and op.modify_server_default is False:
        again.existing_server_default = known.default
    again.existing_comment = op.existing_comment or known.comment
    if known.auto_increment:
        again.kw.setdefault("autoincrement", True)
    if (collation := getattr(known.type, "collation", None)) and isinstance(op.modify_type, String):
        again.modify_type = copy(op.modify_type)
        again.modify_type.collation = op.modify_type.collation or collation
    return again


@renderers.dispatch_for(CreatePrimaryKeyOp, replace=True)
def _create_primary_key(context: AutogenContext, op: CreatePrimaryKeyOp) -> str:
    """Render op.create_primary_key(), which Alembic does not, with the arguments of create_unique_constraint()."""
    unique = CreateUniqueConstraintOp(op.constraint_name, op.table_name, op.columns, schema=op.schema)
    (text,) = renderers.dispatch(unique)(context, unique)
    return str(text).replace("create_unique_constraint", "create_primary_key", 1)


def python_type(type_: TypeEngine[Any], facts: Facts | None = None) -> str:
    """Return a type as Python code, e.g. sa.String(length=80)."""
    line = as_python(AddColumnOp("t", Column("c", type_)), facts=facts)
    return line.partition("sa.Column('c', ")[2].removesuffix(", nullable=True))") or repr(type_)


def as_sql(element: ClauseElement, facts: Facts) -> str:
    """Return an expression or a query as one line of SQL, with values in place of parameters.

    Placeholders remain if a value cannot be written in SQL.
    """
    options = {"literal_binds": True, "include_table": isinstance(element, Select)}
    try:
        text = str(element.compile(dialect=facts.sql_dialect, compile_kwargs=options))
    except SQLAlchemyError:  # a value that has no literal
        text = str(element)
    return " ".join(line.strip() for line in text.splitlines())
