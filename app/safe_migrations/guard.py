"""Stands around every run of migrations/env.py, so that `flask db` and `flask_migrate.upgrade()` are equally safe."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from alembic import context
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError

from app.safe_migrations.errors import MigrationError
from app.safe_migrations.progress import shown

# Seconds for a server to accept a login. Drivers stop waiting for the network after 10 (config.py); this is for a
# server that takes the connection and says nothing, such as another service behind that port.
LOGIN_WITHIN = 15


@contextmanager
def guard(engine: Engine) -> Iterator[dict[str, Any]]:
    """What `context.configure()` is to be given: a connection, or in `--sql` mode the URL and how to write SQL.

    Raises MigrationError where the database does not answer, and what its driver raises where it says no.
    """
    with shown():
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
    try:
        result = outcome.get(timeout=LOGIN_WITHIN)
    except Empty:
        raise MigrationError(
            f"{engine.url.host}:{engine.url.port or 'default port'} takes connections and does not answer as a"
            f" {engine.dialect.name} server does.",
            "check host and port in DATABASE_URL (or DB_HOST and DB_PORT).",
        ) from None
    if isinstance(result, SQLAlchemyError) and not isinstance(result, InvalidRequestError):
        raise result
    if isinstance(result, Exception):
        raise MigrationError(f"cannot log in to {engine.url!r}: {result}", "check DATABASE_URL.") from result
    return result


@contextmanager
def _foreign_keys_off(connection: Connection) -> Iterator[None]:
    """For SQLite, whose batch mode drops and makes tables anew: with foreign keys on, ON DELETE runs on their rows.

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
