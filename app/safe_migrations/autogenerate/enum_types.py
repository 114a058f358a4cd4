"""Operations that create and drop PostgreSQL's enum types, and add new values to them."""

from collections.abc import Iterable
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import Column, Enum, Table, inspect
from sqlalchemy.types import TypeEngine

from ..adapters.facts import Facts
from ..database import Database
from .rendering import AddEnumValue, PerDialect, all_ops, executed


def create_and_drop_enums(upgrade: ops.UpgradeOps, models: Iterable[Table], facts: Facts) -> None:
    """Add an operation to the start of ``upgrade`` that creates each new enum type once; the downgrade drops it.

    A type is new if no column of ``models`` that ``upgrade`` leaves as it is uses it. Nothing is added if no type is
    new, or if the database of ``facts`` has no enum types.

    Alembic creates an enum type with each new table, even if the type exists, never with a new column, and never drops
    one.
    """
    found = list(all_ops(upgrade))
    created = [op for op in found if isinstance(op, ops.CreateTableOp)]
    names = {(op.schema, op.table_name) for op in created}
    added = {(op.table_name, op.column.name): op.column.type for op in found if isinstance(op, ops.AddColumnOp)}
    alters = [op for op in found if isinstance(op, ops.AlterColumnOp) and op.modify_type]
    columns = added | {(op.table_name, op.column_name): op.modify_type for op in alters}
    older = [
        column.type
        for table in models
        if (table.schema, table.name) not in names
        for column in table.columns
        if (table.name, column.name) not in columns
    ]
    new_columns = [item for op in created for item in op.columns if isinstance(item, Column)]
    used: list[Any] = [*columns.values(), *(column.type for column in new_columns)]
    existing = _enums(older, facts)
    new = {name: sql for name, sql in _enums(used, facts).items() if name not in existing}
    if new:
        up = [executed(sql) for sql in new.values()]
        down = [executed(f"DROP TYPE IF EXISTS {name}") for name in new]
        upgrade.ops.insert(0, PerDialect({facts.product: up}, {facts.product: down}))


def added_values(context: AutogenContext) -> list[ops.MigrateOperation]:
    """Return an operation for each value that a model's enum has and the same enum type in the database lacks.

    Return an empty list for databases other than PostgreSQL. Alembic detects no such values.
    """
    assert context.connection is not None
    facts = Database(context.connection).facts
    if not facts.enums_are_types:
        return []
    existing = {}
    inspector = inspect(context.connection)
    for enum in inspector.get_enums("*"):  # type: ignore[attr-defined]  # of PostgreSQL's
        existing[enum["schema"], enum["name"]] = enum["labels"]
        if enum["visible"]:
            existing[None, enum["name"]] = enum["labels"]
    found = {}
    for table in context.table_key_to_table.values():
        for column in table.columns:
            if (enum := facts.enum_type(column.type)) is not None and (enum.schema, enum.name) in existing:
                found[facts.quoted(str(enum.name), enum.schema)] = enum.enums, existing[enum.schema, enum.name]
    return [
        AddEnumValue(facts, name, value, next((each for each in values[at:] if each in labels), None))
        for name, (values, labels) in found.items()
        for at, value in enumerate(values)
        if value not in labels
    ]


def _enums(kinds: Iterable[TypeEngine[Any]], facts: Facts) -> dict[str, str]:
    """Return the CREATE TYPE statement of each enum in ``kinds``, by the name of the enum.

    Enums inside of an array, a TypeDecorator or a variant are left out.
    """
    return dict(found for kind in kinds if isinstance(kind, Enum) and (found := facts.enum(kind)))
