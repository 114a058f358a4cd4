"""SQLAlchemy's dialects, to write SQL without a connection or a DBAPI."""

from functools import cache
from typing import Any

from sqlalchemy import URL, Dialect


@cache
def dialect_of(name: str) -> Dialect:
    """Return the dialect of that name. Parameters are written as ``:name``, so that % is not doubled."""
    kind: Any = URL.create(name).get_dialect()
    made: Dialect = kind(paramstyle="named")
    return made
