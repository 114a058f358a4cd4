"""The part of a script that a recording did not reach: the script is called again, and what fails in it is skipped."""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any, NoReturn

from alembic import op
from alembic.operations.ops import ExecuteSQLOp, MigrateOperation
from sqlalchemy import Column
from sqlalchemy.orm import Session

NAMES = {"table_name", "column_name", "constraint_name", "index_name", "source_table", "referent_table"}
NAMES |= {"new_table_name", "modify_name", "schema"}
"""The attributes of an operation that are the name of one table, column, constraint, index or schema."""

CALLED = {*sys.stdlib_module_names, "alembic", "sqlalchemy"}
"""The packages whose functions may be called: side_effects.py refuses what these do outside of Python."""

OWN = __name__.removesuffix("review.unreached")
REWRITTEN: dict[type, str] = {
    ast.FunctionDef: "try:\n    BODY\nexcept _run.End as _end:\n    return _end.args[0]",
    ast.If: "for _taken, _is_known in _run.branches(lambda: TEST):\n    with _run.block(_is_known):\n"
    "        if _taken:\n            BODY\n        else:\n            ORELSE",
    ast.For: "for _item in _run.items(lambda: ITER):\n    with _run.block():\n        TARGET\n        BODY\nORELSE",
    ast.While: "with _run.block():\n    BODY\nORELSE",
    ast.With: "with _run.entered(lambda: ITEM) as _item:\n    TARGET\n    BODY",
    ast.Try: "with _run.block():\n    BODY\n    ORELSE\nHANDLERS\nFINALBODY",
    ast.ExceptHandler: "with _run.block():\n    BODY",
    ast.Return: "raise _run.End(_run.value_of(lambda: VALUE))",
    ast.Raise: "raise _run.End(None)",
    **dict.fromkeys((ast.Break, ast.Continue), "pass"),
}
"""What takes the place of a statement; of a function, of its body. Words in capitals stand for the parts of it."""
YIELDS = (ast.Yield, ast.YieldFrom)


class UnknownName(str):
    """A name that depends on what the script would have read; it stands for any name, or for several in a loop."""


class Unknown(str):
    """A value that depends on what the script would have read; it stands for any text, such as a column's name."""

    def __new__(cls, *_arguments: Any, **_options: Any) -> "Unknown":
        """Return a text that reads well in a message: "drops column user.unknown"."""
        return super().__new__(cls, "unknown")

    def __getattribute__(self, name: str) -> Any:
        """Return another unknown value for each attribute, so that ``row.name.lower()`` is one too."""
        return super().__getattribute__(name) if name.startswith("_") else Unknown()

    def _unknown(self, *_arguments: Any, **_options: Any) -> Any:
        return Unknown()

    def _fail(self, *_arguments: Any) -> NoReturn:
        raise TypeError("this value is unknown")

    __getitem__ = __call__ = __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = _unknown
    __bool__ = __contains__ = __hash__ = __iter__ = __len__ = _fail


def with_names(operation: MigrateOperation) -> bool:
    """Replace unknown values in the operation that are names by an UnknownName.

    Return False if anything else in it is unknown, such as a type or all of its SQL, so that it cannot be judged.
    """
    sql = getattr(operation.sqltext, "text", operation.sqltext) if isinstance(operation, ExecuteSQLOp) else None
    if isinstance(sql, str) and str(sql) == "unknown":
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


class TolerantRun:
    """A run of functions of a script in which each statement that raises one of ``errors`` is skipped.

    A variable to which such a statement assigns is Unknown. If a condition fails, because it depends on what the script
    would have read, both branches run; a loop over what fails runs once, and so does each ``while``.
    """

    class End(BaseException):
        """The end of a function, with its result; of a block only, if the script may skip that block."""

    unknown = Unknown

    def __init__(self, errors: tuple[type[BaseException], ...], is_past: Callable[[], bool]) -> None:
        self.errors = errors
        self.is_past = is_past
        """Returns True where a recording of the same functions did not come to."""
        self.unsure = 0
        self.running: set[FunctionType] = set()

    def of(self, called: Any) -> Any:
        """Return a function that skips what fails in ``called``, if its module imports ``op``; of others, ``called``.

        Past the recording, return an unknown value for a function of the app, or of a package that may reach a server
        without SQLAlchemy.
        """
        if isinstance(called, FunctionType) and any(each is op for each in called.__globals__.values()):
            is_rewritten = called.__closure__ or "_run" in called.__globals__
            return called if is_rewritten else partial(self._call, called)
        owner = getattr(called, "__self__", None)
        if isinstance(owner, Session) and not owner.is_active:  # after a flush that has failed
            owner.rollback()
        module = getattr(called, "__module__", None) or "builtins"
        is_harmless = module.partition(".")[0] in CALLED or module.startswith(OWN)
        return called if is_harmless or isinstance(called, type) or not self.is_past() else Unknown()

    def _call(self, called: FunctionType, *arguments: Any, **options: Any) -> Any:
        if called in self.running:  # else one that calls itself in both branches would not end
            return Unknown()
        self.running.add(called)
        try:
            return self._rewritten(called)(*arguments, **options)
        finally:
            self.running.discard(called)

    def _rewritten(self, called: FunctionType) -> Any:
        path = called.__code__.co_filename
        with suppress(OSError, SyntaxError, ValueError):
            for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef) and node.lineno == called.__code__.co_firstlineno:
                    variables = {**called.__globals__, "_run": self}
                    exec(compile(ast.Module(_rewritten(_Calls().visit(node)), []), path, "exec"), variables)
                    made, variables[node.name] = variables[node.name], called  # so that it calls itself by of()
                    return made
        return called

    def value_of(self, get: Callable[[], Any]) -> Any:
        """Return the value of an expression; Unknown if it fails."""
        with suppress(*self.errors):
            return get()
        return Unknown()

    def items(self, get: Callable[[], Iterable[Any]]) -> list[Any]:
        """Return the items of a collection; an unknown one if it fails."""
        found = self.value_of(lambda: list(get()))
        return found if isinstance(found, list) else [found]

    def branches(self, get: Callable[[], Any]) -> list[tuple[bool, bool]]:
        """Return the value of a condition, and True; if it fails, both values, and False."""
        found = self.value_of(lambda: bool(get()))
        return [(found, True)] if isinstance(found, bool) else [(True, False), (False, False)]

    @contextmanager
    def block(self, is_known: bool = False) -> Iterator[None]:
        """Run a block that ends the function around it only if it ``is_known`` that the script comes to it."""
        self.unsure += not is_known
        try:
            yield
        except self.End:
            if is_known:
                raise
        finally:
            self.unsure -= not is_known

    @contextmanager
    def entered(self, get: Callable[[], Any]) -> Iterator[Any]:
        """Enter a context manager, and yield what it yields; Unknown if that fails."""
        with suppress(*self.errors), ExitStack() as stack:
            yield self.value_of(lambda: stack.enter_context(get()))

    def flag(self, value: object) -> object:
        """Return a constant that the script assigns; Unknown for one such as True, if it may not come to that."""
        return Unknown() if self.unsure and not isinstance(value, str) else value


class _Calls(ast.NodeTransformer):
    """Passes the functions that are called to TolerantRun, and no parameters to SQL, which does not record them."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        """Return the call in its new form."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("execute", "exec_driver_sql"):
            node.args = node.args[:1]
        node.func = ast.Call(ast.Attribute(ast.Name("_run", ast.Load()), "of", ast.Load()), [node.func], [])
        return ast.fix_missing_locations(node)


class _Parts(ast.NodeTransformer):
    """Puts ``parts`` of a statement into a tree, in the place of their names; statements are rewritten."""

    def __init__(self, parts: dict[str, Any]) -> None:
        self.parts = parts

    def visit_Expr(self, node: ast.Expr) -> Any:
        """Return the statements for which ``node`` stands; else ``node``."""
        part = self.parts.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if isinstance(part, list):
            return [new for each in part for new in _rewritten(each)] or ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> Any:
        """Return the expression for which ``node`` stands; else ``node``."""
        return self.parts.get(node.id) or node


def _rewritten(statement: Any) -> list[ast.stmt]:
    """Return the statements that take the place of ``statement``; of a function, the same with a rewritten body."""
    kind, parts = type(statement), {name.upper(): value for name, value in ast.iter_fields(statement)}
    is_generator = kind is ast.FunctionDef and any(isinstance(each, YIELDS) for each in ast.walk(statement))
    if is_generator or kind in (ast.ClassDef, ast.Global, ast.Nonlocal):
        return [statement]
    if kind is ast.With:
        (first, *others), target = statement.items, statement.items[0].optional_vars
        parts |= {"ITEM": first.context_expr, "TARGET": _assigned(target, statement) if target else []}
        parts["BODY"] = [ast.copy_location(ast.With(others, statement.body), statement)] if others else statement.body
    if kind is ast.For:
        parts["TARGET"] = _assigned(statement.target, statement)
    if kind not in REWRITTEN:
        return [_skipped(statement)]
    body: list[ast.stmt] = _Parts(parts).visit(_parsed(REWRITTEN[kind], statement)).body
    if kind is not ast.FunctionDef:
        return body
    statement.body = body
    return [statement]


def _skipped(statement: Any) -> ast.stmt:
    """Return the statement in a ``try`` that makes the variables unknown to which it assigns."""
    targets = getattr(statement, "targets", [getattr(statement, "target", ast.Pass())])
    nodes = [node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    names = [node.id for node in nodes if isinstance(node.ctx, ast.Store)]
    tree: Any = _parsed(f"try:\n    pass\nexcept _run.errors:\n    {' = '.join([*names, '_run.unknown()'])}", statement)
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
        flag: Any = _parsed("_run.flag(0)", statement).body[0]
        flag.value.args, statement.value = [statement.value], flag.value
    tree.body[0].body = [statement]
    found: ast.stmt = tree.body[0]
    return found


def _assigned(target: ast.expr, at: ast.stmt) -> list[ast.stmt]:
    return [ast.copy_location(ast.Assign([target], ast.copy_location(ast.Name("_item", ast.Load()), at)), at)]


def _parsed(code: str, at: ast.stmt) -> ast.Module:
    """Return the syntax tree of ``code``, as if it stood on the line of ``at``."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        ast.copy_location(node, at)
    return tree
