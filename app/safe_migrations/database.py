"""The engine of the app's database, and another one in its place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import current_app
from sqlalchemy import Engine


def app_engine() -> Engine:
    """The engine that the app has."""
    engine: Engine = current_app.extensions["migrate"].db.engine
    return engine


@contextmanager
def replaced_by(engine: Engine) -> Iterator[None]:
    """Let the app have ``engine``: scripts may use ``db.session``, which must not reach the real database then."""
    database = current_app.extensions["migrate"].db
    engines: Any = database.engines  # the dict of Flask-SQLAlchemy, which says that it is a Mapping
    real = engines[None]
    database.session.remove()
    engines[None] = engine
    try:
        yield
    finally:
        database.session.remove()
        engines[None] = real
