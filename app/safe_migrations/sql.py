"""Raw SQL as operations: what `op.execute()` is given, as Alembic's operations where one says the same."""

from alembic.operations.ops import ExecuteSQLOp, MigrateOperation


def translated(op: ExecuteSQLOp, dialect: str) -> list[MigrateOperation]:
    """The operations of its statements, one for each thing that they do."""
    return [op]
