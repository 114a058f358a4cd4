"""How long the processor needs to review 1,000 revisions, and to load them, in one process.

    python -m app.safe_migrations.tests.benchmarks.review [ROUNDS]

Loading is what any command does with a history: read and run each script, and link them. The limit for the review is
twice that. The last lines are upgrades of one revision on SQLite, with the review and without, whose limit is 0.1
seconds more; the one with raw SQL loads the parser of SQL.
"""

import gc
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from alembic.script import ScriptDirectory

from ...adapters.products import FACTS
from ...review.reviewer import review_revisions
from ..example.app.extensions import migrate
from ..support import FIRST, copied, make_app, revision
from .upgrade import cost, lengthen

OPERATION = "op.add_column('user', sa.Column('n', sa.Text()))", "op.drop_column('user', 'n')"
SQL = tuple(f"""op.execute("UPDATE user SET email = '{new}' WHERE email = '{old}'")""" for new, old in ("ab", "ba"))


def measure_upgrade(folder: Path, rounds: int) -> None:
    """Print the processor seconds of an upgrade of one revision, with the review and without."""
    project, url = copied(folder), f"sqlite:///{folder / 'one.db'}"
    project.ok("upgrade", DATABASE_URL=url)
    for what, bodies in (("operation", OPERATION), ("raw SQL", SQL)):
        project.write(*revision("r1", FIRST, *bodies))
        times: dict[str, list[float]] = {"enforce": [], "off": []}
        for _ in range(rounds):
            for review, found in times.items():
                found.append(cost(project, url, "-x", f"review={review}")[1])
                project.ok("downgrade", FIRST, DATABASE_URL=url)
        reviewed, plain = map(median, times.values())
        print(f"{what:<12}{plain:>8.3f} s unreviewed{reviewed - plain:>8.3f} s more")


def main() -> None:
    """Measure each product, and an upgrade of one revision."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder, make_app("sqlite://").app_context():
        project = copied(Path(folder))
        lengthen(project)
        config = migrate.get_config(str(project.path / "migrations"))
        for product, facts in FACTS.items():
            loading, reviewing = [], []
            for _ in range(rounds):
                gc.collect()  # what the last round left
                gc.freeze()  # as each command does
                start = time.process_time()
                history = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
                loaded = time.process_time()
                review_revisions(history, {script.revision for script in history}, facts())
                loading.append(loaded - start)
                reviewing.append(time.process_time() - loaded)
            ratio = median(reviewing) / median(loading)
            print(f"{product:<12}{median(loading):>8.3f} s to load{median(reviewing):>8.3f} s to review{ratio:>8.2f}")
    with tempfile.TemporaryDirectory() as folder:
        measure_upgrade(Path(folder), rounds)


if __name__ == "__main__":
    main()
