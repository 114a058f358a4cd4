"""The pending steps of a run, and what each of them does."""

import shlex
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError

from .database import Database
from .errors import MigrationError

if TYPE_CHECKING:  # a command that has nothing to do, as most have, does without
    from .review.recorder import Recordings


def changes_revisions() -> bool:
    """Return True for a command that sets the database's revision: upgrade, downgrade and stamp."""
    try:
        context.get_revision_argument()
    except KeyError:
        return False
    return True


@dataclass(frozen=True)
class Plan:
    """The steps from ``heads``, where the database is, and what their scripts do."""

    heads: tuple[str, ...]
    steps: list[MigrationStep]

    @cached_property
    def recordings(self) -> "Recordings":
        """Return what the scripts do, recorded once for each product."""
        from .review.recorder import Recordings

        return Recordings()

    @property
    def revision_steps(self) -> list[RevisionStep]:
        """Return the steps that run a script; those of `stamp` run none."""
        return [step for step in self.steps if isinstance(step, RevisionStep)]

    def scripts(self, *, upgrade: bool) -> list[Script]:
        """Return the scripts that are run in that direction, in the order in which they run."""
        return [step.revision for step in self.revision_steps if step.is_upgrade == upgrade]

    @property
    def command(self) -> str:
        """Return what to type to run the steps again: ``downgrade base``. Call it while a command runs."""
        name = "upgrade" if all(step.is_upgrade for step in self.steps) else "downgrade"
        if len(self.revision_steps) < len(self.steps):
            name = "stamp"
        revisions = context.get_revision_argument() or "base"
        target = " ".join([revisions] if isinstance(revisions, str) else revisions)
        return name if target == " ".join(context.script.get_heads()) else f"{name} {shlex.quote(target)}"


def upgrades(script: ScriptDirectory, destination: str, heads: tuple[str, ...]) -> list[Script]:
    """Return what an upgrade from ``heads`` would run. Raise what Alembic raises of an unknown revision."""
    found = script.iterate_revisions(destination, heads, implicit_base=True)
    return list(found)[::-1]


def is_at_head(script: ScriptDirectory, current: tuple[str, ...]) -> bool:
    """Return whether a database at ``current`` has every revision, including those that only `depends_on` implies."""
    heads = set(script.get_heads(consider_depends_on=True))
    return heads <= set(current) and all(is_known(script, revision) for revision in current)


def is_known(script: ScriptDirectory, revision: str) -> bool:
    """Return whether there is a script for ``revision``."""
    try:
        return script.get_revision(revision) is not None
    except CommandError:
        return False


def pending(database: Database, options: dict[str, Any]) -> Plan:
    """Return the steps that the command would run now. Raise what Alembic raises of an unknown revision.

    `stamp --purge` begins from nothing, whatever the database says: that is its way out of an unknown revision.
    """
    with database.read() as connection:
        context.configure(connection=connection, **options)
        migration_context = context.get_context()
        heads = migration_context.get_current_heads()
    work = migration_context.opts["fn"]
    try:
        return Plan(heads, list(work(() if purges() else heads, migration_context)) if work else [])
    except (AssertionError, CommandError) as error:
        if isinstance(error, CommandError) and "Ambiguous walk" not in str(error):
            raise
        raise _unclear(context.script, heads, str(migration_context.opts["destination_rev"])) from error


def _unclear(script: ScriptDirectory, heads: tuple[str, ...], wanted: str) -> MigrationError:
    """Return the error if ``wanted``, such as -1 or plugin@-1, is ambiguous or does not exist from ``heads``."""
    branch, at, _ = wanted.rpartition("@")
    if at and not any(branch in each.branch_labels for each in script.walk_revisions()):
        return MigrationError(f"there is no branch {branch}.", "choose one of:", "flask db heads -v")
    found = [script.get_revision(head) for head in heads]
    if "-" not in wanted:
        choices = sorted({name for each in found for name in each.nextrev} if found else script.get_bases())
        what, command = f"{len(choices)} revisions can come next: {', '.join(choices)}.", "upgrade"
    else:
        behind = [each for each in found for each in script.iterate_revisions(each.revision, "base")]
        merge = next((each for each in behind if isinstance(each.down_revision, tuple)), None)
        if at or merge is None:
            return MigrationError(
                f"there is no revision {wanted} to go back to from {' and '.join(heads) or 'base'}.",
                "see which revisions the database has:",
                "flask db current",
            )
        choices = [str(parent) for parent in merge.down_revision or ()]
        what, command = f"{merge.revision} merges {' and '.join(choices)}; one step back could be either.", "downgrade"
    return MigrationError(what, "choose one:", *(f"flask db {command} {choice}" for choice in choices))


def purges() -> bool:
    """Return whether the command empties alembic_version first. Call it once the context is configured."""
    return bool(context.get_context().purge)


def compares() -> bool:
    """Return whether the command compares the models with the database, or may, as check and migrate do.

    Call it once the context is configured.
    """
    return "revision_context" in context.get_context().opts


def rehearses() -> bool:
    """Return whether a rehearsal runs this step. Call it once the context is configured."""
    return bool(context.get_context().opts.get("rehearsal"))
