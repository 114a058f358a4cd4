"""How long `flask db upgrade` takes beside stock Flask-Migrate's, as whole processes.

    python -m tests.benchmarks.upgrade [ROUNDS]

Stock is the same app with Flask-Migrate's own commands, env.py and alembic.ini. The two run in turns, and the second
of a pair is once the one and once the other. What counts is the median of the pairs' ratios, for a noisy machine slows
the two of a pair alike; databases are dropped at the end, for servers go on with that in the background. SQLite is
measured always, the others where TEST_MYSQL_URL and TEST_POSTGRESQL_URL name a server.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from uuid import uuid4

from tests.conftest import SERVERS, Project, copied, run_on_server, server_url

REVISIONS = 1000
SCRIPT = '''"""Revision {number}"""
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"


def upgrade():
    op.create_table("t{number}", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade():
    op.drop_table("t{number}")
'''


def lengthen(project: Project) -> None:
    """Give the history REVISIONS in all, each of which makes a table."""
    down_revision = project.scripts()[-1].name.split("_")[2]
    for number in range(1, REVISIONS):
        revision = f"r{number:04}"
        text = SCRIPT.format(number=number, revision=revision, down_revision=down_revision)
        project.write(f"migrations/versions/{revision}.py", text)
        down_revision = revision


def seconds(project: Project, url: str) -> float:
    """How long `flask db upgrade` takes."""
    start = time.perf_counter()
    project.ok("upgrade", DATABASE_URL=url)
    return time.perf_counter() - start


class Databases:
    """Makes empty databases of one backend, and drops them."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.server = server_url(backend) if backend in SERVERS else None
        self.folder = folder
        self.names: list[str] = []

    def make(self) -> str:
        """The URL of a new one."""
        name = f"bench_{uuid4().hex}"
        self.names.append(name)
        if self.server is None:
            return f"sqlite:///{self.folder / name}.db"
        run_on_server(self.server, f"CREATE DATABASE {name}")
        return self.server.set(database=name).render_as_string(hide_password=False)

    def drop(self) -> None:
        """Drop all that were made."""
        if self.server is not None:
            run_on_server(self.server, *(f"DROP DATABASE {name}" for name in self.names))
        self.names.clear()


def compare(label: str, ours: list[float], stock: list[float], *, more: str = "") -> None:
    """Print the medians, the median of the pairs' ratios, and what else there is."""
    ratio = median(one / other for one, other in zip(ours, stock, strict=True))
    print(f"{label:<44}{median(ours):>8.3f} s{median(stock):>10.3f} s{ratio:>8.3f}{more}", flush=True)


def measure(backend: str, projects: list[Project], folder: Path, rounds: int) -> None:
    """The two figures of one backend; ``projects`` are ours and stock's."""
    databases = Databases(backend, folder)
    try:
        url = databases.make()
        times: list[list[float]] = [[], []]
        seconds(projects[0], url)
        for turn in range(rounds + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                times[which].append(seconds(projects[which], url))
        compare(f"{backend}: nothing to do, {rounds} pairs", *(found[1:] for found in times))

        for project in projects:
            lengthen(project)
        times, rounds = [[], []], max(2, rounds // 10 * 2)  # even: each goes first as often as the other
        for turn in range(rounds):
            for which in (0, 1) if turn % 2 else (1, 0):
                times[which].append(seconds(projects[which], databases.make()))
        compare(f"{backend}: {REVISIONS} revisions from empty, {rounds} pairs", *times)
    finally:
        databases.drop()


def main() -> None:
    """Measure every backend that there is."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(f"{'median of whole processes':<44}{'ours':>10}{'stock':>12}{'ratio':>8}")
    for backend in ("sqlite", *(name for name, variable in SERVERS.items() if os.environ.get(variable))):
        with tempfile.TemporaryDirectory() as folder:
            projects = []
            for name in ("ours", "stock"):
                (Path(folder) / name).mkdir()
                projects.append(copied(Path(folder) / name))
            projects[1].make_stock()
            measure(backend, projects, Path(folder), rounds)


if __name__ == "__main__":
    main()
