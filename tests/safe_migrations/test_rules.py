"""Each rule fires on the Bad of the README, and is silent on its Good, on every database that it is for."""

import re
from collections.abc import Callable, Iterator
from textwrap import indent

import pytest
from alembic.script import ScriptDirectory
from flask import Flask

from app.extensions import migrate
from app.safe_migrations.adapters.products import FACTS
from app.safe_migrations.findings import Finding
from app.safe_migrations.review import review_revisions
from app.safe_migrations.rules import RULES
from tests.conftest import FIRST, ROOT, Project

README = (ROOT / "app" / "safe_migrations" / "README.md").read_text()
SECTIONS = dict(re.findall(r"^### `([a-z0-9-]+)`\n(.*?)(?=^###? )", README, re.MULTILINE | re.DOTALL))
CASES = [
    pytest.param(rule.code, product, id=f"{rule.code}-{product}")
    for rule in RULES.values()
    for product, facts in FACTS.items()
    if rule.applies(facts())
]


@pytest.fixture
def review(project: Project, app_on: Callable[[str], Flask]) -> Iterator[Callable[[str, str], list[Finding]]]:
    """Reviews a script that follows the first one, as its README shows it: all of it, or the body of upgrade()."""

    def run(code: str, product: str) -> list[Finding]:
        script = ScriptDirectory.from_config(migrate.get_config(str(project.path / "migrations")))
        project.write("migrations/versions/a1.py", script_of(code))
        history = list(script.walk_revisions())[::-1]
        return review_revisions(history, {"a1"}, FACTS[product]())

    with app_on("sqlite:////nowhere/at/all.db").app_context():
        yield run


def script_of(code: str) -> str:
    """The whole script: it has one way, but what the README shows."""
    head = f"import sqlalchemy as sa\nfrom alembic import op\n\nrevision = 'a1'\ndown_revision = {FIRST!r}\n\n"
    if not re.search(r"^(def|safety_assured|from app)\b", code, re.MULTILINE):
        code = f"def upgrade():\n{indent(code, '    ')}"
    ways = {"upgrade": "pass", "downgrade": "raise NotImplementedError"}
    missing = [f"\n\ndef {way}():\n    {body}\n" for way, body in ways.items() if f"def {way}(" not in code]
    return head + code + "".join(missing)


def pair(code: str) -> tuple[str, str]:
    """Bad and Good of a rule."""
    bad, good = re.findall(r"^```python\n(.*?)^```$", SECTIONS[code], re.MULTILINE | re.DOTALL)
    return bad, good


def test_catalogue() -> None:
    """Each rule is in the README, with its level, and each section there has a rule."""
    assert {code: rule.level.value for code, rule in RULES.items()} == {
        code: re.findall(r"(?i)\b(blocks|warns)\b", text)[0].lower() for code, text in SECTIONS.items()
    }


@pytest.mark.parametrize(("code", "product"), CASES)
def test_rule(review: Callable[[str, str], list[Finding]], code: str, product: str) -> None:
    """It fires on its Bad with words and a way out, and not on its Good, which nothing else blocks either."""
    bad, good = pair(code)
    found = [finding for finding in review(bad, product) if finding.code == code]
    assert found, review(bad, product)
    for finding in found:
        assert finding.message.startswith("revision a1 ")
        assert finding.message.endswith(f" ({code}).")
        assert "\n    " in finding.instead
    found = review(good, product)
    assert [] == [finding for finding in found if finding.code == code or finding.stops]
