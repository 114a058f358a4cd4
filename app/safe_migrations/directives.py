"""What happens to a revision between autogenerate and the script that is written."""

import logging
from collections.abc import Iterable

from alembic.operations.ops import DropIndexOp, DropTableOp, MigrationScript, ModifyTableOps, OpContainer
from alembic.runtime.migration import MigrationContext

log = logging.getLogger("alembic.autogenerate")


def process_revision_directives(
    context: MigrationContext, _revision: str | Iterable[str | None] | Iterable[str], directives: list[MigrationScript]
) -> None:
    """For Alembic's option of this name: no script where nothing differs, and no step that a database refuses."""
    # `flask db check` calls this too, and reads the directives afterwards.
    migrating = context.config is not None and getattr(context.config.cmd_opts, "autogenerate", False)
    if migrating and all(ops.is_empty() for ops in directives[0].upgrade_ops_list):
        directives.clear()
        log.info("No changes in schema detected.")
    for script in directives:
        for ops in (*script.upgrade_ops_list, *script.downgrade_ops_list):
            _drop_indexes_with_their_table(ops)


def _drop_indexes_with_their_table(ops: OpContainer) -> None:
    """Leave out DROP INDEX for tables that are dropped next: MySQL and MariaDB refuse it for the index of a foreign
    key (error 1553), and every database drops a table's indexes with it.
    """
    dropped = {(op.schema, op.table_name) for op in ops.ops if isinstance(op, DropTableOp)}
    for op in ops.ops:
        if isinstance(op, ModifyTableOps) and (op.schema, op.table_name) in dropped:
            op.ops = [inner for inner in op.ops if not isinstance(inner, DropIndexOp)]
    ops.ops = [op for op in ops.ops if not (isinstance(op, ModifyTableOps) and op.is_empty())]
