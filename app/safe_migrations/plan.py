"""Which steps a run would take."""

import shlex
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from .errors import MigrationError


def changes_revisions() -> bool:
    """Whether this command sets the database's revision: upgrade, downgrade and stamp do, and none other."""
    try:
        context.get_revision_argument()
    except KeyError:
        return False
    return True


def command(steps: list[MigrationStep]) -> str:
    """What to type to run ``steps`` again: ``flask db downgrade base``."""
    name = "upgrade" if all(step.is_upgrade for step in steps) else "downgrade"
    if any(not isinstance(step, RevisionStep) for step in steps):
        name = "stamp"
    revisions = context.get_revision_argument() or "base"
    target = " ".join([revisions] if isinstance(revisions, str) else revisions)
    return name if target == " ".join(context.script.get_heads()) else f"{name} {shlex.quote(target)}"


def upgrades(script: ScriptDirectory, destination: str, heads: tuple[str, ...]) -> list[Script]:
    """What an upgrade from ``heads`` would run. Raises what Alembic raises of a revision that is not there."""
    steps = script._upgrade_revs(destination, heads)  # type: ignore[arg-type]  # it takes several
    return [step.revision for step in steps]


def is_at_head(script: ScriptDirectory, current: tuple[str, ...]) -> bool:
    """Return whether a database at ``current`` has every revision, also those that only `depends_on` implies."""
    heads = set(script.get_heads(consider_depends_on=True))
    return heads <= set(current) and all(is_known(script, revision) for revision in current)


def is_known(script: ScriptDirectory, revision: str) -> bool:
    """Return whether there is a script for ``revision``."""
    try:
        return script.get_revision(revision) is not None
    except CommandError:
        return False


def pending(connection: Connection, options: dict[str, Any]) -> tuple[tuple[str, ...], list[MigrationStep]]:
    """Return where the database is, and the steps from there. Raises what Alembic raises of an unknown revision.

    `stamp --purge` begins from nothing, whatever the database says: that is its way out of an unknown revision.
    """
    context.configure(connection=connection, **options)
    migration_context = context.get_context()
    heads = migration_context.get_current_heads()
    connection.rollback()  # or Alembic takes the transaction for somebody else's, and never commits
    work = migration_context.opts["fn"]
    try:
        return heads, list(work(() if purges() else heads, migration_context)) if work else []
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
    """Return whether the command empties alembic_version first. To be called once the context is configured."""
    return bool(context.get_context().purge)


def rehearses() -> bool:
    """Return whether a rehearsal runs this step. To be called once the context is configured."""
    return bool(context.get_context().opts.get("rehearsal"))
