"""How long a rebuild of a SQLite table with 1,000,000 rows takes beside stock Flask-Migrate's, as whole processes.

python -m app.safe_migrations.tests.benchmarks.rebuild [ROUNDS]
"""

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from ..support import FIRST, Project, copied, revision
from .upgrade import compare, seconds

ROWS = 1_000_000
TABLE = """op.execute('CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)')
op.create_index('ix', 'pet', ['name'])"""
CHANGE = "with op.batch_alter_table('pet') as batch:\n    batch.alter_column('age', type_=sa.BigInteger())"


def prepared(folder: Path, stock: bool) -> Project:
    """A project whose next revision changes a type in a table with ROWS rows, and its database."""
    folder.mkdir()
    project = copied(folder)
    if stock:
        project.make_stock()
    project.write(*revision("a1", FIRST, TABLE))
    url = f"sqlite:///{folder / 'full.db'}"
    seconds(project, url)
    with closing(sqlite3.connect(folder / "full.db")) as connection, connection:
        rows = ((f"name {number}", number) for number in range(ROWS))
        connection.executemany("INSERT INTO pet (name, age) VALUES (?, ?)", rows)
    project.write(*revision("b1", "a1", CHANGE))
    return project


def main() -> None:
    """Measure."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as folder:
        projects = [prepared(Path(folder) / name, name == "stock") for name in ("ours", "stock")]
        times: list[list[float]] = [[], []]
        for turn in range(rounds):
            for which in (0, 1) if turn % 2 else (1, 0):
                database = projects[which].path / "run.db"
                shutil.copy(projects[which].path.parent / "full.db", database)
                times[which].append(seconds(projects[which], f"sqlite:///{database}"))
        compare(f"sqlite: a type in {ROWS} rows, {rounds} pairs", *times)


if __name__ == "__main__":
    main()
