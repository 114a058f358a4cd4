"""What existing rows get in a NOT NULL column without default: asked, or given with -x default=..."""

from collections.abc import Collection, Iterable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import click
from alembic.operations.ops import AddColumnOp, AlterColumnOp, MigrateOperation, MigrationScript, ModifyTableOps
from sqlalchemy import Column, Date, DefaultClause, Enum, LargeBinary, Time, cast, literal, text, tuple_
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from ..adapters.facts import Facts
from ..adapters.products import FACTS
from .answers import given_pairs, somebody_is_there, wrong
from .renames import full_name
from .rendering import Comment, ExpressionDefault, FillColumn, PerDatabase

NOW = "CURRENT_TIMESTAMP"
EXPRESSION = "('x')"
KEPT = Comment(
    "The default stays: the release that is still running inserts rows without this column.",
    "A later release may drop it.",
)


def fill(script: MigrationScript, concerned: list[Facts]) -> None:
    """Give existing rows a value by a default, which stays: the release that is still running inserts rows without
    the new column. Raise MigrationError for a wrong -x.

    Nobody deploys on the SQLite that people develop on: where no other database is named, the script suits them all.
    """
    assert script.upgrade_ops is not None
    given = given_pairs("default")
    ops: list[MigrateOperation] = []
    columns = {_name(changes, add): add for changes, add in _unfilled(script.upgrade_ops.ops)}
    for name, value in given.items():
        if name not in columns:
            why = f"{name} is no NOT NULL column without default that is added"
            raise wrong("default", f"{name}:{value}", why, (f"{each}:VALUE" for each in columns))
    for op in script.upgrade_ops.ops:
        values = {}
        for changes, add in _unfilled([op]):
            name = _name(changes, add)
            found = _given(name, given[name], add.column) if name in given else _asked(name, add.column)
            if found is not None:
                values[add] = found
        ops += _filled(op, values, concerned) if isinstance(op, ModifyTableOps) and values else [op]
    script.upgrade_ops.ops[:] = ops


def _unfilled(ops: Iterable[MigrateOperation]) -> Iterator[tuple[ModifyTableOps, AddColumnOp]]:
    for changes in ops:
        if isinstance(changes, ModifyTableOps):
            for op in changes.ops:
                if not isinstance(op, AddColumnOp):
                    continue
                column = op.column
                if not (column.nullable or column.server_default or column.primary_key):
                    yield changes, op


def _name(changes: ModifyTableOps, add: AddColumnOp) -> str:
    return full_name((changes.schema, changes.table_name), add.column.name)


def _given(name: str, value: str, column: "Column[Any]") -> str:
    try:
        return _stored(value, column)
    except (ValueError, ArithmeticError, click.BadParameter) as error:
        raise wrong("default", f"{name}:{value}", f"{value!r} is no {column.type!r} ({error})") from error


def _asked(name: str, column: "Column[Any]") -> str | None:
    """The answer; None if there is nobody, or they have none."""
    if not somebody_is_there():
        return None
    default = column.default.arg if isinstance(column.default, ScalarElementColumnDefault) else ""

    def read(value: Any) -> str | None:
        if value == "":
            return None
        try:
            return _stored("" if value == "''" else str(value), column)
        except (ValueError, ArithmeticError) as error:
            raise click.UsageError(f"{value!r} is no {column.type!r} ({error})") from error

    question = f"Which value do existing rows get for the NOT NULL column {name} ('' is empty, and nothing is none)?"
    shown = getattr(default, "name", default)
    found: str | None = click.prompt(question, default=shown, value_proc=read, show_default=shown != "", err=True)
    return found


def _stored(value: str, column: "Column[Any]") -> str:
    """``value`` as each database takes it in quotes. Raises ValueError and the like if it is none of that type."""
    kind = column.type
    if isinstance(kind, Enum):
        if value not in kind.enums:
            raise ValueError(f"one of {', '.join(kind.enums)}")
        return value
    try:
        python = kind.python_type
    except NotImplementedError:
        return value
    if python is bool:
        return str(int(click.BOOL.convert(value, None, None)))
    if python in (int, float, Decimal):
        return str(python(value))
    if python is UUID:
        return UUID(value).hex
    if python in (datetime, date, time):
        if value.upper() in (NOW, f"CURRENT_{python.__name__.upper()}"):  # CURRENT_DATE for a Date
            return NOW
        found = python.fromisoformat(value)
        return found.isoformat(" ") if isinstance(found, datetime) else str(found)
    return value


def _filled(
    changes: ModifyTableOps, values: dict[AddColumnOp, str], concerned: Collection[Facts]
) -> Iterator[MigrateOperation]:
    """Add the columns with their values as defaults. Where that copies the table, fill them by an UPDATE first."""
    products = [facts() for facts in FACTS.values()] if all(facts.one_writer for facts in concerned) else concerned
    slow = any(facts.copies_for_default(EXPRESSION) for facts in products)
    adds: list[MigrateOperation] = []
    for add, value in values.items():
        default = _default(add.column, value, products)
        with_default = [KEPT, _added(add, default)]
        if not slow or isinstance(default.arg, str) or str(default.arg) == NOW:
            adds += with_default
            continue
        filled = [
            ModifyTableOps(changes.table_name, [_added(add, None)], schema=changes.schema),
            FillColumn(
                changes.table_name, add.column, str(default.arg).strip("()") if value == NOW else value, changes.schema
            ),
            ModifyTableOps(changes.table_name, [KEPT, _made_not_null(add, default)], schema=changes.schema),
        ]
        if not any(facts.not_null_scans for facts in concerned):
            yield from filled
            continue
        at_once = [ModifyTableOps(changes.table_name, with_default, schema=changes.schema)]
        ways = {name: filled if facts().copies_for_default(EXPRESSION) else at_once for name, facts in FACTS.items()}
        yield PerDatabase(ways, {})
    rest = [op for op in changes.ops if op not in values]
    yield ModifyTableOps(changes.table_name, [*adds, *rest], schema=changes.schema)


def _added(add: AddColumnOp, default: DefaultClause | None) -> AddColumnOp:
    column = add.column
    new = Column(column.name, column.type, nullable=default is None, server_default=default, comment=column.comment)
    return AddColumnOp(add.table_name, new, schema=add.schema)


def _made_not_null(add: AddColumnOp, default: DefaultClause) -> AlterColumnOp:
    return AlterColumnOp(
        add.table_name,
        add.column.name,
        schema=add.schema,
        existing_type=add.column.type,
        existing_comment=add.column.comment,
        modify_nullable=False,
        modify_server_default=default,
    )


def _default(column: "Column[Any]", value: str, products: Iterable[Facts]) -> DefaultClause:
    """Return ``value`` as the default of ``column``, in the form that the databases take for its type."""
    kind = _plain(column)
    if value == NOW:  # the default of a DateTime everywhere, of a Date or a Time only as an expression
        now = "(CURRENT_DATE)" if isinstance(kind, Date) else "(CURRENT_TIME)" if isinstance(kind, Time) else NOW
        return DefaultClause(text(now))
    if isinstance(kind, LargeBinary):  # SQLite would keep a string, which cannot be read as bytes
        binary = tuple_(cast(literal(value), LargeBinary()))
        return ExpressionDefault(binary, f"sa.tuple_(sa.cast(sa.literal({value!r}), sa.LargeBinary()))")
    if isinstance(kind, tuple(each for facts in products for each in facts.without_default)):
        return ExpressionDefault(tuple_(literal(value)), f"sa.tuple_(sa.literal({value!r}))")
    return DefaultClause(value)


def _plain(column: "Column[Any]") -> Any:
    """The type, without what a TypeDecorator adds."""
    kind: Any = column.type
    while hasattr(kind, "impl_instance"):
        kind = kind.impl_instance
    return kind
