"""How long `flask db migrate` and `flask db upgrade` take beside stock Flask-Migrate's, where many tables change.

    python -m app.safe_migrations.tests.benchmarks.tables [ROUNDS [BACKEND]]

Each of 300 tables, and of 600, gets another type and an index. The settings are the default ones, except for backups,
which backup.py measures; the review finds nothing that blocks, for the tables are empty. Ours and stock's
run in turns. What counts is the median of the pairs' ratios, and how much longer 600 tables take than 300. Both are of
the processor's time in the command, which on a busy machine says more than the seconds that pass. On PostgreSQL ours
creates each index concurrently, in a revision of its own, and stock all in one, which blocks writes.
"""

import os
import sys
import tempfile
from pathlib import Path
from statistics import median

from ..support import SERVERS, Project, copied
from .upgrade import Databases, compare, run

TABLES = (300, 600)
MODEL = """
class T{number}(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String({length}), index={index})
"""


def models(count: int, length: int, index: bool) -> str:
    """Return the source of ``count`` models, each with a column of that length, indexed or not."""
    head = "import sqlalchemy as sa\nfrom sqlalchemy.orm import Mapped, mapped_column\nfrom app.extensions import db\n"
    return head + "".join(MODEL.format(number=number, length=length, index=index) for number in range(count))


def prepare(folder: Path, stock: bool, count: int) -> Project:
    """Return a project whose history makes ``count`` tables."""
    folder.mkdir()
    project = copied(folder)
    if stock:
        project.make_stock()
    project.environ = {"MIGRATION_BACKUP": "never"}
    for script in project.scripts():
        script.unlink()
    project.write("app/models.py", models(count, 20, index=False))
    project.ok("migrate", "-m", "Make tables", DATABASE_URL=f"sqlite:///{folder / 'empty.db'}")
    return project


def measure_once(project: Project, url: str, count: int) -> tuple[float, float]:
    """Return the processor's seconds that `migrate` and `upgrade` take for a change of each table."""
    project.write("app/models.py", models(count, 40, index=True))
    project.ok("upgrade", DATABASE_URL=url)
    before = set(project.scripts())
    start = processor_seconds()
    run(project, "migrate", "-m", "Change tables", DATABASE_URL=url)
    migrated = processor_seconds()
    run(project, "upgrade", DATABASE_URL=url)
    upgraded = processor_seconds()
    for script in set(project.scripts()) - before:
        script.unlink()
    return migrated - start, upgraded - migrated


def processor_seconds() -> float:
    """Return the processor seconds of all child processes that have ended."""
    used = os.times()
    return used.children_user + used.children_system


def measure(backend: str, folder: Path, rounds: int) -> None:
    """Print the figures of one backend."""
    databases = Databases(backend, folder)
    medians = []
    try:
        for count in TABLES:
            projects = [prepare(folder / f"{name}{count}", name == "stock", count) for name in ("ours", "stock")]
            times: list[list[tuple[float, float]]] = [[], []]
            for turn in range(rounds):
                for which in (0, 1) if turn % 2 else (1, 0):
                    times[which].append(measure_once(projects[which], databases.make(), count))
            for at, command in enumerate(("migrate", "upgrade")):
                ours, stock = ([pair[at] for pair in found] for found in times)
                medians.append(median(ours))
                more = f"{median(ours) / medians[-3]:>8.2f} times {TABLES[0]}" if len(medians) > 2 else ""
                compare(f"{backend}: {command}, {count} tables, {rounds} pairs", ours, stock, more=more)
    finally:
        databases.drop()


def main() -> None:
    """Measure every backend that is configured, or the named one."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    backends = ["sqlite", *(name for name, variable in SERVERS.items() if os.environ.get(variable))]
    print(f"{'median of processor seconds':<44}{'ours':>10}{'stock':>12}{'ratio':>8}")
    for backend in sys.argv[2:] or backends:
        with tempfile.TemporaryDirectory() as folder:
            measure(backend, Path(folder), rounds)


if __name__ == "__main__":
    main()
