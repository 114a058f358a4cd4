"""The base class of all commands of `flask db`, which validates the settings and reports errors as messages."""

import errno
import gc
import logging
import os
import re
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from flask import current_app, g
from flask.helpers import get_debug_flag
from sqlalchemy import URL

from ..console import echo
from ..errors import MigrationError, UsageError, no_right, relative
from ..folder import TEMPLATE, app_folder, bind_folders, folder, in_folder

if TYPE_CHECKING:  # a web server does without
    from ..remedies import Situation

all_binds_option = click.option(
    "--all-binds", is_flag=True, help="Do it for the default database, then for each bind that has a folder."
)
directory_option = click.option(
    "-d", "--directory", default=None, help='Migration script directory (default is "migrations")'
)


def config_of(directory: str | None, x_arg: tuple[str, ...] | None = None) -> Any:
    """Return Alembic's Config for the migrations folder ``directory``, by default the app's.

    It has the -x values that were typed before the command's name, and those of ``x_arg``, typed after the name.
    """
    return current_app.extensions["migrate"].migrate.get_config(directory or g.get("directory"), x_arg=x_arg)


class MigrationCommand(click.Command):
    """A command that prints an error as a message, and exits with 1; with 2 if it was typed wrongly.

    If FLASK_DEBUG=1, it prints the traceback first.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. Take ``-1`` as a revision (one step back), not as an option."""
        if any(param.name == "revision" for param in self.params):
            ctx.ignore_unknown_options = any(re.fullmatch(r"-\d+", arg) for arg in args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Turn an error into a click.ClickException, whose message has a `Fix:`.

        Let click's own exceptions pass, and Ctrl-C. SystemExit passes unless a revision script raised it, or
        Flask-Migrate after an error, which is turned instead.
        """
        directory = ctx.params.get("directory") or g.get("directory") or current_app.extensions["migrate"].directory
        _freeze_loaded_objects()
        with in_folder(Path(directory)):
            _complete_usage(ctx)
            if ctx.params.pop("all_binds", False):
                return self._invoke_in_each_folder(ctx)
            return self._invoke_in_folder(ctx)

    def _invoke_in_each_folder(self, ctx: click.Context) -> None:
        """Run the command in the app's own folder, and then in that of each bind. Stop `upgrade` at the first error.

        Exit with the highest status of all, or with 1 if a bind has no folder: `status` exits with 1, without an error,
        if a database is not at head.
        """
        from ..binds import folders, name_of_bind, no_folder_error

        try:
            found = folders()
        except MigrationError as error:
            raise click.ClickException(str(error)) from error
        names, status = [name_of_bind(each.bind) for each in found], 0
        for number, each in enumerate(found):
            if len(found) > 1:
                sys.stdout.flush()  # what Alembic printed about the folder before
                echo(f"{names[number]}, {relative(each.path)}:", err=True)
            ctx.params["directory"] = str(each.path)
            try:
                with in_folder(each.path):
                    self._invoke_in_folder(ctx)
            except click.exceptions.Exit as end:
                status = max(status, end.exit_code)
            except click.UsageError:
                raise
            except click.ClickException as error:
                if ctx.command.name != "upgrade":
                    error.show()
                    status = 1
                    continue
                done, left = (", ".join(part) or "none" for part in (names[:number], names[number + 1 :]))
                progress = f"Done: {done}. Failed: {names[number]}. Not started: {left}."
                raise click.ClickException(f"{error.message}\n{progress}") from error
        missing = no_folder_error()
        if missing and ctx.command.name == "upgrade":  # the others print it in the app's own folder
            raise click.ClickException(f"{missing}\nDone: {', '.join(names)}.")
        ctx.exit(1 if missing else status)

    def _invoke_in_folder(self, ctx: click.Context) -> Any:
        from ..histories.heads import doubtful_history_refused

        directory = folder().path
        try:
            with doubtful_history_refused(), _flask_migrate_silent():
                _require_folder(ctx, directory)
                folder().require_readable()
                _require_env(directory)
                if "rev_id" in ctx.params:
                    _require_template(directory)
                    _require_writable(directory / "versions")
                _require_settings(ctx, directory)
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # the last by `flask db backups | head`, which click ends silently
        except SystemExit as end:
            from ..remedies import script_place

            # Flask-Migrate logs a CommandError and exits while it handles it; a script that exits has not upgraded.
            if end.__context__ is None and script_place(end, directory) is None:
                raise
            if isinstance(end.__context__, click.Abort):  # Ctrl-C at a question; to Flask-Migrate a RuntimeError
                raise end.__context__ from None
            error = end.__context__ or end
        except Exception as raised:
            error = raised
        if get_debug_flag():
            traceback.print_exception(error)
        from ..remedies import message

        failure = str(message(error, _situation(ctx)))
        raise click.UsageError(failure, ctx) if isinstance(error, UsageError) else click.ClickException(failure)


@cache
def _freeze_loaded_objects() -> None:
    """Exempt the objects that the process has loaded from garbage collection, once for each process.

    A full pass over the app and its packages takes 0.04 s. Late imports cause two, and the exit of the process more.
    """
    gc.freeze()


def _complete_usage(ctx: click.Context) -> None:
    """Use the value of --revision as the argument.

    Raise UsageError for arguments that no command accepts, such as an empty string as the revision.
    """
    typed = ctx.get_parameter_source("revision") is ParameterSource.COMMANDLINE or g.get("directory")
    if ctx.params.get("all_binds") and (
        ctx.command.name == "downgrade" or typed or any(map(ctx.params.get, ("directory", "target", "sql")))
    ):
        raise click.UsageError(
            "--all-binds takes no revision, folder or --sql, and a downgrade takes one database at a time. Fix: name"
            f" the folder of one: flask db -d migrations/KEY {ctx.command.name}",
            ctx,
        )
    target = ctx.params.pop("target", None)
    if target is not None:
        if ctx.get_parameter_source("revision") is not ParameterSource.DEFAULT:
            raise click.UsageError("Give the revision as argument or as --revision, not as both.", ctx)
        ctx.params["revision"] = target
    if ctx.params.get("revision") == "":
        raise click.UsageError(
            f"The revision argument is an empty string. Fix: give a revision: {ctx.command_path} REV", ctx
        )
    lower, colon, upper = str(ctx.params.get("revision")).partition(":")
    if ctx.params.get("sql") and colon and not (lower and upper):
        first, last = ("base", "head") if ctx.command.name == "upgrade" else ("head", "base")
        whole = f"{ctx.command_path} {lower or first}:{upper or last} --sql"
        raise click.UsageError(f"With --sql, a range needs both ends. Fix: {whole}", ctx)
    revisions = ctx.params.get("revisions", ["heads"])
    if not revisions or "" in revisions:
        raise click.UsageError(f'No revisions to merge. Fix: {ctx.command_path} -m "Merge heads" heads', ctx)
    if ctx.params.get("multidb") and ctx.get_parameter_source("template") is not ParameterSource.COMMANDLINE:
        raise click.UsageError(
            "--multidb is not supported: here each database has a folder and a history of its own. Fix: create one for"
            f" each key in SQLALCHEMY_BINDS: {ctx.command_path} -d migrations/KEY --bind KEY",
            ctx,
        )


def _situation(ctx: click.Context) -> "Situation":
    from ..database import app_engine
    from ..plan import with_settings
    from ..remedies import Situation

    typed = frozenset(str(value) for value in ctx.params.values() if value is not None)
    rest = folder().path, typed, bool(ctx.params.get("sql"))
    try:
        engine = app_engine()
    except MigrationError:  # the command itself raises it, if it reads the database
        return Situation(URL.create("unknown"), *rest)
    target = ctx.params.get("revision")
    command = shlex.join([str(ctx.command.name), *([target] if target and target != "head" else [])])
    return Situation(engine.url, *rest, engine, with_settings(command, _given(ctx)))


def _require_folder(ctx: click.Context, directory: Path) -> None:
    """Raise MigrationError if ``directory`` is not a migrations folder, unless it is the app's own or for `init`."""
    is_one = any((directory / name).exists() for name in ("alembic.ini", "versions"))
    if not folder().option or is_one or ctx.command.name == "init":
        return
    wrong = "is not a migrations folder" if directory.exists() else "does not exist"
    what = f"the folder {relative(directory)} {wrong}."
    if directory.name in current_app.extensions["migrate"].db.engines and folder().is_inside:
        line = f"flask db init {folder().option} --bind {shlex.quote(directory.name)}"
        raise MigrationError(what, f"create it for the bind {directory.name}:", line)
    options = (f"-d {shlex.quote(relative(each.path))}" for each in (app_folder(), *bind_folders()))
    lines = (f"flask db {option} {ctx.command.name}" for option in options)
    raise MigrationError(what, "correct it; these are the app's folders:", *lines)


def _require_env(directory: Path) -> None:
    """Raise FileNotFoundError if env.py is missing; Alembic would run a cached .pyc file of it.

    Raise MigrationError if env.py does not call this package, as Flask-Migrate's own does not. Do nothing if
    ``directory`` has no folder versions/, because `flask db init` has yet to write env.py.
    """
    env = directory / "env.py"
    if not (directory / "versions").is_dir():
        return
    if not env.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(env))
    if "safe_migrations" not in env.read_text(encoding="utf-8", errors="replace"):
        raise MigrationError(
            f"{relative(env)} does not call safe_migrations, so a run would have no lock, review, backup or undo.",
            "note the options that it passes to context.configure(); then replace the file, and pass them to"
            " run_migrations() in the new one:",
            f"cp {shlex.quote(relative(TEMPLATE / env.name))} {shlex.quote(relative(env))}",
        )


def _require_template(directory: Path) -> None:
    """Raise MigrationError if the template of scripts is Flask-Migrate's for several databases.

    Its upgrade() has an argument, with which no command calls it, and the changes would be missing in it.
    """
    template = directory / "script.py.mako"
    if template.exists() and re.search(r"(?m)^def upgrade\(\s*\w", template.read_text("utf-8", errors="replace")):
        raise MigrationError(
            f"{relative(template)} is a template for several databases: its upgrade() has an argument.",
            "replace it with the template for one database; each bind has a folder of its own:",
            f"cp {shlex.quote(relative(TEMPLATE / template.name))} {shlex.quote(relative(template))}",
        )


def _require_writable(versions: Path) -> None:
    """Raise MigrationError if this user may not create scripts in the folder ``versions``."""
    if versions.is_dir() and not os.access(versions, os.W_OK | os.X_OK):
        raise no_right("written", versions)


def _require_settings(ctx: click.Context, directory: Path) -> None:
    """Raise MigrationError for a wrong setting, and UsageError for a name after -x that this command does not read."""
    from ..settings import read

    generates = ctx.command.name in ("migrate", "revision") and ctx.params.get("autogenerate", True)
    read(dict(each.partition("=")[::2] for each in _given(ctx)), directory, answers=generates)


def _given(ctx: click.Context) -> list[str]:
    """Return the values of -x that were typed, before and behind the command's name."""
    return [*g.get("x_arg", ()), *ctx.params.get("x_arg", ())]


@contextmanager
def _flask_migrate_silent() -> Iterator[None]:
    """Inside the block, disable the log of Flask-Migrate, because this module reports its errors."""
    log = logging.getLogger("flask_migrate")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
