"""What a command does grows with the number of tables that change, not with its square."""

import pstats

import pytest

from .benchmarks.tables import models
from .support import Project

SIZES = (4, 16, 28)
REVIEWED = {"MIGRATION_REVIEW": "enforce"}


def calls(project: Project, *command: str) -> int:
    """Return how many calls ``flask db COMMAND`` makes, of functions and so of queries: the same on a busy machine."""
    file = project.path / "calls"
    done = project.run("cProfile", "-o", str(file), "-m", "flask", "db", *command, **REVIEWED)
    assert not done.returncode, done.stderr
    return int(pstats.Stats(str(file)).total_calls)  # type: ignore[attr-defined]


def test_calls_grow_with_the_tables_that_change(project: Project, database: str) -> None:
    """12 tables more, each with another type and a new index, cost the same whether 4 or 16 change already."""
    found: dict[str, list[int]] = {"migrate": [], "upgrade": []}
    for size in SIZES:
        for script in project.scripts():
            script.unlink()
        project.write("app/models.py", models(size, 20, index=False))
        project.ok("migrate", "-m", "Make tables")
        project.ok("upgrade")
        project.write("app/models.py", models(size, 40, index=True))
        found["migrate"].append(calls(project, "migrate", "-m", "Change tables"))
        found["upgrade"].append(calls(project, "upgrade"))
        project.ok("downgrade", "base")
    growth = {command: (c - b) / (b - a) for command, (a, b, c) in found.items()}
    assert growth == pytest.approx({"migrate": 1, "upgrade": 1}, abs=0.05)
