"""The app's database: its engine, another one in its place, and the revisions that it is at."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from alembic.runtime.migration import MigrationContext
from flask import current_app
from sqlalchemy import Connection, Dialect, Engine, event

from app.safe_migrations.errors import MigrationError


def app_engine() -> Engine:
    """The engine that the app has."""
    engine: Engine = current_app.extensions["migrate"].db.engine
    return engine


def naming_convention() -> Mapping[Any, Any]:
    """What gives a name to constraints that have none in a script."""
    convention: Mapping[Any, Any] = current_app.extensions["migrate"].db.metadata.naming_convention
    return convention


def heads_of(connection: Connection) -> tuple[str, ...]:
    """The revisions that the database says it is at; ends the transaction."""
    heads = MigrationContext.configure(connection).get_current_heads()
    connection.rollback()
    return heads


@contextmanager
def replaced_by(engine: Engine) -> Iterator[None]:
    """Let the app have ``engine``, and no engine connect to the real database: scripts may use ``db.session``, or make
    an engine of their own.
    """
    database = current_app.extensions["migrate"].db
    engines: Any = database.engines  # the dict of Flask-SQLAlchemy, which says that it is a Mapping
    real = engines[None]

    def refuse(dialect: Dialect, _record: object, args: list[Any], options: dict[str, Any]) -> None:
        if dialect.name == real.dialect.name and _place(args, options) == place:
            raise MigrationError(
                "a script connects to the real database, which is out of bounds here.",
                "use the connection of the revision:",
                "op.get_bind().execute(...)",
            )

    place = _place(*real.dialect.create_connect_args(real.url))
    event.listen(Engine, "do_connect", refuse)
    database.session.remove()
    engines[None] = engine
    try:
        yield
    finally:
        database.session.remove()
        engines[None] = real
        event.remove(Engine, "do_connect", refuse)


def _place(args: Sequence[Any], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a driver would connect to: host, port and database, or the file."""
    names = (("host",), ("port",), ("dbname", "database", "db"))
    return (*map(str, args), *(str(next((options[key] for key in keys if key in options), "")) for keys in names))
