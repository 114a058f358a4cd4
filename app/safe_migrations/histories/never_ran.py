"""Revisions that never ran on a database, though the history has them before one that did: a rebase put them there.

Alembic assumes that each revision before the database's own is applied; the log says which ones came before then.
"""

import shlex
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Row

from ..errors import MigrationError
from .heads import closure, needs, parents, replaces
from .log_table import ACCEPT, DOWN, applied, newest


def never_ran_error(
    logged: Iterable[Row[Any]], script: ScriptDirectory, heads: tuple[str, ...]
) -> MigrationError | None:
    """Return the error if a database, which is at ``heads``, lacks revisions that come before those it has applied.

    They are the ancestors that a revision has got since it was applied, or since it was reverted by a downgrade that
    ended at one of them, unless ``logged``, the entries of its log, know of them. Return None without entries, and
    if a head has no script, because then it is not known which revisions are applied.
    """
    applied_names: list[str] = []
    found = [entry for entry in logged if entry.direction != ACCEPT]
    scripts: dict[str, Script] = {}

    def parents_now(name: str) -> Collection[str]:
        return parents(scripts[name]) if name in scripts else ()

    with suppress(CommandError, RevisionError):
        scripts = {each.revision: each for each in script.walk_revisions()} if found else {}
        ran, then, now = _replayed(found, parents_now)
        moved = [name for name in then if name in scripts and set(then[name]) != set(now[name])]
        applied_names = [each.revision for each in applied(script, heads)] if moved else []
    if not applied_names:
        return None
    reverted = {entry.revision for entry in newest(found).values() if entry.direction == DOWN}
    with_heads = ran | closure(heads, lambda name: then.get(name, parents_now(name)), ran)
    missing: set[str] = set()
    causes = []
    for name in moved:
        if name in applied_names or name in reverted:
            lacks = closure(now[name], parents_now, ran if name in reverted else with_heads)
            # A squash may have run as the scripts that it replaces.
            lacks = {each for each in lacks.intersection(applied_names) if not replaces(scripts[each])}
            causes += [name] if lacks else []
            missing |= lacks
    return _error(script, scripts, heads, applied_names, missing, causes) if missing else None


def _replayed(
    found: Iterable[Row[Any]], parents_now: Callable[[str], Collection[str]]
) -> tuple[set[str], dict[str, Collection[str]], dict[str, Collection[str]]]:
    """Return the revisions that ran, according to the entries ``found``, and two dicts with parents of revisions.

    The first has the parents of each when it was applied; the second has those since then: of a revision that was
    reverted, when that was done, and of any other, now. A revision implies those before it when it was applied: they
    are older than the log, or a stamp skipped them.
    """
    ran: set[str] = set()
    then: dict[str, Collection[str]] = {}
    now: dict[str, Collection[str]] = {}
    for entry in found:
        if entry.parents is None:
            continue
        name, logged = entry.revision, entry.parents.split()
        if entry.direction != DOWN or name not in then:
            then[name], now[name] = logged, parents_now(name)
            ran |= closure([name], lambda name: then.get(name, parents_now(name)), ran)
        if entry.direction == DOWN:
            now[name] = logged
            ran.discard(name)
    return ran, then, now


def _error(
    script: ScriptDirectory,
    scripts: dict[str, Script],
    heads: tuple[str, ...],
    applied_names: list[str],
    missing: set[str],
    moved: list[str],
) -> MigrationError:
    """Return the error with two ways out: to revert the revisions after the missing ones, or to keep them.

    The second one runs each stretch of missing revisions from the revisions that do not come after it.
    """
    stretches: list[list[str]] = []
    for name in [name for name in applied_names if name in missing]:
        if stretches and list(parents(scripts[name])) == stretches[-1][-1:]:
            stretches[-1].append(name)
        else:
            stretches.append([name])

    def stamps(names: Collection[str]) -> list[str]:
        first, *others = map(shlex.quote, sorted(names) or ["base"])
        exact = "--purge " if others or len(heads) > 1 else ""
        return [f"flask db stamp {exact}{first}", *(f"flask db stamp {other}" for other in others)]

    def begin(stretch: list[str]) -> set[str]:
        """Return the heads of a database that has everything but the ``stretch`` and what comes after it."""
        after: set[str] = set()
        for name in applied_names:
            if name in stretch or after.intersection(needs(scripts[name])):
                after.add(name)
        kept = set(applied_names) - after
        return kept - {each for name in kept for each in needs(scripts[name])}

    def before(name: str) -> Collection[str]:
        return needs(scripts[name])

    last = [head for head in heads if head not in closure([each for head in heads for each in before(head)], before)]
    keeping = [line for each in stretches for line in (*stamps(begin(each)), f"flask db upgrade {each[-1]}")]
    listed = ", ".join(name for each in stretches for name in each)
    what = (
        f"{listed} never ran on this database, although {'it' if len(missing) == 1 else 'each'} now comes before"
        f" {', '.join(moved)}, which did: down_revision was edited since, for example by a rebase."
    )
    upgrade = "flask db upgrade" if len(script.get_heads()) == 1 else "flask db upgrade heads"
    if missing.intersection(heads):  # what came after is reverted already
        return MigrationError(what, "run them in the new order:", *stamps(begin(stretches[0])), upgrade)
    if len(stretches) > 1 or len(last) < len(heads):  # Alembic refuses a downgrade from a head that precedes another
        return MigrationError(what, f"run {listed} alone:", *keeping, *stamps(last))
    return MigrationError(
        what,
        f"revert what comes after {listed}, and upgrade in the new order; the downgrade deletes what the tables and"
        f" columns of {', '.join(moved)} hold. Or keep that, and run {listed} alone, if the order does not matter (last"
        f" {len(keeping) + len(heads)} lines):",
        f"flask db downgrade {stretches[0][-1]}",
        *keeping[:-1],
        upgrade,
        *keeping,
        *stamps(heads),
    )
