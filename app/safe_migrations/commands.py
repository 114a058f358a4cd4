"""What `flask db backup`, `backups` and `restore` do."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy import Connection

from app.safe_migrations.adapters import adapter_of
from app.safe_migrations.backup import Backups, restore
from app.safe_migrations.errors import MigrationError
from app.safe_migrations.guard import connected
from app.safe_migrations.lock import locked
from app.safe_migrations.progress import log_on_stderr
from app.safe_migrations.remedies import masked, relative
from app.safe_migrations.settings import Settings, settings


@contextmanager
def _opened(config: Config) -> Iterator[tuple[Backups, Connection, Settings]]:
    """The app's database, outside env.py."""
    with EnvironmentContext(config, ScriptDirectory.from_config(config)), log_on_stderr():
        using = settings()
        adapter = adapter_of(current_app.extensions["migrate"].db.engine)
        with connected(adapter) as connection:
            yield Backups(adapter, using.backup_folder, using.backup_keep), connection, using


def _heads(connection: Connection) -> tuple[str, ...]:
    heads = MigrationContext.configure(connection).get_current_heads()
    connection.rollback()
    return heads


def back_up(config: Config) -> str:
    """Write a backup, and return its path."""
    with _opened(config) as (backups, connection, using), locked(backups.adapter, connection, using.lock_wait):
        try:
            return relative(backups.make(connection, _heads(connection), using.patience))
        finally:
            backups.prune()


def list_backups(config: Config) -> None:
    """Print path and size of each."""
    with _opened(config) as (backups, _, _):
        for file in backups.found():
            click.echo(f"{relative(file)}  {file.stat().st_size / 1e6:.1f} MB")


def put_back(config: Config, file: Path, yes: bool) -> None:
    """Restore ``file``, if it is whole and the answer is yes. Raises MigrationError if there is nobody to ask."""
    if not file.is_file():
        raise MigrationError(f"there is no file {file}.", "choose one of:", "flask db backups")
    with _opened(config) as (backups, connection, using):
        backups.adapter.verify(connection, file)
        target = masked(backups.adapter.engine.url)
        if not yes and not sys.stdin.isatty():
            raise MigrationError(
                f"this replaces everything in {target}, and nobody is there to say yes.",
                "say it beforehand:",
                f"flask db restore --yes {file}",
            )
        if not yes:
            click.confirm(f"Replace everything in {target}?", abort=True, err=True)
        restore(backups, connection, _heads(connection), using, file)
        click.echo(f"The database is at {', '.join(_heads(connection)) or 'base'}")
