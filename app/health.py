"""Is the process alive, and is its database ready? For load balancers and container platforms."""

from functools import cached_property
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine

from app.extensions import db

# Seconds. Probes give up after a few (Kubernetes after 1 if not told otherwise), a connection to a dead host does not.
ANSWER_WITHIN = 1.5


class Readiness:
    """Compares the revision of an app's database with the scripts in migrations/."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.one_at_a_time = Lock()

    @cached_property
    def script(self) -> ScriptDirectory:
        """The revision scripts, read at the first probe and kept: the running code does not change either."""
        return ScriptDirectory.from_config(self.app.extensions["migrate"].migrate.get_config())

    def status(self) -> str:
        """``ready``, ``behind``, ``ahead`` or ``unreachable``, within 2 seconds whatever the database does."""
        try:
            heads = set(self.script.get_heads())
        except Exception:
            self.app.logger.exception("not ready: the revision scripts cannot be read")
            return "behind"
        current = self._current(db.engine)
        if current is None:
            return "unreachable"
        if current == heads and heads:
            return "ready"
        known = {revision.revision for revision in self.script.walk_revisions()}
        return "behind" if current <= known else "ahead"

    def _current(self, engine: Engine) -> set[str] | None:
        """The revisions of the database, or None. Asked in a thread, for not every driver has a time-out for all."""
        if not self.one_at_a_time.acquire(timeout=ANSWER_WITHIN / 2):
            return None
        answer: SimpleQueue[set[str] | None] = SimpleQueue()

        def ask() -> None:
            try:
                with engine.connect() as connection:
                    current = set(MigrationContext.configure(connection).get_current_heads())
                answer.put(current)
            except Exception as error:
                self.app.logger.warning("not ready: %s", error.__class__.__name__, exc_info=self.app.debug)
                answer.put(None)
            finally:
                self.one_at_a_time.release()

        Thread(target=ask, daemon=True, name="readyz").start()
        try:
            return answer.get(timeout=ANSWER_WITHIN)
        except Empty:
            return None


def init_app(app: Flask) -> None:
    """Add ``/healthz`` and ``/readyz`` to ``app``."""
    readiness = Readiness(app)

    @app.get("/healthz")
    def healthz() -> ResponseReturnValue:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> ResponseReturnValue:
        status = readiness.status()
        return {"status": status}, 200 if status == "ready" else 503
