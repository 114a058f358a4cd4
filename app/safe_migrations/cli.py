"""The commands of `flask db`: Flask-Migrate's, with `--revision`, and with errors in words instead of tracebacks."""

import errno
import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from flask import Flask, current_app, g
from flask.helpers import get_debug_flag
from flask_migrate.cli import db as stock

from app.safe_migrations.errors import Situation, message


class MigrationCommand(click.Command):
    """A command that ends an error with its message and exit status 1; with FLASK_DEBUG=1 the traceback comes too."""

    def invoke(self, ctx: click.Context) -> Any:
        _take_revision_option(ctx)
        try:
            with _alembic_warnings_as_errors(), _flask_migrate_silent():
                _require_env(_situation(ctx).directory)
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except SystemExit as end:
            # How Flask-Migrate ends: it logs a CommandError and exits while it handles it.
            if not isinstance(end.__context__, Exception):
                raise
            error = end.__context__
        except Exception as raised:
            error = raised
        if get_debug_flag():
            traceback.print_exception(error)
        raise click.ClickException(str(message(error, _situation(ctx))))


class MigrationGroup(click.Group):
    """`flask db`. Commands that are added with its decorator end errors in the same way."""

    command_class = MigrationCommand


def init_app(app: Flask) -> None:
    """Put `flask db` with these commands in the place of Flask-Migrate's, under the same name."""
    app.cli.add_command(db, app.extensions["migrate"].migrate.command)


def _adopted(command: click.Command) -> MigrationCommand:
    params = list(command.params)
    if any(param.name == "revision" for param in params):
        params.append(click.Option(["--revision", "target"], metavar="REV", help="The same as the argument."))
    return MigrationCommand(command.name, params=params, callback=command.callback, help=command.help)


def _take_revision_option(ctx: click.Context) -> None:
    target = ctx.params.pop("target", None)
    if target is not None:
        if ctx.get_parameter_source("revision") is not ParameterSource.DEFAULT:
            raise click.UsageError("Give the revision as argument or as --revision, not as both.", ctx)
        ctx.params["revision"] = target
    if ctx.params.get("revision") == "":
        raise click.UsageError(f"The revision is empty. Instead: {ctx.command_path} REV", ctx)


def _situation(ctx: click.Context) -> Situation:
    migrate = current_app.extensions["migrate"]
    directory = ctx.params.get("directory") or g.get("directory") or migrate.directory
    asked = (str(value) for value in ctx.params.values() if value is not None)
    return Situation(migrate.db.engine.url, Path(directory), frozenset(asked))


def _require_env(directory: Path) -> None:
    """Alembic runs what Python has compiled of env.py where env.py itself is gone."""
    if (directory / "versions").is_dir() and not (directory / "env.py").exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory / "env.py"))


@contextmanager
def _alembic_warnings_as_errors() -> Iterator[None]:
    """A revision that is there twice is one revision lost: Alembic warns, takes the last it reads and goes on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", r"Revision .* is (present more than once|not present)", UserWarning)
        warnings.filterwarnings("error", r"Revision .* referenced from .* is not present", UserWarning)
        yield


@contextmanager
def _flask_migrate_silent() -> Iterator[None]:
    """Flask-Migrate logs the error that this module words."""
    log = logging.getLogger("flask_migrate")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


db = MigrationGroup(
    stock.name,
    params=stock.params,
    callback=stock.callback,
    help=stock.help,
    commands={name: _adopted(command) for name, command in stock.commands.items()},
)
