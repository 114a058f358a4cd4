"""CHECK constraints of columns that are dropped: SQLite and MariaDB refuse to drop a column that one still names."""

from typing import Any

from alembic.operations.ops import (
    AddColumnOp,
    CreateCheckConstraintOp,
    DropColumnOp,
    DropConstraintOp,
    MigrationScript,
    ModifyTableOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Boolean, CheckConstraint, Column, Enum, MetaData, Table, inspect
from sqlalchemy import text as sql_text
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import TypeEngine

from ..adapters.products import FACTS
from ..database import naming_convention
from .derived_names import condition_of
from .history import tables_by_revisions
from .renamed_inspector import in_new_names
from .rendering import PerDatabase


def drop_checks_first(context: MigrationContext, script: MigrationScript) -> None:
    """Drop the CHECKs that name a dropped column before it, and bring them back in the downgrade; and in the downgrade,
    drop the CHECK of an added column's type before the column.

    The CHECK of a type (Boolean, Enum) exists only on databases where the type makes one; the revisions have the type.
    """
    assert context.connection is not None
    (upgrade,), (downgrade,) = script.upgrade_ops_list, script.downgrade_ops_list
    inspector, history = inspect(context.connection), None
    found: dict[ModifyTableOps, tuple[list[CreateCheckConstraintOp], list[PerDatabase]]] = {}
    for changes in [op for op in upgrade.ops if isinstance(op, ModifyTableOps)]:
        going = [op.column_name for op in changes.ops if isinstance(op, DropColumnOp)]
        dropped = {op.constraint_name for op in changes.ops if isinstance(op, DropConstraintOp)}
        checks = inspector.get_check_constraints(changes.table_name, changes.schema) if going else []
        for check in checks:
            name, text = check["name"], str(check["sqltext"])
            named = [column for column in going if in_new_names(text, {column: "\0"}) != text]
            if not name or name in dropped or not named:
                continue
            history = history or tables_by_revisions(context, context.dialect.name)
            everywhere, of_types = found.setdefault(changes, ([], []))
            column = history.column(changes.table_name, named[0], changes.schema)
            of_type = _of_type(changes, named[0], column.type, name) if column is not None else None
            made = text if of_type is None else condition_of(of_type)
            create = CreateCheckConstraintOp(conv(name), changes.table_name, sql_text(made), schema=changes.schema)
            if of_type is None or all(facts().makes(of_type) for facts in FACTS.values()):
                everywhere.append(create)
            else:
                of_types.append(_where_made(create, of_type))
    for changes, (everywhere, of_types) in found.items():
        changes.ops[:0] = [each.reverse() for each in everywhere]
        at = upgrade.ops.index(changes)
        upgrade.ops[at:at] = of_types
    own = {op: _of_added(op) for op in upgrade.ops if isinstance(op, ModifyTableOps)}
    for changes, drops in own.items():
        at = upgrade.ops.index(changes) + 1
        upgrade.ops[at:at] = drops
    if found or any(own.values()):
        upgrade.reverse_into(downgrade)


def _of_added(changes: ModifyTableOps) -> list[PerDatabase]:
    """Return what does nothing, for the type of an added column makes its CHECK, and on the way back drops that."""
    found = []
    for column in [op.column for op in changes.ops if isinstance(op, AddColumnOp)]:
        of_type = _of_type(changes, column.name, column.type)
        if of_type is not None and isinstance(of_type.name, str):
            text = sql_text(condition_of(of_type))
            create = CreateCheckConstraintOp(conv(of_type.name), changes.table_name, text, schema=changes.schema)
            found.append(PerDatabase({}, _where_made(create, of_type).up))
    return found


def _of_type(
    changes: ModifyTableOps, column: str, kind: TypeEngine[Any] | None, name: str | None = None
) -> CheckConstraint | None:
    """Return the CHECK, of that name if one is given, that the type makes for the column."""
    if not isinstance(kind, Boolean | Enum) or not kind.create_constraint:
        return None
    convention = MetaData(naming_convention=naming_convention())
    table = Table(changes.table_name, convention, Column(column, kind.copy()))  # type: ignore[no-untyped-call]
    checks = [each for each in table.constraints if isinstance(each, CheckConstraint)]
    return next((each for each in checks if name in (None, each.name)), None)


def _where_made(create: CreateCheckConstraintOp, of_type: CheckConstraint) -> PerDatabase:
    def only(op: Any) -> dict[str, list[Any]]:
        changes = ModifyTableOps(create.table_name, [op], schema=create.schema)
        return {product: [changes] if facts().makes(of_type) else [] for product, facts in FACTS.items()}

    return PerDatabase(only(create.reverse()), only(create))
