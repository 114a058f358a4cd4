"""The operations of a revision, Alembic's own: recorded from its script for one product, without a database."""

import ast
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from traceback import extract_tb, walk_stack
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from alembic.config import Config
from alembic.operations import Operations
from alembic.operations.ops import AddColumnOp, AlterColumnOp, CreateTableOp, ExecuteSQLOp, MigrateOperation
from alembic.operations.schemaobj import SchemaObjects
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from flask import current_app, g
from sqlalchemy import URL, Connection, Dialect, Inspector, Table, inspect
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.types import to_instance

from ..console import only_warnings
from ..database import app_engine, name_database
from ..errors import summary
from ..internals import copy_column, inspects
from . import side_effects


class NotInspectable(BaseException):
    """The script depends on what is in the database, changes something outside of it, or fails without a database.

    It does not derive from Exception, so that a script cannot catch it as an error of its own and go on.
    """

    line = 1


@dataclass(frozen=True, eq=False)
class Batch:
    """One `op.batch_alter_table()`: its table, its other options, and the operations in it."""

    table: str
    schema: str | None
    options: dict[str, Any]
    operations: list[MigrateOperation] = field(default_factory=list)

    @property
    def changes(self) -> list[MigrateOperation]:
        """Return the operations without raw SQL, which Alembic runs before it changes the table."""
        return [operation for operation in self.operations if not isinstance(operation, ExecuteSQLOp)]

    @property
    def recreate(self) -> str:
        """Return whether the table is rebuilt: auto (if it has to be), always or never."""
        return str(self.options.get("recreate", "auto"))


@dataclass(frozen=True)
class Operation:
    """One operation and the line of the script that calls it, and whether that is in a batch or an autocommit block."""

    op: MigrateOperation
    line: int
    batch: bool = False
    autocommit: bool = False
    block: Batch | None = None
    """The batch that the operation is in."""
    statement: str | None = None
    """The SQL statement that the operation was read from; a statement may be several operations."""
    requests: Mapping[str, str] = field(default_factory=dict)
    """How SQL asks MySQL to run it: ``{"algorithm": "INPLACE", "lock": "NONE"}``."""


@dataclass(frozen=True)
class Recording:
    """The operations of one function of a script, up to the line at which it cannot be inspected, if there is one."""

    operations: list[Operation]
    not_inspectable: NotInspectable | None = None


NOT_RECORDED = Recording([])


@dataclass(frozen=True)
class Revision:
    """A script, and what it does on one product, raw SQL among it as far as that can be read."""

    script: Script
    recordings: Mapping[str, Recording]
    """By direction: upgrade, downgrade, or both."""

    @property
    def upgrade(self) -> list[Operation]:
        """Return the operations of upgrade(), as far as they were recorded."""
        return self.recordings.get("upgrade", NOT_RECORDED).operations

    @property
    def downgrade(self) -> list[Operation]:
        """Return the operations of downgrade(), as far as they were recorded."""
        return self.recordings.get("downgrade", NOT_RECORDED).operations

    @property
    def not_inspectable(self) -> dict[str, NotInspectable]:
        """Return the reason for each direction that cannot be inspected to its end."""
        found = {direction: recording.not_inspectable for direction, recording in self.recordings.items()}
        return {direction: reason for direction, reason in found.items() if reason is not None}


class Recordings:
    """The operations of revisions, recorded once for each direction and product."""

    def __init__(self) -> None:
        self._recorders: dict[str, Recorder] = {}
        self._found: dict[tuple[str, int, str, str], Recording] = {}

    def of(self, script: Script, product: str, *directions: str, connection: Connection | None = None) -> Revision:
        """Return what the functions ``directions`` of a script do on ``product``; both functions, if none is named.

        An upgrade that is recorded now may inspect the database behind ``connection``, until it changes something.
        """
        return Revision(
            script,
            {
                direction: self._recorded(script, product, direction, connection)
                for direction in directions or ("upgrade", "downgrade")
            },
        )

    def _recorded(self, script: Script, product: str, direction: str, connection: Connection | None) -> Recording:
        key = (script.path, Path(script.path).stat().st_mtime_ns, product, direction)
        if key not in self._found:
            if product not in self._recorders:
                self._recorders[product] = Recorder(product)
            raw = self._recorders[product].record(script, direction, connection if direction == "upgrade" else None)
            self._found[key] = _read(raw, product)
        return self._found[key]


def _read(raw: Recording, product: str) -> Recording:
    """Return the recording with its SQL read, up to the SQL at which the reader fails: a bug stops no command."""
    operations: list[Operation] = []
    for operation in raw.operations:
        if not isinstance(operation.op, ExecuteSQLOp):
            operations.append(operation)
            continue
        from .sql.translation import translate  # its library takes its time to load, and few scripts need it

        try:
            found = translate(operation.op, product)
        except Exception as error:
            reason = NotInspectable(f"reading its SQL failed, which is a bug in this package ({summary(error)})")
            reason.line = operation.line
            return Recording(operations, reason)
        operations += [
            replace(operation, op=each.op, statement=each.statement, requests=each.requests) for each in found
        ]
    return replace(raw, operations=operations)


def recordings() -> Recordings:
    """Return what this command has recorded without a database; it is forgotten with the application context."""
    if "recordings" not in g:
        g.recordings = Recordings()
    found: Recordings = g.recordings
    return found


_created: WeakKeyDictionary[CreateTableOp, Table] = WeakKeyDictionary()


def as_table(operation: CreateTableOp | AddColumnOp) -> Table:
    """Return the table that ``operation`` creates; or one of the new column only, with its constraints and indexes.

    The table is the same each time, for a foreign key that stands in a column goes to the first table that gets the
    column. That of a new column is another one each time: to ask it for the CHECK of a type leaves another in it.
    """
    if isinstance(operation, AddColumnOp):
        column = copy_column(operation.column)
        return SchemaObjects().table(operation.table_name, column, schema=operation.schema)
    if operation not in _created:
        _created[operation] = operation.to_table()
    return _created[operation]


def irreversible_reason(script: Path) -> str | None:
    """Return the reason that a downgrade() gives if all it does is raise, which may be empty; None for any other."""
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if len(body) == 1 and isinstance(body[0], ast.Raise):
                texts = [part.value for part in ast.walk(body[0]) if isinstance(part, ast.Constant)]
                return str(texts[0]) if texts else ""
    return None


class Recorder:
    """Records the operations of scripts, for one product, in the place of the database that would run them."""

    def __init__(self, product: str) -> None:
        self.product = product
        self._connection: Connection | None = None
        self._path = ""
        self._autocommit = False
        self._found: list[Operation] = []
        self._refused: NotInspectable | None = None
        with only_warnings():
            self._context = _Context(self)

    def record(self, script: Script, direction: str, connection: Connection | None = None) -> Recording:
        """Run ``direction``, upgrade or downgrade, of the script, without side effects, and return what it does.

        The script may inspect the database behind ``connection``, until it changes something.
        """
        self._path, self._autocommit, self._found, self._refused = script.path, False, [], None
        self._connection = connection
        failure: BaseException | None = None
        with Operations.context(self._context) as operations:
            # What the functions of alembic.op call, and the context has no place for.
            operations.invoke = self._note  # type: ignore[method-assign]
            operations.batch_alter_table = partial(self._batch, operations.batch_alter_table)  # type: ignore[method-assign]
            try:
                with side_effects.refused(self._refuse):
                    getattr(script.module, direction)()
            except (Exception, SystemExit, NotInspectable) as error:
                failure = error
        if connection is not None:
            connection.rollback()
        if (failure := self._refused or failure) is None:  # it counts, even if the script caught it and went on
            return Recording(self._found)
        reason = failure if isinstance(failure, NotInspectable) else NotInspectable(summary(failure))
        lines = [frame.lineno for frame in extract_tb(failure.__traceback__) if frame.filename == script.path]
        reason.line = next((line for line in reversed(lines) if line), 1)
        reason.__cause__ = failure.__cause__
        return Recording(self._found, reason)

    def execute(self, statement: Any, *_parameters: Any, **_options: Any) -> "_Unknown":
        """Record a statement that the script runs on its connection; of a SELECT the result is not known."""
        if not getattr(statement, "is_select", False):
            self._note(ExecuteSQLOp(statement))
        return _Unknown()

    def inspector(self, wanted: str) -> Inspector:
        """Return an inspector of the database, while that is as the script finds it.

        Raise NotInspectable, with the name of what is ``wanted`` of it, afterwards and without a database.
        """
        if self._connection is None or self._found:
            raise NotInspectable(f"it inspects what will be there then ({wanted})")
        return inspect(self._connection)

    @contextmanager
    def autocommit_block(self) -> Iterator[None]:
        """Mark what is recorded inside as run outside of the transaction."""
        before, self._autocommit = self._autocommit, True
        try:
            yield
        finally:
            self._autocommit = before

    @contextmanager
    def _batch(self, alter: Any, table_name: str, schema: str | None = None, **options: Any) -> Iterator[Any]:
        block = Batch(table_name, schema, options)
        autocommit = self._autocommit  # all of it runs at the end of the batch, and blocks within it have ended then
        with alter(table_name, schema, recreate="never") as batch:
            batch.invoke = lambda operation: self._note(operation, block, autocommit)
            yield batch

    def _note(self, operation: MigrateOperation, block: Batch | None = None, autocommit: bool | None = None) -> Any:
        """Record the operation, and return what Alembic would: the table that it creates, for `op.bulk_insert()`."""
        autocommit = self._autocommit if autocommit is None else autocommit
        if isinstance(operation, AlterColumnOp):  # Alembic accepts a class as a type, too
            for name in ("modify_type", "existing_type"):
                if (type_ := getattr(operation, name)) is not None:
                    setattr(operation, name, to_instance(type_))
        self._found.append(Operation(operation, self._line(), block is not None, autocommit, block))
        if block is not None:
            block.operations.append(operation)
        return as_table(operation) if isinstance(operation, CreateTableOp) else None

    def _refuse(self, what: str) -> NoReturn:
        reason = NotInspectable(what)
        self._refused = self._refused or reason
        raise reason

    def _line(self) -> int:
        return next((line for frame, line in walk_stack(None) if frame.f_code.co_filename == self._path), 1)


class _Context(MigrationContext):
    """The result of `op.get_context()` while a script is recorded; it has a stand-in for the connection."""

    def __init__(self, recorder: Recorder) -> None:
        dialect = URL.create(recorder.product).get_dialect()()
        self._recorder = recorder
        stand_in: Any = _Connection(dialect, recorder)
        super().__init__(dialect, stand_in, {})

    @property
    def config(self) -> Config:
        """Return the config of the command, which is read only when a script uses it."""
        config: Config = current_app.extensions["migrate"].migrate.get_config(g.get("directory"))
        name_database(config, app_engine())
        return config

    @contextmanager
    def autocommit_block(self) -> Iterator[None]:
        """Mark what is recorded inside as run outside of the transaction."""
        with self._recorder.autocommit_block():
            yield


class _Connection(MockConnection):
    """The result of `op.get_bind()` while a script is recorded: SQL and the end of a transaction are recorded."""

    def __init__(self, dialect: Dialect, recorder: Recorder) -> None:
        super().__init__(dialect, recorder.execute)
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # SQLAlchemy asks whether there is such a thing
            raise AttributeError(name)
        raise NotInspectable(f"it uses more of the connection than execute() ({name})")

    def in_transaction(self) -> bool:
        """Return True: the transaction is the revision's, and Alembic begins no other."""
        return True

    def execution_options(self, **_options: Any) -> "_Connection":
        """Return this connection: options change nothing that is recorded."""
        return self

    def exec_driver_sql(self, statement: str, *_parameters: Any) -> "_Unknown":
        """Record a statement, as execute() does."""
        return self._recorder.execute(statement)

    def scalar(self, statement: Any, *_parameters: Any) -> Any:
        """Raise NotInspectable: the result is not known."""
        return self._recorder.execute(statement).scalar()

    def scalars(self, statement: Any, *_parameters: Any) -> Any:
        """Raise NotInspectable: the result is not known."""
        return self._recorder.execute(statement).scalars()

    def commit(self) -> None:
        """Record the statement."""
        self._recorder.execute("COMMIT")

    def rollback(self) -> None:
        """Record the statement."""
        self._recorder.execute("ROLLBACK")


class _Inspector:
    """The result of `sa.inspect(op.get_bind())` while a script is recorded."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection._recorder.inspector(name), name)


inspects(_Connection, _Inspector)


class _Unknown:
    """The result of a statement that was recorded, and not run."""

    def __getattr__(self, name: str) -> Any:
        raise NotInspectable(f"it reads what a statement returns ({name})")

    def __iter__(self) -> Iterator[Any]:
        raise NotInspectable("it reads the rows that a statement returns")

    def __bool__(self) -> bool:
        raise NotInspectable("it asks whether a statement returns something")
