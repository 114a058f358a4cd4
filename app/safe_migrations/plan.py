"""The pending steps of a command, and the operations of their scripts."""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError, to_tuple

from .console import reported
from .database import Database
from .errors import MigrationError

if TYPE_CHECKING:  # a command that has nothing to do, as most have, does without
    from .review.recorder import Recordings


def changes_revisions() -> bool:
    """Return True if the current command changes the database's revision: upgrade, downgrade and stamp do."""
    try:
        context.get_revision_argument()
    except KeyError:
        return False
    return True


# A value of -x, with its name, that may contain a password.
SECRET = re.compile(r"://|^[^=]*(passw|secret|token)", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """The steps that a command runs on a database that is at the revisions ``heads``."""

    heads: tuple[str, ...]
    steps: list[MigrationStep]

    @cached_property
    def recordings(self) -> "Recordings":
        """Return the store of recordings: it records the operations of a script once for each database product."""
        from .review.recorder import Recordings

        return Recordings()

    @property
    def revision_steps(self) -> list[RevisionStep]:
        """Return the steps that run a revision script, which excludes those of `stamp`."""
        return [step for step in self.steps if isinstance(step, RevisionStep)]

    def scripts(self, *, upgrade: bool) -> list[Script]:
        """Return the scripts that are upgraded, or downgraded if ``upgrade`` is False, in the order of the steps."""
        return [step.revision for step in self.revision_steps if step.is_upgrade == upgrade]

    @property
    def command(self) -> str:
        """Return the current command without `flask db`, such as ``downgrade base``; its option --purge is included.

        It is ``rehearse`` if the steps run on a scratch database. Call this after context.configure().
        """
        if rehearses():
            return "rehearse"
        name = "upgrade" if all(step.is_upgrade for step in self.steps) else "downgrade"
        if purges():
            name = "stamp --purge"
        elif len(self.revision_steps) < len(self.steps):
            name = "stamp"
        revisions = context.get_revision_argument() or "base"
        target = " ".join([revisions] if isinstance(revisions, str) else revisions)
        return name if target == " ".join(context.script.get_heads()) else f"{name} {shlex.quote(target)}"


def again(command: str, **changed: str) -> str:
    """Return the line that runs ``command`` with the -x values of the current command. Call this while env.py runs."""
    given = [] if rehearses() else context.get_x_argument()  # a rehearsal adds values of its own
    return with_settings(command, given, **changed)


def with_settings(command: str, given: Iterable[str], **changed: str) -> str:
    """Return the line that runs ``command``, such as ``upgrade a1``, with the -x values ``given`` and ``changed``.

    Without them it might stop earlier than the command that failed. Passwords are left out (``...``), and URLs, which
    may contain one.
    """
    values = {each.partition("=")[0]: each for each in (*given, *(f"{name}={changed[name]}" for name in changed))}
    shown = (f"{name}=..." if SECRET.search(value) else value for name, value in values.items())
    return " ".join(["flask db", *(f"-x {shlex.quote(each)}" for each in shown), command])


def upgrades(script: ScriptDirectory, destination: str, heads: tuple[str, ...]) -> list[Script]:
    """Return the scripts that an upgrade from ``heads`` to ``destination`` would run, the first one first.

    Raise Alembic's CommandError or RevisionError if a revision is unknown.
    """
    found = script.iterate_revisions(destination, heads, implicit_base=True)
    return list(found)[::-1]


def is_at_head(script: ScriptDirectory, current: tuple[str, ...]) -> bool:
    """Return True if ``current``, the database's revisions, include every head, and all of ``current`` have scripts.

    A head that another revision names in `depends_on` need not be included, because that revision implies it.
    """
    heads = set(script.get_heads(consider_depends_on=True))
    return heads <= set(current) and all(is_known(script, revision) for revision in current)


def is_known(script: ScriptDirectory, revision: str) -> bool:
    """Return True if a script for ``revision`` exists."""
    try:
        return script.get_revision(revision) is not None
    except CommandError:
        return False


def pending(database: Database, options: dict[str, Any]) -> Plan:
    """Return the plan of the steps that the current command would run now.

    Raise Alembic's CommandError if a revision is unknown, and MigrationError if the target is ambiguous, or relative
    (such as -2) and leads nowhere. The steps of `stamp --purge` always start from base, so it also works if the
    database's revision is unknown.
    """
    with reported("Waiting for the database"), database.read() as connection:
        context.configure(connection=connection, **options)
        migration_context = context.get_context()
        heads = migration_context.get_current_heads()
    work = migration_context.opts["fn"]
    try:
        return Plan(heads, list(work(() if purges() else heads, migration_context)) if work else [])
    except (AssertionError, CommandError, UserWarning) as error:
        if not isinstance(error, AssertionError) and not re.search("Ambiguous walk|is ambiguous", str(error)):
            raise
        raise _unclear(context.script, heads, str(migration_context.opts["destination_rev"])) from error


def _unclear(script: ScriptDirectory, heads: tuple[str, ...], wanted: str) -> MigrationError:
    """Return the error if ``wanted``, such as +1 or m1@-1, leads from ``heads`` to several revisions, or to none."""
    parts = re.fullmatch(r"(.*?)@?([+-])(\d+)", wanted)
    name, sign, steps = parts.groups() if parts else (wanted, "-", "1")
    found = [script.get_revision(each) for each in sorted([name] if name else heads) if is_known(script, each)]
    found = [each for each in found if each.revision.startswith(name)]  # not the one with that label
    what, choices = f"{wanted} is ambiguous: the database is at {' and '.join(sorted(heads)) or 'base'}.", list[str]()
    for each in found if sign == "-" else ():
        merge = _merge_within(script, each, int(steps))
        choices += to_tuple(merge.down_revision) if merge else [f"{each.revision}@{wanted}"]
        if merge and len(found) == 1:
            what = f"{merge.revision} merges {' and '.join(choices)}; one step back could be either."
    if sign == "+":
        choices = sorted({name for each in found for name in each.nextrev} if found else script.get_bases())
    if len(choices) < 2:
        return MigrationError(
            f"there is no revision {wanted} to go to from {' and '.join(heads) or 'base'}.",
            "name the revision to go to; choose it from this list:",
            "flask db history -i",
        )
    command = "upgrade" if sign == "+" else "downgrade"
    return MigrationError(what, "choose one:", *(f"flask db {command} {choice}" for choice in choices))


def _merge_within(script: ScriptDirectory, revision: Script, steps: int) -> Script | None:
    """Return the merge at which it is ambiguous to go back ``steps`` from ``revision``; None if there is none."""
    for _ in range(steps):
        if not isinstance(revision.down_revision, str):
            return revision if revision.down_revision else None
        revision = script.get_revision(revision.down_revision)
    return None


def purges() -> bool:
    """Return True for `stamp --purge`, which first empties alembic_version. Call this after context.configure()."""
    return bool(context.get_context().purge)


def compares() -> bool:
    """Return True for `check`, `migrate` and `revision`, which can compare the models with the database.

    Call this after context.configure().
    """
    return "revision_context" in context.get_context().opts


def names_head() -> bool:
    """Return True if `migrate` or `revision` was typed with --head. Call this after context.configure()."""
    return bool(context.get_context().opts["revision_context"].command_args["head"] != "head")


def rehearses() -> bool:
    """Return True if the current steps run on a scratch database. Call this after context.configure()."""
    return "rehearsal" in context.get_context().opts


def autogenerates() -> bool:
    """Return True for `migrate`, `check` and `revision --autogenerate`. Call this only if compares()."""
    return bool(context.get_context().opts["revision_context"].command_args["autogenerate"])
