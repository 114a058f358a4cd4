"""The tables as the revisions make them: they say what a database does not, such as the type of an enum on SQLite."""

from alembic.runtime.migration import MigrationContext

from ..adapters.products import FACTS
from ..review.known_schema import KnownSchema
from ..review.recorder import recordings
from ..review.reviewer import Review


def tables_by_revisions(context: MigrationContext, product: str) -> KnownSchema:
    """Return the tables after all revisions, as these would run on ``product``."""
    history = Review(FACTS[product](), KnownSchema(), recordings())
    for revision in [*context.script.walk_revisions()][::-1] if context.script is not None else []:
        history.pass_by(revision)
    return history.tables
