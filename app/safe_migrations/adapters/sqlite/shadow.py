"""What a batch would lose of its table: it is run on a copy in memory, without rows, and watched as an upgrade is."""

import warnings
from collections.abc import Sequence
from copy import copy
from typing import Any

from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, StaticPool, create_engine
from sqlalchemy.exc import CompileError

from ...errors import MigrationError, summary
from ...review.recorder import Batch, Operation
from .rebuilds import Rebuilds, not_made
from .table_texts import is_read_whole


def refusal(connection: Connection | None, applied: Sequence[Operation], batch: Batch) -> tuple[str, str] | None:
    """What stands in the way, and what to do instead; None if nothing does, or the copy cannot be made."""
    if connection is not None and connection.dialect.name != "sqlite":  # a review for other databases than this one
        return None
    name = next((each.op.table_name for each in applied if isinstance(each.op, ops.RenameTableOp)), batch.table)
    objects = _objects(connection, name, whole=any(operation.statement for operation in applied))
    plain = objects and all(
        is_read_whole(sql) for kind, on, sql in objects if kind != "table" or on.lower() == name.lower()
    )
    if plain and _adds_nothing(batch) and all(_adds_nothing(operation.op) for operation in applied):
        return None  # as most do; a rebuild in memory takes as long as that of an empty table
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        with warnings.catch_warnings(), engine.connect() as shadow:
            warnings.simplefilter("ignore")
            _make(shadow, objects, applied)
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


CONCERNING = """
 AND (tbl_name = ?1 COLLATE NOCASE
 OR (type = 'table' AND name COLLATE NOCASE IN (SELECT "table" FROM pragma_foreign_key_list(?1)))
 OR EXISTS (SELECT 1 FROM sqlite_master WHERE type IN ('view', 'trigger') AND tbl_name <> ?1 COLLATE NOCASE
  AND instr(lower(sql), lower(?1))))
"""


def _objects(connection: Connection | None, table: str, whole: bool) -> list[tuple[str, str, str]]:
    """Return type, table and statement of the table's objects and of the tables that it refers to; of the ``whole``
    schema if so, or if a view or another table's trigger names the table.
    """
    if connection is None:
        return []
    try:
        found = connection.exec_driver_sql(
            "SELECT type, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
            f"{'' if whole else CONCERNING} ORDER BY type = 'trigger', type = 'view', type = 'index'",
            () if whole else (table,),
        )
        return [(str(kind), str(on), str(sql)) for kind, on, sql in found]
    finally:
        connection.rollback()


def _adds_nothing(change: Batch | ops.MigrateOperation) -> bool:
    """Return True if the change adds no column or constraint, and changes no more than types, NOT NULL and names."""
    match change:
        case Batch():
            return change.options.keys() <= {"recreate"} and all(map(_adds_nothing, change.operations))
        case ops.AlterColumnOp():
            types = (change.modify_type, change.existing_type)
            return change.modify_server_default is False and not any(
                getattr(type_, "create_constraint", False) or getattr(type_, "collation", None) for type_ in types
            )
        case ops.CreateIndexOp():
            return not change.kw and all(isinstance(column, str) for column in change.columns)
    return isinstance(change, (ops.DropIndexOp, ops.DropColumnOp, ops.RenameTableOp))


def _make(shadow: Connection, objects: list[tuple[str, str, str]], applied: Sequence[Operation]) -> None:
    """Create the objects of the database, and apply what earlier operations did to the table."""
    shadow.exec_driver_sql("PRAGMA foreign_keys=OFF")
    for *_, text in objects:
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
