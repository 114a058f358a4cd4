"""`flask db status`: where the database is, with an exit status for scripts."""

import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import Engine, inspect

from ..database import Database
from ..histories.unversioned import unversioned_error
from ..review.recorder import Recordings
from .example.app.extensions import db, migrate
from .support import FIRST, Project, Sql, on_sqlite, revision

pytestmark = pytest.mark.usefixtures("database")


def lines(project: Project, ends: int) -> dict[str, str]:
    """Return what the status says, by the first word; assert that its exit status is ``ends``."""
    done = project.db("status")
    assert (ends, "") == (done.returncode, done.stderr)
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines())


def test_status(project: Project, backend: str, engine: Engine, sql: Sql) -> None:
    """Behind, at head, at head with models that differ, and ahead. An empty database stays empty."""
    behind = lines(project, 1)
    assert [] == inspect(engine).get_table_names()
    assert ("base", FIRST, f"{FIRST}, Add User Model") == (behind["revision"], behind["head"], behind["pending"])
    assert behind["database"].startswith(backend)

    project.ok("upgrade")
    at_head = lines(project, 0)
    assert (FIRST, FIRST, "agree with the database") == (at_head["revision"], at_head["head"], at_head["models"])
    assert "pending" not in at_head
    assert "Detected sequence" not in project.ok("check")

    with (project.path / "app" / "models.py").open("a") as models:
        models.write("\n    age: Mapped[int | None]\n")
    assert "differ from the database: add_column user.age" == lines(project, 0)["models"]

    sql("UPDATE alembic_version SET version_num = 'later'")
    assert "later has no script in " in lines(project, 1)["ahead"]


def test_upgrade_that_ends_meanwhile(upgraded_app: Flask) -> None:
    """A status that has read the revision before the tables reads it again, before it says that there is none."""
    with upgraded_app.app_context(), db.engine.connect() as connection:
        script = ScriptDirectory(migrate.directory).get_revision(FIRST)
        assert unversioned_error([script], Database(connection), Recordings()) is None


@on_sqlite
def test_at_head_of_branches_that_depend(project: Project) -> None:
    """A head that depends on another implies it: nothing is pending, though alembic_version omits it."""
    project.write(*revision("a1", FIRST, "pass"))
    project.write(*revision("p1", (), "pass", more='branch_labels = ("plugin",)\ndepends_on = "a1"'))
    project.ok("upgrade", "a1")
    assert "p1" == lines(project, 1)["pending"]
    project.ok("upgrade", "heads")
    assert ("p1", "agree with the database") == (lines(project, 0)["revision"], lines(project, 0)["models"])
    project.ok("check")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_not_compared(project: Project) -> None:
    """At head the status says what it does not compare, with the options of Migrate() that compare less."""
    project.ok("upgrade")
    checks, others = "conditions of CHECKs, CHECKs without a name", "sequences, views, triggers, other schemas"
    assert f"not compared: primary keys, {checks}, {others}\n" in project.ok("status")
    project.configure("compare_server_default=False, autogenerate_plugins=['alembic.autogenerate.*']")
    less = "CHECKs, server defaults, generated columns"
    assert f"not compared: primary keys, {less}, {others}\n" in project.ok("status")
