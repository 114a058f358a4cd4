"""Changes that do not block reads and writes on PostgreSQL if they are split into several revisions."""

import re
from collections.abc import Callable, Collection
from copy import copy
from functools import partial
from random import randrange
from typing import Any

from alembic.operations import ops
from alembic.util import rev_id
from sqlalchemy.sql.elements import conv

from ..adapters.facts import Facts
from ..review.rules.columns import not_null_check
from ..review.rules.constraints import by_index
from ..review.rules.implied_ops import table_of
from .index_changes import (
    ForeignKeyIndexes,
    changes_of_existing_tables,
    created_by,
    dropped_for_good,
    index_created,
    name_of,
)
from .rendering import AutocommitBlock, Directions, PerDialect, executed, remove_empty

Step = tuple[str | None, list[ops.MigrateOperation]]
"""One revision to write: its message, and its operations."""


def online_steps(
    upgrade: ops.UpgradeOps,
    targets: Collection[Facts],
    indexes: ForeignKeyIndexes,
    is_partitioned: Callable[[ops.ModifyTableOps], bool],
) -> list[Step]:
    """Move operations that would block reads or writes on PostgreSQL out of ``upgrade``; return them as later steps.

    If PostgreSQL is not among ``targets``, nothing is moved. Else there is one step for each index of an existing table
    that is created or dropped, two for each new unique constraint, one for each table to which foreign keys are added
    after these steps, one that validates all foreign keys and CHECKs, and two for each table with columns that become
    NOT NULL. If there are such steps, the drop of a unique constraint is one more, after those that may replace it.

    ``indexes`` are those that foreign keys need. The indexes and constraints of partitioned tables stay in ``upgrade``:
    PostgreSQL cannot create them concurrently or NOT VALID.
    """
    if not any(facts.online_ddl for facts in targets):
        return []
    existing = changes_of_existing_tables(upgrade)
    tables = [changes for changes in existing if not is_partitioned(changes)]
    last = [(changes, op) for changes in tables for op in dropped_for_good(changes) if not _loses_column(changes)]
    steps, index_drops = _indexes(tables, indexes)
    for changes in tables:
        for add in [op for op in changes.ops if isinstance(op, ops.CreateUniqueConstraintOp) and op.constraint_name]:
            changes.ops.remove(add)
            steps += _unique_constraint(add)
    for changes, op in last if steps else ():
        if isinstance(op, ops.DropConstraintOp):
            changes.ops.remove(op)
            created = PerDialect.of(partial(index_created, created_by(op), indexes.get(name_of(op))))
            steps.append((f"Drop constraint {op.constraint_name}", [created.reverse()]))
    steps += index_drops
    steps += _not_valid(tables, bool(steps))
    for changes in existing:
        alters = [op for op in changes.ops if isinstance(op, ops.AlterColumnOp) and op.modify_nullable is False]
        if alters:
            steps += _not_null(changes, [_without_type(changes, op) for op in alters])
    remove_empty(upgrade)
    return steps


def one_table_each(
    message: str | None, operations: list[ops.MigrateOperation], targets: Collection[Facts]
) -> list[Step]:
    """Return ``operations`` in as many steps as are needed so that each alters one existing table at most.

    PostgreSQL keeps each table locked until the end of the revision. If it is not among ``targets``, return one step.
    """
    steps: list[Step] = [(message, [])]
    created = {op.table_name for op in operations if isinstance(op, ops.CreateTableOp)}
    altered = None
    for op in operations if any(facts.online_ddl for facts in targets) else ():
        name = getattr(op, "table_name", None)
        if name is not None and name not in created:
            if altered not in (None, name):
                steps.append((f"{'Drop' if isinstance(op, ops.DropTableOp) else 'Change'} {name}", []))
            altered = name
        steps[-1][1].append(op)
    return steps if steps[0][1] else [(message, operations)]


def scripts_of(script: ops.MigrationScript, steps: list[Step]) -> list[ops.MigrationScript]:
    """Return one script for each step that has operations, each the next revision after the one before.

    The first of them is ``script`` itself, with the operations of the first step. It keeps its message, unless a later
    step has the same. At least one step has to have operations.
    """
    (message, operations), *others = [step for step in steps if step[1]]
    if script.message in [each for each, _ in others]:  # else the first script keeps the user's message
        script.message = message
    script.upgrade_ops_list[0].ops = operations
    scripts = [script]
    for identifier, (message, operations) in zip(_ids_after(str(script.rev_id), len(others)), others, strict=True):
        following = ops.MigrationScript(
            identifier,
            ops.UpgradeOps(operations),
            ops.DowngradeOps([]),
            message=message,
            head=str(scripts[-1].rev_id),
            version_path=script.version_path,
        )
        scripts.append(following)
    return scripts


def _indexes(tables: list[ops.ModifyTableOps], indexes: ForeignKeyIndexes) -> tuple[list[Step], list[Step]]:
    """Move the changes of indexes out of ``tables``, and return two lists of steps: that create them, that drop them.

    The drops are for later, because a new index or unique constraint may replace the dropped one. Only if a new index
    has the same name, its step in the first list comes after the one that drops the old index.

    If a table loses a column, the drops of its indexes stay in ``tables``: dropping the column locks the table anyway,
    and PostgreSQL drops an index together with any column that the index, its WHERE or an expression in it names.
    """
    drops: dict[tuple[str | None, str], Step] = {}
    creates: dict[tuple[str | None, str], Step] = {}
    for changes in tables:
        for op in list(changes.ops):
            name = (changes.schema, name_of(op)) if isinstance(op, ops.DropIndexOp | ops.CreateIndexOp) else None
            if isinstance(op, ops.DropIndexOp) and name and not _loses_column(changes):
                created = PerDialect.of(partial(_created, op.reverse(), indexes.get(name[1])))
                drops[name] = f"Drop index {name[1]}", [created.reverse()]
            elif isinstance(op, ops.CreateIndexOp) and name:
                created = PerDialect.of(partial(_created, op, indexes.get(name[1])))
                creates[name] = f"Create index {name[1]}", [created]
            else:
                continue
            changes.ops.remove(op)
    steps = []
    for name, step in creates.items():
        steps += [drops.pop(name), step] if name in drops else [step]
    return steps, list(drops.values())


def _loses_column(changes: ops.ModifyTableOps) -> bool:
    return any(isinstance(op, ops.DropColumnOp) for op in changes.ops)


def _created(index: ops.CreateIndexOp, key: ops.CreateForeignKeyOp | None, facts: Facts) -> Directions:
    """Return the operations that create and drop ``index``: concurrently on PostgreSQL, in the usual way elsewhere.

    Concurrently means in an autocommit block. On SQLite the block would end the run's only transaction; on MySQL it
    would bypass the journal, by which a failed revision is undone.
    """
    return _concurrently(index) if facts.online_ddl else index_created(index, key, facts)


def _concurrently(index: ops.CreateIndexOp, if_not_exists: bool = False) -> Directions:
    """Return the operations that create and drop the index concurrently, outside a transaction.

    Set ``if_not_exists`` if an interrupted run may have created the index already.
    """
    create, drop = copy(index), ops.DropIndexOp(conv(name_of(index)), index.table_name, schema=index.schema)
    create.kw = {**index.kw, "postgresql_concurrently": True}
    create.if_not_exists = if_not_exists or None
    drop.kw = {"postgresql_concurrently": True}
    return [AutocommitBlock([create])], [AutocommitBlock([drop])]


def _unique_constraint(op: ops.CreateUniqueConstraintOp) -> list[Step]:
    """Return two steps for PostgreSQL: create a unique index concurrently, then turn the index into the constraint.

    Other databases add the constraint in the first step. Dropping the constraint drops its index too, so the downgrade
    of the second step creates the index again. That downgrade can be repeated after a failure.
    """
    name = conv(name_of(op))  # the naming convention adds nothing to it

    def create(facts: Facts) -> Directions:
        return _concurrently(by_index(op, name, facts)[0]) if facts.online_ddl else index_created(op, None, facts)

    def use(facts: Facts) -> Directions:
        if not facts.online_ddl:
            return [], []
        index, add = by_index(op, name, facts)
        table = facts.quoted(op.table_name, op.schema)
        drop = executed(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {facts.quoted(name)}")
        return [executed(add)], [drop, *_concurrently(index, if_not_exists=True)[0]]

    return [
        (f"Create unique index {name}", [PerDialect.of(create)]),
        (f"Add constraint {name}", [PerDialect.of(use)]),
    ]


def _not_valid(tables: list[ops.ModifyTableOps], after_others: bool) -> list[Step]:
    """Make new foreign keys and CHECKs NOT VALID, so that adding them does not scan the rows; return further steps.

    If ``after_others``, e.g. because other steps create their indexes, one step for each table adds its foreign keys,
    and drops existing ones of the same name: the lock on one table is released before the next table is locked.
    Otherwise the foreign keys stay in ``tables``, as all CHECKs do. The last step validates all of them against
    existing rows.
    """
    added: list[Any] = []
    steps: list[Step] = []
    for changes in tables:
        keys = [op for op in changes.ops if isinstance(op, ops.CreateForeignKeyOp)]
        checks: list[Any] = [
            op for op in changes.ops if isinstance(op, ops.CreateCheckConstraintOp) and op.constraint_name
        ]
        for op in [*checks, *keys]:
            op.kw["postgresql_not_valid"] = True
        if keys and after_others:
            names = {key.constraint_name for key in keys}
            drops = [op for op in changes.ops if isinstance(op, ops.DropConstraintOp)]
            old = [op for op in drops if op.constraint_type == "foreignkey" and op.constraint_name in names]
            moved = ops.ModifyTableOps(changes.table_name, [*old, *keys], schema=changes.schema)
            changes.ops[:] = [op for op in changes.ops if op not in moved.ops]
            steps.append((f"Add foreign keys to {changes.table_name}", [moved]))
        added += [*keys, *checks]

    def validate(facts: Facts) -> Directions:
        found = (facts.validate_sql(*table_of(op), str(op.constraint_name)) for op in added)
        return [executed(sql) for sql in found if sql], []

    kinds = {isinstance(op, ops.CreateForeignKeyOp) for op in added}
    what = "constraints" if len(kinds) > 1 else "foreign keys" if True in kinds else "CHECKs"
    return [*steps, (f"Validate {what}", [PerDialect.of(validate)])] if added else []


def _without_type(changes: ops.ModifyTableOps, op: ops.AlterColumnOp) -> ops.AlterColumnOp:
    """Take the change to NOT NULL out of ``op``, one of ``changes``, and return it as a separate operation.

    If ``op`` also changes the type of the column, that part stays in ``changes``.
    """
    if op.modify_type is None:
        changes.ops.remove(op)
        return op
    kept = {name: getattr(op, name) for name in ("schema", "existing_server_default", "existing_comment")}
    nullable: dict[str, Any] = {"existing_nullable": True, "modify_nullable": False}
    op.modify_nullable, op.existing_nullable = None, True
    return ops.AlterColumnOp(op.table_name, op.column_name, existing_type=op.modify_type, **kept, **nullable)


def _not_null(changes: ops.ModifyTableOps, alters: list[ops.AlterColumnOp]) -> list[Step]:
    """Return two steps: add a CHECK (... IS NOT NULL) as NOT VALID, then validate the CHECK and SET NOT NULL.

    Validating scans the rows without blocking reads and writes. SET NOT NULL then skips its own scan, which would run
    under an exclusive lock. Databases other than PostgreSQL only SET NOT NULL, in the second step.
    """
    table, schema = changes.table_name, changes.schema
    alter = ops.ModifyTableOps(table, list(alters), schema=schema)

    def check(facts: Facts) -> Directions:
        checks = [not_null_check(op, facts) for op in alters] if facts.online_ddl else []
        return checks, [each.reverse() for each in checks]

    def make_not_null(facts: Facts) -> Directions:
        checks, drops = check(facts)
        names = [str(each.constraint_name) for each in checks]  # type: ignore[attr-defined]
        validate = [executed(str(facts.validate_sql(table, schema, name))) for name in names]
        return [*validate, alter, *drops], [alter.reverse(), *checks]

    columns = " and ".join(f"{table}.{op.column_name}" for op in alters)
    return [
        (f"Add NOT NULL check to {columns}", [PerDialect.of(check)]),
        (f"Make {columns} NOT NULL", [PerDialect.of(make_not_null)]),
    ]


def _ids_after(first: str, count: int) -> list[str]:
    """Return ``count`` new revision ids that sort after ``first``, so that a folder lists the files in their order.

    File names contain the time in seconds, and then the id. If ``first`` is not like Alembic's ids, 12 hexadecimal
    digits, the new ids are random.
    """
    if not re.fullmatch("[0-9a-f]{12}", first):  # from --rev-id
        return [rev_id() for _ in range(count)]
    return sorted(f"{randrange(int(first, 16) + 1, 16**12):012x}" for _ in range(count))
