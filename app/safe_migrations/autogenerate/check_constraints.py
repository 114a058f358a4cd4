"""CHECK constraints of columns: some databases drop or rename no column that a CHECK names."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Boolean, CheckConstraint, Column, Enum, MetaData, Table, inspect
from sqlalchemy import text as sql_text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import TypeEngine

from ..adapters.facts import Facts
from ..database import naming_convention
from ..review.known_schema import Name
from .history import tables_by_revisions
from .renamed_inspector import RenamedInspector, Renames, in_new_names
from .rendering import Directions, PerDialect, table_changes


def drop_checks_first(context: MigrationContext, upgrade: ops.UpgradeOps, inspector: RenamedInspector) -> None:
    """Drop the CHECKs that name a dropped column before it (SQLite and MariaDB refuse to drop it otherwise), and in the
    downgrade, drop the CHECK of an added column's type before the column.

    The CHECK of a type (Boolean, Enum) exists only on databases where the type makes one; the revisions have the type.
    """
    for changes in table_changes(upgrade):
        table, schema = changes.table_name, changes.schema
        _, before = inspector.renames.before((schema, table))
        columns = [op.column_name for op in changes.ops if isinstance(op, ops.DropColumnOp)]
        dropped = {op.constraint_name for op in changes.ops if isinstance(op, ops.DropConstraintOp)}
        first, last = [], []
        for name, text, column in _naming(columns, inspector.get_check_constraints(table, schema) if columns else []):
            if name not in dropped:
                known = tables_by_revisions(context, context.dialect.name).column(before, column, schema)
                of_type = _of_type(table, column, known.type if known is not None else None, name)
                first.append(_created((schema, table), name, text, of_type).reverse())
        for op in changes.ops:
            of_type = _of_type(table, op.column.name, op.column.type) if isinstance(op, ops.AddColumnOp) else None
            if of_type is not None:  # an upgrade does nothing: the type makes the CHECK
                last.append(PerDialect({}, _created((schema, table), str(of_type.name), "", of_type).downgrade))
        at = upgrade.ops.index(changes)
        upgrade.ops[at : at + 1] = [*first, changes, *last]


def recreate_checks(
    context: MigrationContext, renames: Renames, models: Mapping[Name, Table]
) -> tuple[list[ops.MigrateOperation], list[ops.MigrateOperation]]:
    """Return what drops CHECKs that name a renamed column, and what creates them again, under the same names, where the
    database would refuse the rename (MySQL, MariaDB).
    """
    assert context.connection is not None
    inspector = inspect(context.connection)
    drops: list[ops.MigrateOperation] = []
    creates: list[ops.MigrateOperation] = []
    for table, columns in renames.columns.items():
        after = renames.after(table)
        types = {column.name: column.type for column in models[after].columns}
        checks = [each for each in models[after].constraints if isinstance(each, CheckConstraint)]
        conditions = {each.name: _condition(each) for each in checks}
        for name, text, old in _naming(columns, inspector.get_check_constraints(table[1], table[0])):
            of_type = _of_type(after[1], columns[old], types[columns[old]], name)
            new = _condition(of_type) if of_type is not None else conditions.get(name, in_new_names(text, columns))
            back = in_new_names(new, {new: old for old, new in columns.items()})
            drops.append(_created(after, name, back, of_type, renaming=True).reverse())
            creates.append(_created(after, name, new, of_type, renaming=True))
    return drops, creates


def _naming(columns: Collection[str], checks: Collection[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the name and the SQL of each named CHECK that names one of ``columns``, and which."""
    for check in checks:
        name, text = check["name"], str(check["sqltext"])
        column = next((each for each in columns if in_new_names(text, {each: "\0"}) != text), None)
        if name and column is not None:
            yield name, text, column


def _of_type(table: str, column: str, kind: TypeEngine[Any] | None, name: str = "") -> CheckConstraint | None:
    """Return the CHECK that the type makes for the column, if ``name`` can be its name: it may begin with a former name
    of the table.
    """
    if not isinstance(kind, Boolean | Enum) or not kind.create_constraint or not kind.name:
        return None
    copied: TypeEngine[Any] = kind.copy()  # type: ignore[no-untyped-call]
    made = Table(table, MetaData(naming_convention=naming_convention()), Column(column, copied))
    check = next((each for each in made.constraints if isinstance(each, CheckConstraint)), None)
    return check if not name or name.endswith(kind.name) else None


def _condition(check: CheckConstraint) -> str:
    dialect = DefaultDialect()
    compiler = dialect.ddl_compiler(dialect, None).sql_compiler  # type: ignore[arg-type]
    return compiler.process(check.sqltext, include_table=False, literal_binds=True)


def _created(table: Name, name: str, text: str, of_type: CheckConstraint | None, renaming: bool = False) -> PerDialect:
    """Return what creates a CHECK where it exists; with ``renaming``, only where it stops the rename of a column."""
    schema, table_name = table
    condition = text if of_type is None or renaming else _condition(of_type)
    create = ops.CreateCheckConstraintOp(conv(name), table_name, sql_text(condition), schema=schema)
    changes = ops.ModifyTableOps(table_name, [create], schema=schema)

    def directions(facts: Facts) -> Directions:
        concerned = (of_type is None or facts.makes(of_type)) and (facts.checks_stop_renames or not renaming)
        return ([changes], [changes.reverse()]) if concerned else ([], [])

    return PerDialect.of(directions)
