"""SQL as words: what is a statement, a name, a string or a comment, on each database."""

import pytest

from ..adapters.products import FACTS
from ..adapters.sql_words import Words, statements


def words(text: str, product: str = "postgresql") -> Words:
    """The one statement of a text."""
    (found,) = statements(text, FACTS[product]())
    return found


@pytest.mark.parametrize(
    ("product", "text", "expected"),
    [
        ("sqlite", "SELECT ';' -- ; \n; DROP TABLE [a;b]", ["SELECT ';'", "DROP TABLE [a;b]"]),
        ("mysql", "DELETE FROM a # ;\n; DELETE FROM `b;`", ["DELETE FROM a", "DELETE FROM `b;`"]),
        ("mysql", "/*!50000 DROP TABLE a */; /* DROP TABLE b */", ["DROP TABLE a"]),
        ("postgresql", "DO $x$ BEGIN; END $x$; SELECT 1", ["DO $x$ BEGIN; END $x$", "SELECT 1"]),
        ("mysql", "BEGIN NOT ATOMIC SELECT 1; END; SELECT 2", ["BEGIN NOT ATOMIC SELECT 1; END", "SELECT 2"]),
        ("postgresql", " ; ", []),
    ],
)
def test_statements(product: str, text: str, expected: list[str]) -> None:
    """Semicolons in strings, names, comments and routines separate nothing; MySQL runs some comments."""
    assert expected == [each.text.strip() for each in statements(text, FACTS[product]())]


def test_keywords() -> None:
    """Quoted names and strings leave their place empty, so that a phrase cannot match what they contain."""
    assert "ALTER TABLE  DROP B DEFAULT " == words("alter table \"drop\" drop b default 'x'").keywords


def test_parts() -> None:
    """Commas and parentheses are taken apart at their own level."""
    found = words("(a, f(b, c)), d")
    group = found.group()
    assert group is not None
    assert (["a", "f(b, c)"], ", d") == ([part.text for part in group[0]], group[1].text)
    assert ["(a, f(b, c))", "d"] == [part.text for part in found.parts()]
    assert words("a (b").group() is words("(a").group() is None


@pytest.mark.parametrize(
    ("product", "text", "expected"),
    [
        ("postgresql", 'Public."User" x', ("User", None)),
        ("postgresql", "S.A", ("a", "s")),
        ("mysql", "S.A (b)", ("A", "S")),
        ("sqlite", "main.[a b]", ("a b", None)),
        ("sqlite", "'a'", None),
        ("sqlite", "a.", None),
    ],
)
def test_name(product: str, text: str, expected: tuple[str, str | None] | None) -> None:
    """PostgreSQL folds names without quotes; the default schema is None."""
    assert expected == words(text, product).name()
