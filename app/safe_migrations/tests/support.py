"""The example's app, in this process and in copies to run; databases of the test servers; and scripts and findings."""

import atexit
import compileall
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import cache_from_source
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import indent
from types import ModuleType
from typing import Any, BinaryIO, cast
from unittest.mock import patch
from uuid import uuid4

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.operations.ops import ExecuteSQLOp
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from click.testing import CliRunner
from flask import Flask, cli
from sqlalchemy import URL, Connection, Engine, column, create_engine, inspect, make_url, text
from sqlalchemy import table as table_clause
from sqlalchemy.dialects.postgresql.base import PGInspector

from ..review.findings import Finding
from ..review.known_schema import KnownSchema
from ..review.recorder import Operation, Revision
from ..review.rules import RULES, Problem, RuleContext
from ..review.sql.translation import translate
from .example.app import create_app
from .example.app.extensions import db

PACKAGE = Path(__file__).parents[1]
# Where tests and servers have their files: in memory if there is room, because on a disk each commit waits for that.
MEMORY = Path("/dev/shm")
FILES = str(MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**31 else Path("/tmp"))
EXAMPLE = Path(__file__).with_name("example")
FIRST = "fb3704abff84"  # the revision in example/
# In a script that runs in this process: the extension of the app at hand.
DB = "from flask import current_app\ndb = current_app.extensions['sqlalchemy']\n"

USER = table_clause("user", column("username"), column("email"))

# For each backend: the variable that names a test server, the database to log in to, and the driver with its options.
SERVERS = {"mysql": "TEST_MYSQL_URL", "postgresql": "TEST_POSTGRESQL_URL"}
LOGIN = {"mysql": "mysql", "postgresql": "postgres"}
DRIVERS = {"mysql": "mysql+pymysql", "postgresql": "postgresql+psycopg"}
OPTIONS = {"mysql": {"charset": "utf8mb4"}, "postgresql": {"connect_timeout": "10"}}

LOG = "_migration_log"  # it only grows: states of a database are compared without it
AGREE = "No new upgrade operations detected."
# The head of app/models.py, and models with a row or two for each.
MODELS = """
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Integer, Numeric, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import db

"""
USERS = """
class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(80), unique=True)
    email: Mapped[str] = mapped_column(String(120), unique=True)
"""
PETS = """
class Pet(db.Model):
    __table_args__ = (CheckConstraint("age >= 0", name="age_not_negative"), Index("ix_pet_both", "name", "age"))
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True, server_default="x")
    nick: Mapped[str | None] = mapped_column(String(40), index=True)
    age: Mapped[int] = mapped_column(Integer)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))


class Toy(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    pet_id: Mapped[int] = mapped_column(ForeignKey("pet.id", ondelete="CASCADE"), index=True)
    spare_id: Mapped[int | None] = mapped_column(ForeignKey("pet.id"))
"""
ROWS = (
    "INSERT INTO {user} (id, username, email) VALUES (1, 'ann', 'a@x'), (2, 'bob', 'b@x')",
    "INSERT INTO pet (id, name, nick, age, owner_id) VALUES (1, 'rex', 'r', 3, 1), (2, 'tom', NULL, 5, NULL)",
    "INSERT INTO toy (id, pet_id, spare_id) VALUES (1, 1, 2), (2, 2, NULL)",
)

on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
on_mysql = pytest.mark.parametrize("backend", ["mysql"], indirect=True)
on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
on_servers = pytest.mark.parametrize("backend", ["mysql", "postgresql"], indirect=True)
# PostgreSQL is always a target of its own scripts; those that are generated on another database may run there too.
with_targets = pytest.mark.parametrize(
    ("backend", "targets"), [("sqlite", "postgresql"), ("mysql", ""), ("postgresql", "")], indirect=["backend"]
)
Record = Callable[..., list[Operation]]
generated_anywhere = pytest.mark.parametrize(
    ("backend", "generating"),
    [("sqlite", "here"), *((server, where) for server in ("mysql", "postgresql") for where in ("here", "on SQLite"))],
    indirect=True,
)
Review = Callable[[str, str], list[Finding]]
ReviewOn = Callable[..., list[Finding]]
Sql = Callable[..., None]
Operating = tuple[Connection, Operations]


def server_url(backend: str) -> URL:
    """Return the URL of the test server, with a database to log in to; skip the test if none is named."""
    variable = SERVERS[backend]
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set: name a {backend} server, as conftest.py shows")
    url = make_url(os.environ[variable])
    return url.set(drivername=DRIVERS[backend], database=LOGIN[backend], query={**OPTIONS[backend], **url.query})


def is_mariadb(url: URL) -> bool:
    """Return True if the MySQL server at ``url`` is MariaDB."""
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


@contextmanager
def mysql_user(url: URL, *grants: str) -> Iterator[URL]:
    """Create a user with ``grants`` such as "ALL ON *.*", yield the URL with that user, and drop the user."""
    user = f"u{uuid4().hex[:12]}"
    account = f"'{user}'@'%'"
    run_on_server(
        url, f"CREATE USER {account} IDENTIFIED BY 'secret'", *(f"GRANT {grant} TO {account}" for grant in grants)
    )
    try:
        yield url.set(username=user, password="secret")
    finally:
        run_on_server(url, f"DROP USER {account}")


# Makes a user the owner of all tables, on PostgreSQL.
TAKE_TABLES = """
DO $$ DECLARE t regclass; BEGIN
  FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
  LOOP EXECUTE format('ALTER TABLE %s OWNER TO {}', t); END LOOP;
END $$"""


@contextmanager
def limited_user(url: URL, attributes: str = "") -> Iterator[URL]:
    """Create a user whose rights end with the database at ``url``, yield the URL with that user, and drop the user.

    On PostgreSQL the user owns the database and its tables; ``attributes`` are more rights, such as CREATEDB.
    """
    if url.get_backend_name() == "mysql":
        with mysql_user(url, f"ALL ON `{url.database}`.*") as limited:
            yield limited
        return
    name = f"u{uuid4().hex[:12]}"
    role = f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {attributes}"
    run_on_server(url, role, f"ALTER DATABASE {url.database} OWNER TO {name}", TAKE_TABLES.format(name))
    try:
        yield url.set(username=name, password="secret")
    finally:
        run_on_server(url, f"REASSIGN OWNED BY {name} TO CURRENT_USER", f"DROP OWNED BY {name}", f"DROP ROLE {name}")


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


def make_app(url: str, **settings: object) -> Flask:
    """Return the example's app on the database at ``url``, without backups and reviews: these have their own tests."""
    quiet = {"TESTING": True, "MIGRATION_BACKUP": "never", "MIGRATION_REVIEW": "off"}
    return create_app(type("Settings", (), {**quiet, "SQLALCHEMY_DATABASE_URI": url, **settings}))


# Runs ``python -m ARGS`` for each line that it reads, once or more at once, in forks of itself: to import these takes
# most of a command's time. A line is JSON: arguments, folder, environment, and for each fork the files for its stdout
# and stderr; the answer is a list of process ids. Or a line is a process id and a number: 0 to wait for its end. The
# answer is its exit status, or null if it runs. Without gc.freeze() each fork would copy all memory when it ends, as
# the collector goes through it, in ten times the time of a command.
RUNNER = """
import gc, json, os, runpy, signal, sys
import dotenv.main, flask.cli, flask_migrate.cli, flask_sqlalchemy, psycopg, pymysql
from sqlalchemy.dialects import mysql, sqlite

def answer(value):
    print(json.dumps(value), flush=True)

gc.freeze()
for line in sys.stdin:
    request = json.loads(line)
    if len(request) == 2:
        pid, status = os.waitpid(*request)
        answer(os.waitstatus_to_exitcode(status) if pid else None)
        continue
    args, folder, environ, outputs = request
    forks = []
    for files in outputs:
        forks.append(os.fork())
        if forks[-1] == 0:
            signal.alarm(600)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environ)
            for number, name in enumerate([os.devnull, *files]):
                os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY), number)
            sys.path[0], sys.argv = folder, args
            runpy.run_module(args[0], run_name="__main__", alter_sys=True)
            sys.exit()
    answer(forks)
"""


@cache
def runner(python: str) -> "subprocess.Popen[str]":
    """Return the process that runs RUNNER, until this one ends."""
    process = subprocess.Popen([python, "-c", RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.communicate)
    return process


def ask(python: str, *request: object) -> Any:
    """Return the answer of the runner to one line."""
    to, answers = runner(python).stdin, runner(python).stdout
    assert to is not None
    assert answers is not None
    print(json.dumps(request, default=str), file=to, flush=True)
    return json.loads(answers.readline())


def forked(
    args: tuple[str, ...],
    path: Path,
    environ: dict[str, str],
    count: int = 1,
    python: str = sys.executable,
    files: tuple[str, str] = ("out", "err"),
) -> "list[subprocess.CompletedProcess[str]]":
    """Run ``python -m ARGS`` in the folder ``path`` to its end, ``count`` times at once, apart from this process."""
    with TemporaryDirectory() as folder:
        outputs = [[Path(folder) / f"{number}.{name}" for name in files] for number in range(count)]
        for file in chain(*outputs):
            file.touch()
        statuses = [ask(python, pid, 0) for pid in ask(python, args, path, environ, outputs)]
        texts = [[file.read_text() for file in files] for files in outputs]
    return [subprocess.CompletedProcess(args, status, *said) for status, said in zip(statuses, texts, strict=True)]


class Started:
    """``python -m ARGS`` in a fork of the runner, with what the tests use of subprocess.Popen.

    Its output has to fit into a pipe (64 KB) until it is read.
    """

    def __init__(self, args: tuple[str, ...], path: Path, environ: dict[str, str]) -> None:
        """Start it."""
        self.args, self.returncode = args, cast(int | None, None)
        with TemporaryDirectory() as folder:
            pipes = [Path(folder) / name for name in ("out", "err")]
            for pipe in pipes:
                os.mkfifo(pipe)
            (self.pid,) = ask(sys.executable, args, path, environ, [pipes])
            self.stdout, self.stderr = (pipe.open() for pipe in pipes)

    def poll(self) -> int | None:
        """Return the exit status, or None if it runs."""
        if self.returncode is None:
            self.returncode = ask(sys.executable, self.pid, os.WNOHANG)
        return self.returncode

    def wait(self, timeout: float = 600) -> int | None:
        """Return the exit status after the end. Raise subprocess.TimeoutExpired after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.01)
        return self.returncode

    def communicate(self, timeout: float = 600) -> tuple[str, str]:
        """Return the rest of stdout and of stderr after the end."""
        said = self.stdout.read(), self.stderr.read()
        self.wait(timeout)
        return said

    def send_signal(self, number: int) -> None:
        """Send it a signal if it runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it if it runs."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *_: object) -> None:
        self.stdout.close()
        self.stderr.close()
        self.wait()


# The modules of a copy: all but the package.
OWN = re.compile(r"(app|config|wsgi)(?![^.])(?!\.safe_migrations(?![^.]))")
# These modules as the last commands have imported them, by folder, environment and files; all of one folder.
IMPORTED: dict[tuple[str, frozenset[tuple[str, str]], tuple[tuple[str, int, int], ...]], dict[str, ModuleType]] = {}


@dataclass
class Project:
    """A copy of the example in a folder of its own; ``environ`` is all that its commands know beside PATH."""

    path: Path
    environ: dict[str, str]
    is_stock: bool = False

    def start(self, *args: str, **environ: str) -> Started:
        """Start ``python -m ARGS`` in the folder."""
        return Started(args, self.path, {"PATH": os.environ["PATH"], **self.environ, **environ})

    def run(self, *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run ``python -m ARGS`` in the folder to its end, in a process that knows nothing of this one."""
        if not self._sets_python_up(environ):
            return self.at_once(1, *args, **environ)[0]
        return subprocess.run(
            [sys.executable, "-m", *args],
            cwd=self.path,
            env={"PATH": os.environ["PATH"], **self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def at_once(self, count: int, *args: str, **environ: str) -> "list[subprocess.CompletedProcess[str]]":
        """Do the same ``count`` times at once."""
        return forked(args, self.path, {"PATH": os.environ["PATH"], **self.environ, **environ}, count)

    def printed(self, *args: str) -> str:
        """Return what ``flask db ARGS`` writes on stdout and stderr into one file, in that order."""
        environ = {"PATH": os.environ["PATH"], **self.environ}
        return forked(("flask", "db", *args), self.path, environ, files=("both", "both"))[0].stdout

    def _sets_python_up(self, environ: dict[str, str]) -> bool:
        """Return True if Python reads one of the variables when it starts."""
        return any(name.startswith(("PYTHON", "LC_")) for name in environ | self.environ)

    def db(self, *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """Run ``flask db ARGS`` in this process, or in another if the package was taken out or Python is set up."""
        if self.is_stock or self._sets_python_up(environ):
            return self.run("flask", "db", *args, **environ)
        return self._invoke(args, environ)

    def without_rights(self, *args: str) -> str:
        """Return what ``flask db ARGS`` prints, which has to fail. Permissions of files stop it, also as root.

        Skip the test where root cannot have that.
        """
        command = [sys.executable, "-m", "flask", "db", *args]
        if os.geteuid() == 0:
            limits = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
            if not shutil.which("setpriv") or subprocess.run([*limits, "true"], check=False).returncode:
                pytest.skip("only where permissions stop this user")
            command = [*limits, *command]
        environ = {"PATH": os.environ["PATH"], **self.environ}
        done = subprocess.run(command, cwd=self.path, env=environ, capture_output=True, text=True, check=False)
        assert (1, False) == (done.returncode, "Traceback" in done.stderr), done.stdout + done.stderr
        return done.stderr

    def asked(self, answers: str, *args: str) -> "subprocess.CompletedProcess[str]":
        """Run ``flask db ARGS`` on a terminal where ``answers`` are typed, and then Ctrl-D."""
        ours, theirs = pty.openpty()
        os.write(ours, f"{answers}\x04".encode())
        with os.fdopen(ours), os.fdopen(theirs, "rb") as terminal:
            return self._invoke(args, {}, terminal)

    def _invoke(
        self, args: tuple[str, ...], environ: dict[str, str], terminal: BinaryIO | None = None
    ) -> "subprocess.CompletedProcess[str]":
        with self._imported({"PATH": os.environ["PATH"], **self.environ, **environ}):
            done = CliRunner().invoke(cli.cli, ["db", *args], terminal, prog_name="flask")
            err = done.stderr
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                err += "".join(traceback.format_exception(done.exception))
        return subprocess.CompletedProcess(args, done.exit_code, done.stdout, err)

    @contextmanager
    def _imported(self, environ: dict[str, str]) -> Iterator[None]:
        """Let ``import wsgi`` mean the copy's, with the package as this process has loaded it.

        A copy is imported again if its files or the environment change: that takes up to half of a command's time. The
        package reads its settings from the environment in each command.
        """

        def own() -> list[str]:
            return list(filter(OWN.match, sys.modules))  # of thousands

        read = frozenset(each for each in environ.items() if not each[0].startswith("MIGRATION_"))
        key = str(self.path), read, self._files()
        if any(folder != str(self.path) for folder, *_ in IMPORTED):
            IMPORTED.clear()
        before = {name: sys.modules.pop(name) for name in own()}
        sys.modules.update(IMPORTED.get(key, {}))
        folder = Path.cwd()
        os.chdir(self.path)
        try:
            with patch.dict(os.environ, environ, clear=True), patch.object(sys, "path", [str(self.path), *sys.path]):
                yield
        finally:
            os.chdir(folder)
            imported = {name: sys.modules.pop(name) for name in own()}
            sys.modules.update(before)
            if (wsgi := imported.get("wsgi")) is not None:
                with wsgi.app.app_context():
                    for engine in wsgi.app.extensions["sqlalchemy"].engines.values():
                        engine.dispose()
                IMPORTED[key] = imported

    def _files(self) -> tuple[tuple[str, int, int], ...]:
        """Return name, time and size of each file of the app."""
        folders = (path for path in (self.path / "app").glob("*/") if path.name != "safe_migrations")
        files = chain(self.path.glob("*.*"), self.path.glob("app/*.py"), *(path.rglob("*.py") for path in folders))
        return tuple((str(file), (stat := file.stat()).st_mtime_ns, stat.st_size) for file in files)

    def ok(self, *args: str, **environ: str) -> str:
        """Return what ``flask db ARGS`` prints on stdout and stderr; fail the test unless its exit status is 0."""
        return self._ended_with(0, *args, **environ)

    def fails(self, *args: str, **environ: str) -> str:
        """Return what ``flask db ARGS`` prints on stdout and stderr; fail unless that is a message and status 1."""
        return self._ended_with(1, *args, **environ)

    def _ended_with(self, status: int, *args: str, **environ: str) -> str:
        done = self.db(*args, **environ)
        said = done.stdout + done.stderr
        if done.returncode != status or ("Traceback" in said and not self.is_stock):
            pytest.fail(f"flask db {' '.join(args)} ended with {done.returncode}:\n{said}")
        return said

    def write(self, name: str, text: str) -> Path:
        """Write the file ``name`` of the copy.

        Python takes bytecode for current if the source has its size and its second (importlib's SourceLoader): delete
        what was compiled from the text before, or a test that writes two texts in a second may run the first one twice.
        """
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".py":
            Path(cache_from_source(str(path))).unlink(missing_ok=True)
        return path

    def configure(self, options: str) -> None:
        """Pass ``options``, the text of keyword arguments, to Migrate's init_app()."""
        factory = (self.path / "app" / "__init__.py").read_text()
        self.write("app/__init__.py", factory.replace("init_app(app, db)", f"init_app(app, db, {options})"))

    def paste(self, document: str, heading: str) -> None:
        """Run the first block of shell commands below ``heading`` in a document of the package."""
        commands = (PACKAGE / document).read_text().partition(f"# {heading}\n")[2].partition("```sh\n")[2]
        environ = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **self.environ}
        subprocess.run(
            ["bash", "-ec", commands.partition("```")[0]], cwd=self.path, env=environ, check=True, capture_output=True
        )

    def take_out(self) -> None:
        """Take the package out by the commands of its README, which leave Flask-Migrate's own commands and env.py."""
        self.paste("README.md", "Taking it out")
        self.is_stock = True

    def make_stock(self) -> None:
        """Make the copy one of stock Flask-Migrate; its models and revisions stay. Drop the log."""
        (self.path / "app" / "safe_migrations").unlink()
        factory = (self.path / "app" / "__init__.py").read_text()
        self.write("app/__init__.py", re.sub(r".*safe_migrations.*\n", "", factory))
        for file in (Path(flask_migrate.__file__).parent / "templates" / "flask").glob("*.*"):
            shutil.copy(file, self.path / "migrations" / file.name.replace(".ini.mako", ".ini"))
        (self.path / "instance").mkdir(exist_ok=True)
        url = self.environ.get("DATABASE_URL", f"sqlite:///{self.path}/instance/app.db")
        run_on_server(make_url(url), f"DROP TABLE IF EXISTS {LOG}")
        self.is_stock = True

    def scripts(self) -> list[Path]:
        """Return the revision scripts, in the order in which they were written."""
        return sorted(
            (self.path / "migrations" / "versions").glob("*.py"), key=lambda script: (script.stat().st_mtime_ns, script)
        )


@dataclass(kw_only=True)
class Models(Project):
    """A project whose models the tests replace; ``engine`` is that of its database."""

    engine: Engine

    def models(self, *classes: str) -> None:
        """Write the models."""
        self.write("app/models.py", MODELS + "\n".join(classes))

    def migrate(self, *answers: str, **environ: str) -> str:
        """Run `flask db migrate`, pass ``answers`` with -x, and return the text of all scripts that it writes."""
        before = self.scripts()
        self.ok(*(part for answer in answers for part in ("-x", answer)), "migrate", "-m", "Change", **environ)
        return "\n".join(script.read_text() for script in self.scripts() if script not in before)

    def become(self, *classes: str, **environ: str) -> str:
        """Write the models, change the database as they say, and return the text of the scripts for it."""
        self.models(*classes)
        script = self.migrate(**environ)
        self.ok("upgrade", **environ)
        return script

    def blocking(self, *revisions: str, **environ: str) -> list[dict[str, str]]:
        """Return the findings of `flask db review` that block."""
        found = json.loads(self.db("review", *revisions, "--format", "json", **environ).stdout)
        return [finding for finding in found if finding["level"] == "blocks"]

    def rows(self, sql: str) -> list[Any]:
        """Return the rows that the query selects; ``{user}`` is that name, as the database quotes it."""
        return rows(self.engine, self._quoted(sql))

    def execute(self, *statements: str) -> None:
        """Run and commit ``statements``; ``{user}`` is that name, as the database quotes it."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(self._quoted(statement)))

    def _quoted(self, sql: str) -> str:
        return sql.replace("{user}", self.engine.dialect.identifier_preparer.quote("user"))

    def schema(self) -> dict[str, object]:
        """Return the schema of the database."""
        with self.engine.connect() as connection:
            return schema_of(connection)

    def there_and_back(self, see: Callable[[], None] = lambda: None) -> None:
        """Upgrade, downgrade and upgrade again; assert what ``see`` does, and that `check` finds no difference.

        The downgrade has to bring the schema back, and the second upgrade the same one as the first.
        """
        before, heads = self.schema(), self.rows("SELECT version_num FROM alembic_version")
        self.ok("upgrade")
        see()
        assert AGREE in self.ok("check")
        after = self.schema()
        self.ok("downgrade", *heads[0])
        assert before == self.schema()
        self.ok("upgrade")
        see()
        assert after == self.schema()


@cache
def example_files() -> dict[Path, list[tuple[str, bytes, int]]]:
    """Return name, content and time in ns of the files in each folder of a copy: to compile them takes long.

    They are the example, a migrations folder as `flask db init` makes it, and the bytecode of both. The package is
    compiled too, which the first command of each copy in a process of its own would do again.
    """
    bytecode = shutil.ignore_patterns("__pycache__")
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(EXAMPLE, folder, ignore=bytecode, dirs_exist_ok=True)
        shutil.copytree(PACKAGE / "template", folder / "migrations", ignore=bytecode, dirs_exist_ok=True)
        (folder / "migrations" / "alembic.ini.mako").rename(folder / "migrations" / "alembic.ini")
        for source in (PACKAGE, folder):
            compileall.compile_dir(source, quiet=1)
        return {
            each.relative_to(folder): [
                (file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in each.iterdir() if file.is_file()
            ]
            for each in [folder, *(each for each in sorted(folder.rglob("*")) if each.is_dir())]
        }


def copied(folder: Path) -> Project:
    """Return a copy of the example in ``folder``, on SQLite, with a migrations folder as `flask db init` makes it."""
    path = folder / "project"
    for each, files in example_files().items():
        (path / each).mkdir(parents=True)
        for name, content, changed in files:
            file = path / each / name
            file.write_bytes(content)
            os.utime(file, ns=(changed, changed))  # by which Python knows that the bytecode is current
    link_package(path)
    return Project(path, {"MIGRATION_BACKUP": "never", "MIGRATION_REVIEW": "off"})  # their own tests turn them on


def link_package(path: Path) -> None:
    """Give the project at ``path`` the package: no test changes it, and copying takes longer than most tests."""
    (path / "app" / "safe_migrations").symlink_to(PACKAGE, target_is_directory=True)


def run_scripts(engine: Engine, folder: Path | str, revision: str) -> None:
    """Upgrade an empty database by the scripts in ``folder`` without the guard, which takes most of the time."""
    history = ScriptDirectory(str(folder))
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": db.metadata})
        with Operations.context(context):
            for script in reversed([*history.walk_revisions("base", revision)]):
                script.module.upgrade()
        context.stamp(history, revision)


def revision(
    name: str, parents: str | tuple[str, ...] | None, up: str, down: str = "pass", more: str = ""
) -> tuple[str, str]:
    """Return file name and text of a revision script; ``up``, ``down`` and ``more`` are lines of Python."""
    return f"migrations/versions/{name}.py", (
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f"revision = {name!r}\ndown_revision = {parents!r}\n{more}\n\n"
        f"def upgrade():\n{indent(up, '    ')}\n\n\ndef downgrade():\n{indent(down, '    ')}\n"
    )


def add_table(
    project: Project, name: str, parents: str | tuple[str, ...] | None, more: str = "", table: str = ""
) -> None:
    """Write the script of a revision that creates ``table``, by default one with its own name."""
    table = table or name
    create = f"op.create_table({table!r}, sa.Column('id', sa.Integer, primary_key=True))"
    project.write(*revision(name, parents, create, f"op.drop_table({table!r})", more))


def script_of(code: str) -> str:
    """Return a whole script: ``code`` is all of it that RULES.md shows, or only the body of upgrade()."""
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


@contextmanager
def holding_lock(project: Project, after: str = "pass", before: str = "pass") -> Iterator[Started]:
    """Yield an upgrade to s1 that does what ``before`` says, waits for the file go, and then does what ``after``
    says; kill it in the end.
    """
    begin = f"import pathlib, time\n{before}\npathlib.Path('begun').touch()"
    wait = "while not pathlib.Path('go').exists():\n    time.sleep(0.05)"
    project.write(*revision("s1", FIRST, f"{begin}\n{wait}\n{after}"))
    with project.start("flask", "db", "upgrade") as holder:
        try:
            wait_until(lambda: (project.path / "begun").exists() or holder.poll() is not None)
            yield holder
        finally:
            holder.kill()


def lines_of(message: str) -> list[str]:
    """Return the lines to paste of a message."""
    return [line.strip() for line in message.splitlines() if line.startswith("    ")]


def run_lines(project: Project, *lines: str) -> str:
    """Run lines of a message, each of which has to succeed, and return what they print."""
    said = ""
    for line in lines:
        if line.startswith("flask db "):
            said += project.ok(*shlex.split(line)[2:])
        else:
            done = subprocess.run(["sh", "-c", line], cwd=project.path, check=True, capture_output=True, text=True)
            said += done.stdout
    return said


def git(project: Project, *args: str) -> str:
    """Run git in the folder of the project, and return what it prints."""
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@y", *args]
    environ = {"PATH": os.environ["PATH"], "HOME": str(project.path)}
    return subprocess.run(command, cwd=project.path, env=environ, check=True, capture_output=True, text=True).stdout


def told_by(raised: BaseException) -> list[str]:
    """Return the message of a command that has failed and its notes, except for the one with the revision."""
    error = raised.__context__ if isinstance(raised, SystemExit) else raised
    notes = getattr(error, "__notes__", [])
    return [str(error), *(note for note in notes if " database is at " not in note)]


def found(findings: list[Finding], code: str) -> list[Finding]:
    """Return the findings of one rule."""
    return [finding for finding in findings if finding.code == code]


def levels(findings: list[Finding], code: str) -> list[str]:
    """Return the levels of the findings of one rule."""
    return [finding.level.value for finding in found(findings, code)]


def operations_of(script: str, dialect: str, **names: object) -> list[Operation]:
    """Return the operations of lines of a script, which may use ``names``; those of SQL are translated."""
    op = Operations(MigrationContext.configure(dialect_name=dialect))
    with patch.object(op, "invoke") as invoke:
        exec(script, {"op": op, "sa": sa, **names})
    operations = []
    for call in invoke.call_args_list:
        (each,) = call.args
        if isinstance(each, ExecuteSQLOp):
            translated = translate(each, dialect)
            operations += [Operation(of.op, 1, statement=of.statement, requests=of.requests) for of in translated]
        else:
            operations.append(Operation(each, 1))
    return operations


def problems(code: str, operation: Operation, tables: KnownSchema) -> list[Problem]:
    """Return what one rule reports of an operation in an upgrade of ``tables``."""
    rule = RULES[code]
    if not isinstance(operation.op, rule.classes):
        return []
    found = rule.find(operation.op, RuleContext(Revision(cast(Any, None), {}), "upgrade", operation, tables))
    return [found] if isinstance(found, Problem) else list(found or ())


def rows(engine: Engine, *queries: str) -> list[tuple[Any, ...]]:
    """Return the rows of the queries."""
    with engine.connect() as connection:
        return [tuple(row) for query in queries for row in connection.execute(text(query))]


def execute(*statements: str) -> None:
    """Run and commit ``statements`` on the app's database; ``{user}`` is that name, as the database quotes it."""
    user = db.engine.dialect.identifier_preparer.quote("user")
    with db.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement.replace("{user}", user)))


def locks(connection: Connection, table: str) -> set[str]:
    """Return the modes in which the transaction has locked the table, on PostgreSQL."""
    query = "SELECT mode FROM pg_locks WHERE granted AND pid = pg_backend_pid() AND relation = CAST(:name AS regclass)"
    return set(connection.scalars(text(query), {"name": db.engine.dialect.identifier_preparer.quote(table)}))


# The client programs of all servers.
DUMPERS = ("mariadb-dump", "mysqldump", "pg_dump")
LOADERS = ("mariadb", "mysql", "pg_restore", "psql")


def with_programs(folder: Path, script: str, *names: str) -> str:
    """Return the PATH on which a shell script comes before each client program, whose own path is {real} in it."""
    folder.mkdir(exist_ok=True)
    for name in names:
        if real := shutil.which(name):
            (folder / name).write_text(f"#!/bin/sh\n{script.replace('{real}', real)}\n")
            (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; fail after 60 seconds, for which no machine is too slow."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def is_waiting(engine: Engine) -> bool:
    """Return True if a session of the database waits for a lock, on MySQL or PostgreSQL."""
    query = {
        "mysql": "SELECT 1 FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE 'Waiting for%lock'",
        "postgresql": "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    }
    with engine.connect() as connection:
        return connection.scalar(text(query[engine.dialect.name])) is not None


def schema_of(connection: Connection) -> dict[str, object]:
    """Return what the database says that it has, except for the tables of the revision and of the log."""
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
        if table not in ("alembic_version", LOG)
    }
    views = {view: inspector.get_view_definition(view) for view in inspector.get_view_names()}
    enums = inspector.get_enums() if isinstance(inspector, PGInspector) else []
    return {**found, "views": views, "enums": enums}


def texts_of(connection: Connection) -> dict[str, str]:
    """Return the DDL of each object as the database shows it, without MySQL's counter, which depends on the rows."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text("SELECT name, sql FROM sqlite_master"))
        return {str(row[0]): str(row[1]) for row in found if LOG not in row[0]}
    if connection.dialect.name == "postgresql":
        return {}
    names = [name for name in connection.scalars(text("SHOW TABLES")) if name != LOG]
    shown = {name: connection.execute(text(f"SHOW CREATE TABLE `{name}`")).one()[1] for name in names}
    return {name: re.sub(r" AUTO_INCREMENT=\d+", "", shown[name]) for name in names}


def state(engine: Engine) -> tuple[dict[str, object], dict[str, str], dict[str, list[str]]]:
    """Return the schema, its DDL, and the rows of every table, including Alembic's, without the log."""
    quote = engine.dialect.identifier_preparer.quote
    with engine.connect() as connection:
        rows = {
            name: sorted(map(repr, connection.execute(text(f"SELECT * FROM {quote(name)}"))))
            for name in inspect(connection).get_table_names()
            if name != LOG
        }
        return schema_of(connection), texts_of(connection), rows
