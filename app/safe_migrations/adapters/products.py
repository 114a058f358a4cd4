"""The facts (facts.py) of all products. Other commands than a review need one product, and do not import this."""

from .facts import Facts
from .mysql.facts import MariaDBFacts, MySQLFacts
from .postgresql.facts import PostgreSQLFacts
from .sqlite.facts import SQLiteFacts

FACTS: dict[str, type[Facts]] = {
    facts.product: facts for facts in (SQLiteFacts, MySQLFacts, MariaDBFacts, PostgreSQLFacts)
}


def facts_of(product: str, version: tuple[int, ...]) -> Facts:
    """Return the facts about a product at ``version``; if that is empty, at its oldest maintained version."""
    return FACTS[product](version)
