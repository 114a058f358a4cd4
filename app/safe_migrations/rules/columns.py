"""Rules about columns."""

from alembic.operations import ops

from app.safe_migrations.rules.registry import BLOCKS, Case, Problem, rule


@rule(BLOCKS, ops.DropColumnOp)
def drop_column(op: ops.DropColumnOp, _case: Case) -> Problem:
    """The values are gone, and code of the last release still selects them (strong_migrations, "Removing a column")."""
    return Problem(
        f"drops column {op.table_name}.{op.column_name}, and code that is still running reads it",
        "stop using the column, deploy, and drop it in the next release.",
    )
