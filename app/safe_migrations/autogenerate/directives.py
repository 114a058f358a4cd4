"""Alembic's autogenerate options, merged with the app's: a plugin, differences to ignore, and rendering of code.

Every command of `flask db` imports this module: it loads little, and generation.py only for `flask db migrate`.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import JSON, Column, DefaultClause, FetchedValue
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.functions import now

from ..adapters import OWN_TABLES, Adapter, adapter_of
from ..errors import MigrationError, summary

log = logging.getLogger("alembic.autogenerate")


def autogenerate_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` of `context.configure()` with those of this package, which ask the app's own first."""
    return {
        "process_revision_directives": process_revision_directives,
        **options,
        "autogenerate_plugins": [*(options.get("autogenerate_plugins") or ["alembic.autogenerate.*"]), PLUGIN],
        "include_name": include_name(options.get("include_name")),
        "compare_server_default": compare_server_default(options.get("compare_server_default", False)),
        "render_item": render_item(options.get("render_item")),
    }


def process_revision_directives(
    context: MigrationContext,
    _revision: str | Iterable[str | None] | Iterable[str],
    directives: list[ops.MigrationScript],
) -> None:
    """Write no script where nothing differs, and several for what has to be done in steps.

    `flask db check` calls this too, and reads the directives afterwards.
    """
    if context.config is not None and getattr(context.config.cmd_opts, "autogenerate", False):
        from .generation import generate

        directives[:] = generate(context, directives[0])
        if not directives:
            log.info("No changes in schema detected.")


def render_item(theirs: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return Alembic's option of this name: it renders as the app's ``theirs`` does, else as code that can be imported
    and runs on every database.

    Alembic does not import the module of an app's type, omits `sa.` for a type inside another, and renders func.now()
    for the connected database: SQLite has no `now()`.
    """

    def render(kind: str, item: Any, autogen: Any) -> Any:
        if theirs is not None and (rendered := theirs(kind, item, autogen)) is not False:
            return rendered
        if kind == "server_default":
            is_now = isinstance(getattr(item, "arg", None), now)
            return "sa.text('CURRENT_TIMESTAMP')" if is_now else getattr(item, "code", False)
        if kind == "type":
            from .rendering import render_type

            return render_type(item, autogen)
        return False

    return render


def _add_enum_values(autogen: AutogenContext, upgrade: ops.UpgradeOps, _schemas: object) -> PriorityDispatchResult:
    """Add the values that enums of the database lack, before what may use them."""
    from .enum_types import added_values

    upgrade.ops += added_values(autogen)
    return PriorityDispatchResult.CONTINUE


def _skip_null_of_generated_columns(
    autogen: AutogenContext,
    op: ops.AlterColumnOp,
    _schema: str | None,
    _table: str,
    _name: str,
    existing: "Column[Any]",
    _wanted: object,
) -> PriorityDispatchResult:
    """Make no generated column NOT NULL on MariaDB, which does not support it (error 1064)."""
    if existing.computed is None or not getattr(autogen.dialect, "is_mariadb", False):
        return PriorityDispatchResult.CONTINUE
    op.existing_nullable = existing.nullable
    return PriorityDispatchResult.STOP


def _register() -> str:
    plugin, first = Plugin(__name__), DispatchPriority.FIRST
    plugin.add_autogenerate_comparator(_add_enum_values, "schema", priority=first)
    plugin.add_autogenerate_comparator(_skip_null_of_generated_columns, "column", "nullable", priority=first)
    return plugin.name


PLUGIN = _register()
"""For Alembic's option ``autogenerate_plugins``."""


def include_name(theirs: Callable[..., bool] | None) -> Callable[..., bool]:
    """Return Alembic's option of this name: it includes what the app's ``theirs`` includes, except this package's own
    tables, and partitions that the models do not declare.
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

    def include(name: str | None, kind: str, parents: dict[str, Any]) -> bool:
        if kind == "table" and ((name or "").startswith(OWN_TABLES) or (parents["schema_name"], name) in partitions()):
            return False
        return theirs is None or theirs(name, kind, parents)

    return include


def compare_server_default(theirs: Any) -> Any:
    """Return a function for Alembic's option of this name if the app's value is True; else that value.

    A default that only the database has is not a difference for a NOT NULL column: `flask db migrate` adds it, so that
    the previous release can still insert rows without the column.
    """

    def compare(
        migration_context: MigrationContext,
        inspected: "Column[Any]",
        column: "Column[Any]",
        in_database: str | None,
        default: FetchedValue | None,
        in_models: str | None,
    ) -> bool | None:
        if default is None:
            return None if column.nullable else False
        if in_database is None or in_models is None or not isinstance(default, DefaultClause):
            return None
        # Alembic puts a text between quotes as it is, and asks PostgreSQL for json = json, which it does not have.
        if isinstance(column.type, JSON) or (isinstance(default.arg, str) and "'" in in_models):
            return False
        try:
            differs: bool = migration_context.impl.compare_server_default(  # type: ignore[no-untyped-call]
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
