"""CHECK constraints of columns: some databases drop or rename no column that a CHECK names."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from alembic.operations.ops import (
    AddColumnOp,
    CreateCheckConstraintOp,
    DropColumnOp,
    DropConstraintOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Boolean, CheckConstraint, Column, Enum, Inspector, MetaData, Table, inspect
from sqlalchemy import text as sql_text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import TypeEngine

from ..adapters.products import FACTS
from ..database import naming_convention
from ..review.known_schema import Name
from .history import tables_by_revisions
from .renamed_inspector import Renames, in_new_names
from .rendering import PerDialect


def drop_checks_first(context: MigrationContext, upgrade: UpgradeOps, inspector: Inspector) -> None:
    """Drop the CHECKs that name a dropped column before it (SQLite and MariaDB refuse to drop it otherwise), and in the
    downgrade, drop the CHECK of an added column's type before the column.

    The CHECK of a type (Boolean, Enum) exists only on databases where the type makes one; the revisions have the type.
    """
    history = None
    for changes in [op for op in upgrade.ops if isinstance(op, ModifyTableOps)]:
        columns = [op.column_name for op in changes.ops if isinstance(op, DropColumnOp)]
        dropped = {op.constraint_name for op in changes.ops if isinstance(op, DropConstraintOp)}
        checks = inspector.get_check_constraints(changes.table_name, changes.schema) if columns else []
        everywhere: list[MigrateOperation] = []
        first: list[MigrateOperation] = []
        for name, text, column in _naming(columns, checks):
            if name in dropped:
                continue
            history = history or tables_by_revisions(context, context.dialect.name)
            known = history.column(changes.table_name, column, changes.schema)
            of_type = _of_type(changes.table_name, column, known.type, name) if known is not None else None
            create = _create(changes, name, text if of_type is None else _condition(of_type))
            if of_type is None or all(facts().makes(of_type) for facts in FACTS.values()):
                everywhere.append(create.reverse())
            else:
                first.append(_where_made(create, of_type).reverse())
        last = [check for op in changes.ops if isinstance(op, AddColumnOp) for check in _of_added(changes, op.column)]
        changes.ops[:0] = everywhere
        at = upgrade.ops.index(changes)
        upgrade.ops[at : at + 1] = [*first, changes, *last]


def recreate_checks(
    context: MigrationContext, renames: Renames, models: Mapping[Name, Table]
) -> tuple[list[MigrateOperation], list[MigrateOperation]]:
    """Return what drops CHECKs that name a renamed column, and what creates them again, under the same names, where the
    database would refuse the rename (MySQL, MariaDB).
    """
    assert context.connection is not None
    inspector = inspect(context.connection)
    drops: list[MigrateOperation] = []
    creates: list[MigrateOperation] = []
    for table, columns in renames.columns.items():
        model = models[renames.after(table)]
        types = {column.name: column.type for column in model.columns}
        conditions = {each.name: _condition(each) for each in model.constraints if isinstance(each, CheckConstraint)}
        changes = ModifyTableOps(model.name, [], schema=table[0])
        for name, text, old in _naming(columns, inspector.get_check_constraints(table[1], table[0])):
            of_type = _of_type(model.name, columns[old], types[columns[old]], name)
            new = _condition(of_type) if of_type is not None else conditions.get(name, in_new_names(text, columns))
            back = in_new_names(new, {after: before for before, after in columns.items()})
            products = [
                product
                for product, facts in FACTS.items()
                if facts().checks_stop_renames and (of_type is None or facts().makes(of_type))
            ]
            drops.append(_on(products, _create(changes, name, back)).reverse())
            creates.append(_on(products, _create(changes, name, new)))
    return drops, creates


def _naming(columns: Collection[str], checks: Collection[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the name and the SQL of each named CHECK that names one of ``columns``, and which."""
    for check in checks:
        name, text = check["name"], str(check["sqltext"])
        column = next((each for each in columns if in_new_names(text, {each: "\0"}) != text), None)
        if name and column is not None:
            yield name, text, column


def _of_added(changes: ModifyTableOps, column: "Column[Any]") -> Iterator[PerDialect]:
    """Yield what does nothing, because the type of an added column makes its CHECK; its reverse drops that."""
    of_type = _of_type(changes.table_name, column.name, column.type)
    if of_type is not None:
        yield PerDialect({}, _where_made(_create(changes, str(of_type.name), _condition(of_type)), of_type).downgrade)


def _of_type(table: str, column: str, kind: TypeEngine[Any] | None, name: str = "") -> CheckConstraint | None:
    """Return the CHECK that the type makes for the column, if ``name`` can be its name: it may begin with a former name
    of the table.
    """
    if not isinstance(kind, Boolean | Enum) or not kind.create_constraint or not kind.name:
        return None
    made = Table(table, MetaData(naming_convention=naming_convention()), Column(column, kind.copy()))  # type: ignore[no-untyped-call]
    check = next((each for each in made.constraints if isinstance(each, CheckConstraint)), None)
    return check if not name or name.endswith(kind.name) else None


def _condition(check: CheckConstraint) -> str:
    dialect = DefaultDialect()
    compiler = dialect.ddl_compiler(dialect, None).sql_compiler  # type: ignore[arg-type]
    return compiler.process(check.sqltext, include_table=False, literal_binds=True)


def _create(changes: ModifyTableOps, name: str, text: str) -> CreateCheckConstraintOp:
    return CreateCheckConstraintOp(conv(name), changes.table_name, sql_text(text), schema=changes.schema)


def _where_made(create: CreateCheckConstraintOp, of_type: CheckConstraint) -> PerDialect:
    return _on([product for product, facts in FACTS.items() if facts().makes(of_type)], create)


def _on(products: Collection[str], create: CreateCheckConstraintOp) -> PerDialect:
    changes = ModifyTableOps(create.table_name, [create], schema=create.schema)
    return PerDialect({each: [changes] for each in products}, {each: [changes.reverse()] for each in products})
