"""SQLAlchemy's dialect objects, which write SQL without a connection or an installed driver."""

from functools import cache
from typing import Any

from sqlalchemy import URL, Dialect


@cache
def dialect_of(name: str) -> Dialect:
    """Return SQLAlchemy's dialect ``name``, e.g. mysql. It writes parameters as ``:name``, so that % is not doubled."""
    kind: Any = URL.create(name).get_dialect()
    made: Dialect = kind(paramstyle="named")
    return made
