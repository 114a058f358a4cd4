"""Several heads: the messages about them, and moving a branch of revisions on top of another head.

A move edits `down_revision` in the script of the branch's first revision.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from alembic.script import Script, ScriptDirectory

from ..errors import MigrationError, UnsafeError, relative
from ..folder import folder
from ..git import revisions_not_in, short, upstreams
from ..review import acceptance
from . import naming
from .editing import replace_file, with_parents
from .heads import accidental_heads, closure, lineage, parents, script_in_words


def accident_error(script: ScriptDirectory) -> MigrationError | None:
    """Return the error about heads that are an accident, with the lines that join them; None if there are none."""
    heads = accidental_heads(script)
    if not heads:
        return None
    names = [head.revision for head in heads]
    how, lines = "move your new revisions on top of the other head; or merge", ["flask db rebase"]
    if len(heads) > 2:
        how = "merge the other heads, and move your new revisions on top of the merge; or merge all (last line)"
        try:
            lines = _lines(script, names, [_first_by_git(script, heads)])
        except MigrationError as error:
            lines = list(error.lines)
    return MigrationError(
        _heads_listed(heads),
        f"{how}, if a database has applied them; or give a branch that is meant to stay apart a label (branch_labels)."
        " Then run the command again:",
        *dict.fromkeys([*lines, merge_line(names if len(names) < len(script.get_heads()) else ["heads"])]),
    )


def several_heads(script: ScriptDirectory) -> MigrationError:
    """Return the error for a command that takes one head, in a history that has several."""
    heads = [script.get_revision(head) for head in sorted(script.get_heads())]
    return accident_error(script) or MigrationError(
        _heads_listed(heads),
        "name all heads, or one, as these lines do:",
        "flask db upgrade heads",
        f'flask db migrate --head {heads[0].revision} -m "..."',
    )


def _heads_listed(heads: list[Script]) -> str:
    return "\n".join([f"there are {len(heads)} heads:", *(f"    {script_in_words(head)}" for head in heads)])


def merge_line(heads: Iterable[str]) -> str:
    """Return the command that joins ``heads`` with a merge revision."""
    return f'flask db merge -m "Merge heads" {" ".join(heads)}'


@dataclass(frozen=True)
class Move:
    """The move of the revision ``first``, and of all after it up to ``head``, on top of the head ``onto``.

    ``parents`` are the new values of its `down_revision`.
    """

    first: Script
    head: str
    onto: str
    parents: tuple[str, ...]

    def moved(self, script: ScriptDirectory) -> list[str]:
        """Return the revisions that move, the first one first."""
        moved = {self.first.revision, *_descendants(script, self.first.revision)}
        return [each.revision for each in script.walk_revisions() if each.revision in moved][::-1]


def chosen(script: ScriptDirectory, revision: str | None) -> Move | None:
    """Return the move of the branch that begins with ``revision``; None if there is nothing to join.

    By default, the branch is the one that upstream does not have, according to git. Raise MigrationError if git cannot
    tell, if ``revision`` is not the first of a branch that can come after the other head, or if upstream has it. Raise
    Alembic's CommandError if it is unknown.
    """
    if revision is None:
        heads = accidental_heads(script)
        return _move(script, _first_by_git(script, heads)) if heads else None
    found = script.get_revision(revision)
    if found is None:
        raise MigrationError(f"{revision} is not a revision.", "choose one of this list:", "flask db history")
    if len(script.get_heads()) < 2:
        return None
    move = _move(script, found.revision)
    names = sorted([move.head, move.onto])
    if found.revision not in _movable(script, names):
        refs = " and ".join(map(short, upstreams(Path(found.path).parent)))
        raise _choice(script, names, f"{refs} has {found.revision} already, where others build on it.")
    return move


def _move(script: ScriptDirectory, first: str) -> Move:
    """Return the move of ``first``. Raise MigrationError if it cannot be moved."""
    moving = script.get_revision(first)
    heads = accidental_heads(script)
    if not any(first in lineage(script, head.revision) for head in heads):
        heads = [script.get_revision(name) for name in sorted(script.get_heads())]
    own = [head for head in heads if first in lineage(script, head.revision)]
    others = [head.revision for head in heads if head not in own and head.branch_labels == own[0].branch_labels]
    if len(own) > 1:
        names = [head.revision for head in own]
        raise _choice(
            script, names, f"{first} is not the first revision of a branch: {' and '.join(names)} come after it."
        )
    head = own[0].revision
    if not others:
        raise UnsafeError(
            f"{first} is in a branch that is meant to stay apart: its labels ({_listed(own[0].branch_labels)}) are not"
            " those of another head.",
            "keep them apart, and upgrade both; or merge them:",
            "flask db upgrade heads",
            merge_line(each.revision for each in heads),
        )
    if len(others) > 1:
        raise MigrationError(
            f"there are {len(others)} other heads: {', '.join(others)}.",
            f"merge these first; then {first} can come after the merge:",
            merge_line(others),
            f"flask db rebase {first}",
        )
    (onto,) = others
    before = lineage(script, onto)
    firsts = _firsts(script, lineage(script, head), before)
    if first not in firsts:
        raise MigrationError(
            f"{first} is not the revision to move: its branch last leaves the other one at {_listed(firsts)}.",
            "move everything from there on:",
            *(f"flask db rebase {each}" for each in firsts),
        )
    if first in {each.revision for each in script.iterate_revisions(onto, "base")}:
        raise MigrationError(
            f"{onto} depends on {first} (depends_on), so {first} cannot come after it.",
            "merge the heads:",
            merge_line([onto, head]),
        )
    new = (onto if parent in before else parent for parent in parents(moving))
    return Move(moving, head, onto, tuple(dict.fromkeys(new)) or (onto,))


def _firsts(script: ScriptDirectory, branch: set[str], before: set[str]) -> list[str]:
    """Return the revisions of ``branch`` that come right after ``before`` or are bases; the last one of those in a row.

    In a branch that was merged with the other one before, this is the merge: what precedes it is joined already.
    """
    parents_of = {name: parents(script.get_revision(name)) for name in sorted(branch - before)}
    begin = [name for name, found in parents_of.items() if not found or before.intersection(found)]
    return [name for name in begin if not any(name in lineage(script, other) - {other} for other in begin)]


def _branches(script: ScriptDirectory, heads: list[str]) -> list[tuple[set[str], list[str]]]:
    """Return for each of ``heads`` the revisions that are only before it, and the first ones of these."""
    found = []
    for head in heads:
        others = set().union(*(lineage(script, other) for other in heads if other != head))
        branch = lineage(script, head) - others
        found.append((branch, _firsts(script, branch, others)))
    return found


def _first_by_git(script: ScriptDirectory, heads: list[Script]) -> str:
    """Return the first revision of the branch that upstream does not have at all, if it has the others completely.

    Else raise MigrationError with a line for each branch.
    """
    names = [head.revision for head in heads]
    try:
        refs, new = _compared(script)
    except MigrationError as error:
        raise _choice(script, names, error.what) from error
    branches = _branches(script, names)
    new &= set().union(*(branch for branch, _ in branches))
    for branch, firsts in branches:
        if branch == new and len(firsts) == 1:
            return firsts[0]
    what = f"git cannot tell which branch to move. New since {' and '.join(map(short, refs))}: {_listed(new)}."
    raise _choice(script, names, what)


def _choice(script: ScriptDirectory, heads: list[str], what: str) -> MigrationError:
    """Return the error with lines for each branch that ends at one of ``heads`` and may move; to merge, if none may."""
    if lines := _lines(script, heads, _movable(script, heads)):
        fix = "name the first revision to move, in the branch that no database has applied:"
        return MigrationError(what, fix, *lines)
    return UnsafeError(what, "merge the heads:", merge_line(heads))


def _lines(script: ScriptDirectory, heads: list[str], firsts: Iterable[str]) -> list[str]:
    """Return for each of the revisions ``firsts`` the line that moves it, after the one that merges the other heads."""
    lines = []
    for first in firsts:
        others = [head for head in heads if first not in lineage(script, head)]
        lines += [*([merge_line(others)] if len(others) > 1 else []), f"flask db rebase {first}"]
    return lines


def _movable(script: ScriptDirectory, heads: list[str]) -> list[str]:
    """Return the first revisions of the branches that end at ``heads``, without those that upstream has.

    If git cannot tell, return all; a local main that has all, without a remote, does not tell either.
    """
    firsts = [first for _, found in _branches(script, heads) for first in found]
    try:
        refs, new = _compared(script)
    except MigrationError:
        return firsts
    own = [first for first in firsts if first in new]
    return own if own or any(ref.startswith("refs/remotes/") for ref in refs) else firsts


def _compared(script: ScriptDirectory) -> tuple[list[str], set[str]]:
    """Return upstream's branches, and the revisions that none of them has. Raise MigrationError if git cannot tell."""
    refs = upstreams(Path(script.get_revision(script.get_heads()[0]).path).parent)
    return refs, revisions_not_in(script, *refs)


def require_movable(script: ScriptDirectory, move: Move, heads: tuple[str, ...]) -> None:
    """Raise UnsafeError if the database, which is at ``heads``, has applied a revision that moves.

    Raise it too if a line of alembic.ini holds for them, as it does for all revisions before the one that it names: it
    would then hold for those of the other branch.
    """
    reviewed, older = acceptance.accepted(script), set(naming.written_before_convention())
    since = {each.revision for each in script.get_revisions(folder().words(naming.KEY)) if each}
    for key, revisions in ((acceptance.KEY, reviewed), (naming.KEY, older | since)):
        if move.first.revision in revisions and (more := lineage(script, move.onto) - revisions):
            raise UnsafeError(
                f"{key} in {relative(folder().ini)} holds for {move.first.revision}, and after a"
                f" rebase it would hold for {_listed(more)} too.",
                "merge the heads:",
                merge_line([move.onto, move.head]),
            )
    applied = {each.revision for each in script.iterate_revisions(heads, "base")} if heads else set()
    moved = [name for name in move.moved(script) if name in applied]
    if not moved:
        return
    first, before = move.first.revision, parents(move.first) or ("base",)
    # `downgrade REV` reverts all that comes after REV; `downgrade FIRST@REV` only what comes after FIRST, and FIRST.
    exact = [name for name in before if name != "base" and applied & _descendants(script, name) == set(moved)]
    raise UnsafeError(
        f"the database has applied {', '.join(moved)}; a rebase can only move pending revisions.",
        "if no other database has applied them, revert them here, which deletes what their tables and columns hold, and"
        " rebase; else merge the heads (last line):",
        f"flask db downgrade {exact[0] if exact else f'{first}@{before[0]}'}",
        f"flask db rebase {first}",
        "flask db upgrade",
        merge_line([move.onto, move.head]),
    )


def _descendants(script: ScriptDirectory, revision: str) -> set[str]:
    """Return the revisions after ``revision``, without those that only depend on it."""
    return closure([revision], lambda name: script.get_revision(name).nextrev) - {revision}


def apply(move: Move) -> None:
    """Edit the script of ``move``."""
    path = Path(move.first.path)
    replace_file(path, with_parents(path, path.read_bytes(), move.parents))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
