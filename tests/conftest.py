"""Fixtures: ``app``, ``client`` and ``runner`` on a database at head of each backend, which keeps nothing of a test;
``upgraded_app`` on one of its own; and ``project``, a copy to run.

SQLite is always there. MySQL or MariaDB, and PostgreSQL, are tested where these name a server, with a user that may
create databases; the tests drop those that they create.

    TEST_MYSQL_URL=mysql://root@127.0.0.1:3306  TEST_POSTGRESQL_URL=postgresql://postgres@127.0.0.1:5432
"""

import compileall
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from textwrap import indent
from uuid import uuid4

import flask_migrate
import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import URL, create_engine, make_url, text

from app import create_app
from app.extensions import db
from config import TestConfig, database_url
from tests import forking

ROOT = Path(__file__).parents[1]
FIRST = "fb3704abff84"  # the revision in tests/example
SERVERS = {"mysql": "TEST_MYSQL_URL", "postgresql": "TEST_POSTGRESQL_URL"}

# What a shell starts in the background ignores Ctrl-C, and so would the commands that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def server_url(backend: str) -> URL:
    """The URL of the test server, with a database to log in to; skips the test where none is named."""
    variable = SERVERS[backend]
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set: name a {backend} server, as tests/conftest.py shows")
    url = make_url(os.environ[variable]).set(database={"mysql": "mysql", "postgresql": "postgres"}[backend])
    return make_url(database_url({"DATABASE_URL": url.render_as_string(hide_password=False)}))


def is_mariadb(url: URL) -> bool:
    """Whether the MySQL server at ``url`` is MariaDB."""
    engine = create_engine(url)
    try:
        with engine.connect():
            return bool(getattr(engine.dialect, "is_mariadb", False))
    finally:
        engine.dispose()


def run_on_server(url: URL, *statements: str) -> None:
    """Run ``statements`` outside a transaction, as CREATE DATABASE has to be."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


@pytest.fixture(params=["sqlite", *SERVERS])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend; tests that use it, or a fixture below, run once for each."""
    name: str = request.param
    return name


@pytest.fixture
def database(backend: str, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    with empty_database(backend, tmp_path) as url:
        yield url


@contextmanager
def empty_database(backend: str, folder: Path) -> Iterator[str]:
    """Create a database, yield its URL, and drop it."""
    if backend == "sqlite":
        yield f"sqlite:///{folder / 'test.db'}"
        return
    server = server_url(backend)
    url = server.set(database=f"test_{uuid4().hex}")
    run_on_server(server, f"CREATE DATABASE {url.database}")
    yield url.render_as_string(hide_password=False)
    run_on_server(server, f"DROP DATABASE {url.database}{' WITH (FORCE)' if backend == 'postgresql' else ''}")


def make_app(url: str) -> Flask:
    """Return an app with the settings of tests, on the database at ``url``."""
    return create_app(type("Settings", (TestConfig,), {"SQLALCHEMY_DATABASE_URI": url}))


@pytest.fixture
def app_on() -> Iterator[Callable[[str], Flask]]:
    """Makes an app on the database at a URL, whatever the environment says."""
    apps = []

    def make(url: str) -> Flask:
        apps.append(make_app(url))
        return apps[-1]

    yield make
    for app in apps:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def empty_app(database: str, app_on: Callable[[str], Flask]) -> Iterator[Flask]:
    """An app on an empty database, its context pushed."""
    app = app_on(database)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def upgraded_app(empty_app: Flask) -> Flask:
    """An app on a database at head, which is this test's own, its context pushed."""
    flask_migrate.upgrade()
    return empty_app


@pytest.fixture(scope="session")
def at_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Returns the URL of the database at head that the tests of a backend share."""
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
    """An app on a database at head, its context pushed. What ``db.session`` writes is gone after the test.

    Its sessions share one connection; a commit of theirs releases a savepoint in a transaction that is rolled back.
    """
    app = app_on(at_head(backend))
    with app.app_context(), db.engine.connect() as connection:
        transaction = connection.begin()
        if backend == "sqlite":  # Python's driver would begin only at the first INSERT, behind the savepoint
            connection.exec_driver_sql("BEGIN")
        monkeypatch.setattr(db.session.session_factory.class_, "get_bind", lambda *_args, **_options: connection)
        db.session.configure(join_transaction_mode="create_savepoint")
        yield app
        db.session.remove()
        transaction.rollback()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Asks ``app`` for pages."""
    return app.test_client()


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """Runs commands of ``app`` in this process."""
    return app.test_cli_runner()


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where something takes connections and says nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    yield server.getsockname()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # psycopg leaves a login that is broken off to the collector
        server.close()
        for thread in threading.enumerate():
            if thread.name in ("login", "readyz"):
                thread.join()
        gc.collect()


@dataclass
class Project:
    """A copy of the project in a folder of its own, with commands run in processes of their own.

    ``forks``: where they can, commands are forked from a process that has imported the packages (tests/forking.py).
    """

    path: Path
    environ: dict[str, str]
    forks: bool = False

    def _settings(self, environ: dict[str, str]) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], **self.environ, **environ}

    def start(self, *args: str, **environ: str) -> "subprocess.Popen[str]":
        """``python -m ARGS`` in the folder; ``environ`` is all that it knows beside PATH."""
        return subprocess.Popen(
            [sys.executable, "-m", *args],
            cwd=self.path,
            env=self._settings(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """``start()``, and wait for the end; or the same in a process that is forked."""
        settings = self._settings(environ)
        # Python reads PYTHON... when it starts.
        if self.forks and args[0] == "flask" and not any(name.startswith("PYTHON") for name in settings):
            return subprocess.CompletedProcess(args, *forking.run([*args], self.path, settings, seconds=600))
        with self.start(*args, **environ) as process:
            out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def db(self, *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """``flask db ARGS``."""
        return self.run("flask", "db", *args, **environ)

    def ok(self, *args: str, **environ: str) -> str:
        """What ``flask db ARGS`` prints on stdout and stderr; fails the test if its exit status is not 0."""
        done = self.db(*args, **environ)
        if done.returncode:
            pytest.fail(f"flask db {' '.join(args)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def write(self, name: str, text: str) -> Path:
        """Write the file ``name`` of the copy.

        Python takes bytecode for current if the source has its size and its second (importlib's SourceLoader): what was
        compiled from the text before goes, or a test that writes two texts in a second may run the first one twice.
        """
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".py":
            Path(cache_from_source(str(path))).unlink(missing_ok=True)
        return path

    def make_stock(self) -> None:
        """Take the safety out, by the commands of its README: the same app with Flask-Migrate's commands and env.py."""
        readme = (self.path / "app" / "safe_migrations" / "README.md").read_text()
        commands = readme.partition("## Taking it out")[2].partition("```sh\n")[2].partition("```")[0]
        environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **self.environ}
        subprocess.run(["bash", "-ec", commands], cwd=self.path, env=environ, check=True, capture_output=True)

    def add_tests(self) -> None:
        """Add the tests, as the project has them."""
        shutil.copytree(ROOT / "tests", self.path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / ".pytest.ini", self.path)

    def scripts(self) -> list[Path]:
        """The revision scripts, in the order in which they were written."""
        return sorted(
            (self.path / "migrations" / "versions").glob("*.py"), key=lambda script: (script.stat().st_mtime_ns, script)
        )


@cache
def compile_package() -> None:
    """Compile what each copy's first command would compile again."""
    compileall.compile_dir(ROOT / "app" / "safe_migrations", quiet=1)


def copied(folder: Path, forks: bool = False) -> Project:
    """A copy of the project in ``folder``, on SQLite, with the models and the history that it began with.

    The factory, the models and the first revision come from tests/example: what is added to yours changes no test here.
    If it ``forks``, its commands start in less time than a new Python takes; what is measured must not.
    """
    path = folder / "project"
    bytecode = shutil.ignore_patterns("__pycache__")
    compile_package()
    (path / "app").mkdir(parents=True)
    try:  # no test changes the package, and its 300 files take longer to copy than most tests take to run
        (path / "app" / "safe_migrations").symlink_to(ROOT / "app" / "safe_migrations", target_is_directory=True)
    except OSError:  # Windows lets only administrators and developers
        shutil.copytree(ROOT / "app" / "safe_migrations", path / "app" / "safe_migrations")
    shutil.copytree(ROOT / "migrations", path / "migrations", ignore=shutil.ignore_patterns("__pycache__", "versions"))
    for name in ("app/extensions.py", "app/health.py", "config.py", "wsgi.py", ".flaskenv"):
        shutil.copy(ROOT / name, path / name)
    shutil.copytree(ROOT / "tests" / "example", path, ignore=bytecode, dirs_exist_ok=True)
    environ = {"MIGRATION_BACKUP": "never", "MIGRATION_REVIEW": "off"}  # their own tests turn them on
    return Project(path, environ, forks and forking.can_fork())


def revision(
    name: str, parents: str | tuple[str, ...] | None, up: str, down: str = "pass", more: str = ""
) -> tuple[str, str]:
    """File name and text of a revision script; ``up`` and ``down`` are Python, of one or more lines, as is ``more``."""
    return f"migrations/versions/{name}.py", (
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f"revision = {name!r}\ndown_revision = {parents!r}\n{more}\n\n"
        f"def upgrade():\n{indent(up, '    ')}\n\n\ndef downgrade():\n{indent(down, '    ')}\n"
    )


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """A copy of the project: on ``database`` in a test that has that fixture, else on a SQLite database of its own."""
    project = copied(tmp_path, forks=True)
    if "database" in request.fixturenames:
        project.environ["DATABASE_URL"] = request.getfixturevalue("database")
    return project


def told_by(raised: BaseException) -> list[str]:
    """Return the message of a command that has failed and its notes, except for the one with the revision."""
    error = raised.__context__ if isinstance(raised, SystemExit) else raised
    notes = getattr(error, "__notes__", [])
    return [str(error), *(note for note in notes if " database is at " not in note)]


@pytest.fixture
def attempt(project: Project, app_on: Callable[[str], Flask]) -> Callable[..., list[str]]:
    """Runs flask_migrate.upgrade() or another of its functions on the scripts of ``project``, in this process.

    Returns the error's message and its notes; an empty list if there is none.
    """
    app = app_on(project.environ["DATABASE_URL"])

    def run(command: Callable[..., None], **options: str) -> list[str]:
        with app.app_context():
            try:
                command(directory=str(project.path / "migrations"), **options)
            except (Exception, SystemExit) as raised:
                return told_by(raised)
        return []

    return run
