"""The first words of docstrings: pydocstyle's D401 (.ruff.toml) holds functions to a verb, and this does the rest."""

import ast

from .support import PACKAGE
from .test_structure import tree

# pydocstyle takes these for verbs; and what a class or a module is, is a noun.
CLAUSES = {"how", "of", "so", "those", "what", "when", "where", "whether", "which", "while", "who", "whom"}


def test_no_docstring_opens_with_a_clause() -> None:
    """No module, class or function of the app has a docstring that opens with a word such as Whether."""
    found = [
        f"{file.relative_to(PACKAGE)}: {docstring.splitlines()[0]}"
        for file in PACKAGE.rglob("*.py")
        if "tests" not in file.relative_to(PACKAGE).parts
        for node in ast.walk(tree(file))
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)
        if (docstring := ast.get_docstring(node)) and docstring.split()[0].strip(",").lower() in CLAUSES
    ]
    assert [] == found
