"""Values that existing rows get in a column that is new and NOT NULL, or that becomes NOT NULL.

The user types them on the terminal, or passes them with -x default=...
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import click
from alembic.operations import ops
from sqlalchemy import (
    JSON,
    Column,
    Date,
    DefaultClause,
    Enum,
    LargeBinary,
    String,
    Table,
    Time,
    cast,
    literal,
    text,
    tuple_,
)
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..console import log
from ..review.known_schema import Name
from ..review.rules.implied_ops import column_names
from .acknowledgements import acknowledge
from .online_steps import Step
from .questions import given_pairs, has_terminal, wrong_answer
from .renamed_inspector import Renames
from .renames import full_name
from .rendering import ExpressionDefault, Lines, PerDialect, plain_type, table_changes, value_type

NOW = "CURRENT_TIMESTAMP"
EXPRESSION = "('x')"
LITERAL = "sa.literal({!r}, literal_execute=True)"
KEPT = Lines(
    "# Keep the default for now: the previous release is still running and inserts rows without this column.",
    "# A later revision may drop the default.",
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
"""By the Python type of a column: the description of a valid value, and the function that parses one."""
STAND_INS = {
    bool: "no",
    int: "0",
    float: "0",
    Decimal: "0",
    str: "",
    datetime: NOW,
    date: NOW,
    time: NOW,
    dict: "{}",
    UUID: "0" * 32,
    bytes: "",
}
"""By the Python type of a column: the value that existing rows get if a downgrade adds the dropped column again."""


def fill_existing_rows(
    upgrade: ops.UpgradeOps, targets: list[Facts], models: Mapping[Name, Table], renames: Renames
) -> list[Step]:
    """Add a server default to each new NOT NULL column for which the user gives a value: existing rows get that value.

    The default stays, because the previous release is still running and inserts rows without the column. For a column
    that becomes NOT NULL, write an UPDATE of the rows that have no value, and return the steps that have to come first,
    if any. Raise MigrationError if a value passed with `-x default=...` cannot be used.
    """
    given, slow = given_pairs("default"), any(facts.copies_for_default(EXPRESSION) for facts in targets)
    columns, nulls = dict(_without_value(upgrade)), dict(_becoming_not_null(upgrade, models))
    for name, value in given.items():
        if name not in columns and name not in nulls:
            why = f"{name} is neither a new NOT NULL column without a default nor a column that becomes NOT NULL"
            raise wrong_answer("default", f"{name}:{value}", why, (f"{each}:VALUE" for each in (*columns, *nulls)))
    for name, (changes, add) in columns.items():
        question = f"{name} is NOT NULL. Value for existing rows"
        answer = _given(name, given[name], add.column) if name in given else _ask(question, add.column)
        if answer is not None:
            default = _default(add.column, answer)
            added = [KEPT, _added(add, default)]
            at = changes.ops.index(add)
            if not slow or isinstance(default.arg, str) or str(default.arg) == NOW:
                changes.ops[at : at + 1] = added
            else:
                changes.ops.remove(add)
                upgrade.ops.insert(upgrade.ops.index(changes), _add_in_steps(add, default, answer))
    values: dict[Name, dict[str, str]] = {}
    for name, (table, column) in nulls.items():
        question = f"{name} becomes NOT NULL. Value for rows that have none"
        answer = _given(name, given[name], column) if name in given else _ask(question, column)
        if answer is not None:
            values.setdefault(table, {})[column.name] = _value_code(column, answer)
    return _fill_nulls(values, renames)


def fill_restored_columns(downgrade: ops.DowngradeOps) -> None:
    """Let ``downgrade`` add a dropped NOT NULL column as nullable, set a value in all rows, and make it NOT NULL.

    The dropped values are lost, so this is 0, an empty text, or the like. A column stays as it is if its type has no
    such value, or if a foreign key, a CHECK or a unique constraint names it, which may refuse the value.
    """
    restored: dict[int, tuple[ops.ModifyTableOps, list[ops.AddColumnOp]]] = {}
    for _, (changes, add) in _without_value(downgrade):
        if add.column.name not in _constrained(changes) and _stand_in(add.column) is not None:
            restored.setdefault(id(changes), (changes, []))[1].append(add)
    for changes, adds in restored.values():
        table = changes.schema, changes.table_name
        end = changes.ops.index(adds[-1]) + 1
        following = [*(_made_not_null(add) for add in adds), *changes.ops[end:]]
        changes.ops[:] = [_added(op, None) if op in adds else op for op in changes.ops[:end]]
        columns = [(add.column, str(_stand_in(add.column))) for add in adds]
        fill = (_update_code(table, column.name, _value_code(column, value)) for column, value in columns)
        at = downgrade.ops.index(changes) + 1
        batch = ops.ModifyTableOps(changes.table_name, following, schema=changes.schema)
        downgrade.ops[at:at] = [Lines("# The dropped values are lost.", *fill), batch]


def _constrained(changes: ops.ModifyTableOps) -> set[str]:
    """Return the columns that a foreign key, a CHECK or a unique constraint created by ``changes`` names."""
    found: set[str] = set()
    for op in changes.ops:
        if isinstance(op, ops.CreateCheckConstraintOp):
            found |= set(re.findall(r"\w+", str(op.condition)))
        elif isinstance(op, ops.CreateForeignKeyOp):
            found |= set(op.local_cols)
        elif isinstance(op, ops.CreateUniqueConstraintOp) or (isinstance(op, ops.CreateIndexOp) and op.unique):
            found |= set(column_names(op.columns))
    return found


def _stand_in(column: "Column[Any]") -> str | None:
    """Return the value of STAND_INS for the column's type, as SQL text; None if there is none."""
    kind = dict if isinstance(column.type, JSON) else value_type(column)
    value = column.type.enums[0] if isinstance(column.type, Enum) else STAND_INS.get(kind)
    return None if value is None else _sql_text(value, column)


def _without_value(
    container: ops.UpgradeOps | ops.DowngradeOps,
) -> Iterator[tuple[str, tuple[ops.ModifyTableOps, ops.AddColumnOp]]]:
    """Yield the name of each new NOT NULL column without a default, with its table's changes and its AddColumnOp."""
    for changes in table_changes(container):
        for op in changes.ops:
            if isinstance(op, ops.AddColumnOp):
                column = op.column
                if not (column.nullable or column.server_default or column.primary_key):
                    yield full_name(op.schema, op.table_name, column.name), (changes, op)


def _becoming_not_null(
    upgrade: ops.UpgradeOps, models: Mapping[Name, Table]
) -> Iterator[tuple[str, tuple[Name, "Column[Any]"]]]:
    """Yield the name of each existing column that becomes NOT NULL, with its table, and the column of the model."""
    for changes in table_changes(upgrade):
        table = changes.schema, changes.table_name
        for op in changes.ops:
            if isinstance(op, ops.AlterColumnOp) and op.modify_nullable is False:
                column = next(each for each in models[table].columns if each.name == op.column_name)
                if column.computed is None:
                    yield full_name(*table, column.name), (table, column)


def _fill_nulls(values: dict[Name, dict[str, str]], renames: Renames) -> list[Step]:
    """Return a step for each table that sets ``values``, by column, in rows that have none.

    These steps come before all others: MySQL commits an UPDATE with the next DDL statement, PostgreSQL would keep the
    table locked until all rows are done, and nothing reverts them. They run before the renames, so they use the old
    names.
    """
    steps: list[Step] = []
    for table, codes in values.items():
        before = renames.before(table)
        old_names = {new: old for old, new in renames.names.get(before, {}).items()}
        lines = [_update_code(before, old_names.get(name, name), code) for name, code in codes.items()]
        columns = " and ".join(full_name(*table, name) for name in codes)
        log.info("Filling %s in a revision of its own, before the one with NOT NULL", columns)
        steps.append((f"Fill {columns}", [Lines(*lines)]))
        acknowledge("missing-downgrade", "a value in place of NULL can stay")
    return steps


def _given(name: str, value: str, column: "Column[Any]") -> str:
    try:
        return _sql_text(value, column)
    except ValueError as error:
        raise wrong_answer("default", f"{name}:{value}", str(error)) from error


def _ask(question: str, column: "Column[Any]") -> str | None:
    """Ask on the terminal which value rows get, and return it; return None without a terminal or an answer."""
    if not has_terminal():
        return None
    default = column.default.arg if isinstance(column.default, ScalarElementColumnDefault) else ""

    def read(value: Any) -> str | None:
        if value == "":
            return None
        try:
            return _sql_text("" if value == "''" else str(value), column)
        except ValueError as error:
            raise click.UsageError(f"{error}.") from error

    expected = _expected(column)
    skip = "" if default != "" else "; Enter to skip"
    empty = "; '' is an empty string" if expected == "text" else ""
    question += f" ({expected.removeprefix('an ').removeprefix('a ')}{skip}{empty})"
    shown = getattr(default, "name", default)
    found: str | None = click.prompt(question, default=shown, value_proc=read, show_default=shown != "", err=True)
    return found


def _expected(column: "Column[Any]") -> str:
    kind = column.type
    if isinstance(kind, Enum):
        return f"one of {', '.join(kind.enums)}"
    return "JSON" if isinstance(kind, JSON) else VALUES.get(value_type(column), ("text", str))[0]


def _sql_text(value: str, column: "Column[Any]") -> str:
    """Return ``value``, which the user gave, as text for an SQL literal, e.g. 1 for yes in a Boolean column.

    Raise ValueError if the column's type does not accept the value.
    """
    python = value_type(column)
    if python in (datetime, date, time) and value.upper() in (NOW, f"CURRENT_{python.__name__.upper()}"):
        return NOW
    try:
        if isinstance(column.type, Enum):
            column.type.enums.index(value)
            return value
        return str(VALUES.get(python, ("text", str))[1](value))
    except (ValueError, ArithmeticError, click.BadParameter) as error:
        raise ValueError(f"{value!r} is not {_expected(column)}") from error


def _add_in_steps(add: ops.AddColumnOp, default: DefaultClause, value: str) -> PerDialect:
    """Return an operation that adds a NOT NULL column, and sets ``value`` in existing rows, without a table copy.

    Databases that would copy the table for this default add the column as nullable, fill it with an UPDATE, then make
    it NOT NULL. The others add the column with its default.
    """
    table, schema = add.table_name, add.schema

    def batch(*operations: ops.MigrateOperation) -> ops.ModifyTableOps:
        return ops.ModifyTableOps(table, operations, schema=schema)

    in_steps = [
        batch(_added(add, None)),
        Lines(_update_code((schema, table), add.column.name, _value_code(add.column, value))),
        batch(KEPT, _made_not_null(add, default)),
    ]
    at_once = [batch(KEPT, _added(add, default))]
    drop = [batch(add.reverse())]
    return PerDialect.of(lambda facts: (in_steps if facts.copies_for_default(EXPRESSION) else at_once, drop), table)


def _update_code(table: Name, name: str, code: str) -> str:
    """Return Python code for an UPDATE that sets a column to the value of ``code`` in all rows where it is NULL."""
    schema = f", schema={table[0]!r}" if table[0] else ""
    return (
        f"op.execute(sa.table({str(table[1])!r}, sa.column({str(name)!r}){schema})"
        f".update().where(sa.column({str(name)!r}).is_(None)).values({{{str(name)!r}: {code}}}))"
    )


def _value_code(column: "Column[Any]", value: str) -> str:
    """Return Python code for ``value``, as _sql_text() returns it, that every database accepts for the column's type.

    A value of a type other than text is a literal in the SQL, because PostgreSQL does not cast text parameters.
    """
    kind, python = plain_type(column), value_type(column)
    if value == NOW:
        value = "CURRENT_DATE" if isinstance(kind, Date) else "CURRENT_TIME" if isinstance(kind, Time) else NOW
        return f"sa.func.{value.lower()}()"
    if python in (int, bool):
        return repr(python(int(value)))
    if isinstance(kind, LargeBinary):
        return repr(value.encode())
    return repr(value) if isinstance(kind, String) and not isinstance(kind, Enum) else LITERAL.format(value)


def _added(add: ops.AddColumnOp, default: DefaultClause | None) -> ops.AddColumnOp:
    column = add.column
    new = Column(column.name, column.type, nullable=default is None, server_default=default, comment=column.comment)
    return ops.AddColumnOp(add.table_name, new, schema=add.schema)


def _made_not_null(add: ops.AddColumnOp, default: DefaultClause | Literal[False] = False) -> ops.AlterColumnOp:
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
    """Return ``value`` as a server default, written so that every database accepts it for the type of ``column``."""
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
