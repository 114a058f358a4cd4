"""Several heads: those that are an accident are reported early, with the lines that join them."""

import json

import flask_migrate
import pytest
from sqlalchemy import inspect

from .example.app.extensions import db
from .support import AGREE, FIRST, LOG, Project, Sql, add_table, lines_of, revision, run_lines

pytestmark = pytest.mark.usefixtures("database")
backend = pytest.fixture(lambda: "sqlite", name="backend")  # what scripts say does not differ on servers

HEADS = """there are 2 heads:
    a1, migrations/versions/a1.py, Add a
    b1, migrations/versions/b1.py
Fix: move your new revisions on top of the other head; or merge, if a database has applied them; or give a branch that \
is meant to stay apart a label (branch_labels). Then run the command again:
    flask db rebase
    flask db merge -m "Merge heads" heads
"""


@pytest.fixture
def branched(upgraded: Project) -> Project:
    """Return a project at the first revision, from which two branches begin: a1 and b1."""
    for name in ("a1", "b1"):
        add_table(upgraded, name, FIRST)
    script = upgraded.path / "migrations" / "versions" / "a1.py"
    upgraded.write("migrations/versions/a1.py", f'"""Add a\n\nRevision ID: a1\n"""\n{script.read_text()}')
    return upgraded


def test_accident(branched: Project) -> None:
    """Each command that needs one head says which scripts are the heads, and how to join them; also on a database at
    both of them. `migrate` stops before it asks or writes anything.
    """
    commands = [branched.db(*command.split(" ")) for command in ("upgrade", "migrate", "check", "revision -m x")]
    branched.ok("upgrade", "heads")
    commands += [branched.db(command) for command in ("migrate", "check")]
    assert [(1, f"Error: {HEADS}")] * 6 == [(done.returncode, done.stderr) for done in commands]


def test_status_and_review(branched: Project) -> None:
    """Commands that can show something else do so too, and exit with status 1, because an upgrade would stop."""
    stop = f"An upgrade would stop: {HEADS}"
    assert branched.fails("status").endswith(f"\n{stop}")
    assert "\nb1 " in branched.fails("rehearse")
    for form in ("text", "json", "github"):
        done = branched.db("review", "--format", form)
        assert (1, True) == (done.returncode, stop in done.stderr)
        assert ("::error title=heads::there are 2 heads:%0A    a1" in done.stdout) == (form == "github")
    assert [] == json.loads(branched.db("review", "--format", "json").stdout)
    branched.ok("upgrade", "heads")
    assert branched.fails("status").endswith(f"\n{stop}")
    assert branched.fails("rehearse").endswith(f"\n{stop}")


def test_three_heads(branched: Project) -> None:
    """Without git, there are lines for each branch that may be the one that moves, and the last line merges all."""
    add_table(branched, "c1", FIRST)
    lines = ['flask db merge -m "Merge heads" a1 b1', "flask db rebase c1", 'flask db merge -m "Merge heads" heads']
    assert lines == lines_of(branched.fails("check"))[-3:]
    assert "An upgrade would stop" not in run_lines(branched, *lines[:2], "flask db upgrade", "flask db status")


MEANT = {
    "label": (FIRST, "branch_labels = ('plugin',)"),
    "base": (None, ""),
    "depends_on": (FIRST, "depends_on = 'a1'"),
}


@pytest.mark.parametrize(("parent", "more"), MEANT.values(), ids=MEANT)
def test_branches_that_are_meant(branched: Project, parent: str | None, more: str) -> None:
    """A branch that has a label or a base of its own, or depends on the other one, is meant: no command complains."""
    add_table(branched, "b1", parent, more)
    assert "    flask db upgrade heads\n" in branched.fails("upgrade")
    assert "    flask db upgrade heads\n" in branched.fails("migrate")
    assert "heads" not in branched.ok("review")
    branched.ok("upgrade", "heads")
    assert "heads:" not in branched.ok("status")
    assert "operations detected: remove_table " in branched.fails("check")  # it compares, as with one head
    run_lines(branched, 'flask db migrate --head a1 -m "..."')


def test_label_before_the_branches(branched: Project) -> None:
    """A label that both branches inherit sets neither apart."""
    (first,) = (branched.path / "migrations" / "versions").glob(f"*{FIRST}*")
    branched.write(f"migrations/versions/{first.name}", first.read_text() + "\nbranch_labels = ('main',)\n")
    assert f"Error: {HEADS}" == branched.db("check").stderr


def test_merge_beside_a_branch_that_is_meant(branched: Project) -> None:
    """The line that merges leaves a branch with a label alone."""
    add_table(branched, "p1", None, "branch_labels = ('plugin',)")
    merge = lines_of(branched.fails("check"))[-1]
    assert 'flask db merge -m "Merge heads" a1 b1' == merge
    run_lines(branched, merge, "flask db upgrade heads")
    assert "heads" not in branched.ok("status")


def test_downgrade_from_two_heads(branched: Project) -> None:
    """One step back from two heads is ambiguous; Alembic takes the one that its table lists first."""
    branched.ok("upgrade", "heads")
    expected = (
        "Error: -1 is ambiguous: the database is at a1 and b1.\n"
        "Fix: choose one:\n    flask db downgrade a1@-1\n    flask db downgrade b1@-1\n"
    )
    assert expected == branched.db("downgrade").stderr
    run_lines(branched, "flask db downgrade b1@-1")
    assert "a1 (head)\n" == branched.db("current").stdout


def test_downgrade_from_a_merge_beside_a_head(branched: Project) -> None:
    """Of a merge at one of two heads the parents are named, which Alembic takes; MERGE@-1 is as ambiguous as -1."""
    branched.write(*revision("m1", ("a1", "b1"), "pass"))
    add_table(branched, "c1", FIRST)
    branched.ok("upgrade", "heads")
    parents = ["flask db downgrade a1", "flask db downgrade b1"]
    lines = {"-1": ["flask db downgrade c1@-1", *parents], "m1@-1": parents, "m1-1": parents}
    for wanted, expected in lines.items():
        assert expected == lines_of(branched.fails("downgrade", wanted))
    run_lines(branched, parents[0], "flask db upgrade heads", "flask db downgrade c1@-1")
    assert "m1 (head) (mergepoint)\n" == branched.db("current").stdout


@pytest.fixture
def twice(branched: Project) -> Project:
    """Return a project with two scripts of the revision a1; the newer one is c1.py."""
    (branched.path / "migrations" / "versions" / "b1.py").unlink()
    branched.write("migrations/versions/c1.py", revision("a1", FIRST, "pass")[1])
    return branched


@pytest.mark.parametrize("line", [0, 1], ids=["remove", "rename"])
def test_two_scripts_with_one_id(twice: Project, line: int) -> None:
    """Every command names both files, and each line of the message makes the history whole again."""
    said = twice.fails("heads")
    assert "Error: migrations/versions/a1.py and migrations/versions/c1.py have the same revision id, a1.\n" in said
    run_lines(twice, lines_of(said)[line])
    assert line + 1 == twice.ok("heads").count("(head)")


def test_two_scripts_in_a_program(twice: Project, empty_app: object) -> None:
    """flask_migrate.upgrade() raises; Alembic would warn, run one of the two scripts, and never the other."""
    with pytest.raises(UserWarning, match="Revision a1 is present more than once"):
        flask_migrate.upgrade(revision="heads")
    assert {"alembic_version", LOG, "user"} == set(inspect(db.engine).get_table_names())


def test_branch_from_before_a_squash(project: Project) -> None:
    """A revision after one that a squash replaced makes a history that Alembic cannot read: a line mends it."""
    project.write(*revision("s1", None, "pass", more=f"replaces = [\n    '0',\n    {FIRST!r},\n]"))
    add_table(project, "b1", FIRST)
    (first,) = (project.path / "migrations" / "versions").glob(f"*{FIRST}*")
    first.unlink()
    what, _fix, line = project.fails("check").splitlines()
    assert f"Error: down_revision in migrations/versions/b1.py is {FIRST}, which s1, a squash, replaced." == what
    run_lines(project, line.strip())
    assert "b1 (head)\n" == project.db("heads").stdout


@pytest.fixture
def stock(branched: Project) -> Project:
    """Return the project with stock Flask-Migrate; its two branches change nothing that `check` compares."""
    for name in ("a1", "b1"):
        branched.write(*revision(name, FIRST, "pass"))
    branched.make_stock()
    return branched


def test_stock_is_silent_until_the_deploy(stock: Project, sql: Sql) -> None:
    """In stock, `check` says to upgrade, which fails; on a database that is at both heads, it finds nothing."""
    assert "Target database is not up to date" in stock.fails("check")
    assert "Multiple head revisions are present" in stock.fails("upgrade")
    sql("UPDATE alembic_version SET version_num = 'a1'", "INSERT INTO alembic_version VALUES ('b1')")
    assert AGREE in stock.ok("check")


def test_stock_takes_one_of_two(stock: Project) -> None:
    """In stock, one of two scripts with the same id is never run."""
    stock.write("migrations/versions/b1.py", revision("a1", FIRST, "print('second')")[1])
    stock.write("migrations/versions/a1.py", revision("a1", FIRST, "print('first')")[1])
    assert 1 == len({"first", "second"} & set(stock.ok("upgrade", "heads").split()))
