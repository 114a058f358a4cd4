"""`flask db review`, which chooses revisions and databases, and prints what the rules find in them."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from ..adapters import product_and_version
from ..adapters.facts import Facts
from ..adapters.products import facts_of
from ..autogenerate.acknowledgements import reasons, write_reasons
from ..console import echo, log_on_stderr
from ..database import app_engine
from ..errors import LoginError, MigrationError, counted, relative
from ..folder import folder, scripts
from ..git import revisions_not_in
from ..histories.moving import accident_error
from ..plan import upgrades
from ..review.acceptance import accept, accepted, skipped
from ..review.findings import FORMATS, Finding, annotation, as_text, closing, merged
from ..review.recorder import Recordings
from ..review.reviewer import as_configured, review_pending, review_revisions
from .app_database import opened, settings_of
from .command import MigrationCommand, config_of, directory_option


@click.command(cls=MigrationCommand)
@directory_option
@click.option("--all", "whole", is_flag=True, help="Check the whole history.")
@click.option("--since", metavar="GITREF", help="Check the revisions that GITREF, such as origin/main, does not have.")
@click.option(
    "--accept",
    "names",
    metavar="REV",
    multiple=True,
    help="Accept all revisions up to REV without a review: write REV into alembic.ini, to commit. Can be repeated.",
)
@click.option(
    "--target",
    "targets",
    default="",
    help="Check for these databases, such as postgresql,mysql>=8.0, instead of the configured ones.",
)
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.argument("revision", required=False)
@click.pass_context
def review(
    ctx: click.Context,
    directory: str | None,
    whole: bool,
    since: str | None,
    names: tuple[str, ...],
    targets: str,
    form: str,
    revision: str | None,
) -> None:
    """Check pending revisions for dangerous operations.

    Or check one REVISION, or A:B, the revisions after A up to B. Exits with status 1 if a finding, or a
    second head, blocks an upgrade.
    """
    if sum(map(bool, (whole, since is not None, names, revision))) > 1:
        raise click.UsageError("Give only one of REVISION, --all, --since and --accept.")
    if not all(names):
        raise click.UsageError("The argument of --accept is an empty string. Fix: give a revision, or head.")
    config = config_of(directory)
    if names:
        _accept(scripts(), names)
    elif not _passes(config, Chosen(revision or "", whole, since), targets, form):
        ctx.exit(1)


@dataclass(frozen=True)
class Chosen:
    """The revisions to review: REVISION or A:B, all, or those that git commit ``since`` lacks; else pending ones."""

    revisions: str = ""
    whole: bool = False
    since: str | None = None


def _accept(script: ScriptDirectory, names: tuple[str, ...]) -> None:
    line = accept(script, names)
    file = relative(folder().ini)
    echo(f"Wrote {line} into {file}. Revisions up to it are no longer reviewed. Commit the file.")


def _passes(config: Config, chosen: Chosen, targets: str, form: str) -> bool:
    """Print the findings that _reviewed() returns, in the format ``form``. Return False if one blocks an upgrade.

    Return False too if several heads are an accident, at which an upgrade would stop.
    """
    script = scripts()
    found, count = _reviewed(config, script, chosen, targets)
    findings = as_configured(found, settings_of(config).online)
    if heads := accident_error(script):
        echo(f"An upgrade would stop: {heads}\n", err=True)
        if form == "github":
            echo(annotation("error", "title=heads", str(heads)))
    if findings or form != "text":
        echo(FORMATS[form](findings))
    if findings:
        echo(f"\n{closing(findings)}" if form == "text" else closing(findings), err=form != "text")
    elif form == "text":
        said = f"The review of {counted(count, 'revision')} found nothing dangerous"
        echo(said if count else "There is no revision to review", err=True)
    return not heads and not any(finding.stops for finding in findings)


def review_new(config: Config, written: Iterable[Path], chosen: Chosen = Chosen()) -> None:
    """Review the ``chosen`` revisions, and write into the new scripts ``written`` why the user said that they are safe.

    Print the findings on stderr, unless MIGRATION_REVIEW is off.
    """
    sys.stdout.flush()  # with Alembic's "done", which otherwise comes later if stdout is a file
    using = settings_of(config)
    if using.review == "off" and not reasons():
        return
    findings, _ = _reviewed(config, scripts(), chosen, targets="")
    with log_on_stderr():
        findings = write_reasons(findings, written)
    if findings and using.review != "off":
        findings = as_configured(findings, using.online)
        echo(f"{as_text(findings)}\n\n{closing(findings)}", err=True)


def _reviewed(config: Config, script: ScriptDirectory, chosen: Chosen, targets: str) -> tuple[list[Finding], int]:
    """Return the findings in the ``chosen`` revisions, and how many revisions are reviewed: no accepted pending ones.

    Review for the databases ``targets``, by default for the configured one and MIGRATION_TARGETS. With a commit, or if
    ``targets`` are given together with revisions, this does not connect to a database.
    """
    history = list(script.walk_revisions())[::-1]
    order = [revision.revision for revision in history]
    known = accepted(script)

    def without_database(names: set[str], databases: Iterable[Facts]) -> tuple[list[Finding], int]:
        return merged({facts: review_revisions(history, names, facts) for facts in databases}, order), len(names)

    names = set(order) if chosen.whole else _named(script, chosen.revisions)
    if chosen.since is not None:
        names = revisions_not_in(script, chosen.since)  # accepted or not: a commit must not accept what it adds
    if targets:
        if names is None:
            pending = _pending_elsewhere(config, script)
            names = _without_accepted(set(order) if pending is None else pending, known)
        return without_database(names, _targets(targets))
    if names is not None and chosen.since is not None:
        return without_database(names, _configured(config))
    with opened(config) as (database, using):
        elsewhere = [facts_of(*target) for target in using.targets]
        if names is not None:
            return without_database(names, (database.facts, *elsewhere))
        to_run = upgrades(script, "heads", database.heads())
        names = _without_accepted({revision.revision for revision in to_run}, known)
        here = review_pending(to_run, database, Recordings(), known)
        reviews = {facts: review_revisions(history, names, facts) for facts in elsewhere}
        return merged({database.facts: here, **reviews}, order), len(names)


def _without_accepted(pending: set[str], known: set[str]) -> set[str]:
    """Return the revisions ``pending`` that are not ``known``, i.e. accepted; print how many are."""
    if count := len(pending & known):
        echo(skipped(count), err=True)
    return pending - known


def _targets(targets: str) -> list[Facts]:
    """Return the facts about the databases that --target lists. Raise UsageError if it names an unknown one."""
    try:
        return [facts_of(*product_and_version(target, "--target")) for target in targets.split(",")]
    except MigrationError as error:
        raise click.UsageError(str(error)) from error


def _configured(config: Config) -> Iterable[Facts]:
    """Return the facts about the database that the app's URL names, and MIGRATION_TARGETS, without a connection.

    If MIGRATION_TARGETS names the same product, the version given there counts.
    """
    targets = (product_and_version(app_engine().url.get_backend_name()), *settings_of(config).targets)
    return {product: facts_of(product, version) for product, version in targets}.values()


def _pending_elsewhere(config: Config, script: ScriptDirectory) -> set[str] | None:
    """Return the revisions pending on the configured database.

    If it cannot be reached or has no revision, print that the whole history is reviewed, and return None.
    """
    try:
        with opened(config) as (database, _):
            if heads := database.heads():
                return {revision.revision for revision in upgrades(script, "heads", heads)}
    except (DBAPIError, LoginError):
        pass
    echo(
        "The database cannot be reached or has no revision, so this reviews the whole history, each revision by itself",
        err=True,
    )
    return None


def _named(script: ScriptDirectory, revisions: str) -> set[str] | None:
    """Return the ids of one revision, or for A:B those after A up to B; None if ``revisions`` is empty."""
    if not revisions:
        return None
    lower, colon, upper = revisions.partition(":")
    if not colon:
        named = script.get_revision(revisions)
        return {named.revision} if named else set()
    return {found.revision for found in script.iterate_revisions(upper or "heads", lower or "base")}
