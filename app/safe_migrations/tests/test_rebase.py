"""`flask db rebase`: a branch of revisions comes after the other head, or the refusal has a line to paste."""

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.util import load_python_file

from ..commands import rebase as command
from ..errors import MigrationError
from ..git import short, upstreams
from ..histories.editing import replace_file, with_parents
from .support import FIRST, Project, add_table, copied, git, lines_of, revision, run_lines

Parents = str | tuple[str, ...] | None
PLUGIN = "branch_labels = ('plugin',)"
MERGE = 'flask db merge -m "Merge heads"'
WHICH = "Fix: name the first revision to move, in the branch that no database has applied:\n"


def script(project: Project, name: str) -> Path:
    """Return the path of a script."""
    return project.path / "migrations" / "versions" / f"{name}.py"


def add(project: Project, name: str, parents: Parents, more: str = "", table: str = "") -> None:
    """Write the script of a revision that creates ``table``, by default one with its own name, and commit it."""
    add_table(project, name, parents, more, table)
    git(project, "add", "migrations")
    git(project, "commit", "-q", "-m", name)


def order(project: Project) -> str:
    """Return the history as `flask db history` lists it, without the first revision: "a1 -> b1, fb37 -> a1"."""
    told = project.ok("history").replace(FIRST, "first").splitlines()
    return ", ".join(line.removesuffix(", ").partition(" (")[0] for line in told if not line.startswith("<base>"))


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Project]:
    """Return two projects whose first revision is applied: at that on main, and as ``merged`` describes it."""
    begun = copied(tmp_path_factory.mktemp("begun"))
    begun.ok("upgrade")
    with (begun.path / "app" / "models.py").open("a") as models:
        key = "db.Column('id', db.Integer, primary_key=True)"
        models.write("\n\n" + "\n".join(f"db.Table({name!r}, {key})" for name in ("a1", "b1", "b2")))
    git(begun, "init", "-q", "-b", "main")
    git(begun, "add", "migrations")
    git(begun, "commit", "-q", "-m", "Begin")
    merged = copy_of(begun, tmp_path_factory.mktemp("merged"))
    git(merged, "checkout", "-q", "-b", "feature")
    add(merged, "b1", FIRST)
    add(merged, "b2", "b1")
    git(merged, "checkout", "-q", "main")
    add(merged, "a1", FIRST)
    git(merged, "checkout", "-q", "feature")
    git(merged, "merge", "-q", "--no-edit", "main")
    return {"begun": begun, "merged": merged}


def copy_of(project: Project, folder: Path) -> Project:
    """Return a copy of ``project`` in ``folder``."""
    shutil.copytree(project.path, folder / "project", symlinks=True)
    return replace(project, path=folder / "project")


@pytest.fixture
def project(templates: dict[str, Project], tmp_path: Path) -> Project:
    """Return a project of this test's own, at the first revision on main."""
    return copy_of(templates["begun"], tmp_path)


@pytest.fixture
def merged(templates: dict[str, Project], tmp_path: Path) -> Project:
    """Return a project on a branch of code with revisions b1 and b2, into which a main with a1 was merged."""
    return copy_of(templates["merged"], tmp_path)


def test_two_developers(merged: Project) -> None:
    """The revisions that main does not have come after its own, by a change of one line; nothing else changes."""
    before = script(merged, "b1").read_bytes()
    expected = (
        "Moved b1, b2 on top of a1, by down_revision in migrations/versions/b1.py\n"
        "Both branches may change the same table or column. Find out on a copy of the database, upgrade, and commit the"
        " script:\n    flask db rehearse\n    flask db upgrade\n"
    )
    assert (expected, "") == ((done := merged.db("rebase")).stdout, done.stderr)
    assert before.replace(FIRST.encode(), b"a1") == script(merged, "b1").read_bytes()
    assert "b1 -> b2, a1 -> b1, first -> a1" == order(merged)
    assert "agree with the database" in run_lines(merged, *lines_of(expected), "flask db status")


def test_three_developers(merged: Project) -> None:
    """One after the other: the third one's revision comes after the two that are on main by then."""
    git(merged, "checkout", "-q", "-b", "third", "main~1")
    add(merged, "c1", FIRST)
    git(merged, "checkout", "-q", "feature")
    merged.ok("rebase")
    git(merged, "commit", "-q", "-a", "-m", "Rebase")
    git(merged, "push", "-q", ".", "feature:main")
    git(merged, "checkout", "-q", "third")
    git(merged, "merge", "-q", "--no-edit", "main")
    merged.ok("rebase")
    assert "b2 -> c1, b1 -> b2, a1 -> b1, first -> a1" == order(merged)


def test_three_heads(merged: Project) -> None:
    """Two branches that are not on main: it asks which one moves, and the other two heads have to be merged first."""
    add(merged, "c1", FIRST)
    asked = merged.fails("rebase")
    choices = [f"{MERGE} a1 c1", "flask db rebase b1", f"{MERGE} a1 b2", "flask db rebase c1"]
    assert f"Error: git cannot tell which branch to move. New since main: b1, b2, c1.\n{WHICH}" in asked
    assert choices == lines_of(asked)
    lines = lines_of(merged.fails("rebase", "c1"))
    assert [f"{MERGE} a1 b2", "flask db rebase c1"] == lines
    run_lines(merged, *lines, "flask db upgrade", "flask db status")


def test_two_heads_on_main(merged: Project) -> None:
    """If git knows which of three branches is new, each command has the lines that join them: merge, then rebase."""
    git(merged, "checkout", "-q", "main")
    add(merged, "c1", FIRST)
    git(merged, "checkout", "-q", "feature")
    git(merged, "merge", "-q", "--no-edit", "main")
    lines = [f"{MERGE} a1 c1", "flask db rebase b1"]
    for name in ("upgrade", "check", "migrate", "status"):
        assert [*lines, f"{MERGE} heads"] == lines_of(merged.fails(name))[-3:]
    assert lines == lines_of(merged.fails("rebase"))
    run_lines(merged, *lines, "flask db upgrade", "flask db status")


def test_a_merge_in_between(merged: Project) -> None:
    """In a branch that has merged an older main, the merge moves: what precedes it is joined already."""
    add(merged, "m1", ("a1", "b2"))
    add(merged, "b3", "m1")
    git(merged, "checkout", "-q", "main")
    add(merged, "a2", "a1")
    git(merged, "checkout", "-q", "feature")
    git(merged, "merge", "-q", "--no-edit", "main")
    (line,) = lines_of(merged.fails("rebase", "b1"))
    assert "flask db rebase m1" == line
    assert merged.ok("rebase").startswith("Moved m1, b3 on top of a2, ")
    assert "\ndown_revision = ('a2', 'b2')\n" in script(merged, "m1").read_text()
    run_lines(merged, "flask db upgrade", "flask db status")


def test_two_merges_of_the_same_heads(merged: Project) -> None:
    """Both developers have merged: one merge comes after the other, and has one parent."""
    add(merged, "m1", ("a1", "b2"))
    merged.write(*revision("m2", ("a1", "b2"), "pass"))
    assert merged.ok("rebase", "m2").startswith("Moved m2 on top of m1, ")
    assert "\ndown_revision = 'm1'\n" in script(merged, "m2").read_text()
    run_lines(merged, "flask db upgrade", "flask db status")


APPLIED = {
    "a-part": ("b1", f"downgrade {FIRST}", "b1"),
    "the-branch": ("b2", f"downgrade {FIRST}", "b1, b2"),
    "both-heads": ("heads", f"downgrade b1@{FIRST}", "b1, b2"),
}


@pytest.mark.parametrize(("at", "downgrade", "names"), APPLIED.values(), ids=APPLIED)
def test_applied(merged: Project, at: str, downgrade: str, names: str) -> None:
    """A database that has applied one of the revisions: nothing changes, and the lines revert exactly these first."""
    merged.ok("upgrade", at)
    before = script(merged, "b1").read_bytes()
    said = merged.fails("rebase")
    assert f"Error: the database has applied {names}; a rebase can only move pending revisions.\nInstead: " in said
    assert before == script(merged, "b1").read_bytes()
    *rebase, merge = lines_of(said)
    assert ([f"flask db {downgrade}", "flask db rebase b1", "flask db upgrade"], f"{MERGE} a1 b2") == (rebase, merge)
    told = run_lines(merged, *rebase, "flask db status")
    assert ("Running downgrade a1" in told, "agree" in told) == (False, True)


def test_applied_or_merged(merged: Project) -> None:
    """The last line of that message suits revisions that other databases have applied too."""
    merged.ok("upgrade", "b2")
    run_lines(merged, lines_of(merged.fails("rebase"))[-1], "flask db upgrade", "flask db status")


def test_applied_at_a_base_of_its_own(project: Project) -> None:
    """Two histories that begin apart can be joined too, and the downgrade spares the other one."""
    add(project, "p1", None)
    project.ok("upgrade", "heads")
    *rebase, _ = lines_of(project.fails("rebase", "p1"))
    assert "flask db downgrade p1@base" == rebase[0]
    assert f"Running downgrade {FIRST}" not in run_lines(project, *rebase, "flask db status")
    assert "first -> p1" == order(project)


def test_published(merged: Project) -> None:
    """A revision that upstream has does not move, with the line for the one that may; if none may, to merge."""
    said = merged.fails("rebase", "a1")
    assert said.startswith("Error: main has a1 already, where others build on it.\n")
    assert ["flask db rebase b1"] == lines_of(said)
    git(merged, "update-ref", "refs/remotes/origin/main", "feature")
    for said in (merged.fails("rebase"), merged.fails("rebase", "b1")):
        assert [f"{MERGE} a1 b2"] == lines_of(said)
    run_lines(merged, f"{MERGE} a1 b2", "flask db upgrade", "flask db status")


WRONG = {
    "unknown": ("nope", "unknown revision nope.", ["flask db history"]),
    "base": ("base", "base is not a revision.", ["flask db history"]),
    "before-both": (
        FIRST,
        f"{FIRST} is not the first revision of a branch: a1 and b2 come after it.",
        ["flask db rebase b1"],
    ),
    "in-the-middle": (
        "b2",
        "b2 is not the revision to move: its branch last leaves the other one at b1.",
        ["flask db rebase b1"],
    ),
}


@pytest.mark.parametrize(("name", "what", "lines"), WRONG.values(), ids=WRONG)
def test_wrong_revision(merged: Project, name: str, what: str, lines: list[str]) -> None:
    """A revision that does not begin a branch is refused with the ones that do."""
    said = merged.fails("rebase", name)
    assert (f"Error: {what}\n", lines) == (said.partition("Fix:")[0], lines_of(said))
    run_lines(merged, lines[-1])


@pytest.mark.parametrize("names", [(), ("b1",)], ids=["default", "named"])
def test_on_top_already(merged: Project, names: tuple[str, ...]) -> None:
    """With one head there is nothing to do, and no need of a database."""
    merged.ok("rebase")
    nowhere = {"DATABASE_URL": "postgresql+psycopg://postgres@127.0.0.1:1/none"}
    assert "Nothing to rebase: the only head is b2\n" == merged.ok("rebase", *names, **nowhere)


def test_unreachable(merged: Project) -> None:
    """A database that cannot be asked may have applied the revisions: it is refused. A merge needs none."""
    nowhere = {"DATABASE_URL": "postgresql+psycopg://postgres@127.0.0.1:1/none"}
    said = merged.fails("rebase", **nowhere)
    assert "Error: the database does not say whether it has applied b1: " in said
    (line,) = lines_of(said)
    merged.ok(*shlex.split(line)[2:], **nowhere)


def test_database_ahead(merged: Project) -> None:
    """A database at a revision without a script may have applied the revisions: it is refused as for an upgrade."""
    add(merged, "b3", "b2")
    merged.ok("upgrade", "b3")
    script(merged, "b3").unlink()
    assert "Error: the database is at revision b3, which migrations does not have: " in merged.fails("rebase")
    assert f"\ndown_revision = {FIRST!r}\n" in script(merged, "b1").read_text()


def test_review_since(merged: Project) -> None:
    """A review of what main does not have says that an upgrade would stop, as each review does."""
    done = merged.db("review", "--since", "main")
    assert (1, True) == (done.returncode, "An upgrade would stop: there are 2 heads:\n" in done.stderr)


def test_dependency(merged: Project) -> None:
    """What the other branch depends on cannot come after it; the other branch can."""
    add(merged, "a2", "a1", "depends_on = 'b1'")
    said = merged.fails("rebase", "b1")
    assert said.startswith("Error: a2 depends on b1 (depends_on), so b1 cannot come after it.\n")
    run_lines(merged, *lines_of(said), "flask db upgrade", "flask db status")


def test_labels(merged: Project) -> None:
    """A branch with a label is meant to stay apart: nothing to do, and it is refused if it is named."""
    merged.ok("rebase")
    add(merged, "p1", FIRST, PLUGIN)
    assert "Nothing to rebase: these branches are meant to stay apart: b2, p1\n" == merged.ok("rebase")
    said = merged.fails("rebase", "p1")
    assert "p1 is in a branch that is meant to stay apart: its labels (plugin) are not those of another head." in said
    run_lines(merged, *lines_of(said), "flask db upgrade", "flask db status")


def test_beside_a_label(merged: Project) -> None:
    """Of several heads, the two without a label are joined."""
    add(merged, "p1", None, PLUGIN)
    assert merged.ok("rebase", "b1").startswith("Moved b1, b2 on top of a1, ")
    run_lines(merged, "flask db upgrade heads", "flask db status")


def test_read_only(merged: Project) -> None:
    """A script that may not be written stays as it is; the line makes it writable."""
    script(merged, "b1").chmod(0o444)
    before = script(merged, "b1").read_bytes()
    said = merged.fails("rebase")
    assert "Error: migrations/versions/b1.py cannot be written: Permission denied.\n" in said
    assert before == script(merged, "b1").read_bytes()
    run_lines(merged, *lines_of(said), "flask db rebase")


def test_mode_and_link(merged: Project) -> None:
    """A script keeps its mode, and stays a link if it is one."""
    path = script(merged, "b1")
    target = path.rename(merged.path / "elsewhere.py")
    target.chmod(0o755)
    path.symlink_to(target)
    merged.ok("rebase")
    assert (True, 0o755) == (path.is_symlink(), stat.S_IMODE(target.stat().st_mode))


@pytest.mark.parametrize("why", ["no-git", "no-repository", "no-branch", "all-merged"])
def test_git_cannot_tell(merged: Project, why: str, tmp_path: Path) -> None:
    """Without git's word, it asks for the revision, with a line for each branch."""
    environ = {"PATH": str(tmp_path)} if why == "no-git" else {}
    if why == "no-repository":
        (merged.path / ".git").rename(merged.path / "moved")
    elif why == "no-branch":
        git(merged, "branch", "-m", "main", "trunk")
    elif why == "all-merged":
        git(merged, "push", "-q", ".", "feature:main")
    whats = {
        "no-git": "git is not installed, so the new revisions cannot be determined.",
        "no-repository": "migrations/versions is not in a git repository, so the new revisions cannot be determined.",
        "no-branch": "git has no branch main or master to compare with, so the new revisions cannot be determined.",
        "all-merged": "git cannot tell which branch to move. New since main: none.",
    }
    said = merged.fails("rebase", **environ)
    assert f"Error: {whats[why]}\n{WHICH}    flask db rebase a1\n    flask db rebase b1\n" == said
    run_lines(merged, lines_of(said)[-1])


# The current branch, its upstream, all branches of the remote, and the branches to compare with.
UPSTREAMS = {
    "local": ("feature", "", [], ["main"]),
    "remote": ("feature", "", ["origin/main"], ["origin/main"]),
    "default": ("feature", "", ["origin/HEAD", "origin/main"], ["origin/HEAD"]),
    "pushed": ("feature", "origin/feature", ["origin/feature", "origin/main"], ["origin/main"]),
    "follows": ("feature", "origin/next", ["origin/main", "origin/next"], ["origin/main", "origin/next"]),
    "on-main": ("main", "github/main", ["github/main", "origin/main"], ["github/main"]),
}


@pytest.mark.parametrize(("current", "follows", "remotes", "expected"), UPSTREAMS.values(), ids=UPSTREAMS)
def test_upstreams(merged: Project, current: str, follows: str, remotes: list[str], expected: list[str]) -> None:
    """The default branch of the remote counts, and the upstream; but not the pushed copy of the same branch.

    A main that was merged into the branch is new for that copy: main's revisions would be moved.
    """
    git(merged, "checkout", "-q", current)
    for name in remotes:
        remote = name.partition("/")[0]
        git(merged, "update-ref", f"refs/remotes/{name}", "main")
        git(merged, "config", f"remote.{remote}.fetch", f"+refs/heads/*:refs/remotes/{remote}/*")
    if follows:
        git(merged, "branch", "-q", f"--set-upstream-to={follows}")
    assert expected == [short(ref) for ref in upstreams(merged.path)]


def test_pushed_branch(merged: Project) -> None:
    """A branch that was pushed before main was merged into it: its own revisions move, not those of main."""
    git(merged, "update-ref", "refs/remotes/origin/main", "main")
    git(merged, "update-ref", "refs/remotes/origin/feature", "feature~1")
    git(merged, "config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
    git(merged, "branch", "-q", "--set-upstream-to=origin/feature")
    assert merged.ok("rebase").startswith("Moved b1, b2 on top of a1, ")


def test_interrupted(merged: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is interrupted before it has replaced the script leaves the old one, and no other file."""
    before = {path: path.read_bytes() for path in script(merged, "b1").parent.glob("*.py*")}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupt)
        assert 0 != merged.db("rebase").returncode
    after = {path: path.read_bytes() for path in script(merged, "b1").parent.glob("*") if path.is_file()}
    assert before == after
    merged.ok("rebase")


def test_killed(merged: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that a killed run leaves is not taken for a script, and the next run removes it."""
    partial = script(merged, "b1").with_name("__pycache__") / "b1.py.partial"

    def kill(*_: object) -> None:
        partial.with_name("left").write_bytes(partial.read_bytes())
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", kill)
        assert 0 != merged.db("rebase").returncode
    partial.with_name("left").rename(partial)
    assert "2 heads" in merged.fails("check")
    merged.ok("rebase")
    assert not partial.exists()


def test_two_at_once(merged: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two at once, the second one sees under the lock what the first one did, and makes no circle."""
    (merged.path / ".git").rename(merged.path / "moved")
    locked = command.locked

    @contextmanager
    def second(*args: Any) -> Iterator[None]:
        monkeypatch.setattr(command, "locked", locked)
        merged.ok("rebase", "a1")
        with locked(*args):
            yield

    monkeypatch.setattr(command, "locked", second)
    assert "Nothing to rebase: the only head is a1\n" == merged.ok("rebase", "b1")
    assert "b2 -> a1, b1 -> b2, first -> b1" == order(merged)


def test_conflict(merged: Project) -> None:
    """A table that both branches create: a rehearsal fails as the message of the rebase says, and the upgrade would."""
    add(merged, "b1", FIRST, table="a1")
    lines = lines_of(merged.ok("rebase"))
    assert "already exists" in merged.fails(*shlex.split(lines[0])[2:])


def test_review(merged: Project) -> None:
    """The revisions that moved are reviewed, as new ones are; those of the other branch are not."""
    for name in ("a1", "b2"):
        body = f"op.drop_table({name.replace('a1', 'user').replace('b2', 'b1')!r})"
        merged.write(*revision(name, {"a1": FIRST, "b2": "b1"}[name], body, "raise NotImplementedError"))
    said = merged.db("rebase", MIGRATION_REVIEW="enforce").stderr
    assert (True, False) == ("b2.py, line 9, blocks: " in said, "a1.py" in said), said


@pytest.mark.parametrize("key", ["reviewed", "convention_since"])
def test_lines_of_alembic_ini(merged: Project, key: str) -> None:
    """A line that holds for all revisions up to one of the branch would, after a rebase, hold for main's too."""
    ini = merged.path / "migrations" / "alembic.ini"
    ini.write_text(ini.read_text().replace("[alembic]\n", f"[alembic]\n{key} = b1\n"))
    said = merged.fails("rebase")
    what = f"Error: {key} in migrations/alembic.ini holds for b1, and after a rebase it would hold for a1 too.\n"
    assert what == said.partition("Instead:")[0]
    run_lines(merged, *lines_of(said))
    assert f"{key} = b1\n" in ini.read_text()


# A part of a script before and after, and its new parents.
SOURCES = {
    "double": ('down_revision = "a"  # x\n', 'down_revision = "c"  # x\n', "c"),
    "annotated": ("down_revision: Union[str, None] = 'a'\n", "down_revision: Union[str, None] = 'c'\n", "c"),
    "none": ("down_revision = None\n", 'down_revision = "c"\n', "c"),
    "tuple": ("down_revision = ('a', 'b')\n", "down_revision = ('c', 'b')\n", "c, b"),
    "list-to-one": ("down_revision = [\n  'a',\n  'b',\n]\n", "down_revision = 'c'\n", "c"),
    "on-two-lines": ("down_revision = (\n    'a'\n)\n", "down_revision = 'c'\n", "c"),
    "separators": ('"\u2028\x0c\x85"\ndown_revision = "a"\n', '"\u2028\x0c\x85"\ndown_revision = "c"\n', "c"),
    "docstring": (
        '"""\nRevises: a, b\n"""\ndown_revision = ("a", "b")',
        '"""\nRevises: c\n"""\ndown_revision = "c"',
        "c",
    ),
    "of-none": ('"""\nRevises:\n"""\ndown_revision = None', '"""\nRevises: c\n"""\ndown_revision = "c"', "c"),
    "last-word": ('"""x\n\nRevises: a"""\ndown_revision = "a"', '"""x\n\nRevises: c"""\ndown_revision = "c"', "c"),
    "no-docstring": ('down_revision = "a"\n"""\nRevises: a\n"""\n', 'down_revision = "c"\n"""\nRevises: a\n"""\n', "c"),
}


@pytest.mark.parametrize(("before", "after", "parents"), SOURCES.values(), ids=SOURCES)
def test_edited(before: str, after: str, parents: str) -> None:
    """Only the value of down_revision changes, and the docstring's line about it, however they are written."""
    assert after == with_parents(Path("a.py"), before.encode(), tuple(parents.split(", "))).decode()


@pytest.mark.parametrize(("head", "encoding"), [("", "utf-8-sig"), ("# coding: latin-1\r\n", "latin-1")])
def test_edited_bytes(head: str, encoding: str) -> None:
    """A byte order mark, the encoding and the line ends stay."""
    before = f'{head}"""é\r\n\r\nRevises: a\r\n"""\r\nx = "é"\r\ndown_revision = "a"\r\n'
    after = with_parents(Path("a.py"), before.encode(encoding), ("c",))
    assert before.replace(": a", ": c").replace('"a"', '"c"').encode(encoding) == after


@pytest.mark.parametrize(
    "source",
    [
        b"down_revision = f(1)\n",
        b"down_revision = 'a'\ndown_revision = 'b'\n",
        b"down_revision = 'a', 'b'\n",
        b"x = 1\n",
    ],
)
def test_not_editable(source: bytes) -> None:
    """Another way to assign it is left to the author."""
    with pytest.raises(MigrationError) as raised:
        with_parents(Path("a.py"), source, ("c",))
    assert raised.value.what == "a.py does not assign down_revision once, as a string or a tuple of strings."
    assert ("down_revision = 'c'",) == raised.value.lines


def test_bytecode(tmp_path: Path) -> None:
    """Python does not take the old bytecode for that of a script of the same size in the same second."""
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    assert 1 == load_python_file(tmp_path, "a.py").x
    written = path.stat().st_mtime_ns
    replace_file(path, b"x = 2\n")
    os.utime(path, ns=(written, written))
    assert 2 == load_python_file(tmp_path, "a.py").x
