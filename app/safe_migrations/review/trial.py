"""A trial of batches on a copy of the schema in memory: it shows what SQLite would lose before anything is changed."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from weakref import finalize

from alembic.operations import Operations
from alembic.operations.ops import AddColumnOp, BulkInsertOp, ExecuteSQLOp, MigrateOperation
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from ..adapters.sqlite.rebuilds import ON_LOSS, schema_in_memory
from ..errors import UnsafeError
from ..internals import copy_column
from .recorder import Batch, Operation

DDL = ("CREATE ", "ALTER ", "DROP ")


class Trial:
    """The schema of the database behind ``source``, without rows, in which operations are run one after the other.

    It is empty without a database. An operation that fails is left out: it needs something that only the database has.
    """

    def __init__(self, source: Connection | None) -> None:
        self.connection = schema_in_memory(source)
        finalize(self, self.connection.engine.dispose)
        self._losses: list[UnsafeError] = []
        self._op = Operations(MigrationContext.configure(self.connection, opts={ON_LOSS: self._losses.append}))
        self._followed = 0
        self._last: object = None

    def follow(self, operations: Sequence[Operation]) -> None:
        """Run those of ``operations`` that were not run yet."""
        for operation in operations[self._followed :]:
            what = operation.statement or operation.block or operation.op
            if what is not self._last:  # else another operation of the same statement or batch
                with suppress(Exception):
                    self._run(what)
            self._last = what
        self._followed = len(operations)

    def loss(self, batch: Batch) -> UnsafeError | None:
        """Return the error for the first thing that the batch would lose; None if it would lose nothing."""
        self._losses.clear()
        self.connection.exec_driver_sql("SAVEPOINT trial")
        try:
            self._run(batch)
        except UnsafeError as error:
            self._losses.append(error)
        except Exception:
            return None
        finally:
            self.connection.exec_driver_sql("ROLLBACK TO trial")
            self.connection.exec_driver_sql("RELEASE trial")
        return next(iter(self._losses), None)

    def _run(self, what: str | Batch | MigrateOperation) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(what, str):
                if what.lstrip().upper().startswith(DDL):
                    self.connection.exec_driver_sql(what)
            elif isinstance(what, Batch):
                with self._op.batch_alter_table(what.table, what.schema, **what.options) as batch:
                    for operation in what.changes:
                        batch.invoke(_copied(operation))
            elif not isinstance(what, BulkInsertOp | ExecuteSQLOp):
                self._op.invoke(_copied(what))


def _copied(operation: MigrateOperation) -> MigrateOperation:
    """Return the operation with a column of its own, because Alembic puts the column into a table."""
    copied = copy(operation)
    if isinstance(copied, AddColumnOp):
        copied.column = copy_column(copied.column)
    return copied
