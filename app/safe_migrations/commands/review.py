"""`flask db review`: which revisions it reviews, and for which databases."""

import click
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from ..adapters import product_and_version
from ..adapters.products import facts_of
from ..errors import LoginError, MigrationError
from ..plan import upgrades
from ..remedies import several_heads
from ..review.findings import FORMATS, Finding, as_text, merged
from ..review.recorder import recordings
from ..review.reviewer import review_pending, review_revisions
from .app_database import opened, settings_of
from .command import MigrationCommand, config_of, directory_option


@click.command(cls=MigrationCommand)
@directory_option
@click.option("--all", "whole", is_flag=True, help="The whole history.")
@click.option(
    "--target", "targets", default="", help="Databases, such as postgresql,mysql>=8.0, instead of the configured ones."
)
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.argument("revision", required=False)
@click.pass_context
def review(
    ctx: click.Context, directory: str | None, whole: bool, targets: str, form: str, revision: str | None
) -> None:
    """Check pending revisions for dangerous operations.

    Or check REVISION, or the revisions from A to B, as A:B. Exits with status 1 if an operation blocks an upgrade.
    """
    if whole and revision:
        raise click.UsageError("Name revisions, or --all of them.")
    if not _passes(config_of(directory), revision or "", whole, targets, form):
        ctx.exit(1)


def _passes(config: Config, revisions: str, whole: bool, targets: str, form: str) -> bool:
    """Print the findings of the pending revisions, of ``revisions``, or of all. Return False if one blocks."""
    script = ScriptDirectory.from_config(config)
    findings = _reviewed(config, script, revisions, whole, targets)
    heads = [head for head in script.get_heads() if not script.get_revision(head).branch_labels]
    if len(heads) > 1:  # branches that have labels are meant to stay apart
        click.echo(f"An upgrade would stop: {several_heads(heads)}\n", err=True)
    if findings or form != "text":
        click.echo(FORMATS[form](findings))
    else:
        click.echo("Nothing found", err=True)
    return not any(finding.stops for finding in findings)


def print_findings(config: Config) -> None:
    """Print on stderr what is found in pending revisions, unless MIGRATION_REVIEW is off."""
    if settings_of(config).review == "off":
        return
    if findings := _reviewed(config, ScriptDirectory.from_config(config), "", whole=False, targets=""):
        click.echo(as_text(findings), err=True)


def _reviewed(config: Config, script: ScriptDirectory, revisions: str, whole: bool, targets: str) -> list[Finding]:
    """Review for the databases in ``targets``, else for the configured one and those in MIGRATION_TARGETS."""
    history = list(script.walk_revisions())[::-1]
    order = [revision.revision for revision in history]
    chosen = set(order) if whole else _chosen(script, revisions)
    recorded = recordings()
    if targets:
        try:
            wanted = [facts_of(*product_and_version(target, "--target")) for target in targets.split(",")]
        except MigrationError as error:
            raise click.UsageError(str(error)) from error
        one_run = False
        if chosen is None:
            chosen = _pending_elsewhere(config, script)
            one_run = chosen is not None
        names = set(order) if chosen is None else chosen
        return merged({facts: review_revisions(history, names, facts, recorded, one_run) for facts in wanted}, order)
    with opened(config) as (database, using):
        elsewhere = [facts_of(*target) for target in using.targets]
        if chosen is not None:
            everywhere = (database.facts, *elsewhere)
            return merged({facts: review_revisions(history, chosen, facts, recorded) for facts in everywhere}, order)
        pending = upgrades(script, "heads", database.heads())
        names = {revision.revision for revision in pending}
        here = review_pending(pending, database, recorded)
        reviews = {facts: review_revisions(history, names, facts, recorded, one_run=True) for facts in elsewhere}
        return merged({database.facts: here, **reviews}, order)


def _pending_elsewhere(config: Config, script: ScriptDirectory) -> set[str] | None:
    """Return what is pending on the configured database; None if it does not answer or has no revision."""
    try:
        with opened(config) as (database, _):
            if heads := database.heads():
                return {revision.revision for revision in upgrades(script, "heads", heads)}
    except (DBAPIError, LoginError):
        pass
    click.echo("No database says what is pending: reviewing the whole history, each revision by itself", err=True)
    return None


def _chosen(script: ScriptDirectory, revisions: str) -> set[str] | None:
    """Return the revisions of A:B, without A, or the one that is named; None if ``revisions`` is empty."""
    if not revisions:
        return None
    lower, colon, upper = revisions.partition(":")
    if not colon:
        named = script.get_revision(revisions)
        return {named.revision} if named else set()
    return {found.revision for found in script.iterate_revisions(upper or "heads", lower or "base")}
