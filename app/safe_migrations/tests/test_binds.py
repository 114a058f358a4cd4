"""Several databases: a folder of migrations for each key in SQLALCHEMY_BINDS, and commands for all of them at once."""

import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine

from .support import (
    AGREE,
    FIRST,
    LOG,
    Project,
    copied,
    empty_database,
    revision,
    rows,
    run_on_server,
    state,
    told_by,
    wait_until,
)

AUDIT = ("-d", "migrations/audit")
INIT = "flask db init -d migrations/audit --bind audit"
MODEL = """

class Event(db.Model):
    __bind_key__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(String(80))
"""
MORE = "    more: Mapped[str | None] = mapped_column(String(80))\n"

on_two_products = pytest.mark.parametrize(
    ("backend", "audit"),
    [("sqlite", "postgresql"), ("mysql", "postgresql"), ("postgresql", "mysql")],
    indirect=True,
)
on_two_servers = pytest.mark.parametrize(("backend", "audit"), [("postgresql", "mysql")], indirect=True)
on_files = pytest.mark.parametrize(("backend", "audit"), [("sqlite", "sqlite")], indirect=True)


@pytest.fixture
def audit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Yield an engine for the empty database of the bind."""
    folder = tmp_path / "audit"
    folder.mkdir()
    with empty_database(request.param, folder) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


def with_bind(project: Project, url: str) -> Project:
    """Give the project a bind ``audit``, on the database at ``url``, with a model and without a folder; return it."""
    config = (project.path / "config.py").read_text()
    project.write("config.py", f'{config}    SQLALCHEMY_BINDS = {{"audit": os.environ["AUDIT_URL"]}}\n')
    project.environ["AUDIT_URL"] = url
    project.write("app/models.py", (project.path / "app" / "models.py").read_text() + MODEL)
    return project


@pytest.fixture
def unbound(project: Project, engine: Engine, audit: Engine) -> Project:
    """Return a project with_bind(). Its default database is at head."""
    with_bind(project, audit.url.render_as_string(hide_password=False)).ok("upgrade")
    return project


@pytest.fixture
def bound(unbound: Project) -> Project:
    """Return a project whose bind has a folder with one revision, e0; its database is empty."""
    unbound.ok(*INIT.split()[2:])
    write(unbound, "e0", None, "op.create_table('event', sa.Column('id', sa.Integer, primary_key=True),"
          " sa.Column('what', sa.String(80), nullable=False))", "op.drop_table('event')")  # fmt: skip
    return unbound


def write(project: Project, name: str, parent: str | None, up: str, down: str = "pass") -> None:
    """Write a revision into the folder of the bind."""
    file, script = revision(name, parent, up, down)
    project.write(file.replace("versions", "audit/versions"), script)


@on_two_products
def test_every_day(unbound: Project, backend: str, engine: Engine, audit: Engine) -> None:
    """From the folder to a restore: each command does for the bind what it does for the default database, which stays
    as it was.
    """
    unbound.environ |= {"MIGRATION_BACKUP": "always", "MIGRATION_REVIEW": "enforce"}
    of_bind = f"{audit.url.get_backend_name()}://u@127.0.0.1:1"
    assert "Nothing to do" in unbound.ok("upgrade", MIGRATION_REHEARSAL_URL=of_bind)
    assert f"does not name a {backend} " in unbound.fails("-x", f"rehearsal_url={of_bind}", "rehearse")
    unbound.environ["MIGRATION_REHEARSAL_URL"] = f"{backend}:////nowhere/at/all"  # not for the bind
    before = state(engine)
    unbound.ok("init", "--bind", "audit")
    assert "bind = audit\n" in (unbound.path / "migrations" / "audit" / "alembic.ini").read_text()
    assert AGREE in unbound.ok("check")
    assert "add_table event" in unbound.fails(*AUDIT, "check")
    unbound.ok(*AUDIT, "migrate", "-m", "Add Event", "--rev-id", "e0")
    assert "pending   e0, Add Event" in unbound.db(*AUDIT, "status").stdout
    unbound.ok("upgrade", "--all-binds")
    assert AGREE in unbound.ok("check", "--all-binds")
    run_on_server(audit.url, "INSERT INTO event (id, what) VALUES (1, 'begun')")

    unbound.write("app/models.py", (unbound.path / "app" / "models.py").read_text() + MORE)
    unbound.ok(*AUDIT, "migrate", "-m", "Add Event.more", "--rev-id", "e1")
    assert "The review of 1 revision found nothing dangerous" in unbound.ok(*AUDIT, "review")
    assert re.search(r"^e1 .* 1 -> 1  ok$", unbound.ok(*AUDIT, "rehearse"), re.MULTILINE)
    at_e0 = state(audit)
    backup = re.findall(r"Wrote backup (\S+),", unbound.ok(*AUDIT, "upgrade"))[0]
    assert "e0 -> e1 (head) (current)" in unbound.ok(*AUDIT, "history", "-i")
    unbound.ok(*AUDIT, "downgrade")
    assert at_e0 == state(audit)
    unbound.ok(*AUDIT, "upgrade")

    by_hand = unbound.ok(*AUDIT, "backup").split()[0]
    assert (backup in unbound.ok(*AUDIT, "backups"), unbound.ok("backups")) == (
        True,
        "No backups in instance/backups\n",
    )
    said = unbound.fails("restore", "--yes", backup)
    assert "is a backup of the bind audit, not of the default database.\nFix: restore it there:" in said
    unbound.ok(*said.splitlines()[-1].split()[2:], "--yes")
    assert at_e0 == state(audit)
    unbound.ok(*AUDIT, "restore", "--yes", by_hand)
    assert "e1 (head)" in unbound.ok(*AUDIT, "current")
    assert before == state(engine)


@on_two_servers
def test_race(bound: Project, engine: Engine, audit: Engine) -> None:
    """Six upgrades of both databases at once all end well, and run each revision once."""
    bound.write(*revision("a1", FIRST, "op.create_table('counted', sa.Column('n', sa.Integer()))"))
    bound.write(*revision("a2", "a1", "op.execute('INSERT INTO counted VALUES (1)')"))
    write(bound, "e1", "e0", "op.execute(\"INSERT INTO event (what) VALUES ('once')\")")
    done = bound.at_once(6, "flask", "db", "upgrade", "--all-binds")
    assert [0] * 6 == [each.returncode for each in done], done
    assert [1, 1] == ["".join(each.stderr for each in done).count(step) for step in ("-> a2", "-> e1")]
    for each, table in ((engine, "counted"), (audit, "event")):
        assert [(1,)] == rows(each, f"SELECT COUNT(*) FROM {table}")


@on_two_servers
def test_kill(bound: Project, engine: Engine, audit: Engine) -> None:
    """After kill -9 in the upgrade of a bind, the next upgrade of all undoes it and goes on."""
    bound.ok("upgrade", "--all-binds")
    default, before = state(engine), state(audit)
    wait = (
        "import pathlib, time\npathlib.Path('begun').touch()\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)"
    )
    up = "op.create_table('half', sa.Column('n', sa.Integer()))\nop.add_column('event', sa.Column('n', sa.Integer()))"
    write(bound, "e1", "e0", f"{up}\n{wait}", "op.drop_column('event', 'n')\nop.drop_table('half')")
    with bound.start("flask", "db", "upgrade", "--all-binds") as process:
        wait_until((bound.path / "begun").exists)
        process.send_signal(signal.SIGKILL)
    said = bound.fails("check", "--all-binds")
    assert "if it was killed, this undoes or continues it:\n    flask db -d migrations/audit upgrade\n" in said
    (bound.path / "go").touch()
    assert "Its unfinished revision was undone" in bound.ok("upgrade", "--all-binds")
    assert "e1 (head)" in bound.ok(*AUDIT, "current")
    bound.ok(*AUDIT, "downgrade")
    assert (default, before) == (state(engine), state(audit))


@on_files
def test_stock(unbound: Project, audit: Engine) -> None:
    """The damage: stock agrees with the models, and has made no table for the bind."""
    unbound.make_stock()
    assert "No changes in schema detected" in unbound.ok("migrate")
    assert AGREE in unbound.ok("check")
    assert {} == state(audit)[2]


@on_files
def test_a_bind_without_folder(unbound: Project) -> None:
    """The default folder's commands name the models and the line that creates the folder; `check` fails, after what it
    finds in the default database. The bind of another program is left to it.
    """
    missing = "no folder has the migrations of the bind audit (event).\nFix: create it; or, "
    said = unbound.fails("upgrade", "--all-binds")
    assert (True, True) == (missing in said, said.endswith(f":\n    {INIT}\nDone: default database.\n"))
    assert f"create it for the bind audit:\n    {INIT}\n" in unbound.fails(*AUDIT, "migrate")
    assert missing in unbound.ok("migrate")
    assert missing in unbound.ok("status")
    done = unbound.db("status", "--all-binds")
    assert (1, True) == (done.returncode, missing in done.stdout)
    said = unbound.fails("check")
    assert (True, True) == (missing in said, said.endswith(f":\n    {INIT}\n"))
    models = (unbound.path / "app" / "models.py").read_text()
    unbound.write("app/models.py", models.replace("    email:", "    age: Mapped[int | None]\n    email:"))
    said = unbound.fails("check")
    assert (True, True) == (missing in said, "add_column user.age" in said)
    unbound.write("app/models.py", models)
    ini = unbound.path / "migrations" / "alembic.ini"
    ini.write_text(ini.read_text().replace("[alembic]\n", "[alembic]\nunmanaged_binds = other audit\n"))
    assert AGREE in unbound.ok("check")
    assert "audit" not in unbound.ok("migrate") + unbound.ok("status")


@on_files
def test_lines_to_paste(bound: Project, audit: Engine) -> None:
    """Each `flask db` line of a folder other than the app's has its -d: in errors, notes, warnings, log and status."""
    here = "flask db -d migrations/audit"
    assert f"Fix: upgrade the database to head first:\n    {here} upgrade" in bound.fails(*AUDIT, "migrate")
    assert f"of this list:\n    {here} history" in bound.fails("upgrade", "nope", *AUDIT)
    bound.ok("upgrade", "--all-binds")
    run_on_server(audit.url, "CREATE TABLE stray (n INTEGER)", "INSERT INTO event (what) VALUES ('begun')")
    said = bound.ok(*AUDIT, "migrate")
    assert f'Keeping table stray, which no model defines. To drop it: {here} -x drop=stray migrate -m "..."' in said
    assert ["e0.py"] == [script.name for script in (bound.path / "migrations" / "audit" / "versions").glob("*.py")]
    write(bound, "e1", "e0", "op.drop_column('event', 'what')")
    for said in (bound.fails(*AUDIT, "upgrade", MIGRATION_REVIEW="enforce"), bound.db(*AUDIT, "review").stdout):
        assert said.count("flask db ") == said.count(here) > 0
    bound.environ["AUDIT_URL"] = "sqlite:////nowhere/at/all.db"
    assert "check the file's path in SQLALCHEMY_BINDS['audit']" in bound.fails(*AUDIT, "current")
    said = bound.fails("upgrade", "--all-binds")
    assert said.endswith("Done: default database. Failed: bind audit. Not started: none.\n")
    assert "flask db -d" not in bound.fails("upgrade", "nope")


@on_files
def test_check_all(bound: Project) -> None:
    """What `check` says of each database follows its heading, in one file; an error of one does not stop the next."""

    def lines() -> list[str]:
        printed = bound.printed("check", "--all-binds").splitlines()
        return [line for line in printed if line.startswith(("default", "bind", "Error", "No new"))]

    behind = "Error: Target database is not up to date."
    headings = ["default database, migrations:", "bind audit, migrations/audit:"]
    assert [headings[0], AGREE, headings[1], behind] == lines()
    bound.ok("downgrade")
    assert [headings[0], behind, headings[1], behind] == lines()


@on_files
def test_in_code(bound: Project, app_on: Callable[..., Flask], engine: Engine, audit: Engine) -> None:
    """`flask_migrate.upgrade(directory=...)` upgrades the bind alone, and its errors have lines with -d too."""
    before, folder = state(engine), str(bound.path / "migrations" / "audit")
    with app_on(engine.url, SQLALCHEMY_BINDS={"audit": audit.url}, MIGRATION_REVIEW="enforce").app_context():
        flask_migrate.upgrade(directory=folder)
        run_on_server(audit.url, "INSERT INTO event (what) VALUES ('begun')")
        write(bound, "e1", "e0", "op.drop_table('event')")
        with pytest.raises(SystemExit) as raised:
            flask_migrate.upgrade(directory=folder)
    assert f"flask db -d {folder} -x review=warn upgrade" in told_by(raised.value)[0]
    assert (before, "event" in state(audit)[0]) == (state(engine), True)


REFUSED = {
    "no-such-bind": ("init --bind adit", "has no bind adit. Its binds: audit.", "SQLALCHEMY_BINDS = ", 1),
    "elsewhere": ("init --bind audit -d audit", "its place is directly in migrations.", INIT, 1),
    "versions": ("init --bind audit -d migrations/versions", "its place is directly in migrations.", INIT, 1),
    "without-bind": ("init -d migrations/audit", "--bind is missing.", INIT, 1),
    "downgrade": ("downgrade --all-binds", "one database at a time.", "flask db -d migrations/KEY downgrade", 2),
    "revision": ("upgrade --all-binds abc", "no revision, folder or --sql", "flask db -d migrations/KEY upgrade", 2),
    "option": ("upgrade --all-binds --revision abc", "no revision, folder or --sql", "flask db -d", 2),
    "folder": ("-d migrations upgrade --all-binds", "no revision, folder or --sql", "flask db -d", 2),
    "sql": ("upgrade --all-binds --sql", "no revision, folder or --sql", "flask db -d", 2),
    "multidb": ("init --multidb -d other", "--multidb is not supported", "init -d migrations/KEY --bind KEY", 2),
}  # fmt: skip


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project for all tests of commands that are refused, which change nothing."""
    return with_bind(copied(tmp_path_factory.mktemp("refusing")), "sqlite:////nowhere/at/all.db")


@pytest.mark.parametrize(("typed", "says", "fix", "status"), REFUSED.values(), ids=REFUSED)
def test_refused(refusing: Project, typed: str, says: str, fix: str, status: int) -> None:
    """What cannot be asked for: the message has the line to use."""
    done = refusing.db(*typed.split())
    assert (status, True, True) == (done.returncode, says in done.stderr, fix in done.stderr), done.stderr


@on_files
def test_the_wrong_folder(bound: Project, engine: Engine) -> None:
    """A revision of another folder is named as one, where it is typed, and where a database has it under another URL.
    So is the table of another database. A rehearsal lets a script reach no other database. For a folder that does not
    exist, those that do are named.
    """
    existing = "    flask db -d migrations current\n    flask db -d migrations/audit current\n"
    for mistyped in ("migrations/audti", "migration"):
        said = bound.fails("-d", mistyped, "current")
        assert said.startswith(f"Error: the folder {mistyped} does not exist.\nFix: ")
        assert said.endswith(existing)
    run_on_server(engine.url, "CREATE TABLE event (id INTEGER)")
    moved = "No model defines table event here; the bind audit has one: copy the rows there first. Drop it"
    assert moved in bound.asked("n\n", "migrate").stderr
    said = bound.fails("upgrade", "e0")
    assert "e0 is a revision of migrations/audit, another database.\n" in said
    assert "flask db -d migrations/audit status" in said
    elsewhere = "db.session.execute(sa.text('SELECT 1'), bind_arguments={'bind': db.engine})"
    write(bound, "e1", "e0", f"from app.extensions import db\n{elsewhere}")
    assert "but the script connects to another database" in bound.fails(*AUDIT, "rehearse")
    alias = bound.path / "alias.db"
    alias.symlink_to(str(engine.url.database))
    bound.environ["AUDIT_URL"] = f"sqlite:///{alias}"
    said = bound.fails(*AUDIT, "upgrade")
    assert f"the database is at revision {FIRST} of migrations: two folders lead to one database.\n" in said
    assert said.endswith("    flask db -d migrations status\n")


@on_files
def test_folders_that_cannot_be(bound: Project, engine: Engine) -> None:
    """A bind that the config lacks, two folders for one bind, and two for one database stop commands before they run;
    what needs no database still runs.
    """
    bound.environ["AUDIT_URL"] = engine.url.render_as_string(hide_password=False)
    for args in (AUDIT, ()):
        said = bound.fails(*args, "upgrade")
        assert "bind audit are one database" in said or "audit and default database are one database" in said
        assert said.endswith("    rm -r migrations/audit\n")
    schema = "postgresql+psycopg://u@127.0.0.1/d?options=-csearch_path%3Daudit"
    two_names = {"DATABASE_URL": "postgresql+psycopg://u@localhost:5432/d", "AUDIT_URL": schema}
    assert "are one database, postgresql+psycopg://u@127.0.0.1/d" in bound.fails(*AUDIT, "upgrade", **two_names)
    ini = bound.path / "migrations" / "audit" / "alembic.ini"
    lines = ini.read_text()
    ini.write_text(lines.replace("bind = audit\n", ""))
    missing = "add the line below [alembic], with a key of SQLALCHEMY_BINDS:\n    bind = audit\n"
    for command in ("-d migrations/audit upgrade", "upgrade --all-binds", "check"):
        assert missing in bound.fails(*command.split())
    ini.write_text(lines)
    config = (bound.path / "config.py").read_text()
    bound.write("config.py", config.replace('"audit"', '"log"'))
    said = bound.fails("upgrade", "--all-binds")
    assert "migrations/audit manages the bind audit, but the app's config has no SQLALCHEMY_BINDS['audit']." in said
    assert said == bound.fails(*AUDIT, "status")
    assert "e0" in bound.ok(*AUDIT, "history")
    shutil.copytree(bound.path / "migrations" / "audit", bound.path / "migrations" / "copy")
    assert "migrations/audit and migrations/copy both manage the bind audit." in bound.fails("upgrade", "--all-binds")


# What Flask-Migrate's template for several databases writes, except for the functions of the default database.
MULTIDB = """

def upgrade(engine_name):
    globals()["upgrade_%s" % engine_name]()


def downgrade(engine_name):
    globals()["downgrade_%s" % engine_name]()


def upgrade_audit():
    what = sa.Column("what", sa.String(80), nullable=False)
    op.create_table("event", sa.Column("id", sa.Integer(), primary_key=True), what)


def downgrade_audit():
    op.drop_table("event")
"""


@on_files
def test_from_multidb(unbound: Project, engine: Engine, audit: Engine) -> None:
    """A history that Flask-Migrate's template for several databases began goes on, one folder for each database."""
    run_on_server(engine.url, f"DROP TABLE {LOG}")  # Flask-Migrate has none
    before, (script,) = state(engine), unbound.scripts()
    script.write_text(re.sub(r"def (up|down)grade\(", r"def \1grade_(", script.read_text()) + MULTIDB)
    stock = Path(flask_migrate.__file__).parent / "templates" / "flask-multidb"
    shutil.copy(stock / "script.py.mako", unbound.path / "migrations")
    said = unbound.fails("migrate")
    assert "migrations/script.py.mako is a template for several databases: its upgrade() has an argument." in said
    unbound.paste("HISTORIES.md", "A history of --multidb")
    said = unbound.ok("upgrade", "--all-binds", MIGRATION_REVIEW="enforce")
    assert (1, 1) == (said.count(f"Nothing to do: the database is at {FIRST}"), said.count(f" -> {FIRST}"))
    assert AGREE in unbound.ok("check", "--all-binds")
    unbound.ok(*AUDIT, "downgrade")
    assert (before, False) == (state(engine), "event" in state(audit)[0])
    models = (unbound.path / "app" / "models.py").read_text()
    unbound.write("app/models.py", models.replace("    email:", "    age: Mapped[int | None]\n    email:"))
    unbound.ok("migrate")
    unbound.ok("upgrade")
    assert AGREE in unbound.ok("check")
