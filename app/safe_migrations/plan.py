"""Which steps a run would take."""

import shlex
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection


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
    return heads, list(work(() if purges() else heads, migration_context)) if work else []


def purges() -> bool:
    """Return whether the command empties alembic_version first. To be called once the context is configured."""
    return bool(context.get_context().purge)
