"""A trial run of batch operations on an in-memory copy of the SQLite schema, to see what a rebuild would lose."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from weakref import finalize

from alembic.operations import Operations
from alembic.operations.ops import AddColumnOp, BulkInsertOp, CreateTableOp, ExecuteSQLOp, MigrateOperation
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.exc import InvalidRequestError

from ..adapters.sqlite.dump import driver_connection
from ..adapters.sqlite.rebuilds import ON_LOSS, schema_in_memory
from ..database import named_by_convention
from ..errors import UnsafeError
from ..internals import copy_column
from .recorder import Batch, Operation, as_table

DDL = ("CREATE ", "ALTER ", "DROP ")


class Trial:
    """An in-memory copy of a SQLite schema, without rows, on which operations are run in order.

    ``source`` is a connection to the SQLite database; without one, the copy starts empty. Operations that fail on the
    copy are skipped: they need something that only the database has.
    """

    def __init__(self, source: Connection | None) -> None:
        self.connection = schema_in_memory(source)
        finalize(self, self.connection.engine.dispose)
        self._losses: list[UnsafeError] = []
        self._context = MigrationContext.configure(
            self.connection,
            opts={ON_LOSS: self._losses.append},
        )
        self._op = Operations(self._context)
        self._followed = 0
        self._last: object = None

    def branch(self) -> "Trial":
        """Return a copy of this trial; operations that are run on the copy do not change this one."""
        copied = Trial(None)
        driver_connection(self.connection).backup(driver_connection(copied.connection))
        return copied

    def follow(self, operations: Sequence[tuple[Operation, MetaData]]) -> None:
        """Run on the copy those ``operations`` that no earlier call has run.

        The list has to begin with the operations of the earlier calls. Each is paired with the metadata whose naming
        convention names its constraints.
        """
        for operation, convention in operations[self._followed :]:
            what = operation.statement or operation.block or operation.op
            if what is not self._last:  # else another operation of the same statement or batch
                with suppress(Exception):
                    self._run(what, convention)
            self._last = what
        self._followed = len(operations)

    def loss(self, batch: Batch, convention: MetaData) -> UnsafeError | None:
        """Run the batch on the copy and return an error that names the first loss, e.g. of a CHECK constraint.

        Return None if the batch loses nothing, or fails for another reason. follow() does not run the batch again.
        """
        self._losses.clear()
        self._last = batch
        try:
            self._run(batch, convention)
        except UnsafeError as error:
            return error
        except Exception:
            return None
        return next(iter(self._losses), None)

    def _run(self, what: str | Batch | MigrateOperation, convention: MetaData) -> None:
        self._context.opts["target_metadata"] = convention
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(what, str):
                if what.lstrip().upper().startswith(DDL):
                    self.connection.exec_driver_sql(what)
            elif isinstance(what, Batch):
                with self._op.batch_alter_table(what.table, what.schema, **what.options) as batch:
                    for operation in what.changes:
                        batch.invoke(_copied(operation))
            elif isinstance(what, CreateTableOp):  # with the foreign keys that stand in its columns
                self._context.impl.create_table(_named(as_table(what), convention))
            elif not isinstance(what, BulkInsertOp | ExecuteSQLOp):
                self._op.invoke(_copied(what))


def _named(table: Table, convention: MetaData) -> Table:
    """Return the table as op.create_table() creates it, with names by the naming convention."""
    try:
        named = named_by_convention(table, convention)
    except InvalidRequestError:  # a CHECK without the name that the convention needs: op.create_table() fails
        return table
    for other in table.metadata.tables.values():  # to which its foreign keys refer
        if other.key not in named.metadata.tables:
            other.to_metadata(named.metadata)
    return named


def _copied(operation: MigrateOperation) -> MigrateOperation:
    """Return a copy of the operation, with a copy of the column to add: Alembic attaches a column to one table."""
    copied = copy(operation)
    if isinstance(copied, AddColumnOp):
        copied.column = copy_column(copied.column)
    return copied
