"""What people see on stderr while steps run."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("alembic.runtime.migration")


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
