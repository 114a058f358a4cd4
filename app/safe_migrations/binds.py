"""The databases of SQLALCHEMY_BINDS: which of them have a migrations folder, and which must not have one."""

import shlex
from pathlib import Path

from flask import current_app
from sqlalchemy import URL, StaticPool

from .database import app_engine, location
from .errors import MigrationError, masked, relative
from .folder import Folder, app_folder, bind_folders, folder, in_folder

UNMANAGED = "unmanaged_binds"
"""The name of a line in the app's own alembic.ini: the keys of binds that another program migrates."""


def folders() -> list[Folder]:
    """Return all migrations folders: the app's own, if it has a default database, then those of binds, by bind key.

    Raise MigrationError if the app's config lacks a bind that has a folder.
    """
    own = [app_folder()] if None in current_app.extensions["migrate"].db.engines else []
    found = [*own, *bind_folders()]
    for each in found:
        with in_folder(each.path):
            app_engine()
    return found


def name_of_bind(bind: str | None) -> str:
    """Return a name for messages, such as ``bind audit``."""
    return "default database" if bind is None else f"bind {bind}"


def binds_with_table(table: str) -> list[str | None]:
    """Return the bind keys of the other databases of the app whose models define ``table``; None is the default one."""
    metadatas = current_app.extensions["migrate"].db.metadatas
    return [bind for bind, metadata in metadatas.items() if bind != folder().bind and table in metadata.tables]


def new_folder(bind: str | None, path: Path) -> Path:
    """Return the path of the folder that `flask db init` creates: ``path``, or for a bind without -d, one of its name.

    Raise MigrationError if the app has no such bind, if the bind has a folder, if bind_folders() would not find
    ``path``, or if that has the name of a bind, but --bind is missing.
    """
    own, database = app_folder().path, current_app.extensions["migrate"].db
    if bind is None:
        if Folder(path).is_inside and len(database.engines) > 1:
            key = shlex.quote(path.name) if path.name in database.engines else "KEY"
            raise MigrationError(
                f"{relative(path)} is a place for the migrations of a bind, but --bind is missing.",
                "name the key in SQLALCHEMY_BINDS:",
                f"flask db init {Folder(path).option} --bind {key}",
            )
        return path
    if bind not in database.engines:
        keys = ", ".join(sorted(key for key in database.engines if key)) or "none"
        raise MigrationError(
            f"the app's config has no bind {bind}. Its binds: {keys}.",
            "correct the name, or add the bind to the config:",
            f"SQLALCHEMY_BINDS = {{{bind!r}: 'DIALECT://USER:PASSWORD@SERVER/DATABASE'}}",
        )
    if None in database.engines and not (own / "env.py").is_file():
        raise MigrationError(
            f"{relative(own)} has no env.py: the default database has no migrations yet.",
            "first create the folder of the default database:",
            f"flask db -d {shlex.quote(relative(own))} init",
        )
    if existing := next((each for each in bind_folders() if each.bind == bind), None):
        raise MigrationError(
            f"{relative(existing.path)} already manages the bind {bind}.",
            "use it:",
            f'flask db {existing.option} migrate -m "..."',
        )
    if path.resolve() == own.resolve():
        return own / bind
    if not Folder(path).is_inside:
        raise MigrationError(
            f"{relative(path)} cannot be the folder of a bind: its place is directly in {relative(own)}.",
            "create it there:",
            f"flask db init {Folder(own / bind).option} --bind {shlex.quote(bind)}",
        )
    return path


def no_folder_error() -> MigrationError | None:
    """Return an error if a bind has models but no folder, and alembic.ini does not name it as unmanaged; else None.

    Return one too if alembic.ini in a folder has no line ``bind = KEY``, because then its bind has none. Only the app's
    own folder looks for such binds: in the folder of a bind, return None.
    """
    database = current_app.extensions["migrate"].db
    if len(database.engines) == 1 or folder().option:
        return None
    for env in sorted(app_folder().path.glob("*/env.py")):
        if Folder(env.parent).bind is None:
            try:
                with in_folder(env.parent):
                    app_engine()
            except MigrationError as error:
                return error
    known = {each.bind for each in bind_folders()} | set(folder().words(UNMANAGED))
    missing = {
        key: sorted(metadata.tables)
        for key, metadata in sorted(database.metadatas.items(), key=str)
        if key in database.engines and key is not None and metadata.tables and key not in known
    }
    if not missing:
        return None
    listed = "; ".join(f"{key} ({', '.join(tables)})" for key, tables in missing.items())
    ini = relative(app_folder().ini)
    return MigrationError(
        f"no folder has the migrations of the bind{'s' if len(missing) > 1 else ''} {listed}.",
        f"create it; or, if another program migrates that database, add `{UNMANAGED} = {' '.join(missing)}` to {ini}:",
        *(f"flask db init {Folder(app_folder().path / key).option} --bind {shlex.quote(key)}" for key in missing),
    )


def require_own_database() -> None:
    """Raise MigrationError if another folder manages the same database: both would use one table alembic_version."""
    engines = current_app.extensions["migrate"].db.engines
    if len(engines) == 1:
        return
    bind = folder().bind
    engine = app_engine()
    for other in (None, *(each.bind for each in bind_folders())):
        if other == bind or other not in engines or isinstance(engine.pool, StaticPool):  # each in memory is another
            continue
        if _address(engines[other].url) == _address(engine.url):
            shared = next(each for each in bind_folders() if each.bind in (bind, other))
            raise MigrationError(
                f"{name_of_bind(other)} and {name_of_bind(bind)} are one database, {masked(engine.url)}; their"
                " migrations would overwrite each other's revision in alembic_version.",
                f"give bind {shared.bind} a database of its own; or keep its tables in the other one: remove"
                " __bind_key__ from its models, and its migrations:",
                f"rm -r {shlex.quote(relative(shared.path))}",
            )


def _address(url: URL) -> str:
    """Return location(), in which this machine has one name."""
    return location(url.set(host="localhost") if url.host in ("127.0.0.1", "::1") else url)
