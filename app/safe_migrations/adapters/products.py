"""The facts of each product: what a review loads, and no other command."""

import re

from sqlalchemy import Connection

from ..errors import MigrationError
from .base import Adapter
from .facts import Facts
from .mysql.facts import MariaDBFacts, MySQLFacts
from .postgresql.facts import PostgreSQLFacts
from .sqlite.facts import SQLiteFacts

FACTS: dict[str, type[Facts]] = {
    facts.product: facts for facts in (SQLiteFacts, MySQLFacts, MariaDBFacts, PostgreSQLFacts)
}


def facts_at(adapter: Adapter, connection: Connection) -> Facts:
    """The facts of the database behind ``connection``."""
    product, version = adapter.version(connection)
    return FACTS[product](tuple(map(int, version.split("."))))


def facts_of(target: str, setting: str = "MIGRATION_TARGETS") -> Facts:
    """The facts of a product, and of the lowest version if one is given: ``mysql``, ``mysql>=8.0.16``.

    Raises MigrationError for anything else, by the name of the ``setting`` that has it.
    """
    found = re.fullmatch(r"\s*(?P<product>\w+)\s*(?:>=\s*(?P<version>\d+(?:\.\d+)*))?\s*", target)
    product = {"postgres": "postgresql"}.get(found["product"], found["product"]) if found else ""
    if found is None or product not in FACTS:
        raise MigrationError(
            f"{setting} names {target.strip()!r}, which is no target of a review.",
            f"name some of {', '.join(FACTS)}, with the lowest version or without:",
            f"flask db review {setting} 'mysql>=8.0'" if setting.startswith("-") else f"export {setting}='mysql>=8.0'",
        )
    return FACTS[product](tuple(map(int, found["version"].split("."))) if found["version"] else ())
