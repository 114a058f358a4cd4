"""What a revision does, as Alembic's operations: recorded from its script for a dialect, without a database."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from traceback import extract_tb
from typing import Any, NoReturn

from alembic.config import Config
from alembic.operations import Operations
from alembic.operations.base import BatchOperations
from alembic.operations.batch import BatchOperationsImpl
from alembic.operations.ops import AddColumnOp, AlterColumnOp, CreateTableOp, ExecuteSQLOp, MigrateOperation
from alembic.operations.schemaobj import SchemaObjects
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from flask import current_app, g
from sqlalchemy import Connection, Dialect, Table, inspect
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.inspection import _inspects
from sqlalchemy.types import to_instance

from ..console import only_warnings
from ..database import app_engine, name_database
from ..errors import summary
from . import side_effects


class NotInspectable(BaseException):
    """The script depends on what is in the database, would do something outside of it, or fails without one.

    It does not derive from Exception, so that a script cannot catch it as an error of its own and go on.
    """

    line = 1
    always_fails = False
    """Whether the script is wrong on any database: it calls something with wrong arguments, or by a wrong name."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch_alter_table(): its table, its other options, and all that stands in it."""

    table: str
    schema: str | None
    options: dict[str, Any]
    operations: list[MigrateOperation] = field(default_factory=list)

    @property
    def changes(self) -> list[MigrateOperation]:
        """All but SQL, which Alembic runs before it changes the table."""
        return [operation for operation in self.operations if not isinstance(operation, ExecuteSQLOp)]

    @property
    def recreate(self) -> str:
        """Whether the table is made anew: auto (if it has to be), always, never."""
        return str(self.options.get("recreate", "auto"))


@dataclass(frozen=True)
class Operation:
    """One operation, the line of the script where it stands, and whether that is in a batch or an autocommit block."""

    op: MigrateOperation
    line: int
    batch: bool = False
    autocommit: bool = False
    block: Batch | None = None
    """The batch that it is in."""
    statement: str | None = None
    """The SQL that it was read from; a statement may be several operations."""


@dataclass(frozen=True)
class Revision:
    """A script, and its operations in both ways, raw SQL among them as far as it can be read.

    Of a way that cannot be inspected, those before the line at which that ends.
    """

    script: Script
    upgrade: list[Operation]
    downgrade: list[Operation]
    not_inspectable: dict[str, NotInspectable]
    """By way."""

    directions: tuple[str, ...]
    """The directions that were recorded: upgrade, downgrade, or both."""

    @classmethod
    def of(cls, script: Script, recorder: "Recorder", *directions: str) -> "Revision":
        """Record ``directions``, upgrade or downgrade, for the dialect of ``recorder``: both, if none is given."""
        directions = directions or ("upgrade", "downgrade")
        found: dict[str, list[Operation]] = {"upgrade": [], "downgrade": []}
        reasons = {}
        for direction in directions:
            try:
                recorder.recorded(script, direction)
            except NotInspectable as reason:
                reasons[direction] = reason
            for operation in recorder.found:
                found[direction] += _translated(operation, recorder.dialect)
        return cls(script, found["upgrade"], found["downgrade"], reasons, directions)


def _translated(operation: Operation, dialect: str) -> Iterator[Operation]:
    """SQL as the operations that say the same."""
    if not isinstance(operation.op, ExecuteSQLOp):
        yield operation
        return
    from .sql import translated  # its library takes its time to load, and few scripts need it

    for op in translated(operation.op, dialect):
        yield replace(operation, op=op, statement=vars(op).get("statement"))


def made_by(operation: CreateTableOp | AddColumnOp) -> Table:
    """The table that it makes; or one that has the new column only, with what it says of constraints and indexes."""
    if isinstance(operation, AddColumnOp):  # each time, for what asks it for a CHECK of a type leaves another in it
        return SchemaObjects().table(operation.table_name, operation.column._copy(), schema=operation.schema)
    if "made" not in operation.info:  # once, for the foreign keys that stand in a column go to the first table alone
        operation.info["made"] = operation.to_table()
    made: Table = operation.info["made"]
    return made


def one_way(script: Path) -> str | None:
    """The reason that a downgrade gives which does nothing but raise, empty if it gives none; None for any other."""
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if len(body) == 1 and isinstance(body[0], ast.Raise):
                texts = [part.value for part in ast.walk(body[0]) if isinstance(part, ast.Constant)]
                return str(texts[0]) if texts else ""
    return None


def _is_mistake(failure: BaseException) -> bool:
    """Return whether the script is wrong on any database, instead of failing at a stand-in of the Recorder's."""
    raised_by = Path(extract_tb(failure.__traceback__)[-1].filename)
    stands_in = re.search(r"\b(_Unknown|_Connection|_Inspector|Mock\w+|None(Type)?)\b", str(failure))
    ours = raised_by.is_relative_to(Path(__file__).parents[1])
    return isinstance(failure, (TypeError, NameError)) and not stands_in and not ours


class Recorder:
    """Alembic's ``op``, which records operations instead of running them.

    As long as there is a ``connection``, an upgrade may inspect the database there, until it changes something.
    """

    def __init__(self, dialect: str, connection: Connection | None = None) -> None:
        self.dialect = dialect
        self.connection = connection
        self.path = self.direction = ""
        self.autocommit = False
        self.found: list[Operation] = []
        self.refused: NotInspectable | None = None
        # as_sql: nothing is asked of a connection, for there is none.
        with only_warnings():
            self.context = MigrationContext.configure(
                dialect_name=dialect,
                environment_context=_Environment(),  # type: ignore[arg-type]  # it is asked for its config alone
                opts={"as_sql": True},
            )
        vars(self.context).update(autocommit_block=self._autocommit_block)
        vars(self.context.impl).update(_exec=self._execute)  # what a script runs by op.get_context()
        self.op = Operations(self.context)  # itself, for no other class can stand behind `from alembic import op`
        vars(self.op).update(
            invoke=self._note,
            get_bind=lambda: _Connection(self.context.dialect, self._execute, self),
            batch_alter_table=self._batch_alter_table,
        )

    def recorded(self, revision: Script, direction: str) -> list[Operation]:
        """Return the operations of ``direction``: upgrade or downgrade. Raises NotInspectable with the reason.

        The script's own code runs, without side effects (side_effects.py).
        """
        self.path, self.direction, self.autocommit, self.found, self.refused = revision.path, direction, False, [], None
        failure: BaseException | None = None
        self.op._install_proxy()
        try:
            with side_effects.refused(revision.path, self._refuse):
                getattr(revision.module, direction)()
        except (Exception, SystemExit, NotInspectable) as error:
            failure = error
        finally:
            self.op._remove_proxy()
            if self.connection is not None:
                self.connection.rollback()
        if (failure := self.refused or failure) is None:  # it counts, even if the script caught it and went on
            return self.found
        reason = failure if isinstance(failure, NotInspectable) else NotInspectable(summary(failure))
        lines = [frame.lineno for frame in extract_tb(failure.__traceback__) if frame.filename == revision.path]
        reason.line = next((line for line in reversed(lines) if line), 1)
        reason.always_fails = _is_mistake(failure)
        raise reason from failure.__cause__

    @contextmanager
    def _batch_alter_table(self, table_name: str, schema: str | None = None, **options: Any) -> Iterator[Any]:
        block = Batch(table_name, schema, options)
        make: Any = BatchOperationsImpl
        batch: Any = BatchOperations(
            self.context, impl=make(self.op, table_name, schema, "never", None, (), {}, (), {}, {}, None)
        )
        autocommit = self.autocommit  # all of it runs at the end of the batch, and blocks within it have ended then
        batch.invoke = lambda operation: self._note(operation, block, autocommit)
        yield batch

    @contextmanager
    def _autocommit_block(self) -> Iterator[None]:
        before, self.autocommit = self.autocommit, True
        try:
            yield
        finally:
            self.autocommit = before

    def _execute(self, statement: Any, *_parameters: Any, **_options: Any) -> "_Unknown":
        if not getattr(statement, "is_select", False):
            self._note(ExecuteSQLOp(statement))
        return _Unknown()

    def _note(self, operation: MigrateOperation, block: Batch | None = None, autocommit: bool | None = None) -> Any:
        """What Alembic would return: the table that is made, for `op.bulk_insert()`."""
        autocommit = self.autocommit if autocommit is None else autocommit
        if isinstance(operation, AlterColumnOp):  # Alembic accepts a class as a type, too
            for name in ("modify_type", "existing_type"):
                if (type_ := getattr(operation, name)) is not None:
                    setattr(operation, name, to_instance(type_))
        self.found.append(Operation(operation, self._line(), block is not None, autocommit, block))
        if block is not None:
            block.operations.append(operation)
        return made_by(operation) if isinstance(operation, CreateTableOp) else None

    def _refuse(self, what: str) -> NoReturn:
        reason = NotInspectable(what)
        self.refused = self.refused or reason
        raise reason

    def _line(self) -> int:
        frame = sys._getframe()
        while frame.f_back is not None and frame.f_code.co_filename != self.path:
            frame = frame.f_back
        return frame.f_lineno


class _Environment:
    """The config behind `op.get_context().config`, which is read only when a script asks for it."""

    @cached_property
    def config(self) -> Config:
        config: Config = current_app.extensions["migrate"].migrate.get_config(g.get("directory"))
        name_database(config, app_engine())
        return config


class _Connection(MockConnection):
    """What `op.get_bind()` gives: SQL that it is given is taken note of, and so is the end of a transaction."""

    def __init__(self, dialect: Dialect, execute: Callable[..., Any], recorder: Recorder) -> None:
        super().__init__(dialect, execute)
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # SQLAlchemy asks whether there is such a thing
            raise AttributeError(name)
        raise NotInspectable(f"it uses more of the connection than execute() ({name})")

    def exec_driver_sql(self, statement: str, *_parameters: Any) -> "_Unknown":
        """As execute() does."""
        found: _Unknown = self._execute_impl(statement)
        return found

    def scalar(self, statement: Any, *_parameters: Any) -> Any:
        """Raises NotInspectable: it reads."""
        return self._execute_impl(statement).scalar()

    def scalars(self, statement: Any, *_parameters: Any) -> Any:
        """Raises NotInspectable: it reads."""
        return self._execute_impl(statement).scalars()

    def commit(self) -> None:
        """Noted as the statement."""
        self._execute_impl("COMMIT")

    def rollback(self) -> None:
        """Noted as the statement."""
        self._execute_impl("ROLLBACK")


@_inspects(_Connection)  # as SQLAlchemy's own classes say what inspect() gives for them
class _Inspector:
    """The real one, as long as the database is as the script finds it."""

    def __init__(self, subject: _Connection) -> None:
        self._recorder = subject._recorder

    def __getattr__(self, name: str) -> Any:
        if self._recorder.connection is None or self._recorder.direction != "upgrade" or self._recorder.found:
            raise NotInspectable(f"it inspects what will be there then ({name})")
        return getattr(inspect(self._recorder.connection), name)


class _Unknown:
    """What a statement would return: nobody knows."""

    def __getattr__(self, name: str) -> Any:
        raise NotInspectable(f"it reads what a statement returns ({name})")

    def __iter__(self) -> Iterator[Any]:
        raise NotInspectable("it reads the rows that a statement returns")

    def __bool__(self) -> bool:
        raise NotInspectable("it asks whether a statement returns something")
