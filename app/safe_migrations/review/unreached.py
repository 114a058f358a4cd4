"""The part of a script that a recording did not reach, read as a syntax tree: each call in it is tried by itself."""

import ast
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from traceback import walk_tb
from types import FunctionType
from typing import Any

from alembic import op
from alembic.operations import BatchOperations
from sqlalchemy.engine.mock import MockConnection

Errors = tuple[type[BaseException], ...]


def call_rest(path: str, failure: BaseException, errors: Errors) -> None:
    """Make the calls of ``op``, of batches and of op.get_bind() behind the line on which the script at ``path`` failed.

    Also call the script's own functions, which make such calls. Each call is evaluated alone, with the variables that
    the script had when it failed. A call that needs anything else, such as a row that the script would have read,
    raises one of ``errors`` and is left out. All branches and loop bodies are tried, once. The rest of the function
    that failed comes first, then that of the function that called it.
    """
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    stopped: dict[ast.FunctionDef, tuple[int, dict[str, Any]]] = {}
    for frame, line in walk_tb(failure.__traceback__):
        if frame.f_code.co_filename == path:
            around = [each for each in functions if each.lineno <= line <= (each.end_lineno or 0)]
            for function in sorted(around, key=lambda each: each.lineno)[-1:]:
                stopped.setdefault(function, (line, {**frame.f_globals, **frame.f_locals}))
    for function, (line, names) in reversed(stopped.items()):
        _Rest(path, line, names, errors).call(function.body)


class _Rest:
    """The rest of a function after ``line``; ``names`` gets the variables in it whose values can be evaluated."""

    def __init__(self, path: str, line: int, names: dict[str, Any], errors: Errors) -> None:
        self.path = path
        self.line = line
        self.names = names
        self.errors = errors

    def call(self, statements: Iterable[ast.stmt]) -> None:
        """Evaluate the calls and assignments in ``statements``, and in the statements inside them."""
        for statement in statements:
            if (statement.end_lineno or 0) <= self.line or isinstance(statement, ast.FunctionDef | ast.ClassDef):
                continue
            if isinstance(statement, ast.Expr) and statement.lineno > self.line:
                self._call(statement.value)
            elif isinstance(statement, ast.For) and statement.lineno > self.line:
                self._call_for_each(statement)
            elif isinstance(statement, ast.Assign) and statement.lineno > self.line:
                self._assign(statement)
            elif isinstance(statement, ast.With):
                self._call_within(statement)
            else:
                for inner in ast.iter_child_nodes(statement):
                    if isinstance(inner, ast.stmt):
                        self.call([inner])
                    elif isinstance(inner, ast.ExceptHandler | ast.match_case):
                        self.call(inner.body)

    def _call(self, expression: ast.expr) -> None:
        root: ast.AST = expression
        while isinstance(root, ast.Attribute | ast.Call):
            root = root.func if isinstance(root, ast.Call) else root.value
        value = self.names.get(root.id) if isinstance(root, ast.Name) else None
        own = isinstance(value, FunctionType) and value.__code__.co_filename == self.path
        if own or value is op or isinstance(value, BatchOperations | MockConnection):
            with suppress(*self.errors):
                self._evaluated(expression)

    def _call_for_each(self, loop: ast.For) -> None:
        """Call the body for each item of a tuple or list; once, with an unknown item, for anything else."""
        items: Any = None
        with suppress(*self.errors):
            items = self._evaluated(loop.iter)
        if isinstance(loop.target, ast.Name):
            self.names.pop(loop.target.id, None)
            if isinstance(items, tuple | list):
                for item in items:
                    self.names[loop.target.id] = item
                    self.call(loop.body)
                return
        self.call([*loop.body, *loop.orelse])

    def _assign(self, statement: ast.Assign) -> None:
        for target in statement.targets:
            if isinstance(target, ast.Name):
                self.names.pop(target.id, None)
                with suppress(*self.errors):
                    self.names[target.id] = self._evaluated(statement.value)

    def _call_within(self, statement: ast.With) -> None:
        with ExitStack() as entered:
            for item in statement.items:
                with suppress(*self.errors):
                    value = entered.enter_context(self._evaluated(item.context_expr))
                    if isinstance(item.optional_vars, ast.Name):
                        self.names[item.optional_vars.id] = value
            self.call(statement.body)

    def _evaluated(self, expression: ast.expr) -> Any:
        return eval(compile(ast.Expression(expression), self.path, "eval"), self.names)
