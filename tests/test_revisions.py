"""Every revision, on every backend: nothing here needs a change when a revision is added."""

from flask import Flask

from app.extensions import db, migrate
from app.safe_migrations.adapters import adapter_of
from app.safe_migrations.rehearsal.runner import Rehearsal


def test_up_down_and_up_again(empty_app: Flask) -> None:
    """Each revision in turn, from base to head: its downgrade gives the schema of before, and it can run again."""
    rehearsal = Rehearsal(migrate.get_config(), adapter_of(db.engine))
    reports = list(rehearsal.run(rehearsal.steps()))
    assert [] == [f"{report.revision}: {fault}" for report in reports for fault in report.faults]
