"""The facts of each product: what a review loads, and no other command."""

from .facts import Facts
from .mysql.facts import MariaDBFacts, MySQLFacts
from .postgresql.facts import PostgreSQLFacts
from .sqlite.facts import SQLiteFacts

FACTS: dict[str, type[Facts]] = {
    facts.product: facts for facts in (SQLiteFacts, MySQLFacts, MariaDBFacts, PostgreSQLFacts)
}


def facts_of(product: str, version: tuple[int, ...]) -> Facts:
    """Return the facts of a product at ``version``, or at any version if that is empty."""
    return FACTS[product](version)
