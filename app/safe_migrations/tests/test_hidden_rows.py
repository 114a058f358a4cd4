"""A table whose rows PostgreSQL's row-level security hides from the app's user counts as one with rows."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import URL, Engine, inspect, text

from ..adapters import adapter_of
from ..rehearsal.runner import Rehearsal
from .example.app.extensions import db, migrate
from .support import FIRST, Project, Sql, on_postgresql, revision

pytestmark = on_postgresql
DROP = ("op.drop_column('doc', 'body')", "op.add_column('doc', sa.Column('body', sa.Text()))")
ASSURED = 'safety_assured = {"drop-column": "nobody reads it since May"}'


@pytest.fixture
def tenant(project: Project, owner: URL, sql: Sql) -> Project:
    """Return a project whose user owns the table doc and sees none of its rows: no tenant is set."""
    sql(f"GRANT ALL ON SCHEMA public TO {owner.username}")
    project.environ["DATABASE_URL"] = owner.render_as_string(hide_password=False)
    project.ok("upgrade")
    sql(
        "CREATE TABLE doc (id INTEGER NOT NULL PRIMARY KEY, tenant INTEGER NOT NULL, body TEXT)",
        f"ALTER TABLE doc OWNER TO {owner.username}",
        "INSERT INTO doc VALUES (1, 7, 'one'), (2, 8, 'two')",
        "ALTER TABLE doc ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE doc FORCE ROW LEVEL SECURITY",
        "CREATE POLICY own ON doc USING (tenant = current_setting('app.tenant', true)::integer)",
    )
    return project


def bodies(engine: Engine) -> list[str] | None:
    """Return the column's values as an administrator sees them; None if the column does not exist."""
    if "body" not in [column["name"] for column in inspect(engine).get_columns("doc")]:
        return None
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT body FROM doc ORDER BY id")))


def test_stock_loses_them(tenant: Project, engine: Engine) -> None:
    """The damage: without this package the values are gone."""
    tenant.write(*revision("b1", FIRST, *DROP))
    tenant.make_stock()
    tenant.ok("upgrade")
    assert bodies(engine) is None


def test_review_blocks(tenant: Project, engine: Engine) -> None:
    """A finding that blocks on a table with rows also blocks if the rows are hidden."""
    tenant.write(*revision("b1", FIRST, *DROP))
    done = tenant.db("upgrade", MIGRATION_REVIEW="enforce")
    assert (1, True) == (done.returncode, "(drop-column)" in done.stderr), done.stderr
    assert ["one", "two"] == bodies(engine)


def test_backup_has_them(tenant: Project, engine: Engine, owner: URL, sql: Sql) -> None:
    """A run does not skip the backup because the database looks empty, and no backup lacks rows."""
    tenant.write(*revision("b1", FIRST, *DROP, more=ASSURED))
    for command in ("upgrade", "backup"):
        done = tenant.db(command, MIGRATION_REVIEW="enforce", MIGRATION_BACKUP="always")
        assert (1, True, False) == (done.returncode, "row-level security" in done.stderr, "Traceback" in done.stderr)
        assert ["one", "two"] == bodies(engine)
    line = f'ALTER ROLE "{owner.username}" BYPASSRLS;'
    assert f"    {line}\n" in done.stderr
    sql(line)
    assert "Wrote backup " in tenant.ok("upgrade", MIGRATION_REVIEW="enforce", MIGRATION_BACKUP="always")
    assert bodies(engine) is None
    (file,) = (tenant.path / "instance" / "backups").glob("*.pgdump")
    tenant.ok("restore", str(file), "--yes", MIGRATION_BACKUP="never")
    assert ["one", "two"] == bodies(engine)


def test_downgrade_tells(tenant: Project) -> None:
    """A downgrade that deletes hidden rows says so, though it cannot count them."""
    tenant.write(*revision("b1", FIRST, "pass", DROP[0]))
    tenant.ok("upgrade")
    said = tenant.ok("downgrade", MIGRATION_REVIEW="warn")
    assert "The downgrade deletes an unknown number of rows or values of table doc, because row-level security" in said


def test_rehearsal_counts_them(tenant: Project, app_on: Callable[[str], Flask]) -> None:
    """A rehearsal sees all rows that a revision deletes, and does not change the policies."""
    tenant.write(*revision("b1", FIRST, *DROP))
    with app_on(tenant.environ["DATABASE_URL"]).app_context():
        rehearsal = Rehearsal(migrate.get_config(str(tenant.path / "migrations")), adapter_of(db.engine))
        (report,) = rehearsal.run(rehearsal.steps())
    assert (2, True) == (report.before, "doc.body, which has 2 values" in report.faults[0]), report.faults


def test_rehearsal_copies_them(tenant: Project, engine: Engine) -> None:
    """A rehearsal refuses to copy without the hidden rows; with --schema-only it runs."""
    tenant.write(*revision("b1", FIRST, DROP[1].replace("body", "n"), DROP[0].replace("body", "n")))
    done = tenant.db("rehearse")
    assert (1, True, False) == (done.returncode, "row-level security" in done.stderr, "Traceback" in done.stderr)
    done = tenant.db("rehearse", "--schema-only")
    assert "  ok\n" in done.stdout, done.stdout + done.stderr
    assert ["one", "two"] == bodies(engine)
