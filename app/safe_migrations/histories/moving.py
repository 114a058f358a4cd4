"""Moving a branch of revisions on top of another head, by editing `down_revision` in the script of its first one."""

import ast
import errno
import io
import os
import re
import shutil
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from ..errors import MigrationError, UnsafeError, relative
from ..folder import folder
from ..git import revisions_not_in, short, upstreams
from ..review import acceptance
from ..review.acceptance import listed
from . import naming
from .heads import accidental_heads, lineage, parents


@dataclass(frozen=True)
class Move:
    """The move of the revision ``first``, and of all after it up to ``head``, on top of the head ``onto``.

    ``parents`` are the new values of its `down_revision`.
    """

    first: Script
    head: str
    onto: str
    parents: tuple[str, ...]

    def moved(self, history: ScriptDirectory) -> list[str]:
        """Return the revisions that move, the first one first."""
        moved = {self.first.revision, *_descendants(history, self.first.revision)}
        return [each.revision for each in history.walk_revisions() if each.revision in moved][::-1]


def chosen(history: ScriptDirectory, revision: str | None) -> Move | None:
    """Return the move of the branch that begins with ``revision``; None if there is nothing to join.

    By default, the branch is the one that upstream does not have, according to git. Raise MigrationError if git cannot
    tell, or if ``revision`` is not the first of a branch that can come after the other head. Raise Alembic's
    CommandError if it is unknown.
    """
    if revision is None:
        heads = accidental_heads(history)
        return _move(history, _first_by_git(history, heads)) if heads else None
    found = history.get_revision(revision)
    if found is None:
        raise MigrationError(f"{revision} is not a revision.", "choose one of this list:", "flask db history")
    return _move(history, found.revision) if len(history.get_heads()) > 1 else None


def _move(history: ScriptDirectory, first: str) -> Move:
    """Return the move of ``first``. Raise MigrationError if it cannot be moved."""
    script = history.get_revision(first)
    heads = accidental_heads(history)
    if not any(first in lineage(history, head.revision) for head in heads):
        heads = [history.get_revision(name) for name in sorted(history.get_heads())]
    own = [head for head in heads if first in lineage(history, head.revision)]
    others = [head.revision for head in heads if head not in own and head.branch_labels == own[0].branch_labels]
    if len(own) > 1:
        names = [head.revision for head in own]
        raise _choice(
            history, names, f"{first} is not the first revision of a branch: {' and '.join(names)} come after it."
        )
    head = own[0].revision
    if not others:
        raise UnsafeError(
            f"{first} is in a branch that is meant to stay apart: its labels ({_listed(own[0].branch_labels)}) are not"
            " those of another head.",
            "keep them apart, and upgrade both; or merge them:",
            "flask db upgrade heads",
            f'flask db merge -m "Merge heads" {" ".join(each.revision for each in heads)}',
        )
    if len(others) > 1:
        raise MigrationError(
            f"there are {len(others)} other heads: {', '.join(others)}.",
            f"merge these first; then {first} can come after the merge:",
            f'flask db merge -m "Merge heads" {" ".join(others)}',
            f"flask db rebase {first}",
        )
    (onto,) = others
    before = lineage(history, onto)
    firsts = _firsts(history, lineage(history, head), before)
    if first not in firsts:
        raise MigrationError(
            f"{first} is not the revision to move: its branch last leaves the other one at {_listed(firsts)}.",
            "move everything from there on:",
            *(f"flask db rebase {each}" for each in firsts),
        )
    if first in {each.revision for each in history.iterate_revisions(onto, "base")}:
        raise MigrationError(
            f"{onto} depends on {first} (depends_on), so {first} cannot come after it.",
            "move the other branch:",
            *(f"flask db rebase {each}" for each in _firsts(history, before, lineage(history, head))),
        )
    new = (onto if parent in before else parent for parent in parents(script))
    return Move(script, head, onto, tuple(dict.fromkeys(new)) or (onto,))


def _firsts(history: ScriptDirectory, branch: Iterable[str], before: set[str]) -> list[str]:
    """Return the revisions of ``branch`` that come right after ``before`` or are bases; the last one of those in a row.

    In a branch that was merged with the other one before, this is the merge: what precedes it is joined already.
    """
    begin = [
        name
        for name in sorted(set(branch) - before)
        if not (of := parents(history.get_revision(name))) or before.intersection(of)
    ]
    return [name for name in begin if not any(name in lineage(history, other) - {other} for other in begin)]


def _first_by_git(history: ScriptDirectory, heads: list[Script]) -> str:
    """Return the first revision of the only one of the ``heads`` whose branch upstream does not have.

    Raise MigrationError with a line for each branch if there is not exactly one such branch.
    """
    lineages = {head.revision: lineage(history, head.revision) for head in heads}
    branches = {
        name: found.difference(*(other for head, other in lineages.items() if head != name))
        for name, found in lineages.items()
    }
    try:
        refs = upstreams(Path(heads[0].path).parent)
        new = revisions_not_in(history, *refs)
    except MigrationError as error:
        raise _choice(history, list(lineages), error.what) from error
    mine = [name for name, branch in branches.items() if branch <= new]
    unjoined = new.intersection(set().union(*branches.values()))
    if len(mine) == 1 and unjoined == branches[mine[0]]:
        firsts = _firsts(history, branches[mine[0]], lineages[mine[0]] - branches[mine[0]])
        if len(firsts) == 1:
            return firsts[0]
    raise _choice(
        history,
        list(lineages),
        f"git cannot tell which branch to move. New since {' and '.join(map(short, refs))}: {_listed(unjoined)}.",
    )


def _choice(history: ScriptDirectory, heads: list[str], what: str) -> MigrationError:
    """Return the error that has a line for each of the branches that end at ``heads``."""
    lineages = [lineage(history, head) for head in heads]
    firsts = [
        first
        for found in lineages
        for first in _firsts(history, found, set().union(*(other for other in lineages if other is not found)))
    ]
    return MigrationError(
        what,
        "name the first revision to move, in the branch that no database has applied:",
        *(f"flask db rebase {first}" for first in firsts),
    )


def require_movable(config: Config, history: ScriptDirectory, move: Move, heads: tuple[str, ...]) -> None:
    """Raise UnsafeError if the database, which is at ``heads``, has applied a revision that moves.

    Raise it too if a line of alembic.ini holds for them, as it does for all revisions before the one that it names: it
    would then hold for those of the other branch.
    """
    reviewed, older = acceptance.accepted(config, history), set(naming.written_before_convention())
    since = {each.revision for each in history.get_revisions(listed(folder().line(naming.KEY) or "")) if each}
    for key, revisions in ((acceptance.KEY, reviewed), (naming.KEY, older | since)):
        if move.first.revision in revisions and (more := lineage(history, move.onto) - revisions):
            raise UnsafeError(
                f"{key} in {relative(acceptance.config_file(config))} holds for {move.first.revision}, and after a"
                f" rebase it would hold for {_listed(more)} too.",
                "merge the heads:",
                f'flask db merge -m "Merge heads" {move.onto} {move.head}',
            )
    applied = {each.revision for each in history.iterate_revisions(heads, "base")} if heads else set()
    moved = [name for name in move.moved(history) if name in applied]
    if not moved:
        return
    first, before = move.first.revision, parents(move.first) or ("base",)
    # `downgrade REV` reverts all that comes after REV; `downgrade FIRST@REV` only what comes after FIRST, and FIRST.
    exact = [name for name in before if name != "base" and applied & _descendants(history, name) == set(moved)]
    raise UnsafeError(
        f"the database has applied {', '.join(moved)}; a rebase can only move pending revisions.",
        "if no other database has applied them, revert them here, and rebase; else merge the heads (last line):",
        f"flask db downgrade {exact[0] if exact else f'{first}@{before[0]}'}",
        f"flask db rebase {first}",
        "flask db upgrade",
        f'flask db merge -m "Merge heads" {move.onto} {move.head}',
    )


def _descendants(history: ScriptDirectory, revision: str) -> set[str]:
    """Return the revisions after ``revision``, without those that only depend on it."""
    found: set[str] = set()
    left = [revision]
    while left:
        new = history.get_revision(left.pop()).nextrev - found
        found |= new
        left += new
    return found


def apply(config: Config, history: ScriptDirectory, move: Move) -> None:
    """Edit the script of ``move``. Put it back, and raise, if the history does not have one head less then."""
    path = Path(move.first.path)
    before = path.read_bytes()
    _replace(path, edited(path, before, move.parents))
    try:
        _require_joined(ScriptDirectory.from_config(config), history, move)
    except BaseException:
        _replace(path, before)
        raise


def _require_joined(after: ScriptDirectory, before: ScriptDirectory, move: Move) -> None:
    is_moved = parents(after.get_revision(move.first.revision)) == move.parents
    if not is_moved or set(before.get_heads()) - {move.onto} != set(after.get_heads()):
        raise MigrationError(
            f"the rebase was taken back: with it, the heads would be {_listed(after.get_heads())}.",
            "merge the heads:",
            f'flask db merge -m "Merge heads" {move.onto} {move.head}',
        )


def edited(path: Path, source: bytes, values: tuple[str, ...]) -> bytes:
    """Return the ``source`` of the script ``path`` with ``values`` as its `down_revision`, and after `Revises:`.

    Everything else stays byte for byte. Raise MigrationError if `down_revision` is not assigned once, as a literal.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    text = source.decode(encoding)
    lines = re.findall(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+", text)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))

    def span(node: ast.expr) -> tuple[int, int]:
        """Return where the node begins and ends in ``text``; ast counts columns in bytes of UTF-8."""
        places = ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
        begin, end = (starts[line - 1] + len(lines[line - 1].encode()[:column].decode()) for line, column in places)
        return begin, end

    tree = ast.parse(text)
    assigned = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id == "down_revision"
    ]
    if len(assigned) != 1 or not isinstance(assigned[0], ast.Constant | ast.Tuple | ast.List):
        raise MigrationError(
            f"{relative(path)} does not assign down_revision once, as a string or a tuple of strings.",
            "write it by hand:",
            f"down_revision = {values[0] if len(values) == 1 else values!r}",
        )
    begin, end = span(assigned[0])
    quote = (re.findall("[\"']", text[begin:end]) or ['"'])[0]
    quoted = [f"{quote}{value}{quote}" for value in values]
    edits = [(begin, end, quoted[0] if len(quoted) == 1 else f"({', '.join(quoted)})")]
    first = tree.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        ids = r"(?:[^\s,\"'\\]+(?:,[ \t]*[^\s,\"'\\]+)*)?"
        if said := re.compile(rf"(?m)^[ \t]*Revises:([ \t]*{ids})").search(text, *span(first.value)):
            edits.append((*said.span(1), f" {', '.join(values)}"))
    for begin, end, new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[end:]
    return text.encode(encoding)


def _replace(path: Path, source: bytes) -> None:
    """Replace the script ``path``; a process that is killed meanwhile leaves the old one or the new one.

    Delete its bytecode: Python takes that for current if the script's size and second are the same (SourceLoader).
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        if not os.access(path, os.W_OK) or not path.stat().st_mode & 0o200:  # os.access() is always true for root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with partial.open("wb") as file:
            file.write(source)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(path, partial)
        partial.replace(path)
    except OSError as error:
        raise MigrationError(
            f"{relative(path)} cannot be written: {error.strerror}.",
            "make the script and its folder writable, and run the command again:",
            f"chmod u+w {relative(path.parent)} {relative(path)}",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
