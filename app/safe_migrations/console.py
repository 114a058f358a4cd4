"""What people see on stderr while steps run."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

StepDone = Callable[[set[str]], None]
"""To be called in the transaction that ends a step, with the heads that the database is at from then on."""

log = logging.getLogger("alembic.runtime.migration")

# Seconds after which a step that still runs says so, and again.
ALIVE = 15.0
# Seconds after which a backup, a restore or a copy says that it goes on, and how far, and again.
REPORTED = 2.0


class Progress:
    """Shows each step of a run, and keeps the revisions that the database should be at after it."""

    def __init__(self, step_done: StepDone) -> None:
        self.step_done = step_done
        self.heads: set[str] | None = None
        self.begun = time.monotonic()
        self.told = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Log every ALIVE seconds that a step is still running."""
        with repeatedly(min(1.0, ALIVE), self._show_that_it_is_alive):
            yield

    def on_version_apply(self, heads: set[str], **_others: Any) -> None:
        """Log the end of a step, which is committed next."""
        self.step_done(heads)
        now = time.monotonic()
        log.info("Done in %.2f seconds", now - self.begun)
        self.heads, self.begun = heads, now

    def _show_that_it_is_alive(self) -> None:
        now = time.monotonic()
        if now - max(self.told, self.begun) >= ALIVE:
            log.info("Still running, for %.0f seconds", now - self.begun)
            self.told = now


@contextmanager
def only_warnings() -> Iterator[None]:
    """Keep Alembic from telling what it looks at, where people have not asked for it."""
    alembic = logging.getLogger("alembic")
    before = alembic.level
    alembic.setLevel(logging.WARNING)
    try:
        yield
    finally:
        alembic.setLevel(before)


@contextmanager
def repeatedly(seconds: float, action: Callable[[], None]) -> Iterator[None]:
    """Run ``action`` every ``seconds``, in a thread of its own."""
    ended = Event()

    def run() -> None:
        while not ended.wait(seconds):
            action()

    Thread(target=run, daemon=True, name="progress").start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def reported(what: str, file: Path | None = None) -> Iterator[None]:
    """Tell every REPORTED seconds that it goes on, with the size of ``file``."""

    def tell() -> None:
        size = f": {file.stat().st_size / 1e6:.1f} MB" if file is not None and file.exists() else ""
        log.info("%s%s", what, size)

    with repeatedly(REPORTED, tell):
        yield


def add_to(error: BaseException, line: str) -> None:
    """Let the message of ``error`` end with ``line``; Ctrl-C has none, so it is told at once."""
    error.add_note(line)
    if not isinstance(error, Exception):
        log.info(line)


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
