"""CHECK constraints of columns: some databases drop or rename no column that a CHECK names."""

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
    """Drop the CHECKs that name a dropped column before it: SQLite and MariaDB refuse to drop it otherwise."""
    for changes in table_changes(upgrade):
        table, schema = changes.table_name, changes.schema
        columns = [op.column_name for op in changes.ops if isinstance(op, ops.DropColumnOp)]
        dropped = [op.constraint_name for op in changes.ops if isinstance(op, ops.DropConstraintOp)]
        checks = inspector.get_check_constraints(table, schema) if columns else []
        changes.ops[:0] = [
            ops.CreateCheckConstraintOp(conv(check["name"]), table, text(check["sqltext"]), schema=schema).reverse()
            for check in _naming(columns, checks)
            if check["name"] not in dropped
        ]


def refuse_renames(context: MigrationContext, renames: Renames, targets: Collection[Facts]) -> None:
    """Raise MigrationError for a CHECK that names a renamed column, where a database refuses that rename."""
    assert context.connection is not None
    if not any(facts.checks_stop_renames for facts in targets):
        return
    inspector = inspect(context.connection)
    for scope, columns in renames.names.items():
        if len(scope) == 1:
            continue
        schema, table = scope
        for check in _naming(columns, inspector.get_check_constraints(table, schema)):
            raise MigrationError(
                f"CHECK {check['name']} names a renamed column of {table}: MySQL and MariaDB refuse that rename.",
                "drop the CHECK in a revision before the rename, and create it again in one after it. Begin with this,"
                " and put the second line into its upgrade():",
                'flask db revision -m "Drop a CHECK"',
                as_python(ops.DropConstraintOp(conv(check["name"]), table, "check", schema=schema)),
            )


def _naming(columns: Collection[str], checks: Collection[Any]) -> list[Any]:
    """Return the named CHECKs, as an Inspector reports them, whose SQL names one of ``columns``."""
    other_names = dict.fromkeys(columns, "\0")
    return [each for each in checks if each["name"] and in_new_names(each["sqltext"], other_names) != each["sqltext"]]
