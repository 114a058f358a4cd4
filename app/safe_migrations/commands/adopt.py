"""`flask db adopt`, which finds the revision of a database that has tables but no revision, and stamps it."""

from collections.abc import Iterable

import click
from alembic.command import stamp
from alembic.config import Config
from alembic.script import ScriptDirectory

from ..adapters.snapshot import Objects
from ..console import each_warning_once, echo, log
from ..database import Database, has_convention, heads_in_words
from ..errors import MigrationError, counted, masked
from ..folder import scripts
from ..histories.adoption import Fit, History, built, closest, first_with_convention, inserting_rows
from ..histories.naming import convention_lines
from ..histories.unversioned import begin_lines
from ..plan import upgrades
from .app_database import opened
from .command import MigrationCommand, config_of, directory_option


@click.command(cls=MigrationCommand)
@directory_option
@click.option("--yes", is_flag=True, help="Stamp the database even if there are differences.")
@click.argument("revision", required=False)
@click.pass_context
def adopt(ctx: click.Context, directory: str | None, yes: bool, revision: str | None) -> None:
    """Find the revision of a database that has tables but no revision, and stamp it.

    Compares the database with REVISION, or else with each revision, built on a scratch database. Exits with status 1 if
    there are differences.
    """
    if revision == "base":
        raise click.UsageError(f"base has no tables. Fix: leave REVISION out: {ctx.command_path}", ctx)
    fit, is_certain = _best(config_of(directory), revision)
    if not (is_certain or yes):
        ctx.exit(1)
    stamp(config_of(directory), list(fit.heads))


def _best(config: Config, revision: str | None) -> tuple[Fit, bool]:
    """Print which revision the database fits best, or how it differs from ``revision``; return the comparison.

    Return also True if nothing differs, and no revision that could not be built may be closer.
    """
    script = scripts()
    count = len(upgrades(script, "heads", ()))
    if revision:
        upgrades(script, revision, ())  # raises if it is unknown
    lines: tuple[str, ...] = ()
    with each_warning_once(), opened(config) as (database, using):
        _require_adoptable(database, count)
        log.info("Building %s on a scratch database, to compare", counted(count, "revision"))
        history = built(config, database, using, revision)
        with database.read() as connection:
            found = database.adapter.schema(connection)
        fit = closest(history, found, revision)
        if (fit is None or fit.names or history.failure) and has_convention():
            log.info("Building them again without the naming convention of the models")
            unnamed = built(config, database, using, revision, {each.revision for each in script.walk_revisions()})
            other = closest(unnamed, found, revision)
            if other is not None and (fit is None or other.rank < fit.rank):
                since = first_with_convention(history, unnamed)
                how, *more = convention_lines(since)
                why = (
                    f"From {since} on, it changes no name" if since else "It changes names in the newest revision, too"
                )
                lines = (f"{why}. To run older revisions without it, {how}", *more)
                history, fit = unnamed, other
        _require_no_revision(database)  # another command may have given it one by now
        product = database.facts.product
    if fit is None:
        raise MigrationError(
            f"the revision to compare with cannot be built on an empty database. {history.failure}",
            "correct that script; see which revisions come before it:",
            "flask db history",
        )
    if not any(name.startswith("table ") and history.knows(name) for name in found):
        raise MigrationError("the database has no table of this history.", "create the tables:", "flask db upgrade")
    _print(fit, script, history, found, lines, is_named=bool(revision))
    inserting = [] if fit.differences else inserting_rows(script.get_revisions(history.up_to(fit.heads)), product)
    if inserting:
        echo(f"Revisions that insert rows, which a database made by create_all() lacks: {', '.join(inserting)}")
    is_newest = fit.heads == list(history.schemas)[-1]
    if not fit.differences and history.failure and is_newest and not revision:
        heads = heads_in_words(fit.heads, " ")
        echo(f"Fix: if the database is not at a later revision, stamp this one:\n    flask db stamp {heads}")
        return fit, False
    return fit, not fit.differences


def _require_adoptable(database: Database, count: int) -> None:
    """Raise MigrationError if there are no scripts, or the database has a revision, has no tables, or is read-only.

    ``count`` is the number of scripts.
    """
    database.require_whole()
    _require_no_revision(database)
    database.require_writable("flask db adopt")
    if not count:
        raise MigrationError(
            "there are no revisions to compare with.",
            "write the first one for an empty database, and then adopt this one:",
            *begin_lines(database),
        )
    if not database.has_tables():
        raise MigrationError(
            f"{masked(database.connection.engine.url)} has no tables.", "create them:", "flask db upgrade"
        )


def _require_no_revision(database: Database) -> None:
    """Raise MigrationError if the database has a revision, which stamping would overwrite."""
    if heads := database.heads():
        raise MigrationError(
            f"the database is at {heads_in_words(heads)} already.",
            "see which revisions are pending:",
            "flask db status",
        )


def _print(
    fit: Fit, script: ScriptDirectory, history: History, found: Objects, lines: tuple[str, ...], is_named: bool
) -> None:
    """Print the result: the revision, differences, other names, other objects, and revisions that were not built.

    ``lines`` say how to run revisions without the naming convention, or are empty. ``is_named`` is True if the user
    named the revision.
    """
    docs = " and ".join(
        f"{each.revision}, {each.doc}" if each.doc else each.revision
        for each in script.get_revisions(fit.heads)
        if each
    )
    if fit.differences:
        echo(f"{docs}: the database has {counted(len(fit.differences), 'difference')}:")
        _list(fit.differences)
    else:
        echo(f"{docs}: the database has the schema of this revision")
        before, of_rows = history.rows_only(fit.heads)
        if of_rows and not is_named:
            changes, they = ("changes", "it") if len(of_rows) == 1 else ("change", "they")
            echo(
                f"{', '.join(of_rows)} {changes} only rows; nothing in the schema tells whether {they} ran."
                f" If {they} did not:\n    flask db stamp {heads_in_words(before, ' ')}"
            )
    if fit.names:
        echo("These differ only in their names; a script that drops one by its name will fail:")
        _list(fit.names)
    if unknown := history.unknown(found):
        echo(f"Not in the history, and left alone: {', '.join(unknown)}")
    if history.failure:
        echo(f"Not compared, because it cannot be built on an empty database: {history.failure}")
    if lines:
        echo(f"More names fit without the models' naming convention. {lines[0]}")
        _list(lines[1:])
    if fit.differences:
        heads = f" {fit.heads[0]}" if len(fit.heads) == 1 else ""
        echo(
            "Fix: change the database until these are gone, or write into a script what only the database has; then run"
            " this again. Or, if they do not matter, stamp it:"
            f"\n    flask db adopt{heads} --yes"
        )


def _list(lines: Iterable[str]) -> None:
    for line in lines:
        echo(f"    {line}")
