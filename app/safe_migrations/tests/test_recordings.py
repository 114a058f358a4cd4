"""A command runs each function of a script, besides the real run, at most once for each product."""

from collections import Counter
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from ..review import recorder
from .support import FIRST, Project, on_sqlite, revision

ADD = "op.add_column('user', sa.Column('age', sa.Integer()))"
DROP = "op.drop_column('user', 'age')"
ASSURED = 'safety_assured = {"drop-column": "it is new"}'
COMMANDS = {
    "upgrade": ["-x", "backup=risky", "-x", "review=warn", "upgrade"],
    "downgrade": ["-x", "backup=risky", "-x", "review=warn", "downgrade", FIRST],
    "review": ["review"],
    "review of all, for two products": ["review", "--all", "--target", "mysql,postgresql"],
    "status": ["-x", "review=warn", "status"],
    "rehearse": ["rehearse"],
    "migrate": ["-x", "targets=mysql,postgresql", "-x", "review=warn", "migrate", "-m", "Drop both"],
}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, ...]]:
    """Count the recordings of each script, direction and product."""
    found: Counter[tuple[str, ...]] = Counter()
    record = recorder.Recorder.record

    def counting(self: recorder.Recorder, script: object, direction: str, *more: object) -> recorder.Recording:
        found[script.revision, direction, self.product] += 1  # type: ignore[attr-defined]
        return record(self, script, direction, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(recorder.Recorder, "record", counting)
    return found


@on_sqlite
@pytest.mark.parametrize("command", COMMANDS)
def test_once(
    database: str, upgraded: Project, app_on: Callable[[str], Flask], counted: Counter[tuple[str, ...]], command: str
) -> None:
    """Review, requirements, losses, the backup and generated scripts share one recording."""
    upgraded.write(*revision("a1", FIRST, ADD, DROP, more=ASSURED))
    upgraded.write(*revision("b1", "a1", ADD.replace("age", "size"), DROP.replace("age", "size")))
    if command in ("downgrade", "migrate"):
        upgraded.ok("upgrade")
    done = FlaskCliRunner(app_on(database)).invoke(
        args=["db", "-d", str(upgraded.path / "migrations"), *COMMANDS[command]]
    )
    assert done.exit_code in (0, 1), done.output
    assert counted or command == "rehearse"
    assert set(counted.values()) <= {1}, counted
