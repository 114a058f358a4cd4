"""A table whose rows PostgreSQL's row-level security hides from the app's user counts as one with rows."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from flask import Flask
from sqlalchemy import create_engine, make_url, text

from ..adapters import adapter_of
from ..rehearsal.runner import Rehearsal
from .example.app.extensions import db, migrate
from .support import FIRST, Project, on_postgresql, revision, run_on_server, server_url

pytestmark = on_postgresql
DROP = ("op.drop_column('doc', 'body')", "op.add_column('doc', sa.Column('body', sa.Text()))")
ASSURED = 'safety_assured = {"drop-column": "nobody reads it since May"}'


@pytest.fixture
def tenant(project: Project, database: str) -> Iterator[Project]:
    """Return a project whose user owns the table doc and sees none of its rows: no tenant is set."""
    server, user = server_url("postgresql"), f"u{uuid4().hex[:8]}"
    own = server.set(database=make_url(database).database)
    run_on_server(server, f"CREATE ROLE {user} LOGIN PASSWORD 'secret' CREATEDB CREATEROLE")
    run_on_server(own, f"GRANT ALL ON SCHEMA public TO {user}", f"ALTER DATABASE {own.database} OWNER TO {user}")
    url = make_url(database).set(username=user, password="secret").render_as_string(hide_password=False)
    project.environ.update(DATABASE_URL=url)
    project.ok("upgrade")
    run_on_server(
        own,
        "CREATE TABLE doc (id INTEGER NOT NULL PRIMARY KEY, tenant INTEGER NOT NULL, body TEXT)",
        f"ALTER TABLE doc OWNER TO {user}",
        "INSERT INTO doc VALUES (1, 7, 'one'), (2, 8, 'two')",
        "ALTER TABLE doc ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE doc FORCE ROW LEVEL SECURITY",
        "CREATE POLICY own ON doc USING (tenant = current_setting('app.tenant', true)::integer)",
    )
    yield project
    run_on_server(own, f"REASSIGN OWNED BY {user} TO CURRENT_USER", f"DROP OWNED BY {user}")
    run_on_server(server, f"DROP ROLE {user}")


def bodies(database: str) -> list[str] | None:
    """Return the column's values as an administrator sees them; None if the column does not exist."""
    engine = create_engine(database)
    with engine.connect() as connection:
        there = connection.scalar(
            text("SELECT 1 FROM pg_attribute WHERE attrelid = 'doc'::regclass AND attname = 'body'")
        )
        found = list(connection.scalars(text("SELECT body FROM doc ORDER BY id"))) if there else None
    engine.dispose()
    return found


def test_stock_loses_them(tenant: Project, database: str) -> None:
    """The damage: without this package the values are gone."""
    tenant.write(*revision("b1", FIRST, *DROP))
    tenant.make_stock()
    tenant.ok("upgrade")
    assert bodies(database) is None


def test_review_blocks(tenant: Project, database: str) -> None:
    """A finding that blocks on a table with rows also blocks if the rows are hidden."""
    tenant.write(*revision("b1", FIRST, *DROP))
    done = tenant.db("upgrade", MIGRATION_REVIEW="enforce")
    assert (1, True) == (done.returncode, "(drop-column)" in done.stderr), done.stderr
    assert ["one", "two"] == bodies(database)


def test_backup_has_them(tenant: Project, database: str) -> None:
    """A run does not skip the backup because the database looks empty, and no backup lacks rows."""
    tenant.write(*revision("b1", FIRST, *DROP, more=ASSURED))
    for command in ("upgrade", "backup"):
        done = tenant.db(command, MIGRATION_REVIEW="enforce", MIGRATION_BACKUP="always")
        assert (1, True, False) == (done.returncode, "row-level security" in done.stderr, "Traceback" in done.stderr)
        assert ["one", "two"] == bodies(database)
    line = f'ALTER ROLE "{make_url(tenant.environ["DATABASE_URL"]).username}" BYPASSRLS;'
    assert f"    {line}\n" in done.stderr
    run_on_server(make_url(database), line)
    assert "Wrote backup " in tenant.ok("upgrade", MIGRATION_REVIEW="enforce", MIGRATION_BACKUP="always")
    assert bodies(database) is None
    (file,) = (tenant.path / "instance" / "backups").glob("*.pgdump")
    tenant.ok("restore", str(file), "--yes", MIGRATION_BACKUP="never")
    assert ["one", "two"] == bodies(database)


def test_downgrade_tells(tenant: Project, database: str) -> None:
    """A downgrade that deletes hidden rows says so, though it cannot count them."""
    tenant.write(*revision("b1", FIRST, "pass", DROP[0]))
    tenant.ok("upgrade")
    said = tenant.ok("downgrade", MIGRATION_REVIEW="warn")
    assert "The downgrade deletes an unknown number of rows or values of table doc, because row-level security" in said


def test_rehearsal_counts_them(tenant: Project, database: str, app_on: Callable[[str], Flask]) -> None:
    """A rehearsal sees all rows that a revision deletes, and does not change the policies."""
    tenant.write(*revision("b1", FIRST, *DROP))
    with app_on(tenant.environ["DATABASE_URL"]).app_context():
        rehearsal = Rehearsal(migrate.get_config(str(tenant.path / "migrations")), adapter_of(db.engine))
        (report,) = rehearsal.run(rehearsal.steps())
    assert (2, True) == (report.before, "doc.body, which has 2 values" in report.faults[0]), report.faults


def test_rehearsal_copies_them(tenant: Project, database: str) -> None:
    """A rehearsal refuses to copy without the hidden rows; with --schema-only it runs."""
    tenant.write(
        *revision("b1", FIRST, "op.add_column('doc', sa.Column('n', sa.Integer()))", "op.drop_column('doc', 'n')")
    )
    done = tenant.db("rehearse")
    assert (1, True, False) == (done.returncode, "row-level security" in done.stderr, "Traceback" in done.stderr)
    done = tenant.db("rehearse", "--schema-only")
    assert "  ok\n" in done.stdout, done.stdout + done.stderr
    assert ["one", "two"] == bodies(database)
