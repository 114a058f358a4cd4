"""Several databases: a folder of migrations for each key in SQLALCHEMY_BINDS, and commands for all of them at once."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from .support import AGREE, FIRST, Project, empty_database, revision, state, wait_until

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


@pytest.fixture
def unbound(project: Project, engine: Engine, audit: Engine) -> Project:
    """Return a project with a bind ``audit`` that has a model and no folder. Its default database is at head."""
    config = (project.path / "config.py").read_text()
    project.write("config.py", f'{config}    SQLALCHEMY_BINDS = {{"audit": os.environ["AUDIT_URL"]}}\n')
    project.environ["AUDIT_URL"] = audit.url.render_as_string(hide_password=False)
    models = (project.path / "app" / "models.py").read_text()
    project.write("app/models.py", models + MODEL)
    project.ok("upgrade")
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
def test_every_day(unbound: Project, engine: Engine, audit: Engine) -> None:
    """From the folder to a restore: each command does for the bind what it does for the default database, which stays
    as it was.
    """
    unbound.environ |= {"MIGRATION_BACKUP": "always", "MIGRATION_REVIEW": "enforce"}
    before = state(engine)
    unbound.ok("init", "--bind", "audit")
    assert "bind = audit\n" in (unbound.path / "migrations" / "audit" / "alembic.ini").read_text()
    assert AGREE in unbound.ok("check")
    assert "add_table event" in unbound.fails(*AUDIT, "check")
    unbound.ok(*AUDIT, "migrate", "-m", "Add Event", "--rev-id", "e0")
    assert "pending   e0, Add Event" in unbound.db(*AUDIT, "status").stdout
    unbound.ok("upgrade", "--all-binds")
    assert AGREE in unbound.ok("check", "--all-binds")
    with audit.begin() as connection:
        connection.execute(text("INSERT INTO event (id, what) VALUES (1, 'begun')"))

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
    assert (backup in unbound.ok(*AUDIT, "backups"), unbound.ok("backups")) == (True, "")
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
    processes = [bound.start("flask", "db", "upgrade", "--all-binds") for _ in range(6)]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [0] * 6 == [process.returncode for process in processes], said
    assert 2 == sum(each.count("-> a2") + each.count("-> e1") for each in said)
    for each, table in ((engine, "counted"), (audit, "event")):
        with each.connect() as connection:
            assert 1 == connection.scalar(text(f"SELECT COUNT(*) FROM {table}"))


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
    assert "it was killed" in bound.fails("check", "--all-binds")
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
