"""SQLAlchemy's dialects, to write SQL with, without a connection or a DBAPI."""

from functools import cache
from typing import Any

from sqlalchemy import URL, Dialect


@cache
def dialect_of(name: str) -> Dialect:
    """The dialect of that name; parameters are ``:name``, so that each % stays as it is."""
    kind: Any = URL.create(name).get_dialect()
    made: Dialect = kind(paramstyle="named")
    return made
