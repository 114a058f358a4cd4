"""How long a backup of 1,000,000 rows takes beside the bare tool, and how much memory the command needs.

    python -m app.safe_migrations.tests.benchmarks.backup [ROUNDS]

The bare tool writes the same file: SQLite's online backup, pg_dump -Fc, mariadb-dump or mysqldump through gzip -1; then
what verifies it: integrity_check, pg_restore to nowhere, gzip -t. Ours is the command in a process that has started,
for the start of Python says nothing of backups. The two run in turns; what counts is the median of the pairs' ratios.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from flask import Flask
from sqlalchemy import create_engine, make_url, text

from ..example.app.extensions import db
from ..support import SERVERS, Project, copied, make_app
from .upgrade import Databases, compare

ROWS = 1_000_000
DIGITS = ", ".join(f"({' UNION ALL '.join(f'SELECT {n} AS n' for n in range(10))}) d{at}" for at in range(6))
NUMBER = " + ".join(f"d{at}.n * {10**at}" for at in range(6))
FILL = (
    "INSERT INTO pet SELECT i + 1, CONCAT('name of ', i), CONCAT('note on ', i * 7)"
    f" FROM (SELECT {NUMBER} AS i FROM {DIGITS}) n"
)


def fill(url: str, backend: str) -> None:
    """A table with ROWS rows."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE pet (id INTEGER PRIMARY KEY, name VARCHAR(80), note VARCHAR(80))"))
        connection.execute(text(FILL.replace("CONCAT(", "printf('%s%s', ") if backend == "sqlite" else FILL))
    engine.dispose()


def back_up(app: Flask, project: Project) -> None:
    """`flask db backup`, in this process."""
    command = ["db", "backup", "--directory", str(project.path / "migrations")]
    done = app.test_cli_runner().invoke(args=command, catch_exceptions=False)
    assert not done.exit_code, done.output


def bare(url: str, backend: str, file: Path) -> None:
    """The tool alone: write, then verify."""
    parts = make_url(url)
    if backend == "sqlite":
        with closing(sqlite3.connect(str(parts.database))) as source, closing(sqlite3.connect(file)) as target:
            source.backup(target)
            target.execute("PRAGMA integrity_check").fetchall()
        return
    server = [f"--host={parts.host}", f"--port={parts.port}"]
    if backend == "postgresql":
        run = ["pg_dump", *server, "-U", str(parts.username), "-Fc", "-f", str(file), str(parts.database)]
        subprocess.run(run, check=True)
        subprocess.run(["pg_restore", "-f", os.devnull, str(file)], check=True)
        return
    dump = shutil.which("mariadb-dump") or "mysqldump"
    options = f"-u {parts.username} --single-transaction --quick --hex-blob --max-allowed-packet=1G"
    line = f"{dump} {' '.join(server)} {options} {parts.database} | gzip -1 > {file} && gzip -t {file}"
    subprocess.run(["bash", "-o", "pipefail", "-ec", line], check=True)


def timed(run: Callable[..., object], *args: object) -> float:
    """How long ``run(*args)`` takes."""
    start = time.perf_counter()
    run(*args)
    return time.perf_counter() - start


def megabytes(project: Project, command: str) -> int:
    """The memory that `flask db COMMAND` and the programs that it runs need at the most."""
    with project.start("flask", "db", command) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert not process.returncode
    return usage.ru_maxrss // 1024


def measure(backend: str, project: Project, folder: Path, rounds: int) -> None:
    """The figures of one backend."""
    databases = Databases(backend, folder)
    try:
        url = databases.make()
        project.environ = {"DATABASE_URL": url}
        project.ok("upgrade")
        fill(url, backend)
        # Nobody deletes the bare tool's files in its time, either.
        app = make_app(url, MIGRATION_BACKUP_DIR=str(folder / "backups"), MIGRATION_BACKUP_KEEP="1000")
        ours, tool = [], []
        for turn in range(rounds + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                if which:
                    tool.append(timed(bare, url, backend, folder / "bare"))
                    (folder / "bare").unlink()
                else:
                    ours.append(timed(back_up, app, project))
        with app.app_context():
            db.engine.dispose()
        memory = " -> ".join(f"{megabytes(project, command)}" for command in ("current", "backup"))
        compare(f"{backend}: {ROWS} rows, {rounds} pairs", ours[1:], tool[1:], more=f"{memory:>12} MB")
    finally:
        databases.drop()


def main() -> None:
    """Measure every backend that there is."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(f"{'medians':<44}{'ours':>10}{'bare':>12}{'ratio':>8}   memory at rest -> backing up")
    for backend in ("sqlite", *(name for name, variable in SERVERS.items() if os.environ.get(variable))):
        with tempfile.TemporaryDirectory() as folder:
            measure(backend, copied(Path(folder)), Path(folder), rounds)


if __name__ == "__main__":
    main()
