"""The app's database: its engine, another one in its place, a login, and the revisions that it is at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import Any

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from flask import current_app
from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.exc import DBAPIError

from .adapters import Adapter
from .adapters.base import version_options
from .errors import LoginError, UnsafeError

# Seconds for a server to accept a login. Drivers stop waiting for the network after 10 (config.py); this is for a
# server that takes the connection and says nothing, such as another service behind that port.
LOGIN_WITHIN = 15


def app_engine() -> Engine:
    """The engine that the app has."""
    engine: Engine = current_app.extensions["migrate"].db.engine
    return engine


def name_database(config: Config, engine: Engine) -> None:
    """Set ``sqlalchemy.url``, as Flask-Migrate's env.py does, for scripts that read it. It contains the password."""
    url = engine.url.render_as_string(hide_password=False)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))


def naming_convention() -> Mapping[Any, Any]:
    """What gives a name to constraints that have none in a script."""
    convention: Mapping[Any, Any] = current_app.extensions["migrate"].db.metadata.naming_convention
    return convention


def heads_of(connection: Connection) -> tuple[str, ...]:
    """The revisions that the database says it is at; ends the transaction."""
    heads = MigrationContext.configure(connection, opts=version_options()).get_current_heads()
    connection.rollback()
    return heads


def heads_in_words(heads: Iterable[str]) -> str:
    """``a1, b1``; or ``base`` if there are none."""
    return ", ".join(sorted(heads)) or "base"


def connected(adapter: Adapter) -> Connection:
    """Log in. Raises LoginError for a server that does not answer within LOGIN_WITHIN seconds."""
    if not adapter.log_in_may_hang:
        return adapter.engine.connect()
    login: Future[Connection] = Future()
    Thread(target=_log_in, args=(adapter.engine, login), daemon=True, name="login").start()
    try:
        return login.result(timeout=LOGIN_WITHIN)
    except DBAPIError:
        raise
    except TimeoutError as error:
        product = adapter.engine.dialect.name
        raise LoginError(f"no answer from a {product} server within {LOGIN_WITHIN} seconds") from error
    except Exception as error:
        raise LoginError(str(error)) from error


def _log_in(engine: Engine, login: Future[Connection]) -> None:
    try:
        login.set_result(engine.connect())
    except Exception as error:
        login.set_exception(error)


@contextmanager
def replaced_by(engine: Engine) -> Iterator[None]:
    """Give the app ``engine``, and refuse connections to any other database: scripts may use ``db.session``, the engine
    of a bind, or one of their own.
    """
    database = current_app.extensions["migrate"].db
    engines: Any = database.engines  # the dict of Flask-SQLAlchemy, which says that it is a Mapping
    real = engines[None]

    def refuse(dialect: Dialect, _record: object, args: list[Any], options: dict[str, Any]) -> None:
        if (dialect.name, _place(args, options)) != place:
            raise UnsafeError(
                "a script connects to another database than the copy, which a rehearsal refuses.",
                "use the connection of the revision:",
                "op.get_bind().execute(...)",
            )

    place = engine.dialect.name, _place(*engine.dialect.create_connect_args(engine.url))
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
