"""Fixture: ``project``, a clone to run. Only the project's own CI runs these tests: yours may differ from it."""

import shutil
from pathlib import Path

import pytest

from app.safe_migrations.tests.support import Project, link_package

ROOT = Path(__file__).parents[1]


def cloned(folder: Path) -> Project:
    """Return a clone in ``folder``, with its tests, on SQLite."""
    path = folder / "project"
    ignored = shutil.ignore_patterns("__pycache__", "safe_migrations")
    for name in ("app", "migrations", "tests"):
        shutil.copytree(ROOT / name, path / name, ignore=ignored)
    for name in ("config.py", "wsgi.py", ".flaskenv", ".pytest.ini"):
        shutil.copy(ROOT / name, path / name)
    link_package(path)
    return Project(path, {"MIGRATION_BACKUP": "never", "MIGRATION_REVIEW": "off"})


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Project:
    """Return a clone: on ``database`` in a test that has that fixture, else on SQLite."""
    project = cloned(tmp_path)
    if "database" in request.fixturenames:
        project.environ["DATABASE_URL"] = request.getfixturevalue("database")
    return project
