"""What is done without keeping writers out, and therefore in revisions of its own."""

import re
from collections.abc import Mapping
from copy import copy
from random import randrange
from typing import Any

from alembic.operations.ops import (
    CreateForeignKeyOp,
    CreateIndexOp,
    CreateTableOp,
    DowngradeOps,
    DropConstraintOp,
    DropIndexOp,
    ExecuteSQLOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from alembic.util import rev_id
from sqlalchemy import inspect
from sqlalchemy.sql.elements import conv

from app.safe_migrations.adapters.products import FACTS
from app.safe_migrations.autogenerate.names import foreign_key
from app.safe_migrations.autogenerate.renames import tables_of
from app.safe_migrations.autogenerate.rendering import AutocommitBlock, PerDatabase, every


def apart(
    script: MigrationScript, indexes: bool, keys: bool, needed: Mapping[str, CreateForeignKeyOp]
) -> list[MigrationScript]:
    """``script``, and after it one for each index that is made concurrently on a table which is there, one for each
    table whose foreign keys have to come after their indexes, and one that lets foreign keys look at old rows.

    MySQL drops no index that a foreign key needs: the way back drops the key first.
    """
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    steps: list[tuple[str, list[MigrateOperation], list[MigrateOperation]]] = []
    made = {(op.schema, op.table_name) for op in script.upgrade_ops.ops if isinstance(op, CreateTableOp)}
    there = [
        op for op in script.upgrade_ops.ops if isinstance(op, ModifyTableOps) and (op.schema, op.table_name) not in made
    ]
    for index in [op for changes in there for op in changes.ops if indexes and isinstance(op, CreateIndexOp)]:
        operation = _concurrently(index, needed.get(str(index.index_name)))
        steps.append((f"Create index {index.index_name}", [operation], [operation.reverse()]))
        _take_out(script, index, str(index.index_name))
    added = [op for changes in there for op in changes.ops if keys and isinstance(op, CreateForeignKeyOp)]
    for key in added:
        key.kw["postgresql_not_valid"] = True
    if added and steps:
        of_tables: dict[tuple[str, str | None], list[MigrateOperation]] = {}
        for key in added:
            of_tables.setdefault((key.source_table, key.kw.get("source_schema")), []).append(key)
        # One table in each revision: its lock is let go before the next one is asked for.
        for (table, schema), keys_of_it in of_tables.items():
            forth = ModifyTableOps(table, keys_of_it, schema=schema)
            steps.append((f"Add foreign keys to {table}", [forth], [forth.reverse()]))
        for key in added:
            _take_out(script, key, str(key.constraint_name))
    if added:
        steps.append(("Validate foreign keys", [_validated(added)], []))
    for ops in (script.upgrade_ops, script.downgrade_ops):
        ops.ops[:] = [op for op in ops.ops if not (isinstance(op, ModifyTableOps) and op.is_empty())]
    if steps and script.upgrade_ops.is_empty():
        _, script.upgrade_ops.ops[:], script.downgrade_ops.ops[:] = steps.pop(0)
    return _chained(script, steps)


def _concurrently(index: CreateIndexOp, key: CreateForeignKeyOp | None) -> PerDatabase:
    """Where that is possible, and there outside of a transaction; on the others as ever.

    An autocommit block would end the one transaction that a run has on SQLite, and hide from the journal of MySQL.
    """
    create, drop = copy(index), DropIndexOp(conv(str(index.index_name)), index.table_name, schema=index.schema)
    dropped = _dropped(index, key)
    create.kw = {**index.kw, "postgresql_concurrently": True}
    drop.kw = {"postgresql_concurrently": True}
    up: dict[str, list[MigrateOperation]] = {}
    down: dict[str, list[MigrateOperation]] = {}
    for product, facts in FACTS.items():
        up[product] = [AutocommitBlock([create])] if facts.concurrent_indexes else [index]
        down[product] = [AutocommitBlock([drop])] if facts.concurrent_indexes else dropped[product]
    return PerDatabase(up, down)


def needed_indexes(context: MigrationContext, script: MigrationScript) -> dict[str, CreateForeignKeyOp]:
    """By their names, the new indexes that a foreign key which is there will need, and what creates that."""
    assert script.upgrade_ops is not None
    assert context.connection is not None
    inspector, found = inspect(context.connection), {}
    there = set(tables_of(context))
    for op in every(script.upgrade_ops):
        if isinstance(op, CreateIndexOp) and (op.schema, op.table_name) in there:
            columns = [str(getattr(column, "name", column)) for column in op.columns]
            others: list[Any] = [
                inspector.get_pk_constraint(op.table_name, op.schema)["constrained_columns"],
                *(each["column_names"] for each in inspector.get_unique_constraints(op.table_name, op.schema)),
            ]
            indexes = {each["name"]: each["column_names"] for each in inspector.get_indexes(op.table_name, op.schema)}
            for key in inspector.get_foreign_keys(op.table_name, op.schema):
                wanted, name = key["constrained_columns"], key["name"]
                taken = [*others, *(columns for index, columns in indexes.items() if index != name)]
                if name and columns[: len(wanted)] == wanted and not any(t[: len(wanted)] == wanted for t in taken):
                    found[str(op.index_name)] = foreign_key(conv(name), (op.schema, op.table_name), key)
    return found


def keep_needed(script: MigrationScript, needed: Mapping[str, CreateForeignKeyOp]) -> None:
    """Where a foreign key needs an index that the downgrade drops, give it back its own."""
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    indexes = [op for op in every(script.upgrade_ops) if isinstance(op, CreateIndexOp) and op.index_name in needed]
    for index in indexes:
        name = str(index.index_name)
        _take_out(script, None, name)
        drop = PerDatabase(_dropped(index, needed[name]), {})
        script.downgrade_ops.ops.insert(0, drop)
    script.downgrade_ops.ops[:] = [
        op for op in script.downgrade_ops.ops if not (isinstance(op, ModifyTableOps) and op.is_empty())
    ]


def _dropped(index: CreateIndexOp, key: CreateForeignKeyOp | None) -> dict[str, list[MigrateOperation]]:
    """MySQL and MariaDB drop no index that a foreign key needs (error 1553): made anew, that gets one of its own."""
    drop = DropIndexOp(conv(str(index.index_name)), index.table_name, schema=index.schema)
    anew: list[MigrateOperation] = [key.reverse(), drop, key] if key else [drop]
    plain: list[MigrateOperation] = [drop]
    return {product: anew if facts.foreign_keys_need_index else plain for product, facts in FACTS.items()}


def _validated(keys: list[CreateForeignKeyOp]) -> PerDatabase:
    statements = {
        product: [
            facts().validating(key.source_table, key.kw.get("source_schema"), str(key.constraint_name)) for key in keys
        ]
        for product, facts in FACTS.items()
    }
    return PerDatabase(
        {product: [ExecuteSQLOp(sql) for sql in found if sql] for product, found in statements.items()}, {}
    )


def _take_out(script: MigrationScript, op: MigrateOperation | None, name: str) -> None:
    """Take ``op`` out of the upgrade, and out of the downgrade what drops it."""
    for changes in (*script.upgrade_ops.ops, *script.downgrade_ops.ops):  # type: ignore[union-attr]
        if isinstance(changes, ModifyTableOps):
            changes.ops[:] = [
                each
                for each in changes.ops
                if each is not op
                and not (isinstance(each, DropIndexOp) and each.index_name == name)
                and not (isinstance(each, DropConstraintOp) and each.constraint_name == name and _drops(each, op))
            ]


def _drops(drop: DropConstraintOp, op: MigrateOperation | None) -> bool:
    return isinstance(op, CreateForeignKeyOp) and drop.table_name == op.source_table


def _chained(
    script: MigrationScript, steps: list[tuple[str, list[MigrateOperation], list[MigrateOperation]]]
) -> list[MigrationScript]:
    scripts = [script]
    for identifier, (message, up, down) in zip(_ids_after(str(script.rev_id), len(steps)), steps, strict=True):
        scripts.append(
            MigrationScript(
                identifier,
                UpgradeOps(up),
                DowngradeOps(down),
                message=message,
                head=str(scripts[-1].rev_id),
                version_path=script.version_path,
            )
        )
    return scripts


def _ids_after(first: str, count: int) -> list[str]:
    """Like Alembic's, 12 hexadecimal digits, and sorted: names of files begin with the second, and go on with these."""
    if not re.fullmatch("[0-9a-f]{12}", first):  # somebody's own
        return [rev_id() for _ in range(count)]
    return sorted(f"{randrange(int(first, 16) + 1, 16**12):012x}" for _ in range(count))
