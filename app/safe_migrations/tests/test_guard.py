"""What env.py does around a run: foreign keys on SQLite, lines on stderr, the app's logging left alone."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import Engine, make_url, text

from .. import console
from .example.app.extensions import db
from .support import FIRST, LOG, Project, Sql, empty_database, on_mysql, on_sqlite, revision, rows


@on_sqlite
def test_foreign_keys_are_enforced_again(upgraded_app: Flask) -> None:
    """After a run in this process the app's connections enforce foreign keys, as before it."""
    assert 1 == db.session.scalar(text("PRAGMA foreign_keys"))
    db.session.remove()
    flask_migrate.downgrade()
    assert 1 == db.session.scalar(text("PRAGMA foreign_keys"))


@on_sqlite
def test_says_what_it_runs(empty_app: Flask, capfd: pytest.CaptureFixture[str]) -> None:
    """`flask_migrate.upgrade()`, called by a program whose logging is not configured, says on stderr what it runs."""
    root, alembic = logging.getLogger(), logging.getLogger("alembic")
    before = (root.level, list(root.handlers), alembic.level, alembic.propagate, list(alembic.handlers))
    flask_migrate.upgrade()
    assert "INFO  [alembic.runtime.migration] Running upgrade  -> " in capfd.readouterr().err
    assert before == (root.level, list(root.handlers), alembic.level, alembic.propagate, list(alembic.handlers))


@on_sqlite
def test_logging_of_the_app_is_left_alone(
    empty_app: Flask, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the app shows Alembic's lines itself, they come once, and its other loggers still log."""
    mine = logging.getLogger("mine")
    with caplog.at_level(logging.INFO):
        flask_migrate.upgrade()
        mine.info("still here")
    assert (1, "still here") == (caplog.text.count("Running upgrade  -> "), caplog.messages[-1])
    assert "Running" not in capfd.readouterr().err


def test_verified(project: Project) -> None:
    """A script that meddles with alembic_version behind Alembic's back does not look like success."""
    meddle = 'op.execute("CREATE TRIGGER t AFTER UPDATE ON alembic_version BEGIN DELETE FROM alembic_version; END")'
    project.write(*revision("a1", FIRST, meddle))
    said = project.fails("upgrade")
    assert "the database should be at a1, but it is at base." in said
    assert "\nThe database is at base.\n" in said  # and nothing of a rollback: the script is committed


def test_notes_of_a_script(project: Project) -> None:
    """A note that a script adds to its error is shown, and does not count as a change that remains."""
    rows = "op.execute('CREATE TABLE pet (id INTEGER PRIMARY KEY)')\nop.execute('INSERT INTO pet VALUES (1)')"
    project.write(*revision("a1", FIRST, rows))
    project.ok("upgrade")
    body = "try:\n    raise ValueError('no')\nexcept ValueError as error:\n    error.add_note('row 17')\n    raise"
    project.write(*revision("b1", "a1", body))
    said = project.fails("upgrade", MIGRATION_BACKUP="always")
    assert "backups/" in said
    assert "\nrow 17\nThe failed revision was rolled back; the database is at a1.\n" in said
    assert "To restore" not in said


def test_pool_of_one(database: str, app_on: Callable[..., Flask]) -> None:
    """The lock has a session of its own where the app's pool has room for one connection."""
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 1}
    with app_on(database, SQLALCHEMY_ENGINE_OPTIONS=options).app_context():
        flask_migrate.upgrade()
        flask_migrate.downgrade()


def test_outside_of_a_transaction(project: Project) -> None:
    """The message about a statement that cannot run in a transaction shows the autocommit block for it."""
    project.write(*revision("a1", FIRST, "op.execute('VACUUM')"))
    assert "    with op.get_context().autocommit_block():" in project.fails("upgrade")
    project.write(*revision("a1", FIRST, "with op.get_context().autocommit_block():\n    op.execute('VACUUM')"))
    project.ok("upgrade")


def test_alive(
    project: Project,
    app_on: Callable[[str], Flask],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A step that takes long says so again and again, also to an app that shows Alembic's log by itself."""
    monkeypatch.setattr(console, "ALIVE", 0.1)
    project.write(*revision("a1", FIRST, "import time\ntime.sleep(0.35)"))
    with app_on("sqlite://").app_context(), caplog.at_level(logging.INFO):
        flask_migrate.upgrade()
    assert 2 <= sum("Still running" in record.message for record in caplog.records) <= 4


def test_loads_little(project: Project) -> None:
    """With nothing to do, a command loads the adapter of its own database, and nothing that only steps need."""
    project.ok("upgrade")
    see = "import atexit, runpy, sys\natexit.register(lambda: print(*sys.modules))\n"
    run = "sys.argv = ['flask', 'db', 'upgrade']\nrunpy.run_module('flask', None, '__main__')"
    project.write("probe.py", see + run)
    loaded = set(re.findall(r"app\.safe_migrations\.(\S+)", project.run("probe").stdout))
    assert {"sqlite"} == {name.split(".")[1] for name in loaded if name.count(".") == 2}
    assert set() == loaded & {"backups.files", "adapters.snapshot", "adapters.mysql.undo", "adapters.sqlite.rebuilds"}


def test_url_in_config(database: str, project: Project) -> None:
    """A script finds the database in Alembic's config, as on stock: when it is recorded, run, or printed as SQL."""
    options = "&application_name=a%25b" if "postgresql" in database else ""
    url = make_url(database + options).render_as_string(hide_password=False)
    project.environ.update(DATABASE_URL=url, MIGRATION_REVIEW="enforce")
    body = (
        "config = op.get_context().config\n"
        "url = config.get_section(config.config_ini_section)['sqlalchemy.url']\n"
        f"assert url == {url!r}, 'another one'\n"
        "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"
    )
    project.write(*revision("a1", FIRST, body, "op.drop_table('pet')"))
    project.ok("upgrade", FIRST)
    assert "not-inspectable" not in project.ok("review")
    if "sqlite" not in database:
        project.ok("upgrade", f"{FIRST}:a1", "--sql")
    project.ok("upgrade")
    project.ok("downgrade")


@on_sqlite
def test_purge_at_an_unknown_revision(upgraded: Project, sql: Sql) -> None:
    """`stamp --purge` works on a database whose revision has no script any more, as on stock."""
    upgraded.write(*revision("a1", FIRST, "pass"))
    for target, expected in (("head", "a1"), (FIRST, FIRST), ("base", "base")):
        sql("DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('gone')")
        assert "unknown revision nope" in upgraded.db("stamp", "--purge", "nope").stderr
        assert f"The database is at {expected}\n" in upgraded.ok("stamp", "--purge", target)
        assert ("" if target == "base" else f"{expected}") == upgraded.db("current").stdout.partition(" ")[0].strip()


def configure(project: Project, option: str) -> None:
    """Pass the option to Migrate()."""
    extensions = (project.path / "app" / "extensions.py").read_text()
    project.write("app/extensions.py", extensions.replace('/ "migrations"))', f'/ "migrations"), {option})'))


@pytest.mark.parametrize(
    ("backend", "option"),
    [
        *((backend, "version_table='versions'") for backend in ("sqlite", "mysql", "postgresql")),
        ("postgresql", "version_table_schema='meta'"),
    ],
    indirect=["backend"],
)
def test_version_table(project: Project, sql: Sql, backend: str, option: str) -> None:
    """With `version_table` or `version_table_schema` in the app's options, every command reads the revision from there.

    No step runs twice, and the table does not count as one of the app's.
    """
    if "schema" in option:
        sql("CREATE SCHEMA meta")
    configure(project, option)
    project.ok("upgrade")
    make = "op.create_table('t', sa.Column('id', sa.Integer(), primary_key=True))"
    project.write(*revision("a1", FIRST, make, "op.drop_table('t')"))
    assert ["a1"] == [line.split()[1] for line in project.db("status").stdout.splitlines() if "pending" in line]
    assert ["a1"] == [line.split()[0] for line in project.db("rehearse").stdout.splitlines() if line.endswith(" ok")]
    assert f"-{FIRST}-" in project.ok("backup")
    assert "The database is at a1\n" in project.ok("upgrade")
    sql(f"SELECT id FROM {'meta.' if 'schema' in option else ''}{LOG}")
    assert ["a1", FIRST] == [line.split()[4] for line in project.ok("log").splitlines()]
    project.write(*revision("b1", "a1", make.replace("'t'", "'t2'") + "\nraise ValueError('no')"))
    assert 1 == project.db("upgrade").returncode
    assert f"The database is at {FIRST}\n" in project.ok("downgrade", FIRST)


@pytest.mark.parametrize("option", ["{}", "[{}, {}]"])
def test_on_version_apply(project: Project, sql: Sql, engine: Engine, option: str) -> None:
    """The app's own `on_version_apply`, a function or several, runs in each step's transaction, as on stock."""
    project.ok("upgrade")
    sql("CREATE TABLE seen (heads VARCHAR(9))")
    insert = "lambda ctx, heads, **_: ctx.connection.exec_driver_sql(f\"INSERT INTO seen VALUES ('{min(heads)}')\")"
    configure(project, f"on_version_apply={option.replace('{}', insert)}")
    project.write(*revision("a1", FIRST, "pass"))
    project.ok("upgrade")
    project.write(*revision("b1", "a1", "raise ValueError('no')"))
    project.fails("upgrade")
    project.make_stock()
    project.ok("stamp", "b1")
    expected = [(name,) for name in ("a1", "b1") for _ in range(option.count("{}"))]
    assert expected == rows(engine, "SELECT heads FROM seen ORDER BY heads")


@on_mysql
def test_version_table_in_another_database(project: Project, sql: Sql, tmp_path: Path) -> None:
    """On MySQL a rehearsal refuses `version_table_schema`, because its copy would not have that other database."""
    with empty_database("mysql", tmp_path) as url:
        other = make_url(url).database
        configure(project, f"version_table_schema='{other}'")
        project.ok("upgrade")
        assert f"The database is at {FIRST}" in project.ok("downgrade") + project.ok("upgrade")
        project.write(*revision("a1", FIRST, "pass"))
        assert f"is in another database, {other};" in project.db("rehearse").stderr
        assert "The database is at a1\n" in project.ok("upgrade")
