"""The structure of the package: no import cycles, one meaning per file name, no stray lazy imports or private names."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

from .support import PACKAGE

FILES = [file for file in PACKAGE.rglob("*.py") if not {"template", "tests"} & set(file.relative_to(PACKAGE).parts)]

# Where a function imports what a web server, or a run with nothing to do, does without (commands/group.py).
LAZY = (
    "__init__.py",
    "commands/*.py",
    "guard.py",
    "plan.py",
    "database.py",
    "autogenerate/directives.py",
    "review/rules/constraints.py",
    "review/rules/suggestions.py",
    "adapters/*/adapter.py",
    "review/recorder.py",
)


@cache
def tree(file: Path) -> ast.Module:
    """Return the syntax tree of ``file``."""
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(node: ast.AST, in_function: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield each import that runs, and whether it is inside a function; those for type checkers do not run."""
    blocks = (getattr(node, name, None) for name in ("body", "orelse", "finalbody", "handlers", "cases"))
    for child in chain.from_iterable(block for block in blocks if isinstance(block, list)):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, in_function
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from imports(child, in_function or isinstance(child, ast.FunctionDef))


@cache
def found_in(file: Path) -> list[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Return the imports of ``file``."""
    return list(imports(tree(file)))


def imported(file: Path, node: ast.ImportFrom) -> Iterator[Path]:
    """Yield the files of the package that a relative import loads, except for the __init__.py above ``file``."""
    folder = file.parents[node.level - 1].joinpath(*(node.module or "").split(".")) if node.level else None
    for name in [alias.name for alias in node.names] if folder else []:
        assert folder
        choices = (
            folder / f"{name}.py",
            folder / name / "__init__.py",
            folder.with_suffix(".py"),
            folder / "__init__.py",
        )
        yield from [choice for choice in choices if choice.is_file() and choice != file][:1]


def test_no_import_cycle() -> None:
    """No module imports one that imports it, be it through others or inside a function."""
    graph = {
        file: {each for node, _ in found_in(file) if isinstance(node, ast.ImportFrom) for each in imported(file, node)}
        for file in FILES
    }
    assert sum(map(len, graph.values())) > 200
    TopologicalSorter(graph).prepare()  # raises a CycleError that names the modules


def test_one_meaning_per_file_name() -> None:
    """Two modules share a name only if they do the same for two databases."""
    files = [file for file in FILES if file.name != "__init__.py"]
    outside = [file.name for file in files if not file.is_relative_to(PACKAGE / "adapters")]
    inside = {file.name for file in files if file.is_relative_to(PACKAGE / "adapters")}
    shared = {name for name in outside if outside.count(name) > 1 or name in inside}
    assert {"lock.py"} == shared  # which waits for the lock of an adapter


def test_imports_inside_functions() -> None:
    """Only the modules that the policy names import inside functions; and sqlglot, wherever SQL is read."""
    found = {
        f"{file.relative_to(PACKAGE)}: {ast.unparse(node)}"
        for file in FILES
        if not any(file.relative_to(PACKAGE).match(pattern) for pattern in LAZY)
        for node, in_function in found_in(file)
        if in_function and not ast.unparse(node).startswith("from sqlglot")
    }
    assert set() == found


def test_commands_print_by_one_function() -> None:
    """Only console.py prints, because its echo() adds -d to lines to paste."""
    printing = [file for file in FILES if re.search(r"\bclick\.s?echo\(|\bprint\(", file.read_text(encoding="utf-8"))]
    assert [PACKAGE / "console.py"] == printing


def test_private_names_of_dependencies() -> None:
    """Only internals.py uses names with an underscore that this package does not define."""
    nodes = [(file, node) for file in FILES for node in ast.walk(tree(file))]
    own = {node.name for _, node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for _, node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    used = [(file, node.attr) for file, node in nodes if isinstance(node, ast.Attribute)]
    used += [(file, alias.name) for file, node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    found = {
        f"{file.relative_to(PACKAGE)}: {name}"
        for file, name in used
        if name.startswith("_") and not name.startswith("__") and name not in own and file.name != "internals.py"
    }
    assert set() == found
