"""Whether steps can lose data, for MIGRATION_BACKUP=risky."""

from collections.abc import Iterable

from alembic.operations import ops
from alembic.runtime.migration import MigrationStep, RevisionStep

from .recorder import Recorder, Revision
from .sql import ChangeRowsOp, CommandOp

# What adds to a database, or changes no value in it.
HARMLESS = (
    *(ops.CreateTableOp, ops.AddColumnOp, ops.CreateIndexOp, ops.DropIndexOp, ops.AddConstraintOp, ops.BulkInsertOp),
    *(ops.RenameTableOp, ops.CreateTableCommentOp, ops.DropTableCommentOp),
)


def can_lose(steps: Iterable[MigrationStep], dialect: str) -> bool:
    """Whether one of the steps can lose data, or cannot be inspected."""
    recorder = Recorder(dialect)
    return any(_can_lose(step, recorder) for step in steps if isinstance(step, RevisionStep))


def _can_lose(step: RevisionStep, recorder: Recorder) -> bool:
    revision = Revision.of(step.revision, recorder, "upgrade" if step.is_upgrade else "downgrade")
    operations = revision.upgrade + revision.downgrade
    return bool(revision.not_inspectable) or not all(_is_harmless(operation.op) for operation in operations)


def _is_harmless(op: ops.MigrateOperation) -> bool:
    if isinstance(op, ops.AlterColumnOp):
        return op.modify_type is None and op.modify_nullable is not False
    if isinstance(op, ChangeRowsOp):
        return op.verb == "INSERT"
    return op.keeps_data if isinstance(op, CommandOp) else isinstance(op, HARMLESS)
