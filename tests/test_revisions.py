"""Every revision, on every backend: nothing here needs a change when a revision is added."""

from pathlib import Path

from flask import Flask

from app.extensions import db, migrate
from app.safe_migrations.adapters import adapter_of
from app.safe_migrations.rehearsal.runner import Rehearsal


def test_up_down_and_up_again(empty_app: Flask) -> None:
    """Each revision in turn, from base to head: its downgrade gives the schema of before, and it can run again.

    So does each revision in the folder of a bind, on SQLite.
    """
    for ini in sorted(Path(migrate.directory).glob("**/alembic.ini")):
        config = migrate.get_config(ini.parent)
        rehearsal = Rehearsal(config, adapter_of(db.engines[config.get_main_option("bind")]))
        reports = list(rehearsal.run(rehearsal.steps()))
        assert [] == [f"{report.revision}: {fault}" for report in reports for fault in report.faults]
