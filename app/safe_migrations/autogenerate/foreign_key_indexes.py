"""Indexes that a foreign key needs: MySQL and MariaDB do not drop them."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeGuard, cast

from alembic.operations.ops import (
    CreateForeignKeyOp,
    CreateIndexOp,
    CreateUniqueConstraintOp,
    DropConstraintOp,
    DropIndexOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.sql.elements import conv

from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..review.known_schema import Name
from .changes import about, remove_empty, taken_back
from .derived_names import foreign_key
from .renames import tables_of
from .rendering import PerDatabase, every


def needed_indexes(context: MigrationContext, script: MigrationScript) -> dict[str, CreateForeignKeyOp]:
    """By their names, the indexes that come or go, and that a foreign key needs which stays; and what creates that."""
    assert script.upgrade_ops is not None
    assert context.connection is not None
    inspector, found = inspect(context.connection), {}
    there, ops = set(tables_of(context)), list(every(script.upgrade_ops))
    going = {about(op)[1:] for op in ops if isinstance(op, DropConstraintOp)}
    changed = [op for op in ops if is_index(op) and (op.schema, op.table_name) in there]
    # A few queries for all tables, instead of several for each.
    keys = _read(inspector.get_multi_foreign_keys, {(op.schema, str(op.table_name)) for op in changed})
    referring = {table for table, found in keys.items() if found}
    primary = _read(inspector.get_multi_pk_constraint, referring)
    indexes, unique = (
        _read(read, referring) for read in (inspector.get_multi_indexes, inspector.get_multi_unique_constraints)
    )
    for op in changed:
        table, index = str(op.table_name), about(op)[3]
        if (op.schema, table) in referring:
            made = op if isinstance(op, CreateIndexOp) else op.reverse()
            given = cast(CreateIndexOp | CreateUniqueConstraintOp, made).columns
            columns = [str(getattr(column, "name", column)) for column in given]
            key_columns: list[str] = primary[op.schema, table]["constrained_columns"]
            # MySQL tells of a unique index both times.
            others: list[Any] = [*unique[op.schema, table], *indexes[op.schema, table]]
            for key in keys[op.schema, table]:
                wanted, name = key["constrained_columns"], key["name"]
                stays = [each["column_names"] for each in others if each["name"] not in (name, index)]
                taken = [key_columns, *stays]
                needs = columns[: len(wanted)] == wanted and not any(t[: len(wanted)] == wanted for t in taken)
                is_there = isinstance(op, CreateIndexOp) or (table, op.schema, name) not in going  # when it is dropped
                if name and needs and is_there:
                    found[index] = foreign_key(conv(name), (op.schema, table), key)
    return found


def _read(read: Callable[..., Mapping[Any, Any]], tables: Collection[Name]) -> dict[Name, Any]:
    """Return what ``read``, a method of Inspector, reports for each table."""
    found: dict[Name, Any] = {}
    for schema in {schema for schema, _ in tables}:
        found |= read(schema=schema, filter_names=[name for where, name in tables if where == schema])
    return found


def keep_needed(script: MigrationScript, needed: Mapping[str, CreateForeignKeyOp]) -> None:
    """Where a foreign key needs an index that is dropped, forth or back, give it its own."""
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    for index in [op for op in every(script.upgrade_ops) if isinstance(op, CreateIndexOp) and op.index_name in needed]:
        taken_back(script, index)
        script.downgrade_ops.ops.insert(0, _drop(index, needed))
    for at, changes in reversed(list(enumerate(script.upgrade_ops.ops))):
        inner = [op for op in getattr(changes, "ops", ()) if not isinstance(op, CreateIndexOp)]
        drops = [op for op in inner if is_index(op) and about(op)[3] in needed]
        for drop in drops:
            changes.ops.remove(drop)  # type: ignore[attr-defined]
            script.upgrade_ops.ops.insert(at, _drop(drop, needed))
    remove_empty(script)


def is_index(op: MigrateOperation) -> TypeGuard[CreateIndexOp | DropIndexOp | DropConstraintOp]:
    """Return True for what creates or drops an index, or drops a unique constraint, which is one on MySQL."""
    unique = isinstance(op, DropConstraintOp) and op.constraint_type == "unique"
    return unique or isinstance(op, CreateIndexOp | DropIndexOp)


def _drop(
    index: CreateIndexOp | DropIndexOp | DropConstraintOp, needed: Mapping[str, CreateForeignKeyOp]
) -> PerDatabase:
    key = needed[about(index)[3]]
    return PerDatabase({product: dropped(index, key, facts()) for product, facts in FACTS.items()}, {})


def dropped(
    index: CreateIndexOp | DropIndexOp | DropConstraintOp, key: CreateForeignKeyOp | None, facts: Facts
) -> list[MigrateOperation]:
    """Return what drops the index. MySQL and MariaDB refuse that while a foreign key needs it (error 1553); a foreign
    key that is dropped and created again gets an index of its own.
    """
    drop: MigrateOperation
    if isinstance(index, DropConstraintOp):
        drop = ModifyTableOps(index.table_name, [index], schema=index.schema)
    else:
        drop = DropIndexOp(conv(str(index.index_name)), index.table_name, schema=index.schema)
    return [key.reverse(), drop, key] if key and facts.foreign_keys_need_index else [drop]
