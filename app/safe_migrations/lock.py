"""One run at a time on each database: waiting for the lock, naming its holder, and giving up."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from .adapters.base import Lock
from .console import log
from .database import Database
from .errors import MigrationError

# Seconds between two attempts, and between two log lines.
POLL, REPORT = 0.2, 15.0


@contextmanager
def locked(database: Database, wait: float, what: str = "upgrade") -> Iterator[Lock]:
    """Hold the database's lock for ``what``. Raise MigrationError if another command holds it for ``wait`` seconds."""
    begun = time.monotonic()
    reported = begun - REPORT
    with database.adapter.lock(database.connection, what) as lock:
        while not lock.take():
            who, end = lock.holder()
            now = time.monotonic()
            if who and now - begun >= wait:
                raise MigrationError(
                    f"another command has held the lock of this database for {wait:g} seconds ({who}).",
                    "wait for it, or if it hangs, end it:",
                    end,
                )
            if who and now - reported >= REPORT:
                log.info("Waiting for another command on this database (%s)", who)
                reported = now
            time.sleep(POLL)
        yield lock
