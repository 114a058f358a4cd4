"""The app's database: an open connection to it, a login, and another database in its place."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property
from threading import Thread
from typing import TYPE_CHECKING, Any

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from flask import current_app
from sqlalchemy import Connection, Dialect, Engine, MetaData, Table, event
from sqlalchemy.exc import DBAPIError

from .adapters import adapter_of
from .adapters.base import version_options
from .errors import LoginError, MigrationError, UnsafeError

if TYPE_CHECKING:  # a command that has nothing to do, as most have, does without
    from .adapters.facts import Facts

# Seconds for a server to accept a login. Drivers stop waiting for the network after 10 (config.py); this is for a
# server that takes the connection and says nothing, such as another service behind that port.
LOGIN_WITHIN = 15


def app_engine() -> Engine:
    """Return the app's engine."""
    engine: Engine = current_app.extensions["migrate"].db.engine
    return engine


def name_database(config: Config, engine: Engine) -> None:
    """Set ``sqlalchemy.url``, as Flask-Migrate's env.py does, for scripts that read it. It contains the password."""
    url = engine.url.render_as_string(hide_password=False)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))


def naming_convention() -> Mapping[Any, Any]:
    """Return the convention that names constraints which have no name in a script."""
    convention: Mapping[Any, Any] = current_app.extensions["migrate"].db.metadata.naming_convention
    return convention


def named_by_convention(table: Table) -> Table:
    """Return a copy of the table in which the convention has named the constraints.

    Raise InvalidRequestError for a constraint that has no name and that the convention cannot name, such as a CHECK.
    """
    return table.to_metadata(MetaData(naming_convention=naming_convention()))


class Database:
    """An open connection, with the adapter, the version and the facts of the database behind it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.adapter = adapter_of(connection.engine)

    @cached_property
    def product_and_version(self) -> tuple[str, str]:
        """Return what the server calls itself: ``("mariadb", "10.11.19")``."""
        with self.read() as connection:
            return self.adapter.version(connection)

    @cached_property
    def facts(self) -> "Facts":
        """Return what the product does with operations, in this version."""
        from .adapters.products import facts_of

        product, version = self.product_and_version
        return facts_of(product, tuple(map(int, version.split("."))))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield the connection for reading, and end the transaction that this begins.

        Alembic takes an open transaction for somebody else's, and never commits what it runs in it.
        """
        try:
            yield self.connection
        finally:
            self.connection.rollback()

    def heads(self) -> tuple[str, ...]:
        """Return the revisions that the database says it is at."""
        with self.read() as connection:
            return MigrationContext.configure(connection, opts=version_options()).get_current_heads()

    def has_tables(self) -> bool:
        """Return whether there is a table besides alembic_version and those of this package."""
        with self.read() as connection:
            return self.adapter.has_tables(connection)

    def has_rows(self) -> bool:
        """Return whether a table of the app has a row; True if that cannot be read."""
        with self.read() as connection:
            return self.adapter.has_rows(connection)

    def interrupted(self) -> str:
        """Return which run is under way, or was killed and may have left half of its work; else an empty string."""
        with self.read() as connection:
            return self.adapter.interrupted(connection)

    def require_whole(self) -> None:
        """Raise MigrationError if a run or restore is under way, or was killed and may have left half of its work."""
        with self.read() as connection:
            self.adapter.require_restored(connection)
        if found := self.interrupted():
            raise MigrationError(f"{found}.", "wait for it; or if it was killed, run:", "flask db upgrade")


def heads_in_words(heads: Iterable[str], separator: str = ", ") -> str:
    """Return ``a1, b1``; or ``base`` if there are none."""
    return separator.join(sorted(heads)) or "base"


@contextmanager
def connected(engine: Engine, connect: Callable[[Engine], Connection] = Engine.connect) -> Iterator[Database]:
    """Log in, and yield the database. Raise LoginError if there is no answer within LOGIN_WITHIN seconds."""
    with _logged_in(engine, connect) as connection:
        yield Database(connection)


def _logged_in(engine: Engine, connect: Callable[[Engine], Connection]) -> Connection:
    if not adapter_of(engine).log_in_may_hang:
        return connect(engine)
    login: Future[Connection] = Future()
    Thread(target=_log_in, args=(engine, connect, login), daemon=True, name="login").start()
    try:
        return login.result(timeout=LOGIN_WITHIN)
    except DBAPIError:
        raise
    except TimeoutError as error:
        product = engine.dialect.name
        raise LoginError(f"no answer from a {product} server within {LOGIN_WITHIN} seconds") from error
    except Exception as error:
        raise LoginError(str(error)) from error


def _log_in(engine: Engine, connect: Callable[[Engine], Connection], login: Future[Connection]) -> None:
    try:
        login.set_result(connect(engine))
    except Exception as error:
        login.set_exception(error)


@contextmanager
def replaced_by(engine: Engine) -> Iterator[None]:
    """Give the app ``engine``, and refuse connections to any other database.

    Scripts may use ``db.session``, the engine of a bind, or an engine of their own.
    """
    database = current_app.extensions["migrate"].db
    engines: Any = database.engines  # a dict, which Flask-SQLAlchemy annotates as a Mapping
    real = engines[None]

    def refuse(dialect: Dialect, _record: object, args: list[Any], options: dict[str, Any]) -> None:
        if (dialect.name, _place(args, options)) != place:
            raise UnsafeError(
                "the script connects to a database other than the copy, or as another user; a rehearsal refuses that.",
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
    """Return where a driver would connect to, and as whom: host, port, database and user, or the file."""
    names = (("host",), ("port",), ("dbname", "database", "db"), ("user",))
    return (*map(str, args), *(str(next((options[key] for key in keys if key in options), "")) for keys in names))
