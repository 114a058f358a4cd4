"""Operations of revisions x rules x facts of a database: findings."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from alembic.operations.ops import DropColumnOp, DropTableOp
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script
from sqlalchemy import Connection

from ..adapters import Adapter
from ..adapters.facts import Facts
from ..adapters.products import FACTS, facts_at
from ..console import log
from ..errors import UnsafeError, summary
from ..remedies import relative
from .findings import Finding, Level
from .known_schema import KnownSchema
from .recorder import Operation, Recorder, Revision
from .rules import RULES, Assurances, Problem, Rule, RuleContext
from .rules.registry import BOTH, WARNS
from .sql.ops import ChangeRowsOp

Found = tuple[Rule, Problem, Level, int, str]
"""By which rule, what, how bad, in which line, and on which way."""


class Review:
    """Looks at revisions in the order in which they would run, for one database, as ``facts`` tell of it.

    Without ``downgrades`` it does not call any downgrade().
    """

    def __init__(self, facts: Facts, tables: KnownSchema, recorder: Recorder, downgrades: bool = True) -> None:
        self.facts = facts
        self.rules = [rule for rule in RULES.values() if rule.applies(facts)]
        self.tables = tables
        self.recorder = recorder
        self.directions = BOTH if downgrades else ("upgrade",)

    def of(self, script: Script) -> list[Finding]:
        """What hurts in one revision, which follows what was reviewed before."""
        return self.of_recorded(Revision.of(script, self.recorder, *self.directions))

    def of_recorded(self, revision: Revision) -> list[Finding]:
        """Return the findings of a revision whose operations are known."""
        script = revision.script
        declared = getattr(script.module, "safety_assured", {})
        whole = self.directions == BOTH
        elsewhere = _found_elsewhere(script, self.tables) if declared and whole else set()
        found = list(self._found(revision))
        assurances = Assurances(declared, {*elsewhere, *(rule.code for rule, *_ in found)} if whole else None, RULES)
        found += self._judged(assurances, RuleContext(revision, "upgrade", None, self.facts, self.tables))
        return [_finding(script, item, assurances.codes) for item in found]

    def pass_by(self, script: Script) -> None:
        """Follow a revision without looking for anything."""
        for operation in Revision.of(script, self.recorder, "upgrade").upgrade:
            with suppress(Exception):  # a review of that revision warns of it
                self.tables.follow(operation)

    def _found(self, revision: Revision) -> Iterator[Found]:
        yield from self._judged(revision, RuleContext(revision, "upgrade", None, self.facts, self.tables))
        for operation in revision.upgrade:
            context = RuleContext(revision, "upgrade", operation, self.facts, self.tables)
            yield from self._judged_and_followed(operation, context)
        tables = self.tables.branch()
        for operation in revision.downgrade:
            context = RuleContext(revision, "downgrade", operation, self.facts, tables)
            yield from self._judged_and_followed(operation, context)

    def _judged_and_followed(self, operation: Operation, context: RuleContext) -> Iterator[Found]:
        yield from self._judged(operation.op, context)
        try:
            context.tables.follow(operation)
        except Exception as error:
            fault = _fault("has an operation that the review cannot follow", error)
            yield RULES["not-inspectable"], fault, WARNS, operation.line, context.direction

    def _judged(self, subject: Any, context: RuleContext) -> Iterator[Found]:
        table = context.tables.of(subject)
        for rule in self.rules:
            if not isinstance(subject, rule.classes) or context.direction not in rule.directions:
                continue
            if table is not None and not rule.new_tables and context.tables.is_new(*table):
                continue
            for problem in _problems(rule, subject, context):
                level = problem.level or rule.level
                if level is Level.BLOCKS and table and not rule.new_tables and context.tables.has_rows(*table) is False:
                    level = Level.WARNS
                line = problem.line or (context.operation.line if context.operation else 1)
                yield rule, problem, level, line, context.direction


def _problems(rule: Rule, subject: Any, context: RuleContext) -> Iterator[Problem]:
    """Yield the problems that the rule finds. If it raises, yield a warning: a faulty rule must not stop a command."""
    try:
        found = rule.find(subject, context) or ()
        yield from (found,) if isinstance(found, Problem) else found
    except Exception as error:
        yield _fault("was not reviewed by this rule, which failed", error)


def _fault(what: str, error: Exception) -> Problem:
    return Problem(
        f"{what}: {summary(error)}", "review that line yourself, and report it as a bug in this package", WARNS
    )


def review_revisions(history: Iterable[Script], chosen: set[str], facts: Facts, one_run: bool = False) -> list[Finding]:
    """Of those ``chosen`` in the ``history``, without a database: each has been a run of its own, or all are one."""
    findings = []
    review = Review(facts, KnownSchema(), Recorder(facts.dialect))
    for script in history:
        if script.revision not in chosen:
            review.pass_by(script)
        else:
            findings += review.of(script)
        if not one_run or script.revision not in chosen:
            review.tables.begin_run()
    return findings


def review_pending(
    scripts: list[Script], adapter: Adapter, connection: Connection, downgrades: bool = True
) -> list[Finding]:
    """Return the findings in what an upgrade would run next, on the database as it is; with ``downgrades`` if so.

    One without tables has nothing that could be lost or blocked: then there are none.
    """
    if not scripts or not adapter.has_tables(connection):
        return []
    facts = facts_at(adapter, connection)
    findings = []
    review = Review(facts, KnownSchema(connection), Recorder(facts.dialect, connection), downgrades)
    revisions = []
    for script in scripts:
        revisions.append(Revision.of(script, review.recorder, *review.directions))
        review.recorder.connection = None  # what the next one would find there is not there yet
    operations = [found for revision in revisions for found in (*revision.upgrade, *revision.downgrade)]
    named = (review.tables.of(operation.op) for operation in operations)
    with suppress(Exception):  # a rule that asks for such a table warns of it
        review.tables.read({(schema, name) for name, schema in filter(None, named)})
    with adapter.hidden_rows_refused(connection):
        for revision in revisions:
            findings += review.of_recorded(revision)
    return findings


def require_reviewed(steps: Iterable[MigrationStep], adapter: Adapter, connection: Connection, mode: str) -> None:
    """Print what is found in ``steps``. Raises UnsafeError, in the mode ``enforce``, for what stops an upgrade."""
    scripts = [step.revision for step in steps if isinstance(step, RevisionStep) and step.is_upgrade]
    findings = review_pending(scripts, adapter, connection, downgrades=False)
    stopping = [finding for finding in findings if finding.stops and mode == "enforce"]
    for finding in findings:
        if finding not in stopping and not finding.acknowledged:
            log.warning("%s", finding.words)
    if stopping:
        raise refused(stopping, adapter)


def refused(findings: list[Finding], adapter: Adapter) -> UnsafeError:
    """Return the error for what blocks an upgrade, with both ways out of each finding.

    Where a failed step is rolled back and runs again, a script that ends its transaction is refused while it runs, too:
    then acknowledging that leads nowhere, and is not offered.
    """
    error = UnsafeError(findings[0].message, findings[0].instead)
    files = dict.fromkeys(finding.file for finding in findings)
    never = {"transaction-control"} if adapter.reruns else set()
    error.args = ("\n\n".join(_in_one([each for each in findings if each.file == file], never) for file in files),)
    return error


def warn_of_losses(steps: Iterable[MigrationStep], adapter: Adapter, connection: Connection) -> None:
    """Print what downgrades will take: rows of tables, values of columns."""
    downgrades = [step.revision for step in steps if isinstance(step, RevisionStep) and not step.is_upgrade]
    if not downgrades:
        return
    tables = KnownSchema(connection)
    recorder = Recorder(facts_at(adapter, connection).dialect)
    operations = [found for script in downgrades for found in Revision.of(script, recorder, "downgrade").downgrade]
    with adapter.hidden_rows_refused(connection):
        for operation in operations:
            if told := _loss(operation.op, tables):
                log.warning("This deletes %s", told)
            with suppress(Exception):  # what cannot be followed is not counted
                tables.follow(operation)


def _loss(op: Any, tables: KnownSchema) -> str:
    """Return what ``op`` deletes, in words; an empty text if there is nothing."""
    deletes = isinstance(op, ChangeRowsOp) and op.verb in ("DELETE", "TRUNCATE")
    if not (deletes or isinstance(op, DropTableOp | DropColumnOp)) or not op.table_name:
        return ""
    known, column, stored_as = tables.table(op.table_name, op.schema), None, None
    if isinstance(op, DropColumnOp):
        column = op.column_name
        stored_as = known.columns[column].stored_as if column in known.columns else None
    if known.stored_as is None or (column and stored_as is None):  # an earlier step creates it
        return ""
    count = tables.count(known.stored_as, op.schema, stored_as)
    if count is None:
        return f"what table {op.table_name} has: row-level security or a missing right hides its rows from this user"
    if not count:
        return ""
    if column:
        return f"{count} values in {op.table_name}.{column}"
    return f"{'some of the ' if deletes and op.bounded else ''}{count} rows of table {op.table_name}"


def _in_one(findings: list[Finding], never: set[str]) -> str:
    """Return those of one script, with one line to paste for all of them but the codes that are ``never`` assured."""
    told = "\n".join(f"{finding.message}\nInstead: {finding.instead}" for finding in findings)
    assurable = [finding for finding in findings if finding.code not in never]
    if not assurable:
        return told
    lines = ", ".join(dict.fromkeys(str(finding.line) for finding in assurable))
    assured = ", ".join(dict.fromkeys(f'"{finding.code}": "why it is safe"' for finding in assurable))
    return f"{told}\nIf it is safe, say so in {findings[0].file} (line {lines}):\n    safety_assured = {{{assured}}}"


def _found_elsewhere(script: Script, tables: KnownSchema) -> set[str]:
    """The codes that a script deserves on one of the other databases."""
    codes = set()
    for facts in FACTS.values():
        review = Review(facts(), tables.branch(), Recorder(facts.dialect))
        codes |= {rule.code for rule, *_ in review._found(Revision.of(script, review.recorder))}
    return codes


def _finding(script: Script, found: Found, acknowledged: set[str]) -> Finding:
    rule, problem, level, line, direction = found
    where = "in downgrade() " if direction == "downgrade" else ""
    return Finding(
        script.revision,
        relative(Path(script.path)),
        line,
        rule.code,
        level,
        f"revision {script.revision} {where}{problem.what} ({rule.code}).",
        problem.instead,
        rule.code in acknowledged,
    )
