"""The docstrings of functions open with a verb: pydocstyle's D401 (.ruff.toml) knows nouns, and this the rest."""

import ast

from tests.conftest import ROOT

# No verb opens with these, which pydocstyle accepts. This folder is still to be reworded.
NO_VERBS = {"how", "of", "so", "those", "what", "when", "where", "whether", "which", "while", "who", "whom"}
UNWORDED = ("adapters/mysql",)


def test_docstrings_open_with_a_verb() -> None:
    """No function of the app opens its docstring with a word such as Whether."""
    app = ROOT / "app"
    found = [
        f"{file.relative_to(app)}: {docstring.splitlines()[0]}"
        for file in app.rglob("*.py")
        if not any(file.is_relative_to(app / "safe_migrations" / folder) for folder in UNWORDED)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        if (docstring := ast.get_docstring(node)) and docstring.split()[0].strip(",").lower() in NO_VERBS
    ]
    assert [] == found
