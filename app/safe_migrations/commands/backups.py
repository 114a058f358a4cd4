"""What `flask db backup`, `backups`, `restore` and `rehearse` do."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from ..adapters import adapter_of
from ..backups.files import Backups, is_by_hand, restore_line
from ..backups.restore import require_revision, restore
from ..console import log_on_stderr
from ..database import app_engine, connected, heads_in_words, heads_of, replaced_by
from ..errors import MigrationError, UnsafeError
from ..lock import locked
from ..plan import upgrades
from ..remedies import masked, relative
from ..settings import Settings, settings

if TYPE_CHECKING:
    from ..rehearsal.runner import Rehearsal


def settings_of(config: Config) -> Settings:
    """Outside env.py, where Alembic knows of no `-x`."""
    with EnvironmentContext(config, ScriptDirectory.from_config(config)):
        return settings()


@contextmanager
def opened(config: Config) -> Iterator[tuple[Backups, Connection, Settings]]:
    """The app's database, outside env.py."""
    using, adapter = settings_of(config), adapter_of(app_engine())
    with log_on_stderr(), connected(adapter) as connection:
        yield Backups(adapter, using.backup_folder, using.backup_keep), connection, using


def back_up(config: Config) -> str:
    """Write a backup, which no run removes, and return its path."""
    with opened(config) as (backups, connection, using), locked(backups.adapter, connection, using.lock_wait):
        return relative(backups.make(connection, heads_of(connection), using.retry, by_hand=True))


def list_backups(config: Config) -> None:
    """Print path and size of each, and which are made by hand; the database need not answer."""
    using = settings_of(config)
    for file in Backups(adapter_of(app_engine()), using.backup_folder, using.backup_keep).found():
        by_hand = "  by hand" if is_by_hand(file) else ""
        click.echo(f"{relative(file)}  {file.stat().st_size / 1e6:.1f} MB{by_hand}")


def put_back(config: Config, file: Path, yes: bool) -> None:
    """Restore ``file``, if it is whole and the answer is yes. Raises UnsafeError without a terminal to ask on."""
    if not file.is_file():
        raise MigrationError(f"there is no file {file}.", "choose one of:", "flask db backups")
    with opened(config) as (backups, connection, using):
        revision = backups.verify(connection, file)
        target = masked(backups.adapter.engine.url)
        if not yes and not sys.stdin.isatty():
            raise UnsafeError(
                f"this overwrites everything in {target}, and there is no terminal to confirm on.",
                "add --yes:",
                f"{restore_line(file)} --yes",
            )
        if not yes:
            click.confirm(f"Replace everything in {target}?", abort=True, err=True)
        restore(backups, connection, using, file)
        require_revision(file, revision, heads_of(connection))
        click.echo(f"The database is at {heads_in_words(heads_of(connection))}")


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """So that the copy goes, as after Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def rehearse(config: Config, destination: str, rows: bool) -> bool:
    """Rehearse what an upgrade to ``destination`` would run, on a copy; print a table. False if something is wrong."""
    from ..rehearsal.runner import Rehearsal  # these read SQL: no other command here waits for that
    from ..rehearsal.scratch import scratch_copy

    with (
        _interrupted_by_sigterm(),
        opened(config) as (backups, connection, using),
        locked(backups.adapter, connection, using.lock_wait, "rehearsal"),
    ):
        heads = heads_of(connection)
        if not upgrades(ScriptDirectory.from_config(config), destination, heads):
            click.echo(f"Nothing to rehearse: the database is at {heads_in_words(heads)}")
            return True
        with scratch_copy(backups.adapter, connection, using, rows) as scratch, replaced_by(scratch.engine):
            return _rehearse(Rehearsal(config, scratch), destination)


def _rehearse(rehearsal: "Rehearsal", destination: str) -> bool:
    """Run it; print a line for each step, and all faults in the end. False if there are any."""
    steps = rehearsal.steps(destination)
    form = f"{{:<{max(8, *(len(step.revision) for step in steps))}}}  {{:>8}}  {{:>8}}  {{:>18}}  {{}}"
    click.echo(form.format("revision", "up", "down", "rows", "verdict"))
    reports = []
    for report in rehearsal.run(steps):
        reports.append(report)
        up, down = ("-" if seconds is None else f"{seconds:.2f} s" for seconds in (report.up, report.down))
        click.echo(form.format(report.revision, up, down, f"{report.before} -> {report.after}", report.verdict))
    faults = [f"{report.revision}: {fault}" for report in reports for fault in report.faults]
    if left := [step.revision for step in steps[len(reports) :]]:
        faults.append(f"not rehearsed after that: {', '.join(left)}")
    elif found := rehearsal.drift():
        faults.append(f"the models differ from the database at head: {', '.join(found)}")
    for fault in faults:
        click.echo(f"\n{fault}")
    return not faults
