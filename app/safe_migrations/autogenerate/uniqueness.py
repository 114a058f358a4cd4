"""Unique constraints and indexes that get another name, or take the place of another one, without a gap."""

import re
from collections.abc import Iterator
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

from alembic.operations.ops import (
    CreateIndexOp,
    CreateUniqueConstraintOp,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import ClauseElement, inspect
from sqlalchemy.sql.elements import conv

from ..console import log
from .changes import remove_empty
from .derived_names import Named, renamed


def drop_as_constraints(context: MigrationContext, script: MigrationScript) -> None:
    """Drop unique constraints as such where the database reports them as indexes too, as MySQL and MariaDB do: on the
    others they are constraints. An index is what a revision creates as one.
    """
    assert context.connection is not None
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    inspector, changed = inspect(context.connection), False
    for changes in [op for op in script.upgrade_ops.ops if isinstance(op, ModifyTableOps)]:
        drops = [op for op in changes.ops if isinstance(op, DropIndexOp)]
        uniques = inspector.get_unique_constraints(changes.table_name, changes.schema) if drops else []
        for drop in drops:
            columns = next((each["column_names"] for each in uniques if each["name"] == drop.index_name), None)
            if columns is not None and not _is_created_as_index(context, str(drop.index_name)):
                name, table = conv(str(drop.index_name)), changes.table_name
                create = CreateUniqueConstraintOp(name, table, columns, schema=changes.schema)
                changes.ops[changes.ops.index(drop)] = create.reverse()
                changed = True
    if changed:
        script.upgrade_ops.reverse_into(script.downgrade_ops)


def _is_created_as_index(context: MigrationContext, name: str) -> bool:
    """Return True if a revision creates an index of that name, and none makes a constraint of it."""
    revisions = context.script.walk_revisions() if context.script is not None else []
    scripts = "\n".join(Path(each.path).read_text(encoding="utf-8") for each in revisions)
    quoted = rf"\(\s*(?:\w+\.f\(\s*)?['\"]{re.escape(name)}['\"]"
    constraint = re.search(rf"\bcreate_unique_constraint{quoted}", scripts)
    return constraint is None and re.search(rf"\b(?:create_index|Index){quoted}", scripts) is not None


def rename_constraints(script: MigrationScript) -> None:
    """Rename a unique constraint or an index that only gets another name, and drop no other before what replaces it:
    until then the table would take duplicates.
    """
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    changed = [op for op in script.upgrade_ops.ops if isinstance(op, ModifyTableOps)]
    named = [each for changes in changed for each in _take_renamed(changes)]
    if named:
        script.upgrade_ops.ops.insert(0, renamed(named, _in_batches))
    drops = [(changes, last) for changes in changed if (last := replaced(changes))]
    for changes, last in drops:
        changes.ops[:] = [*(op for op in changes.ops if op not in last), *last]
    if named or drops:
        script.upgrade_ops.reverse_into(script.downgrade_ops)
        remove_empty(script)


def _take_renamed(changes: ModifyTableOps) -> Iterator[Named]:
    """Yield what only gets another name, and take it out of ``changes``."""
    drops = [op for op in changes.ops if isinstance(op, DropConstraintOp | DropIndexOp)]
    for create in [op for op in changes.ops if isinstance(op, CreateUniqueConstraintOp | CreateIndexOp)]:
        definition = _definition(create)
        drop = next((op for op in drops if definition and definition == _definition(op)), None)
        if drop is not None:
            is_index, old, new = isinstance(drop, DropIndexOp), str(_name(drop)), str(_name(create))
            log.info("Renaming %s %s to %s", "index" if is_index else "constraint", old, new)
            table = (changes.schema, changes.table_name)
            yield Named("ix" if is_index else "uq", table, old, new, partial(_called, create))
            drops.remove(drop)
            changes.ops.remove(drop)
            changes.ops.remove(create)


def _called(create: CreateUniqueConstraintOp | CreateIndexOp, name: str) -> MigrateOperation:
    again = copy(create)
    setattr(again, "index_name" if isinstance(create, CreateIndexOp) else "constraint_name", name)
    return again


def _definition(op: MigrateOperation) -> Any:
    """Return a unique constraint or an index without its name; None for one with expressions, or that has no name."""
    made = _created(op)
    if not isinstance(made, CreateUniqueConstraintOp | CreateIndexOp) or not _name(op):
        return None
    columns = [getattr(each, "name", each) for each in made.columns]
    options = {key: value for key, value in made.kw.items() if isinstance(value, ClauseElement) or value}
    plain = all(isinstance(each, str) for each in columns)
    return (type(made), getattr(made, "unique", True), columns, options) if plain else None


def _is_unique(op: MigrateOperation) -> bool:
    """Return True for an operation that creates or drops a unique constraint or a unique index."""
    made = _created(op)
    return isinstance(made, CreateUniqueConstraintOp) or (isinstance(made, CreateIndexOp) and bool(made.unique))


def _created(op: MigrateOperation) -> Any:
    """Return the operation that creates what ``op`` creates or drops."""
    return op.reverse() if isinstance(op, DropConstraintOp | DropIndexOp) else op


def _name(op: Any) -> str | None:
    return getattr(op, "constraint_name", None) or getattr(op, "index_name", None)


def replaced(changes: ModifyTableOps) -> list[MigrateOperation]:
    """Return the drops of unique constraints and indexes that come last, because the table gets other unique ones: not
    of one whose name is used again, nor if the table loses a column.
    """
    creates = [op for op in changes.ops if isinstance(op, CreateUniqueConstraintOp | CreateIndexOp) and _is_unique(op)]
    names = {_name(op) for op in creates}
    if not creates or any(isinstance(op, DropColumnOp) for op in changes.ops):
        return []
    drops = [op for op in changes.ops if isinstance(op, DropConstraintOp | DropIndexOp) and _is_unique(op)]
    return [op for op in drops if _name(op) not in names]


def _in_batches(named: list[Named]) -> list[MigrateOperation]:
    tables = dict.fromkeys(each.table for each in named)
    batches = {table: [each for each in named if each.table == table] for table in tables}
    return [
        ModifyTableOps(name, [op for each in found for op in (each.drop(), each.create())], schema=schema)
        for (schema, name), found in batches.items()
    ]
