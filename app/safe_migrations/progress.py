"""What people see on stderr while steps run."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from sqlalchemy import Connection, event

log = logging.getLogger("alembic.runtime.migration")

# Seconds after which a step that still runs says so, and again.
ALIVE = 15.0


class Progress:
    """Tells of each step of a run, and remembers what it should have come to."""

    def __init__(self, step_done: Callable[[], None]) -> None:
        self.step_done = step_done
        self.heads: set[str] | None = None
        self.part_committed = False
        self.begun = time.monotonic()

    @contextmanager
    def shown_on(self, connection: Connection) -> Iterator[None]:
        """While the steps run on ``connection``."""
        ended = Event()
        Thread(target=self._show_that_it_is_alive, args=(ended,), daemon=True, name="alive").start()
        event.listen(connection, "set_connection_execution_options", self._on_execution_options)
        try:
            yield
        finally:
            event.remove(connection, "set_connection_execution_options", self._on_execution_options)
            ended.set()

    def on_version_apply(self, heads: set[str], **_others: Any) -> None:
        """A step has run, and will be committed."""
        self.step_done()
        now = time.monotonic()
        log.info("Done in %.2f seconds", now - self.begun)
        self.heads, self.part_committed, self.begun = heads, False, now

    def _on_execution_options(self, _connection: Connection, options: dict[str, Any]) -> None:
        """An autocommit block commits what its step did before it: that step cannot run again from its start."""
        if options.get("isolation_level") == "AUTOCOMMIT":
            self.part_committed = True

    def _show_that_it_is_alive(self, ended: Event) -> None:
        told = 0.0
        while not ended.wait(min(1.0, ALIVE)):
            now = time.monotonic()
            if now - max(told, self.begun) >= ALIVE:
                log.info("Still running, for %.0f seconds", now - self.begun)
                told = now


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """Show what Alembic logs (`Running upgrade a -> b`) on stderr, in the format of Flask-Migrate's own alembic.ini.

    An app whose logging shows these lines already is left alone, and so is every logger but Alembic's.
    """
    logger = logging.getLogger("alembic")
    if logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
        yield
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)-5.5s [%(name)s] %(message)s"))
    handler.addFilter(_worth_reading)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _worth_reading(record: logging.LogRecord) -> bool:
    """Leave out what Alembic says of itself: its plugins, its class for the dialect, and what that assumes."""
    return record.name != "alembic.runtime.plugins" and not record.msg.startswith(("Context impl", "Will assume"))
