"""The data that a run can delete.

MIGRATION_BACKUP=risky makes a backup only if a step can lose data; before a downgrade, the losses are logged.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from alembic.operations import ops

from ..console import log
from ..database import Database
from ..errors import counted
from ..plan import Plan
from .known_schema import KnownSchema
from .recorder import Revision
from .rules.scripts import lacks_downgrade
from .sql.ops import ChangeRowsOp, CommandOp

# Operations that add to a database, or change no value in it.
HARMLESS = (
    *(ops.CreateTableOp, ops.AddColumnOp, ops.CreateIndexOp, ops.DropIndexOp, ops.AddConstraintOp, ops.BulkInsertOp),
    *(ops.RenameTableOp, ops.CreateTableCommentOp, ops.DropTableCommentOp),
)


def can_lose(plan: Plan, product: str) -> bool:
    """Return True if a step of ``plan`` can lose data, or if the review can read only a part of its script."""
    return any(
        revision.not_inspectable
        or not all(_is_harmless(operation.op) for operation in revision.upgrade + revision.downgrade)
        for revision in _recorded(plan, product)
    )


def _recorded(plan: Plan, product: str) -> Iterator[Revision]:
    for step in plan.revision_steps:
        yield plan.recordings.of(step.revision, product, "upgrade" if step.is_upgrade else "downgrade")


def _is_harmless(op: ops.MigrateOperation) -> bool:
    if isinstance(op, ops.AlterColumnOp):
        return op.modify_type is None and op.modify_nullable is not False
    if isinstance(op, ChangeRowsOp):
        return op.verb == "INSERT"
    return op.keeps_data if isinstance(op, CommandOp) else isinstance(op, HARMLESS)


def warn_of_losses(plan: Plan, database: Database) -> None:
    """Log a warning for each operation in the downgrades of ``plan`` that deletes rows or values, with their number.

    Log one, too, for each downgrade() that changes nothing.
    """
    scripts = plan.scripts(upgrade=False)
    if not scripts:
        return
    for script in scripts:
        if lacks_downgrade(plan.recordings.of(script, database.facts.product)):
            log.warning("downgrade() of %s does nothing; the changes of its upgrade() remain", script.revision)
    tables = KnownSchema(database.facts, database.connection)
    losses = set[str]()
    operations = [each for revision in _recorded(plan, database.facts.product) for each in revision.downgrade]
    with database.adapter.hidden_rows_refused(database.connection):
        for operation in operations:
            loss = _loss(operation.op, tables)
            if loss and loss not in losses:  # a script may delete the rows of a table, and then drop it
                losses.add(loss)
                log.warning("The downgrade deletes %s", loss)
            with suppress(Exception):  # what cannot be followed is not counted
                tables.follow(operation)


def _loss(op: Any, tables: KnownSchema) -> str:
    """Return as text what ``op`` deletes, e.g. "20 values in user.age"; an empty string if ``op`` deletes nothing."""
    deletes = isinstance(op, ChangeRowsOp) and op.verb in ("DELETE", "TRUNCATE")
    if not (deletes or isinstance(op, ops.DropTableOp | ops.DropColumnOp)) or not op.table_name:
        return ""
    known, column, stored_as = tables.table(op.table_name, op.schema), None, None
    if isinstance(op, ops.DropColumnOp):
        column = op.column_name
        if column in known.columns and known.columns[column].is_generated:
            return ""  # its values are computed from other columns
        stored_as = known.columns[column].stored_as if column in known.columns else None
    if known.stored_as is None or (column and stored_as is None):  # an earlier step creates it
        return ""
    count = tables.count(known.stored_as, op.schema, stored_as)
    if count is None:
        return (
            f"an unknown number of rows or values of table {op.table_name}, because row-level security or a missing "
            "right hides rows from this user"
        )
    if not count:
        return ""
    if column:
        return f"{counted(count, 'value')} in {op.table_name}.{column}"
    return f"{'up to ' if deletes and op.bounded else ''}{counted(count, 'row')} of table {op.table_name}"
