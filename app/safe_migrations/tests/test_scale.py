"""What a command does grows with the number of tables that change, not with its square; and what a revision costs."""

import cProfile
import gc
import pstats
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, event

from ..commands import command
from .benchmarks.tables import models
from .support import FIRST, Models, Project, revision

SIZES = (1, 1, 3, 5)


def calls(project: Models, *command: str) -> int:
    """Return how many calls ``flask db COMMAND`` makes, of functions and so of queries: the same on a busy machine."""
    with cProfile.Profile() as profile:
        project.ok(*command, MIGRATION_REVIEW="enforce")
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def test_calls_grow_with_the_tables_that_change(empty: Models) -> None:
    """2 tables more, each with another type and a new index, cost the same whether 1 or 3 change already."""
    found: dict[str, list[int]] = {"migrate": [], "upgrade": []}
    for size in SIZES:  # the first run imports modules and fills caches, and does not count
        for script in empty.scripts():
            script.unlink()
        empty.become(models(size, 20, index=False))
        empty.models(models(size, 40, index=True))
        found["migrate"].append(calls(empty, "migrate", "-m", "Change tables"))
        found["upgrade"].append(calls(empty, "upgrade"))
        empty.ok("downgrade", "base")
    growth = {command: (c - b) / (b - a) for command, (_, a, b, c) in found.items()}
    assert {} == {command: factor for command, factor in growth.items() if factor > 1.05}


ONE_TRANSACTION = ["CREATE TABLE", "UPDATE alembic_version", "INSERT INTO _migration_log"]
STATEMENTS = {
    "sqlite": (ONE_TRANSACTION, ONE_TRANSACTION),
    "mysql": ([*ONE_TRANSACTION, "REPLACE INTO _migration_journal"],) * 2,  # the next CREATE TABLE commits
    "postgresql": (ONE_TRANSACTION, [*ONE_TRANSACTION, "SELECT true", "commit", "SET LOCAL"]),
}
"""What a revision with one CREATE TABLE runs, in a run that begins with an empty database, and in a later one."""


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Yield a list, to which each statement that runs in the block is added, and each commit."""
    found: list[str] = []

    def on_statement(_connection: Connection, _cursor: object, statement: str, *_others: object) -> None:
        found.append(statement.strip())

    def on_commit(_connection: Connection) -> None:
        found.append("commit")

    event.listen(Engine, "before_cursor_execute", on_statement)
    event.listen(Engine, "commit", on_commit)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", on_statement)
        event.remove(Engine, "commit", on_commit)


def different(expected: list[str], found: list[str]) -> list[tuple[str, str]]:
    """Return those of ``found`` that do not have the text that is expected there."""
    assert len(expected) == len(found), found
    return [(one, other) for one, other in zip(expected, found, strict=True) if one not in other]


@pytest.mark.parametrize("run", ["first", "later"])
def test_statements_of_a_revision(run: str, project: Project, database: str, backend: str) -> None:
    """A revision runs its own statement, Alembic's and that of the log; more only where a guarantee needs it."""
    before = FIRST
    for number in range(6):
        if number == 3 and run == "later":
            project.ok("upgrade")
        create = f"op.create_table('t{number}', sa.Column('id', sa.Integer(), primary_key=True))"
        project.write(*revision(f"r{number}", before, create, f"op.drop_table('t{number}')"))
        before = f"r{number}"
    with recorded() as found:
        project.ok("upgrade")
    start, end = (found.index(next(each for each in found if f"TABLE t{number} " in each)) for number in (4, 5))
    expected = STATEMENTS[backend if backend in STATEMENTS else "mysql"][run == "later"]
    assert [] == different(expected, found[start:end])


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_statements_after_set(project: Project, database: str) -> None:
    """A SET of what the journal's own statements do not depend on adds nothing to later ones; nor does a new name."""
    statements = (
        "SET SESSION foreign_key_checks = 0",
        "CREATE TABLE a (id INTEGER PRIMARY KEY)",
        "CREATE VIEW v AS SELECT id FROM a",
        "SET SESSION foreign_key_checks = 1",
    )
    project.write(*revision("a1", FIRST, "\n".join(f"op.execute({each!r})" for each in statements)))
    with recorded() as found:
        project.ok("upgrade")
    start, end = (found.index(f"SET SESSION foreign_key_checks = {number}") for number in (0, 1))
    expected = ["REPLACE INTO _migration_journal", "CREATE TABLE a", "REPLACE INTO _migration_journal", "CREATE VIEW v"]
    assert [] == different(expected, found[start + 1 : end])


def test_collections(project: Project) -> None:
    """In a process that has run a command, the garbage collector passes by the app and its packages."""
    gc.unfreeze()  # as conftest.py has frozen them
    command._freeze_loaded_objects.cache_clear()
    project.ok("current")
    assert gc.get_freeze_count() > 100_000
