"""The wait for a database's lock, which lets only one command at a time change the database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select

from .adapters.base import Lock
from .console import log
from .database import Database
from .errors import MigrationError, counted

# Seconds between two attempts, and between two log lines.
POLL, REPORT = 0.2, 15.0


@contextmanager
def locked(database: Database, wait: float, what: str = "upgrade") -> Iterator[Lock]:
    """Take the database's lock, yield it, and free it after the block. A "rehearsal" (``what``) has its own lock.

    Raise MigrationError if another command still holds the lock after ``wait`` seconds.
    """
    begun = time.monotonic()
    reported = begun - REPORT
    with database.adapter.lock(database.connection, what) as lock:
        while not lock.take():
            who, end = lock.holder()
            now = time.monotonic()
            if who and now - begun >= wait:
                raise MigrationError(
                    f"gave up after {counted(wait, 'second')}, because another command holds the lock of this database"
                    f" ({who}).",
                    "wait until that command has finished, or, if it hangs, end it:",
                    end,
                )
            if who and now - reported >= REPORT:
                log.info("Waiting for another command on this database (%s)", who)
                reported = now
                # Where the lock has a session of its own, this one would be idle.
                with database.read() as connection:
                    connection.scalar(select(1))
            time.sleep(POLL)
        yield lock
