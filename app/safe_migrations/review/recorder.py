"""The recorder, which runs a revision script without a database and collects the Alembic operations that it calls."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from inspect import currentframe
from pathlib import Path
from traceback import extract_stack, extract_tb
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from alembic import context as environment
from alembic.config import Config
from alembic.operations import Operations
from alembic.operations.ops import AddColumnOp, AlterColumnOp, CreateTableOp, ExecuteSQLOp, MigrateOperation
from alembic.operations.schemaobj import SchemaObjects
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from flask import current_app
from sqlalchemy import URL, Connection, Dialect, Inspector, Table, TextClause, inspect
from sqlalchemy.engine import reflection
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.exc import ArgumentError, ObjectNotExecutableError
from sqlalchemy.orm import session as orm
from sqlalchemy.types import to_instance

from ..console import only_warnings
from ..database import app_engine, name_database
from ..errors import WrongArgumentError, summary
from ..folder import folder
from ..internals import copy_column, inspects
from . import side_effects
from .sql.ops import BackfillOp, CommandOp
from .unreached import call_rest, with_names


class NotInspectable(BaseException):
    """The reason why recording a script stops early, e.g. because the script reads rows, writes a file or fails.

    This class does not derive from Exception, so that a script cannot catch it with ``except Exception``.
    """

    line = 1
    fails = False
    """True if a run fails there with the same error."""
    is_error = False
    """True if the script itself raised an error, as a run may do there, too."""
    stops = True
    """False if the recording went on to the end of the script nevertheless."""


# What create_all() executes, as the names that SQLAlchemy's compilers have for it, and what of it creates a type.
CREATES_TYPE = {"create_enum_type", "create_domain_type"}
CREATES = {"create_table", "create_index", "create_sequence", "create_view", "add_constraint", *CREATES_TYPE}
CREATES |= {"set_table_comment", "set_column_comment", "set_constraint_comment"}
# The errors that end a recording.
ENDS = (Exception, SystemExit, NotInspectable)


@dataclass(frozen=True, eq=False)
class Batch:
    """One `op.batch_alter_table()` block of a script: its table, its other arguments, and the operations inside."""

    table: str
    schema: str | None
    options: dict[str, Any]
    operations: list[MigrateOperation] = field(default_factory=list)

    @property
    def changes(self) -> list[MigrateOperation]:
        """Return the operations in the block except raw SQL, which Alembic runs before it changes the table."""
        return [operation for operation in self.operations if not isinstance(operation, ExecuteSQLOp)]

    @property
    def recreate(self) -> str:
        """Return when the block rebuilds the table: "always", "never", or "auto" (the default: only if necessary)."""
        return str(self.options.get("recreate", "auto"))


@dataclass(frozen=True)
class Operation:
    """One Alembic operation of a script, and the line of the script that calls the operation.

    ``autocommit`` is True inside autocommit_block(), and on another connection that has this isolation level.
    """

    op: MigrateOperation
    line: int
    autocommit: bool = False
    block: Batch | None = None
    """The batch_alter_table() block around the operation, if there is one."""
    statement: str | None = None
    """The raw SQL statement that was translated into this operation, and maybe others; None if there is none."""
    requests: Mapping[str, str] = field(default_factory=dict)
    """The ALGORITHM and LOCK clauses of a MySQL statement, e.g. ``{"algorithm": "INPLACE", "lock": "NONE"}``."""
    elsewhere: bool = False
    """Whether the script executes it on another connection than op.get_bind()."""


@dataclass(frozen=True)
class Recording:
    """The operations recorded from one function of a script, upgrade() or downgrade().

    ``not_inspectable`` is the reason why recording stopped before the end of the function; None if it did not.
    """

    operations: list[Operation]
    not_inspectable: NotInspectable | None = None
    unreached: list[Operation] = field(default_factory=list)
    """Operations that the function may call after that: those whose arguments do not depend on what stopped it."""


NOT_RECORDED = Recording([])


@dataclass(frozen=True)
class Revision:
    """A revision script and its operations on one database product; raw SQL is translated into operations."""

    script: Script
    recordings: Mapping[str, Recording]
    """The recordings, under the keys "upgrade" and "downgrade"; a function that was not recorded has no key."""

    @cached_property
    def upgrade(self) -> list[Operation]:
        """Return the operations of upgrade(): those recorded, and those that it may call after its recording stopped.

        Return an empty list if upgrade() was not recorded.
        """
        return [*self.reached("upgrade"), *self.unreached("upgrade")]

    @cached_property
    def downgrade(self) -> list[Operation]:
        """Return the operations of downgrade(), as ``upgrade`` does."""
        return [*self.reached("downgrade"), *self.unreached("downgrade")]

    def reached(self, direction: str) -> list[Operation]:
        """Return the operations that were recorded from the function "upgrade" or "downgrade"."""
        return self.recordings.get(direction, NOT_RECORDED).operations

    def unreached(self, direction: str) -> list[Operation]:
        """Return the operations that the function "upgrade" or "downgrade" may call after its recording stopped."""
        return self.recordings.get(direction, NOT_RECORDED).unreached

    @property
    def not_inspectable(self) -> dict[str, NotInspectable]:
        """Return why a recording stopped early, by direction: ``{"upgrade": reason}``; an empty dict if none did."""
        found = {direction: recording.not_inspectable for direction, recording in self.recordings.items()}
        return {direction: reason for direction, reason in found.items() if reason is not None}


class Recordings:
    """A cache of recordings: each function of a script is recorded only once for each database product."""

    def __init__(self) -> None:
        self._recorders: dict[str, Recorder] = {}
        self._found: dict[tuple[str, str, str], Recording] = {}

    def of(self, script: Script, product: str, *directions: str, connection: Connection | None = None) -> Revision:
        """Return the script with the operations of its functions on the database product, such as mysql.

        The functions are those in ``directions``, "upgrade" or "downgrade"; if none is named, both. An upgrade() that
        is not in the cache yet may inspect the database behind ``connection`` before its first operation.
        """
        return Revision(
            script,
            {
                direction: self._recorded(script, product, direction, connection)
                for direction in directions or ("upgrade", "downgrade")
            },
        )

    def forget(self) -> None:
        """Empty this cache."""
        self._found.clear()

    def _recorded(self, script: Script, product: str, direction: str, connection: Connection | None) -> Recording:
        key = (script.path, product, direction)
        if key not in self._found:
            if product not in self._recorders:
                self._recorders[product] = Recorder(product)
            raw = self._recorders[product].record(script, direction, connection if direction == "upgrade" else None)
            self._found[key] = _read(raw, product)
        return self._found[key]


def _read(raw: Recording, product: str) -> Recording:
    """Return the recording with its raw SQL translated into operations.

    If the translation of a statement raises an error, the recording ends before that statement, and the error is the
    reason: a bug in the translation must not stop a command.
    """
    operations, bug = _translated(raw.operations, product)
    unreached = [each for operation in raw.unreached for each in _translated([operation], product)[0]]
    return Recording(operations, bug) if bug else Recording(operations, raw.not_inspectable, unreached)


def _translated(raw: list[Operation], product: str) -> tuple[list[Operation], NotInspectable | None]:
    """Return the operations with raw SQL translated, and None.

    If the translation of a statement raises an error, return those before it, and why it could not be read.
    """
    operations: list[Operation] = []
    for operation in raw:
        op = operation.op
        has_no_where = isinstance(op, BackfillOp) and not (op.bounded and op.text)
        if has_no_where or not isinstance(op, ExecuteSQLOp | BackfillOp):
            operations.append(operation)
            continue
        from .sql import translation  # its library takes its time to load, and few scripts need it

        try:
            if isinstance(op, BackfillOp):
                operations.append(replace(operation, op=replace(op, bounded=translation.is_bounded(op, product))))
                continue
            found = translation.translate(op, product)
        except Exception as error:
            bug = f"the SQL there could not be read, because of a bug in safe_migrations ({summary(error)})"
            reason = NotInspectable(bug)
            reason.line = operation.line
            return operations, reason
        operations += [
            replace(operation, op=each.op, statement=each.statement, requests=each.requests) for each in found
        ]
    return operations, None


_created: WeakKeyDictionary[CreateTableOp, Table] = WeakKeyDictionary()


def as_table(operation: CreateTableOp | AddColumnOp) -> Table:
    """Return the SQLAlchemy table that CREATE TABLE creates; for ADD COLUMN, a table with only the new column.

    For CREATE TABLE each call returns the same table, because a foreign key in a column belongs to the first table
    that gets the column. For ADD COLUMN each call returns a new table, because autogenerate changes the operation's
    column.
    """
    if isinstance(operation, AddColumnOp):
        column = copy_column(operation.column)
        return SchemaObjects().table(operation.table_name, column, schema=operation.schema)
    if operation not in _created:
        _created[operation] = operation.to_table()
    return _created[operation]


def irreversible_reason(script: Path) -> str | None:
    """Return the error message of a downgrade() that only raises an error; empty if the error has no message.

    Return None if the script has no downgrade(), or if downgrade() does anything else.
    """
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == "downgrade":
            match node.body[1:] if ast.get_docstring(node) is not None else node.body:
                case [ast.Raise() as only]:
                    texts = [part.value for part in ast.walk(only) if isinstance(part, ast.Constant)]
                    return str(texts[0]) if texts else ""
    return None


class Recorder:
    """Runs scripts without executing their SQL, and records the operations that they call, for one database product."""

    def __init__(self, product: str) -> None:
        self.product = product
        self._connection: Connection | None = None
        self._path = ""
        self._autocommit = self._elsewhere = False
        self._found: list[Operation] = []
        self._refused: NotInspectable | None = None
        self._other: NotInspectable | None = None
        with only_warnings():
            self._context = _Context(self)

    def record(self, script: Script, direction: str, connection: Connection | None = None) -> Recording:
        """Call the script's function ``direction`` ("upgrade" or "downgrade"), and return the operations that it calls.

        No SQL is executed, and side effects are refused. An error in the function is not raised: the recording ends
        there, and has the error as ``not_inspectable``. Before its first operation, the script may inspect the database
        behind ``connection``.
        """
        self._path, self._autocommit, self._elsewhere, self._found = script.path, False, False, []
        self._refused = self._other = None
        self._connection = connection
        ended: BaseException | None = None
        with Operations.context(self._context) as operations:
            # What the functions of alembic.op call, and the context has no place for.
            operations.invoke = self._note  # type: ignore[method-assign]
            operations.batch_alter_table = partial(self._batch, operations.batch_alter_table)  # type: ignore[method-assign]
            try:
                with self._confined():
                    getattr(script.module, direction)()
            except ENDS as error:
                ended = error
            # Not in the handler, where a rollback() would seem to be that of the error.
            unreached = self._unreached(ended) if ended is not None else []
        if connection is not None:
            connection.rollback()
        # A refusal counts, even if the script caught it and went on; another connection, if nothing stopped it.
        reason = self._refused or (_reason(ended) if ended is not None else self._other)
        if reason is None:
            return Recording(self._found)
        lines = [frame.lineno for frame in extract_tb(reason.__traceback__) if frame.filename == script.path]
        reason.line = next((line for line in reversed(lines) if line), reason.line)
        return Recording(self._found, reason, unreached)

    @contextmanager
    def _confined(self) -> Iterator[None]:
        """Refuse the side effects of a script that runs inside this block, and let its connections be stand-ins."""
        with side_effects.refused(self._refuse, self.other_connection), self._context.in_environment():
            yield

    def _unreached(self, failure: BaseException) -> list[Operation]:
        """Return the operations that the script may call after ``failure``."""
        reached, self._found, self._connection = self._found, [], None
        try:
            # If the rest cannot be read to its end, the review goes on with what was found in it, and warns as it does.
            with suppress(*ENDS), self._confined():
                call_rest(self._path, failure, ENDS)
            return [operation for operation in self._found if with_names(operation.op)]
        finally:
            self._found = reached

    def execute(self, statement: Any, parameters: Any = None, **_options: Any) -> "_Unknown":
        """Record the statement instead of executing it; a SELECT is not recorded.

        Return a stand-in for the result, which raises NotInspectable as soon as the script reads it.
        """
        if isinstance(statement, TextClause) and isinstance(parameters, Mapping):
            with suppress(ArgumentError):  # a parameter that the text does not have
                statement = statement.bindparams(**parameters)
        if not getattr(statement, "is_select", False):
            self._note(ExecuteSQLOp(statement))
        return _Unknown()

    def inspector(self, wanted: str) -> Inspector:
        """Return an inspector of the database, if the script has called no operation yet.

        Raise NotInspectable after the first operation, and without a database. ``wanted`` is the inspector's method
        that the script calls, for the message.
        """
        if self._connection is None or self._found:
            raise NotInspectable(
                f"the script inspects the database ({wanted}), but the review cannot know its tables at that point"
            )
        return inspect(self._connection)

    @contextmanager
    def autocommit_block(self) -> Iterator[None]:
        """Mark the operations recorded inside this block as run outside of the transaction."""
        before, self._autocommit = self._autocommit, True
        try:
            yield
        finally:
            self._autocommit = before

    @contextmanager
    def on_other_connection(self, autocommit: bool) -> Iterator[None]:
        """Mark the operations recorded inside this block as executed on another connection, maybe with autocommit."""
        before = self._autocommit, self._elsewhere
        self._autocommit, self._elsewhere = autocommit, True
        try:
            yield
        finally:
            self._autocommit, self._elsewhere = before

    @contextmanager
    def _batch(self, alter: Any, table_name: str, schema: str | None = None, **options: Any) -> Iterator[Any]:
        block = Batch(table_name, schema, options)
        autocommit = self._autocommit  # all of it runs at the end of the batch, and blocks within it have ended then
        with alter(table_name, schema, recreate="never") as batch:
            batch.invoke = lambda operation: self._note(operation, block, autocommit)
            yield batch

    def _note(self, operation: MigrateOperation, block: Batch | None = None, autocommit: bool | None = None) -> Any:
        """Record the operation; for CREATE TABLE return the table, as Alembic does, so that a script can use it."""
        autocommit = self._autocommit if autocommit is None else autocommit
        if isinstance(operation, AlterColumnOp):  # Alembic accepts a class as a type, too
            for name in ("modify_type", "existing_type"):
                if (type_ := getattr(operation, name)) is not None:
                    setattr(operation, name, to_instance(type_))
        self._found.append(Operation(operation, self._line(), autocommit, block, elsewhere=self._elsewhere))
        if block is not None:
            block.operations.append(operation)
        return as_table(operation) if isinstance(operation, CreateTableOp) else None

    def _refuse(self, what: str) -> NoReturn:
        reason = NotInspectable(what)
        self._refused = self._refused or reason
        raise reason

    def other_connection(self) -> "_OtherConnection":
        """Return the stand-in for a connection of an engine; the recording goes on, and says that there is one."""
        if self._other is None:
            self._other = NotInspectable(side_effects.OTHER_CONNECTION)
            self._other.line, self._other.stops = self._line(), False
        return _OtherConnection(self._context.dialect, self)

    def _line(self) -> int:
        frame = currentframe()
        while frame is not None and frame.f_code.co_filename != self._path:
            frame = frame.f_back
        return frame.f_lineno if frame is not None else 1


def _reason(failure: BaseException) -> NotInspectable:
    """Return the reason why a recording stopped with ``failure``, which may come from within SQLAlchemy."""
    files = {frame.filename for frame in extract_tb(failure.__traceback__)}
    reason = failure if isinstance(failure, NotInspectable) else NotInspectable(summary(failure))
    reason.is_error = reason is not failure
    if orm.__file__ in files:
        reason = NotInspectable("the script works with objects in a session, but the review executes no statements")
    elif reflection.__file__ in files:
        reason = NotInspectable("the script inspects the database, but the review cannot know its tables at that point")
    reason.fails = _is_certain(failure)
    reason.__traceback__, reason.__cause__ = failure.__traceback__, failure.__cause__
    return reason


def _is_certain(failure: BaseException) -> bool:
    """Return True if arguments of an operation or of execute() are missing or wrong, which no database changes."""
    called = re.match(r"(\w+)\(\) (missing|got|takes) ", str(failure))
    is_of_call = isinstance(failure, TypeError) and called is not None and hasattr(Operations, called[1])
    return is_of_call or isinstance(failure, ObjectNotExecutableError | WrongArgumentError)


class _Context(MigrationContext):
    """The context that `op.get_context()` returns while a script is recorded; it has a stand-in for the connection."""

    def __init__(self, recorder: Recorder) -> None:
        dialect = URL.create(recorder.product).get_dialect()()
        self._recorder = recorder
        stand_in: Any = _Connection(dialect, recorder)
        super().__init__(dialect, stand_in, {})

    @property
    def config(self) -> Config:
        """Return Flask-Migrate's Alembic config, with ``sqlalchemy.url`` set to the URL of the app's database."""
        config: Config = current_app.extensions["migrate"].migrate.get_config(folder().path)
        name_database(config, app_engine())
        return config

    @contextmanager
    def in_environment(self) -> Iterator[None]:
        """Let ``alembic.context`` return this context, in place of the running command's, or of none."""
        functions = {"get_context": lambda: self, "get_bind": lambda: self.bind, "is_offline_mode": lambda: False}
        before = {name: getattr(environment, name) for name in functions}
        vars(environment).update(functions)
        try:
            yield
        finally:
            vars(environment).update(before)

    @contextmanager
    def autocommit_block(self) -> Iterator[None]:
        """Mark the operations recorded inside this block as run outside of the transaction."""
        with self._recorder.autocommit_block():
            yield


class _Connection(MockConnection):
    """The stand-in that `op.get_bind()` returns while a script is recorded: it records SQL instead of executing it."""

    def __init__(self, dialect: Dialect, recorder: Recorder) -> None:
        super().__init__(dialect, recorder.execute)
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # SQLAlchemy asks whether there is such a thing
            raise AttributeError(name)
        raise NotInspectable(
            f"the script uses op.get_bind().{name}, but the review can only record op.get_bind().execute()"
        )

    def in_transaction(self) -> bool:
        """Return True, as in the transaction of a revision, so that Alembic does not begin another one."""
        return True

    def execution_options(self, **_options: Any) -> "_Connection":
        """Return this connection unchanged, because options do not matter for a recording."""
        return self

    def execute(self, obj: Any, parameters: Any = None, execution_options: Any = None) -> "_Unknown":
        """Record the statement instead of executing it, and return a stand-in for the result.

        Raise ObjectNotExecutableError for a text, as SQLAlchemy does.
        """
        if isinstance(obj, str):
            raise ObjectNotExecutableError(obj)
        found: _Unknown = super().execute(obj, parameters)
        return found

    def exec_driver_sql(self, statement: str, *_parameters: Any, **_options: Any) -> "_Unknown":
        """Record the statement instead of executing it, and return a stand-in for the result."""
        return self._recorder.execute(statement)

    def scalar(self, statement: Any, *_parameters: Any, **_options: Any) -> Any:
        """Record the statement, and raise NotInspectable, because it is not executed and so has no result."""
        return self.execute(statement).scalar()

    def scalars(self, statement: Any, *_parameters: Any, **_options: Any) -> Any:
        """Record the statement, and raise NotInspectable, because it is not executed and so has no result."""
        return self.execute(statement).scalars()

    def commit(self) -> None:
        """Record a COMMIT instead of executing it."""
        self._recorder.execute("COMMIT")

    def rollback(self) -> None:
        """Record a ROLLBACK instead of executing it."""
        self._recorder.execute("ROLLBACK")

    def begin_nested(self) -> "_Savepoint":
        """Return a stand-in for a savepoint: what is executed before its end is recorded, also if it rolls back."""
        return _Savepoint()

    def connect(self, **_options: Any) -> "_SessionConnection":
        """Return the connection that a session uses which the script binds to this one, or another connection."""
        if orm.__file__ not in {frame.filename for frame in extract_stack(limit=5)}:
            return self._recorder.other_connection()
        return _SessionConnection(self.dialect, self._recorder)


class _SessionConnection(_Connection):
    """The stand-in for the connection and the transaction of a session that is bound to op.get_bind().

    commit() and close() do nothing, because Alembic ends the transaction; rollback() does end it.
    """

    is_active = True

    def in_transaction(self) -> bool:
        """Return False, so that the session begins a transaction."""
        return False

    def begin(self) -> "_SessionConnection":
        """Return this connection as the transaction."""
        return self

    def commit(self) -> None:
        """Do nothing, like the session's commit() in a revision's transaction."""

    close = commit

    def rollback(self) -> None:
        """Record the ROLLBACK of the session's rollback(); not if the session calls it because of this review."""
        if not isinstance(sys.exception(), NotInspectable):
            super().rollback()


class _OtherConnection(_SessionConnection):
    """The stand-in for a connection of an engine, such as db.engine or that of db.session.

    Its rollback() does not end the revision's transaction. What create_all() creates is not recorded, because it leaves
    out what exists; except that there is such a type then.
    """

    _autocommit = False

    def execution_options(self, **options: Any) -> "_OtherConnection":
        """Return this connection, which from now on has the isolation level in ``options``, if there is one."""
        if "isolation_level" in options:
            self._autocommit = options["isolation_level"] == "AUTOCOMMIT"
        return self

    def execute(self, obj: Any, parameters: Any = None, execution_options: Any = None) -> "_Unknown":
        """Record the statement instead of executing it, and return a stand-in for the result."""
        kind = getattr(obj, "__visit_name__", None)
        with self._recorder.on_other_connection(self._autocommit):
            if kind in CREATES_TYPE:
                sql = str(obj.compile(dialect=self.dialect))
                self._recorder._note(CommandOp("CREATE TYPE IF NOT EXISTS", obj.element.name, text=sql))
            return _Unknown() if kind in CREATES else super().execute(obj, parameters)

    def exec_driver_sql(self, statement: str, *_parameters: Any, **_options: Any) -> "_Unknown":
        """Record the statement instead of executing it, and return a stand-in for the result."""
        with self._recorder.on_other_connection(self._autocommit):
            return super().exec_driver_sql(statement)

    def __enter__(self) -> "_OtherConnection":
        """Return this connection, also as its own transaction."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Do nothing."""

    def rollback(self) -> None:
        """Do nothing: this is not the transaction of the revision."""


class _Savepoint(nullcontext[None]):
    """The stand-in for a savepoint."""

    is_active = True

    def commit(self) -> None:
        """Do nothing."""

    rollback = close = commit


class _Inspector:
    """The inspector that `sa.inspect(op.get_bind())` returns while a script is recorded."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        """Return the dialect, which does not depend on the database."""
        return self._connection.dialect

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection._recorder.inspector(name), name)


inspects(_Connection, _Inspector)


class _Unknown:
    """A stand-in for the result of a statement that was recorded, not executed; reading it raises NotInspectable."""

    def __getattr__(self, name: str) -> Any:
        raise NotInspectable(f"the script reads the result of a statement ({name}), but the review executes none")

    def __iter__(self) -> Iterator[Any]:
        raise NotInspectable("the script reads the rows of a statement, but the review executes no statements")

    def __bool__(self) -> bool:
        raise NotInspectable("the script tests whether a statement has a result, but the review executes no statements")
