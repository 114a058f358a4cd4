"""Enums that are types of a database: created once, before what uses them, and dropped by the downgrade."""

from collections.abc import Iterable, Iterator
from typing import Any

from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    CreateTableOp,
    ExecuteSQLOp,
    MigrateOperation,
    MigrationScript,
)
from sqlalchemy import Column, Table
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

from app.safe_migrations.adapters.facts import Facts
from app.safe_migrations.autogenerate.rendering import PerDatabase, every


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
