"""How long a review of 1,000 revisions takes beside loading them, in one process.

    python -m app.safe_migrations.tests.benchmarks.review [ROUNDS]

Loading is what any command does with a history: read and run each script, and link them. The limit is 3 times that.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from alembic.script import ScriptDirectory

from ...adapters.products import FACTS
from ...review.recorder import Recordings
from ...review.reviewer import review_revisions
from ..example.app.extensions import migrate
from ..support import copied, make_app
from .upgrade import lengthen


def main() -> None:
    """Measure each product."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder, make_app("sqlite://").app_context():
        project = copied(Path(folder))
        lengthen(project)
        config = migrate.get_config(str(project.path / "migrations"))
        for product, facts in FACTS.items():
            loading, reviewing = [], []
            for _ in range(rounds):
                start = time.perf_counter()
                history = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
                loaded = time.perf_counter()
                review_revisions(history, {script.revision for script in history}, facts(), Recordings())
                loading.append(loaded - start)
                reviewing.append(time.perf_counter() - loaded)
            ratio = (median(loading) + median(reviewing)) / median(loading)
            print(f"{product:<12}{median(loading):>8.3f} s to load{median(reviewing):>8.3f} s more{ratio:>8.2f}")


if __name__ == "__main__":
    main()
