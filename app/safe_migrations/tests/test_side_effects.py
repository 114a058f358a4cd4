"""A script is recorded without side effects, and without disturbing other threads."""

import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psycopg  # noqa: F401  # as an app loads it that uses PostgreSQL
import pytest
from flask import Flask
from sqlalchemy import text

from ..review.recorder import NotInspectable, Operation
from .example.app.extensions import db
from .support import DB, FIRST, Project, Record, Review, found, levels, on_sqlite, revision

ADD = "op.add_column('user', sa.Column('age', sa.Integer()))\n"  # line 9 of the script
SOCKET = "import socket\nwith socket.socket(type=socket.SOCK_DGRAM) as used:\n    "


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("open('notes.txt', 'w')", "the script writes the file notes.txt"),
        ("import os\nos.open('notes.txt', os.O_CREAT)", "the script writes the file notes.txt"),
        ("import tempfile\ntempfile.TemporaryFile(dir='.')", "the script writes the file"),
        ("import os\nos.remove('kept.txt')", "the script calls os.remove"),
        ("import os\nos.replace('kept.txt', 'notes.txt')", "the script calls os.rename"),
        ("import os\nos.makedirs('notes.txt/b')", "the script calls os.mkdir"),
        ("import shutil\nshutil.copy('kept.txt', 'notes.txt')", "the script calls shutil.copyfile"),
        ("import shutil\nshutil.rmtree('.')", "the script calls shutil.rmtree"),
        ("import subprocess\nsubprocess.run(['touch', 'notes.txt'])", "the script calls subprocess.Popen"),
        ("import os\nos.system('SECRET=x touch notes.txt')", "the script calls os.system"),
        ("import os\nos.fork()", "the script calls os.fork"),
        ("import urllib.request\nurllib.request.urlopen('http://example.test/')", "script calls socket.getaddrinfo"),
        (f"{SOCKET}used.connect(('127.0.0.1', 9))", "the script calls socket.connect"),
        ("import sqlite3\nsqlite3.connect('notes.txt')", "the script calls sqlite3.connect"),
        (f"{DB}db.engine.raw_connection()", "the script uses another connection"),
        ("sa.create_engine('sqlite:///notes.txt').connect()", "the script uses another connection"),
        *(
            (f"import psycopg\n{each}('host=127.0.0.1 port=1')", "the script uses another connection")
            for each in ("psycopg.connect", "psycopg.Connection.connect")
        ),
        ("try:\n    open('notes.txt', 'w')\nexcept:\n    open('notes.txt', 'w')", "writes the file notes.txt"),
        ("try:\n    open('notes.txt', 'w')\nexcept:\n    pass", "the script writes the file notes.txt"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_refused(
    in_app: None, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    """A side effect of a script does not happen, and nothing after its line is inspected."""
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "kept.txt"
    kept.write_text("kept")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(NotInspectable) as caught:
        record(f"{ADD}{body}")
    assert reason in str(caught.value)
    assert 10 <= caught.value.line <= 12
    assert ("kept", before) == (kept.read_text(), sorted(path.name for path in tmp_path.iterdir()))


def test_allowed(in_app: None, record: Record, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A script may read files and import modules, which Python compiles and caches; what it prints is dropped."""
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "lazily_imported.py").write_text("import lazily_imported_too\n")
    (folder / "lazily_imported_too.py").write_text("NAME = 'age'\n")
    body = (
        f"import sys\nsys.path.insert(0, {str(folder)!r})\nimport lazily_imported, _statistics\nsys.path.pop(0)\n"
        f"open({str(folder / 'lazily_imported.py')!r}).close()\n"
        "with open('/dev/null', 'w') as file:\n    print('x', file=file)\nprint('printed')\nsys.stdout.flush()\n"
    )
    (found,) = record(body + ADD)
    assert "AddColumnOp" == type(found.op).__name__
    assert "lazily_imported_too" in sys.modules
    assert "" == capfd.readouterr().out


@on_sqlite
def test_other_threads(upgraded_app: Flask, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread records a script, another one uses the database undisturbed."""
    meeting = SimpleNamespace(begun=threading.Event(), done=threading.Event())
    monkeypatch.setitem(sys.modules, "meeting", meeting)
    recorded: list[Operation] = []

    def run() -> None:
        with upgraded_app.app_context():
            recorded.extend(record("import meeting\nmeeting.begun.set()\nmeeting.done.wait(60)\n" + ADD))

    recording = threading.Thread(target=run)
    recording.start()
    try:
        assert meeting.begun.wait(60)
        with upgraded_app.app_context():
            assert 1 == db.session.scalar(text("SELECT 1"))
            with db.engine.connect() as connection:
                assert 1 == connection.scalar(text("SELECT 1"))
    finally:
        meeting.done.set()
        recording.join()
    assert ["AddColumnOp"] == [type(each.op).__name__ for each in recorded]


@on_sqlite
def test_pooled_connection(upgraded_app: Flask, record: Record) -> None:
    """A connection that waits in the pool of the app, or in its session, is refused too; the session stays as it is."""
    with upgraded_app.app_context():
        session = db.session()
        session.execute(text("SELECT 1"))
        db.engine.connect().close()
        for body in ("db.session.execute(sa.text('SELECT 1'))", "db.engine.raw_connection()"):
            with pytest.raises(NotInspectable, match="another connection"):
                record(DB + body)
        assert (session, True) == (db.session(), session.in_transaction())


def test_other_connection(review: Review) -> None:
    """Statements on another connection are all reviewed; what stops the review after them is reported in its place."""
    delete = f"{DB}db.session.execute(sa.text('DELETE FROM user'))"
    (finding,) = found(review(delete, "postgresql"), "not-inspectable")
    assert (10, "warns") == (finding.line, finding.level.value)
    assert (
        "revision a1 uses another connection than op.get_bind() in upgrade(); what that changes stays if the revision"
        " fails (not-inspectable)."
    ) == finding.message
    assert "use op.get_bind(), to which a session can be bound:\n    session = sa.orm.Session(op.get_bind())" == (
        finding.instead
    )
    for error, level in (("op.backfill({'n': 1}, 'user')", "blocks"), ("1 / 0", "warns"), ("open('x', 'w')", "warns")):
        findings = review(f"{delete}\n{error}", "postgresql")
        assert [(11, level)] == [(each.line, each.level.value) for each in found(findings, "not-inspectable")]
        assert ["blocks"] == levels(findings, "unbounded-data-change")


PET = "pet = sa.Table('pet', sa.MetaData(), sa.Column('id', sa.Integer()), sa.Column('kind', kind))\n"
KIND = "kind = sa.Enum('cat', name='kind')\n"
ADD_KIND = "op.add_column('user', sa.Column('kind', kind))"


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        ("with db.engine.begin() as found:\n    found.execute(sa.schema.DropSchema('zoo', cascade=True))", ["raw-sql"]),
        (f"{KIND}with db.engine.begin() as found:\n    kind.drop(found)", ["raw-sql"]),
        (f"{KIND}{PET}sa.Index('ix', pet.c.id).drop(db.engine)", ["drop-index-blocks"]),
        (f"{KIND}{ADD_KIND}", ["missing-object"]),
        (f"{KIND}with db.engine.begin() as found:\n    kind.create(found)\n{ADD_KIND}", []),
        (f"{KIND}{PET}pet.create(db.engine)\n{ADD_KIND}", []),
        (f"{KIND}{PET}sa.Index('ix', pet.c.id).create(db.engine)", []),
    ],
)
def test_ddl_on_another_connection(review: Review, body: str, codes: list[str]) -> None:
    """What the script drops on another connection is reviewed; what it creates is not, but its types exist then."""
    expected = {"raw-sql", "drop-index-blocks", "missing-object", "create-index-blocks-writes"}
    assert codes == [each.code for each in review(f"{DB}{body}", "postgresql") if each.code in expected]


AUTOCOMMIT = "isolation_level='AUTOCOMMIT'"


@pytest.mark.parametrize(
    ("connect", "codes"),
    [
        ("used = db.engine.connect().execution_options({})", []),
        ("used = db.engine.connect().execution_options({}).execution_options(max_row_buffer=1)", []),
        (
            "used = db.engine.connect().execution_options({}).execution_options(isolation_level='READ COMMITTED')",
            ["concurrently-in-transaction"],
        ),
        ("used = db.engine.connect()", ["concurrently-in-transaction"]),
    ],
)
@pytest.mark.parametrize("how", ["execute(sa.text({!r}))", "exec_driver_sql({!r})"])
def test_autocommit_on_another_connection(review: Review, connect: str, how: str, codes: list[str]) -> None:
    """An index is created concurrently on a connection with this isolation level, which commits nothing of others."""
    create = how.format("CREATE INDEX CONCURRENTLY ix ON pet (a)")
    body = f"{DB}op.drop_column('pet', 'b')\n{connect.format(AUTOCOMMIT)}\nused.{create}"
    expected = {"concurrently-in-transaction", "autocommit-not-alone"}
    assert codes == [each.code for each in review(body, "postgresql") if each.code in expected]
    later = f"{body}\nop.execute('CREATE INDEX CONCURRENTLY ix2 ON pet (a)')"
    assert len(codes) + 1 == len(found(review(later, "postgresql"), "concurrently-in-transaction"))


TELL = "import sys\nprint('{0} ran', file=sys.stderr)\nopen('{0}.txt', 'w').close()\n"


def test_status_and_upgrade(project: Project) -> None:
    """Status and upgrade call no downgrade(), status at head calls nothing; only the run itself writes the file."""
    body = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))\n"
    project.write(*revision("a1", FIRST, body + TELL.format("up"), TELL.format("down") + "op.drop_table('pet')"))
    project.environ["MIGRATION_REVIEW"] = "enforce"
    project.ok("upgrade", FIRST)
    done = project.db("status")
    assert ["up ran"] == [line for line in done.stderr.splitlines() if line.endswith(" ran")]
    assert "warns: not-inspectable, line 12" in done.stdout
    assert [] == [*project.path.glob("*.txt")]
    told = project.db("review").stdout
    refused = (
        "reviewed only in part from line {} of {}() on: the script writes the file {}, which the review does not allow"
    )
    assert f"{refused.format(12, 'upgrade', 'up.txt')} (not-inspectable)." in told
    assert f"{refused.format(19, 'downgrade', 'down.txt')} (not-inspectable)." in told
    assert [] == [*project.path.glob("*.txt")]
    told = project.ok("upgrade")
    assert (2, 0) == (told.count("up ran"), told.count("down ran"))
    assert ["up.txt"] == [path.name for path in project.path.glob("*.txt")]
    assert " ran" not in project.ok("status")
    assert 2 == project.ok("downgrade").count("down ran")
