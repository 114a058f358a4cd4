"""The part of a script that a recording did not reach, read as a syntax tree: each call in it is tried by itself."""

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from traceback import walk_tb
from types import FrameType, FunctionType, MethodType, TracebackType
from typing import Any

from alembic import op
from alembic.operations import BatchOperations
from alembic.operations.ops import ExecuteSQLOp, MigrateOperation
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, Engine
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.orm import Session, scoped_session

Errors = tuple[type[BaseException], ...]
PACKAGE = Path(__file__).parents[1]
EXPRESSION = "<module>"
"""The name of the frame in which an expression is evaluated."""
COMPARABLE = (str, tuple, list, set)
"""The types of values with which a condition may compare a text."""
REACHES_DATABASE = (BatchOperations, MockConnection, Session, scoped_session, Engine, SQLAlchemy)
"""The classes of what executes SQL, besides ``op``."""
NAMES = {"table_name", "column_name", "constraint_name", "index_name", "source_table", "referent_table"}
NAMES |= {"new_table_name", "modify_name", "schema"}
"""The attributes of an operation that are the name of one table, column, constraint, index or schema."""


class UnknownName(str):
    """A name that depends on what the script would have read; it stands for any name, or for several in a loop."""


class Unknown(str):
    """A value that depends on what the script would have read; it stands for any text, such as a column's name."""

    def __new__(cls) -> "Unknown":
        """Return a text that reads well in a message: "drops column user.unknown"."""
        return super().__new__(cls, "unknown")

    def __getattribute__(self, name: str) -> Any:
        """Return another unknown value for each attribute, so that ``row.name.lower()`` is one too."""
        return super().__getattribute__(name) if name.startswith("_") else Unknown()

    def __getitem__(self, _key: Any) -> "Unknown":
        """Return another unknown value."""
        return Unknown()

    def __call__(self, *_arguments: Any, **_options: Any) -> "Unknown":
        """Return another unknown value."""
        return Unknown()

    def __iter__(self) -> Any:
        """Raise TypeError, because the number of items is unknown."""
        raise TypeError("the items of this value are unknown")


def with_names(operation: MigrateOperation) -> bool:
    """Replace unknown values in the operation that are names by an UnknownName.

    Return False if anything else in it is unknown, such as a type or all of its SQL, so that it cannot be judged.
    """
    if isinstance(operation, ExecuteSQLOp) and getattr(operation.sqltext, "text", operation.sqltext) == Unknown():
        return False
    for name, value in vars(operation).items():
        if isinstance(value, Unknown) and name in NAMES:
            setattr(operation, name, UnknownName(value))
        elif isinstance(value, Unknown) and name.startswith("existing_"):
            setattr(operation, name, False if name == "existing_server_default" else None)
        elif _is_unknown(value):
            return False
    return True


def _is_unknown(value: Any) -> bool:
    if isinstance(value, Column):
        return isinstance(value.name, Unknown) or isinstance(value.type, Unknown)
    if isinstance(value, list | tuple):
        return any(map(_is_unknown, value))
    return isinstance(value, Unknown)


def call_rest(path: str, failure: BaseException, errors: Errors) -> None:
    """Evaluate what may change the database behind the line on which the script at ``path`` failed.

    That may be an expression that names ``op``, a batch, op.get_bind() or a session of it, and a call of a function of
    the script, or of a module that imports ``op``. Each is evaluated alone, with the variables that the script had when
    it failed. A variable that depends on anything else, such as on a row that the script would have read, is Unknown;
    an expression that fails with that, raising one of ``errors``, is left out. Loop bodies are tried once, and all
    branches, except where a condition is known, such as a comparison of the dialect's name. The rest of the function
    that failed comes first, then that of its caller.
    """
    _Rests(path, errors).call(failure.__traceback__, 0)


class _Rests:
    """The unreached parts of the functions that failed; a function that calls itself is read once."""

    def __init__(self, path: str, errors: Errors) -> None:
        self.path = path
        self.errors = errors
        self.functions: dict[str, list[ast.FunctionDef]] = {}
        self.active: set[ast.FunctionDef] = set()

    def call(self, traceback: TracebackType | None, script_line: int) -> None:
        """Call the rests of the functions in ``traceback``, which the script called on ``script_line``."""
        rests: dict[ast.FunctionDef, _Rest] = {}
        for frame, line in walk_tb(traceback):
            path = frame.f_code.co_filename
            if frame.f_code.co_name == EXPRESSION or not (path == self.path or _is_helper(frame)):
                continue
            if path == self.path:
                script_line = line
            if line >= max(at or 0 for *_, at in frame.f_code.co_lines()):  # nothing stands behind it
                continue
            around = [each for each in self.functions_of(path) if each.lineno <= line <= (each.end_lineno or 0)]
            for function in sorted(around, key=lambda each: each.lineno)[-1:]:
                names = {**frame.f_globals, **frame.f_locals}
                rests.setdefault(function, _Rest(self, function, line, names, script_line))
        for function, rest in reversed(rests.items()):
            if function not in self.active:
                self.active.add(function)
                rest.call(function.body)
                self.active.discard(function)

    def functions_of(self, path: str) -> list[ast.FunctionDef]:
        """Return all functions in a file; an empty list if it cannot be read."""
        if path not in self.functions:
            nodes: Iterable[ast.AST] = ()
            with suppress(OSError, SyntaxError, ValueError):
                nodes = ast.walk(ast.parse(Path(path).read_text(encoding="utf-8")))
            self.functions[path] = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        return self.functions[path]

    def is_own(self, value: Any) -> bool:
        """Return True for a function or method of the script, or of a module that imports ``op``, or one of ``op``."""
        value = value.func if isinstance(value, partial) else value
        value = value.__func__ if isinstance(value, MethodType) else value
        return isinstance(value, FunctionType) and (
            value.__code__.co_filename == self.path
            or _has_op(value.__globals__)
            or getattr(op, value.__name__, None) is value
        )


class _Rest:
    """The rest of a function after ``line``, in which ``names`` has the values of variables.

    Errors in it, and its operations, are those of ``script_line`` if the function is in another module.
    """

    def __init__(
        self, rests: _Rests, function: ast.FunctionDef, line: int, names: dict[str, Any], script_line: int
    ) -> None:
        self.rests = rests
        self.line = line
        self.names = names
        self.script_line = None if function in rests.functions_of(rests.path) else script_line
        self.stored = Counter(_assigned(function))
        for name in self.stored:
            names.setdefault(name, Unknown())

    def call(self, statements: Iterable[ast.stmt]) -> bool:
        """Evaluate the calls and assignments in ``statements``, and in the statements inside them.

        Return True if the function returns there.
        """
        for statement in statements:
            if (statement.end_lineno or 0) <= self.line or isinstance(statement, ast.ClassDef):
                continue
            if isinstance(statement, ast.FunctionDef):
                self._define(statement)
                continue
            if isinstance(statement, ast.Return | ast.Raise):
                if isinstance(statement, ast.Return) and statement.value is not None:
                    self._call(statement.value)
                return True
            if isinstance(statement, ast.Expr) and statement.lineno > self.line:
                self._call(statement.value)
            elif isinstance(statement, ast.For) and statement.lineno > self.line:
                self._call_for_each(statement)
            elif isinstance(statement, ast.Assign) and statement.lineno > self.line:
                self._assign(statement)
            elif isinstance(statement, ast.With):
                if self._call_within(statement):
                    return True
            elif isinstance(statement, ast.If) and statement.lineno > self.line and self._is_known(statement.test):
                if self.call(statement.body if self._evaluated(statement.test) else statement.orelse):
                    return True
            else:
                self._call_inside(statement)
        return False

    def _call_inside(self, statement: ast.stmt) -> None:
        """Evaluate each block of a compound statement: both branches of an ``if``, unless it failed in the first."""
        body: list[ast.stmt] = getattr(statement, "body", [])
        self.call(body)
        if not (isinstance(statement, ast.If) and body[0].lineno <= self.line <= (body[-1].end_lineno or 0)):
            self.call(getattr(statement, "orelse", ()))
        self.call(getattr(statement, "finalbody", ()))
        for block in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            self.call(block.body)

    def _is_known(self, condition: ast.expr) -> bool:
        """Return True for a condition that only compares texts, each assigned once, such as the dialect's name."""
        if isinstance(condition, ast.BoolOp):
            return all(map(self._is_known, condition.values))
        if isinstance(condition, ast.UnaryOp):
            return isinstance(condition.op, ast.Not) and self._is_known(condition.operand)
        if not isinstance(condition, ast.Compare):
            return isinstance(condition, ast.Name) and isinstance(self._value(condition), bool)
        with suppress(*self.rests.errors):
            others = map(self._value, condition.comparators)
            return isinstance(self._value(condition.left), str) and all(isinstance(each, COMPARABLE) for each in others)
        return False

    def _value(self, expression: ast.expr) -> Any:
        """Return the value of an expression; None if it depends on an unknown or changing variable."""
        changing = any(isinstance(node, ast.Name) and self.stored[node.id] > 1 for node in ast.walk(expression))
        return None if changing or self._depends_on_unknown(expression) else self._evaluated(expression)

    def _depends_on_unknown(self, expression: ast.expr) -> bool:
        names = (node.id for node in ast.walk(expression) if isinstance(node, ast.Name))
        return any(isinstance(self.names.get(name), Unknown) for name in names)

    def _call(self, expression: ast.expr) -> None:
        """Evaluate an expression if it may change the database.

        It may if it names ``op``, a batch, the connection or a session, or calls a function of the script.
        """
        values = [self._bound(node) for node in ast.walk(expression)]
        for session in (each for each in values if isinstance(each, Session) and not each.is_active):
            session.rollback()  # after a flush that has failed
        if any(each is op or isinstance(each, REACHES_DATABASE) for each in values):
            self._tried(_without_parameters(expression))
        elif self.rests.is_own(self._function(expression)):
            self._tried(expression)

    def _define(self, function: ast.FunctionDef) -> None:
        """Define a function inside the one that is read; its body has the variables of that."""
        with suppress(*self.rests.errors):
            exec(compile(ast.Module([function], []), self.rests.path, "exec"), self.names)

    def _bound(self, expression: ast.AST) -> Any:
        return self.names.get(expression.id) if isinstance(expression, ast.Name) else None

    def _function(self, expression: ast.expr) -> Any:
        """Return the function that an expression such as ``helpers.add("x")`` calls; None for any other expression."""
        if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name | ast.Attribute):
            with suppress(*self.rests.errors):
                return self._evaluated(expression.func)
        return None

    def _tried(self, expression: ast.expr) -> Any:
        """Return the value of an expression; Unknown if it cannot be evaluated, or is a number that may be another.

        If it fails in a function, the rest of that is read too.
        """
        try:
            value = self._evaluated(expression)
        except self.rests.errors as error:
            self.rests.call(error.__traceback__, self.script_line or expression.lineno)
            return Unknown()
        return Unknown() if isinstance(value, int) and self._depends_on_unknown(expression) else value

    def _call_for_each(self, loop: ast.For) -> None:
        """Call the body for each item of a collection; once, with an unknown item, for anything else."""
        items = self._tried(loop.iter)
        targets = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        if isinstance(items, Collection) and not isinstance(items, str) and len(names) == len(targets):
            for item in list(items):
                values = item if isinstance(loop.target, ast.Tuple) else (item,)
                self._forget(loop.target)
                self.names.update(zip(names, values, strict=False) if isinstance(values, tuple | list) else ())
                self.call(loop.body)
            return
        self._forget(loop.target)
        self.call([*loop.body, *loop.orelse])

    def _assign(self, statement: ast.Assign) -> None:
        value = self._tried(statement.value)
        for target in statement.targets:
            self._forget(target)
            if isinstance(target, ast.Name):
                self.names[target.id] = value

    def _forget(self, target: ast.expr) -> None:
        """Make the variables to which a statement assigns unknown."""
        self.names.update((name, Unknown()) for name in _assigned(target))

    def _call_within(self, statement: ast.With) -> bool:
        """Do what call() does for the body of a ``with``, inside those of its context managers that are known."""
        with suppress(*self.rests.errors), ExitStack() as entered:  # leaving one may fail too: a session then flushes
            for item in statement.items:
                with suppress(*self.rests.errors):
                    value = entered.enter_context(self._evaluated(item.context_expr))
                    if isinstance(item.optional_vars, ast.Name):
                        self.names[item.optional_vars.id] = value
            return self.call(statement.body)
        return False

    def _evaluated(self, expression: ast.expr) -> Any:
        """Return the value of an expression, which raises its errors on the script's line (see the class)."""
        if self.script_line is not None:
            for node in ast.walk(expression):
                if isinstance(node, ast.expr):
                    node.lineno = node.end_lineno = self.script_line
                    node.col_offset = node.end_col_offset = 0
        return eval(compile(ast.Expression(expression), self.rests.path, "eval"), self.names)


def _is_helper(frame: FrameType) -> bool:
    """Return True for a function of a module that imports ``op``, or of one of the app that gets ``op`` or the like."""
    path = Path(frame.f_code.co_filename)
    if PACKAGE in path.parents:
        return False
    given = () if {"site-packages", "dist-packages"} & {*path.parts} else frame.f_locals.values()
    return _has_op(frame.f_globals) or any(each is op or isinstance(each, REACHES_DATABASE) for each in given)


def _has_op(names: dict[str, Any]) -> bool:
    """Return True for the variables of a module that imports ``op``; not every value can be compared with ``==``."""
    return any(value is op for value in names.values())


def _without_parameters(expression: ast.expr) -> ast.expr:
    """Return the call of ``execute()`` without parameters, which are not recorded, and may be unknown."""
    if not (isinstance(expression, ast.Call) and isinstance(expression.func, ast.Attribute)):
        return expression
    if expression.func.attr not in ("execute", "exec_driver_sql") or expression.keywords or len(expression.args) < 2:
        return expression
    return ast.copy_location(ast.Call(expression.func, expression.args[:1], []), expression)


def _assigned(tree: ast.AST) -> Iterator[str]:
    """Yield the variables to which a function or the target of an assignment assigns, once for each time."""
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
