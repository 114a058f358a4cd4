"""Where the models and the database differ."""

from alembic import context
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from .console import only_warnings
from .errors import differences


def drift(migration_context: MigrationContext) -> list[str]:
    """``["add_table pet"]``: what would make the database what the models say. To be called while env.py runs."""
    with only_warnings():
        return differences(compare_metadata(migration_context, context.get_context().opts["target_metadata"]))
