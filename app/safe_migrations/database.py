"""The connection to the database of the current folder: the app's, or that of a bind; in a rehearsal, to its copy."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cached_property
from threading import Thread
from typing import TYPE_CHECKING, Any

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from flask import current_app
from sqlalchemy import URL, Connection, Dialect, Engine, MetaData, Table, event, inspect
from sqlalchemy.exc import DBAPIError

from .adapters import adapter_of
from .adapters.base import version_options
from .errors import LoginError, MigrationError, UnsafeError, relative
from .folder import KEY, folder

if TYPE_CHECKING:  # a command that has nothing to do, as most have, does without
    from .adapters.facts import Facts

# Seconds for a server to accept a login. Drivers stop waiting for the network after 10 (config.py); this is for a
# server that takes the connection and says nothing, such as another service behind that port.
LOGIN_WITHIN = 15
# For URLs that name no port: with the port or without, it is the same server.
DEFAULT_PORTS = {"mysql": 3306, "mariadb": 3306, "postgresql": 5432}


def app_engine() -> Engine:
    """Return the SQLAlchemy engine of the database that the current folder manages: the app's, or that of a bind.

    Raise MigrationError if the app's config does not have it.
    """
    engines: Mapping[str | None, Engine] = current_app.extensions["migrate"].db.engines
    bind, path = folder().bind, folder().path
    if bind is None and folder().is_inside and len(engines) > 1 and (path / "env.py").is_file():
        # Its scripts must not run on the default database. Before `init` there is no env.py.
        raise MigrationError(
            f"{relative(path / 'alembic.ini')} does not say which bind's database {relative(path)} manages.",
            "add the line below [alembic], with a key of SQLALCHEMY_BINDS:",
            f"{KEY} = {path.name if path.name in engines else 'KEY'}",
        )
    if bind not in engines:
        name = f"SQLALCHEMY_BINDS[{bind!r}]" if bind else "SQLALCHEMY_DATABASE_URI"
        raise MigrationError(
            f"{relative(path)} manages the {f'bind {bind}' if bind else 'default database'}, but the app's"
            f" config has no {name}.",
            "set it to the URL of the database, or, if the app no longer uses that, delete the folder:",
            f"rm -r {shlex.quote(relative(path))}",
        )
    return engines[bind]


def engine_options() -> Mapping[str, Any]:
    """Return the options, other than the URL, with which Flask-SQLAlchemy creates the engine of app_engine()."""
    bind, config = folder().bind, current_app.config
    options = config["SQLALCHEMY_BINDS"][bind] if bind else config.get("SQLALCHEMY_ENGINE_OPTIONS", {})
    return {name: value for name, value in options.items() if name != "url"} if isinstance(options, Mapping) else {}


def models_metadata() -> MetaData:
    """Return the metadata of the models whose tables the database of app_engine() has."""
    database = current_app.extensions["migrate"].db
    metadata: MetaData = database.metadatas.get(folder().bind, database.metadata)
    return metadata


def location(url: URL) -> str:
    """Return the server (or its socket), port and database that ``url`` names, such as ``db1:5432/app``."""
    host = url.host or url.query.get("host") or url.query.get("unix_socket")
    return f"{host}:{url.port or DEFAULT_PORTS.get(url.get_backend_name())}/{url.database}"


def name_database(config: Config, engine: Engine) -> None:
    """Set the option ``sqlalchemy.url`` of ``config``, which scripts may read, to the engine's URL with password.

    Flask-Migrate's own env.py does so too.
    """
    url = engine.url.render_as_string(hide_password=False)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))


def has_convention() -> bool:
    """Return True if the models have a naming convention of their own."""
    return models_metadata().naming_convention != MetaData().naming_convention


def named_by_convention(table: Table, convention: MetaData) -> Table:
    """Return a copy of ``table`` in which the naming convention of ``convention`` has named the unnamed constraints.

    Raise InvalidRequestError if the convention needs the constraint's own name, as it does for an unnamed CHECK.
    """
    return table.to_metadata(MetaData(naming_convention=convention.naming_convention))


def tables_of_models(context: MigrationContext) -> dict[tuple[str | None, str], Table]:
    """Return the tables of the models by schema and name, with None for the default schema."""
    assert context.connection is not None
    default = inspect(context.connection).default_schema_name
    metadata = context.opts["target_metadata"]
    return {
        (None if table.schema == default else table.schema, table.name): table
        for each in (metadata if isinstance(metadata, list | tuple) else [metadata])
        for table in each.tables.values()
    }


class Database:
    """An open connection to a database, with its adapter (the code for its product), its version and its facts."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.adapter = adapter_of(connection.engine)

    @cached_property
    def product_and_version(self) -> tuple[str, str]:
        """Return the product and version of the server, such as ``("mariadb", "10.11.19")``."""
        with self.read() as connection:
            return self.adapter.version(connection)

    @cached_property
    def facts(self) -> "Facts":
        """Return the facts of this version: how it runs each operation, e.g. by copying the table."""
        from .adapters.products import facts_of

        product, version = self.product_and_version
        return facts_of(product, tuple(map(int, version.split("."))))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield the connection for queries, and roll back afterwards, so that no transaction stays open.

        If a query left one open, Alembic would run its steps in it without committing them.
        """
        try:
            yield self.connection
        finally:
            self.connection.rollback()

    def heads(self) -> tuple[str, ...]:
        """Return the revisions that the database is at, from its table alembic_version; an empty tuple at base."""
        with self.read() as connection:
            return MigrationContext.configure(connection, opts=version_options()).get_current_heads()

    def has_tables(self) -> bool:
        """Return True if there is a table other than alembic_version and this package's own."""
        with self.read() as connection:
            return self.adapter.has_tables(connection)

    def has_rows(self) -> bool:
        """Return True if a table of the app has rows, or cannot be read."""
        with self.read() as connection:
            return self.adapter.has_rows(connection)

    def require_writable(self, command: str) -> None:
        """Raise MigrationError if the database refuses writes, as a standby does; its `Fix:` may repeat ``command``."""
        with self.read() as connection:
            self.adapter.require_writable(connection, command)

    def interrupted(self) -> str:
        """Return a text that names the run or restore that is in progress or was killed half-way; else an empty one."""
        with self.read() as connection:
            return self.adapter.interrupted(connection)

    def require_whole(self) -> None:
        """Raise MigrationError if a run or restore is in progress or was killed half-way."""
        with self.read() as connection:
            self.adapter.require_restored(connection)
        if found := self.interrupted():
            raise MigrationError(
                f"{found}.",
                "wait until it has finished; if it was killed, this undoes or continues it:",
                "flask db upgrade",
            )


def heads_in_words(heads: Iterable[str], separator: str = ", ") -> str:
    """Return the revisions as text, such as ``a1, b1``, or ``base`` if there is no revision."""
    return separator.join(sorted(heads)) or "base"


@contextmanager
def connected(engine: Engine, connect: Callable[[Engine], Connection] = Engine.connect) -> Iterator[Database]:
    """Connect by ``connect(engine)``, and yield the Database.

    Raise SQLAlchemy's DBAPIError if the database refuses the connection, and LoginError if it does not answer within
    15 seconds (LOGIN_WITHIN), or if the driver raises an error that is not its own DBAPI error.
    """
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
    """Inside the block, make ``engine`` the app's engine, and raise UnsafeError for a connection elsewhere.

    So ``db.session`` uses ``engine``, and a script cannot connect to another bind's database or with its own engine.
    """
    database = current_app.extensions["migrate"].db
    engines: Any = database.engines  # a dict, which Flask-SQLAlchemy annotates as a Mapping
    bind = folder().bind
    real = engines[bind]

    def refuse(dialect: Dialect, _record: object, args: list[Any], options: dict[str, Any]) -> None:
        if (dialect.name, _place(args, options)) != place:
            raise UnsafeError(
                "a rehearsal runs on a copy of the database, but the script connects to another database, or as another"
                " user.",
                "use the revision's own connection, which leads to the copy:",
                "op.get_bind().execute(...)",
            )

    place = engine.dialect.name, _place(*engine.dialect.create_connect_args(engine.url))
    event.listen(Engine, "do_connect", refuse)
    database.session.remove()
    engines[bind] = engine
    try:
        yield
    finally:
        database.session.remove()
        engines[bind] = real
        event.remove(Engine, "do_connect", refuse)


def _place(args: Sequence[Any], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the host, port, database and user, or the file, that a driver's connect() gets as arguments."""
    names = (("host",), ("port",), ("dbname", "database", "db"), ("user",))
    return (*map(str, args), *(str(next((options[key] for key in keys if key in options), "")) for keys in names))
