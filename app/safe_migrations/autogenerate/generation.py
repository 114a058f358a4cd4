"""Revision scripts, made from autogenerate's differences, that are safe on the app's database and MIGRATION_TARGETS."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any

from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Column, DefaultClause, Enum, ForeignKeyConstraint, Table, TextClause
from sqlalchemy.exc import CompileError

from ..adapters.exact_sql import parameters
from ..adapters.facts import Facts
from ..adapters.products import facts_of
from ..binds import binds_with_table, name_of_bind
from ..console import log
from ..database import Database, tables_of_models
from ..errors import counted
from ..internals import copy_column
from ..review.known_schema import KnownSchema, Name
from ..settings import settings
from .acknowledgements import acknowledge, ask_why, begin_reasons
from .backfills import fill_existing_rows, restore_with_value
from .check_constraints import add_type_checks, drop_checks_first, keep_column_checks, keep_conditions, refuse_renames
from .enum_types import create_and_drop_enums
from .index_changes import (
    drop_as_constraints,
    dropped_for_good,
    drops_check,
    foreign_key_indexes,
    recreate_foreign_keys,
    rename_in_place,
)
from .online_steps import one_table_each, online_steps, scripts_of
from .questions import confirm, given, wrong_answer
from .renamed_inspector import RenamedInspector
from .renames import find_renames, full_name, rename_operations
from .rendering import AddEnumValue, PerDialect, all_ops, executed, remove_empty, table_changes
from .server_defaults import alter_identities, generated_for, leave_out_generated


def generate(context: MigrationContext, script: ops.MigrationScript) -> list[ops.MigrationScript]:
    """Return the scripts to write in place of Alembic's ``script``, or an empty list if nothing differs.

    All changes are made to the upgrade; at the end, each downgrade is the reverse of its upgrade. Raise MigrationError
    if an answer passed with -x cannot be used, or if a target cannot rename a column because a CHECK names it.
    """
    assert context.connection is not None
    begin_reasons()
    (upgrade,), targets = script.upgrade_ops_list, targets_of(context)
    models, online = tables_of_models(context), settings().online
    _warn_of_parameters(models.values())
    renames = find_renames(context, upgrade, targets[0])
    _drop_in_order(upgrade)
    inspector = RenamedInspector(context.connection, renames)
    _keep_unknown_tables(upgrade)
    _ask_about_columns(upgrade)
    keep_conditions(upgrade)
    drop_checks_first(upgrade, inspector)
    keep_column_checks(upgrade)
    add_type_checks(upgrade, models)
    drop_as_constraints(upgrade, inspector)
    rename_in_place(upgrade)
    _keep_types(upgrade, models, targets)
    backfills, fills = fill_existing_rows(upgrade, targets, models, inspector)
    if renames:
        refuse_renames(context, renames, targets)
        upgrade.ops[:0] = rename_operations(renames)
    remove_empty(upgrade)
    alter_identities(upgrade, context)
    leave_out_generated(upgrade, models, targets)
    if upgrade.is_empty():
        return []
    _add_circular_keys_last(upgrade)
    # A transaction that adds a value to an enum cannot use the value (PostgreSQL manual, "ALTER TYPE", Notes).
    values: list[ops.MigrateOperation] = [op for op in upgrade.ops if isinstance(op, AddEnumValue)]
    upgrade.ops = [op for op in upgrade.ops if op not in values]
    indexes = foreign_key_indexes(upgrade, inspector)
    for facts in targets:
        create_and_drop_enums(upgrade, models.values(), facts)
    is_partitioned = partial(_is_partitioned, models, KnownSchema(targets[0], context.connection))
    following = online_steps(upgrade, targets, indexes, is_partitioned) if online else []
    recreate_foreign_keys(upgrade, indexes)
    changes = one_table_each(script.message, upgrade.ops, targets if online else ())
    scripts = scripts_of(script, [("Add values to enums", values), *backfills, *changes, *fills, *following])
    if following or len(changes) > 1:
        log.info(
            "Writing %s, so that none blocks PostgreSQL. For a plain one, set MIGRATION_ONLINE=off: here, and wherever"
            " `flask db upgrade` runs, which stops at it otherwise",
            counted(len(scripts), "revision"),
        )
    for each in scripts:
        (up,), (down,) = each.upgrade_ops_list, each.downgrade_ops_list
        up.reverse_into(down)
        restore_with_value(down)
        for container in (up, down):
            _drop_indexes_with_their_table(container)
            _make_portable(container, targets)
            _set_defaults_again(container, targets)
    return scripts


def _warn_of_parameters(models: Iterable[Table]) -> None:
    """Log a warning for each ``:name`` in the models that stands in a script, but that SQLAlchemy makes NULL of."""
    for table in models:
        found: list[tuple[str, Any]] = [
            (full_name(table.schema, table.name, column.name), getattr(column.server_default, name, None))
            for column in table.columns
            for name in ("arg", "sqltext")
        ]
        found += [(str(each.name), each.sqltext) for each in table.constraints if isinstance(each, CheckConstraint)]
        found += [(str(each.name), sql) for each in table.indexes for sql in each.dialect_kwargs.values()]
        for what, sql in found:
            for name in parameters(sql) if isinstance(sql, TextClause) else ():
                log.warning(
                    "SQLAlchemy takes :%s in the SQL of %s for a parameter, and db.create_all() writes NULL. In the"
                    " model, put a backslash before the colon: \\\\:%s",
                    name,
                    what,
                    name,
                )


def _drop_in_order(upgrade: ops.UpgradeOps) -> None:
    """Sort the operations of ``upgrade`` so that the database accepts each drop, and never lets duplicates in.

    Foreign keys are dropped first: before the tables to which they refer, and before the indexes that they need on
    MySQL and MariaDB (error 1553). So are CHECKs: before the types of their columns change. Indexes and unique
    constraints are dropped after new ones are created. Columns are dropped last, a generated column before the columns
    from which it is computed. At the end tables are dropped, each before the tables to which it refers.
    """

    def order(op: ops.MigrateOperation) -> tuple[int, ...]:
        if not isinstance(op, ops.DropColumnOp):
            return (0,) if _drops_foreign_key(op) or drops_check(op) else (1, op in last)
        column = op.to_column()
        place = list(column.table.columns).index(column)
        return (2, -place) if column.computed is not None else (3, place)

    for changes in table_changes(upgrade):
        last = dropped_for_good(changes)
        changes.ops = sorted(changes.ops, key=order)
    upgrade.ops = sorted(upgrade.ops, key=lambda op: not any(map(_drops_foreign_key, getattr(op, "ops", ()))))
    drops = [op for op in upgrade.ops if isinstance(op, ops.DropTableOp)]
    for name in _referring_first(drops):
        moved = [op for op in upgrade.ops if getattr(op, "table_name", None) == name]
        upgrade.ops = [*(op for op in upgrade.ops if op not in moved), *moved]


def _referring_first(drops: list[ops.DropTableOp]) -> list[str]:
    """Return the names of the dropped tables, each before those to which its foreign keys refer.

    Return an empty list if foreign keys refer to each other in a circle.
    """
    names = {op.table_name for op in drops}
    tables = [op.to_table() for op in drops]
    graph = {
        table.name: {key.target_fullname.split(".")[-2] for key in table.foreign_keys} & names - {table.name}
        for table in tables
    }
    try:
        return list(TopologicalSorter(graph).static_order())[::-1]
    except CycleError:
        return []


def _keep_types(upgrade: ops.UpgradeOps, models: Mapping[Name, Table], targets: list[Facts]) -> None:
    """Let the change of a column name its model's type, if the type that this database reports is another on a target.

    SQLite reports a VARCHAR for an Enum, and MySQL changes the type to that, because it redefines the column.
    """
    here, *others = [facts.sql_dialect for facts in targets]
    for changes in table_changes(upgrade):
        for op in changes.ops:
            if not isinstance(op, ops.AlterColumnOp) or op.modify_type is not None or op.existing_type is None:
                continue
            columns = models[changes.schema, changes.table_name].columns
            model = next(each.type for each in columns if each.name == op.column_name)
            with suppress(CompileError):  # of a type that a database does not have
                is_same = model.compile(here) == op.existing_type.compile(here)
                if is_same and any(model.compile(other) != op.existing_type.compile(other) for other in others):
                    op.existing_type = model


def _drops_foreign_key(op: ops.MigrateOperation) -> bool:
    return isinstance(op, ops.DropConstraintOp) and op.constraint_type == "foreignkey"


def _drop_indexes_with_their_table(container: ops.OpContainer) -> None:
    """Remove from ``container`` each DROP INDEX of a table that is dropped too: its indexes are dropped with it.

    MySQL and MariaDB would refuse to drop the index of a foreign key before the table (error 1553).
    """
    dropped = {(op.schema, op.table_name) for op in container.ops if isinstance(op, ops.DropTableOp)}
    for changes in table_changes(container):
        if (changes.schema, changes.table_name) in dropped:
            changes.ops[:] = [op for op in changes.ops if not isinstance(op, ops.DropIndexOp)]
    remove_empty(container)


def _add_circular_keys_last(upgrade: ops.OpContainer) -> None:
    """Move a foreign key to a table that is created later, or one with ``use_alter``, to the end of ``upgrade``.

    Only SQLite accepts a foreign key to a table that does not exist yet. And only on SQLite does CREATE TABLE contain a
    foreign key with ``use_alter``.
    """
    coming = {op.table_name for op in upgrade.ops if isinstance(op, ops.CreateTableOp)}
    for op in [op for op in upgrade.ops if isinstance(op, ops.CreateTableOp)]:
        keys = [item for item in op.columns if isinstance(item, ForeignKeyConstraint)]
        forward = [key for key in keys if key.use_alter or key.referred_table.name in coming - {op.table_name}]
        op.columns = [item for item in op.columns if not any(item is key for key in forward)]
        for key in forward:
            create = ops.CreateForeignKeyOp.from_constraint(key)
            upgrade.ops.append(ops.ModifyTableOps(op.table_name, [create], schema=op.schema))
        coming.discard(op.table_name)


def _keep_unknown_tables(upgrade: ops.UpgradeOps) -> None:
    """Remove from ``upgrade`` the drops of tables that no model defines, except those that the user wants.

    The user confirms each on the terminal, or passes `-x drop=TABLE`. Raise MigrationError if the database does not
    have TABLE, or a model defines it.
    """
    dropped = {full_name(op.schema, op.table_name) for op in upgrade.ops if isinstance(op, ops.DropTableOp)}
    wanted = set(given("drop"))
    for name in wanted - dropped:
        raise wrong_answer("drop", name, f"the database has no table {name}, or a model still defines it", dropped)
    kept = []
    for name in sorted(dropped):
        if name in wanted:
            acknowledge("drop-table", "")
        elif confirm(f"No model defines table {name}{_moved(name)}. Drop it and all its rows?"):
            ask_why("drop-table")
        else:
            kept.append(name)
    upgrade.ops[:] = [op for op in upgrade.ops if _table(op) not in kept]
    for name in kept:
        said = 'Keeping table %s, which no model defines%s. To drop it: flask db -x drop=%s migrate -m "..."'
        log.info(said, name, _moved(name), name)


def _moved(table: str) -> str:
    """Return a warning if a model of another database of the app defines ``table``: it may have moved there."""
    others = [name_of_bind(bind) for bind in binds_with_table(table)]
    return f" here; the {' and the '.join(others)} has one: copy the rows there first" if others else ""


def _ask_about_columns(upgrade: ops.UpgradeOps) -> None:
    """Ask on the terminal why it is safe to drop the columns that ``upgrade`` drops, if there are any."""
    changes = [op for each in table_changes(upgrade) for op in each.ops]
    dropped = [op for op in changes if isinstance(op, ops.DropColumnOp)]
    if names := ", ".join(full_name(op.schema, op.table_name, op.column_name) for op in dropped):
        ask_why("drop-column", f"The models no longer have {names}, so the script drops all values there.")


def _table(op: ops.MigrateOperation) -> str:
    """Return the name of the table that ``op`` drops or changes; an empty string for another operation."""
    return full_name(op.schema, op.table_name) if isinstance(op, ops.DropTableOp | ops.ModifyTableOps) else ""


def _is_partitioned(models: Mapping[Name, Table], tables: KnownSchema, changes: ops.ModifyTableOps) -> bool:
    """Return True if the table that is changed is partitioned on PostgreSQL, in the models or in the database."""
    model = models.get((changes.schema, changes.table_name))
    if model is not None and "postgresql_partition_by" in dict(model.kwargs):  # model.kwargs has defaults, too
        return True
    return tables.is_partitioned(changes.table_name, changes.schema)


def _make_portable(container: ops.OpContainer, targets: list[Facts]) -> None:
    """Change new columns and types so that every database in ``targets`` accepts them.

    A column with an enum does not create the enum's type, which an earlier operation creates. A generated column is
    nullable if MariaDB is a target, which refuses NOT NULL for generated columns (error 1064). A change of type says
    how to convert the values if PostgreSQL is a target and would ask for it.
    """

    def portable(column: Any) -> Any:
        column = generated_for(targets, column)
        if isinstance(column.type, Enum) and any(facts.enum(column.type) for facts in targets):
            column = copy_column(column)
            column.type.create_type = False
        return column

    for op in all_ops(container):
        if isinstance(op, ops.CreateTableOp):
            op.columns = [portable(item) if isinstance(item, Column) else item for item in op.columns]
        elif isinstance(op, ops.AddColumnOp):
            op.column = portable(op.column)
        elif isinstance(op, ops.AlterColumnOp):
            casts = [facts.cast_sql(op.column_name, op.existing_type, op.modify_type) for facts in targets]
            if using := next(filter(None, casts), None):
                op.kw["postgresql_using"] = using


def _set_defaults_again(container: ops.OpContainer, targets: list[Facts]) -> None:
    """Drop the default of each column that becomes an enum, or was one, and set it again with the new type.

    PostgreSQL does not convert the default to an enum, and converts one from an enum with an expression that keeps the
    enum from being dropped. Only a default that is a text in quotes is set again.
    """
    for changes in table_changes(container):
        for op in [each for each in changes.ops if isinstance(each, ops.AlterColumnOp)]:
            default = op.existing_server_default if op.modify_server_default is False else None
            if not isinstance(default, DefaultClause):
                continue
            for facts in targets:
                text = re.fullmatch(r"('(?:[^']|'')*')(::.*)?", facts.default(default))
                types = (op.existing_type, op.modify_type)
                if text is None or not any(facts.cast_sql("", *each) for each in (types, types[::-1])):
                    continue
                column = f"{facts.quoted(op.table_name, op.schema)} ALTER COLUMN {facts.quoted(op.column_name)}"
                before, after = (
                    PerDialect({facts.product: [executed(f"ALTER TABLE {column} {what}")]}, {})
                    for what in ("DROP DEFAULT", f"SET DEFAULT {text[1]}")
                )
                at = container.ops.index(changes)
                container.ops[at : at + 1] = [before, changes, after]


def targets_of(context: MigrationContext) -> list[Facts]:
    """Return one Facts (what a database can do) for each product among the app's database and MIGRATION_TARGETS.

    The first is that of the app's product. If MIGRATION_TARGETS names the same product, the version given there counts.
    """
    assert context.connection is not None
    found = [Database(context.connection).facts, *(facts_of(*target) for target in settings().targets)]
    return list({each.product: each for each in found}.values())
