"""What a revision does, as Alembic's operations: recorded from its script for a dialect, without a database."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from alembic.operations import Operations
from alembic.operations.base import BatchOperations
from alembic.operations.batch import BatchOperationsImpl
from alembic.operations.ops import CreateTableOp, ExecuteSQLOp, MigrateOperation
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from sqlalchemy import create_engine
from sqlalchemy.engine.mock import MockConnection

from app.safe_migrations.database import replaced_by
from app.safe_migrations.errors import summary


class NotInspectable(Exception):  # noqa: N818  # the name of the finding
    """What the script does depends on what is in the database, or it fails without one."""


@dataclass(frozen=True)
class Operation:
    """One operation, the line of the script where it stands, and whether that is in a batch or an autocommit block."""

    op: MigrateOperation
    line: int
    batch: bool = False
    autocommit: bool = False


def recorded(revision: Script, way: str, dialect: str) -> list[Operation]:
    """The operations of ``way`` (upgrade or downgrade) on that dialect. Raises NotInspectable with the reason.

    The script's own code runs, with an ``op`` that takes note; neither its connection nor ``db.session`` reaches a
    database.
    """
    recorder = _Recorder(revision.path, dialect)
    recorder.op._install_proxy()
    try:
        with replaced_by(create_engine("sqlite://", creator=_refuse)):
            getattr(revision.module, way)()
    except NotInspectable:
        raise
    except Exception as error:
        raise NotInspectable(summary(error)) from error
    finally:
        recorder.op._remove_proxy()
    return recorder.found


class _Recorder:
    """Alembic's ``op``, but it takes note instead of doing."""

    def __init__(self, path: str, dialect: str) -> None:
        self.path = path
        self.autocommit = False
        self.found: list[Operation] = []
        # as_sql: nothing is asked of a connection, for there is none.
        self.context = MigrationContext.configure(dialect_name=dialect, opts={"as_sql": True})
        vars(self.context).update(autocommit_block=self._autocommit_block)
        self.op = Operations(self.context)  # itself, for no other class can stand behind `from alembic import op`
        vars(self.op).update(
            invoke=self._note,
            get_bind=lambda: MockConnection(self.context.dialect, self._execute),
            batch_alter_table=self._batch_alter_table,
        )

    @contextmanager
    def _batch_alter_table(self, table_name: str, schema: str | None = None, **_options: Any) -> Iterator[Any]:
        make: Any = BatchOperationsImpl
        batch: Any = BatchOperations(
            self.context, impl=make(self.op, table_name, schema, "never", None, (), {}, (), {}, {}, None)
        )
        batch.invoke = lambda operation: self._note(operation, batch=True)
        yield batch

    @contextmanager
    def _autocommit_block(self) -> Iterator[None]:
        before, self.autocommit = self.autocommit, True
        try:
            yield
        finally:
            self.autocommit = before

    def _execute(self, statement: Any, _parameters: Any = None) -> "_Unknown":
        if not getattr(statement, "is_select", False):
            self._note(ExecuteSQLOp(statement))
        return _Unknown()

    def _note(self, operation: MigrateOperation, batch: bool = False) -> Any:
        """What Alembic would return: the table that is made, for `op.bulk_insert()`."""
        self.found.append(Operation(operation, self._line(), batch, self.autocommit))
        return operation.to_table(self.context) if isinstance(operation, CreateTableOp) else None

    def _line(self) -> int:
        frame = sys._getframe()
        while frame.f_back is not None and frame.f_code.co_filename != self.path:
            frame = frame.f_back
        return frame.f_lineno


class _Unknown:
    """What a statement would return: nobody knows."""

    def __getattr__(self, name: str) -> Any:
        raise NotInspectable(f"it reads what a statement returns ({name})")

    def __iter__(self) -> Iterator[Any]:
        raise NotInspectable("it reads the rows that a statement returns")

    def __bool__(self) -> bool:
        raise NotInspectable("it asks whether a statement returns something")


def _refuse() -> Any:
    raise NotInspectable("it uses another connection than op.get_bind()")
