"""Enums that are types of a database: created once, before what uses them, and dropped by the downgrade; new values."""

from collections.abc import Iterable, Iterator
from copy import copy
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    CreateTableOp,
    ExecuteSQLOp,
    MigrateOperation,
    MigrationScript,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Enum, String, Table, inspect
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from ..adapters.facts import Facts
from ..database import Database
from ..review.known_schema import KnownSchema
from .changes import following, ids_after, way_back
from .history import tables_by_revisions
from .rendering import AddEnumValue, PerDatabase, every


def create_and_drop_enums(script: MigrationScript, models: Iterable[Table], facts: Facts) -> None:
    """Create each enum once, before what uses it, and drop in the downgrade those that are new; add new values.

    Alembic creates them with each table, there or not, never with a column, and never drops them.
    """
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    ops = list(every(script.upgrade_ops))
    made = [op for op in ops if isinstance(op, CreateTableOp)]
    names = {(op.schema, op.table_name) for op in made}
    columns = {
        **{(op.table_name, op.column.name): op.column.type for op in ops if isinstance(op, AddColumnOp)},
        **{
            (op.table_name, op.column_name): op.modify_type
            for op in ops
            if isinstance(op, AlterColumnOp) and op.modify_type
        },
    }
    older = [
        column.type
        for table in models
        if (table.schema, table.name) not in names
        for column in table.columns
        if (table.name, column.name) not in columns
    ]
    there, with_columns = _enums(older, facts), _enums(columns.values(), facts)
    grown = dict(_grown(ops, facts))
    there |= dict.fromkeys(grown, "")
    with_tables = [_enums((item.type for item in op.columns if isinstance(item, Column)), facts) for op in made]
    new = {name: sql for found in (with_columns, *with_tables) for name, sql in found.items() if name not in there}
    # What one table uses and nothing else, Alembic creates with that.
    alone = {name for name in new if name not in with_columns and sum(name in found for found in with_tables) == 1}
    for op in [*made, *(op for op in script.downgrade_ops.ops if isinstance(op, CreateTableOp))]:
        op.columns = [_with_existing_enum(item, alone, facts) for item in op.columns]
    up = [ExecuteSQLOp(sql) for name, sql in new.items() if name not in alone]
    up += [ExecuteSQLOp(sql) for found in grown.values() for sql in found]
    down = [ExecuteSQLOp(f"DROP TYPE IF EXISTS {name}") for name in new]
    if up or down:
        types = PerDatabase({facts.product: up}, {facts.product: down})
        script.upgrade_ops.ops.insert(0, types)
        script.downgrade_ops.ops.append(types.reverse())


def recall_enums(context: MigrationContext, script: MigrationScript, concerned: Iterable[Facts]) -> None:
    """Set the former type of a column to the enum that earlier revisions gave it, where the database has a VARCHAR.

    On databases with enum types the type exists: it gets more values, and a downgrade restores the column with it.
    """
    (upgrade,), (downgrade,) = script.upgrade_ops_list, script.downgrade_ops_list
    alters = [op for op in every(upgrade) if isinstance(op, AlterColumnOp) and _is_text(op.existing_type)]
    adds = [op for op in every(downgrade) if isinstance(op, AddColumnOp) and _is_text(op.column.type)]
    for facts in concerned:
        grown = [(op, now) for op in alters if op.modify_type and (now := facts.enum_type(op.modify_type)) is not None]
        if facts.dialect == context.dialect.name or not facts.enums_are_types or not (grown or adds):
            continue
        history = tables_by_revisions(context, facts.product)
        for op, now in grown:
            before = _enum_in(history, op.table_name, op.column_name, op.schema, facts)
            if before is not None and getattr(before, "name", None) == now.name:
                op.existing_type = before
                _, back = way_back(script, op)
                if isinstance(back, AlterColumnOp):
                    back.modify_type = before
        for add in adds:
            before = _enum_in(history, add.table_name, add.column.name, add.schema, facts)
            if before is not None:
                add.column.type = before


def _is_text(kind: TypeEngine[Any] | None) -> bool:
    return isinstance(kind, String) and not isinstance(kind, Enum)


def _enum_in(history: KnownSchema, table: str, column: str, schema: str | None, facts: Facts) -> TypeEngine[Any] | None:
    """Return the type of the column, without its CHECK, if it is an enum of the database's own."""
    known = history.column(table, column, schema)
    if known is None or known.type is None or facts.enum_type(known.type) is None:
        return None
    kind: TypeEngine[Any] = copy(known.type)
    vars(kind)["create_constraint"] = False
    return kind


def added_values(context: AutogenContext) -> list[MigrateOperation]:
    """What gives the enums of the database the values that only the models have. Alembic sees none of them."""
    assert context.connection is not None
    facts = Database(context.connection).facts
    if not facts.enums_are_types:
        return []
    there = {}
    inspector = inspect(context.connection)
    for enum in inspector.get_enums("*"):  # type: ignore[attr-defined]  # of PostgreSQL's
        there[enum["schema"], enum["name"]] = enum["labels"]
        if enum["visible"]:
            there[None, enum["name"]] = enum["labels"]
    found = {}
    for table in context.table_key_to_table.values():
        for column in table.columns:
            if (enum := facts.enum_type(column.type)) is not None and (enum.schema, enum.name) in there:
                found[facts.quoted(str(enum.name), enum.schema)] = enum.enums, there[enum.schema, enum.name]
    return [
        AddEnumValue(facts, name, value, next((each for each in values[at:] if each in labels), None))
        for name, (values, labels) in found.items()
        for at, value in enumerate(values)
        if value not in labels
    ]


def _grown(ops: Iterable[MigrateOperation], facts: Facts) -> Iterator[tuple[str, list[str]]]:
    """The enums of columns that were enums before, and what adds their new values, which no downgrade takes away."""
    for op in ops:
        if isinstance(op, AlterColumnOp) and op.modify_type is not None and (found := facts.enum(op.modify_type)):
            before, values = getattr(op.existing_type, "enums", ()), getattr(op.modify_type, "enums", ())
            if before:
                yield found[0], [facts.growing_enum(found[0], value) for value in values if value not in before]


def _with_existing_enum(item: SchemaItem, alone: set[str], facts: Facts) -> SchemaItem:
    enum = facts.enum(item.type) if isinstance(item, Column) else None
    if not isinstance(item, Column) or enum is None or enum[0] in alone:
        return item
    column = item._copy()
    column.type = facts.existing_enum(item.type)
    return column


def _enums(kinds: Iterable[TypeEngine[Any]], facts: Facts) -> dict[str, str]:
    return dict(found for kind in kinds if (found := facts.enum(kind)))


def values_apart(scripts: list[MigrationScript]) -> None:
    """Put new values of enums first: what runs in one transaction with them cannot use them (PostgreSQL manual, "ALTER
    TYPE", Notes). The last of ``scripts`` has the rest.
    """
    script = scripts[-1]
    (upgrade,), (downgrade,) = script.upgrade_ops_list, script.downgrade_ops_list
    values = [op for op in upgrade.ops if isinstance(op, AddEnumValue)]
    rest = [op for op in upgrade.ops if not isinstance(op, AddEnumValue)]
    if values and rest:
        (identifier,) = ids_after(str(script.rev_id), 1)
        later = following(script, identifier, script.message, rest, list(downgrade.ops))
        script.message = "Add values to enums"
        upgrade.ops[:], downgrade.ops[:] = values, []
        scripts.append(later)
