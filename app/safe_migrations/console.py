"""The log lines that commands print on stderr while they run."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import click

from .errors import counted, size_in_words, time_in_words
from .folder import for_folder

StepDone = Callable[[set[str]], None]
"""A function that is called after each step, before its commit, with the new heads of the database."""

log = logging.getLogger("alembic.runtime.migration")


def _for_folder(record: logging.LogRecord) -> bool:
    """Add the option `-d` to the `flask db` lines of ``record``. Return True, so that it is logged."""
    if "flask db " in record.getMessage():
        record.msg, record.args = for_folder(record.getMessage()), ()
    return True


log.addFilter(_for_folder)


def echo(text: str, *, err: bool = False) -> None:
    """Print ``text`` on stdout, or on stderr if ``err``, with the option `-d` in its `flask db` lines.

    All commands of this package print by this function.
    """
    click.echo(for_folder(text), err=err)


# A step that took at least this many seconds logs its duration.
LONG = 1.0
# While a step runs, a line says so every so many seconds.
ALIVE = 15.0
# Seconds between the lines about the progress of a backup, a restore or a copy; from ALIVE on it is ALIVE.
REPORTED = 2.0


class Progress:
    """The log lines about the steps of a run. ``heads`` are the revisions after each step; None until one has run."""

    def __init__(self, step_done: StepDone) -> None:
        self.step_done = step_done
        self.heads: set[str] | None = None
        self.begun = time.monotonic()
        self.logged = 0.0

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside the block, log how long the current step has taken, 15 seconds (ALIVE) after any other line."""
        log.addFilter(self._note_line)
        try:
            with repeatedly(min(1.0, ALIVE), self._log_that_it_runs):
                yield
        finally:
            log.removeFilter(self._note_line)

    def on_version_apply(self, heads: set[str], **_others: Any) -> None:
        """Call step_done(), and log the duration of a step that took a second (LONG) or more.

        Alembic calls this after each step, before the step is committed.
        """
        self.step_done(heads)
        now = time.monotonic()
        if now - self.begun >= LONG:
            log.info("This revision took %.1f seconds", now - self.begun)
        self.heads, self.begun = heads, now

    def _note_line(self, _record: logging.LogRecord) -> bool:
        self.logged = time.monotonic()
        return True

    def _log_that_it_runs(self) -> None:
        now = time.monotonic()
        if now - max(self.logged, self.begun) >= ALIVE:
            log.info("Still running: this revision has taken %.0f seconds so far", now - self.begun)


@contextmanager
def only_warnings() -> Iterator[None]:
    """Inside the block, hide Alembic's log lines below WARNING, such as "Detected added table"."""
    loggers = [logging.getLogger(f"alembic.{part}") for part in ("runtime", "autogenerate", "ddl")]
    before = [logger.level for logger in loggers]
    for logger in loggers:  # not their parent, whose level log_on_stderr() sets
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def each_warning_once() -> Iterator[None]:
    """Inside the block, show a warning with the same text only once, wherever it comes from."""
    seen: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_once(message: Warning | str, *args: Any, **options: Any) -> None:
            if str(message) not in seen:
                seen.add(str(message))
                show(message, *args, **options)

        warnings.showwarning = show_once
        yield


@contextmanager
def repeatedly(seconds: float, action: Callable[[], object]) -> Iterator[None]:
    """Inside the block, call ``action`` every ``seconds`` seconds in another thread, and wait for that at the end."""
    ended = Event()

    def run() -> None:
        while not ended.wait(seconds):
            action()

    thread = Thread(target=run, daemon=True, name="repeatedly")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def reported(what: str, file: Path | None = None, expected: int = 0) -> Iterator[None]:
    """Inside the block, log ``what`` every 2 seconds (REPORTED), after 15 seconds (ALIVE) only every 15.

    The line says how long the block has taken; or if ``file`` is given, the size of the file that the block writes, and
    at which rate. ``expected`` is the size that the file will probably have, in bytes; 0 if that is not known.
    """
    begun = logged = time.monotonic()

    def report() -> None:
        nonlocal logged
        now = time.monotonic()
        if now - begun >= ALIVE > now - logged:
            return
        logged, done = now, f"{time_in_words(round(now - begun))} so far"
        if file is not None:
            size = file.stat().st_size if file.exists() else 0
            of = f" of about {size_in_words(expected)}" if size < expected else ""
            done = f"{size_in_words(size)}{of}, {size_in_words(size / (now - begun))} per second"
        log.info("%s: %s", what, done)

    with repeatedly(REPORTED, report):
        yield


class RowProgress:
    """The log lines about ``what``, which goes through a table of about ``total`` rows; 0 if that is not known.

    ``done`` is the number of rows that an earlier run has done.
    """

    def __init__(self, what: str, done: int, total: int) -> None:
        self.what, self.first, self.done, self.total = what, done, done, total
        self.begun = self.logged = time.monotonic()

    def reach(self, done: int) -> None:
        """Note how many rows are done; log it every 2 seconds (REPORTED), after 15 seconds (ALIVE) every 15."""
        self.done, now = done, time.monotonic()
        if now - self.logged < (REPORTED if now - self.begun < ALIVE else ALIVE):
            return
        self.logged, rate = now, (done - self.first) / (now - self.begun)
        known = self.total > done
        of = f" of about {self.total}" if known else ""
        left = f", about {time_in_words(round((self.total - done) / rate))} left" if known and rate else ""
        log.info("%s: %d%s rows, %.0f per second%s", self.what, done, of, rate, left)

    def end(self, changed: int) -> None:
        """Log how many rows this run has gone through, how many of them it has changed, and how long that took."""
        rows, taken = counted(self.done - self.first, "row"), time_in_words(time.monotonic() - self.begun)
        log.info("%s: went through %s and changed %d in %s", self.what, rows, changed, taken)


def add_to(error: BaseException, line: str) -> None:
    """Add ``line`` to the notes of ``error``, which commands print after its message.

    For KeyboardInterrupt and SystemExit, log ``line`` too: commands may end without a message then.
    """
    error.add_note(line)
    if not isinstance(error, Exception):
        log.info(line)


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """Inside the block, print Alembic's log lines, such as `Running upgrade a -> b`, on stderr.

    Do nothing if the app's logging already prints them. The format is that of Flask-Migrate's alembic.ini.
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
    """Return False for a log line of Alembic that says nothing about the database, such as "Context impl ..."."""
    empty = ("Context impl", "Will assume", "Detected sequence named")
    return record.name != "alembic.runtime.plugins" and not record.msg.startswith(empty)
