"""`flask db backup`, `flask db backups` and `flask db restore`."""

import sys
from pathlib import Path

import click

from ..adapters import adapter_of
from ..adapters.base import kept_alive
from ..backups.external import id_and_program, in_words, is_external, not_restorable
from ..backups.files import Backups, is_by_hand, restore_line
from ..backups.restore import restore as replace_database
from ..console import echo
from ..database import app_engine, heads_in_words
from ..errors import MigrationError, UnsafeError, masked, relative, size_in_words
from ..lock import locked
from .app_database import opened, settings_of
from .command import MigrationCommand, config_of, directory_option


@click.command(cls=MigrationCommand)
@directory_option
def backup(directory: str | None) -> None:
    """Write a backup of the database.

    It stays until you delete it. With MIGRATION_BACKUP_COMMAND, that makes a restore point, whose id is printed.
    """
    with opened(config_of(directory)) as (database, using):
        with locked(database, using.lock_wait) as lock:
            file = Backups(database.adapter, using).make(database, lock, by_hand=True)
        echo(id_and_program(file)[0] if is_external(file) else relative(file))


@click.command(cls=MigrationCommand)
@directory_option
def backups(directory: str | None) -> None:
    """List the backups of the database.

    The newest comes first. This works without a connection to the database.
    """
    existing = _without_connection(directory)
    if not (files := existing.found()):
        echo(f"No backups in {relative(existing.using.backup_folder)}", err=True)
    for file in files:
        by_hand = "  by hand" if is_by_hand(file) else ""
        what = in_words(file) if is_external(file) else size_in_words(file.stat().st_size)
        echo(f"{relative(file)}  {what}{by_hand}")


def _without_connection(directory: str | None) -> Backups:
    return Backups(adapter_of(app_engine()), settings_of(config_of(directory)))


@click.command(cls=MigrationCommand)
@directory_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.argument("file", type=click.Path(path_type=Path))
def restore(directory: str | None, yes: bool, file: Path) -> None:
    """Replace the database with a backup."""
    for each in [file, *_without_connection(directory).found()]:
        if is_external(each) and each.is_file() and file in (each, Path(id_and_program(each)[0])):
            raise not_restorable(each)
    if not file.is_file():
        raise MigrationError(f"there is no file {file}.", "choose a backup of this list:", "flask db backups")
    with opened(config_of(directory)) as (database, using):
        database.require_writable(f"{restore_line(file)}{' --yes' if yes else ''}")
        existing = Backups(database.adapter, using)
        existing.verify(database, file)
        target = masked(database.adapter.engine.url)
        if not yes and not sys.stdin.isatty():
            raise UnsafeError(
                f"this overwrites everything in {target}, and there is no terminal to confirm on.",
                "add --yes:",
                f"{restore_line(file)} --yes",
            )
        if not yes:
            with kept_alive(database.connection):
                click.confirm(f"Replace everything in {target} with this backup?", abort=True, err=True)
        replace_database(existing, database, file)
        echo(f"The database is at {heads_in_words(database.heads())}")
