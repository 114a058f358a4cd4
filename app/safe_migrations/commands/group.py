"""The group `flask db`: Flask-Migrate's commands, and those that this package adds.

Flask-Migrate's commands get an option `--revision`, and print errors as messages. A web server loads this module too,
so the added commands are imported only when they are typed.

The policy for imports inside functions: only modules that neither a web server nor a run with nothing to do needs are
imported there. So only __init__.py, commands/, guard.py, plan.py, database.py, autogenerate/directives.py,
review/recorder.py and adapters/*/adapter.py have such imports, and for sqlglot adapters/sql_words.py,
review/rules/constraints.py and review/rules/suggestions.py.
"""

import re
import shlex
from collections.abc import Callable
from copy import copy
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from alembic.util import rev_id
from flask import Flask
from flask_migrate.cli import db as stock

from ..errors import MigrationError, relative
from ..folder import KEY, TEMPLATE, Folder, folder, scripts
from ..internals import correct_config
from .command import MigrationCommand, all_binds_option, config_of

# Each command of this package, and the module that has it.
ADDED = {
    "status": "status",
    "review": "review",
    "backup": "backups",
    "backups": "backups",
    "restore": "backups",
    "rehearse": "rehearse",
    "adopt": "adopt",
    "rebase": "rebase",
    "log": "log",
    "squash": "squash",
}


X_HELP = (
    "A setting for this run, such as backup=never, or an answer for migrate, such as drop=pet; can be repeated."
    " safe_migrations/README.md lists the settings."
)


class MigrationGroup(click.Group):
    """The group `flask db`. It imports a command that this package adds only when it is typed.

    Commands that the app adds by `@group.command()` also print errors as messages.
    """

    command_class = MigrationCommand

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands of `flask db`, sorted."""
        return sorted({*super().list_commands(ctx), *ADDED})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command ``name``, or None. A command that the app has added replaces this package's."""
        command = super().get_command(ctx, name)
        if command is None and name in ADDED:
            command = getattr(import_module(f".{ADDED[name]}", __package__), name)
        return command


def add_commands(app: Flask) -> None:
    """Replace Flask-Migrate's group of commands with a copy of this module's, under the same name (`db`).

    A command that an app adds to its copy does not appear in the other apps of the process.
    """
    correct_config()
    own = copy(group)
    own.commands = dict(group.commands)
    app.cli.add_command(own, app.extensions["migrate"].migrate.command)


def _own_params(params: list[click.Parameter]) -> list[click.Parameter]:
    """Return copies of Flask-Migrate's ``params`` with this package's template and help.

    The originals stay as they are, for other apps of the same process.
    """
    own = [copy(param) for param in params]
    for param in own:
        if param.name == "template":
            param.default = str(TEMPLATE)
        if param.name == "x_arg" and isinstance(param, click.Option):
            param.metavar, param.help = "NAME=VALUE", X_HELP
    return own


def _with_revision_option(command: click.Command) -> MigrationCommand:
    params = _own_params(command.params)
    if any(param.name == "revision" for param in params):
        params.append(
            click.Option(["--revision", "target"], metavar="REV", help="The revision, instead of the argument.")
        )
    callback = command.callback
    if callback is not None and command.name == "init":
        callback = _of_bind(callback)
    if callback is not None and any(param.name == "rev_id" for param in params):
        callback = _of_several(callback) if command.name == "merge" else _then_review(callback)
    own = MigrationCommand(command.name, params=params, callback=callback, help=command.help)
    if command.name in ("upgrade", "downgrade", "check"):  # `downgrade` says that it goes one database at a time
        all_binds_option(own)
    if command.name == "init":
        help_of_bind = "The key in SQLALCHEMY_BINDS of the database that the folder, migrations/KEY, manages."
        click.option("--bind", metavar="KEY", help=help_of_bind)(own)
    return own


def _of_bind(init: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``init``, which creates a folder, but with an option for the bind that the folder manages."""

    @wraps(init)
    def run(bind: str | None, **options: Any) -> None:
        from ..binds import new_folder
        from ..histories.editing import write_line

        path = new_folder(bind, folder().path)
        init(**{**options, "directory": str(path)})
        if bind is not None:
            write_line(Folder(path).ini, KEY, bind)

    return run


def _of_several(merge: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``merge``, but raising MigrationError for fewer than two revisions; Alembic would write a script then."""

    @wraps(merge)
    def run(**options: Any) -> Any:
        _require_new_id(options["rev_id"])
        found = {each.revision for each in scripts().get_revisions(options["revisions"])}
        if len(found) < 2:
            named = f"{', '.join(found)} is the only one" if found else "there is none"
            raise MigrationError(
                f"nothing to merge: a merge takes two revisions, and {named}.", "see all heads:", "flask db heads"
            )
        return merge(**options)

    return run


def _require_new_id(typed: str | None) -> None:
    """Raise MigrationError if --rev-id is not an id, or is one of a script: Alembic looks after it has written."""
    if typed is None:
        return
    found = next((each for each in scripts().walk_revisions() if each.revision == typed), None)
    if found is None and re.fullmatch(r"[\w.]+", typed) and typed not in ("head", "heads", "base", "current"):
        return
    raise MigrationError(
        f"{relative(Path(found.path))} has the revision id {typed}."
        if found
        else f"--rev-id {shlex.quote(typed)} is not a revision id, which has letters, digits, dots and underscores.",
        "choose another id, such as this one, or leave it out:",
        f"--rev-id {rev_id()}",
    )


def _then_review(generate: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``generate``, but if it writes a script by autogenerate, review the pending revisions after it.

    The new script is among them, and gets the reasons that the user gave. The findings are printed on stderr.
    """

    @wraps(generate)
    def run(**options: Any) -> Any:
        _require_new_id(options["rev_id"])
        before = set(folder().path.glob("versions/*.py"))
        result = generate(**options)
        written = set(folder().path.glob("versions/*.py")) - before
        if options.get("autogenerate", True) and written:
            from .review import review_new

            review_new(config_of(options.get("directory"), options.get("x_arg")), written)
        return result

    return run


group = MigrationGroup(
    stock.name,
    params=_own_params(stock.params),
    callback=stock.callback,
    help=stock.help,
    commands={name: _with_revision_option(command) for name, command in stock.commands.items()},
)
