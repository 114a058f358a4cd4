"""The revisions whose scripts a commit of git does not have."""

import os
import subprocess
from pathlib import Path

from alembic.script import ScriptDirectory

from .errors import MigrationError, relative

# Git sets these for a hook. With them, git would print paths that are not relative to the current folder.
OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


def revisions_not_in(script: ScriptDirectory, ref: str) -> set[str]:
    """Return the revisions whose scripts the commit, branch or tag ``ref`` does not have.

    A script that ``ref`` has under the same name counts as the same, even if it was edited since. Raise MigrationError
    if git is not installed, if the scripts are not in a git repository, or if that has no ``ref``.
    """
    paths = {revision.revision: Path(revision.path) for revision in script.walk_revisions()}
    names = {folder: _names(folder, ref) for folder in {path.parent for path in paths.values()}}
    return {revision for revision, path in paths.items() if path.name not in names[path.parent]}


def _names(folder: Path, ref: str) -> set[str]:
    """Return the names of the files that ``ref`` has in ``folder``; an empty set if it does not have the folder."""
    unknown = "the new revisions cannot be determined."
    try:
        done = _git(folder, "ls-tree", "--name-only", "-z", "--", ref)
    except FileNotFoundError as error:
        raise MigrationError(
            f"git is not installed, so {unknown}", "install git, or review pending revisions:", "flask db review"
        ) from error
    if not done.returncode:
        return {name.decode(errors="surrogateescape") for name in done.stdout.split(b"\0") if name}
    words = done.stderr.decode(errors="replace").strip()
    if "not a git repository" in words:
        raise MigrationError(
            f"{relative(folder)} is not in a git repository, so {unknown}",
            "review pending revisions:",
            "flask db review",
        )
    if "Not a valid object name" in words or "not a tree object" in words:
        remote, _, branch = ref.partition("/")
        is_remote = remote in _git(folder, "remote").stdout.decode(errors="replace").split()
        fetch = f"git fetch {remote} {branch}" if is_remote and branch else "git fetch --all --tags"
        raise MigrationError(
            f"git does not know {ref or 'an empty name'}, so {unknown}", "correct the name, or fetch it first:", fetch
        )
    raise MigrationError(f"git failed, so {unknown}", f"correct what git says: {words}")


def _git(folder: Path, *args: str) -> "subprocess.CompletedProcess[bytes]":
    environ = {name: value for name, value in os.environ.items() if name not in OF_HOOKS}
    return subprocess.run(["git", *args], cwd=folder, env={**environ, "LC_ALL": "C"}, capture_output=True)
