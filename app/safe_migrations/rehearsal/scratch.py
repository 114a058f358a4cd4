"""The scratch database of the app's product: created empty or as a copy of the app's, and dropped at the end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import URL, Column, Connection, Engine, Integer, MetaData, Table, column, create_engine, inspect, table
from sqlalchemy.exc import DBAPIError

from ..adapters import SCRATCH, Adapter, Part, adapter_of
from ..adapters.base import kept_alive, version_table
from ..adapters.client_programs import sigterm_interrupts
from ..backups.files import name_of, private, writing
from ..console import log, reported
from ..database import Database, engine_options
from ..errors import MigrationError, masked, summary
from ..lock import locked
from ..settings import Settings


@contextmanager
def scratch_database(database: Database, using: Settings) -> Iterator[Adapter]:
    """Create an empty scratch database of the product of ``database``, yield its adapter, and drop it at the end.

    The block must not use the connection of ``database``, which is kept alive.
    """
    with _created(database, using) as scratch, kept_alive(database.connection):
        yield scratch


@contextmanager
def scratch_copy(database: Database, using: Settings, rows: bool) -> Iterator[Adapter]:
    """Create a scratch copy, yield its adapter as scratch_database() does, and drop it. Copy rows if ``rows``."""
    with _created(database, using) as scratch:
        _copy(database, scratch, using, rows)
        with kept_alive(database.connection):
            yield scratch


@contextmanager
def _created(database: Database, using: Settings) -> Iterator[Adapter]:
    """Create an empty scratch database, yield its adapter, and drop it at the end.

    Inside the block, hold the lock for rehearsals, because all of a database use the same scratch database. Raise
    KeyboardInterrupt at SIGTERM, so that the scratch database is removed as after Ctrl-C.
    """
    schema, name = version_table()
    if schema not in (None, *database.adapter.schemas(database.connection)):
        raise MigrationError(
            f"the table {name} is in another database, {schema}; a scratch database replaces only the app's own.",
            f"keep {name} in the app's own database: do not pass version_table_schema to Migrate(...).",
        )
    with ExitStack() as stack:
        stack.enter_context(sigterm_interrupts())
        stack.enter_context(locked(database, using.lock_wait, "rehearsal"))
        url = stack.enter_context(_empty_database(database, using.rehearsal_url))
        scratch = adapter_of(_engine(url))
        stack.callback(scratch.engine.dispose)
        with _connected(scratch.engine) as session:
            if _is_shared(database, session, str(url.database)):
                scratch.databases.confine(session)
        yield scratch


@contextmanager
def _empty_database(database: Database, given: URL | None) -> Iterator[URL]:
    """Yield the URL of an empty database; at the end, drop or empty that database.

    If ``given`` (MIGRATION_REHEARSAL_URL) names a database, use that. Otherwise create one on the server of ``given``,
    or on the app's server if ``given`` is None. On the app's server also create a user with rights in this one only.
    """
    adapter = database.adapter
    name = _name(adapter.engine.url)
    if given is not None and _name(given) == name:
        raise MigrationError(
            "MIGRATION_REHEARSAL_URL names the app's own database.",
            "set it to another database; or unset it, and the rehearsal creates a database on the app's server:",
            "unset MIGRATION_REHEARSAL_URL",
        )
    if given is not None and given.database:
        with _existing_database(given) as url:
            yield url
        return
    server = adapter_of(_engine(given.set(database=adapter.maintenance_database) if given else adapter.engine.url))
    try:
        with _connected(server.engine) as session:
            if server.databases.drop(session, name):
                log.info("Removed the copy %s, which a killed rehearsal had left behind", name)
            server.databases.make(session, name)
            try:
                url = server.engine.url.set(database=server.databases.path(name))
                is_shared = _is_shared(database, session, name)
                url = server.databases.login(session, name, database.connection) if is_shared else url
                with kept_alive(session):
                    yield url
            finally:
                server.databases.drop(session, name)
    finally:
        server.engine.dispose()


@contextmanager
def _existing_database(url: URL) -> Iterator[URL]:
    """Yield ``url``, an empty database that exists already, and empty it again at the end.

    Until then the table SCRATCH marks the database. If a killed rehearsal left this table behind, the database is
    emptied first. Raise MigrationError if the database is not empty and does not have this table.
    """
    engine = _engine(url)
    mark = Table(SCRATCH, MetaData(), Column("id", Integer, primary_key=True))
    try:
        with _connected(engine) as connection:
            adapter = adapter_of(engine)
            if inspect(connection).has_table(SCRATCH):
                log.info("Emptying %s, in which a killed rehearsal had left its copy", masked(url))
                adapter.databases.clear(connection)
            elif _has_anything(adapter, connection):
                raise MigrationError(
                    f"MIGRATION_REHEARSAL_URL names {masked(url)}, which is not empty.",
                    "set it to an empty database, which the rehearsal fills and empties again; or unset it, and the"
                    " rehearsal creates a database on the app's server:",
                    "unset MIGRATION_REHEARSAL_URL",
                )
            mark.create(connection, checkfirst=True)
            connection.commit()
            try:
                with kept_alive(connection):
                    yield url
            finally:
                adapter.databases.clear(connection)
                mark.drop(connection)
                connection.commit()
    finally:
        engine.dispose()


def _connected(engine: Engine) -> Connection:
    try:
        return engine.connect()
    except DBAPIError as error:
        raise MigrationError(
            f"cannot connect to the database for the rehearsal, {masked(engine.url)}: {summary(error)}",
            "set MIGRATION_REHEARSAL_URL to a server, or to an empty database, that its user can log in to:",
            f"export MIGRATION_REHEARSAL_URL={engine.dialect.name}://USER:PASSWORD@SERVER",
        ) from error


def _has_anything(adapter: Adapter, connection: Connection) -> bool:
    inspector = inspect(connection)
    return any(
        inspector.get_table_names(name) or inspector.get_view_names(name) for name in adapter.schemas(connection)
    )


def _is_shared(database: Database, session: Connection, name: str) -> bool:
    """Return True if ``session`` is on the server of ``database``, or if that server has a database ``name``."""
    databases = database.adapter.databases
    same_server = databases.server(session) == databases.server(database.connection)
    return same_server or databases.has(database.connection, name)


def _copy(database: Database, scratch: Adapter, using: Settings, rows: bool) -> None:
    """Copy the schema into ``scratch``, its rows only if ``rows``, but always the heads in alembic_version."""
    adapter, heads = database.adapter, database.heads()
    file = using.backup_folder / f"{_name(adapter.engine.url)}{adapter.suffix}"
    part = Part.COPY if rows else Part.SCHEMA
    with private(file), scratch.engine.connect() as target:
        with reported("Copying the database", file), writing(file.parent), kept_alive(target):
            adapter.dump(database.connection, file, using.retry, part)
        try:
            with reported("Loading the copy"), kept_alive(database.connection):
                scratch.load(target, file, using.retry, part)
        except MigrationError as error:
            raise scratch.databases.needs_rights(error.what) from error
        if missing := set(heads) - set(Database(target).heads()):
            schema, name = version_table()
            versions = table(name, column("version_num"), schema=schema)
            target.execute(versions.insert(), [{"version_num": head} for head in missing])
            target.commit()


def _name(url: URL) -> str:
    """Return the name of the scratch database for the app's database at ``url``; it has at most 63 bytes.

    For example ``_migration_rehearsal_app_1a2b3c4d``.
    """
    return f"{SCRATCH}_{name_of(url)}".lower()


def _engine(url: URL) -> Engine:
    return create_engine(url, **engine_options())
