"""Fixtures: ``app``, ``client`` and ``runner`` on a database at head of each backend, which keeps nothing of a test;
``empty_app`` and ``upgraded_app`` on one of their own.

SQLite is always there. MySQL or MariaDB, and PostgreSQL, are tested where these name a server, with a user that may
create databases; the tests drop those that they create.

    TEST_MYSQL_URL=mysql://root@127.0.0.1:3306  TEST_POSTGRESQL_URL=postgresql://postgres@127.0.0.1:5432
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import flask_migrate
import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import URL, create_engine, make_url, text

from app import create_app
from app.extensions import db, migrate
from config import TestConfig, database_url

SERVERS = {"mysql": "TEST_MYSQL_URL", "postgresql": "TEST_POSTGRESQL_URL"}


def server_url(backend: str) -> URL:
    """Return the URL of the test server, with a database to log in to; skip the test if none is named."""
    variable = SERVERS[backend]
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set: name a {backend} server, as tests/conftest.py shows")
    url = make_url(os.environ[variable]).set(database={"mysql": "mysql", "postgresql": "postgres"}[backend])
    return make_url(database_url({"DATABASE_URL": url.render_as_string(hide_password=False)}))


@contextmanager
def empty_database(backend: str, folder: Path) -> Iterator[str]:
    """Create a database, yield its URL, and drop it."""
    if backend == "sqlite":
        yield f"sqlite:///{folder / 'test.db'}"
        return
    server, name = server_url(backend), f"test_{uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name}{' WITH (FORCE)' if backend == 'postgresql' else ''}"))
    engine.dispose()


def make_app(url: str, **binds: str) -> Flask:
    """Return an app with the settings of tests, on the database at ``url``.

    ``binds`` are the URLs of its binds; by default, each of the config's gets a database in memory.
    """
    binds = binds or dict.fromkeys(getattr(TestConfig, "SQLALCHEMY_BINDS", {}), "sqlite://")
    return create_app(type("Settings", (TestConfig,), {"SQLALCHEMY_DATABASE_URI": url, "SQLALCHEMY_BINDS": binds}))


@pytest.fixture(params=["sqlite", *SERVERS])
def backend(request: pytest.FixtureRequest) -> str:
    """Return the name of a backend; tests that use it, or a fixture below, run once for each."""
    name: str = request.param
    return name


@pytest.fixture
def database(backend: str, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of an empty database of this test's own."""
    with empty_database(backend, tmp_path) as url:
        yield url


@pytest.fixture
def app_on() -> Iterator[Callable[..., Flask]]:
    """Return a function that makes an app on the database at a URL, whatever the environment says. See make_app()."""
    apps = []

    def make(url: str, **binds: str) -> Flask:
        apps.append(make_app(url, **binds))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()


@pytest.fixture
def empty_app(database: str, app_on: Callable[[str], Flask]) -> Iterator[Flask]:
    """Yield an app on an empty database, its context pushed."""
    app = app_on(database)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def upgrade_binds() -> None:
    """Upgrade the database of each bind that has a folder in migrations/."""
    for ini in Path(migrate.directory).glob("*/alembic.ini"):
        flask_migrate.upgrade(directory=ini.parent)


@pytest.fixture
def upgraded_app(empty_app: Flask) -> Flask:
    """Return an app on a database at head, which is this test's own, its context pushed."""
    flask_migrate.upgrade()
    upgrade_binds()
    return empty_app


@pytest.fixture(scope="session")
def at_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Return a function that gives the URL of the database at head that the tests of a backend share."""
    with ExitStack() as databases:

        @cache
        def url_of(backend: str) -> str:
            url = databases.enter_context(empty_database(backend, tmp_path_factory.mktemp(backend)))
            with make_app(url).app_context():
                flask_migrate.upgrade()
                db.engine.dispose()
            return url

        yield url_of


@pytest.fixture
def app(
    backend: str, at_head: Callable[[str], str], app_on: Callable[[str], Flask], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """Yield an app on a database at head, its context pushed. What ``db.session`` writes is gone after the test.

    Its sessions share one connection; a commit of theirs releases a savepoint in a transaction that is rolled back. The
    databases of binds are in memory, and belong to this test alone.
    """
    app = app_on(at_head(backend))
    with app.app_context(), db.engine.connect() as connection:
        transaction = connection.begin()
        if backend == "sqlite":  # Python's driver would begin only at the first INSERT, behind the savepoint
            connection.exec_driver_sql("BEGIN")
        upgrade_binds()
        engine_of = db.session.session_factory.class_.get_bind

        def bind_of(*args: Any, **options: Any) -> Any:
            engine = engine_of(*args, **options)
            return connection if engine is db.engine else engine

        monkeypatch.setattr(db.session.session_factory.class_, "get_bind", bind_of)
        db.session.configure(join_transaction_mode="create_savepoint")
        yield app
        db.session.remove()
        transaction.rollback()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a client that asks ``app`` for pages."""
    return app.test_client()


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """Return a runner for commands of ``app`` in this process."""
    return app.test_cli_runner()
