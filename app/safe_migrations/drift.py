"""Differences between the models and the database."""

from typing import Any

from alembic import context
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from .console import only_warnings

CHECK_PLUGIN = "alembic.ext.checkconstraint_byname"
"""The name of Alembic's plugin that compares CHECKs by name."""


def drift(migration_context: MigrationContext) -> list[str]:
    """Return the changes that would make the database match the models, such as ``["add_table pet"]``.

    Call this while env.py runs.
    """
    with only_warnings():
        return differences(compare_metadata(migration_context, context.get_context().opts["target_metadata"]))


def not_compared(migration_context: MigrationContext) -> list[str]:
    """Return what drift() does not compare, with the options that the app gives Migrate(): ["primary keys", ...]."""
    opts = migration_context.opts
    plugins = opts.get("autogenerate_plugins") or ()
    skipped = {
        "primary keys": True,
        "CHECKs": CHECK_PLUGIN not in plugins,
        "conditions of CHECKs": CHECK_PLUGIN in plugins,
        "CHECKs without a name": CHECK_PLUGIN in plugins,
        "server defaults": not opts.get("compare_server_default"),
        "generated columns": not opts.get("compare_server_default"),
        "sequences": True,
        "views": True,
        "triggers": True,
        "other schemas": not opts.get("include_schemas"),
    }
    return [name for name, is_skipped in skipped.items() if is_skipped]


def differences(diffs: list[Any]) -> list[str]:
    """Return a text for each difference, such as ``add_table pet`` or ``modify_type user.email``.

    ``diffs`` comes from Alembic's compare_metadata(): a list of tuples, and of lists of tuples.
    """
    found = []
    for diff in diffs:
        if isinstance(diff, list):
            found += differences(diff)
        else:
            kind, *rest = diff
            parts = rest[1:3] if "column" in kind or kind.startswith("modify") else rest[:1]
            found.append(f"{kind} {'.'.join(str(getattr(part, 'name', part)) for part in parts)}")
    return found
