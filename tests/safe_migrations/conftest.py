"""Fixtures: ``review_on`` a database with rows, and ``operating`` on one, in a transaction that is left open."""

from collections.abc import Callable, Iterator

import flask_migrate
import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import Connection, text

from app.extensions import db, migrate
from app.safe_migrations.adapters import adapter_of
from app.safe_migrations.findings import Finding
from app.safe_migrations.review import review_pending
from tests.conftest import FIRST, Project, revision


@pytest.fixture
def at_first(database: str, project: Project, app_on: Callable[[str], Flask]) -> Iterator[None]:
    """An app on a database with the table ``user``, and a user, its context pushed."""
    with app_on(database).app_context():
        flask_migrate.upgrade(directory=str(project.path / "migrations"), revision=FIRST)
        execute("INSERT INTO {user} (id, username, email) VALUES (1, 'alice', 'a@b')")
        yield


@pytest.fixture
def review_on(at_first: None, project: Project) -> Callable[..., list[Finding]]:
    """Reviews a script that comes next, on the database with what ``statements`` made of it."""

    def run(up: str, *statements: str, down: str = "raise NotImplementedError") -> list[Finding]:
        execute(*statements)
        project.write(*revision("a1", FIRST, up, down))
        history = ScriptDirectory.from_config(migrate.get_config(str(project.path / "migrations")))
        with db.engine.connect() as connection:
            return review_pending([history.get_revision("a1")], adapter_of(db.engine), connection)

    return run


@pytest.fixture
def operating(at_first: None) -> Iterator[tuple[Connection, Operations]]:
    """The connection, and operations that run on it."""
    with db.engine.connect() as connection:
        yield connection, Operations(MigrationContext.configure(connection, opts={"target_metadata": db.metadata}))


def execute(*statements: str) -> None:
    """Run and commit them; ``{user}`` is that name, as the database quotes it."""
    user = db.engine.dialect.identifier_preparer.quote("user")
    with db.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement.replace("{user}", user)))


def locks(connection: Connection, table: str) -> set[str]:
    """The modes in which the transaction has locked the table, on PostgreSQL."""
    query = "SELECT mode FROM pg_locks WHERE granted AND pid = pg_backend_pid() AND relation = CAST(:name AS regclass)"
    return set(connection.scalars(text(query), {"name": db.engine.dialect.identifier_preparer.quote(table)}))
