"""The scratch copy for a rehearsal: created, filled from the app's database, and dropped at the end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from flask import current_app
from sqlalchemy import URL, Column, Connection, Engine, Integer, MetaData, Table, column, create_engine, inspect, table
from sqlalchemy.exc import DBAPIError

from ..adapters import SCRATCH, Adapter, Part, adapter_of
from ..adapters.base import version_table
from ..backups.files import name_of, private, writing
from ..console import log, reported
from ..database import Database
from ..errors import MigrationError, masked, summary
from ..settings import Settings


@contextmanager
def scratch_copy(database: Database, using: Settings, rows: bool) -> Iterator[Adapter]:
    """Yield a copy of the database, with or without its rows. Hold the lock for rehearsals."""
    adapter, connection = database.adapter, database.connection
    schema, name = version_table()
    if schema not in (None, *adapter.schemas(connection)):
        raise MigrationError(
            f"the table {name} is in another database ({schema}), and a rehearsal copies only one.",
            "keep it in the app's own database: do not pass version_table_schema to Migrate(...).",
        )
    with ExitStack() as stack:
        url = stack.enter_context(_empty_database(database, using.rehearsal_url))
        scratch = adapter_of(_engine(url))
        stack.callback(scratch.engine.dispose)
        with _connected(scratch.engine) as session:
            if _is_shared(database, session, str(url.database)):
                scratch.databases.confine(session)
        _copy(database, scratch, using, rows)
        yield scratch


@contextmanager
def _empty_database(database: Database, given: URL | None) -> Iterator[URL]:
    """Yield an empty database: ``given`` if that names one, else a new one on its server or on the app's.

    On the app's server a new one has a user of its own.
    """
    adapter = database.adapter
    name = _name(adapter.engine.url)
    if given is not None and _name(given) == name:
        raise MigrationError(
            "MIGRATION_REHEARSAL_URL names the app's own database.",
            "name another one, or unset it to rehearse beside the app's database:",
            "unset MIGRATION_REHEARSAL_URL",
        )
    if given is not None and given.database:
        with _borrowed(given) as url:
            yield url
        return
    server = adapter_of(_engine(given.set(database=adapter.maintenance_database) if given else adapter.engine.url))
    try:
        with _connected(server.engine) as session:
            if server.databases.drop(session, name):
                log.info("Removed %s, left by a rehearsal that was killed", name)
            server.databases.make(session, name)
            try:
                url = server.engine.url.set(database=server.databases.path(name))
                is_shared = _is_shared(database, session, name)
                yield server.databases.login(session, name, database.connection) if is_shared else url
            finally:
                server.databases.drop(session, name)
    finally:
        server.engine.dispose()


@contextmanager
def _borrowed(url: URL) -> Iterator[URL]:
    """Use an existing database, which has to be empty, or to have a rehearsal's mark; empty it at the end."""
    engine = _engine(url)
    mark = Table(SCRATCH, MetaData(), Column("id", Integer))
    try:
        with _connected(engine) as connection:
            adapter = adapter_of(engine)
            if inspect(connection).has_table(SCRATCH):
                log.info("Emptying %s, which has the copy of a rehearsal that was killed", masked(url))
                adapter.databases.clear(connection)
            elif _has_anything(adapter, connection):
                raise MigrationError(
                    f"MIGRATION_REHEARSAL_URL names {masked(url)}, which is not empty.",
                    "name an empty database, which a rehearsal may fill and empty, or none:",
                    "unset MIGRATION_REHEARSAL_URL",
                )
            mark.create(connection, checkfirst=True)
            connection.commit()
            try:
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
            f"the database of the rehearsal, {masked(engine.url)}, cannot be reached: {summary(error)}",
            "name a server, or an empty database, that this user can log in to:",
            f"export MIGRATION_REHEARSAL_URL={engine.dialect.name}://USER:PASSWORD@SERVER",
        ) from error


def _has_anything(adapter: Adapter, connection: Connection) -> bool:
    inspector = inspect(connection)
    return any(
        inspector.get_table_names(name) or inspector.get_view_names(name) for name in adapter.schemas(connection)
    )


def _is_shared(database: Database, session: Connection, name: str) -> bool:
    """Return whether ``session`` is on the app's server, or on one that has the database ``name`` too."""
    databases = database.adapter.databases
    same_server = databases.server(session) == databases.server(database.connection)
    return same_server or databases.has(database.connection, name)


def _copy(database: Database, scratch: Adapter, using: Settings, rows: bool) -> None:
    """Copy the schema and, if ``rows``, the rows; the copy is at the same heads in any case."""
    adapter, heads = database.adapter, database.heads()
    file = using.backup_folder / f"{_name(adapter.engine.url)}{adapter.suffix}"
    part = Part.COPY if rows else Part.SCHEMA
    with private(file), scratch.engine.connect() as target:
        with reported("Copying", file):
            with writing(file.parent):
                adapter.dump(database.connection, file, using.retry, part)
            try:
                scratch.load(target, file, using.retry, part)
            except MigrationError as error:
                raise scratch.databases.needs_rights(str(error)) from error
        if missing := set(heads) - set(Database(target).heads()):
            schema, name = version_table()
            versions = table(name, column("version_num"), schema=schema)
            target.execute(versions.insert(), [{"version_num": head} for head in missing])
            target.commit()


def _name(url: URL) -> str:
    """Return ``_migration_rehearsal_app_1a2b3c4d``: shorter than the 63 bytes that PostgreSQL allows for a name."""
    return f"{SCRATCH}_{name_of(url)}".lower()


def _engine(url: URL) -> Engine:
    return create_engine(url, **current_app.config.get("SQLALCHEMY_ENGINE_OPTIONS", {}))
