"""Fixtures: ``engine``; ``in_app``; ``review`` without a database, ``review_on`` one with rows, ``operating`` on one,
in a transaction that is left open; and what the tests of rules have in common.
"""

import re
from collections.abc import Callable, Iterator
from textwrap import indent

import flask_migrate
import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import Connection, Engine, create_engine, text

from app.extensions import db, migrate
from app.safe_migrations.adapters.products import FACTS
from app.safe_migrations.database import Database
from app.safe_migrations.review.findings import Finding
from app.safe_migrations.review.recorder import Recordings
from app.safe_migrations.review.reviewer import review_pending, review_revisions
from tests.conftest import FIRST, Project, revision

on_mysql = pytest.mark.parametrize("backend", ["mysql"], indirect=True)
on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
on_servers = pytest.mark.parametrize("backend", ["mysql", "postgresql"], indirect=True)
Review = Callable[[str, str], list[Finding]]
ReviewOn = Callable[..., list[Finding]]
Operating = tuple[Connection, Operations]


@pytest.fixture
def in_app(app_on: Callable[[str], Flask]) -> Iterator[None]:
    """Push an app's context: rules ask for its naming convention."""
    with app_on("sqlite:////nowhere/at/all.db").app_context():
        yield


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """Yield an engine for the database."""
    engine = create_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def review(project: Project, app_on: Callable[[str], Flask]) -> Iterator[Review]:
    """Reviews a script that follows the first one, as RULES.md shows it: all of it, or the body of upgrade()."""

    def run(code: str, product: str) -> list[Finding]:
        script = ScriptDirectory.from_config(migrate.get_config(str(project.path / "migrations")))
        project.write("migrations/versions/a1.py", script_of(code))
        history = list(script.walk_revisions())[::-1]
        return review_revisions(history, {"a1"}, FACTS[product](), Recordings())

    with app_on("sqlite:////nowhere/at/all.db").app_context():
        yield run


def script_of(code: str) -> str:
    """The whole script: it has one way, but what RULES.md shows."""
    head = f"import sqlalchemy as sa\nfrom alembic import op\n\nrevision = 'a1'\ndown_revision = {FIRST!r}\n\n"
    if not re.search(r"^(def|safety_assured|from app)\b", code, re.MULTILINE):
        code = f"def upgrade():\n{indent(code, '    ')}"
    directions = {"upgrade": "pass", "downgrade": "raise NotImplementedError"}
    missing = [
        f"\n\ndef {direction}():\n    {body}\n"
        for direction, body in directions.items()
        if f"def {direction}(" not in code
    ]
    return head + code + "".join(missing)


def found(findings: list[Finding], code: str) -> list[Finding]:
    """Those of one rule."""
    return [finding for finding in findings if finding.code == code]


def levels(findings: list[Finding], code: str) -> list[str]:
    """Of the findings of one rule."""
    return [finding.level.value for finding in found(findings, code)]


@pytest.fixture
def at_first(database: str, project: Project, app_on: Callable[[str], Flask]) -> Iterator[None]:
    """An app on a database with the table ``user``, and a user, its context pushed."""
    with app_on(database).app_context():
        flask_migrate.upgrade(directory=str(project.path / "migrations"), revision=FIRST)
        execute("INSERT INTO {user} (id, username, email) VALUES (1, 'alice', 'a@b')")
        yield


@pytest.fixture
def review_on(at_first: None, project: Project) -> ReviewOn:
    """Reviews a script that comes next, on the database with what ``statements`` made of it."""

    def run(up: str, *statements: str, down: str = "raise NotImplementedError") -> list[Finding]:
        execute(*statements)
        project.write(*revision("a1", FIRST, up, down))
        history = ScriptDirectory.from_config(migrate.get_config(str(project.path / "migrations")))
        with db.engine.connect() as connection:
            return review_pending([history.get_revision("a1")], Database(connection), Recordings())

    return run


@pytest.fixture
def operating(at_first: None) -> Iterator[Operating]:
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
