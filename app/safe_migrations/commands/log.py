"""`flask db log`, which shows who applied which revision, and accepts scripts that were edited since."""

import shlex
from pathlib import Path

import click
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from ..console import echo
from ..database import Database
from ..errors import MigrationError, relative
from ..folder import scripts
from ..histories.log_table import ACCEPT, applied, edited, entries, is_edited, newest
from ..histories.log_writer import LogWriter
from ..lock import locked
from .app_database import opened
from .command import MigrationCommand, config_of, directory_option


@click.command(cls=MigrationCommand)
@directory_option
@click.option(
    "--accept", metavar="REV", multiple=True, help="Accept the edited script of REV as it is; can be repeated."
)
def log(directory: str | None, accept: tuple[str, ...]) -> None:
    """Show who applied which revision, and when.

    The newest entry comes first. Scripts that were edited since are marked.
    """
    config = config_of(directory)
    script = scripts()
    with opened(config) as (database, using):
        if accept:
            database.require_writable(f"flask db log {' '.join(f'--accept {shlex.quote(each)}' for each in accept)}")
            with locked(database, using.lock_wait):
                database.require_whole()
                _accept(database, script, accept)
        else:
            _show(database, script)


def _show(database: Database, script: ScriptDirectory) -> None:
    heads = database.heads()
    with database.read() as connection:
        found = entries(connection)
        edits = edited(found, script, heads)
    if not found:
        echo("The log is empty: it begins with the next upgrade, downgrade or stamp of this database.")
        return
    known = newest(found)
    marked = {known[each.revision]: each for each in edits}
    width = max(len(entry.revision) for entry in found)
    for entry in reversed(found):
        title = _title(script, entry.revision)
        echo(
            f"{entry.finished:%Y-%m-%d %H:%M:%S} UTC  {entry.direction:<6}  {entry.revision:<{width}}"
            f"  {entry.seconds:>7.1f} s  {entry.os_user} on {entry.host}{f'  {title}' if title else ''}"
        )
        if entry in marked:
            echo(f"    edited since: {relative(Path(marked[entry].path))}")
    if marked:
        echo("To accept an edited script as it is: flask db log --accept REV")


def _title(script: ScriptDirectory, revision: str) -> str:
    try:
        found = script.get_revision(revision)
    except CommandError:
        return "(no script)"
    return found.doc or "" if found else ""


def _accept(database: Database, script: ScriptDirectory, names: tuple[str, ...]) -> None:
    """Write an entry for the script of each revision in ``names``, as it is now.

    Raise Alembic's CommandError if a revision is unknown, and MigrationError if there is nothing to accept.
    """
    scripts = list(dict.fromkeys(each for each in script.get_revisions(names) if each))
    there = {each.revision for each in applied(script, database.heads())}
    with database.read() as connection:
        known = newest(entries(connection))
    for each in scripts:
        entry = known.get(each.revision)
        if each.revision not in there:
            raise _nothing(f"revision {each.revision} is not applied to this database")
        if entry is None:
            raise _nothing(f"revision {each.revision} was applied before this database had a log")
        if not is_edited(each, entry):
            raise _nothing(f"the script of {each.revision} was not edited since it was applied")
    with database.connection.begin():
        writer = LogWriter(database.connection, script)
        writer.begin()
        for each in scripts:
            writer.write(ACCEPT, each.revision, 0)
    for each in scripts:
        echo(f"Accepted {relative(Path(each.path))} as it is.")


def _nothing(why: str) -> MigrationError:
    return MigrationError(f"there is nothing to accept: {why}.", "see the log:", "flask db log")
