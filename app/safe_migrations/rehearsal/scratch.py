"""The scratch copy on which a rehearsal runs: made, put in the place of the app's database, and gone at the end."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from alembic.runtime.migration import MigrationContext
from flask import current_app
from sqlalchemy import URL, Column, Connection, Engine, Integer, MetaData, Table, create_engine, inspect
from sqlalchemy.exc import DBAPIError

from ..adapters import SCRATCH, Adapter, Part, adapter_of
from ..adapters.base import version_options, version_table
from ..backups.files import PORTS, name_of, private, writing
from ..console import log, reported
from ..database import Database
from ..errors import MigrationError, summary
from ..remedies import masked
from ..settings import Settings
from .confinement import confined


@contextmanager
def scratch_copy(adapter: Adapter, connection: Connection, using: Settings, rows: bool) -> Iterator[Adapter]:
    """A copy of the database behind ``connection``, with its rows or without. Call it locked for rehearsals."""
    schema, name = version_table()
    if schema not in (None, *adapter.schemas(connection)):
        raise MigrationError(
            f"the table {name} is in another database ({schema}), and a rehearsal has a copy of one database only.",
            "keep it in the app's own database: leave version_table_schema out of Migrate(...).",
        )
    with ExitStack() as stack:
        url = stack.enter_context(_empty_database(adapter, connection, using))
        scratch = adapter_of(_engine(url))
        stack.callback(scratch.engine.dispose)
        _copy(adapter, connection, scratch, using, rows)
        is_shared = _server(url) == _server(adapter.engine.url) or adapter.databases.has(connection, str(url.database))
        stack.enter_context(confined(scratch, adapter.engine.url, is_shared))
        yield scratch


@contextmanager
def _empty_database(adapter: Adapter, connection: Connection, using: Settings) -> Iterator[URL]:
    if using.rehearsal_url is None:
        with _made(adapter, connection, _name(adapter.engine.url)) as url:
            yield url
        return
    given = using.rehearsal_url
    if _name(given) == _name(adapter.engine.url):
        raise MigrationError(
            "MIGRATION_REHEARSAL_URL names the app's own database.",
            "name another one, or none:",
            "unset MIGRATION_REHEARSAL_URL",
        )
    if given.database:
        with _borrowed(given) as url:
            yield url
        return
    server = adapter_of(_engine(given.set(database=adapter.maintenance_database)))
    try:
        with _connected(server.engine) as session, _made(server, session, _name(adapter.engine.url)) as url:
            yield url
    finally:
        server.engine.dispose()


@contextmanager
def _made(adapter: Adapter, connection: Connection, name: str) -> Iterator[URL]:
    """A database beside that of ``adapter``, made for this."""
    if adapter.databases.drop(connection, name):
        log.info("Removed %s, left by a rehearsal that was killed", name)
    adapter.databases.make(connection, name)
    try:
        yield adapter.engine.url.set(database=adapter.databases.path(name))
    finally:
        adapter.databases.drop(connection, name)


@contextmanager
def _borrowed(url: URL) -> Iterator[URL]:
    """A database that the settings name: it has to be empty, or marked by a rehearsal; and is empty in the end."""
    engine = _engine(url)
    mark = Table(SCRATCH, MetaData(), Column("id", Integer))
    try:
        with _connected(engine) as connection:
            adapter = adapter_of(engine)
            if inspect(connection).has_table(SCRATCH):
                log.info("Emptying %s, in which a rehearsal that was killed left its copy", masked(url))
                adapter.databases.clear(connection)
            elif _has_anything(adapter, connection):
                raise MigrationError(
                    f"MIGRATION_REHEARSAL_URL names {masked(url)}, which is not empty.",
                    "name a database with nothing in it, which a rehearsal may fill and empty, or none:",
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
            f"MIGRATION_REHEARSAL_URL names {masked(engine.url)}, which cannot be reached: {summary(error)}",
            "correct it, or leave it out to rehearse beside the database:",
            "unset MIGRATION_REHEARSAL_URL",
        ) from error


def _has_anything(adapter: Adapter, connection: Connection) -> bool:
    inspector = inspect(connection)
    return any(
        inspector.get_table_names(name) or inspector.get_view_names(name) for name in adapter.schemas(connection)
    )


def _copy(adapter: Adapter, connection: Connection, scratch: Adapter, using: Settings, rows: bool) -> None:
    heads = Database(connection).heads()
    file = using.backup_folder / f"{_name(adapter.engine.url)}{adapter.suffix}"
    with private(file), scratch.engine.connect() as target:
        with reported("Copying", file):
            part = Part.COPY if rows else Part.SCHEMA
            with writing(file.parent):
                adapter.dump(connection, file, using.retry, part)
            scratch.load(target, file, using.retry, part)
        if not rows:
            context = MigrationContext.configure(target, opts=version_options())
            for head in set(heads) - set(context.get_current_heads()):
                target.execute(context._version.insert().values(version_num=head))
            target.commit()


def _server(url: URL) -> tuple[str | None, int | None]:
    """Host and port, the usual ones where the URL names none."""
    host = "127.0.0.1" if url.host in ("localhost", "::1", None) else url.host
    return host, url.port or PORTS.get(url.get_backend_name())


def _name(url: URL) -> str:
    """``_migration_rehearsal_app_1a2b3c4d``: one for each database, within the 63 bytes that PostgreSQL gives names."""
    return f"{SCRATCH}_{name_of(url)}".lower()


def _engine(url: URL) -> Engine:
    return create_engine(url, **current_app.config.get("SQLALCHEMY_ENGINE_OPTIONS", {}))
