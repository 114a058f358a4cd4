"""Each revision up, down and up again on a database that may be spoiled: what is not as it should be then."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import Script, ScriptDirectory
from sqlalchemy import StaticPool

from ..adapters import Adapter
from ..adapters.snapshot import (
    Loss,
    Snapshot,
    differences,
    is_back,
    lost,
    not_brought_back,
    overwritten,
)
from ..console import log
from ..database import Database
from ..drift import drift
from ..errors import MigrationError, message
from ..plan import is_at_head, upgrades
from ..remedies import Situation, relative
from ..review.recorder import one_way

# As `-x` takes them. Only the script itself uses the copy: if a lock is held, its other connection holds it. And
# MIGRATION_REHEARSAL_URL may name the copy.
SETTINGS = ("backup=never", "review=off", "lock_timeout=2", "lock_retries=1", "rehearsal_url=")

# What to do instead, by the code of the rule.
INSTEAD = {
    "drop-column": "stop using the column, deploy, and drop it in the next release.",
    "drop-table": "rename the table aside, or drop it in the next release.",
    "unbounded-data-change": "keep them in a table aside, and drop that in the next release.",
}


@dataclass
class Report:
    """What became of one revision: seconds, rows of all tables, reasons not to run it, and what else to know."""

    revision: str
    up: float | None = None
    down: float | None = None
    before: int = 0
    after: int = 0
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """``no``, or ``ok`` with what there is to know."""
        return "no" if self.faults else ", ".join(["ok", *self.notes])


class Rehearsal:
    """Rehearses on the database of ``adapter``, which has to be the app's own meanwhile; its rows may be lost."""

    def __init__(self, config: Config, adapter: Adapter) -> None:
        assert config.cmd_opts is not None
        config.cmd_opts.x += SETTINGS
        self.config = config
        self.adapter = adapter
        self.script = ScriptDirectory.from_config(config)

    def steps(self, destination: str = "heads") -> list[Script]:
        """The revisions that an upgrade would run. Raises what Alembic raises of a revision that is not there."""
        return upgrades(self.script, destination, self._heads())

    def run(self, steps: list[Script]) -> Iterator[Report]:
        """A report on each of ``steps``, to the end or to one that cannot be left behind."""
        known: Snapshot | None = None
        for revision in steps:
            report = Report(revision.revision)
            known = self._rehearse(revision, report, known or self._snapshot())
            yield report
            if revision not in self.script.iterate_revisions(self._heads(), "base"):
                return

    def drift(self) -> list[str]:
        """Where the models and the database differ, if this is at head."""
        found: list[str] = []

        def compare(heads: tuple[str, ...], migration_context: MigrationContext) -> list[RevisionStep]:
            if is_at_head(self.script, heads):
                found.extend(drift(migration_context))
            return []

        with EnvironmentContext(self.config, self.script, fn=compare, as_sql=False, dont_mutate=True):
            self.script.run_env()
        return found

    def _rehearse(self, revision: Script, report: Report, before: Snapshot) -> Snapshot | None:
        """The database as it is in the end, if that is known: to look at all rows again takes time."""
        report.before = report.after = before.count
        report.up = self._run(revision, report, "upgrade")
        if report.up is None:
            return None
        there = self._snapshot()
        report.after = there.count
        losses = lost(before, there)
        absent = not hasattr(revision.module, "downgrade")
        if (reason := "it has no downgrade()" if absent else one_way(Path(revision.path))) is not None:
            self._tell([*losses, *overwritten(before, there)], revision, report)
            report.notes.append(f"one-way: {reason}".rstrip(": "))
            return there
        report.down = self._run(revision, report, "downgrade")
        if report.down is None:
            self._tell(losses, revision, report)
            return None
        back = self._snapshot()
        losses = [loss for loss in losses if not is_back(loss, before, back)]
        self._tell(losses, revision, report)
        staying = self._one_way_changes(before, back)
        report.notes += [f"{name} keeps the values that it got" for name in sorted(staying)]
        objects = {name: before.objects[name] if name in staying else text for name, text in back.objects.items()}
        differing = [*differences(before.objects, objects), *not_brought_back(before, back, losses)]
        left = {f"key {name.removeprefix('foreign key ')} is new" for name in there.objects}  # as MySQL's servers do
        report.faults += [f"after its downgrade {difference}" for difference in differing if difference not in left]
        if self._run(revision, report, "second upgrade") is None:
            return None
        again = self._snapshot()
        report.faults += [f"after its second upgrade {name}" for name in differences(there.objects, again.objects)]
        return again

    def _one_way_changes(self, before: Snapshot, after: Snapshot) -> set[str]:
        """Names of the objects that differ, and that no statement brings back."""
        pairs = {name: (text, after.objects[name]) for name, text in before.objects.items() if name in after.objects}
        return {name for name, (old, new) in pairs.items() if old != new and self.adapter.is_one_way(name, old, new)}

    def _run(self, revision: Script, report: Report, what: str) -> float | None:
        """One step, as the guard runs it: its seconds, or None and a fault."""
        step = RevisionStep(self.script.revision_map, revision, is_upgrade=what != "downgrade")
        begun = time.monotonic()
        log.addFilter(_is_about_a_step)
        try:
            work = {"fn": lambda *_: [step], "destination_rev": revision.revision, "as_sql": False, "rehearsal": True}
            with EnvironmentContext(self.config, self.script, **work):
                self.script.run_env()
        except (Exception, SystemExit) as error:
            words = str(message(error, Situation(self.adapter.engine.url, Path(self.script.dir), frozenset())))
            if not isinstance(error, MigrationError):  # the fix is about the app's own database
                words = words.partition(f"\n{MigrationError.label}: ")[0]
            report.faults.append(f"its {what} fails: {words}")
            return None
        finally:
            log.removeFilter(_is_about_a_step)
            if not isinstance(self.adapter.engine.pool, StaticPool):  # of a database in memory, which would be gone
                self.adapter.engine.dispose()  # and with the session what the script has set in it
        return time.monotonic() - begun

    def _tell(self, losses: list[Loss], revision: Script, report: Report) -> None:
        declared = getattr(revision.module, "safety_assured", {})
        for loss in losses:
            if isinstance(declared, dict) and declared.get(loss.code):
                report.notes.append(f"takes {loss.what} ({loss.code}: {declared[loss.code]})")
            else:
                report.faults.append(
                    f"its upgrade takes {loss.what} ({loss.code}).\nInstead: {INSTEAD[loss.code]}\n"
                    f"If that is meant, say so in {relative(Path(revision.path))}:\n"
                    f'    safety_assured = {{"{loss.code}": "why it is safe"}}'
                )

    def _heads(self) -> tuple[str, ...]:
        with self.adapter.engine.connect() as connection:
            return Database(connection).heads()

    def _snapshot(self) -> Snapshot:
        with self.adapter.engine.connect() as connection:
            return self.adapter.snapshot(connection)


def _is_about_a_step(record: logging.LogRecord) -> bool:
    """Leave out which database it is and where it stands at the end, which each run tells."""
    return not record.msg.startswith(("Database ", "The database is at "))
