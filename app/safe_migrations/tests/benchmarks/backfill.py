"""How long op.backfill() of 1,000,000 rows takes beside one UPDATE, and how long a writer of single rows waits.

    python -m app.safe_migrations.tests.benchmarks.backfill [ROWS [BACKEND ...]]

Both run as a revision, in a process of their own, on a table that was filled again; what counts is the time of the
operation. Then they run again while a second session changes one row after the other, chosen at random. At last the
backfill is killed 20 times at random moments, and run again each time: every row has to be changed exactly once.
"""

import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from ..support import FIRST, SERVERS, Project, copied, revision
from .upgrade import Databases

ROWS = 1_000_000
KILLS = 20
DIGITS = ", ".join(f"({' UNION ALL '.join(f'SELECT {n} AS n' for n in range(10))}) d{at}" for at in range(6))
NUMBER = " + ".join(f"d{at}.n * {10**at}" for at in range(6))
TABLE = "CREATE TABLE item (id INTEGER PRIMARY KEY, email VARCHAR(80), n INTEGER, seen INTEGER)"
FILL = (
    "INSERT INTO item SELECT i + 1, CONCAT('User', i, '@Example.com'), 0, 0"
    f" FROM (SELECT {NUMBER} AS i FROM {DIGITS}) n"
)
TIMED = (
    "import time, pathlib\nbegun = time.monotonic()\n{}\n"
    "pathlib.Path('seconds').write_text(str(time.monotonic() - begun))"
)
WAYS = {
    "one UPDATE": "op.execute('UPDATE item SET email = lower(email), n = n + 1')",
    "op.backfill()": "op.backfill('item', {'email': sa.func.lower(sa.column('email')), 'n': sa.column('n') + 1})",
}


def fill(url: str, backend: str, rows: int) -> None:
    """Create the table again, with this number of rows."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS item"))
        connection.execute(text(TABLE))
        sql = FILL.replace("CONCAT('User', i, '@Example.com')", "'User' || i") if backend == "sqlite" else FILL
        connection.execute(text(f"{sql} WHERE i < {rows}"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE TABLE item" if backend == "mysql" else "ANALYZE item"))
    engine.dispose()


@contextmanager
def writing(url: str, rows: int) -> Iterator[list[float]]:
    """Inside the block, change single rows in a second session; yield how many seconds each change took."""
    waits: list[float] = []
    ended = Event()

    def run() -> None:
        engine = create_engine(url)
        while not ended.is_set():
            begun = time.monotonic()
            try:
                with engine.begin() as connection:
                    statement = text("UPDATE item SET seen = seen + 1 WHERE id = :id")
                    connection.execute(statement, {"id": random.randint(1, rows)})
            except OperationalError:  # a lock time-out
                pass
            waits.append(time.monotonic() - begun)
            time.sleep(0.002)
        engine.dispose()

    thread = Thread(target=run)
    thread.start()
    try:
        yield waits
    finally:
        ended.set()
        thread.join()


def upgraded(project: Project, body: str) -> float:
    """Run a revision with that body, in a process of its own, and return the seconds that it took."""
    project.write(*revision("b1", FIRST, TIMED.format(body)))
    done = project.run("flask", "db", "upgrade")
    assert done.returncode == 0, done.stderr
    project.ok("stamp", FIRST)
    return float((project.path / "seconds").read_text())


def measure(backend: str, project: Project, folder: Path, rows: int) -> None:
    """Print the figures of one backend."""
    databases = Databases(backend, folder)
    try:
        url = databases.make()
        project.environ = {"DATABASE_URL": url, "MIGRATION_BACKUP": "never", "MIGRATION_REVIEW": "off"}
        project.ok("upgrade")
        times = {}
        for name, body in WAYS.items():
            fill(url, backend, rows)
            times[name] = upgraded(project, body)
            fill(url, backend, rows)
            with writing(url, rows) as waits:
                upgraded(project, body)
            waits.sort()
            shown = (
                f"{statistics.median(waits) * 1e3:>9.1f} ms{waits[int(len(waits) * 0.99)]:>9.3f} s{waits[-1]:>9.3f} s"
            )
            print(f"{backend + ': ' + name:<28}{times[name]:>8.1f} s{shown}", flush=True)
        ratio = times["op.backfill()"] / times["one UPDATE"]
        few, all_ = (memory(project, url, backend, count) for count in (rows // 10, rows))
        print(f"{backend}: ratio {ratio:.2f}; {few} MB for a tenth of the rows, {all_} MB for all", flush=True)
        if backend != "sqlite":
            killed(project, url, backend, rows, times["op.backfill()"])
    finally:
        databases.drop()


def memory(project: Project, url: str, backend: str, rows: int) -> int:
    """Return the memory in MB that the backfill of this number of rows needs."""
    fill(url, backend, rows)
    peak = "import pathlib, resource\n{}\n"
    peak += "pathlib.Path('peak').write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))"
    upgraded(project, peak.format(WAYS["op.backfill()"]))
    return int((project.path / "peak").read_text()) // 1024


def killed(project: Project, url: str, backend: str, rows: int, seconds: float) -> None:
    """Kill the backfill KILLS times, run it to its end, and count the rows by how often they were changed."""
    fill(url, backend, rows)
    project.write(*revision("b1", FIRST, WAYS["op.backfill()"]))
    begun = 0
    for _ in range(KILLS):
        with project.start("flask", "db", "upgrade") as process:
            for line in process.stderr:
                if "Running upgrade" in line:
                    break
            time.sleep(random.uniform(0, seconds / KILLS * 1.5))
            begun += process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.wait()
    project.ok("upgrade")
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT n, count(*) FROM item GROUP BY n")).all()
    engine.dispose()
    print(
        f"{backend}: after {begun} kills: " + ", ".join(f"{count} rows changed {n} times" for n, count in found),
        flush=True,
    )
    assert [tuple(row) for row in found] == [(1, rows)]


def main() -> None:
    """Measure every backend that there is."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    print(f"{'':<28}{'time':>10}{'median wait':>12}{'99 %':>11}{'longest':>11}")
    for backend in sys.argv[2:] or (
        "sqlite",
        *(name for name, variable in SERVERS.items() if os.environ.get(variable)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            measure(backend, copied(Path(folder)), Path(folder), rows)


if __name__ == "__main__":
    main()
