"""What a command does grows with the number of tables that change, not with its square."""

import cProfile
import pstats

from .benchmarks.tables import models
from .support import Models

SIZES = (1, 2, 6, 10)


def calls(project: Models, *command: str) -> int:
    """Return how many calls ``flask db COMMAND`` makes, of functions and so of queries: the same on a busy machine."""
    with cProfile.Profile() as profile:
        project.ok(*command, MIGRATION_REVIEW="enforce")
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def test_calls_grow_with_the_tables_that_change(empty: Models) -> None:
    """4 tables more, each with another type and a new index, cost the same whether 2 or 6 change already."""
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
