"""What can be done without blocking reads and writes, and therefore in revisions of its own."""

import re
from collections.abc import Callable, Collection
from copy import copy
from dataclasses import dataclass
from functools import partial
from random import randrange
from typing import Any

from alembic.operations.ops import (
    AlterColumnOp,
    CreateForeignKeyOp,
    CreateIndexOp,
    CreateUniqueConstraintOp,
    DowngradeOps,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
    ExecuteSQLOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.util import rev_id
from sqlalchemy.sql.elements import conv

from ..adapters.facts import Facts
from ..review.rules.columns import not_null_check
from ..review.rules.constraints import by_index
from .index_changes import ForeignKeyIndexes, changes_of_existing_tables, index_created, name_of, replaced
from .rendering import AutocommitBlock, Directions, PerDialect, remove_empty


@dataclass
class Step:
    """A revision of its own, and what it does on a product."""

    message: str
    directions: Callable[[Facts], Directions]

    def script(self, after: MigrationScript, identifier: str) -> MigrationScript:
        """Return the script of the revision that follows ``after``."""
        return script_after(after, identifier, self.message, [PerDialect.of(self.directions)])


def split_online_steps(
    script: MigrationScript,
    concerned: Collection[Facts],
    indexes: ForeignKeyIndexes,
    is_partitioned: Callable[[ModifyTableOps], bool],
) -> list[MigrationScript]:
    """Return ``script``, and after it one for each index of an existing table, two for each unique constraint, one for
    each table whose foreign keys have to come after these, one that validates foreign keys, and two for the columns of
    a table that become NOT NULL.

    ``concerned`` are the databases for which it has to be safe, ``indexes`` those that foreign keys need. A table that
    ``is_partitioned`` gets its indexes and constraints in ``script``, as on stock: PostgreSQL cannot create them
    concurrently, or NOT VALID.
    """
    upgrade = script.upgrade_ops
    assert upgrade is not None
    existing = changes_of_existing_tables(upgrade)
    tables = [changes for changes in existing if not is_partitioned(changes)]
    last = [(changes, op) for changes in tables for op in replaced(changes) if isinstance(op, DropConstraintOp)]
    steps: list[Step] = []
    index_drops: list[Step] = []
    if any(facts.concurrent_indexes for facts in concerned):
        steps, index_drops = _indexes(tables, indexes)
    if any(facts.constraints_from_indexes for facts in concerned):
        for changes in tables:
            for add in [op for op in changes.ops if isinstance(op, CreateUniqueConstraintOp) and op.constraint_name]:
                changes.ops.remove(add)
                steps += _unique_constraint(add)
    for changes, op in last if steps else ():
        changes.ops.remove(op)
        create: Any = op.reverse()
        created = partial(index_created, create, indexes.get(name_of(op)))
        steps.append(Step(f"Drop constraint {op.constraint_name}", _reversed(created)))
    steps += index_drops
    if any(facts.unvalidated_constraints for facts in concerned):
        steps += _foreign_keys(tables, bool(steps))
    if any(facts.not_null_scans for facts in concerned):
        for changes in existing:
            alters = [op for op in changes.ops if isinstance(op, AlterColumnOp) and op.modify_nullable is False]
            if alters:
                steps += _not_null(changes, [_without_type(changes, op) for op in alters])
    remove_empty(upgrade)
    scripts = [script]
    if steps and upgrade.is_empty():
        first = steps.pop(0)
        upgrade.ops[:] = [PerDialect.of(first.directions)]
    for identifier, step in zip(ids_after(str(script.rev_id), len(steps)), steps, strict=True):
        scripts.append(step.script(scripts[-1], identifier))
    return scripts


def _indexes(tables: list[ModifyTableOps], needed: ForeignKeyIndexes) -> tuple[list[Step], list[Step]]:
    """Create new indexes before dropping the ones they replace, unless both have the same name; return the other drops
    for later, because a unique constraint may replace one too.

    Where the table loses a column, its indexes are dropped in the script: that blocks others as long, and on PostgreSQL
    an index goes with any column that it, its WHERE or an expression names.
    """
    drops: dict[tuple[str | None, str], Step] = {}
    creates: dict[tuple[str | None, str], Step] = {}
    for changes in tables:
        loses_column = any(isinstance(op, DropColumnOp) for op in changes.ops)
        for op in list(changes.ops):
            if isinstance(op, DropIndexOp) and not loses_column:
                created = partial(_created, op.reverse(), needed.get(name_of(op)))
                drops[op.schema, name_of(op)] = Step(f"Drop index {op.index_name}", _reversed(created))
            elif isinstance(op, CreateIndexOp):
                created = partial(_created, op, needed.get(name_of(op)))
                creates[op.schema, name_of(op)] = Step(f"Create index {op.index_name}", created)
            else:
                continue
            changes.ops.remove(op)
    steps = []
    for name, step in creates.items():
        steps += [drops.pop(name), step] if name in drops else [step]
    return steps, list(drops.values())


def _created(index: CreateIndexOp, key: CreateForeignKeyOp | None, facts: Facts) -> Directions:
    """Create an index concurrently where that is possible, and there outside of a transaction; elsewhere as usual.

    An autocommit block would end the one transaction that a run has on SQLite, and hide from the journal of MySQL.
    """
    return _concurrently(index) if facts.concurrent_indexes else index_created(index, key, facts)


def _concurrently(index: CreateIndexOp, if_not_exists: bool = False) -> Directions:
    """Create and drop outside of a transaction; with ``if_not_exists`` if an interrupted run may have created it."""
    create, drop = copy(index), DropIndexOp(conv(name_of(index)), index.table_name, schema=index.schema)
    create.kw = {**index.kw, "postgresql_concurrently": True}
    create.if_not_exists = if_not_exists or None
    drop.kw = {"postgresql_concurrently": True}
    return [AutocommitBlock([create])], [AutocommitBlock([drop])]


def _reversed(directions: Callable[[Facts], Directions]) -> Callable[[Facts], Directions]:
    def swapped(facts: Facts) -> Directions:
        up, down = directions(facts)
        return down, up

    return swapped


def _unique_constraint(op: CreateUniqueConstraintOp) -> list[Step]:
    """Create a unique index concurrently, then make it the constraint, where that is possible.

    A constraint takes its index along when it is dropped: the second downgrade creates that again, and can be repeated.
    """
    name = name_of(op)

    def index_of(facts: Facts) -> CreateIndexOp:
        index, _ = by_index(op, facts)
        index.index_name = conv(name)  # the naming convention adds nothing to it
        return index

    def create(facts: Facts) -> Directions:
        return _concurrently(index_of(facts)) if facts.constraints_from_indexes else index_created(op, None, facts)

    def use(facts: Facts) -> Directions:
        if not facts.constraints_from_indexes:
            return [], []
        add = by_index(op, facts)[1]
        table = facts.quoted(op.table_name, op.schema)
        drop = ExecuteSQLOp(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {facts.quoted(name)}")
        return [ExecuteSQLOp(add)], [drop, *_concurrently(index_of(facts), if_not_exists=True)[0]]

    return [Step(f"Create unique index {name}", create), Step(f"Add constraint {name}", use)]


def _foreign_keys(tables: list[ModifyTableOps], after_others: bool) -> list[Step]:
    """Add foreign keys without checking existing rows, one table in each revision: its lock is released before the next
    one is taken. Where nothing has to come before them, such as their indexes, they stay in the script. An existing
    key of the same name is dropped in the same revision.
    """
    added, steps = [], []
    for changes in tables:
        keys = [op for op in changes.ops if isinstance(op, CreateForeignKeyOp)]
        for key in keys:
            key.kw["postgresql_not_valid"] = True
        if keys and after_others:
            names = {key.constraint_name for key in keys}
            drops = [
                op for op in changes.ops if isinstance(op, DropConstraintOp) and op.constraint_type == "foreignkey"
            ]
            old = [op for op in drops if op.constraint_name in names]
            moved = ModifyTableOps(changes.table_name, [*old, *keys], schema=changes.schema)
            changes.ops[:] = [op for op in changes.ops if op not in moved.ops]
            steps.append(Step(f"Add foreign keys to {changes.table_name}", _everywhere(moved)))
        added += keys

    def validate(facts: Facts) -> Directions:
        found = (
            facts.validating(key.source_table, key.kw.get("source_schema"), str(key.constraint_name)) for key in added
        )
        return [ExecuteSQLOp(sql) for sql in found if sql], []

    return [*steps, Step("Validate foreign keys", validate)] if added else []


def _everywhere(op: MigrateOperation) -> Callable[[Facts], Directions]:
    return lambda _facts: ([op], [op.reverse()])


def _without_type(changes: ModifyTableOps, op: AlterColumnOp) -> AlterColumnOp:
    """Take out of ``changes`` what makes the column NOT NULL, and return it; another type stays."""
    if op.modify_type is None:
        changes.ops.remove(op)
        return op
    kept = {name: getattr(op, name) for name in ("schema", "existing_server_default", "existing_comment")}
    nullable: dict[str, Any] = {"existing_nullable": True, "modify_nullable": False}
    op.modify_nullable, op.existing_nullable = None, True
    return AlterColumnOp(op.table_name, op.column_name, existing_type=op.modify_type, **kept, **nullable)


def _not_null(changes: ModifyTableOps, alters: list[AlterColumnOp]) -> list[Step]:
    """Let a CHECK scan the rows under a weaker lock before SET NOT NULL, which scans them under an exclusive one."""
    table, schema = changes.table_name, changes.schema
    alter = ModifyTableOps(table, list(alters), schema=schema)

    def check(facts: Facts) -> Directions:
        checks = [not_null_check(op, facts) for op in alters] if facts.not_null_scans else []
        return checks, [each.reverse() for each in checks]

    def make_not_null(facts: Facts) -> Directions:
        checks, drops = check(facts)
        names = [str(each.constraint_name) for each in checks]  # type: ignore[attr-defined]
        validate = [ExecuteSQLOp(str(facts.validating(table, schema, name))) for name in names]
        return [*validate, alter, *drops], [alter.reverse(), *checks]

    columns = " and ".join(f"{table}.{op.column_name}" for op in alters)
    return [Step(f"Keep NULL out of {columns}", check), Step(f"Make {columns} NOT NULL", make_not_null)]


def script_after(
    script: MigrationScript, identifier: str, message: str | None, ops: list[MigrateOperation]
) -> MigrationScript:
    """Return the script of the revision ``identifier``, which follows ``script``."""
    return MigrationScript(
        identifier,
        UpgradeOps(ops),
        DowngradeOps([]),
        message=message,
        head=str(script.rev_id),
        version_path=script.version_path,
    )


def ids_after(first: str, count: int) -> list[str]:
    """Return ids like Alembic's, 12 hexadecimal digits, sorted: file names contain the second, and then the id."""
    if not re.fullmatch("[0-9a-f]{12}", first):  # from --rev-id
        return [rev_id() for _ in range(count)]
    return sorted(f"{randrange(int(first, 16) + 1, 16**12):012x}" for _ in range(count))
