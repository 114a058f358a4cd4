"""The revisions that a squash replaces: which ones, their files, and the error for a database that is at one of them.

A squash is a script with a line such as ``replaces = ["1a2b", "3c4d"]``. It keeps the id of the newest revision that it
stands for.
"""

from collections.abc import Iterable
from pathlib import Path

from alembic.script import Script, ScriptDirectory

from ..errors import MigrationError, first_few, relative
from ..folder import folder
from ..git import commit_before, uncommitted
from ..review import acceptance
from . import naming
from .editing import ids_in, put_in_place, write_line, write_to_disk
from .heads import needs, replaces

# The suffixes of the new script before it is in place, and of an old one before it is deleted. Alembic ignores both.
NEW, OLD = ".squash", ".squashed"


def squash_of(script: ScriptDirectory, revision: str) -> Script | None:
    """Return the squash that replaces ``revision``; None if there is none."""
    return next((each for each in script.walk_revisions() if revision in replaces(each)), None)


def replaced(script: ScriptDirectory, target: Script) -> list[Script]:
    """Return the revisions that a squash up to ``target`` replaces: all that come before it, the oldest first.

    Raise MigrationError if another revision starts from one of them, or depends on it.
    """
    before = [each for each in script.iterate_revisions(target.revision, "base") if each.revision != target.revision]
    names = {each.revision for each in before}
    for each in script.walk_revisions():
        needed = [name for name in needs(each) if script.get_revision(name).revision in names]
        if needed and each.revision not in {*names, target.revision}:
            raise MigrationError(
                f"revision {each.revision} starts from {' and '.join(needed)}, which the squash up to {target.revision}"
                " would remove.",
                "squash up to a revision that both branches lead to, merge them first if there is none, or squash only"
                " up to where the branch begins:",
                'flask db merge -m "Merge heads" heads',
                f"flask db squash {needed[0]}",
            )
    return before[::-1]


def require_in_git(scripts: Iterable[Script]) -> None:
    """Raise MigrationError if git does not have the files of the revisions as they are now."""
    paths = [Path(each.path) for each in scripts]
    changed = uncommitted(paths)
    if changed is None:
        raise MigrationError(
            "the squash deletes the scripts that it replaces, and git does not keep them: there is no git repository.",
            "keep a copy of the folder, and add --yes; or commit it to git:",
            f"git init && git add {relative(paths[0].parent)} && git commit -m 'Before the squash'",
        )
    if changed:
        names = first_few(list(map(relative, changed)))
        raise MigrationError(
            f"the squash deletes the scripts that it replaces, and git does not have them as they are: {names}.",
            "commit them, or add --yes:",
            f"git add {relative(paths[0].parent)} && git commit -m 'Before the squash'",
        )


def replace_files(target: Script, old: Iterable[Script], text: str) -> None:
    """Write ``text`` in place of the script of ``target``, and delete the scripts ``old``.

    If this is killed, no command runs a part of the history: either a script still refers to one that was renamed,
    which Alembic refuses, or the squash is in place, and only renamed files are left. See restore_interrupted().
    """
    place = Path(target.path)
    new = _with(place, NEW)
    write_to_disk(new, text.encode())
    renamed = [Path(each.path) for each in old]
    for path in renamed:
        path.rename(_with(path, OLD))
    put_in_place(new, place)
    for path in renamed:
        _with(path, OLD).unlink()


def restore_interrupted(folders: Iterable[str | Path]) -> None:
    """Undo a squash that was killed in replace_files(); if it had put its script in place, delete the old ones."""
    for each in map(Path, folders):
        new, old = list(each.rglob(f"*.py{NEW}")), list(each.rglob(f"*.py{OLD}"))
        for path in old:
            path.rename(path.with_suffix("")) if new else path.unlink()
        for path in new:
            path.unlink()


def interrupted_error(directory: Path) -> MigrationError | None:
    """Return the error if a squash was killed before its script was in place; else None."""
    new = next(directory.rglob(f"*.py{NEW}"), None)
    if new is None or not any(directory.rglob(f"*.py{OLD}")):
        return None
    return MigrationError(
        f"a squash was interrupted: scripts in {relative(directory)} are still renamed to *.py{OLD}.",
        "run it again, which first gives them their names back:",
        f"flask db squash {' '.join(ids_in(new, 'revision')) or 'REV'}",
    )


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def replaced_error(revision: str, squash: Script) -> MigrationError:
    """Return the error for a database at ``revision``, which ``squash`` replaces."""
    what = (
        f"the database is at {revision}, which {squash.revision}, a squash of {len(replaces(squash)) + 1} revisions,"
        " replaced: no script leads on from there."
    )
    upgrade = f"flask db upgrade {squash.revision}"
    if release := commit_before(Path(squash.path), "replaces = ["):
        fix = f"upgrade it with the last release that has these scripts, {release}; then come back:"
        return MigrationError(what, fix, f"git checkout {release}", upgrade, "git checkout -")
    fix = (
        "upgrade it with a copy of the code from before the squash, which git does not know because the squash is not"
        " committed there; run this line in that copy, then come back:"
    )
    return MigrationError(what, fix, upgrade)


def update_settings(revisions: set[str], squash: str) -> None:
    """Write ``squash`` in place of each of ``revisions`` in the lines of alembic.ini that name revisions."""
    for key in (acceptance.KEY, naming.KEY):
        names = folder().words(key)
        if not revisions.isdisjoint(names):
            value = " ".join(dict.fromkeys(squash if name in revisions else name for name in names))
            write_line(folder().ini, key, value)
