"""The tests that every project inherits let good revisions pass, stop bad ones, and police nothing else."""

import pytest
from conftest import ROOT

from app.safe_migrations.tests.support import Project, revision

(FIRST,) = [path.name.split("_")[2] for path in (ROOT / "migrations" / "versions").glob("*.py")]


def table(name: str) -> tuple[str, str]:
    """What makes a table, and what drops it."""
    return f"op.create_table({name!r}, sa.Column('id', sa.Integer(), primary_key=True))", f"op.drop_table({name!r})"


def models(project: Project) -> str:
    """Return the text of the project's models."""
    return (project.path / "app" / "models.py").read_text()


def inherited(project: Project, *revisions: tuple[str, str]) -> str:
    """What the inherited tests print of the history with ``revisions``, but for the models, which are as they were."""
    for name, text in revisions:
        project.write(name, text)
    tests = ("tests/test_migrations.py", "tests/test_revisions.py")
    return project.run("pytest", *tests, "-k", "sqlite and not agree").stdout


def test_branches_and_a_merge(project: Project) -> None:
    """A history that forked and was merged goes up, down and up again, revision by revision."""
    history = (
        revision("a1", FIRST, *table("a")),
        revision("b1", FIRST, *table("b")),
        revision("b2", "b1", *table("bb")),
        revision("c1", ("a1", "b2"), "pass", "pass"),
        revision("d1", "c1", *table("d")),
    )
    assert "3 passed" in inherited(project, *history)


@pytest.mark.parametrize(
    ("up", "down", "says"),
    [
        (table("pet")[0], "pass", "a1: after its downgrade table pet is new"),
        (table("pet")[0], "op.drop_constraint(None, 'user')", "test_up_down_and_up_again[sqlite]"),
        ("op.execute('nonsense')", "pass", 'near "nonsense"'),
    ],
)
def test_bad_revision(project: Project, up: str, down: str, says: str) -> None:
    """A downgrade that forgets something or crashes, or an upgrade that does, fails by the revision."""
    printed = inherited(project, revision("a1", FIRST, up, down))
    assert " failed" in printed
    assert says in printed


def test_two_heads(project: Project) -> None:
    """Two heads fail."""
    history = (revision("a1", FIRST, *table("a")), revision("b1", FIRST, *table("b")))
    assert "FAILED tests/test_migrations.py::test_one_head[sqlite]" in inherited(project, *history)


def test_a_warning_is_no_failure(project: Project) -> None:
    """A warning of an extension fails no test of the app."""
    project.write("app/models.py", 'import warnings\n\nwarnings.warn("old", DeprecationWarning)\n' + models(project))
    assert "3 passed" in inherited(project)


EVENT = """


class Event(db.Model):
    __bind_key__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
"""
TEST = """from app.models import Event, User, db


def test_both(app):
    db.session.add_all([Event(), User(username="a", email="b")])
    db.session.commit()
    assert (1, 1) == (len(db.session.query(Event).all()), len(db.session.query(User).all()))


def test_probe(upgraded_app):
    assert {"status": "ready"} == upgraded_app.test_client().get("/readyz").json
"""


@pytest.fixture
def bound(project: Project) -> Project:
    """Return a project with a bind, whose URL is in a variable, and its model, without its folder."""
    config = (project.path / "config.py").read_text()
    binds = '    SQLALCHEMY_BINDS = Binds(audit="AUDIT_URL")\n'
    project.write("config.py", config.replace("    SQLALCHEMY_TRACK", f"{binds}    SQLALCHEMY_TRACK"))
    project.write("app/models.py", models(project) + EVENT)
    project.environ["AUDIT_URL"] = f"sqlite:///{project.path}/audit.db"
    return project


def add_folder(project: Project) -> None:
    """Create the folder of the bind, and its revision e0."""
    project.ok("init", "-d", "migrations/audit", "--bind", "audit")
    project.ok("-d", "migrations/audit", "migrate", "-m", "Add Event", "--rev-id", "e0")


def test_a_bind(bound: Project) -> None:
    """All tests pass with a bind, its folder and a revision, without the variable of its URL, which the app needs.

    A test may use the models of the bind, and a revision in its folder is tested: both on a database in memory.
    """
    add_folder(bound)
    del bound.environ["AUDIT_URL"]
    done = bound.run("flask", "db", "upgrade")
    assert (1, "Error: AUDIT_URL is not set. ") == (done.returncode, done.stderr.partition("Fix: ")[0])
    bound.write("tests/test_both.py", TEST)
    done = bound.run("pytest", "-q", "-W", "error", "tests", "-k", "not mysql and not postgresql")
    assert done.returncode == 0, done.stdout
    name, text = revision("a1", "e0", table("other")[0], "pass")
    printed = inherited(bound, (name.replace("versions", "audit/versions"), text))
    assert "a1: after its downgrade table other is new" in printed


def test_a_bind_without_the_package(bound: Project) -> None:
    """After the package was taken out, Flask-Migrate upgrades the bind by its folder, and /readyz probes it."""
    add_folder(bound)
    bound.take_out()
    bound.paste("HISTORIES.md", "Without this package")
    bound.write("probe.py", "from wsgi import app\nprint(app.test_client().get('/readyz').json)")
    bound.ok("upgrade")
    assert "{'bind': 'audit', 'status': 'behind'}\n" == bound.run("probe").stdout
    bound.ok("-d", "migrations/audit", "upgrade")
    assert "{'status': 'ready'}\n" == bound.run("probe").stdout
