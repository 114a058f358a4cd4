"""Rules about the types of columns: changes of type, small primary keys, json, and strings without a length."""

from collections.abc import Iterator
from copy import copy, deepcopy
from typing import Any

from alembic.operations import ops
from sqlalchemy import JSON, Column, Select, String, Table, TableClause, Text, column, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from ...adapters.casts import Cast, Kind, exceeds_size
from ..known_schema import KnownSchema
from ..recorder import Revision, as_table
from .columns import column_of_new_type
from .implied_ops import constraints_of
from .registry import BLOCKS, BOTH, MYSQL, POSTGRESQL, SERVERS, WARNS, Problem, RuleContext, rule
from .suggestions import as_sql, keeping, python_type, with_imports

BITS_OF_INTEGER, BITS_OF_BIGINT = 32, 64
LONGEST_VARCHAR = 65_535
"""The bytes of the longest VARCHAR (MySQL manual, "The CHAR and VARCHAR Types")."""
Type = TypeEngine[Any] | None
_Reference = tuple[str, str, Type]
"""A table, a column, and its type."""


@rule(BLOCKS, ops.AlterColumnOp)
def change_type(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report a change of type that changes values or fails, or that rewrites the table and so blocks reads.

    PostgreSQL's manual says when it rewrites a table ("ALTER TABLE", Notes).
    """
    old, new, facts = context.type_before(op), context.type_after(op), context.facts
    if new is None or facts.kind(new) is None or _is_enum_again(op, context):  # no such type: it cannot run here
        return None
    cast, what = facts.cast(old, new), _what(op, old, context)
    if cast is Cast.LOSES:
        has_value = column(op.column_name).is_not(None)
        level = WARNS if context.tables.has_rows(op.table_name, op.schema, has_value) is False else None
        instead = (
            _correct_existing_type(op, old, context)
            if op.modify_type is None
            else _new_column(op, context) + _using(op, old, context)
        )
        return Problem(f"{what}: values that do not fit are changed or refused", instead, level)
    if cast is not Cast.KEEPS or not facts.rewrites(old, new):
        return None
    if context.tables.has_rows(op.table_name, op.schema) is False:
        return None
    return Problem(f"{what}, which blocks reads while the table is rewritten", _new_column(op, context), WARNS)


@rule(BLOCKS, ops.AlterColumnOp, on=SERVERS)
def shrink_column(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report a smaller size of a column: larger values are cut, rounded or refused, depending on the database.

    A VARCHAR of unknown length fits into a TEXT.
    """
    old, new = context.type_before(op), context.type_after(op)
    if new is None or context.facts.cast(old, new) is not Cast.SHRINKS:
        return None
    before, after = context.facts.kind(old), context.facts.kind(new)
    if old is None and after and after.size >= LONGEST_VARCHAR and _is_varchar(op, context):
        return None
    condition = exceeds_size(before, after, column(op.column_name)) if before and after else None
    rows = TableClause(op.table_name, schema=op.schema)
    too_large = None if condition is None else context.tables.has_rows(op.table_name, op.schema, condition)
    found = "to see whether all values fit:\n    flask db review"
    if condition is not None:
        query: Select[Any] = select(literal_column("*")).select_from(rows).where(condition)
        found = f"this query finds them:\n    {as_sql(query, context.facts)}"
    there = {
        True: "existing values are too large",
        False: "no existing value is too large, but the upgrade fails if one is written before it runs",
        None: "values that are too large are cut or refused",
    }
    return Problem(
        f"{_what(op, old, context)}: {there[too_large]}",
        _correct_existing_type(op, old, context)
        if op.modify_type is None
        else "keep the column's size, and limit the values in the app; or first deploy code that writes only values"
        f" that fit the new type, and shorten existing values; {found}",
        WARNS if too_large is False else None,
    )


def _is_varchar(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    """Return True if the script or the history says that the column is a VARCHAR, and no more."""
    known = context.column(op)
    types = [type_ for type_ in (op.existing_type, known.type if known else None) if type_ is not None]
    return bool(types) and all(isinstance(type_, String) and not isinstance(type_, Text) for type_ in types)


def _what(op: ops.AlterColumnOp, old: Type, context: RuleContext) -> str:
    was = "" if old is None else f" from {context.facts.spelled(old)}"
    return f"changes column {op.table_name}.{op.column_name}{was} to {context.facts.spelled(context.type_after(op))}"


def _is_enum_again(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    """Return True if both types are enums, and other rules report the change: same name, or values removed."""
    old, new = context.facts.kind(context.type_before(op)), context.facts.kind(context.type_after(op))
    if old is None or new is None or not old.family == new.family == "enum":
        return False
    return old.name == new.name or not old.values <= new.values


def _correct_existing_type(op: ops.AlterColumnOp, old: Type, context: RuleContext) -> str:
    """Return the advice to correct existing_type, which MODIFY and CHANGE would make the column's new type."""
    corrected = copy(op)
    corrected.existing_type = old
    return (
        "write the type that the column has now, because MODIFY and CHANGE give the column the type in existing_type:\n"
        + context.python(keeping(corrected, context.column(op)))
    )


def _new_column(op: ops.AlterColumnOp, context: RuleContext) -> str:
    return (
        "copy values that fit to a new column, switch the code to it, and drop the old one in a later release; in this"
        f" revision only add the new column:\n{column_of_new_type(op, context)}"
    )


def _using(op: ops.AlterColumnOp, old: Type, context: RuleContext) -> str:
    """Return the USING clause to paste for a cast that PostgreSQL does not do without it; empty for other casts."""
    using = context.facts.cast_sql(op.column_name, old, op.modify_type)
    if using is None or "postgresql_using" in op.kw:
        return ""
    line = context.python(op, batch=False).removesuffix(")")
    words = "or, if all values can be converted, acknowledge this and tell PostgreSQL how:"
    return f"\n{words}\n{line}, postgresql_using={using!r})"


@rule(WARNS, Revision, on=SERVERS)
def small_key(revision: Revision, context: RuleContext) -> Problem | None:
    """Report primary keys that run out of numbers, and foreign keys of another type than their target.

    The 32-bit key of a new table is exempt: it is what `Mapped[int]` means, and few tables get 2,147,483,647 rows. A
    column that is added to an existing table as its key has to number rows of an unknown count.
    """
    if not any(_may_have_keys(operation.op) for operation in revision.upgrade):
        return None
    keys: list[tuple[Column[Any], Kind]] = []
    references: list[tuple[_Reference, _Reference]] = []
    lines: list[int] = []
    tables = context.tables.branch()
    for operation in revision.upgrade:
        op = operation.op
        if _may_have_keys(op):
            made = as_table(op) if isinstance(op, ops.CreateTableOp | ops.AddColumnOp) else None
            found = len(keys) + len(references)
            keys += _small_keys(op, made, tables)
            references += _of_other_types(op, made, tables)
            lines += [operation.line] if len(keys) + len(references) > found else []
        tables.apply(op)
    if not lines:
        return None
    problems = [_running_out(keys)] if keys else []
    problems += [_differing(references, context)] if references else []
    what, instead = zip(*problems, strict=True)
    return Problem("; it ".join(what), "\n".join(instead), line=lines[0])


def _may_have_keys(op: ops.MigrateOperation) -> bool:
    """Return True if the operation can create a primary key that auto-increments, or a foreign key."""
    if isinstance(op, ops.AddColumnOp):
        return op.column.primary_key or bool(op.column.foreign_keys)
    return isinstance(op, ops.CreateTableOp | ops.CreateForeignKeyOp)


def _small_keys(op: Any, made: Table | None, tables: KnownSchema) -> Iterator[tuple["Column[Any]", Kind]]:
    """Yield the primary key that ``op`` creates, if it auto-increments and has too few bits."""
    key = made.autoincrement_column if made is not None else None
    kind = None if key is None else tables.facts.kind(key.type)
    if key is None or kind is None or kind.family != "integer":
        return
    is_new = isinstance(op, ops.CreateTableOp) or tables.is_new(op.table_name, op.schema)
    if kind.size < (BITS_OF_INTEGER if is_new else BITS_OF_BIGINT):
        yield key, kind


def _running_out(keys: list[tuple["Column[Any]", Kind]]) -> tuple[str, str]:
    """Return what is wrong with ``keys``, and what to do instead."""
    made = [
        f"{key.table.name}.{key.name} a {kind.size}-bit primary key, which runs out at {2 ** int(kind.bits) - 1:,}"
        for key, kind in keys
    ]
    columns = [
        f"    sa.Column({key.name!r}, sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False)"
        for key, _ in keys
    ]
    advice = (
        "use BIGINT here, in the model, and in foreign keys to it (on SQLite only INTEGER auto-increments, hence the"
        " variant):"
    )
    return f"makes {' and '.join(made)}", "\n".join([advice, *dict.fromkeys(columns)])


def _differing(references: list[tuple[_Reference, _Reference]], context: RuleContext) -> tuple[str, str]:
    """Return what is wrong with ``references``, which differ in type from their targets, and what to do instead."""
    made, advice = [], []
    for (table, name, type_), (referred, target, target_type) in references:
        assert target_type is not None
        spelled, spelled_target = context.facts.spelled(type_), context.facts.spelled(target_type)
        made.append(f"{table}.{name} ({spelled}) refer to {referred}.{target} ({spelled_target})")
        advice.append(
            f"give {table}.{name} the type of {referred}.{target}, in the model too:\n"
            + with_imports(f"    sa.Column({name!r}, {python_type(target_type, context.facts)})")
        )
    consequence = "a foreign key of another type than the column that it refers to is refused or slow"
    return f"makes {' and '.join(made)}; {consequence}", "\n".join(advice)


def _of_other_types(op: Any, made: Table | None, tables: KnownSchema) -> Iterator[tuple[_Reference, _Reference]]:
    """Yield each column with a foreign key, and the column it refers to, if their types are known and differ."""
    for reference, target in _references(op, made, tables):
        kinds = [tables.facts.kind(reference[2]), tables.facts.kind(target[2])]
        if target[2] is not None and None not in kinds and len({_comparable(each) for each in kinds if each}) > 1:
            yield reference, target


def _references(op: Any, made: Table | None, tables: KnownSchema) -> Iterator[tuple[_Reference, _Reference]]:
    """Yield each column with a foreign key, and the column it refers to.

    The type of a column is None if neither the operation, the database nor the history has the column.
    """

    def of(table: str, schema: str | None, column: str) -> _Reference:
        known = tables.column(table, column, schema)
        own = made.columns.get(column) if made is not None and (made.name, made.schema) == (table, schema) else None
        return table, column, known.type if known else own.type if own is not None else None

    keys = [op] if made is None else [each for _, each in constraints_of(made)]
    for key in keys:
        if isinstance(key, ops.CreateForeignKeyOp):
            for name, target in zip(key.local_cols, key.remote_cols, strict=False):
                yield (
                    of(key.source_table, key.kw.get("source_schema"), name),
                    of(key.referent_table, key.kw.get("referent_schema"), target),
                )


def _comparable(kind: Kind) -> tuple[object, ...]:
    """Return the properties of a type that must equal its target's, e.g. an integer's size, but not a text's length."""
    return (kind.family, kind.size, kind.unsigned) if kind.family == "integer" else (kind.family,)


@rule(WARNS, ops.CreateTableOp, ops.AddColumnOp, ops.AlterColumnOp, on=POSTGRESQL, new_tables=True)
def json_column(op: ops.CreateTableOp | ops.AddColumnOp | ops.AlterColumnOp, context: RuleContext) -> Iterator[Problem]:
    """Report a column of type json, which has no equality operator: DISTINCT, GROUP BY and indexes on it fail.

    See PostgreSQL's manual, "JSON Types".
    """
    for name, type_ in _columns(op):
        if context.facts.spelled(type_) == "JSON":
            jsonb = JSON().with_variant(JSONB(), "postgresql")
            yield Problem(
                f"makes {op.table_name}.{name} json; PostgreSQL cannot compare or index json, and parses it on each"
                " read",
                f"use jsonb, in the model too:\n{_of_type(op, name, jsonb, context)}",
            )


@rule(BLOCKS, ops.CreateTableOp, ops.AddColumnOp, ops.AlterColumnOp, on=MYSQL, directions=BOTH, new_tables=True)
def string_without_length(
    op: ops.CreateTableOp | ops.AddColumnOp | ops.AlterColumnOp, context: RuleContext
) -> Iterator[Problem]:
    """Report a VARCHAR without a length, or with one that no row can have: both always fail.

    MySQL and MariaDB have no default length; a row has at most 65,535 bytes (manual, "Limits on Table Column Count").
    """
    for name, type_ in _columns(op):
        if not isinstance(type_, String):
            continue
        kind = context.facts.kind(type_)
        if kind is None:
            yield Problem(
                f"makes {op.table_name}.{name} a string without a length, which MySQL and MariaDB refuse",
                "give it a length, or use sa.Text(), in the model too:\n" + _of_type(op, name, String(255), context),
            )
        elif (kind.family, kind.stored) == ("text", "with its length") and kind.size > LONGEST_VARCHAR:
            yield Problem(
                f"makes {op.table_name}.{name} a string of {kind.size:.0f} characters, more than a row can have",
                "use sa.Text(), in the model too:\n" + _of_type(op, name, Text(int(kind.size)), context),
            )


def _of_type(
    op: ops.CreateTableOp | ops.AddColumnOp | ops.AlterColumnOp, name: str, type_: TypeEngine[Any], context: RuleContext
) -> str:
    """Return the operation with another type for the column; of CREATE TABLE, only the column."""
    if isinstance(op, ops.CreateTableOp):
        return with_imports(f"    sa.Column({name!r}, {python_type(type_, context.facts)})")
    again = deepcopy(op)
    if isinstance(again, ops.AddColumnOp):
        again.column.type = type_
        return context.python(again)
    again.modify_type = type_
    return context.python(keeping(again, context.column(op)))


def _columns(
    op: ops.CreateTableOp | ops.AddColumnOp | ops.AlterColumnOp,
) -> Iterator[tuple[str, TypeEngine[Any]]]:
    """Yield the name and new type of each column that the operation adds or gives another type."""
    if isinstance(op, ops.AlterColumnOp):
        if op.modify_type is not None:
            yield op.column_name, op.modify_type
        return
    for each in [op.column] if isinstance(op, ops.AddColumnOp) else op.columns:
        if isinstance(each, Column):
            yield each.name, each.type
