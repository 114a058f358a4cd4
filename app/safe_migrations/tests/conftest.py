"""Fixtures: ``project``, a copy of the example to run; ``app_on`` and ``attempt``, its app in this process; ``engine``;
``review`` without a database, ``review_on`` one with rows, and ``operating`` on one, in a transaction that stays open.

SQLite is always there. MySQL or MariaDB, and PostgreSQL, are tested where these name a server, with a user that may
create databases; the tests drop those that they create.

    TEST_MYSQL_URL=mysql://root@127.0.0.1:3306  TEST_POSTGRESQL_URL=postgresql://postgres@127.0.0.1:5432
"""

import gc
import os
import shutil
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import URL, Engine, create_engine, make_url

from ..adapters.products import FACTS
from ..database import Database
from ..review.findings import Finding
from ..review.recorder import Operation, Recorder, Recordings
from ..review.reviewer import review_pending, review_revisions
from .example.app.extensions import db, migrate
from .servers import MariaDBServers, PostgreSQLServers
from .support import (
    FILES,
    FIRST,
    PETS,
    ROWS,
    SERVERS,
    USERS,
    Models,
    Operating,
    Project,
    Record,
    Review,
    ReviewOn,
    Sql,
    copied,
    empty_database,
    execute,
    limited_user,
    make_app,
    revision,
    run_on_server,
    run_scripts,
    script_of,
    server_url,
    told_by,
)

if FILES != "/tmp":
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", FILES)

# What a shell starts in the background ignores Ctrl-C, and so would the commands that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass by what was loaded, and run rarely: it took a tenth of the time of all tests."""
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test on the database of a server that no variable names before its other fixtures are made."""
    backend = item.callspec.params.get("backend") if hasattr(item, "callspec") else None
    if backend in SERVERS and "database" in getattr(item, "fixturenames", ()):
        server_url(backend)


@pytest.fixture(params=["sqlite", *SERVERS])
def backend(request: pytest.FixtureRequest) -> str:
    """Return the name of a backend; tests that use it, or a fixture below, run once for each."""
    name: str = request.param
    return name


# Modules that share a database on PostgreSQL: all that their tests create there is in schemas, unlike a publication.
# EMPTY drops it all.
SHARING: tuple[str, ...] = ("adopt", "answers", "atomic", "casts", "commands", "comparison", "errors", "external")
SHARING += ("generation", "guard", "hidden_rows", "interrupts", "lock", "log", "naming", "never_ran", "online")
SHARING += ("operations", "rehearsal", "renames", "retry", "review", "rules", "status", "transaction", "unreached")
EMPTY = """
DO $$ DECLARE name text; BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)' LOOP
        EXECUTE format('DROP SCHEMA %I CASCADE', name);
    END LOOP;
    CREATE SCHEMA public;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    IF current_setting('server_version_num')::integer >= 140000 THEN
        ALTER SCHEMA public OWNER TO pg_database_owner;
    END IF;
    EXECUTE format('ALTER DATABASE %I RESET ALL', current_database());
END $$
"""


@pytest.fixture(scope="session")
def shared() -> Iterator[str]:
    """Yield the URL of a PostgreSQL database for all tests of SHARING: one for each takes longer than the tests."""
    with empty_database("postgresql", Path()) as url:
        yield url


@pytest.fixture
def database(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield the URL of an empty database that only this test uses at the time."""
    module = request.module.__name__.rpartition(".test_")[2]
    if backend == "postgresql" and module.startswith(SHARING):
        url: str = request.getfixturevalue("shared")
        run_on_server(make_url(url), "SET default_transaction_read_only = off", EMPTY)
        yield url
        return
    with empty_database(backend, tmp_path) as url:
        yield url


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDBServers]:
    """Yield a factory of MariaDB servers, and kill them at the end; skip the tests where none is tested."""
    server_url("mysql")
    with TemporaryDirectory(dir=FILES) as name:
        Path(name).chmod(0o755)
        servers = MariaDBServers(Path(name))
        try:
            yield servers
        finally:
            servers.stop()


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """Yield an engine for the database."""
    engine = create_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def sql(database: str) -> Sql:
    """Return a function that runs statements on the database, each in a transaction of its own."""
    return partial(run_on_server, make_url(database))


@pytest.fixture
def owner(database: str) -> Iterator[URL]:
    """Yield the URL with a user who owns the database on PostgreSQL, and may create databases and users."""
    with limited_user(make_url(database), "CREATEDB CREATEROLE") as owner:
        yield owner


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """Return a copy of the example: on ``database`` in a test that has that fixture, else on SQLite."""
    project = copied(tmp_path)
    if "database" in request.fixturenames:
        project.environ["DATABASE_URL"] = request.getfixturevalue("database")
    return project


USER = "sa.table('user', sa.column('id'), sa.column('username'), sa.column('email'))"
R0 = revision("r0", FIRST, f"op.bulk_insert({USER}, [{{'id': 1, 'username': 'alice', 'email': 'a@b'}}])")


def new_database(folder: Path, *scripts: tuple[str, str]) -> Path:
    """Return a SQLite database at the head of the example with ``scripts``, for copies of it."""
    project = copied(folder)
    for script in scripts:
        project.write(*script)
    project.ok("upgrade")
    return project.path / "instance" / "app.db"


def begin_with(project: Project, file: Path) -> Project:
    """Copy a SQLite database to that of the project, which takes less than an upgrade; upgrade one of a server."""
    url = make_url(project.environ.get("DATABASE_URL", f"sqlite:///{project.path}/instance/app.db"))
    if url.get_backend_name() == "sqlite":
        Path(str(url.database)).parent.mkdir(exist_ok=True)
        shutil.copy(file, str(url.database))
    else:
        project.ok("upgrade")
    return project


@pytest.fixture(scope="session")
def first_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite database at the first revision, for copies of it."""
    return new_database(tmp_path_factory.mktemp("first"))


@pytest.fixture
def upgraded(project: Project, first_database: Path) -> Project:
    """Return a copy of the example whose database is at the first revision."""
    return begin_with(project, first_database)


@pytest.fixture(scope="session")
def at_r0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a SQLite database at the revision r0, for copies of it."""
    return new_database(tmp_path_factory.mktemp("r0"), R0)


@pytest.fixture
def reviewed(project: Project, at_r0: Path) -> Project:
    """Return a copy of the example at a revision r0, with a row in user, and with reviews turned on."""
    project.write(*R0)
    begin_with(project, at_r0)
    project.environ["MIGRATION_REVIEW"] = "enforce"
    return project


@pytest.fixture
def empty(project: Project, engine: Engine) -> Models:
    """Return a project on an empty database, without revisions."""
    for script in project.scripts():
        script.unlink()
    return Models(project.path, project.environ, engine=engine)


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    """Yield a project on SQLite with a revision b0 and rows, which ``pets`` copies: to generate it takes longer."""
    project = copied(tmp_path_factory.mktemp("begun"))
    for script in project.scripts():
        script.unlink()
    engine = create_engine(f"sqlite:///{project.path / 'instance' / 'app.db'}")
    begun = Models(project.path, project.environ, engine=engine)
    begun.models(USERS, PETS)
    begun.ok("migrate", "-m", "Begin", "--rev-id", "b0")
    begun.ok("upgrade")
    begun.execute(*ROWS)
    yield begun
    engine.dispose()


@pytest.fixture
def pets(empty: Models, begun: Models) -> Models:
    """Return a project whose database has users, pets and toys, and whose only revision is b0."""
    empty.models(USERS, PETS)
    (script,) = begun.scripts()
    shutil.copy2(script, empty.path / "migrations" / "versions")
    if empty.engine.dialect.name == "sqlite":
        shutil.copy(str(begun.engine.url.database), str(empty.engine.url.database))
    else:
        run_scripts(empty.engine, empty.path / "migrations", "b0")
        empty.execute(*ROWS)
    return empty


@pytest.fixture
def generating(pets: Models, begun: Models, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """Return what `flask db migrate` has to be told to generate scripts on SQLite, for PostgreSQL; or nothing."""
    if request.param == "here":
        return {}
    shutil.copy(str(begun.engine.url.database), tmp_path / "local.db")
    return {"DATABASE_URL": f"sqlite:///{tmp_path / 'local.db'}", "MIGRATION_TARGETS": "postgresql"}


@pytest.fixture
def app_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Flask]]:
    """Return a function that makes an app with the scripts of ``project`` on the database at a URL."""
    monkeypatch.setattr(migrate, "directory", str(project.path / "migrations"))
    apps = []

    def make(url: str, **settings: object) -> Flask:
        apps.append(make_app(url, **settings))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()
    for key in set(db.metadatas) - {None}:  # of binds, which the apps of other tests do not have
        del db.metadatas[key]


@pytest.fixture
def in_app(app_on: Callable[[str], Flask]) -> Iterator[None]:
    """Push an app's context: rules ask for its naming convention."""
    with app_on("sqlite:////nowhere/at/all.db").app_context():
        yield


@pytest.fixture(scope="module")
def in_any_app() -> Iterator[None]:
    """Push the context of an app for all tests of a module: rules and tables ask for its naming convention."""
    with make_app("sqlite:////nowhere/at/all.db").app_context():
        yield


@pytest.fixture
def empty_app(database: str, app_on: Callable[[str], Flask]) -> Iterator[Flask]:
    """Yield an app on an empty database, its context pushed."""
    app = app_on(database)
    with app.app_context():
        yield app
        db.session.remove()


@pytest.fixture
def upgraded_app(empty_app: Flask) -> Flask:
    """Return an app on a database at head, its context pushed."""
    run_scripts(db.engine, migrate.directory, "head")
    return empty_app


@pytest.fixture
def attempt(project: Project, app_on: Callable[[str], Flask]) -> Callable[..., list[str]]:
    """Return a function that runs flask_migrate.upgrade(), or another, on the scripts of ``project``, in this process.

    It returns the error's message and its notes; an empty list if there is none.
    """
    app = app_on(project.environ["DATABASE_URL"])

    def run(command: Callable[..., None], **options: str) -> list[str]:
        with app.app_context():
            try:
                command(**options)
            except (Exception, SystemExit) as raised:
                return told_by(raised)
        return []

    return run


@pytest.fixture(scope="session")
def reviewing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Flask]:
    """Return the project and the app of all tests with ``review``: to make them takes longer than such a test."""
    return copied(tmp_path_factory.mktemp("reviewing")), make_app("sqlite:////nowhere/at/all.db")


@pytest.fixture
def review(reviewing: tuple[Project, Flask]) -> Iterator[Review]:
    """Yield a function that reviews a script after the first one: a whole one, or the body of its upgrade()."""
    project, app = reviewing

    def run(code: str, product: str) -> list[Finding]:
        project.write("migrations/versions/a1.py", script_of(code))
        history = list(ScriptDirectory(str(project.path / "migrations")).walk_revisions())[::-1]
        return review_revisions(history, {"a1"}, FACTS[product]())

    with app.app_context():
        yield run


@pytest.fixture
def record(project: Project, app_on: Callable[..., Flask]) -> Record:
    """Return a function that records the upgrade of a script with that body; it needs an app's context."""

    def run(body: str, dialect: str = "postgresql", more: str = "") -> list[Operation]:
        project.write(*revision("a1", FIRST, body, more=more))
        script = ScriptDirectory.from_config(migrate.get_config()).get_revision("a1")
        assert script is not None
        recording = Recorder(dialect).record(script, "upgrade")
        if recording.not_inspectable is not None:
            raise recording.not_inspectable
        return recording.operations

    return run


@pytest.fixture
def at_first(database: str, project: Project, app_on: Callable[[str], Flask]) -> Iterator[None]:
    """Push the context of an app on a database with the table ``user``, and a user."""
    with app_on(database).app_context():
        run_scripts(db.engine, migrate.directory, FIRST)
        execute("INSERT INTO {user} (id, username, email) VALUES (1, 'alice', 'a@b')")
        yield


@pytest.fixture
def review_on(at_first: None, project: Project) -> ReviewOn:
    """Return a function that reviews a script which comes next, on the database with what statements made of it."""

    def run(up: str, *statements: str, down: str = "raise NotImplementedError") -> list[Finding]:
        execute(*statements)
        project.write(*revision("a1", FIRST, up, down))
        history = ScriptDirectory.from_config(migrate.get_config())
        with db.engine.connect() as connection:
            return review_pending([history.get_revision("a1")], Database(connection), Recordings(), (), run=True)

    return run


@pytest.fixture
def operating(at_first: None) -> Iterator[Operating]:
    """Yield the connection, and operations that run on it."""
    with db.engine.connect() as connection:
        yield connection, Operations(MigrationContext.configure(connection, opts={"target_metadata": db.metadata}))


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder into which a server's user can look, as it cannot into tmp_path or one's own TMPDIR."""
    with TemporaryDirectory(dir=FILES) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def servers(folder: Path) -> Iterator[PostgreSQLServers]:
    """Yield what starts PostgreSQL servers, and stop them at the end; skip the test where none is tested."""
    server_url("postgresql")
    servers = PostgreSQLServers(folder)
    yield servers
    servers.stop()


@pytest.fixture
def silent() -> Iterator[int]:
    """Yield a port where something takes connections and says nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    yield server.getsockname()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # psycopg leaves a login that is broken off to the collector
        server.close()
        for thread in threading.enumerate():
            if thread.name == "login":
                thread.join()
        gc.collect()
