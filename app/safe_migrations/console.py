"""Log lines on stderr while steps run."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

StepDone = Callable[[set[str]], None]
"""Called in the transaction that ends a step, with the heads of the database from then on."""

log = logging.getLogger("alembic.runtime.migration")

# A step that has taken so many seconds logs how many.
LONG = 1.0
# A step that takes longer than so many seconds logs that it is still running, again and again.
ALIVE = 15.0
# A backup, a restore or a copy logs its size every so many seconds.
REPORTED = 2.0


class Progress:
    """The log lines about each step of a run, and the revisions that the database should be at after it."""

    def __init__(self, step_done: StepDone) -> None:
        self.step_done = step_done
        self.heads: set[str] | None = None
        self.begun = time.monotonic()
        self.logged = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Log every ALIVE seconds that a step is still running."""
        with repeatedly(min(1.0, ALIVE), self._log_that_it_runs):
            yield

    def on_version_apply(self, heads: set[str], **_others: Any) -> None:
        """Log how long a step took, which is committed next."""
        self.step_done(heads)
        now = time.monotonic()
        if now - self.begun >= LONG:
            log.info("Done in %.1f seconds", now - self.begun)
        self.heads, self.begun = heads, now

    def _log_that_it_runs(self) -> None:
        now = time.monotonic()
        if now - max(self.logged, self.begun) >= ALIVE:
            log.info("Still running, for %.0f seconds", now - self.begun)
            self.logged = now


@contextmanager
def only_warnings() -> Iterator[None]:
    """Hide what Alembic logs while it compares schemas for this package."""
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
    """Log ``what`` every REPORTED seconds, with the size of ``file``."""

    def report() -> None:
        size = f": {file.stat().st_size / 1e6:.1f} MB" if file is not None and file.exists() else ""
        log.info("%s%s", what, size)

    with repeatedly(REPORTED, report):
        yield


def add_to(error: BaseException, line: str) -> None:
    """Append ``line`` to the message of ``error``; Ctrl-C has no message, so log the line at once."""
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
    """Return False for what Alembic logs about itself: its plugins, its class for the dialect, its assumptions."""
    return record.name != "alembic.runtime.plugins" and not record.msg.startswith(("Context impl", "Will assume"))
