"""From the differences that autogenerate finds to revisions that are safe on the database and the targets."""

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    CreateForeignKeyOp,
    CreateTableOp,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
    DropTableOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
    OpContainer,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Dialect, ForeignKeyConstraint
from sqlalchemy.exc import CompileError
from sqlalchemy.types import TypeEngine

from ..adapters.facts import Facts
from ..adapters.products import facts_of
from ..console import log
from ..database import Database
from ..internals import copy_column
from ..review.known_schema import KnownSchema
from ..settings import settings
from .answers import agreed, given, wrong
from .backfills import fill_existing_rows
from .column_checks import drop_checks_first
from .enum_types import create_and_drop_enums, recall_enums, split_enum_values, use_existing_enums
from .index_changes import drop_as_constraints, foreign_key_indexes, recreate_foreign_keys, rename_indexes
from .online_steps import split_online_steps
from .renamed_inspector import RenamedInspector
from .renames import find_renames, full_name, models_of, rename_operations
from .rendering import NamingBatch, all_ops, remove_empty
from .sequences import create_sequences_first


def generate(context: MigrationContext, script: MigrationScript) -> list[MigrationScript]:
    """Return the revisions that ``script`` becomes; none if nothing differs.

    All that follows changes the upgrade; at the end, the downgrade is its reverse. Raises MigrationError for an answer,
    given by -x, that does not fit.
    """
    assert context.connection is not None
    upgrade, facts = script.upgrade_ops, _facts(context)
    assert upgrade is not None
    renames = find_renames(context, upgrade)
    _drop_in_order(upgrade)
    inspector = RenamedInspector(context.connection, renames)
    _keep_unknown_tables(upgrade)
    _name_unnamed_constraints(context, upgrade)
    drop_checks_first(context, upgrade, inspector)
    drop_as_constraints(context, upgrade, inspector)
    rename_indexes(upgrade)
    concerned = _concerned(facts)
    fill_existing_rows(upgrade, concerned)
    if renames:
        upgrade.ops[:0] = rename_operations(context, renames, facts)
    remove_empty(upgrade)
    if upgrade.is_empty():
        return []
    _close_circles_last(upgrade)
    *scripts, script = split_enum_values(script)
    upgrade = script.upgrade_ops
    assert upgrade is not None
    recall_enums(context, upgrade, concerned)
    _make_types_portable(upgrade, context.dialect)
    if not all(facts.generated_not_null for facts in concerned):
        _let_generated_columns_be_null(upgrade)
    indexes = foreign_key_indexes(upgrade, inspector)
    enums = [(create_and_drop_enums(upgrade, models_of(context).values(), facts), facts) for facts in concerned]
    create_sequences_first(context, upgrade, concerned)
    is_partitioned = partial(_is_partitioned, context, concerned)
    scripts += split_online_steps(script, concerned, indexes, is_partitioned)
    recreate_foreign_keys(upgrade, indexes)
    for script in scripts:
        up, down = script.upgrade_ops, script.downgrade_ops
        assert up is not None
        assert down is not None
        up.reverse_into(down)
        for created in [op for op in down.ops if isinstance(op, CreateTableOp)]:
            for column in [item for item in created.columns if isinstance(item, Column)]:
                column.type = _portable(column.type, context.dialect)
        for ops in (up, down):
            _drop_indexes_with_their_table(ops)
            for alone, facts in enums:
                use_existing_enums(ops, alone, facts)
    return scripts


def _make_types_portable(upgrade: UpgradeOps, dialect: Dialect) -> None:
    """Write the types that were read from the database as SQLAlchemy's own, because the script may run on others too.

    Types in models stay as they were written.
    """
    for op in all_ops(upgrade):
        if isinstance(op, AlterColumnOp) and op.existing_type is not None:
            op.existing_type = _portable(op.existing_type, dialect)
        elif isinstance(op, DropColumnOp):
            column = op.to_column()
            column.type = _portable(column.type, dialect)


def _portable(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return a type of ``dialect`` as one of SQLAlchemy's own, if that is the same there."""
    if type(kind).__module__.startswith("sqlalchemy.dialects."):
        with suppress(NotImplementedError, CompileError):
            own = kind.as_generic()
            return own if own.compile(dialect) == kind.compile(dialect) else kind
    return kind


def _let_generated_columns_be_null(upgrade: UpgradeOps) -> None:
    """Leave out the NOT NULL of generated columns: MariaDB does not accept it (error 1064)."""

    def nullable(item: Any) -> Any:
        if isinstance(item, Column) and item.computed is not None:
            item = copy_column(item)  # the model has the other one
            item.nullable = True
        return item

    for op in all_ops(upgrade):
        if isinstance(op, CreateTableOp):
            op.columns = [nullable(item) for item in op.columns]
        elif isinstance(op, AddColumnOp):
            op.column = nullable(op.column)
        elif isinstance(op, DropColumnOp) and op.to_column().computed is not None:
            op.to_column().nullable = True


def _drop_in_order(upgrade: UpgradeOps) -> None:
    """Drop foreign keys before the indexes that they need on MySQL and MariaDB (error 1553), and the tables to which
    they refer; columns last, generated ones before those of which they are computed, and else in the table's order.
    """
    for op in upgrade.ops:
        if isinstance(op, ModifyTableOps):
            op.ops = sorted(op.ops, key=_turn)
    upgrade.ops = sorted(upgrade.ops, key=lambda op: not any(map(_drops_foreign_key, getattr(op, "ops", ()))))


def _turn(op: MigrateOperation) -> tuple[int, ...]:
    if not isinstance(op, DropColumnOp):
        return (0,) if _drops_foreign_key(op) else (1,)
    column = op.to_column()
    place = list(column.table.columns).index(column)
    return (2, -place) if column.computed is not None else (3, place)


def _drops_foreign_key(op: MigrateOperation) -> bool:
    return isinstance(op, DropConstraintOp) and op.constraint_type == "foreignkey"


def _drop_indexes_with_their_table(ops: OpContainer) -> None:
    """Leave out DROP INDEX for tables that are dropped next: MySQL and MariaDB refuse it for the index of a foreign
    key (error 1553), and every database drops a table's indexes with it.
    """
    dropped = {(op.schema, op.table_name) for op in ops.ops if isinstance(op, DropTableOp)}
    for op in ops.ops:
        if isinstance(op, ModifyTableOps) and (op.schema, op.table_name) in dropped:
            op.ops = [inner for inner in op.ops if not isinstance(inner, DropIndexOp)]
    remove_empty(ops)


def _close_circles_last(upgrade: OpContainer) -> None:
    """Create foreign keys that point forward, and those with ``use_alter``, after all new tables.

    Only SQLite accepts a reference to a table that does not exist; and only SQLite creates a key that has ``use_alter``
    with its table.
    """
    coming = {op.table_name for op in upgrade.ops if isinstance(op, CreateTableOp)}
    for op in [op for op in upgrade.ops if isinstance(op, CreateTableOp)]:
        keys = [item for item in op.columns if isinstance(item, ForeignKeyConstraint)]
        forward = [key for key in keys if key.use_alter or key.referred_table.name in coming - {op.table_name}]
        op.columns = [item for item in op.columns if not any(item is key for key in forward)]
        for key in forward:
            create = CreateForeignKeyOp.from_constraint(key)
            upgrade.ops.append(ModifyTableOps(op.table_name, [create], schema=op.schema))
        coming.discard(op.table_name)


def _keep_unknown_tables(upgrade: UpgradeOps) -> None:
    """Drop no table that the models do not define, unless somebody says so. Raises MigrationError for a wrong -x."""
    dropped = {full_name((op.schema, op.table_name)) for op in upgrade.ops if isinstance(op, DropTableOp)}
    wanted = set(given("drop"))
    for name in wanted - dropped:
        raise wrong("drop", name, f"the database has no table {name} that no model defines", dropped)
    kept = [
        name
        for name in sorted(dropped - wanted)
        if not agreed(f"No model defines table {name}. Drop it and all its rows?")
    ]
    upgrade.ops[:] = [op for op in upgrade.ops if _table(op) not in kept]
    for name in kept:
        log.info(
            'Keeping table %s, which no model defines. To drop it: flask db -x drop=%s migrate -m "..."', name, name
        )


def _table(op: MigrateOperation) -> str:
    """Return the table that is dropped, or changed before that."""
    return full_name((op.schema, op.table_name)) if isinstance(op, DropTableOp | ModifyTableOps) else ""


def _name_unnamed_constraints(context: MigrationContext, upgrade: UpgradeOps) -> None:
    """Name constraints that have no name in the database, by the naming convention of the models, where they are
    dropped: SQLite has such, and Alembic writes `drop_constraint(None)`, which fails.
    """
    metadata = context.opts["target_metadata"]
    convention = (metadata[0] if isinstance(metadata, list | tuple) else metadata).naming_convention
    for number, changes in enumerate(upgrade.ops):
        named = False
        for op in _unnamed_drops(changes):
            op.constraint_name = op.reverse().to_constraint(context).name
            named = named or op.constraint_name is not None
        if isinstance(changes, ModifyTableOps) and named:
            upgrade.ops[number] = NamingBatch(changes, convention)


def _unnamed_drops(changes: MigrateOperation) -> Iterator[DropConstraintOp]:
    for op in changes.ops if isinstance(changes, ModifyTableOps) else ():
        if isinstance(op, DropConstraintOp) and op.constraint_name is None:
            yield op


def _is_partitioned(context: MigrationContext, concerned: list[Facts], changes: ModifyTableOps) -> bool:
    """Return True if the table is partitioned in the database, or in the models for one of those that are concerned."""
    model = models_of(context).get((changes.schema, changes.table_name))
    options = dict(model.kwargs) if model is not None else {}  # the view itself has every option, with its default
    known = KnownSchema(context.connection)
    return any(
        f"{facts.dialect}_partition_by" in options
        or (facts.dialect == context.dialect.name and known.is_partitioned(facts, changes.table_name, changes.schema))
        for facts in concerned
        if facts.concurrent_indexes
    )


def _concerned(facts: Facts) -> list[Facts]:
    """Return the facts of the configured database and of MIGRATION_TARGETS, one of each product."""
    found = [facts, *(facts_of(*target) for target in settings().targets)]
    return list({each.product: each for each in found}.values())


def _facts(context: MigrationContext) -> Facts:
    assert context.connection is not None
    return Database(context.connection).facts
