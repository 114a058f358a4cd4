"""What load balancers and container platforms are told."""

import gc
import shutil
import socket
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import flask_migrate
import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from app import health
from app.extensions import db, migrate
from config import database_url
from tests.conftest import SERVERS


def readiness(app: Flask) -> tuple[int, object]:
    """Status code and body of /readyz."""
    response = app.test_client().get("/readyz")
    return response.status_code, response.get_json()


def questions() -> list[threading.Thread]:
    """Return the threads that query a database."""
    return [thread for thread in threading.enumerate() if thread.name == "readyz"]


@pytest.fixture(autouse=True)
def default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let each test use a copy of migrations/ without the folders of the app's binds; return its path."""
    folder = tmp_path / "migrations"
    of_binds = [ini.parent.name for ini in Path(migrate.directory).glob("*/alembic.ini")]
    shutil.copytree(migrate.directory, folder, ignore=shutil.ignore_patterns(*of_binds, "__pycache__"))
    monkeypatch.setattr(migrate, "directory", str(folder))
    return folder


def test_alive(client: FlaskClient) -> None:
    """The process lives."""
    assert 200 == client.get("/healthz").status_code


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a probe wait for its answer, however busy the machine is."""
    monkeypatch.setattr(health, "ANSWER_WITHIN", 60)
    monkeypatch.setattr(health, "GIVE_UP_AFTER", 60)


@pytest.mark.usefixtures("patient")
def test_ready(upgraded_app: Flask) -> None:
    """The database answers and is at head."""
    assert (200, {"status": "ready"}) == readiness(upgraded_app)


READ_ONLY = {
    "mysql": {"init_command": "SET SESSION TRANSACTION READ ONLY"},
    "postgresql": {"options": "-c default_transaction_read_only=on"},
}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_ready_on_a_standby(upgraded_app: Flask, app_on: Callable[..., Flask], database: str, backend: str) -> None:
    """A probe only reads, so a server that is read-only says whether it is at head, as another one does."""
    probed = app_on(database)
    probed.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": READ_ONLY[backend]}
    with (
        probed.app_context(),
        probed.extensions["readiness"].engine.connect() as connection,
        pytest.raises(DBAPIError, match=r"(?i)read.only"),
    ):
        connection.execute(text("DELETE FROM alembic_version"))
    assert (200, {"status": "ready"}) == readiness(probed)


@pytest.mark.usefixtures("patient")
def test_behind(empty_app: Flask) -> None:
    """Not migrated yet, or not to the end."""
    assert (503, {"status": "behind"}) == readiness(empty_app)
    flask_migrate.upgrade()
    assert (200, {"status": "ready"}) == readiness(empty_app)
    flask_migrate.downgrade(revision="base")
    assert (503, {"status": "behind"}) == readiness(empty_app)


@pytest.mark.usefixtures("patient")
def test_behind_a_squash(upgraded_app: Flask) -> None:
    """At a revision that a squash has replaced, whose script is gone."""
    upgraded_app.extensions["readiness"].script.get_revision("head").module.replaces = ["old"]
    db.session.execute(text("UPDATE alembic_version SET version_num = 'old'"))
    db.session.commit()
    assert (503, {"status": "behind"}) == readiness(upgraded_app)


@pytest.mark.usefixtures("patient")
def test_ahead(upgraded_app: Flask) -> None:
    """Migrated by a later release."""
    db.session.execute(text("UPDATE alembic_version SET version_num = 'later'"))
    db.session.commit()
    assert (503, {"status": "ahead"}) == readiness(upgraded_app)


@pytest.mark.usefixtures("patient")
def test_head_is_worked_out_once(upgraded_app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe does not read the revision scripts again."""
    client = upgraded_app.test_client()
    client.get("/readyz")
    monkeypatch.setattr(ScriptDirectory, "_load_revisions", None)
    monkeypatch.setattr(ScriptDirectory, "from_config", None)
    assert 200 == client.get("/readyz").status_code


@pytest.mark.usefixtures("patient")
def test_many_at_once(upgraded_app: Flask) -> None:
    """Whoever asks while the database is asked gets the same answer."""
    with ThreadPoolExecutor(32) as pool:
        assert {(200, "ready")} == set(pool.map(lambda _: probe(upgraded_app), range(200)))


@pytest.mark.usefixtures("patient")
def test_busy_pool(upgraded_app: Flask) -> None:
    """The app's own connections may all be in use, or dead: a probe has its own."""
    with ExitStack() as stack:
        for _ in range(15):  # SQLAlchemy's pool_size and max_overflow
            stack.enter_context(db.engine.connect())
        assert (200, {"status": "ready"}) == readiness(upgraded_app)


def probe(app: Flask) -> tuple[int, str]:
    """Status code and status."""
    code, body = readiness(app)
    assert isinstance(body, dict)
    return code, body["status"]


@pytest.fixture
def silent() -> Iterator[int]:
    """Yield a port where something takes connections and says nothing."""
    server = socket.create_server(("127.0.0.1", 0))
    yield server.getsockname()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # psycopg leaves a login that is broken off to the collector
        server.close()
        for thread in questions():
            thread.join()
        gc.collect()


@pytest.mark.parametrize("dialect", ["mysql", "mariadb", "postgresql"])
@pytest.mark.parametrize("port", ["silent", 1])
def test_unreachable_server(
    request: pytest.FixtureRequest, app_on: Callable[[str], Flask], dialect: str, port: str | int
) -> None:
    """Refused, or never answered: a probe is told within 2 seconds, one after the other, and the process lives."""
    number = request.getfixturevalue(port) if isinstance(port, str) else port
    app = app_on(database_url({"DATABASE_URL": f"{dialect}://u:s3cr3t@127.0.0.1:{number}/d"}))
    for _ in range(2):
        start = time.monotonic()
        assert (503, {"status": "unreachable"}) == readiness(app)
        assert time.monotonic() - start < 2
    assert 200 == app.test_client().get("/healthz").status_code


def test_unreachable_file(tmp_path: Path, app_on: Callable[[str], Flask]) -> None:
    """A file that is no database, in a folder that is there or not."""
    (tmp_path / "notes.txt").write_text("This is no database, and longer than the header of one: " + "x" * 100)
    for path in (tmp_path / "notes.txt", tmp_path / "nowhere" / "app.db"):
        assert (503, {"status": "unreachable"}) == readiness(app_on(f"sqlite:///{path}"))


def test_locked_file(tmp_path: Path, app_on: Callable[[str], Flask]) -> None:
    """A database that another process has locked whole: no answer in time, and one again when it lets go."""
    app = app_on(f"sqlite:///{tmp_path}/app.db")
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        assert (503, {"status": "unreachable"}) == readiness(app)
        assert time.monotonic() - start < 2
        other.execute("COMMIT")
    for thread in questions():
        thread.join()
    assert (503, {"status": "behind"}) == readiness(app)


def test_recovers(tmp_path: Path, app_on: Callable[[str], Flask]) -> None:
    """Unreachable once is not unreachable for ever."""
    app = app_on(f"sqlite:///{tmp_path}/later/app.db")
    assert (503, {"status": "unreachable"}) == readiness(app)
    (tmp_path / "later").mkdir()
    with app.app_context():
        flask_migrate.upgrade()
    assert (200, {"status": "ready"}) == readiness(app)


def test_no_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, app_on: Callable[[str], Flask]) -> None:
    """Without a migrations folder nothing is at head."""
    app = app_on(f"sqlite:///{tmp_path}/app.db")
    monkeypatch.setattr(app.extensions["migrate"].migrate, "directory", str(tmp_path / "nowhere"))
    assert (503, {"status": "behind"}) == readiness(app)


@pytest.fixture
def app_with(default_folder: Path, app_on: Callable[..., Flask]) -> Callable[..., Flask]:
    """Return a function that makes an app on the database at a URL, and on one for each bind, which has a folder."""

    def make(url: str, **binds: str) -> Flask:
        for key in binds:
            folder = default_folder / key
            (folder / "versions").mkdir(parents=True)
            (folder / "versions" / "a1.py").write_text("revision = 'a1'\ndown_revision = None")
            (folder / "alembic.ini").write_text(f"[alembic]\nbind = {key}")
        return app_on(url, **binds)

    return make


@pytest.mark.usefixtures("patient")
def test_bind(app_with: Callable[..., Flask], tmp_path: Path) -> None:
    """A database of SQLALCHEMY_BINDS is probed too, if migrations/ has a folder for it."""
    app = app_with(f"sqlite:///{tmp_path}/app.db", audit="sqlite://")
    with app.app_context():
        flask_migrate.upgrade()
        assert (503, {"status": "behind", "bind": "audit"}) == readiness(app)
        with db.engines["audit"].begin() as connection:
            connection.execute(text("CREATE TABLE alembic_version AS SELECT 'a1' AS version_num"))
        assert (200, {"status": "ready"}) == readiness(app)


def test_unreachable_binds(app_with: Callable[..., Flask], silent: int) -> None:
    """Four databases that never answer take a probe no longer than one."""
    url = database_url({"DATABASE_URL": f"postgresql://u@127.0.0.1:{silent}/d"})
    app = app_with(url, a=url, b=url, c=url)
    for _ in range(2):
        start = time.monotonic()
        assert (503, {"status": "unreachable"}) == readiness(app)
        assert time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("def upgrade(:", "SyntaxError: invalid syntax (a1.py, line 1)"),
        ("revision, down_revision = 'a1', 'nope'", "one names revision 'nope', which no script has"),
    ],
)
@pytest.mark.filterwarnings("ignore:Revision nope referenced")
def test_broken_script(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    app_on: Callable[[str], Flask],
    caplog: pytest.LogCaptureFixture,
    script: str,
    says: str,
) -> None:
    """A script that cannot be read is one line in the log for each probe, without a traceback."""
    app = app_on(f"sqlite:///{tmp_path}/app.db")
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "a1.py").write_text(script)
    monkeypatch.setattr(app.extensions["migrate"].migrate, "directory", str(tmp_path))
    monkeypatch.setattr(app.logger, "disabled", False)  # stock's env.py disables it
    assert (503, {"status": "behind"}) == readiness(app)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert (f"not ready: the revision scripts cannot be read: {says}", None) == (record.getMessage(), record.exc_info)


class Proxy:
    """Passes on what a database and its clients say. A connection on which something was said while ``silent`` is set
    stays open, and never passes on anything again.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self.server = server
        self.silent = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # the end of the test
            while True:
                pair = (self.listener.accept()[0], socket.create_connection(self.server))
                dead = threading.Event()
                for one, other in (pair, pair[::-1]):
                    threading.Thread(target=self._pass_on, args=(one, other, dead), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, dead: threading.Event) -> None:
        with one, suppress(OSError):
            while data := one.recv(65536):
                if self.silent.is_set():
                    dead.set()
                if not dead.is_set():
                    other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop accepting connections."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    """Yield a proxy in front of the database's server."""
    url = make_url(database)
    assert url.host is not None
    assert url.port is not None
    with closing(Proxy((url.host, url.port))) as proxy:
        yield proxy


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_connection_that_goes_silent(
    upgraded_app: Flask, app_on: Callable[[str], Flask], database: str, proxy: Proxy
) -> None:
    """No probe waits longer than the first, one thread asks, and it is ready within 5 seconds after the database."""
    url = make_url(database).set(host="127.0.0.1", port=proxy.port)
    probed = app_on(url.render_as_string(hide_password=False))
    assert (200, "ready") == probe(probed)
    proxy.silent.set()
    start = time.monotonic()
    with ThreadPoolExecutor(200) as pool:
        assert {(503, "unreachable")} == set(pool.map(lambda _: probe(probed), range(200)))
    for _ in range(20):  # as a worker does that serves one request at a time
        assert (503, "unreachable") == probe(probed)
    assert time.monotonic() - start < 2
    assert 1 == len(questions())
    proxy.silent.clear()
    start = time.monotonic()
    while probe(probed) != (200, "ready"):
        assert time.monotonic() - start < 5
        for thread in questions():
            thread.join(0.1)


@pytest.mark.parametrize("backend", SERVERS, indirect=True)
def test_locked_table(upgraded_app: Flask, backend: str) -> None:
    """A query that waits for a lock is cancelled on the server too, so that queries do not pile up."""
    lock = {"mysql": "LOCK TABLES alembic_version WRITE", "postgresql": "LOCK TABLE alembic_version"}
    assert (200, "ready") == probe(upgraded_app)
    with db.engine.connect() as connection:
        connection.execute(text(lock[backend]))
        assert (503, "unreachable") == probe(upgraded_app)
        for thread in questions():
            thread.join(10)
        assert [] == questions()
        connection.invalidate()
    assert (200, "ready") == probe(upgraded_app)
