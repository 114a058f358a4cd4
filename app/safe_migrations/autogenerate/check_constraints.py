"""CHECK constraints of dropped and renamed columns: some databases refuse both while a CHECK names the column."""

from collections.abc import Collection
from typing import Any

from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.sql.elements import conv

from ..adapters.facts import Facts
from ..errors import MigrationError
from ..review.rules.suggestions import as_python
from .renamed_inspector import RenamedInspector, Renames, in_new_names
from .rendering import table_changes


def drop_checks_first(upgrade: ops.UpgradeOps, inspector: RenamedInspector) -> None:
    """Add to ``upgrade`` a drop of each CHECK that names a dropped column, before the drop of that column.

    SQLite and MariaDB require this order. A CHECK without a name is left out, because it cannot be dropped.
    """
    for changes in table_changes(upgrade):
        table, schema = changes.table_name, changes.schema
        columns = [op.column_name for op in changes.ops if isinstance(op, ops.DropColumnOp)]
        dropped = [op.constraint_name for op in changes.ops if isinstance(op, ops.DropConstraintOp)]
        checks = inspector.get_check_constraints(table, schema) if columns else []
        changes.ops[:0] = [
            ops.CreateCheckConstraintOp(conv(check["name"]), table, text(check["sqltext"]), schema=schema).reverse()
            for check in _checks_naming(columns, checks)
            if check["name"] not in dropped
        ]


def refuse_renames(context: MigrationContext, renames: Renames, targets: Collection[Facts]) -> None:
    """Raise MigrationError if a CHECK names a renamed column and MySQL or MariaDB, which refuse this, is a target."""
    assert context.connection is not None
    if not any(facts.checks_stop_renames for facts in targets):
        return
    inspector = inspect(context.connection)
    for scope, columns in renames.names.items():
        if len(scope) == 1:
            continue
        schema, table = scope
        checks = inspector.get_check_constraints(table, schema)
        for column, check in [(old, check) for old in columns for check in _checks_naming([old], checks)]:
            raise MigrationError(
                f"MySQL and MariaDB cannot rename {table}.{column} while CHECK {check['name']} names it.",
                "drop the CHECK in one revision, rename the column in the next, and create the CHECK again in a third."
                " Create the first revision with the first line, and put the second line into its upgrade():",
                'flask db revision -m "Drop a CHECK"',
                as_python(ops.DropConstraintOp(conv(check["name"]), table, "check", schema=schema)),
            )


def _checks_naming(columns: Collection[str], checks: Collection[Any]) -> list[Any]:
    """Return the ``checks``, as an Inspector reports them, that have a name and a condition on one of ``columns``."""
    other_names = dict.fromkeys(columns, "\0")
    return [each for each in checks if each["name"] and in_new_names(each["sqltext"], other_names) != each["sqltext"]]
