"""The options for autogenerate that this package passes to Alembic together with the app's own.

Every command of `flask db` imports this module, so it loads little: generation.py only for `flask db migrate`.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.runtime.plugins import Plugin
from alembic.util import DispatchPriority, PriorityDispatchResult
from sqlalchemy import Column, Table
from sqlalchemy.sql.expression import False_, True_
from sqlalchemy.sql.functions import now

# exact_sql registers the implementations that write exact SQL.
from ..adapters import ADAPTERS, OWN_TABLES, Adapter, adapter_of, exact_sql  # noqa: F401
from ..database import Database, models_metadata, tables_of_models
from ..drift import CHECK_PLUGIN

log = logging.getLogger("alembic.autogenerate")

PLUGINS = ("alembic.autogenerate.*", CHECK_PLUGIN)
"""Alembic's plugins that compare the models with the database, unless the app names others."""


def autogenerate_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the app's ``options`` for `context.configure()`, completed with the autogenerate options of this package.

    The functions ``include_name`` and ``render_item`` of the app are called by those of this package. The app's
    ``process_revision_directives`` and its option ``compare_server_default`` replace those of this package.
    """
    return {
        "process_revision_directives": process_revision_directives,
        "compare_server_default": True,
        **options,
        "autogenerate_plugins": [*(options.get("autogenerate_plugins") or PLUGINS), PLUGIN],
        "include_object": include_object(options.get("include_object")),
        "include_name": include_name(options.get("include_name")),
        "render_item": render_item(options.get("render_item")),
    }


def process_revision_directives(
    context: MigrationContext,
    _revision: str | Iterable[str | None] | Iterable[str],
    directives: list[ops.MigrationScript],
) -> None:
    """Replace Alembic's script by those that `flask db migrate` writes: none if nothing differs, else one or several.

    `flask db revision --autogenerate` writes the same. Other commands, such as `flask db check`, call this too; for
    them ``directives`` only loses changes of generated columns, which no script makes. Raise MigrationError with lines
    that make these, if there is nothing else.
    """
    if context.config is not None and getattr(context.config.cmd_opts, "autogenerate", False):
        from .generation import generate

        directives[:] = generate(context, directives[0])
        if not directives:
            log.info("No changes in schema detected.")
        return
    for upgrade in directives[0].upgrade_ops_list:
        if not upgrade.is_empty():
            from .generation import targets_of
            from .server_defaults import leave_out_generated

            leave_out_generated(upgrade, tables_of_models(context), targets_of(context))


def render_item(theirs: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return a function for Alembic's option ``render_item``, which writes types and defaults as Python code.

    It calls the app's function ``theirs`` first; if that returns False, it writes code that runs on every database, and
    adds the imports. Alembic alone does not import the module of an app's type, omits `sa.` for a type inside another,
    renders func.now() for the connected database (SQLite has no `now()`), and strips a text of its quotes.
    """

    def render(kind: str, item: Any, autogen: Any) -> Any:
        if theirs is not None and (rendered := theirs(kind, item, autogen)) is not False:
            return rendered
        if kind == "server_default":
            arg = getattr(item, "arg", None)
            if isinstance(arg, True_ | False_):  # 1 on SQLite, which PostgreSQL refuses
                return f"sa.{arg}()"
            if isinstance(arg, str):
                return repr(arg)
            is_now = isinstance(arg, now) and not list(arg.clauses)  # MySQL's CURRENT_TIMESTAMP(6) stays
            return "sa.text('CURRENT_TIMESTAMP')" if is_now else getattr(item, "code", False)
        if kind == "type":
            from .rendering import render_type

            return render_type(item, autogen)
        return False

    return render


def _add_enum_values(autogen: AutogenContext, upgrade: ops.UpgradeOps, _schemas: object) -> PriorityDispatchResult:
    """Add to ``upgrade``, before all else, the operations that add the models' new enum values to the database."""
    from .enum_types import added_values

    upgrade.ops += added_values(autogen)
    return PriorityDispatchResult.CONTINUE


def _compare_values_of_checks(
    autogen: AutogenContext,
    changes: ops.ModifyTableOps,
    _schema: str | None,
    _name: str,
    existing: Table | None,
    wanted: Table | None,
) -> PriorityDispatchResult:
    """Add to ``changes`` what replaces the CHECKs whose lists of values differ, unless the app compares no CHECKs."""
    if existing is not None and wanted is not None and CHECK_PLUGIN in autogen.opts["autogenerate_plugins"]:
        from .check_constraints import replace_changed_values

        replace_changed_values(autogen, changes, wanted)
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
    """Ignore a difference in NOT NULL of a generated column on MariaDB, where it cannot be NOT NULL (error 1064)."""
    if existing.computed is None or not getattr(autogen.dialect, "is_mariadb", False):
        return PriorityDispatchResult.CONTINUE
    op.existing_nullable = existing.nullable
    return PriorityDispatchResult.STOP


def _compare_server_defaults(
    autogen: AutogenContext,
    op: ops.AlterColumnOp,
    _schema: str | None,
    table: str,
    name: str,
    existing: "Column[Any]",
    wanted: "Column[Any]",
) -> PriorityDispatchResult:
    """Compare defaults and generated columns in place of Alembic, unless the app's compare_server_default does.

    Alembic compares texts, which differ where the database spells a default in its own way, and only warns of an
    expression. Leave an Identity to Alembic, but only where the database has it: elsewhere it is not a difference.
    """
    option = autogen.opts.get("compare_server_default")
    is_generated = existing.computed is not None or wanted.computed is not None
    if not option or (option is not True and not is_generated):
        return PriorityDispatchResult.CONTINUE
    if existing.identity is not None or wanted.identity is not None:
        has_identity = getattr(autogen.dialect, "supports_identity_columns", False)
        return PriorityDispatchResult.CONTINUE if has_identity else PriorityDispatchResult.STOP
    from .server_defaults import differs, portable_default

    op.existing_server_default = existing.server_default
    if differs(autogen, existing, wanted):
        op.existing_server_default = portable_default(autogen, existing, wanted)
        op.modify_server_default = wanted.server_default
        log.info("Detected server default on column '%s.%s'", table, name)
    return PriorityDispatchResult.STOP


def _register() -> str:
    plugin, first = Plugin(__name__), DispatchPriority.FIRST
    plugin.add_autogenerate_comparator(_add_enum_values, "schema", priority=first)
    plugin.add_autogenerate_comparator(_skip_null_of_generated_columns, "column", "nullable", priority=first)
    plugin.add_autogenerate_comparator(
        _compare_values_of_checks, "table", "checkconstraints", priority=DispatchPriority.LAST
    )
    for dialect in ADAPTERS:  # those of a dialect are called before Alembic's own of all dialects
        plugin.add_autogenerate_comparator(
            _compare_server_defaults, "column", "server_default", qualifier=dialect, priority=first
        )
    return plugin.name


PLUGIN = _register()
"""The name of this package's plugin, for Alembic's option ``autogenerate_plugins``."""


def include_object(theirs: Callable[..., bool] | None) -> Callable[..., bool]:
    """Return a function for Alembic's option ``include_object``, which says whether autogenerate looks at an object.

    It returns False for a CHECK whose name cannot be compared: one that the connected database does not create, such as
    that of an Enum on PostgreSQL, one whose name is too long for the database, and one that the database itself may
    have named. For all others it returns what the app's function ``theirs`` returns, or True if the app has none.
    """

    @cache
    def models() -> dict[tuple[str | None, str], Table]:
        return tables_of_models(context.get_context())

    def include(item: Any, name: str | None, kind: str, reflected: bool, compared: Any) -> bool:
        if kind == "check_constraint":
            from .check_constraints import is_comparable

            if not is_comparable(item, reflected, context.get_context(), models()):
                return False
        return theirs is None or theirs(item, name, kind, reflected, compared)

    return include


def include_name(theirs: Callable[..., bool] | None) -> Callable[..., bool]:
    """Return a function for Alembic's option ``include_name``, which says if autogenerate looks at a table or an index.

    It returns False for this package's own tables, for partitions that the models do not declare, and for the indexes
    that MySQL and MariaDB leave when a foreign key is dropped. For all others it returns what the app's function
    ``theirs`` returns, or True if the app has none.
    """

    @cache
    def models() -> dict[tuple[str | None, str], Table]:
        return tables_of_models(context.get_context())

    @cache
    def partitions() -> set[tuple[str | None, str]]:
        connection = context.get_context().connection
        if connection is None:
            return set()
        adapter: Adapter = adapter_of(connection.engine)
        return adapter.partitions(connection) - models().keys()

    @cache
    def left_index() -> re.Pattern[str] | None:
        """Return a pattern for names of foreign keys if an index with that name may be left; else None."""
        connection = context.get_context().connection
        if connection is None or not Database(connection).facts.foreign_keys_need_index:
            return None
        prefix = re.escape(str(models_metadata().naming_convention.get("fk", "")).partition("%")[0])
        return re.compile(rf"{prefix}.+|.+_ibfk_\d+" if prefix else r".+_ibfk_\d+")

    @cache
    def declared_indexes() -> set[str]:
        return {str(index.name) for table in models().values() for index in table.indexes}

    def include(name: str | None, kind: str, parents: dict[str, Any]) -> bool:
        left = left_index() if kind == "index" and name else None
        if left is not None and left.fullmatch(str(name)) and name not in declared_indexes():
            return False
        if kind == "table" and ((name or "").startswith(OWN_TABLES) or (parents["schema_name"], name) in partitions()):
            return False
        return theirs is None or theirs(name, kind, parents)

    return include
