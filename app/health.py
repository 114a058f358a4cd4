"""/healthz and /readyz, for load balancers and container platforms."""

import socket
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock, Thread, current_thread
from typing import Any

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Blueprint, current_app
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine, NullPool, StaticPool, create_engine, event

from app.extensions import db

# Seconds. Probes time out after a few (Kubernetes' after 1 by default), and a worker that waits for the database serves
# no other request.
ANSWER_WITHIN = 0.5
GIVE_UP_AFTER = 2

# The options that end a query to a database that does not answer, by driver.
TIME_OUTS: dict[str, dict[str, Any]] = {
    "pymysql": {
        "connect_timeout": GIVE_UP_AFTER,
        "read_timeout": GIVE_UP_AFTER,
        "write_timeout": GIVE_UP_AFTER,
        "init_command": f"SET lock_wait_timeout = {GIVE_UP_AFTER}",
    },
    "psycopg": {"connect_timeout": GIVE_UP_AFTER},
}


class Query(Thread):
    """A thread that queries the database's revisions; ``revisions`` is None until the database has answered."""

    def __init__(self, engine: Engine, options: dict[str, Any]) -> None:
        super().__init__(daemon=True, name="readyz")
        self.engine = engine
        self.options = options
        self.since = time.monotonic()
        self.revisions: set[str] | None = None
        self.error = "time-out"
        self.wire: socket.socket | None = None

    def run(self) -> None:
        """Query the database, and store the revisions or the error."""
        try:
            with self.engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    # Not as a startup option, which PgBouncer refuses, nor for the session, which it gives to others.
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{GIVE_UP_AFTER}s'")
                self.revisions = set(MigrationContext.configure(connection, opts=self.options).get_current_heads())
        except Exception as error:
            self.error = type(error).__name__
        finally:
            self.cut()

    def cut(self) -> None:
        """Shut down the socket of the query, if ``wire`` has it: psycopg would wait for an answer for ever."""
        wire, self.wire = self.wire, None
        if wire:
            with wire, suppress(OSError):  # it has ended by itself
                wire.shutdown(socket.SHUT_RDWR)


class Readiness:
    """The comparison of a database with its scripts, for /readyz: those in migrations/, or in the folder of a bind."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.lock = Lock()
        self.running: Query | None = None

    @cached_property
    def config(self) -> Config:
        """Return Alembic's configuration, of which alembic.ini in the folder is a part."""
        config: Config = current_app.extensions["migrate"].migrate.get_config(self.folder)
        return config

    @cached_property
    def script(self) -> ScriptDirectory:
        """Return the revision scripts. They are read once, at the first probe, because only a release changes them."""
        return ScriptDirectory.from_config(self.config)

    @cached_property
    def bind(self) -> str | None:
        """Return the bind key of the database, which alembic.ini in the folder of a bind has; None for the default."""
        return self.config.get_main_option("bind") if self.folder else None

    @cached_property
    def binds(self) -> list["Readiness"]:
        """Return the readiness of each bind that has a folder in migrations/."""
        folders = sorted(Path(current_app.extensions["migrate"].migrate.directory).glob("*/alembic.ini"))
        return [each for each in (Readiness(ini.parent) for ini in folders) if each.bind]

    @cached_property
    def engine(self) -> Engine:
        """Return an engine that opens a connection for each query: the app's pool may be busy, or hold dead ones.

        For a SQLite database in memory, which only its one connection sees, return the app's engine.
        """
        engine, config = db.engines[self.bind], current_app.config
        if isinstance(engine.pool, StaticPool):
            return engine
        options = config["SQLALCHEMY_BINDS"][self.bind] if self.bind else config["SQLALCHEMY_ENGINE_OPTIONS"]
        own = options.get("connect_args", {}) if isinstance(options, dict) else {}
        connect_args = {**TIME_OUTS.get(engine.dialect.driver, {}), **own}
        engine = create_engine(engine.url, poolclass=NullPool, connect_args=connect_args)
        event.listen(engine, "connect", _remember_wire, insert=True)  # before SQLAlchemy's first statements
        return engine

    def statuses(self) -> dict[str | None, str]:
        """Return the status() of the default database, under the key None, and of each bind that has a folder.

        This takes a second at most, even if no database answers: all are queried at once.
        """
        until = time.monotonic() + ANSWER_WITHIN
        queries = [(each, each.query(until)) for each in (self, *self.binds)]
        return {each.bind: each.status(query) for each, query in queries}

    def query(self, until: float) -> Query | None:
        """Return the query that is running, else start one. Only one runs at a time, so that threads do not pile up.

        A query that has run for more than 2 seconds (GIVE_UP_AFTER) is ended first, if its socket is known; ``until``
        is the time.monotonic() to wait for its end. Return None if the scripts cannot be read.
        """
        try:
            engine, _ = self.engine, self.script.get_heads()
        except Exception as error:
            words = f"{type(error).__name__}: {error}".partition("\n")[0]
            if isinstance(error, KeyError):  # from Alembic, for a down_revision or depends_on
                words = f"one names revision {error}, which no script has"
            # One line, and no traceback: each probe logs it.
            current_app.logger.error("not ready: the revision scripts cannot be read: %s", words)  # noqa: TRY400
            return None
        with self.lock:
            if self.running and self.running.wire and time.monotonic() - self.running.since > GIVE_UP_AFTER:
                self.running.cut()
                self.running.join(max(0, until - time.monotonic()))
            if self.running is None or not self.running.is_alive():
                self.running = Query(engine, current_app.extensions["migrate"].configure_args)
                self.running.start()
            return self.running

    def status(self, query: Query | None) -> str:
        """Return ``ready`` if the database is at head, else ``behind``, ``ahead`` (of the scripts) or ``unreachable``.

        Return ``behind``, too, if there are no scripts or they cannot be read, and ``unreachable`` if the database
        answers with an error, or not within half a second (ANSWER_WITHIN) after the ``query``.
        """
        if query is None:
            return "behind"
        query.join(max(0, query.since + ANSWER_WITHIN - time.monotonic()))
        current, heads = query.revisions, set(self.script.get_heads(consider_depends_on=True))
        if current is None:
            current_app.logger.warning("not ready: the database's revision cannot be read: %s", query.error)
            return "unreachable"
        if current == heads and heads:
            return "ready"
        scripts = list(self.script.walk_revisions())
        known = {name for each in scripts for name in (each.revision, *getattr(each.module, "replaces", ()))}
        if not current <= known:
            return "ahead"
        return "ready" if heads and heads <= current else "behind"


def _remember_wire(connection: Any, _record: object) -> None:
    thread = current_thread()
    if isinstance(thread, Query) and hasattr(connection, "fileno"):
        # A copy: by the time it is shut down, the number may belong to another file.
        thread.wire = socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)


blueprint = Blueprint("health", __name__)


@blueprint.record
def add_readiness(state: BlueprintSetupState) -> None:
    """Store a new Readiness in the extensions of the app that registers the blueprint."""
    state.app.extensions["readiness"] = Readiness()


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Answer with status 200, because the process is up."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """Answer with status 200 if each database is at head, else with 503, and the status of the first that is not."""
    statuses = current_app.extensions["readiness"].statuses()
    for bind, status in statuses.items():
        if status != "ready":
            return {"status": status, **({"bind": bind} if bind else {})}, 503
    return {"status": "ready"}
