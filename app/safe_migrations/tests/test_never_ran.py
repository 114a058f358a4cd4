"""A rebase puts a revision before one that a database has applied, and there it never ran: the log tells."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, inspect

from .support import FIRST, LOG, SERVERS, Project, Sql, add_table, lines_of, on_sqlite, revision, rows, run_lines

pytestmark = pytest.mark.usefixtures("database")
GAP = (
    "toy never ran on this database, although it now comes before pet, which did: down_revision was edited since, for"
    " example by a rebase.\nFix: "
)
REVERT = ["flask db downgrade toy", f"flask db stamp {FIRST}", "flask db upgrade"]
KEEP = [f"flask db stamp {FIRST}", "flask db upgrade toy", "flask db stamp pet"]


def rebase(project: Project) -> None:
    """Write the scripts as they are after a rebase on another machine: pet comes after toy."""
    add_table(project, "toy", FIRST)
    add_table(project, "pet", "toy")


@pytest.fixture
def rebased(project: Project, sql: Sql) -> Project:
    """Return a project whose database has applied pet, which then came after toy."""
    add_table(project, "pet", FIRST)
    project.ok("upgrade")
    sql("INSERT INTO pet VALUES (7)")
    rebase(project)
    return project


@pytest.mark.parametrize(
    ("backend", "way"),
    [("sqlite", "revert"), *((backend, "keep") for backend in ("sqlite", *SERVERS))],
    indirect=["backend"],
)
def test_ways_out(rebased: Project, engine: Engine, way: str) -> None:
    """An upgrade with steps stops, one without warns, and both ways out run; one of them keeps the rows."""
    warned = rebased.db("upgrade")
    assert (0, True) == (warned.returncode, GAP in warned.stderr)
    add_table(rebased, "new", "pet")
    stopped = rebased.fails("upgrade")
    assert f"Error: {GAP}" in stopped
    assert "\nNothing was changed; the database is still at pet.\n" in stopped
    lines = lines_of(stopped)
    assert REVERT + KEEP == lines
    told = run_lines(rebased, *(REVERT if way == "revert" else KEEP))
    assert GAP not in told + run_lines(rebased, "flask db upgrade", "flask db status")
    assert {"toy", "pet", "new"} <= set(inspect(engine).get_table_names())
    assert ([] if way == "revert" else [(7,)]) == rows(engine, "SELECT id FROM pet")


@on_sqlite
def test_each_command_says_so(rebased: Project) -> None:
    """`status`, `rehearse` and `check` exit with 1, and `migrate` writes no second script for the table."""
    before = rebased.scripts()
    for name in ("status", "rehearse"):
        assert f"\nAn upgrade would stop: {GAP}" in rebased.fails(name)
    for command in (["check"], ["migrate", "-m", "again"], ["revision", "--autogenerate", "-m", "again"]):
        assert rebased.fails(*command).startswith(f"Error: {GAP}")
    assert before == rebased.scripts()


@on_sqlite
def test_half_of_the_way(rebased: Project) -> None:
    """After the downgrade alone, the database is at a revision that never ran there: this is still reported."""
    run_lines(rebased, REVERT[0])
    stopped = rebased.fails("upgrade")
    assert f"Error: {GAP}" in stopped
    assert REVERT[1:] == lines_of(stopped)
    assert GAP not in run_lines(rebased, *REVERT[1:], "flask db upgrade", "flask db status")


@on_sqlite
def test_restored_backup(project: Project) -> None:
    """A backup from before the rebase has the log of that time, and is reported as the database was."""
    add_table(project, "pet", FIRST)
    project.ok("upgrade")
    file = project.ok("backup").splitlines()[0]
    project.ok("downgrade")
    rebase(project)
    project.ok("upgrade")
    assert GAP not in project.ok("upgrade")
    project.ok("restore", file, "--yes")
    assert GAP in project.ok("upgrade")
    assert GAP not in run_lines(project, *REVERT, "flask db status")


@on_sqlite
def test_several(project: Project, engine: Engine) -> None:
    """Two revisions that came before, with one that ran between them, run from where each of them belongs."""
    for name, parent in {"one": FIRST, "two": "one", "pet": "two"}.items():
        add_table(project, name, parent)
    project.ok("upgrade")
    for name, parent in {"a": FIRST, "b": "a", "one": "b", "c": "two", "pet": "c"}.items():
        add_table(project, name, parent)
    lines = lines_of(project.db("upgrade").stderr)
    ran = [f"stamp {FIRST}", "upgrade b", "stamp two", "upgrade c", "stamp pet"]
    assert [f"flask db {line}" for line in ran] == lines
    assert "never ran" not in run_lines(project, *lines, "flask db upgrade", "flask db status")
    assert {"a", "b", "c", "one", "two", "pet"} <= set(inspect(engine).get_table_names())


@on_sqlite
def test_another_branch(rebased: Project, engine: Engine, sql: Sql) -> None:
    """The lines leave a branch alone that is meant to stay apart."""
    add_table(rebased, "plugin", FIRST, "branch_labels = ('other',)")
    sql("INSERT INTO alembic_version VALUES ('plugin')")
    lines = lines_of(rebased.db("upgrade", "heads").stderr)
    assert ["flask db downgrade toy", "flask db stamp --purge plugin", "flask db upgrade heads"] == lines[:3]
    assert "never ran" not in run_lines(rebased, *lines[3:], "flask db upgrade heads", "flask db status")
    assert {("pet",), ("plugin",)} == set(rows(engine, "SELECT version_num FROM alembic_version"))


def both_before(project: Project, sql: Sql) -> None:
    """Run both branches before the rebase."""
    add_table(project, "pet", FIRST)
    add_table(project, "toy", FIRST)
    project.ok("upgrade", "heads")


def both_merged(project: Project, sql: Sql) -> None:
    """Run both branches and a merge before the rebase; the merge stays."""
    both_before(project, sql)
    project.write(*revision("merge", ("pet", "toy"), "pass"))
    project.ok("upgrade")


def reverted_before(project: Project, sql: Sql) -> None:
    """Run pet, and revert it before the rebase, as the refusal of a rebase says."""
    add_table(project, "pet", FIRST)
    project.ok("upgrade")
    project.ok("downgrade")
    rebase(project)
    project.ok("upgrade")


def stamped(project: Project, sql: Sql) -> None:
    """Say that toy ran: it was made by hand."""
    add_table(project, "pet", FIRST)
    project.ok("upgrade")
    rebase(project)
    project.ok("stamp", "toy")
    project.ok("stamp", "pet")


def older_than_the_log(project: Project, sql: Sql) -> None:
    """Run pet with a release that had no log."""
    add_table(project, "pet", FIRST)
    project.ok("upgrade")
    sql(f"DROP TABLE {LOG}")


def downgraded_without_entries(project: Project, sql: Sql) -> None:
    """Revert a revision that is older than the log."""
    rebase(project)
    add_table(project, "new", "pet")
    project.ok("upgrade")
    sql(f"DROP TABLE {LOG}")
    project.ok("downgrade")


def by_sql(project: Project, sql: Sql) -> None:
    """Run toy without an entry, as the SQL of `upgrade --sql` does, and then pet."""
    rebase(project)
    project.ok("upgrade", "toy")
    sql(f"DELETE FROM {LOG}")
    project.ok("upgrade")


def squashed(project: Project, sql: Sql) -> None:
    """Put pet after a squash; the database ran what this replaces."""
    add_table(project, "toy", FIRST)
    add_table(project, "pet", "toy")
    project.ok("upgrade")
    sql(f"DELETE FROM {LOG} WHERE revision = 'toy'", f"UPDATE {LOG} SET parents = '{FIRST}'")
    for script in project.scripts():
        script.unlink()
    add_table(project, "toy", (), f"replaces = [{FIRST!r}]")
    project.write(*revision("pet", "toy", "pass"))


def taken_back(project: Project, sql: Sql) -> None:
    """Begin the way out, then take the rebase back, and delete toy."""
    add_table(project, "pet", FIRST)
    project.ok("upgrade")
    rebase(project)
    run_lines(project, *REVERT[:2])
    (project.path / "migrations" / "versions" / "toy.py").unlink()
    add_table(project, "pet", FIRST)


KNOWN = [
    both_merged,
    reverted_before,
    stamped,
    older_than_the_log,
    downgraded_without_entries,
    by_sql,
    squashed,
    taken_back,
]


@on_sqlite
@pytest.mark.parametrize("begin", KNOWN, ids=lambda begin: begin.__name__)
def test_what_has_run(project: Project, sql: Sql, begin: Callable[[Project, Sql], None]) -> None:
    """A database that is known to have both, or of which nothing is known, is not complained about."""
    begin(project, sql)
    if begin not in (squashed, taken_back):
        rebase(project)
    done = [project.db(*command.split()) for command in ("upgrade heads", "status", "check")]
    assert "never ran" not in "".join(each.stdout + each.stderr for each in done)
    assert 0 == done[0].returncode


@on_sqlite
def test_both_heads(project: Project, sql: Sql) -> None:
    """A database at both heads is at two revisions in one line after the rebase; the message has the line to paste."""
    both_before(project, sql)
    rebase(project)
    lines = lines_of(project.fails("upgrade"))
    assert ["flask db stamp --purge pet"] == lines
    assert "never ran" not in run_lines(project, *lines, "flask db upgrade", "flask db status")


@on_sqlite
def test_both_heads_of_which_one_was_reverted(project: Project) -> None:
    """At a head and a revision of the other branch, the rest of that branch is missing after a rebase on top of it."""
    add_table(project, "pet", FIRST)
    add_table(project, "toy", FIRST)
    add_table(project, "more", "toy")
    project.ok("upgrade", "heads")
    project.ok("downgrade", "more@-1")
    add_table(project, "pet", "more")
    told = [project.fails(command) for command in ("upgrade", "status", "check")]
    assert [True] * 3 == ["more never ran on this database" in said for said in told]
    lines = lines_of(told[0])
    assert ["flask db stamp --purge toy", "flask db upgrade more", "flask db stamp --purge pet"] == lines
    assert "never ran" not in run_lines(project, *lines, "flask db upgrade", "flask db status")


@on_sqlite
def test_unnoticed_on_stock(rebased: Project, engine: Engine) -> None:
    """The damage: stock reports nothing; the table is missing for good."""
    rebased.make_stock()
    rebased.ok("upgrade")
    assert "toy" not in inspect(engine).get_table_names()
