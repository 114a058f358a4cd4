"""The review, which passes each operation of each revision to each rule that applies to the database."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from alembic.script import Script
from alembic.util import to_tuple
from sqlalchemy import Connection, MetaData

from ..adapters import Adapter
from ..adapters.facts import Facts
from ..console import log, reported
from ..database import Database, models_metadata
from ..errors import UnsafeError, counted, relative, summary
from ..histories.naming import written_before_convention
from ..plan import Plan
from .findings import Assurances, Finding, Level, assurance_line, closing, ranked
from .known_schema import KnownSchema
from .recorder import Operation, Recordings, Revision
from .rules import RULES, Problem, Rule, RuleContext
from .rules.registry import BOTH, WARNS, WHOLE

# A run of more revisions than this is the first one of a history that was adopted, rather than a release.
FEW = 5
# If the findings of such a run take more lines than LONGEST, its refusal lists only the first ones (LISTED).
LONGEST, LISTED = 18, 12

OFF = """
Or, for a small database or before the first release, let rules about locks only warn:
    export MIGRATION_ONLINE=off"""
"""The last lines of an Instead about locks."""


class Review:
    """A review of revisions for one database, one by one in the order in which they would run.

    If ``downgrades`` is False, only the upgrade() of each script is reviewed.
    """

    def __init__(self, tables: KnownSchema, recordings: Recordings, downgrades: bool = True) -> None:
        self.rules = [rule for rule in RULES.values() if rule.applies(tables.facts)]
        self.codes = {rule.code for rule in RULES.values()}
        self.tables = tables
        self.recordings = recordings
        self.directions = BOTH if downgrades else ("upgrade",)
        self.older = written_before_convention()
        self.metadata = models_metadata()
        self._rules_by_class: dict[tuple[type, str], list[Rule]] = {}

    def recorded(self, script: Script, connection: Connection | None = None) -> Revision:
        """Return the script with its operations; its upgrade() may inspect the database behind ``connection``."""
        return self.recordings.of(script, self.tables.facts.product, *self.directions, connection=connection)

    def of(self, script: Script) -> list[Finding]:
        """Return the findings in the script, which would run after all scripts reviewed so far.

        The operations of its upgrade() are then applied to the known tables.
        """
        revision = self.recorded(script)
        assurances = Assurances(getattr(script.module, "safety_assured", {}), self.codes)
        self._begin(script)
        found = list(self._found(revision))
        found += self._judged(assurances, RuleContext(revision, "upgrade", WHOLE, self.tables))
        return [
            replace(
                finding,
                message=finding.message + assurances.note(finding.code),
                acknowledged=finding.code in assurances.codes,
            )
            for finding in found
        ]

    def pass_by(self, script: Script) -> None:
        """Apply the operations of the script's upgrade() to the known tables, without a review."""
        revision = self.recordings.of(script, self.tables.facts.product, "upgrade")
        self._begin(script)
        for operation in revision.upgrade:
            try:
                self.tables.follow(operation)
            except Exception:  # a review of that revision warns of it
                self.tables.complete = False
        if "upgrade" in revision.not_inspectable:
            self.tables.complete = False
        self.tables.assume_filled()

    def _begin(self, script: Script) -> None:
        self.tables.convention = MetaData() if script.revision in self.older else self.metadata

    def _found(self, revision: Revision) -> Iterator[Finding]:
        yield from self._judged(revision, RuleContext(revision, "upgrade", WHOLE, self.tables))
        yield from self._found_in(revision.reached("upgrade"), revision, "upgrade", self.tables)
        if "upgrade" in revision.not_inspectable:
            self.tables.complete = False
            self.tables.assume_filled()
        yield from self._found_in(revision.unreached("upgrade"), revision, "upgrade", self.tables)
        tables = self.tables.branch()
        yield from self._judged(revision, RuleContext(revision, "downgrade", WHOLE, tables))
        yield from self._found_in(revision.reached("downgrade"), revision, "downgrade", tables)
        yield from self._found_in(revision.unreached("downgrade"), revision, "downgrade", tables)

    def _found_in(
        self, operations: Iterable[Operation], revision: Revision, direction: str, tables: KnownSchema
    ) -> Iterator[Finding]:
        for operation in operations:
            context = RuleContext(revision, direction, operation, tables)
            yield from self._judged(operation.op, context)
            try:
                tables.follow(operation)
            except Exception as error:
                tables.complete = False
                fault = _fault("has an operation whose effect on the tables the review cannot work out", error)
                yield _finding("not-inspectable", fault, WARNS, context)

    def _rules_for(self, kind: type, direction: str) -> list[Rule]:
        if (kind, direction) not in self._rules_by_class:
            self._rules_by_class[kind, direction] = [
                rule for rule in self.rules if issubclass(kind, rule.classes) and direction in rule.directions
            ]
        return self._rules_by_class[kind, direction]

    def _judged(self, subject: Any, context: RuleContext) -> Iterator[Finding]:
        rules = self._rules_for(type(subject), context.direction)
        found = context.tables.of(subject) if rules else None
        for rule in rules:
            table = None if rule.new_tables else found
            if table is not None and context.tables.is_new(*table):
                continue
            for problem in _problems(rule, subject, context):
                level = problem.level or rule.level
                if level is Level.BLOCKS and table is not None and context.tables.has_rows(*table) is False:
                    level = Level.WARNS
                yield _finding(rule.code, problem, level, context)


def _problems(rule: Rule, subject: Any, context: RuleContext) -> Iterator[Problem]:
    """Yield the problems that the rule finds in ``subject``, an operation, a Revision or an Assurances.

    If the rule raises an error, yield a warning instead: a faulty rule must not stop a command.
    """
    try:
        found = rule.find(subject, context) or ()
        yield from (found,) if isinstance(found, Problem) else found
    except Exception as error:
        yield _fault("was not reviewed by one rule, because that rule raised an error", error)


def _fault(what: str, error: Exception) -> Problem:
    return Problem(
        f"{what}: {summary(error)}",
        "read that line yourself and decide if it is safe; please report the error as a bug in safe_migrations",
        WARNS,
    )


def review_revisions(history: Iterable[Script], chosen: set[str], facts: Facts) -> list[Finding]:
    """Return the findings in the ``chosen`` revisions, without a database.

    ``history`` has all scripts in the order in which they run; those not chosen only update the known tables. Each
    revision counts as a run of its own: most rules ignore only tables that the same run creates. No recording is kept:
    thousands of them would cost Python's garbage collector more time than the review.
    """
    findings = []
    review = Review(KnownSchema(facts), Recordings())
    for script in history:
        if script.revision not in chosen:
            review.pass_by(script)
        else:
            findings += review.of(script)
        review.tables.begin_run()
        review.recordings.forget()
    return findings


@reported("Reading the tables for the review, which may wait for a lock of another session")
def review_pending(
    scripts: list[Script],
    database: Database,
    recordings: Recordings,
    accepted: Collection[str],
    downgrades: bool = True,
    run: bool = False,
) -> list[Finding]:
    """Return the findings in the pending ``scripts``, except the revisions ``accepted``, which are not reviewed.

    If ``run`` is True, judge an upgrade of this database, by its rows: an operation that they make harmless only warns,
    tables that the run creates are exempt, and a database without tables has no findings. Else judge as if every table
    of the database and of earlier scripts had rows, so that the verdict is the same here, in CI and in production.
    """
    if not any(script.revision not in accepted for script in scripts) or (run and not database.has_tables()):
        return []
    connection = database.connection
    review = Review(KnownSchema(database.facts, connection, reads_rows=run), recordings, downgrades)
    # Only the first finds in the database what it will find there when it runs.
    revisions = [review.recorded(script, None if number else connection) for number, script in enumerate(scripts)]
    operations = [found for revision in revisions for found in (*revision.upgrade, *revision.downgrade)]
    named = (review.tables.of(operation.op) for operation in operations)
    with suppress(Exception):  # a rule that asks for such a table warns of it
        review.tables.read({(schema, name) for name, schema in filter(None, named)})
    findings: list[Finding] = []
    with database.adapter.hidden_rows_refused(connection):
        for script in scripts:
            if script.revision in accepted:
                review.pass_by(script)
            else:
                findings += review.of(script)
            if not run:
                review.tables.begin_run()
    return findings


def as_configured(findings: list[Finding], online: bool) -> list[Finding]:
    """Return the findings; if ``online`` (MIGRATION_ONLINE) is False, those of rules about locks only warn.

    If it is True, the first of these that blocks names the setting.
    """
    locks = {rule.code for rule in RULES.values() if rule.locks}
    if not online:
        return [replace(finding, level=WARNS) if finding.code in locks else finding for finding in findings]
    first = next((each for each in ranked(findings) if each.stops and each.code in locks), None)
    return [replace(each, instead=each.instead + OFF) if each is first else each for each in findings]


def require_reviewed(plan: Plan, database: Database, mode: str, online: bool, accepted: Collection[str]) -> None:
    """Review the upgrades in ``plan`` that are not ``accepted``, and log unacknowledged findings as warnings.

    If ``mode`` is enforce and a finding blocks, raise UnsafeError with all of them instead.
    """
    scripts = plan.scripts(upgrade=True)
    found = review_pending(scripts, database, plan.recordings, accepted, downgrades=False, run=True)
    findings = [finding for finding in ranked(as_configured(found, online)) if not finding.acknowledged]
    if mode == "enforce" and any(finding.stops for finding in findings):
        raise refused(findings, database.adapter, plan)
    for finding in findings:
        log.warning("%s", finding.words if len(scripts) <= FEW else finding.headline)


def require_accepted(loss: UnsafeError, script: Script, mode: str) -> None:
    """Raise ``loss``, an error about what the rebuild of a table in a running revision would lose, or accept the loss.

    The loss is accepted if ``mode`` (MIGRATION_REVIEW) is off or warn, which logs the loss, or if the script's
    safety_assured lists rebuild-loses with a reason. Before an upgrade the review finds most losses; downgrades are not
    reviewed before they run.
    """
    assurances = Assurances(getattr(script.module, "safety_assured", None))
    if mode == "off" or "rebuild-loses" in assurances.codes:
        return
    if mode == "warn":
        log.warning("%s", loss.what)
        return
    or_say = f"; or, if you accept the loss, say so at the top of {relative(Path(script.path))}; nothing was changed"
    raise UnsafeError(
        loss.what + assurances.note("rebuild-loses"),
        loss.remedy.replace("; nothing was changed", or_say),
        *loss.lines,
        assurance_line("rebuild-loses"),
    )


def refused(findings: list[Finding], adapter: Adapter, plan: Plan) -> UnsafeError:
    """Return the error that lists the findings, the blocking ones with the safety_assured lines that acknowledge them.

    No line is offered for what is certain to fail, nor for transaction-control on databases where a failed revision is
    rolled back and retried: there the run stops such a script even if it is acknowledged. If ``plan`` has more than FEW
    revisions, the error lists at most LISTED findings, each on one line, and says how to accept the whole history.
    """
    stopping = [finding for finding in findings if finding.stops]
    error = UnsafeError(stopping[0].message, stopping[0].instead)
    files = dict.fromkeys(finding.file for finding in stopping)
    never = {"transaction-control"} if adapter.reruns else set()
    parts = ["\n\n".join(_in_one([each for each in stopping if each.file == file], never) for file in files)]
    parts += [finding.headline for finding in findings if not finding.stops]
    scripts = plan.scripts(upgrade=True)
    if len(scripts) > FEW and len("\n".join(parts).splitlines()) > LONGEST:
        parts = [finding.headline for finding in findings[:LISTED]]
        if (more := len(findings) - LISTED) > 0:
            parts.append(f"... and {counted(more, 'more finding')}: flask db review")
    parts.append(closing(findings, plan.command))
    if len(scripts) > FEW:
        parents = {parent for script in scripts for parent in to_tuple(script.down_revision, ())}
        heads = " ".join(f"--accept {each.revision}" for each in scripts if each.revision not in parents)
        parts.append(
            "If these revisions have already run in production, accept them once, and commit the line that this writes:"
            f"\n    flask db review {heads}"
        )
    error.args = ("\n".join(parts),)
    return error


def _in_one(findings: list[Finding], never: set[str]) -> str:
    """Return the findings of one script as text, and a safety_assured line with their codes, except codes in ``never``.

    Findings that are certain to fail are not in the line. It is left out if nothing remains.
    """
    text = "\n".join(f"{finding.message}\nInstead: {finding.instead}" for finding in findings)
    assurable = [finding for finding in findings if finding.code not in never and not finding.fails]
    if not assurable:
        return text
    lines = ", ".join(dict.fromkeys(str(finding.line) for finding in assurable))
    assured = assurance_line(*(finding.code for finding in assurable))
    place = f"at the top of {findings[0].file}, below down_revision (for line {lines})"
    return f"{text}\nIf this is safe here, say why {place}:\n    {assured}"


def _finding(code: str, problem: Problem, level: Level, context: RuleContext) -> Finding:
    script, line = context.revision.script, context.operation.line
    where = "in downgrade() " if context.direction == "downgrade" else ""
    what = f"revision {script.revision} {where}{problem.what} ({code})."
    file = relative(Path(script.path))
    return Finding(script.revision, file, problem.line or line, code, level, what, problem.instead, fails=problem.fails)
