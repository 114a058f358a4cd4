"""What happens to a revision between autogenerate and the script that is written."""

import json
import logging
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from alembic import context
from alembic.autogenerate import comparators
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
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
from sqlalchemy import (
    JSON,
    Column,
    Computed,
    DefaultClause,
    FetchedValue,
    ForeignKeyConstraint,
    Text,
    cast,
    literal_column,
    select,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.functions import now
from sqlalchemy.types import TypeEngine

from ..adapters import OWN_TABLES, Adapter, adapter_of
from ..errors import MigrationError, summary
from .changes import remove_empty_from

log = logging.getLogger("alembic.autogenerate")


def process_revision_directives(
    context: MigrationContext, _revision: str | Iterable[str | None] | Iterable[str], directives: list[MigrationScript]
) -> None:
    """For Alembic's option of this name: no script where nothing differs, and no step that a database refuses."""
    for script in directives:
        for upgrade, downgrade in zip(script.upgrade_ops_list, script.downgrade_ops_list, strict=True):
            if getattr(context.dialect, "is_mariadb", False):
                _let_generated_be_null(upgrade)
            _drop_in_order(upgrade)
            upgrade.reverse_into(downgrade)
    # `flask db check` calls this too, and reads the directives afterwards.
    migrating = context.config is not None and getattr(context.config.cmd_opts, "autogenerate", False)
    if migrating:
        from .generation import answer, make_safe  # no other command needs them

        answer(context, directives[0])
    if migrating and all(ops.is_empty() for ops in directives[0].upgrade_ops_list):
        directives.clear()
        log.info("No changes in schema detected.")
    for script in directives:
        for upgrade, downgrade in zip(script.upgrade_ops_list, script.downgrade_ops_list, strict=True):
            for ops in (upgrade, downgrade):
                _drop_indexes_with_their_table(ops)
            _close_circles_last(upgrade, downgrade)
    if migrating and directives:
        make_safe(context, directives)


@comparators.dispatch_for("schema")
def _compare_enums(context: AutogenContext, upgrade: UpgradeOps, _schemas: object) -> None:
    """Put the values that enums of the database lack, and missing sequences, before what may use them."""
    from .enum_types import added_values  # no command but those that compare needs them
    from .sequences import missing_sequences

    upgrade.ops[:0] = [*added_values(context), *missing_sequences(context)]


def but_own_tables(theirs: Callable[..., bool] | None) -> Callable[..., bool]:
    """Return Alembic's option ``include_name``: what ``theirs`` lets in, if there is one, but neither the tables of a
    run nor partitions that the models do not declare: these belong to their table.
    """

    @cache
    def partitions() -> set[tuple[str | None, str]]:
        migration_context = context.get_context()
        connection, metadata = migration_context.connection, migration_context.opts["target_metadata"]
        if connection is None:
            return set()
        found = metadata if isinstance(metadata, list | tuple) else [metadata]
        declared = {(table.schema, table.name) for each in found for table in each.tables.values()}
        adapter: Adapter = adapter_of(connection.engine)
        return adapter.partitions(connection) - declared

    def include_name(name: str | None, kind: str, parents: dict[str, Any]) -> bool:
        if kind == "table" and ((name or "").startswith(OWN_TABLES) or (parents["schema_name"], name) in partitions()):
            return False
        return theirs is None or theirs(name, kind, parents)

    return include_name


def comparing_defaults(theirs: Any) -> Any:
    """Return a function for Alembic's option ``compare_server_default`` if the app's value is True; else that value.

    A default that only the database has keeps a NOT NULL column usable for code that does not know it: that is how
    `flask db migrate` adds one. The models lack nothing.
    """

    def compare(
        migration_context: MigrationContext,
        inspected: "Column[Any]",
        column: "Column[Any]",
        in_database: str | None,
        default: FetchedValue | None,
        in_models: str | None,
    ) -> bool | None:
        connection = migration_context.connection
        if default is None:
            return None if column.nullable else False
        if in_database is None or in_models is None or connection is None or not isinstance(default, DefaultClause):
            return None

        def value(sql: str) -> Any:
            found = str(connection.scalar(select(cast(literal_column(sql), Text))))
            return _plain(found, column.type)

        is_text = isinstance(default.arg, str)
        try:
            # Alembic puts a text between quotes as it is, and asks PostgreSQL for json = json, which it does not have.
            if (is_text and "'" in in_models) or isinstance(column.type, JSON):
                wanted = _plain(in_models, column.type) if is_text else value(in_models)
                differs: bool = value(in_database) != wanted
            else:
                differs = migration_context.impl.compare_server_default(  # type: ignore[no-untyped-call]
                    inspected, column, in_models, in_database
                )
        except DBAPIError as error:
            raise MigrationError(
                f"the server default of {column.table.name}.{column.name} cannot be compared: {summary(error)}",
                "correct it in the models, or compare no server defaults, in the app's factory:",
                "migrate.init_app(app, db, compare_server_default=False)",
            ) from error
        return differs

    return compare if theirs is True else theirs


def _plain(text: str, kind: TypeEngine[Any]) -> Any:
    """Return the value of a default, so that two texts of the same JSON are equal."""
    try:
        return json.loads(text) if isinstance(kind, JSON) else text
    except ValueError:
        return text


def portably(theirs: Callable[..., Any] | None) -> Callable[..., Any]:
    """For Alembic's option ``render_item``: what ``theirs`` writes, if there is one, else what can be read again, and
    runs on every database.

    Alembic writes the types of an app with their module, and does not import it; types inside of types bare; and
    func.now() as the database at hand spells it, `now()`, which SQLite does not know.
    """

    def render_item(kind: str, item: Any, autogen: Any) -> Any:
        if theirs is not None and (rendered := theirs(kind, item, autogen)) is not False:
            return rendered
        if kind == "server_default":
            is_now = isinstance(getattr(item, "arg", None), now)
            return "sa.text('CURRENT_TIMESTAMP')" if is_now else getattr(item, "code", False)
        if kind == "column":
            from .sequences import render_column

            return render_column(item, autogen)
        if kind != "type":
            return False
        from .rendering import render_type

        return render_type(item, autogen)

    return render_item


def _let_generated_be_null(upgrade: UpgradeOps) -> None:
    """Make no generated column NOT NULL: MariaDB has no such (error 1064)."""
    for changes in upgrade.ops:
        if isinstance(changes, ModifyTableOps):
            for op in changes.ops:
                if isinstance(op, AlterColumnOp) and isinstance(op.existing_server_default, Computed):
                    op.modify_nullable = None
            changes.ops = [op for op in changes.ops if not isinstance(op, AlterColumnOp) or op.has_changes()]
    remove_empty_from(upgrade)


def _drop_in_order(upgrade: UpgradeOps) -> None:
    """Drop foreign keys before the indexes that they need on MySQL and MariaDB (error 1553), and the tables to which
    they refer; columns last, generated ones before those of which they are computed, and else in the table's order.
    """
    for op in upgrade.ops:
        if isinstance(op, ModifyTableOps):
            op.ops = sorted(op.ops, key=_turn)
    upgrade.ops = sorted(upgrade.ops, key=lambda op: not any(map(_drops_key, getattr(op, "ops", ()))))


def _turn(op: MigrateOperation) -> tuple[int, ...]:
    if not isinstance(op, DropColumnOp):
        return (0,) if _drops_key(op) else (1,)
    column = op.to_column()
    place = list(column.table.columns).index(column)
    return (2, -place) if column.computed is not None else (3, place)


def _drops_key(op: MigrateOperation) -> bool:
    return isinstance(op, DropConstraintOp) and op.constraint_type == "foreignkey"


def _drop_indexes_with_their_table(ops: OpContainer) -> None:
    """Leave out DROP INDEX for tables that are dropped next: MySQL and MariaDB refuse it for the index of a foreign
    key (error 1553), and every database drops a table's indexes with it.
    """
    dropped = {(op.schema, op.table_name) for op in ops.ops if isinstance(op, DropTableOp)}
    for op in ops.ops:
        if isinstance(op, ModifyTableOps) and (op.schema, op.table_name) in dropped:
            op.ops = [inner for inner in op.ops if not isinstance(inner, DropIndexOp)]
    remove_empty_from(ops)


def _close_circles_last(upgrade: OpContainer, downgrade: OpContainer) -> None:
    """Where new tables refer to each other, create the foreign keys that point forward when all tables are there, and
    drop them before the first table: no server but SQLite takes a reference to what is not there. So with any that has
    ``use_alter``: no server but SQLite creates it with its table.
    """
    coming = {op.table_name for op in upgrade.ops if isinstance(op, CreateTableOp)}
    closing: list[MigrateOperation] = []
    opening: list[MigrateOperation] = []
    for op in upgrade.ops:
        if not isinstance(op, CreateTableOp):
            continue
        keys = [item for item in op.columns if isinstance(item, ForeignKeyConstraint)]
        forward = [key for key in keys if key.use_alter or key.referred_table.name in coming - {op.table_name}]
        op.columns = [item for item in op.columns if not any(item is key for key in forward)]
        for key in forward:
            create, drop = CreateForeignKeyOp.from_constraint(key), DropConstraintOp.from_constraint(key)
            closing.append(ModifyTableOps(op.table_name, [create], schema=op.schema))
            opening.append(ModifyTableOps(op.table_name, [drop], schema=op.schema))
        coming.discard(op.table_name)
    upgrade.ops = [*upgrade.ops, *closing]
    downgrade.ops = [*opening, *downgrade.ops]
