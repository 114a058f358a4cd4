"""How long `flask db upgrade` takes beside stock Flask-Migrate's, as whole processes.

    python -m app.safe_migrations.tests.benchmarks.upgrade [ROUNDS [BACKEND ...]]

Stock is the same app with Flask-Migrate's own commands, env.py and alembic.ini. The two run in turns, and the second
of a pair is once the one and once the other. What counts is the median of the pairs' ratios, for a noisy machine slows
the two of a pair alike; databases are dropped at the end, for servers go on with that in the background. SQLite is
measured always, the others where TEST_MYSQL_URL and TEST_POSTGRESQL_URL name a server. The last column is the ratio of
the time that the processes themselves compute, without the server's.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from uuid import uuid4

from ..support import FIRST, SERVERS, Project, copied, run_on_server, server_url

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


GROWN = '''"""Revision {number}"""
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{down_revision}"


def upgrade():
    {body}


def downgrade():
    raise NotImplementedError("not measured")
'''
# What five revisions in a row do, in a history as projects have it; each five have a table, which refers to the last.
DONE = (
    """op.create_table(
        "t{table}",
        sa.Column("id", sa.Integer(), primary_key=True),
        *(sa.Column(f"text{{n}}", sa.String(80), nullable=n % 2 == 0) for n in range(8)),
        *(sa.Column(f"number{{n}}", sa.Integer(), nullable=False, server_default="0") for n in range(4)),
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("user.id", name="fk_t{table}_user"), nullable=False),
        sa.UniqueConstraint("text0", "number0", name="uq_t{table}"),
    )
    op.create_index("ix_t{table}_text1", "t{table}", ["text1"])
    op.create_index("ix_t{table}_user_id", "t{table}", ["user_id"])""",
    """with op.batch_alter_table("t{table}") as batch_op:
        batch_op.add_column(sa.Column("before_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("note", sa.Text(), nullable=True))
        batch_op.create_foreign_key("fk_t{table}_before", "t{before}", ["before_id"], ["id"])""",
    """with op.batch_alter_table("t{table}") as batch_op:
        batch_op.alter_column("text2", existing_type=sa.String(80), type_=sa.String(120), existing_nullable=True)
        batch_op.alter_column("text3", new_column_name="title", existing_type=sa.String(80), existing_nullable=False)
    op.execute("UPDATE t{table} SET note = 'none' WHERE note IS NULL")""",
    """op.drop_index("ix_t{table}_text1", "t{table}")
    op.create_index("ix_t{table}_title", "t{table}", ["title", "number1"])""",
    """with op.batch_alter_table("t{table}") as batch_op:
        batch_op.drop_column("number3")
        batch_op.drop_column("text7")""",
)


def lengthen(project: Project) -> None:
    """Give the history REVISIONS in all, each of which makes a table."""
    _write(project, REVISIONS, lambda number: SCRIPT)


def grow(project: Project) -> None:
    """Give the history 101 revisions with what DONE has."""

    def script(number: int) -> str:
        table, turn = divmod(number - 1, len(DONE))
        body = DONE[turn].format(table=table, before=max(0, table - 1))
        return GROWN.replace("{body}", body.replace("{", "{{").replace("}", "}}"))

    _write(project, 101, script)


def _write(project: Project, revisions: int, script: Callable[[int], str]) -> None:
    for old in project.scripts()[1:]:
        old.unlink()
    down_revision = FIRST
    for number in range(1, revisions):
        revision = f"r{number:04}"
        text = script(number).format(number=number, revision=revision, down_revision=down_revision)
        project.write(f"migrations/versions/{revision}.py", text)
        down_revision = revision


def run(project: Project, *args: str, **environ: str) -> None:
    """Run ``flask db ARGS`` in a process of its own, so that its time includes that of loading the package."""
    command = [sys.executable, "-m", "flask", "db", *args]
    known = {"PATH": os.environ["PATH"], **project.environ, **environ}
    subprocess.run(command, cwd=project.path, env=known, check=True, capture_output=True)


def seconds(project: Project, url: str) -> float:
    """How long `flask db upgrade` takes."""
    return cost(project, url)[0]


def cost(project: Project, url: str, *options: str) -> tuple[float, float]:
    """Return the seconds that `flask db OPTIONS upgrade` takes in a process of its own, and its processor seconds."""
    start, computed = time.perf_counter(), _computed()
    run(project, *options, "upgrade", DATABASE_URL=url)
    return time.perf_counter() - start, _computed() - computed


def _computed() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


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


Times = list[tuple[float, float]]


def compare_both(label: str, ours: Times, stock: Times) -> None:
    """Compare the seconds, with the ratio of those that the processes compute."""
    computed = median(one / other for (_, one), (_, other) in zip(ours, stock, strict=True))
    compare(label, [one for one, _ in ours], [one for one, _ in stock], more=f"{computed:>8.3f}")


def compare(label: str, ours: list[float], stock: list[float], *, more: str = "") -> None:
    """Print the medians, the median of the pairs' ratios, and what else there is."""
    ratio = median(one / other for one, other in zip(ours, stock, strict=True))
    print(f"{label:<44}{median(ours):>8.3f} s{median(stock):>10.3f} s{ratio:>8.3f}{more}", flush=True)


def measure(backend: str, projects: list[Project], folder: Path, rounds: int) -> None:
    """Print the figures of one backend; ``projects`` are ours and stock's."""
    databases = Databases(backend, folder)
    try:
        url = databases.make()
        times: list[Times] = [[], []]
        seconds(projects[0], url)
        for turn in range(rounds + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                times[which].append(cost(projects[which], url))
        compare_both(f"{backend}: nothing to do, {rounds} pairs", *(found[1:] for found in times))

        rounds = max(2, rounds // 10 * 2)  # even: each goes first as often as the other
        for write, what in ((lengthen, f"{REVISIONS} small revisions"), (grow, "101 revisions")):
            for project in projects:
                write(project)
            times = [[], []]
            for turn in range(rounds):
                for which in (0, 1) if turn % 2 else (1, 0):
                    times[which].append(cost(projects[which], databases.make()))
            compare_both(f"{backend}: {what} from empty, {rounds} pairs", *times)
    finally:
        databases.drop()


def main() -> None:
    """Measure every backend that there is."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    print(f"{'median of whole processes':<44}{'ours':>10}{'stock':>12}{'ratio':>8}{'CPU':>8}")
    chosen = sys.argv[2:] or ("sqlite", *(name for name, variable in SERVERS.items() if os.environ.get(variable)))
    for backend in chosen:
        with tempfile.TemporaryDirectory() as folder:
            projects = []
            for name in ("ours", "stock"):
                (Path(folder) / name).mkdir()
                projects.append(copied(Path(folder) / name))
            projects[1].make_stock()
            measure(backend, projects, Path(folder), rounds)


if __name__ == "__main__":
    main()
