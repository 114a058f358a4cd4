"""What becomes of the operations that autogenerate finds, before a script is written of them."""

from contextlib import suppress
from copy import copy
from typing import Any

from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    CreateTableOp,
    DropConstraintOp,
    DropTableOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Dialect
from sqlalchemy.exc import CompileError
from sqlalchemy.sql.elements import conv
from sqlalchemy.sql.naming import ConventionDict
from sqlalchemy.types import TypeEngine

from ..adapters.facts import Facts
from ..adapters.products import facts_of
from ..console import log
from ..database import Database
from ..review.known_schema import KnownSchema
from ..settings import settings
from .answers import agreed, given, wrong
from .backfills import fill
from .column_checks import drop_checks_first
from .derived_names import TYPES
from .enum_types import create_and_drop_enums, recall_enums, values_apart
from .foreign_key_indexes import keep_needed, needed_indexes
from .online_steps import apart
from .renames import full_name, models_of, rename
from .rendering import Batch, every
from .sequences import sequences_first
from .uniqueness import drop_as_constraints, rename_constraints


def answer(context: MigrationContext, script: MigrationScript) -> None:
    """Put in what only people know. Raises MigrationError for an answer, given by -x, that does not fit."""
    rename(context, script, _facts(context))
    leave_alone(script)
    name_unnamed(script, context)
    drop_checks_first(context, script)
    drop_as_constraints(context, script)
    rename_constraints(script)
    fill(script, _concerned(context))


def make_safe(context: MigrationContext, scripts: list[MigrationScript]) -> None:
    """Do in a safe way what can be done in one, for the configured database and those in MIGRATION_TARGETS."""
    concerned = _concerned(context)
    values_apart(scripts)
    script = scripts.pop()
    recall_enums(context, script, concerned)
    make_types_portable(script, context.dialect)
    if not all(facts.generated_not_null for facts in concerned):
        let_generated_be_null(script)
    needed = needed_indexes(context, script)
    for facts in concerned:
        create_and_drop_enums(script, models_of(context).values(), facts)
    sequences_first(context, script, concerned)
    scripts += apart(script, concerned, needed, lambda changes: _is_partitioned(context, changes, concerned))
    for script in scripts:
        keep_needed(script, needed)


def make_types_portable(script: MigrationScript, dialect: Dialect) -> None:
    """Say in SQLAlchemy's own words what a column's type is in the database, for the script may be for others too.

    Only types read from the database: those that an upgrade changes from, and a downgrade changes back to. Those in
    models stay as they were written.
    """
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    for op in every(script.upgrade_ops):
        if isinstance(op, AlterColumnOp):
            op.existing_type = op.existing_type and _portable(op.existing_type, dialect)
    for op in every(script.downgrade_ops):
        if isinstance(op, AlterColumnOp) and op.modify_type is not None:
            op.modify_type = _portable(op.modify_type, dialect)
        elif isinstance(op, AlterColumnOp) and op.existing_type is not None:  # which stays
            op.existing_type = _portable(op.existing_type, dialect)
        columns = op.columns if isinstance(op, CreateTableOp) else [op.column] if isinstance(op, AddColumnOp) else []
        for column in columns:
            if isinstance(column, Column):
                column.type = _portable(column.type, dialect)


def let_generated_be_null(script: MigrationScript) -> None:
    """Leave out the NOT NULL of generated columns: MariaDB does not take it (error 1064)."""

    def nullable(item: Any) -> Any:
        if not isinstance(item, Column) or item.computed is None:
            return item
        item = copy(item)  # it may be the model's
        item.nullable = True
        return item

    for ops in (*script.upgrade_ops_list, *script.downgrade_ops_list):
        for op in every(ops):
            if isinstance(op, CreateTableOp):
                op.columns = [nullable(item) for item in op.columns]
            elif isinstance(op, AddColumnOp):
                op.column = nullable(op.column)


def _portable(kind: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """A type of ``dialect`` as one of SQLAlchemy's own, if that says the same there."""
    if type(kind).__module__.startswith("sqlalchemy.dialects."):
        with suppress(NotImplementedError, CompileError):
            own = kind.as_generic()
            return own if own.compile(dialect) == kind.compile(dialect) else kind
    return kind


def _is_partitioned(context: MigrationContext, changes: ModifyTableOps, concerned: list[Facts]) -> bool:
    """Return True if the table is partitioned in the database, or in the models for one of those that are concerned."""
    model = models_of(context).get((changes.schema, changes.table_name))
    options = dict(model.kwargs) if model is not None else {}  # the view itself has every option, with its default
    known = KnownSchema(context.connection)
    return any(
        f"{facts.dialect}_partition_by" in options
        or (
            facts.dialect == context.dialect.name
            and known.partitions(facts, changes.table_name, changes.schema) is not None
        )
        for facts in concerned
        if facts.concurrent_indexes
    )


def _concerned(context: MigrationContext) -> list[Facts]:
    """The configured database and those in MIGRATION_TARGETS, one of each product."""
    found = [_facts(context), *(facts_of(*target) for target in settings().targets)]
    return list({facts.product: facts for facts in found}.values())


def _facts(context: MigrationContext) -> Facts:
    assert context.connection is not None
    return Database(context.connection).facts


def leave_alone(script: MigrationScript) -> None:
    """Drop no table that the models do not have, unless somebody says so. Raises MigrationError for a wrong -x."""
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    assert upgrade is not None
    assert downgrade is not None
    going = {full_name((op.schema, op.table_name)) for op in upgrade.ops if isinstance(op, DropTableOp)}
    wanted = set(given("drop"))
    for name in wanted - going:
        raise wrong("drop", name, f"there is no table {name} in the database that the models do not have", going)
    staying = {
        name
        for name in sorted(going - wanted)
        if not agreed(f"Drop table {name} with all that is in it? The models do not have it.")
    }
    if staying:
        upgrade.ops[:] = [op for op in upgrade.ops if _table(op) not in staying]
        upgrade.reverse_into(downgrade)
        for name in sorted(staying):
            log.info(
                'Left alone: table %s, which the models do not have. To drop it: flask db -x drop=%s migrate -m "..."',
                name,
                name,
            )


def name_unnamed(script: MigrationScript, context: MigrationContext) -> None:
    """Name constraints that have no name in the database, by the naming convention of the models, where they go: SQLite
    has such, and Alembic writes `drop_constraint(None)`, which fails.
    """
    upgrade, downgrade = script.upgrade_ops, script.downgrade_ops
    assert upgrade is not None
    assert downgrade is not None
    metadata = context.opts["target_metadata"]
    convention = dict((metadata[0] if isinstance(metadata, list | tuple) else metadata).naming_convention)
    changed = [op for op in upgrade.ops if isinstance(op, ModifyTableOps) and _name_drops(op, convention)]
    for changes in changed:
        batch = Batch(changes.table_name, changes.ops, changes.schema, convention=convention)
        upgrade.ops[upgrade.ops.index(changes)] = batch
    if changed:
        upgrade.reverse_into(downgrade)


def _name_drops(changes: ModifyTableOps, convention: dict[str, Any]) -> bool:
    """Name the constraints that go; False if all have names."""
    kinds = {type_: kind for kind, type_ in TYPES.items()}
    unnamed = [op for op in changes.ops if isinstance(op, DropConstraintOp) and op.constraint_name is None]
    unnamed = [op for op in unnamed if kinds.get(op.constraint_type or "") in convention]
    for op in unnamed:
        constraint = op.to_constraint()
        names = ConventionDict(constraint, constraint.table, convention)  # type: ignore[no-untyped-call]
        op.constraint_name = conv(convention[kinds[str(op.constraint_type)]] % names)
    return bool(unnamed)


def _table(op: MigrateOperation) -> str:
    """The table that is dropped, or changed before that."""
    return full_name((op.schema, op.table_name)) if isinstance(op, DropTableOp | ModifyTableOps) else ""
