"""Runs of revisions on a scratch database.

A rehearsal upgrades, downgrades and upgrades each pending revision on a copy, and reports faults. Rehearsal.build()
only upgrades, e.g. an empty database.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from alembic.config import Config
from alembic.operations.ops import MigrateOperation, RenameTableOp
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import Script, ScriptDirectory
from sqlalchemy import StaticPool

from ..adapters import Adapter
from ..adapters.products import FACTS
from ..adapters.snapshot import Objects, Snapshot
from ..console import log, only_warnings
from ..database import Database
from ..drift import drift
from ..errors import MigrationError, relative
from ..plan import is_at_head, upgrades
from ..remedies import Situation, message
from ..review.findings import Assurances, assurance_line
from ..review.recorder import Recordings, irreversible_reason
from ..review.rules.scripts import RAISE
from ..review.sql.ops import ChangeRowsOp
from .differences import Loss, became_nullable, differences, is_restored, losses, not_restored, overwritten

# As `-x` takes them. Only another session of the script can hold a lock on the copy, and MIGRATION_REHEARSAL_URL may
# name the copy itself.
SETTINGS = ("backup=never", "review=off", "lock_timeout=2", "lock_retries=1", "rehearsal_url=")

# What to do instead, by the code of the rule.
INSTEAD = {
    "drop-column": "stop using the column, deploy, and drop it in the next release.",
    "drop-table": "stop using the table, deploy, and drop it in the next release.",
    "unbounded-data-change": "first copy the rows to another table, and drop the copy in the next release.",
}


@dataclass
class Report:
    """The result for one revision, with its faults, and notes that are not faults.

    ``up`` and ``down`` are the seconds that upgrade and downgrade took; None if one failed or did not run. ``before``
    and ``after`` are the number of rows in all tables before and after the upgrade.
    """

    revision: str
    up: float | None = None
    down: float | None = None
    before: int = 0
    after: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Return ``no`` if there are faults, else ``ok`` and the notes, separated by commas."""
        return "no" if self.faults else ", ".join(["ok", *self.notes])


class Rehearsal:
    """Runs of revisions on the database of ``adapter``, a scratch database that may lose data.

    The app's engine must have been replaced by that of ``adapter``, because migrations/env.py connects with the app's.
    """

    def __init__(self, config: Config, adapter: Adapter) -> None:
        assert config.cmd_opts is not None
        config.cmd_opts.x += SETTINGS
        self.config = config
        self.adapter = adapter
        self.script = ScriptDirectory.from_config(config)
        self.recordings = Recordings()

    def steps(self, destination: str = "heads") -> list[Script]:
        """Return the revisions that an upgrade to ``destination`` runs.

        Raise CommandError or RevisionError if no script has this revision.
        """
        return upgrades(self.script, destination, self.heads())

    def run(self, steps: list[Script]) -> Iterator[Report]:
        """Rehearse the revisions ``steps`` in turn, and yield a report on each.

        Stop after a revision whose rehearsal ends without the revision applied: the next one cannot run without it.
        """
        before: Snapshot | None = None
        for revision in steps:
            report = Report(revision.revision)
            before = self._rehearse(revision, report, before or self.snapshot())
            yield report
            if revision not in self.script.iterate_revisions(self.heads(), "base"):
                return

    def build(self, destination: str = "heads") -> Iterator[Report]:
        """Upgrade the scratch database to ``destination``, and yield a report after each revision.

        Stop after a revision that fails; its report has the fault. A rebuild on SQLite may lose what it cannot keep.
        Raise CommandError or RevisionError if no script has the revision ``destination``.
        """
        for revision in self.steps(destination):
            report = Report(revision.revision)
            with only_warnings():  # `Running upgrade a -> b` would seem to be about the app's database
                report.up = self._run(revision, report, "upgrade", review="off")
            yield report
            if report.faults:
                return

    def drift(self) -> list[str]:
        """Return the differences between models and database, e.g. ``add_table pet``.

        Return an empty list if the database is not at head, because then it has to differ.
        """
        found: list[str] = []

        def compare(heads: tuple[str, ...], migration_context: MigrationContext) -> list[RevisionStep]:
            if is_at_head(self.script, heads):
                found.extend(drift(migration_context))
            return []

        with EnvironmentContext(self.config, self.script, fn=compare, as_sql=False, dont_mutate=True):
            self.script.run_env()
        return found

    def _rehearse(self, revision: Script, report: Report, before: Snapshot) -> Snapshot | None:
        """Upgrade, downgrade and upgrade ``revision`` again, and add the results to ``report``.

        Return the snapshot at the end, which is the next revision's ``before``; None if the upgrade, the downgrade or
        the second upgrade failed. A revision without a downgrade, or whose downgrade only raises, is only upgraded.
        """
        report.before = report.after = before.count
        report.up = self._run(revision, report, "upgrade")
        if report.up is None:
            return None
        upgraded = self.snapshot()
        report.after = upgraded.count
        operations = self._upgrade_of(revision)
        lost = list(losses(before, upgraded, self._renamed(operations)))
        without_downgrade = not hasattr(revision.module, "downgrade")
        reason = "it has no downgrade()" if without_downgrade else irreversible_reason(Path(revision.path))
        if reason is not None:
            _report_losses([*lost, *overwritten(before, upgraded)], revision, report)
            report.notes.append(f"irreversible: {reason}".rstrip(": "))
            return upgraded
        report.down = self._run(revision, report, "downgrade")
        if report.down is None:
            _report_losses(lost, revision, report)
            return None
        back = self.snapshot()
        lost = [loss for loss in lost if not is_restored(loss, before, back)]
        _report_losses(lost, revision, report)
        irreversible = self._irreversible_changes(before, back)
        report.notes += [f"{name} keeps its new values, which no downgrade can remove" for name in sorted(irreversible)]
        # MySQL keeps the index that a foreign key needed.
        tolerated = {f"key {name.removeprefix('foreign key ')} is new" for name in upgraded.objects}
        nullable = became_nullable(before.objects, upgraded.objects, back.objects)
        report.notes += [f"{name} was NOT NULL, and is nullable after the downgrade" for name in nullable]
        changed = differences(before.objects, {**back.objects, **irreversible, **nullable})
        report.faults += [f"after its downgrade {each}" for each in changed if each not in tolerated]
        kept = {loss.name for loss in lost} | self._filled(operations)
        _report_rows(not_restored(before, back, kept), revision, report)
        if self._run(revision, report, "second upgrade") is None:
            return None
        again = self.snapshot()
        report.faults += [f"after its second upgrade {name}" for name in differences(upgraded.objects, again.objects)]
        return again

    def _filled(self, operations: list[MigrateOperation]) -> set[str]:
        """Return the columns in which the upgrade only replaces NULL, by op.backfill(), if it changes no other rows.

        No downgrade has to restore NULL there: a database at the revision before may have these values.
        """
        changes = [op for op in operations if isinstance(op, ChangeRowsOp)]
        if not all(op.replaces_only_null for op in changes):
            return set()
        names = [(write(op.table_name, op.schema), op) for op in changes for write in self._writings()]
        return {f"{table}.{column}" for table, op in names for column in op.columns}

    def _renamed(self, operations: list[MigrateOperation]) -> dict[str, str]:
        """Return the new name of each table that the upgrade renames."""
        return {
            write(op.table_name, op.schema): write(op.new_table_name, op.schema)
            for op in operations
            if isinstance(op, RenameTableOp)
            for write in self._writings()
        }

    def _upgrade_of(self, revision: Script) -> list[MigrateOperation]:
        product = self.adapter.engine.dialect.name
        return [operation.op for operation in self.recordings.of(revision, product, "upgrade").upgrade]

    def _writings(self) -> tuple[Callable[[str, str | None], str], ...]:
        """Return how snapshots write the name of a table and its schema: PostgreSQL's have quotes, the others none."""
        return (lambda name, _schema: name), FACTS[self.adapter.engine.dialect.name]().quoted

    def _irreversible_changes(self, before: Snapshot, after: Snapshot) -> dict[str, str]:
        """Return name and description in ``before`` of each object that changed and that no SQL can change back.

        An example is an enum with a new value.
        """
        return {
            name: text
            for name, text in before.objects.items()
            if after.objects.get(name, text) != text and self.adapter.is_irreversible(name, text, after.objects[name])
        }

    def schema(self) -> Objects:
        """Return the schema of the scratch database as revisions determine it, without owners and rights."""
        with self.adapter.engine.connect() as connection:
            return self.adapter.schema(connection)

    def _run(self, revision: Script, report: Report, what: str, review: str = "enforce") -> float | None:
        """Run ``what`` (upgrade, downgrade or second upgrade) of ``revision``, and return how many seconds it took.

        If it fails, add a fault to ``report`` and return None. ``review`` is MIGRATION_REVIEW for what the rebuild of a
        table would lose.
        """
        step = RevisionStep(self.script.revision_map, revision, is_upgrade=what != "downgrade")
        started = time.monotonic()
        log.addFilter(_is_about_a_step)
        try:
            work = {"fn": lambda *_: [step], "destination_rev": revision.revision, "as_sql": False, "rehearsal": review}
            with EnvironmentContext(self.config, self.script, **work):
                self.script.run_env()
        except (Exception, SystemExit) as error:
            text = str(message(error, Situation(self.adapter.engine.url, Path(self.script.dir), frozenset())))
            if not isinstance(error, MigrationError):  # the line to paste would be for the app's own database
                text = text.partition(f"\n{MigrationError.label}: ")[0]
                if what == "downgrade":
                    place = relative(Path(revision.path))
                    text += f"\nIf nothing can reverse the upgrade, let the script say why, in {place}:\n{RAISE}"
            if self.adapter.databases.is_denied(error):
                text = str(self.adapter.databases.needs_rights(text))
            report.faults.append(f"its {what} fails: {text}")
            return None
        finally:
            log.removeFilter(_is_about_a_step)
            if not isinstance(self.adapter.engine.pool, StaticPool):  # a database in memory ends with its connection
                self.adapter.engine.dispose()  # so that the next step does not get what the script SET in the session
        return time.monotonic() - started

    def heads(self) -> tuple[str, ...]:
        """Return the revisions that the scratch database is at."""
        with self.adapter.engine.connect() as connection:
            return Database(connection).heads()

    def snapshot(self) -> Snapshot:
        """Return the schema and the rows of the scratch database, to compare them with others."""
        with self.adapter.engine.connect() as connection:
            return self.adapter.snapshot(connection)


def _report_losses(lost: Iterable[Loss], revision: Script, report: Report) -> None:
    """Add each loss to ``report``: as a note if the script's ``safety_assured`` has its code, else as a fault."""
    for loss in lost:
        instead = f"\nInstead: {INSTEAD[loss.code]}"
        _report_unless_assured(f"its upgrade {loss.what}", loss.code, instead, revision, report)


def _report_rows(changed: Iterable[str], revision: Script, report: Report) -> None:
    """Add each table and column whose data the downgrade did not restore, for example after a backfill.

    They are notes if the script's ``safety_assured`` has missing-downgrade, else faults.
    """
    for what in changed:
        _report_unless_assured(f"after its downgrade {what}", "missing-downgrade", "", revision, report)


def _report_unless_assured(what: str, code: str, instead: str, revision: Script, report: Report) -> None:
    """Add ``what`` to ``report``: as a note if the script's ``safety_assured`` has ``code``, else as a fault."""
    assurances = Assurances(getattr(revision.module, "safety_assured", {}))
    if code in assurances.codes:
        report.notes.append(f"{what} ({code}: {assurances.declared[code]})")
    else:
        report.faults.append(
            f"{what} ({code}).{assurances.note(code)}{instead}\n"
            f"If this is intended, add this line to {relative(Path(revision.path))}:\n    {assurance_line(code)}"
        )


def _is_about_a_step(record: logging.LogRecord) -> bool:
    """Return False for the log lines at the start and the end of each run, which a rehearsal hides."""
    return not record.msg.startswith(("Database ", "The database is at "))
