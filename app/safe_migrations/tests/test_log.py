"""The log: who applied which revision, and whether its script was edited since."""

import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any, cast
from uuid import uuid4

import flask_migrate
import pytest
from flask import Flask
from sqlalchemy import Engine, inspect, make_url

from ..adapters import base
from ..database import connected
from ..histories import log_writer
from ..histories.checksums import checksum
from ..lock import locked
from .example.app.extensions import db
from .support import FIRST, LOG, Project, Sql, on_postgresql, on_sqlite, revision, rows

MAKE, DROP = "op.create_table('t', sa.Column('id', sa.Integer(), primary_key=True))", "op.drop_table('t')"
EMPTY = "The log is empty: it begins with the next upgrade, downgrade or stamp of this database.\n"
CHANGE = "op.execute(sa.table('user', sa.column('email')).update().values(email='a@b'))"
SCRIPT = '''"""Add t"""
import sqlalchemy as sa
from alembic import op

revision: str = "a1"
down_revision = "b0"
branch_labels = depends_on = None


def upgrade() -> None:
    """Add it."""
    for n in [-1, 2.5e300, 0x10, 1j, True, None, ..., b"\\xff", "é\\U0001fae9", u"u"]:
        op.execute(f"INSERT INTO t VALUES ({n!r:>{9}})" " -- " f"{n}{n = }", *[n], **{"k": n if n else not n})
    with op.batch_alter_table("t") as batch, op.get_context().autocommit_block():
        batch.add_column(sa.Column("c", sa.String(length=80), nullable=1 < 2 <= 3))


def downgrade() -> None:
    try:
        x: int = (lambda a, /, *, b=1: a[b:, ::2])(0)
    except (KeyError, ValueError) as error:
        raise RuntimeError from error
    else:
        pass
'''


def entries(engine: Engine) -> list[tuple[str, ...]]:
    """Return direction and revision of each entry, the oldest first."""
    return rows(engine, f"SELECT direction, revision FROM {LOG} ORDER BY id")


def write(project: Project, up: str = CHANGE, more: str = "") -> None:
    """Write the script of a1, which leaves the schema as it is."""
    project.write(*revision("a1", FIRST, up, more=more))


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
def test_commit_by_the_driver(project: Project, engine: Engine) -> None:
    """What a script commits on the driver's connection has its entries, although SQLAlchemy does not see the commit."""
    project.write(*revision("a1", FIRST, MAKE))
    project.write(*revision("b1", "a1", "op.get_bind().connection.commit()\nop.execute('SELECT 1')"))
    assert "through the driver's connection" in project.fails("upgrade")
    assert ("a1",) in rows(engine, "SELECT version_num FROM alembic_version")
    assert [("up", FIRST), ("up", "a1")] == entries(engine)


def test_checksum() -> None:
    """Each version of Python computes the same checksum of the same script."""
    assert "5cd2d981c102cac92d654bb0ca41f3cf" == checksum(SCRIPT.encode())


@pytest.mark.parametrize(
    ("old", "new", "is_edit"),
    [
        ('"""Add t"""', '"""Add the table t."""\n# by hand', False),
        ('    """Add it."""\n', "", False),
        ('down_revision = "b0"', 'down_revision: str | None = "c0"\nreplaces = ["d0"]', False),
        ('revision: str = "a1"', 'revision = "a1"\nsafety_assured = {"drop-table": "why"}\nrequires = {}', False),
        ('"t"', "'t'", False),
        ("length=80", "length=(\n80)", False),
        ("[-1, ", "[- 1,\n", False),
        ("80", "81", True),
        ("None, ...", "..., None", True),
        ("1 < 2", "1 <= 2", True),
        ("True", "1", True),
        ('" -- "', '""', True),
        ("import sqlalchemy as sa", "import sqlalchemy as sa, os", True),
        ("raise RuntimeError", "raise ValueError", True),
        ("    else:\n        pass\n", "", False),
    ],
)
def test_what_is_an_edit(old: str, new: str, is_edit: bool) -> None:
    """Comments, docstrings, formatting, metadata and what does nothing are no edit of a script; all else is."""
    assert old in SCRIPT
    assert is_edit == (checksum(SCRIPT.encode()) != checksum(SCRIPT.replace(old, new).encode()))


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
def test_log(project: Project, engine: Engine) -> None:
    """Each step and stamp has its entry; an edit is reported until it is undone or accepted."""
    write(project)
    assert "Edited" not in project.ok("upgrade")
    write(project, f'"""Comment."""\n{CHANGE}  # why', more="safety_assured = {'x': 'y'}")
    assert "Edited" not in project.ok("upgrade") + project.ok("check")
    write(project, CHANGE.replace("a@b", "a@c"))
    edited = "the script of a1 was edited after it was applied"
    assert f"Edited: {edited}. See `flask db log`\n" in project.ok("upgrade")
    assert f"\nedited    {edited}; see `flask db log`\n" in project.ok("status")
    assert (
        f"Error: {edited}: a database that runs it now may get another schema than this one.\n"
        "Fix: find the edit with git and undo it; or accept it, if this database is as the script now says; or, in"
        " development, run it again (last two lines), which deletes what their tables and columns hold:\n"
        "    git diff HEAD -- migrations/versions/a1.py\n"
        "    git log -p -- migrations/versions/a1.py\n"
        "    flask db log --accept a1\n"
        f"    flask db downgrade {FIRST}\n"
        "    flask db upgrade\n"
    ) in project.fails("check")
    one, below, other, *more = project.ok("log").splitlines()
    pattern = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC  up      {}  +\d+\.\d s  \S+ on \S+"
    assert re.fullmatch(pattern.format("a1 +"), one), one
    assert "    edited since: migrations/versions/a1.py" == below
    assert re.fullmatch(pattern.format(FIRST) + "  Add User Model", other), other
    assert ["To accept an edited script as it is: flask db log --accept REV"] == more

    assert "Accepted migrations/versions/a1.py as it is.\n" == project.ok("log", "--accept", "a1", "--accept", "a1")
    assert "edited" not in project.ok("upgrade") + project.ok("check") + project.ok("status") + project.ok("log")
    write(project)
    assert "Edited: " in project.ok("upgrade")
    project.ok("downgrade")
    assert "dited" not in project.ok("upgrade", FIRST) + project.ok("log")
    for args in (["head"], ["base"], ["--purge", FIRST], ["--purge", "base"], ["heads"]):
        project.ok("stamp", *args)
    steps = [("up", FIRST), ("up", "a1"), ("accept", "a1"), ("down", "a1")]
    stamps = [("stamp", name) for name in ("a1", "base", FIRST, "base", "a1")]
    assert steps + stamps == entries(engine)


def test_nothing_to_accept(project: Project) -> None:
    """What is unknown, not applied, not edited or without an entry cannot be accepted."""
    project.ok("upgrade")
    write(project)
    for name, why in {
        "nope": "unknown revision nope.",
        "a1": "there is nothing to accept: revision a1 is not applied to this database.",
        FIRST: f"there is nothing to accept: the script of {FIRST} was not edited since it was applied.",
    }.items():
        assert f"Error: {why}\nFix: " in project.fails("log", "--accept", name)


@on_sqlite
def test_another_version_table(project: Project, engine: Engine) -> None:
    """Apps that share a database, each with a `version_table` of its own, have a log each."""
    project.ok("upgrade")
    project.configure("version_table='other'")
    assert EMPTY == project.ok("log")
    project.ok("stamp", "head")
    assert 1 == len(project.ok("log").splitlines())
    assert [("up", FIRST), ("stamp", FIRST)] == entries(engine)


def test_accepting_takes_the_lock(project: Project, app_on: Callable[[str], Flask]) -> None:
    """`--accept` waits for a run; to show the log needs no lock, but a database."""
    url = f"sqlite:///{project.path}/instance/app.db"
    project.ok("upgrade")
    with app_on(url).app_context(), connected(db.engine) as database, locked(database, 0):
        assert "another command holds the lock" in project.fails("-x", "lock_wait=0", "log", "--accept", FIRST)
        assert FIRST in project.ok("log")
    assert "Error: cannot reach mysql" in project.fails("log", DATABASE_URL="mysql+pymysql://root@127.0.0.1:1/a")


def test_who(monkeypatch: pytest.MonkeyPatch, in_app: None) -> None:
    """A user without a name, as in a container, has its number; other letters than ASCII are written as such."""

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    writer = partial(log_writer.LogWriter, cast(Any, None), cast(Any, None))
    monkeypatch.setattr(base, "getuser", unknown)
    assert str(os.getuid()) == writer().by["os_user"]
    monkeypatch.setattr(base, "getuser", lambda: "zoë" * 200)
    assert ("zo\\xebzo\\xeb", 255) == (writer().by["os_user"][:12], len(writer().by["os_user"]))


def test_failure(project: Project, engine: Engine, attempt: Callable[..., list[str]]) -> None:
    """A revision that fails, up or down, leaves no entry; mended, it has one."""
    create, stop = f"{MAKE}\nop.execute('INSERT INTO t VALUES (1)')", "raise RuntimeError('stop')"
    project.write(*revision("a1", FIRST, f"{create}\n{stop}"))
    assert ["stop"] == attempt(flask_migrate.upgrade)
    done = [] if engine.dialect.name == "sqlite" else [("up", FIRST)]
    assert done == (entries(engine) if inspect(engine).has_table(LOG) else [])
    project.write(*revision("a1", FIRST, create, f"{DROP}\n{stop}"))
    assert [] == attempt(flask_migrate.upgrade)
    assert ["stop"] == attempt(flask_migrate.downgrade)
    assert [("up", FIRST), ("up", "a1")] == entries(engine)


def test_invisible(upgraded_app: Flask) -> None:
    """The log is not one of the app's tables: a database without these is empty, and nothing of it is compared."""
    flask_migrate.check()
    flask_migrate.downgrade(revision="base")
    db.drop_all()
    with connected(db.engine) as database:
        assert inspect(db.engine).has_table(LOG)
        assert (False, False) == (database.has_tables(), database.has_rows())
        assert LOG not in repr(database.adapter.snapshot(database.connection))


def test_copies(project: Project, engine: Engine) -> None:
    """A rehearsal writes its entries into the copy; a restore brings back the log of the backup."""
    project.ok("upgrade")
    write(project)
    assert "a1" in project.ok("rehearse")
    before = entries(engine)
    assert [("up", FIRST)] == before
    file = project.ok("backup").splitlines()[0]
    project.ok("upgrade")
    project.ok("restore", file, "--yes")
    assert before == entries(engine)


@on_postgresql
def test_limited_user(project: Project, database: str, sql: Sql) -> None:
    """Who may not create the table, or write to it, gets a message; who may not read it can run what has nothing to do.

    On MySQL the journal needs the same rights.
    """
    name = f"u{uuid4().hex[:12]}"
    limited = make_url(database).set(username=name, password="secret").render_as_string(hide_password=False)
    project.ok("upgrade")
    write(project)
    sql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'", f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    try:
        sql(f"REVOKE INSERT ON {LOG} FROM {name}")
        assert f"permission denied for table {LOG}\nFix: " in project.fails("upgrade", DATABASE_URL=limited)
        sql(f"REVOKE ALL ON {LOG} FROM {name}")
        assert "Nothing to do" in project.ok("upgrade", FIRST, DATABASE_URL=limited)
        assert f"permission denied for table {LOG}\nFix: " in project.fails("log", DATABASE_URL=limited)
        sql(f"DROP TABLE {LOG}")
        told = project.fails("stamp", "a1", DATABASE_URL=limited)
        assert f'    GRANT ALL ON SCHEMA "public" TO {name};\n' in told
    finally:
        sql(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@on_sqlite
def test_without_entries(project: Project, engine: Engine, sql: Sql) -> None:
    """A revision that was applied before the log began, or by a release without it, is not compared."""
    assert EMPTY == project.ok("log")
    assert [] == inspect(engine).get_table_names()
    project.ok("upgrade")
    sql(f"DROP TABLE {LOG}")
    first = project.scripts()[0]
    first.write_text(first.read_text().replace("80", "81"))
    assert "dited" not in project.ok("upgrade") + project.ok("status") + project.ok("check")
    assert EMPTY == project.ok("log")
    assert "was applied before this database had a log.\n" in project.fails("log", "--accept", FIRST)
    write(project)
    assert "Edited" not in project.ok("upgrade")
    assert [("up", "a1")] == entries(engine)


def test_unnoticed_on_stock(project: Project) -> None:
    """The damage: on stock an applied script can be edited, and nothing says that databases now differ."""
    project.make_stock()
    write(project, "pass")
    project.ok("upgrade")
    write(project, "op.execute('INSERT INTO user (username, email) VALUES (1, 1)')")
    assert "a1" not in project.ok("upgrade") + project.ok("check")


KILLS = """
import gc, os, sys
import flask_migrate
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine
from wsgi import app

engine = create_engine(os.environ["DATABASE_URL"])
with engine.begin() as connection:
    connection.execute(text("CREATE TABLE mine (id INTEGER)"))  # else all revisions are one transaction on PostgreSQL
parents = {"r1": "", "r2": "r1", "r3": "r2"}


def run(command, kill_at=None, **options):
    # Run the command in a child, which kills itself at an event; return the events.
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        os.waitpid(child, 0)
        return open(reader).read().splitlines()
    seen = 0

    def happen(what):
        nonlocal seen
        os.write(writer, f"{' '.join(what.split())}\\n".encode())
        seen += 1
        if seen == kill_at:
            os.kill(os.getpid(), 9)

    event.listen(Engine, "before_cursor_execute", lambda _connection, _cursor, statement, *_: happen(statement))
    event.listen(Engine, "after_cursor_execute", lambda *_: happen("done"))
    event.listen(Engine, "commit", lambda _connection: happen("COMMIT"))
    with app.app_context():
        command(**options)
    happen("end")
    os._exit(0)


def check(where):
    # The entries are a walk through the history that ends where the database is.
    with engine.connect() as connection:
        heads = list(connection.scalars(text("SELECT version_num FROM alembic_version")))
        entries = list(connection.execute(text("SELECT direction, revision FROM _migration_log ORDER BY id")))
    now = ""
    for direction, revision in entries:
        if direction == "stamp":
            now = revision.replace("base", "")
            continue
        before, after = (parents[revision], revision) if direction == "up" else (revision, parents[revision])
        assert now == before, (where, entries)
        now = after
    assert heads == ([now] if now else []), (where, heads, entries)
    return len(entries)


def back():
    run(flask_migrate.downgrade, revision="base")


with app.app_context():  # here, so that the children have loaded what they need
    flask_migrate.upgrade()
    flask_migrate.downgrade(revision="base")
    app.extensions["migrate"].db.engine.dispose()
gc.freeze()  # else a fork copies what it collects
events = run(flask_migrate.upgrade)
assert events[-1] == "end", events
written = ("INSERT INTO _mig", "INSERT INTO alembic", "UPDATE alembic")
changes = [at for at, what in enumerate(events, 1) if what.startswith(written)]
commits = [at for at, what in enumerate(events, 1) if what.startswith(("COMMIT", "CREATE")) and at > changes[0]]
points = sorted({at + more for at in changes[-3:] + commits[-2:] for more in (0, 1)})
back()
counts = set()
for point in points:
    before = check(point)
    assert run(flask_migrate.upgrade, point)[-1] != "end"
    counts.add(check(events[point - 1]) - before)
    back()
    check("back")
run(flask_migrate.upgrade)
purge = {"revision": "base", "purge": True}
events = run(flask_migrate.stamp, **purge)
for at, what in enumerate(events, 1):
    if what.startswith(("DELETE FROM alembic", "INSERT INTO _mig", "COMMIT")):
        run(flask_migrate.stamp, revision="r3")
        run(flask_migrate.stamp, at + 1, **purge)
        check(what)
print(len(points), sorted(counts))
"""


def test_kill(project: Project, database: str, backend: str) -> None:
    """Killed at any event between a revision and its commit, the database has its revision and entry, or neither."""
    for script in project.scripts():
        script.unlink()
    project.write(*revision("r1", None, MAKE, DROP))
    project.write(*revision("r2", "r1", "op.execute('INSERT INTO t VALUES (1)')", "op.execute('DELETE FROM t')"))
    more = (MAKE.replace("'t'", "'t3'"), DROP.replace("'t'", "'t3'"))
    project.write(*revision("r3", "r2", *more))
    project.write("kills.py", KILLS)
    done = project.run("kills")
    assert "" == done.stderr.rpartition("Traceback")[1], done.stderr
    assert ("[0, 3]" if backend == "sqlite" else "[1, 2, 3]") in done.stdout
