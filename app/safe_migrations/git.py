"""Queries of git about revision scripts: which ones a commit does not have, and which are not committed."""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from alembic.script import ScriptDirectory

from .errors import MigrationError, relative

# Git sets these for a hook. With them, git would print paths that are not relative to the current folder.
OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
UNKNOWN = "the new revisions cannot be determined."


def revisions_not_in(script: ScriptDirectory, *refs: str) -> set[str]:
    """Return the revisions whose scripts none of the commits, branches or tags ``refs`` has.

    A script that a ref has under the same name counts as the same, even if it was edited since. Raise MigrationError
    if git is not installed, if the scripts are not in a git repository, or if that does not have a ref.
    """
    paths = {revision.revision: Path(revision.path) for revision in script.walk_revisions()}
    folders = {path.parent for path in paths.values()}
    names = {folder: {name for ref in refs for name in _names(folder, ref)} for folder in folders}
    return {revision for revision, path in paths.items() if path.name not in names[path.parent]}


def upstreams(folder: Path) -> list[str]:
    """Return the branches that have what others have published, in git's full names such as refs/remotes/origin/main.

    These are the remote's default branch, or a local main or master, and the upstream of the current branch. But not an
    upstream of the same name: it is the copy of this branch, for which a main that was merged into it is new. Raise
    MigrationError if git is not installed, if ``folder`` is not in a git repository, or if it has none of them.
    """
    form = "--format=%(HEAD)%(refname) %(upstream)"
    done = _git(folder, "for-each-ref", form, "refs/heads", "refs/remotes")
    if done.returncode:
        raise _failure(done)
    lines = done.stdout.decode(errors="surrogateescape").splitlines()
    refs = dict(line[1:].split(" ", 1) for line in lines)
    current = next((line[1:].split(" ", 1)[0] for line in lines if line.startswith("*")), "")
    followed = refs.get(current, "")
    remote = followed.split("/")[2] if followed.startswith("refs/remotes/") else "origin"
    mains = [f"refs/remotes/{remote}/{name}" for name in ("HEAD", "main", "master")]
    found = [ref for ref in (*mains, "refs/heads/main", "refs/heads/master") if ref in refs][:1]
    if followed in refs and short(followed).partition("/")[2] != short(current):
        found.append(followed)
    if not found:
        raise MigrationError(
            f"git has no branch main or master to compare with, so {UNKNOWN}", "fetch it:", "git fetch origin"
        )
    return list(dict.fromkeys(found))


def short(ref: str) -> str:
    """Return git's full name of a branch without refs/heads/ or refs/remotes/."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/remotes/")


def uncommitted(paths: Iterable[Path]) -> list[Path] | None:
    """Return those of the files ``paths`` that the last commit does not have, or not as they are now.

    Return None if git is not installed, or if a file is not in a git repository that has a commit.
    """
    found = []
    for folder, names in _by_folder(paths).items():
        try:
            changed = _git(folder, "status", "--porcelain", "--ignored", "--untracked-files=all", "-z", "--", ".")
            in_commit = _git(folder, "ls-tree", "--name-only", "-z", "HEAD")
        except MigrationError:
            return None
        if changed.returncode or in_commit.returncode:
            return None
        committed = set(_split(in_commit)) - {Path(line[3:]).name for line in _split(changed)}
        found += [folder / name for name in names if name not in committed]
    return found


def commit_before(path: Path, added: str) -> str:
    """Return the last tag, or else the commit, before the commit that added the text ``added`` to the file ``path``.

    A tag counts only if it has the same files in the folder of ``path`` as that commit's parent. Return an empty string
    if git does not know such a commit.
    """
    try:
        commits = _split(_git(path.parent, "log", "-z", "--format=%H", f"-S{added}", "--", path.name))
        if not commits:
            return ""
        parent = _git(path.parent, "rev-parse", "--short", f"{commits[-1]}~1").stdout.decode().strip()
        tag = _git(path.parent, "describe", "--tags", "--abbrev=0", parent).stdout.decode().strip()
        is_same = bool(tag) and not _git(path.parent, "diff", "--quiet", tag, parent, "--", ".").returncode
    except MigrationError:
        return ""
    return tag if is_same else parent


def lacks(folder: Path, pattern: str) -> bool:
    """Return True if no branch or tag ever had a file whose path matches ``pattern``; False if git cannot say."""
    try:
        shallow = _git(folder, "rev-parse", "--is-shallow-repository")  # as those of most CI jobs and deploys
        done = _git(folder, "log", "--all", "--format=%H", "-1", "--", f":(top){pattern}")
    except (MigrationError, OSError):
        return False
    return shallow.stdout.strip() == b"false" and not done.returncode and not done.stdout


def _by_folder(paths: Iterable[Path]) -> dict[Path, list[str]]:
    found: dict[Path, list[str]] = {}
    for path in paths:
        found.setdefault(path.parent, []).append(path.name)
    return found


def _names(folder: Path, ref: str) -> set[str]:
    """Return the names of the files that ``ref`` has in ``folder``; an empty set if it does not have the folder."""
    done = _git(folder, "ls-tree", "--name-only", "-z", "--", ref)
    if not done.returncode:
        return set(_split(done))
    words = done.stderr.decode(errors="replace").strip()
    if "Not a valid object name" in words or "not a tree object" in words:
        remote, _, branch = ref.partition("/")
        is_remote = remote in _git(folder, "remote").stdout.decode(errors="replace").split()
        fetch = f"git fetch {remote} {branch}" if is_remote and branch else "git fetch --all --tags"
        raise MigrationError(
            f"git does not know {ref or 'an empty name'}, so {UNKNOWN}", "correct the name, or fetch it first:", fetch
        )
    raise _failure(done)


def _failure(done: "subprocess.CompletedProcess[bytes]") -> MigrationError:
    words = done.stderr.decode(errors="replace").strip()
    return MigrationError(f"git failed, so {UNKNOWN}", f"correct what git says: {words}")


def _git(folder: Path, *args: str) -> "subprocess.CompletedProcess[bytes]":
    """Run git in ``folder``. Raise MigrationError if it is not installed, or ``folder`` is not in a repository."""
    environ = {name: value for name, value in os.environ.items() if name not in OF_HOOKS}
    try:
        done = subprocess.run(["git", *args], cwd=folder, env={**environ, "LC_ALL": "C"}, capture_output=True)
    except FileNotFoundError as error:
        raise MigrationError(
            f"git is not installed, so {UNKNOWN}", "install git, or review pending revisions:", "flask db review"
        ) from error
    if b"not a git repository" in done.stderr:
        raise MigrationError(
            f"{relative(folder)} is not in a git repository, so {UNKNOWN}",
            "review pending revisions:",
            "flask db review",
        )
    return done


def _split(done: "subprocess.CompletedProcess[bytes]") -> list[str]:
    """Return the names, separated by NUL bytes, that git has printed."""
    return [name.decode(errors="surrogateescape") for name in done.stdout.split(b"\0") if name]
