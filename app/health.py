"""Is the process alive, and is its database ready? For load balancers and container platforms."""

from concurrent.futures import Future
from functools import cached_property
from threading import Lock, Thread
from typing import Any

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine, NullPool, StaticPool, create_engine

from app.extensions import db

# Seconds. Those who probe give up after a few (Kubernetes after 1 if not told otherwise); a dead host lets one wait.
ANSWER_WITHIN = 1.5

# What keeps a connection that has gone silent from holding its thread for ever, in the words of each driver.
TIME_OUTS: dict[str, dict[str, Any]] = {
    "pymysql": {"connect_timeout": 5, "read_timeout": 5, "write_timeout": 5},
    "psycopg": {"connect_timeout": 5, "tcp_user_timeout": 5000},
}


class Readiness:
    """Compares the revision of an app's database with the scripts in migrations/."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.asked: Future[set[str]] | None = None

    @cached_property
    def script(self) -> ScriptDirectory:
        """The revision scripts, read at the first probe and kept: they change with a release, as the code does."""
        return ScriptDirectory.from_config(current_app.extensions["migrate"].migrate.get_config())

    @cached_property
    def engine(self) -> Engine:
        """Connects anew for each probe: what the app's pool holds may be busy, or dead without anyone knowing."""
        engine = db.engine
        if isinstance(engine.pool, StaticPool):
            return engine
        options = current_app.config["SQLALCHEMY_ENGINE_OPTIONS"].get("connect_args", {})
        connect_args = {**TIME_OUTS.get(engine.dialect.driver, {}), **options}
        return create_engine(engine.url, poolclass=NullPool, connect_args=connect_args)

    def status(self) -> str:
        """``ready``, ``behind``, ``ahead`` or ``unreachable``, within 2 seconds whatever the database does."""
        try:
            heads = set(self.script.get_heads())
        except Exception:
            current_app.logger.exception("not ready: the revision scripts cannot be read")
            return "behind"
        try:
            current = self._ask().result(timeout=ANSWER_WITHIN)
        except Exception as error:
            current_app.logger.warning("not ready: %s", type(error).__name__)
            return "unreachable"
        if current == heads and heads:
            return "ready"
        known = {revision.revision for revision in self.script.walk_revisions()}
        return "behind" if current <= known else "ahead"

    def _ask(self) -> Future[set[str]]:
        """The database's revisions to come: whoever asks while a question is under way gets the same answer."""
        with self.lock:
            if self.asked is None or self.asked.done():
                self.asked = Future()
                options = current_app.extensions["migrate"].configure_args
                Thread(target=_answer, args=(self.asked, self.engine, options), daemon=True, name="readyz").start()
            return self.asked


def _answer(question: Future[set[str]], engine: Engine, options: dict[str, Any]) -> None:
    try:
        with engine.connect() as connection:
            current = set(MigrationContext.configure(connection, opts=options).get_current_heads())
    except Exception as error:
        question.set_exception(error)
    else:
        question.set_result(current)


def init_app(app: Flask) -> None:
    """Add ``/healthz`` and ``/readyz`` to ``app``."""
    readiness = Readiness()

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> ResponseReturnValue:
        status = readiness.status()
        return {"status": status}, 200 if status == "ready" else 503
