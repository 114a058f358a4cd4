"""A database that has tables of the history, but no revision: made by `db.create_all()`, by hand or by another tool."""

import re
from collections.abc import Iterable, Iterator

from alembic.operations import ops
from alembic.script import Script
from sqlalchemy import MetaData, inspect

from ..database import Database, models_metadata
from ..errors import MigrationError, first_few
from ..review.recorder import Operation, Recordings

BESIDE = re.compile(r"\s*CREATE\b[^(]*\b(IF\s+NOT\s+EXISTS|TEMP|TEMPORARY)\b", re.IGNORECASE)
"""A CREATE TABLE that does not fail if the table exists."""


def unversioned_error(scripts: Iterable[Script], database: Database, recordings: Recordings) -> MigrationError | None:
    """Return the error if a database without a revision has tables that the pending ``scripts`` create; else None.

    Tables that no script creates, such as those of another app or of an extension, do not matter.
    """
    if not database.has_tables():
        return None
    with database.read() as connection:
        inspector = inspect(connection)
        default = (None, inspector.default_schema_name)
        existing = {
            (None if schema in default else schema, name)
            for schema in database.adapter.schemas(connection)
            for name in inspector.get_table_names(schema)
        }
    created = created_tables(scripts, database, recordings)
    tables = [name for schema, name in created if (None if schema in default else schema, name) in existing]
    if not tables or database.heads():  # an upgrade that has just ended may have created them
        return None
    return MigrationError(
        f"the database has {_listed(tables)} already, which pending revisions create, but it has no revision.",
        "find the revision that the database fits, and mark it as applied; this changes nothing else:",
        "flask db adopt",
    )


def created_tables(
    scripts: Iterable[Script], database: Database, recordings: Recordings
) -> Iterator[tuple[str | None, str]]:
    """Yield schema and name of each table that the scripts create, unless they drop or rename that of this name first.

    The first script may inspect the database, as it will when it runs. CREATE TABLE IF NOT EXISTS does not count.
    """
    gone: set[tuple[str | None, str]] = set()
    connection = database.connection
    for number, script in enumerate(scripts):
        revision = recordings.of(script, database.facts.product, "upgrade", connection=None if number else connection)
        for operation in revision.reached("upgrade"):
            match operation.op:
                case ops.DropTableOp() | ops.RenameTableOp():
                    gone.add((operation.op.schema, operation.op.table_name))
                case ops.CreateTableOp() if _fails_if_it_exists(operation):
                    if (key := (operation.op.schema, operation.op.table_name)) not in gone:
                        yield key


def _fails_if_it_exists(operation: Operation) -> bool:
    skips = getattr(operation.op, "if_not_exists", None) or BESIDE.match(operation.statement or "")
    return not skips and "TEMPORARY" not in (getattr(operation.op, "prefixes", None) or ())


def _listed(tables: list[str]) -> str:
    return f"the table{'s' if len(tables) > 1 else ''} {first_few(tables)}"


def not_from_empty_error(database: Database) -> MigrationError | None:
    """Return the error about a first script that could not build an empty database; None if it could.

    The database has tables of the models, so a script that is generated from it leaves these out.
    """
    with database.read() as connection:
        existing = set(inspect(connection).get_table_names())
    metadata: MetaData = models_metadata()
    tables = sorted(existing & {table.name for table in metadata.tables.values()})
    if not tables:
        return None
    return MigrationError(
        f"the database has {_listed(tables)} already, so the first revision would leave out what these have: it could"
        " not build an empty database.",
        "write it for an empty database, and then adopt this one:",
        *begin_lines(database),
    )


def begin_lines(database: Database) -> tuple[str, str]:
    """Return the commands that write the first revision for an empty database, and adopt ``database``."""
    targets = "" if database.facts.rebuilds else f"MIGRATION_TARGETS={database.facts.product} "
    return f'DATABASE_URL=sqlite:////tmp/empty.db {targets}flask db migrate -m "Begin"', "flask db adopt"
