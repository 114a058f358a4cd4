"""Stands around every run of migrations/env.py, so that `flask db` and `flask_migrate.upgrade()` are equally safe."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from alembic import context
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from app.safe_migrations.errors import LoginError
from app.safe_migrations.progress import log_on_stderr

# Seconds for a server to accept a login. Drivers stop waiting for the network after 10 (config.py); this is for a
# server that takes the connection and says nothing, such as another service behind that port.
LOGIN_WITHIN = 15


@contextmanager
def guarded(engine: Engine) -> Iterator[dict[str, Any]]:
    """What `context.configure()` is to be given: a connection, or in `--sql` mode the URL and how to write SQL.

    Raises SQLAlchemy's DBAPIError where the database refuses the login, and LoginError where it did not get that far.
    """
    with log_on_stderr():
        if context.is_offline_mode():
            yield {"url": engine.url, "literal_binds": True, "dialect_opts": {"paramstyle": "named"}}
        else:
            with _connected(engine) as connection, _foreign_keys_off(connection):
                yield {"connection": connection}


def _connected(engine: Engine) -> Connection:
    if engine.dialect.name == "sqlite":
        return engine.connect()
    outcome: SimpleQueue[Connection | Exception] = SimpleQueue()

    def connect() -> None:
        try:
            outcome.put(engine.connect())
        except Exception as error:
            outcome.put(error)

    Thread(target=connect, daemon=True, name="login").start()
    result: Connection | Exception
    try:
        result = outcome.get(timeout=LOGIN_WITHIN)
    except Empty:
        result = TimeoutError(f"no answer from a {engine.dialect.name} server within {LOGIN_WITHIN} seconds")
    if isinstance(result, Connection):
        return result
    if isinstance(result, DBAPIError):
        raise result
    raise LoginError(str(result)) from result


@contextmanager
def _foreign_keys_off(connection: Connection) -> Iterator[None]:
    """For SQLite, whose batch mode drops tables and makes them anew: with foreign keys on, ON DELETE runs on rows.

    The pragma does nothing inside a transaction (sqlite.org/foreignkeys.html, section 2), hence the bare connection,
    before Alembic has begun one and after it has ended it.
    """
    bare = connection.connection.dbapi_connection
    if not isinstance(bare, sqlite3.Connection):
        yield
        return
    (enforced,) = bare.execute("PRAGMA foreign_keys").fetchone()
    bare.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.rollback()
        bare.execute(f"PRAGMA foreign_keys={enforced}")
