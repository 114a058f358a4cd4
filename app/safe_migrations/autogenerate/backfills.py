"""Values for existing rows in a NOT NULL column without default: asked, or given with -x default=..."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import click
from alembic.operations import ops
from sqlalchemy import JSON, Column, Date, DefaultClause, Enum, LargeBinary, Time, cast, literal, text, tuple_
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from ..adapters.facts import Facts
from ..adapters.products import FACTS
from .questions import given_pairs, has_terminal, wrong_answer
from .renames import full_name
from .rendering import ExpressionDefault, Lines, PerDialect, plain_type, table_changes

NOW = "CURRENT_TIMESTAMP"
EXPRESSION = "('x')"
KEPT = Lines(
    "# The default stays: the release that is still running inserts rows without this column.",
    "# A later release may drop it.",
)
VALUES: dict[type, tuple[str, Callable[[str], object]]] = {
    bool: ("yes or no", lambda value: int(click.BOOL.convert(value, None, None))),
    int: ("an integer", int),
    float: ("a number", float),
    Decimal: ("a number", Decimal),
    datetime: ("a date and time", datetime.fromisoformat),
    date: ("a date", date.fromisoformat),
    time: ("a time", time.fromisoformat),
    UUID: ("a UUID", lambda value: UUID(value).hex),
}
"""What the value of a column has to be, by the Python type of the column, and what reads it."""


def fill_existing_rows(upgrade: ops.UpgradeOps, targets: list[Facts]) -> None:
    """Give existing rows a value by a default, which stays: the release that is still running inserts rows without
    the new column. Raise MigrationError for a wrong -x.
    """
    given, slow = given_pairs("default"), any(facts.copies_for_default(EXPRESSION) for facts in targets)
    columns = dict(_without_value(upgrade))
    for name, value in given.items():
        if name not in columns:
            why = f"{name} is not a new NOT NULL column without a default"
            raise wrong_answer("default", f"{name}:{value}", why, (f"{each}:VALUE" for each in columns))
    for name, (changes, add) in columns.items():
        answer = _given(name, given[name], add.column) if name in given else _asked(name, add.column)
        if answer is not None:
            default = _default(add.column, answer)
            added = [KEPT, _added(add, default)]
            at = changes.ops.index(add)
            if not slow or isinstance(default.arg, str) or str(default.arg) == NOW:
                changes.ops[at : at + 1] = added
            else:
                changes.ops.remove(add)
                upgrade.ops.insert(upgrade.ops.index(changes), _filled(add, default, answer))


def _without_value(upgrade: ops.UpgradeOps) -> Iterator[tuple[str, tuple[ops.ModifyTableOps, ops.AddColumnOp]]]:
    """Yield the new NOT NULL columns without a default, and the changes that they are among."""
    for changes in table_changes(upgrade):
        for op in changes.ops:
            if isinstance(op, ops.AddColumnOp):
                column = op.column
                if not (column.nullable or column.server_default or column.primary_key):
                    yield full_name(op.schema, op.table_name, column.name), (changes, op)


def _given(name: str, value: str, column: "Column[Any]") -> str:
    try:
        return _stored(value, column)
    except ValueError as error:
        raise wrong_answer("default", f"{name}:{value}", str(error)) from error


def _asked(name: str, column: "Column[Any]") -> str | None:
    """Return the answer; None without a terminal, or if there is no answer."""
    if not has_terminal():
        return None
    default = column.default.arg if isinstance(column.default, ScalarElementColumnDefault) else ""

    def read(value: Any) -> str | None:
        if value == "":
            return None
        try:
            return _stored("" if value == "''" else str(value), column)
        except ValueError as error:
            raise click.UsageError(f"{error}.") from error

    expected = _expected(column)
    skip = "" if default != "" else "; Enter to skip"
    empty = "; '' is an empty string" if expected == "text" else ""
    question = (
        f"{name} is NOT NULL. Value for existing rows ({expected.removeprefix('an ').removeprefix('a ')}{skip}{empty})"
    )
    shown = getattr(default, "name", default)
    found: str | None = click.prompt(question, default=shown, value_proc=read, show_default=shown != "", err=True)
    return found


def _expected(column: "Column[Any]") -> str:
    kind = column.type
    if isinstance(kind, Enum):
        return f"one of {', '.join(kind.enums)}"
    return "JSON" if isinstance(kind, JSON) else VALUES.get(_python_type(column), ("text", str))[0]


def _python_type(column: "Column[Any]") -> type:
    try:
        return column.type.python_type
    except NotImplementedError:
        return object


def _stored(value: str, column: "Column[Any]") -> str:
    """Return ``value`` as each database takes it in quotes. Raise ValueError if it does not fit the column's type."""
    python = _python_type(column)
    if python in (datetime, date, time) and value.upper() in (NOW, f"CURRENT_{python.__name__.upper()}"):
        return NOW
    try:
        if isinstance(column.type, Enum):
            column.type.enums.index(value)
            return value
        return str(VALUES.get(python, ("text", str))[1](value))
    except (ValueError, ArithmeticError, click.BadParameter) as error:
        raise ValueError(f"{value!r} is not {_expected(column)}") from error


def _filled(add: ops.AddColumnOp, default: DefaultClause, value: str) -> PerDialect:
    """Return what adds a column whose default would copy the table on some databases: these set it in an UPDATE."""
    table, schema = add.table_name, add.schema

    def batch(*operations: ops.MigrateOperation) -> ops.ModifyTableOps:
        return ops.ModifyTableOps(table, operations, schema=schema)

    stored = str(default.arg).strip("()") if value == NOW else value
    in_steps = [
        batch(_added(add, None)),
        Lines(_filling(add, stored)),
        batch(KEPT, _made_not_null(add, default)),
    ]
    at_once = [batch(KEPT, _added(add, default))]
    drop = [batch(add.reverse())]
    return PerDialect.of(lambda facts: (in_steps if facts.copies_for_default(EXPRESSION) else at_once, drop))


def _filling(add: ops.AddColumnOp, value: str) -> str:
    """Return an UPDATE, as code, that sets ``value`` in all rows that have NULL."""
    code = f"sa.func.{value.lower()}()" if value in ("CURRENT_DATE", "CURRENT_TIME") else repr(value)
    schema = f", schema={add.schema!r}" if add.schema else ""
    name = str(add.column.name)
    return (
        f"op.execute(sa.table({str(add.table_name)!r}, sa.column({name!r}, sa.Text()){schema})"
        f".update().where(sa.column({name!r}).is_(None)).values({{{name!r}: {code}}}))"
    )


def _added(add: ops.AddColumnOp, default: DefaultClause | None) -> ops.AddColumnOp:
    column = add.column
    new = Column(column.name, column.type, nullable=default is None, server_default=default, comment=column.comment)
    return ops.AddColumnOp(add.table_name, new, schema=add.schema)


def _made_not_null(add: ops.AddColumnOp, default: DefaultClause) -> ops.AlterColumnOp:
    return ops.AlterColumnOp(
        add.table_name,
        add.column.name,
        schema=add.schema,
        existing_type=add.column.type,
        existing_comment=add.column.comment,
        modify_nullable=False,
        modify_server_default=default,
    )


def _default(column: "Column[Any]", value: str) -> DefaultClause:
    """Return ``value`` as the default of ``column``, in a form that all databases accept for its type."""
    kind = plain_type(column)
    if value == NOW:  # the default of a DateTime everywhere, of a Date or a Time only as an expression
        now = "(CURRENT_DATE)" if isinstance(kind, Date) else "(CURRENT_TIME)" if isinstance(kind, Time) else NOW
        return DefaultClause(text(now))
    if isinstance(kind, LargeBinary):  # SQLite would keep a string, which cannot be read as bytes
        binary = tuple_(cast(literal(value), LargeBinary()))
        return ExpressionDefault(binary, f"sa.tuple_(sa.cast(sa.literal({value!r}), sa.LargeBinary()))")
    if isinstance(kind, tuple(each for facts in FACTS.values() for each in facts.without_default)):
        return ExpressionDefault(tuple_(literal(value)), f"sa.tuple_(sa.literal({value!r}))")
    return DefaultClause(value)
