"""Each rule fires on its Bad in RULES.md, and is silent on its Good, on every database that it is for."""

import re

import pytest

from ..adapters.products import FACTS
from ..review.rules import RULES
from .support import PACKAGE, Review

SECTIONS = dict(re.findall(r"^## `([a-z0-9-]+)`\n(.*?)(?=^## |\Z)", (PACKAGE / "RULES.md").read_text(), re.M | re.S))
SILENT = {("inline-references-ignored", "mariadb")}  # only before 10.5, which is no longer maintained
CASES = [
    pytest.param(rule.code, product, id=f"{rule.code}-{product}")
    for rule in RULES.values()
    for product, facts in FACTS.items()
    if rule.applies(facts()) and (rule.code, product) not in SILENT
]


def pair(code: str) -> tuple[str, str]:
    """Bad and Good of a rule."""
    bad, good = re.findall(r"^```python\n(.*?)^```$", SECTIONS[code], re.MULTILINE | re.DOTALL)
    return bad, good


def test_catalogue() -> None:
    """Each rule has a section, and a row in the README's table, with its level (that of the first with a code)."""
    levels = {rule.code: rule.level.value for rule in reversed(RULES.values())}
    sections = {code: re.findall(r"(?i)\b(blocks|warns)\b", text)[0].lower() for code, text in SECTIONS.items()}
    rows = re.findall(r"^\| \[`([a-z0-9-]+)`\]\(RULES.md#\1\) \| (\w+) \|", (PACKAGE / "README.md").read_text(), re.M)
    assert (levels, levels, len(levels)) == (sections, dict(rows), len(rows))


@pytest.mark.parametrize(("code", "product"), CASES)
def test_rule(review: Review, code: str, product: str) -> None:
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
