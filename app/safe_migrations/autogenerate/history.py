"""The tables that earlier revisions made: scripts say what a database does not, such as an enum's type on SQLite."""

from contextlib import suppress

from alembic.runtime.migration import MigrationContext

from ..adapters.products import FACTS
from ..review.known_schema import KnownSchema
from ..review.recorder import recordings


def tables_by_revisions(context: MigrationContext, product: str) -> KnownSchema:
    """Return the tables after all revisions, as these would run on ``product``."""
    tables = KnownSchema(FACTS[product]())
    for script in [*context.script.walk_revisions()][::-1] if context.script is not None else []:
        for operation in recordings().of(script, product, "upgrade").upgrade:
            with suppress(Exception):  # a review of that revision warns of it
                tables.follow(operation)
    return tables
