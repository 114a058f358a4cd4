"""The history, every revision of it, on every backend: nothing here needs a change when a revision is added."""

import flask_migrate
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import Connection, inspect
from sqlalchemy.dialects.postgresql.base import PGInspector

from app.extensions import db, migrate


def history() -> ScriptDirectory:
    """The revision scripts."""
    return ScriptDirectory.from_config(migrate.get_config())


def schema() -> dict[str, object]:
    """The schema of the app's database."""
    with db.engine.connect() as connection:
        return schema_of(connection)


def schema_of(connection: Connection) -> dict[str, object]:
    """What the database says that it has, but for the tables of Alembic and of safe_migrations."""
    inspector = inspect(connection)
    read = (
        inspector.get_columns,
        inspector.get_indexes,
        inspector.get_unique_constraints,
        inspector.get_foreign_keys,
        inspector.get_check_constraints,
    )
    found: dict[str, object] = {
        table: [inspector.get_pk_constraint(table), *(sorted(map(repr, of(table))) for of in read)]
        for table in inspector.get_table_names()
        if table != "alembic_version" and not table.startswith("_migration_")
    }
    views = {view: inspector.get_view_definition(view) for view in inspector.get_view_names()}
    enums = inspector.get_enums() if isinstance(inspector, PGInspector) else []
    return {**found, "views": views, "enums": enums}


def test_to_base_and_back(upgraded_app: Flask) -> None:
    """The whole history at once, down to an empty database."""
    at_head = schema()
    flask_migrate.downgrade(revision="base")
    assert {"views": {}, "enums": []} == schema()
    flask_migrate.upgrade()
    assert at_head == schema()


def test_one_head(empty_app: Flask) -> None:
    """Two heads: `flask db merge -m "Merge heads" heads`."""
    assert 1 == len(history().get_heads())


def test_models_and_migrations_agree(upgraded_app: Flask) -> None:
    """A difference: `flask db migrate -m "..."` writes the revision that is missing."""
    flask_migrate.check()
