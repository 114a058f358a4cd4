"""The objects that earlier revisions made: scripts say what a database does not, such as an enum's type on SQLite."""

from collections.abc import Iterator
from contextlib import suppress

from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from ..adapters.products import FACTS
from ..review.known_schema import KnownSchema
from ..review.recorder import Operation, made_by, recordings


def tables_by_revisions(context: MigrationContext, product: str) -> KnownSchema:
    """Return the tables after all revisions, as these would run on ``product``."""
    tables = KnownSchema(FACTS[product]())
    for operation in _operations(context, product):
        with suppress(Exception):  # a review of that revision warns of it
            tables.follow(operation)
    return tables


def indexes_by_revisions(context: MigrationContext) -> set[str]:
    """Return the names of what the revisions created as indexes, and not as unique constraints.

    On the database at hand, or on SQLite, where an index is renamed by creating it again.
    """
    return _indexes(context, context.dialect.name) | _indexes(context, "sqlite")


def _indexes(context: MigrationContext, product: str) -> set[str]:
    names: set[str] = set()
    for operation in _operations(context, product):
        match operation.op:
            case ops.CreateIndexOp() as op:
                names.add(str(op.index_name))
            case ops.CreateUniqueConstraintOp() as op:
                names.discard(str(op.constraint_name))
            case ops.CreateTableOp() | ops.AddColumnOp() as op:
                names |= {str(index.name) for index in made_by(op).indexes}
    return names


def _operations(context: MigrationContext, product: str) -> Iterator[Operation]:
    for script in [*context.script.walk_revisions()][::-1] if context.script is not None else []:
        yield from recordings().of(script, product, "upgrade").upgrade
