"""`flask db status`, which compares the database with the scripts and the models."""

from pathlib import Path
from typing import Any

import click
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Engine

from ..backfill import unfinished
from ..backups.external import in_words, is_external
from ..backups.files import Backups
from ..binds import no_folder_error
from ..console import echo
from ..database import Database, heads_in_words
from ..drift import drift, not_compared
from ..errors import MigrationError, counted, masked, relative
from ..folder import scripts
from ..histories.log_table import edited, edits_in_words, readable_entries
from ..histories.moving import accident_error
from ..histories.never_ran import never_ran_error
from ..histories.replacement import OLD, replaced_error, squash_of
from ..plan import is_at_head, is_known, upgrades
from ..review.findings import Finding
from ..settings import settings
from .command import MigrationCommand, all_binds_option, config_of, directory_option


@click.command(cls=MigrationCommand)
@directory_option
@all_binds_option
@click.pass_context
def status(ctx: click.Context, directory: str | None) -> None:
    """Show which revision the database is at, and which are pending.

    Exits with status 0 if it is at head, else with 1.
    """
    if not _at_head(config_of(directory)):
        ctx.exit(1)


def _at_head(config: Config) -> bool:
    """Print the status. Return True if the database is at head, even if the models differ from it."""
    script = scripts()
    at_head = False
    stops: list[MigrationError] = []

    def report(current: tuple[str, ...], migration_context: MigrationContext) -> list[Any]:
        nonlocal at_head
        assert migration_context.connection is not None
        database = Database(migration_context.connection)
        engine, (product, version) = database.connection.engine, database.product_and_version
        interrupted = database.interrupted()
        at_head = is_at_head(script, current) and not interrupted
        _line("database", f"{masked(engine.url)}, {product} {version}")
        _line("revision", heads_in_words(current))
        _line("head", ", ".join(script.get_heads()) or "none: there are no scripts")
        if interrupted:
            _line("half-way", interrupted)
        with database.read() as connection:
            for each in unfinished(connection):
                done = f"{counted(each.rows_done, 'row')} of {each.table_name}"
                how = "finished, unlike the" if each.is_done else "not finished in"  # a run may be under way
                _line("backfill", f"{how} {each.direction}() of {each.revision}, after {done}")
        folder = relative(Path(script.versions))
        if left := list(Path(folder).rglob(f"*.py{OLD}")):
            _line(
                "left over",
                f"{counted(len(left), 'script')} of a squash that was killed at its end: rm {folder}/*.py{OLD}",
            )
        pending, using = [] if at_head else _pending(script, current), settings()
        stops.extend(_replaced(script, current))
        reviewed = [] if using.review == "off" else pending
        findings = _findings(script, reviewed, engine, using.online) if reviewed else []
        for step in pending:
            _line("pending", ", ".join(filter(None, (step.revision, step.doc))))
            for finding in findings:
                if finding.revision == step.revision:
                    said = f"{finding.level}, acknowledged" if finding.acknowledged else finding.level
                    _line("", f"{said}: {finding.code}, line {finding.line}")
        if skipped := _skipped(script, reviewed):
            _line("", skipped)
        logged = readable_entries(database, current)
        edits = edited(logged, script, current)
        stops.extend(filter(None, [never_ran_error(logged, script, current)]))
        if edits:
            _line("edited", f"{edits_in_words(edits)}; see `flask db log`")
        if not current and (error := _unversioned_error(pending, database)):
            stops.append(error)
        try:
            if newest := Backups(database.adapter, using).newest():
                _line("backup", f"{relative(newest)}{f', {in_words(newest)}' if is_external(newest) else ''}")
        except MigrationError as error:
            _line("backup", error.what)
        if at_head:
            found = drift(migration_context)
            _line("models", f"differ from the database: {', '.join(found)}" if found else "agree with the database")
            _line("", f"not compared: {', '.join(not_compared(migration_context))}")
        return []

    # dont_mutate: as `flask db current` does, leave a database without alembic_version as it is.
    with EnvironmentContext(config, script, fn=report, as_sql=False, dont_mutate=True):
        script.run_env()
    stops += filter(None, [accident_error(script)])
    for stop in stops[::-1]:
        echo(f"\nAn upgrade would stop: {stop}")
    if missing := no_folder_error():
        echo(f"\nNot every database is managed: {missing}")
    return at_head and not stops


def _findings(script: ScriptDirectory, pending: list[Script], engine: Engine, online: bool) -> list[Finding]:
    from ..review.acceptance import accepted
    from ..review.recorder import Recordings
    from ..review.reviewer import as_configured, review_pending

    with engine.connect() as connection:
        known = accepted(script)
        found = review_pending(pending, Database(connection), Recordings(), known, downgrades=False)
        return as_configured(found, online)


def _unversioned_error(pending: list[Script], database: Database) -> MigrationError | None:
    from ..histories.unversioned import unversioned_error
    from ..review.recorder import Recordings

    return unversioned_error(pending, database, Recordings()) if pending else None


def _skipped(script: ScriptDirectory, pending: list[Script]) -> str:
    """Return a line about the ``pending`` revisions that are accepted without a review; empty if none is."""
    from ..review.acceptance import accepted, skipped

    count = len({step.revision for step in pending} & accepted(script)) if pending else 0
    return skipped(count) if count else ""


def _line(name: str, value: str) -> None:
    echo(f"{name:<10}{value}")


def _pending(script: ScriptDirectory, current: tuple[str, ...]) -> list[Script]:
    try:
        return upgrades(script, "heads", current)
    except (CommandError, RevisionError):
        unknown = [revision for revision in current if not is_known(script, revision)]
        if not _replaced(script, current):
            _line("ahead", f"{', '.join(unknown)} has no script in {script.dir}")
        return []


def _replaced(script: ScriptDirectory, current: tuple[str, ...]) -> list[MigrationError]:
    """Return the errors about those of the database's revisions that a squash replaced."""
    found = ((revision, squash_of(script, revision)) for revision in current if not is_known(script, revision))
    return [replaced_error(revision, squash) for revision, squash in found if squash]
