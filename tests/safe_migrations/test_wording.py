"""The docstrings of functions open with a verb: pydocstyle's D401 (.ruff.toml) knows nouns, and this the rest."""

import ast

from tests.conftest import ROOT

# pydocstyle takes these for verbs.
NO_VERBS = {"how", "of", "so", "those", "what", "when", "where", "whether", "which", "while", "who", "whom"}


def test_docstrings_open_with_a_verb() -> None:
    """No function of the app opens its docstring with a word such as Whether."""
    found = [
        f"{file.relative_to(ROOT)}: {docstring.splitlines()[0]}"
        for file in (ROOT / "app").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        if (docstring := ast.get_docstring(node)) and docstring.split()[0].strip(",").lower() in NO_VERBS
    ]
    assert [] == found
