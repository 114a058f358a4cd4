"""Values that existing rows get in a column that is new and NOT NULL, or that becomes NOT NULL.

The user types them on the terminal, or passes them with -x default=...
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from .renamed_inspector import RenamedInspector
from .renames import full_name
from .rendering import Directions, ExpressionDefault, Lines, PerDialect, plain_type, table_changes, value_type

NOW = "CURRENT_TIMESTAMP"
EXPRESSION = "('x')"
COPYING = tuple(facts for facts in FACTS.values() if facts().copies_for_default(EXPRESSION))
"""The databases that copy a table for such a default, and those that can have the same URL, as MariaDB and MySQL."""
KEPT = Lines(
    "# Keep the default for now: the previous release is still running and inserts rows without this column.",
    "# A later revision may drop the default.",
)
LOST = Lines("# The dropped values are lost. Existing rows get these defaults, which are dropped again below.")
NULLABLE = Lines(
    "# The dropped values are lost, and a default might violate a constraint. So what was NOT NULL is restored as",
    "# nullable: fill it, and make it NOT NULL afterwards.",
)
Added = tuple[ops.AddColumnOp, DefaultClause, str]
"""A new NOT NULL column, its default, and the Python code for the same value in op.backfill()."""
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
    upgrade: ops.UpgradeOps, targets: list[Facts], models: Mapping[Name, Table], inspector: RenamedInspector
) -> tuple[list[Step], list[Step]]:
    """Give existing rows the values that the user gives for new NOT NULL columns, and for those that become NOT NULL.

    A new column gets the value as a server default, which stays, because the previous release is still running and
    inserts rows without the column. In a column that becomes NOT NULL, the rows that have no value are changed. Return
    the steps that have to come before all others, and those that come after ``upgrade``. Raise MigrationError if a
    value passed with `-x default=...` cannot be used.
    """
    given, slow = given_pairs("default"), any(facts.copies_for_default(EXPRESSION) for facts in targets)
    columns, nulls = dict(_without_value(upgrade)), dict(_becoming_not_null(upgrade, models))
    for name, value in given.items():
        if name not in columns and name not in nulls:
            why = f"{name} is neither a new NOT NULL column without a default nor a column that becomes NOT NULL"
            raise wrong_answer("default", f"{name}:{value}", why, (f"{each}:VALUE" for each in (*columns, *nulls)))
    copying: dict[int, tuple[ops.ModifyTableOps, list[Added]]] = {}
    for name, (changes, add) in columns.items():
        question = f"{name} is NOT NULL. Value for existing rows"
        answer = _given(name, given[name], add.column) if name in given else _ask(question, add.column)
        if answer is not None:
            default = _default(add.column, answer)
            at = changes.ops.index(add)
            if not slow or isinstance(default.arg, str) or str(default.arg).startswith(NOW):
                changes.ops[at : at + 1] = [KEPT, _added(add, default)]
            else:
                new = add, default, _value_code(add.column, answer)
                copying.setdefault(id(changes), (changes, []))[1].append(new)
    following: list[Step] = []
    for changes, adds in copying.values():
        first, steps = _add_in_steps((changes.schema, changes.table_name), adds, inspector)
        upgrade.ops.insert(upgrade.ops.index(changes), first)
        changes.ops[:] = [op for op in changes.ops if op not in [add for add, _, _ in adds]]
        following += steps
    values: dict[Name, dict[str, str]] = {}
    for name, (table, column) in nulls.items():
        question = f"{name} becomes NOT NULL. Value for rows that have none"
        answer = _given(name, given[name], column) if name in given else _ask(question, column)
        if answer is not None:
            values.setdefault(table, {})[column.name] = _value_code(column, answer)
    return [_fill_nulls(table, codes, inspector) for table, codes in values.items()], following


def restore_with_value(downgrade: ops.DowngradeOps) -> None:
    """Let ``downgrade`` add a dropped NOT NULL column with a default, which existing rows get, and drop the default.

    The dropped values are lost, so this is 0, an empty text, or the like. An op.backfill() would have to stand alone in
    its revision, and an UPDATE of all rows would keep the table locked. A column becomes nullable if its type has no
    such value, or if a foreign key, a CHECK or a unique constraint names it, which may refuse the value.
    """
    restored: dict[int, tuple[ops.ModifyTableOps, list[ops.AddColumnOp]]] = {}
    for _, (changes, add) in list(_without_value(downgrade)):
        if add.column.name not in _constrained(changes) and _stand_in(add.column) is not None:
            restored.setdefault(id(changes), (changes, []))[1].append(add)
        else:
            changes.ops[changes.ops.index(add)] = _added(add, None)
            changes.ops[:] = [NULLABLE, *(op for op in changes.ops if op is not NULLABLE)]
    for changes, adds in restored.values():
        end = changes.ops.index(adds[-1]) + 1
        following = [*(_altered(add, None) for add in adds), *changes.ops[end:]]
        for add in adds:
            at = changes.ops.index(add)
            changes.ops[at] = _added(add, _default(add.column, str(_stand_in(add.column))))
        changes.ops[:] = [LOST, *changes.ops[:end]]
        batch = ops.ModifyTableOps(changes.table_name, following, schema=changes.schema)
        downgrade.ops.insert(downgrade.ops.index(changes) + 1, batch)


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


def _fill_nulls(table: Name, codes: Mapping[str, str], inspector: RenamedInspector) -> Step:
    """Return a step that sets the values of ``codes``, by column, in the rows of an existing table that have none.

    It comes before all others, as a backfill has to stand alone in its revision. So it runs before the renames, and
    uses the old names.
    """
    before = inspector.renames.before(table)
    old_names = {new: old for old, new in inspector.renames.names.get(before, {}).items()}
    has_key = _has_key(table, inspector)
    lines = [_fill_code(before, old_names.get(name, name), code, has_key) for name, code in codes.items()]
    return f"Fill {_announced(table, codes)}", [Lines(*lines)]


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


def _add_in_steps(
    table: Name, adds: list[Added], inspector: RenamedInspector
) -> tuple[ops.MigrateOperation, list[Step]]:
    """Return an operation that adds NOT NULL columns, and steps that come later, so that no database copies the table.

    Databases that would copy the table for one of the defaults add the columns as nullable and then set the defaults,
    for new rows. In the later steps they fill existing rows, and make the columns NOT NULL. The others add the columns
    with the defaults.
    """
    has_key = _has_key(table, inspector)

    def batch(*operations: ops.MigrateOperation) -> ops.ModifyTableOps:
        return ops.ModifyTableOps(table[1], operations, schema=table[0])

    def where_copied(*operations: ops.MigrateOperation) -> PerDialect:
        down = [each.reverse() for each in operations if isinstance(each, ops.ModifyTableOps)]

        def directions(facts: Facts) -> Directions:
            return (operations, down) if isinstance(facts, COPYING) else ((), ())

        return PerDialect.of(directions, table[1])

    nullable = [_added(add, None) for add, _, _ in adds]
    defaults = [each for add, default, _ in adds for each in (KEPT, _altered(add, default, True))]
    copied = [batch(*nullable, *defaults)]
    at_once = [batch(*(each for add, default, _ in adds for each in (KEPT, _added(add, default))))]
    drop = [batch(*(add.reverse() for add, _, _ in reversed(adds)))]
    first = PerDialect.of(lambda facts: (copied if isinstance(facts, COPYING) else at_once, drop), table[1])
    names = _announced(table, [add.column.name for add, _, _ in adds])
    fills = Lines(*(_fill_code(table, add.column.name, code, has_key) for add, _, code in adds))
    not_null = batch(*(_not_null(add, default) for add, default, _ in adds))
    return first, [(f"Fill {names}", [where_copied(fills)]), (f"Make {names} NOT NULL", [where_copied(not_null)])]


def _has_key(table: Name, inspector: RenamedInspector) -> bool:
    return bool(inspector.get_pk_constraint(table[1], table[0])["constrained_columns"])


def _announced(table: Name, columns: Iterable[str]) -> str:
    """Return the names of the columns for messages, and log that a revision of its own fills them."""
    names = " and ".join(full_name(*table, name) for name in columns)
    log.info("Filling %s in a revision of its own, before the one with NOT NULL", names)
    return names


def _fill_code(table: Name, name: str, code: str, has_key: bool) -> str:
    """Return Python code that sets a column to the value of ``code`` in all rows where it is NULL.

    Without a primary key, by whose order op.backfill() goes, it is one UPDATE.
    """
    schema = f", schema={table[0]!r}" if table[0] else ""
    where = f"sa.column({str(name)!r}).is_(None)"
    if has_key:
        return f"op.backfill({str(table[1])!r}, {{{str(name)!r}: {code}}}, where={where}{schema})"
    acknowledge("missing-downgrade", "a value in place of NULL can stay")
    if code[0] in "'\"":  # PostgreSQL does not cast a text that is a parameter
        code = f"sa.literal({code}, literal_execute=True)"
    updated = f"sa.table({str(table[1])!r}, sa.column({str(name)!r}){schema})"
    return f"op.execute({updated}.update().where({where}).values({{{str(name)!r}: {code}}}))"


def _value_code(column: "Column[Any]", value: str) -> str:
    """Return Python code for ``value``, as _sql_text() returns it, that op.backfill() takes for the column's type."""
    kind, python = plain_type(column), value_type(column)
    if value == NOW:
        value = "CURRENT_DATE" if isinstance(kind, Date) else "CURRENT_TIME" if isinstance(kind, Time) else NOW
        return f"sa.func.{value.lower()}()"
    if python in (int, bool):
        return repr(python(int(value)))
    return repr(value.encode() if isinstance(kind, LargeBinary) else value)


def _added(add: ops.AddColumnOp, default: DefaultClause | None) -> ops.AddColumnOp:
    column = add.column
    new = Column(column.name, column.type, nullable=default is None, server_default=default, comment=column.comment)
    return ops.AddColumnOp(add.table_name, new, schema=add.schema)


def _not_null(add: ops.AddColumnOp, default: DefaultClause) -> ops.AlterColumnOp:
    alter = _altered(add, False, False)
    alter.existing_server_default = default
    return alter


def _altered(
    add: ops.AddColumnOp, default: DefaultClause | Literal[False] | None, nullable: bool | None = None
) -> ops.AlterColumnOp:
    """Return the operation that changes a column after ``add``, which has added it.

    Alembic writes MODIFY for one with ``nullable``. MySQL sets no default of a TEXT without (error 1101).
    """
    return ops.AlterColumnOp(
        add.table_name,
        add.column.name,
        schema=add.schema,
        existing_type=add.column.type,
        existing_nullable=nullable is not None,
        existing_comment=add.column.comment,
        modify_nullable=nullable,
        modify_server_default=default,
    )


def _default(column: "Column[Any]", value: str) -> DefaultClause:
    """Return ``value`` as a server default, written so that every database accepts it for the type of ``column``."""
    kind = plain_type(column)
    if value == NOW:  # the default of a DateTime everywhere, of a Date or a Time only as an expression
        now = f"{NOW}({digits})" if (digits := getattr(kind, "fsp", None)) else NOW  # MySQL's fractions of a second
        now = "(CURRENT_DATE)" if isinstance(kind, Date) else "(CURRENT_TIME)" if isinstance(kind, Time) else now
        return DefaultClause(text(now))
    if isinstance(kind, LargeBinary):  # SQLite would keep a string, which cannot be read as bytes
        binary = tuple_(cast(literal(value), LargeBinary()))
        return ExpressionDefault(binary, f"sa.tuple_(sa.cast(sa.literal({value!r}), sa.LargeBinary()))")
    if isinstance(kind, tuple(each for facts in FACTS.values() for each in facts.without_default)):
        return ExpressionDefault(tuple_(literal(value)), f"sa.tuple_(sa.literal({value!r}))")
    return DefaultClause(value)
