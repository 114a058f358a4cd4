"""`flask db rehearse`, which runs the pending revisions on a copy of the database and prints a table."""

import click
from alembic.config import Config

from ..console import echo
from ..database import heads_in_words, replaced_by
from ..folder import scripts
from ..histories.log_table import readable_entries
from ..histories.moving import accident_error
from ..histories.never_ran import never_ran_error
from ..plan import upgrades
from ..rehearsal.runner import Rehearsal
from ..rehearsal.scratch import scratch_copy
from .app_database import opened
from .command import MigrationCommand, config_of, directory_option


@click.command(cls=MigrationCommand)
@directory_option
@click.option("--schema-only", is_flag=True, help="Copy the schema without rows.")
@click.argument("revision", default="heads")
@click.pass_context
def rehearse(ctx: click.Context, directory: str | None, schema_only: bool, revision: str) -> None:
    """Rehearse an upgrade on a copy of the database.

    Each revision is upgraded, downgraded and upgraded again; exits with status 1 if something is lost or differs.
    """
    if revision == "base":
        raise click.UsageError(
            "A rehearsal upgrades the copy to REVISION, and no upgrade leads to base. Fix: leave REVISION out, to go to"
            f" the heads: {ctx.command_path}",
            ctx,
        )
    if not _rehearsed(config_of(directory), revision, rows=not schema_only):
        ctx.exit(1)


def _rehearsed(config: Config, destination: str, rows: bool) -> bool:
    """Rehearse an upgrade to ``destination`` on a copy of the database.

    Return False if it finds a fault, or if the upgrade would stop before its first step.
    """
    script = scripts()
    with opened(config) as (database, using):
        database.require_whole()
        heads = database.heads()
        passes = True
        if upgrades(script, destination, heads):
            with scratch_copy(database, using, rows) as scratch, replaced_by(scratch.engine):
                passes = _without_faults(Rehearsal(config, scratch), destination)
        else:
            echo(f"Nothing to rehearse: the database is at {heads_in_words(heads)}")
        logged = readable_entries(database, heads)
        stops = [each for each in (accident_error(script), never_ran_error(logged, script, heads)) if each]
        for stop in stops:
            echo(f"\nAn upgrade would stop: {stop}")
        return passes and not stops


def _without_faults(rehearsal: Rehearsal, destination: str) -> bool:
    """Run the rehearsal, and print a line for each revision, then all faults. Return False if there are faults."""
    steps = rehearsal.steps(destination)
    form = f"{{:<{max(8, *(len(step.revision) for step in steps))}}}  {{:>8}}  {{:>8}}  {{:>18}}  {{}}"
    echo(form.format("revision", "up", "down", "rows", "verdict"))
    reports = []
    for report in rehearsal.run(steps):
        reports.append(report)
        up, down = ("-" if seconds is None else f"{seconds:.2f} s" for seconds in (report.up, report.down))
        echo(form.format(report.revision, up, down, f"{report.before} -> {report.after}", report.verdict))
    faults = [f"{report.revision}: {fault}" for report in reports for fault in report.faults]
    if left := [step.revision for step in steps[len(reports) :]]:
        faults.append(f"not rehearsed, because an earlier revision failed: {', '.join(left)}")
    elif found := rehearsal.drift():
        faults.append(f"the models differ from the database at head: {', '.join(found)}")
    for fault in faults:
        echo(f"\n{fault}")
    return not faults
