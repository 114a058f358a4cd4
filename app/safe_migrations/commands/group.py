"""`flask db`: Flask-Migrate's commands, with `--revision` and with messages instead of tracebacks, and this package's.

A web server loads this module: it registers the commands and imports none of them. In this package, only commands/ and
guard.py import inside a function: what a web server, or a run with nothing to do, does without.
"""

import errno
import logging
import os
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from alembic.command import current as show_current
from alembic.script import ScriptDirectory
from click.core import ParameterSource
from flask import Flask, current_app, g
from flask.helpers import get_debug_flag
from flask_migrate.cli import db as stock

from ..errors import MigrationError
from ..internals import allow_percent_in_path
from ..remedies import Situation, message, script_place

# Each command of this package, and the module that has it.
ADDED = {
    "status": "status",
    "review": "review",
    "backup": "backups",
    "backups": "backups",
    "restore": "backups",
    "rehearse": "rehearse",
}


class MigrationCommand(click.Command):
    """A command that reports an error with its message and exit status 1, after the traceback if FLASK_DEBUG=1."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse ``-1`` as a revision, which it is to Alembic, and not as an option."""
        options = [param for param in self.params if isinstance(param, click.Option) and not param.is_flag]
        wants_value = {name for option in options for name in option.opts}
        back = [
            arg
            for before, arg in zip(["", *args], args, strict=False)
            if re.fullmatch(r"-\d+", arg) and before not in wants_value
        ]
        if back and any(param.name == "revision" for param in self.params):
            args = [arg for arg in args if arg not in back] + ["--", *back]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raise a click.ClickException for any error."""
        _complete_usage(ctx)
        situation = _situation(ctx)
        try:
            with _doubtful_history_refused(), _flask_migrate_silent():
                _require_env(situation.directory)
                _require_settings(ctx, situation.directory)
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # the last by `flask db backups | head`, which click ends silently
        except SystemExit as end:
            # Flask-Migrate logs a CommandError and exits while it handles it; a script that exits has not upgraded.
            if end.__context__ is None and script_place(end, situation.directory) is None:
                raise
            if isinstance(end.__context__, click.Abort):  # Ctrl-C at a question; to Flask-Migrate a RuntimeError
                raise end.__context__ from None
            error = end.__context__ or end
        except Exception as raised:
            error = raised
        if get_debug_flag():
            traceback.print_exception(error)
        raise click.ClickException(str(message(error, situation)))


class MigrationGroup(click.Group):
    """The group `flask db`, which imports a command of this package when somebody types it.

    Commands that an app adds with the group's decorator report errors in the same way.
    """

    command_class = MigrationCommand

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted([*super().list_commands(ctx), *ADDED])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command, or None if there is no such command."""
        if name not in ADDED:
            return super().get_command(ctx, name)
        command: click.Command = getattr(import_module(f".{ADDED[name]}", __package__), name)
        return command


def init_app(app: Flask) -> None:
    """Replace Flask-Migrate's group with this one, under the same name."""
    allow_percent_in_path()
    app.cli.add_command(group, app.extensions["migrate"].migrate.command)


directory_option = click.option(
    "-d", "--directory", default=None, help='Migration script directory (default is "migrations")'
)


def config_of(directory: str | None, x_arg: tuple[str, ...] | None = None) -> Any:
    """Return Alembic's Config for the migrations in ``directory``, by default the app's."""
    return current_app.extensions["migrate"].migrate.get_config(directory or g.get("directory"), x_arg=x_arg)


def _with_revision_option(command: click.Command) -> MigrationCommand:
    params = list(command.params)
    if any(param.name == "revision" for param in params):
        params.append(click.Option(["--revision", "target"], metavar="REV", help="The same as the argument."))
    callback = command.callback
    if callback is not None and any(param.name == "rev_id" for param in params):
        callback = _of_several(callback) if command.name == "merge" else _then_review(callback)
    return MigrationCommand(command.name, params=params, callback=callback, help=command.help)


def _of_several(merge: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse to merge a single revision, for which Alembic would write a script."""

    @wraps(merge)
    def run(**options: Any) -> Any:
        script = ScriptDirectory.from_config(config_of(options.get("directory")))
        found = {each.revision for each in script.get_revisions(options["revisions"])}
        if len(found) < 2:
            named = f"{', '.join(found)} is the only one" if found else "there is none"
            raise MigrationError(
                f"nothing to merge: a merge takes two revisions, and {named}.", "see all heads:", "flask db heads"
            )
        return merge(**options)

    return run


def _then_review(generate: Callable[..., Any]) -> Callable[..., Any]:
    """Review generated scripts: print the findings on stderr, and leave the exit status alone."""

    @wraps(generate)
    def run(**options: Any) -> Any:
        directory = options.get("directory") or g.get("directory") or current_app.extensions["migrate"].directory
        before = set(Path(directory).glob("versions/*.py"))
        result = generate(**options)
        if options.get("autogenerate", True) and set(Path(directory).glob("versions/*.py")) - before:
            from .review import print_findings

            print_findings(config_of(options.get("directory"), options.get("x_arg")))
        return result

    return run


def _complete_usage(ctx: click.Context) -> None:
    """Raise UsageError for arguments that click and Flask-Migrate accept, but that would do something else."""
    target = ctx.params.pop("target", None)
    if target is not None:
        if ctx.get_parameter_source("revision") is not ParameterSource.DEFAULT:
            raise click.UsageError("Give the revision as argument or as --revision, not as both.", ctx)
        ctx.params["revision"] = target
    if ctx.params.get("revision") == "":
        raise click.UsageError(f"The revision is empty. Fix: {ctx.command_path} REV", ctx)
    revisions = ctx.params.get("revisions", ["heads"])
    if not revisions or "" in revisions:
        raise click.UsageError(f'No revisions to merge. Fix: {ctx.command_path} -m "Merge heads" heads', ctx)
    if ctx.params.get("multidb") and ctx.get_parameter_source("template") is not ParameterSource.COMMANDLINE:
        raise click.UsageError(
            f"This project's template is for one database. Instead: {ctx.command_path} --template flask-multidb", ctx
        )


def _situation(ctx: click.Context) -> Situation:
    migrate = current_app.extensions["migrate"]
    directory = ctx.params.get("directory") or g.get("directory") or migrate.directory
    typed = (str(value) for value in ctx.params.values() if value is not None)
    return Situation(migrate.db.engine.url, Path(directory), frozenset(typed), bool(ctx.params.get("sql")))


def _require_env(directory: Path) -> None:
    """Raise FileNotFoundError if env.py is missing: Alembic would run its bytecode."""
    if (directory / "versions").is_dir() and not (directory / "env.py").exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(directory / "env.py"))


def _require_settings(ctx: click.Context, directory: Path) -> None:
    """Validate all settings, even for a command that has nothing to do."""
    from ..settings import UnknownSettingError, read

    typed = [*g.get("x_arg", ()), *ctx.params.get("x_arg", ())]
    try:
        read(dict(each.partition("=")[::2] for each in typed), directory)
    except UnknownSettingError as error:
        raise click.UsageError(str(error), ctx) from error


@contextmanager
def _doubtful_history_refused() -> Iterator[None]:
    """Turn Alembic's warnings about the history into errors: of two scripts for a revision it takes either."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", r"Revision .* is (present more than once|not present)", UserWarning)
        yield


@contextmanager
def _flask_migrate_silent() -> Iterator[None]:
    """Keep Flask-Migrate from logging an error that this module reports."""
    log = logging.getLogger("flask_migrate")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


group = MigrationGroup(
    stock.name,
    params=stock.params,
    callback=stock.callback,
    help=stock.help,
    commands={name: _with_revision_option(command) for name, command in stock.commands.items()},
)


@group.command()
@directory_option
@click.option("-v", "--verbose", is_flag=True, help="Use more verbose output")
@click.option("--check-heads", is_flag=True, help="Exit with status 1 if the database is not at all heads")
def current(directory: str | None, verbose: bool, check_heads: bool) -> None:
    """Display the current revision of the database."""
    show_current(config_of(directory), check_heads=check_heads, verbose=verbose)
