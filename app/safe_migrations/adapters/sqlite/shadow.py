"""What a batch would lose of its table: it is run on a copy in memory, without rows, and watched as an upgrade is."""

import warnings
from collections.abc import Sequence
from copy import copy
from typing import Any

from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, StaticPool, create_engine
from sqlalchemy.exc import CompileError

from app.safe_migrations.adapters.sqlite.rebuilds import Rebuilds, not_made
from app.safe_migrations.errors import MigrationError, summary
from app.safe_migrations.operations import Batch, Operation
from app.safe_migrations.sql import ChangeRowsOp


def refusal(connection: Connection | None, applied: Sequence[Operation], batch: Batch) -> tuple[str, str] | None:
    """What stands in the way, and what to do instead; None if nothing does, or the copy cannot be made."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with warnings.catch_warnings(), engine.connect() as shadow:
            warnings.simplefilter("ignore")
            _make(shadow, connection, _concerning(applied, batch))
            with Rebuilds(shadow).watching():
                _run(shadow, batch)
    except MigrationError as error:
        return _said(error) if "(rebuild-loses)" in error.what else None
    except Exception as error:  # what else fails loses nothing, or is of what only the database has
        if isinstance(error, CompileError) or "CREATE TABLE _alembic_tmp_" in str(getattr(error, "statement", "")):
            return _said(not_made(batch.table, summary(error)))
        return None
    finally:
        engine.dispose()
    return None


def _said(error: MigrationError) -> tuple[str, str]:
    return error.what, str(error).partition(f"{error.label}: ")[2]


def _make(shadow: Connection, connection: Connection | None, applied: Sequence[Operation]) -> None:
    """The schema of the database, and what was done to the table since."""
    if connection is not None:
        try:
            found = connection.exec_driver_sql(
                "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
                " ORDER BY type = 'trigger', type = 'view', type = 'index'"
            ).fetchall()
        finally:  # another database, for which a review asks too, has no such table, and aborts the transaction
            connection.rollback()
        for (text,) in found:
            shadow.exec_driver_sql(text)
    before: Any = None
    for operation in applied:
        what: Any = operation.statement or operation.block or operation.op
        if what != before:  # else another operation of the same statement or batch
            _run(shadow, what)
        before = what


def _run(shadow: Connection, what: str | Batch | ops.MigrateOperation) -> None:
    made = Operations(MigrationContext.configure(shadow))
    if isinstance(what, str):
        shadow.exec_driver_sql(what)
    elif isinstance(what, Batch):
        with made.batch_alter_table(what.table, what.schema, **what.options) as batch:
            for operation in what.changes:
                batch.invoke(_copied(operation))
    else:
        made.invoke(_copied(what))


def _copied(operation: ops.MigrateOperation) -> ops.MigrateOperation:
    """With a column of its own, for Alembic puts it into a table."""
    copied = copy(operation)
    if isinstance(copied, ops.AddColumnOp):
        copied.column = copied.column._copy()
    return copied


def _concerning(applied: Sequence[Operation], batch: Batch) -> list[Operation]:
    """Those about the table of the batch, by the names that it had."""
    name, found = batch.table, []
    for operation in reversed(applied):
        op = operation.op
        if isinstance(op, (ops.BulkInsertOp, ChangeRowsOp)):
            continue
        if isinstance(op, ops.RenameTableOp) and op.new_table_name == name:
            name = op.table_name
            found.append(operation)
        elif name in (getattr(op, "table_name", None), getattr(op, "source_table", None)):
            found.append(operation)
    return found[::-1]
