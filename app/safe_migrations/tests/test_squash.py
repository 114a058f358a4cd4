"""A squash makes the schema and the rows of the scripts that it replaces, or nothing is changed."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, text

from ..adapters import adapter_of
from ..adapters.snapshot import Snapshot
from ..histories.replacement import NEW, OLD, replace_files, replaced, restore_interrupted
from .benchmarks.squash import history
from .support import (
    FIRST,
    PACKAGE,
    PETS,
    SERVERS,
    USERS,
    Models,
    Project,
    Sql,
    empty_database,
    git,
    is_mariadb,
    on_servers,
    on_sqlite,
    revision,
    rows,
    state,
)

SQUASH = "revision = 'b1'\ndown_revision = None\nreplaces = ['a1']\n\n\ndef upgrade():\n    pass\n"
ID = "sa.Column('id', sa.Integer(), primary_key=True)"
# What needs an administrator (triggers in a binary log, too), and what no comparison shows.
NOT_MADE = re.compile("FOREIGN DATA|lo_from_bytea|CREATE TRIGGER t AFTER INSERT ON one FOR EACH ROW DELETE")
FIXED = re.compile(r"randomblob\(\d+\)|UUID\(\)")
KIND = """
class Kind(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.Enum("cat", "dog", name="kind_of"))
"""
# What autogenerate does not see.
MORE = {
    "sqlite": [],
    "mysql": ["SET SESSION sql_mode = 'ANSI_QUOTES'", 'CREATE PROCEDURE p() SELECT id FROM "user"'],
    "postgresql": ['ALTER TABLE "user" ALTER COLUMN email SET STATISTICS 500'],
}
# And what is odd to write down: colons, quotes, keys in a circle, names in another order than they are needed in.
ODD = {
    "sqlite": [
        "CREATE TABLE odd (a INTEGER PRIMARY KEY, b TEXT COLLATE NOCASE DEFAULT 'x:y', c INT AS (a * 2) STORED)",
        r"INSERT INTO odd (a, b) VALUES (5, 'it''s :foo \:x :smile: %s'), (9, NULL)",
        "CREATE UNIQUE INDEX part ON odd (lower(b) DESC) WHERE a > 3",
        "CREATE VIEW b AS SELECT * FROM odd",
        "CREATE VIEW a AS SELECT * FROM b",
    ],
    "mysql": [
        "CREATE TABLE odd (a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(40) CHARACTER SET latin1, c BIT(3), d SET('x'))",
        r"INSERT INTO odd (b, c, d) VALUES ('é :foo \\:x :smile: %s', b'101', 'x')",
        "CREATE TABLE k1 (a INT PRIMARY KEY, b INT)",
        "CREATE TABLE k2 (a INT PRIMARY KEY, b INT, CONSTRAINT f2 FOREIGN KEY (b) REFERENCES k1 (a))",
        "INSERT INTO k1 VALUES (1, 1)",
        "INSERT INTO k2 VALUES (1, 1)",
        "ALTER TABLE k1 ADD CONSTRAINT f1 FOREIGN KEY (b) REFERENCES k2 (a)",
        "CREATE VIEW z AS SELECT a FROM odd",
        "CREATE VIEW y AS SELECT a FROM z",
    ],
    "postgresql": [
        "CREATE TABLE odd (a serial PRIMARY KEY, b text, c int REFERENCES odd, d int GENERATED ALWAYS AS (a) STORED)",
        r"INSERT INTO odd (a, b) VALUES (5, 'it''s :foo \:x :smile: %s -- ;')",
        "UPDATE odd SET c = a",
        "CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM odd'",
        "CREATE VIEW b AS SELECT counted() AS n",
        "CREATE VIEW a AS SELECT * FROM b",
        "ALTER TABLE odd ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY own ON odd USING (a > 0)",
        "CREATE TABLE other.referring (a int REFERENCES odd)",
        "INSERT INTO other.referring VALUES (5)",
    ],
}
PERCENT = {"sqlite": "%", "mysql": "%%", "postgresql": "%%"}


@pytest.fixture
def committed(project: Project) -> Project:
    """Return a project with two more revisions, a1 and b1, committed to git with the tag v1."""
    project.write(*revision("a1", FIRST, f"op.create_table('pet', {ID})"))
    project.write(*revision("b1", "a1", "op.execute('INSERT INTO pet (id) VALUES (7)')"))
    git(project, "init", "-q")
    git(project, "add", ".")
    commit(project)
    git(project, "tag", "v1")
    return project


def commit(project: Project) -> None:
    """Commit all changes."""
    git(project, "commit", "-qam", "Change")


@pytest.fixture
def another(backend: str, tmp_path: Path) -> Iterator[Engine]:
    """Yield an engine for a second database of the backend."""
    folder = tmp_path / "another"
    folder.mkdir()
    with empty_database(backend, folder) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


def url_of(engine: Engine) -> str:
    """Return the URL of the engine, with the password."""
    return engine.url.render_as_string(hide_password=False)


def snapshot(engine: Engine) -> Snapshot:
    """Return schema, rows and counters."""
    with engine.connect() as connection:
        return adapter_of(engine).snapshot(connection)


@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection")  # of an index on an expression
@pytest.mark.usefixtures("in_app")
def test_a_squash_makes_what_its_scripts_made(project: Project, engine: Engine, another: Engine) -> None:
    """Renames, rebuilds, rows, views, triggers, enums, counters: a new database is as one that ran the scripts.

    A table that has a model is created by Alembic's operations, everything else by SQL.
    """
    for script in history():
        project.write(*script)
    project.ok("upgrade")
    said = project.ok("squash", "--yes")
    assert "Squashed 12 revisions into migrations/versions/s0x10.py\nSchema and rows are equal on " in said
    (squash,) = project.scripts()
    assert "op.create_table('user'," in squash.read_text()
    assert "create_table('pet0'" not in squash.read_text()
    assert "Nothing to do: the database is at s0x10" in project.ok("upgrade")
    assert "found nothing dangerous" in project.ok("review", "--all")
    project.ok("upgrade", DATABASE_URL=url_of(another), MIGRATION_REVIEW="enforce")
    for each in (engine, another):
        with each.begin() as connection:  # by the counter, and through the trigger
            connection.execute(text("INSERT INTO pet0 (title, age, born) VALUES ('New', 1, '2020-01-01')"))
    assert state(engine) == state(another)
    assert snapshot(engine) == snapshot(another)


@pytest.mark.usefixtures("in_app")
def test_tables_of_models(empty: Models, backend: str, another: Engine) -> None:
    """What `flask db migrate` writes for the models creates them, unless the old scripts made something more of one."""
    empty.become(USERS, PETS, KIND)
    (first,) = (script.stem.split("_")[2] for script in empty.scripts())
    empty.write(*revision("a1", first, "\n".join(f"op.execute({each!r})" for each in MORE[backend]) or "pass"))
    empty.ok("upgrade")
    assert ("\nIn SQL on postgresql, because they differ from the models: user\n" in empty.ok("squash", "--yes")) == (
        backend == "postgresql"
    )
    (squash,) = empty.scripts()
    by_sql = ["user"] if backend == "postgresql" else []
    made = re.findall(r"op\.create_table\('(\w+)'", squash.read_text())
    assert ["kind", "pet", "toy", "user"] == sorted([*made, *by_sql])
    empty.ok("upgrade", DATABASE_URL=url_of(another), MIGRATION_REVIEW="enforce")
    assert snapshot(empty.engine) == snapshot(another)
    if backend == "mysql":  # in the mode in which it was written
        with another.connect() as connection:
            assert [] == connection.execute(text("CALL p()")).all()


@pytest.mark.usefixtures("in_app")
def test_everything_that_a_database_can_have(project: Project, backend: str, engine: Engine, another: Engine) -> None:
    """All kinds of values, and objects that Alembic does not know, are in the database's own words."""
    statements = (PACKAGE / "tests" / "backup" / f"{backend}.sql").read_text().split(";\n")
    made = [FIXED.sub("NULL", each) for each in statements if each.strip() and not NOT_MADE.search(each)]
    made = sorted([*made, *ODD[backend]], key=lambda each: "DEFAULT PRIVILEGES" in each)
    lines = [f"op.get_bind().exec_driver_sql({each.replace('%', PERCENT[backend])!r})" for each in made]
    project.write(*revision("a1", FIRST, "\n".join(lines)))
    project.ok("upgrade")
    project.ok("squash", "--yes")
    project.ok("upgrade", DATABASE_URL=url_of(another), MIGRATION_REVIEW="enforce")
    assert snapshot(engine) == snapshot(another)
    assert {"everything", "one", "two"} <= snapshot(another).tables.keys()


def test_what_cannot_be_expressed_is_refused(committed: Project) -> None:
    """A difference that no script removes is shown, with exit status 1, and no file is changed."""
    committed.write(*revision("c1", "b1", "op.execute('PRAGMA user_version = 5')"))
    git(committed, "add", ".")
    commit(committed)
    committed.ok("upgrade")
    assert (
        "Error: the squash would not make what the old scripts make on sqlite, so nothing was changed:\n"
        "    user_version is '0' instead of '5'\n"
        "Fix: squash up to a revision before the one that creates this; choose it from this list:\n"
        "    flask db history\n"
    ) in committed.fails("squash")
    assert "" == git(committed, "status", "--porcelain", "migrations", ":!*.pyc")
    assert "Squashed 3 revisions into " in committed.ok("squash", "b1")
    assert ["b1", "c1"] == sorted(script.stem for script in committed.scripts())


@on_sqlite
def test_a_database_at_a_replaced_revision(committed: Project, sql: Sql) -> None:
    """Commands name the release to go through. Stock knows no such revision, and no way."""
    committed.ok("upgrade", "a1")
    assert "Squashed 3 revisions" in committed.ok("squash", DATABASE_URL="sqlite://")
    assert re.search(r"Fix: .* in that copy, then come back:\n    flask db upgrade b1\n", committed.fails("upgrade"))
    commit(committed)
    refused = (
        "Error: the database is at a1, which b1, a squash of 3 revisions, replaced: no script leads on from there.\n"
        "Fix: upgrade it with the last release that has these scripts, v1; then come back:\n"
        "    git checkout v1\n"
        "    flask db upgrade b1\n"
        "    git checkout -\n"
    )
    for command in ("upgrade", "current", "check", "downgrade"):
        assert refused in committed.fails(command)
    assert refused.replace("Error: ", "\nAn upgrade would stop: ") in committed.fails("status")
    assert "Error: the database is at a1 already.\nFix: " in committed.fails("adopt")
    git(committed, "checkout", "-q", "v1")
    committed.ok("upgrade", "b1")
    git(committed, "checkout", "-q", "-")
    assert "Nothing to do: the database is at b1" in committed.ok("upgrade")
    assert "unknown revision a1: b1 replaced it.\n" in committed.fails("downgrade", "a1")
    assert "of b1 only raises an error: the scripts that a squash replaces are gone" in committed.fails("downgrade")
    sql("UPDATE alembic_version SET version_num = 'a1'")
    committed.make_stock()
    assert "Can't locate revision identified by 'a1'" in committed.fails("upgrade")


def test_squash_asks_git(committed: Project) -> None:
    """Scripts that git does not have as they are stay, unless --yes; the database must not be at one of them."""
    committed.ok("upgrade", "a1")
    assert "this database is at a1, which the squash would remove.\nFix: upgrade it first" in committed.fails("squash")
    committed.ok("upgrade")
    committed.write(*revision("b1", "a1", "pass"))
    committed.write(*revision("c1", "b1", "pass"))
    assert " as they are: migrations/versions/b1.py, migrations/versions/c1.py.\nFix: " in committed.fails("squash")
    git(committed, "checkout", "migrations/versions/b1.py")
    assert "Error: the server's URL does not begin with one of sqlite://, " in committed.fails(
        "squash", "--yes", "--on", "x:"
    )
    server = "mysql://root:secret@127.0.0.1:1"
    said = committed.fails("squash", "--yes", "--on", server)
    assert "Error: cannot reach mysql+pymysql://root:***@127.0.0.1:1, the server after --on: " in said
    assert said.endswith("\nFix: start it, or correct user, password, host or port after --on.\n")
    (committed.path / ".git").rename(committed.path / "git")
    assert "git does not keep them: there is no git repository.\nFix: keep a copy" in committed.fails("squash", "b1")
    assert "Squashed 3 revisions into " in committed.ok("squash", "b1", "--yes")
    assert "Nothing to squash: b1 is the first revision\n" == committed.ok("squash", "b1")
    committed.ok("upgrade")
    listed = "replaces = [\n    'fb3704abff84',\n    'a1',\n    'b1',\n]\n"
    assert listed in text_of_squash(committed, "squash", "--yes")


def text_of_squash(project: Project, *command: str) -> str:
    """Run the command, and return the text of the only script that is left."""
    project.ok(*command)
    (script,) = project.scripts()
    return script.read_text()


def test_branches(project: Project) -> None:
    """All that a revision descends from or depends on is replaced, unless another branch needs it, too.

    The squash has what the old scripts declare, and alembic.ini names it in their place.
    """
    project.write(*revision("a1", FIRST, "pass", more="requires = {'sqlite': '>=3.9', 'mysql': '>=8'}"))
    project.write(*revision("a2", FIRST, "pass", more="requires = {'sqlite': '>=3.8'}"))
    project.write(*revision("m1", ("a1", "a2"), "pass", more="depends_on = 'p1'"))
    project.write(*revision("p1", None, f"op.create_table('plug', {ID})", more="branch_labels = ('plugin',)"))
    project.write(*revision("p2", "p1", "pass"))
    refused = project.fails("squash", "m1", "--yes")
    assert "revision p2 starts from p1, which the squash up to m1 would remove.\nFix: squash up to" in refused
    refused = project.fails("squash", "p2", "--yes")
    assert "revision m1 starts from p1, which the squash up to p2 would remove.\n" in refused
    (project.path / "migrations" / "versions" / "p2.py").unlink()
    project.ok("review", "--accept", "a1", "--accept", "p1")
    text = text_of_squash(project, "squash", "--yes", "heads")
    assert {f"    '{name}',\n" for name in (FIRST, "a1", "a2", "p1")} == set(re.findall(r"^    '\w+',\n", text, re.M))
    assert "branch_labels = ('plugin',)\n" in text
    assert "requires = {'sqlite': '>=3.8,>=3.9', 'mysql': '>=8'}\n" in text
    assert "reviewed = m1\n" in (project.path / "migrations" / "alembic.ini").read_text()
    project.ok("upgrade")


def test_a_kill_while_files_are_replaced(committed: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any step the history is the old one, the new one, or refused by each command; the next squash mends it."""
    versions = committed.path / "migrations" / "versions"
    before = {path.name: path.read_text() for path in versions.glob("*.py")}

    def history() -> ScriptDirectory:
        return ScriptDirectory(str(committed.path / "migrations"))

    def killed_after(steps: int) -> bool:
        left = iter(range(steps))

        def step(function: Callable[..., object]) -> Callable[..., object]:
            def run(*args: object, **options: object) -> object:
                if next(left, None) is None:
                    raise KeyboardInterrupt
                return function(*args, **options)

            return run

        with monkeypatch.context() as patch:
            for name in ("rename", "replace", "unlink"):
                patch.setattr(Path, name, step(getattr(Path, name)))
            target = history().get_revision("b1")
            try:
                replace_files(target, replaced(history(), target), SQUASH)
            except KeyboardInterrupt:
                return True
        return False

    seen, steps = set(), 0
    while killed_after(steps):
        done = committed.db("history")
        scripts = {path.name for path in versions.glob("*.py")}
        seen.add((done.returncode, len(scripts)))
        if done.returncode:
            assert "Error: a squash was interrupted: scripts in migrations are still" in done.stderr
            assert "\n    flask db squash b1\n" in done.stderr
        elif (versions / "b1.py").read_text() == SQUASH:
            left = len([*versions.glob(f"*{OLD}")])
            assert (left > 0) == ("rm migrations/versions/*.py.squashed\n" in committed.db("status").stdout)
        restore_interrupted([versions])
        now = {path.name: path.read_text() for path in versions.iterdir() if path.is_file()}
        assert now in (before, {"b1.py": SQUASH})
        for name, script in before.items():
            committed.write(f"migrations/versions/{name}", script)
        steps += 1
    assert {(0, 3), (1, 2), (1, 1), (0, 1)} == seen
    killed_after(2)
    committed.ok("squash")
    assert ["b1"] == [script.stem for script in committed.scripts()]
    assert [] == [*versions.glob(f"*{NEW}"), *versions.glob(f"*{OLD}")]


def test_rows_that_vary(committed: Project) -> None:
    """A value that is another one in each run, such as a key, is not written into the script without --yes."""
    insert = 'op.execute(f"INSERT INTO pet (id) VALUES ({secrets.randbelow(2**40)})")'
    committed.write(*revision("c1", "b1", f"import secrets\n{insert}"))
    git(committed, "add", ".")
    commit(committed)
    committed.ok("upgrade")
    said = committed.fails("squash")
    assert "each time the old scripts run they insert other rows into pet, such as" in said
    assert "; if not, add --yes:\n    flask db squash --yes c1\n" in said
    assert 4 == len(committed.scripts())
    committed.ok("squash", "--yes")


def test_tables_that_differ_from_their_models(committed: Project) -> None:
    """A model that is ahead of the revision, or has its columns in another order, does not get into the squash."""
    models = committed.path / "app" / "models.py"
    models.write_text(models.read_text() + "    age: Mapped[int | None]\n")
    git(committed, "add", ".")
    commit(committed)
    committed.ok("upgrade")
    assert "\nIn SQL on sqlite, because they differ from the models: user\n" in committed.ok("squash")
    (script,) = committed.scripts()
    assert "create_table(" not in script.read_text()


@pytest.mark.filterwarnings("default:Skipped unsupported reflection")
def test_a_warning_is_shown_once(committed: Project, recwarn: pytest.WarningsRecorder) -> None:
    """SQLAlchemy warns each time a script rebuilds a table that has an index on an expression."""
    rebuild = (
        "with op.batch_alter_table('pet', recreate='always') as batch:\n    batch.alter_column('id', nullable=False)"
    )
    committed.write(*revision("c1", "b1", f"op.execute('CREATE INDEX half ON pet (id / 2)')\n{rebuild}"))
    committed.ok("upgrade")
    recwarn.clear()
    committed.ok("squash", "--yes")
    assert 1 == len([each for each in recwarn if "index half" in str(each.message)])


@on_servers
def test_several_products(committed: Project, backend: str, another: Engine) -> None:
    """The squash is proved on each target; on one without a server it is refused, or with --yes refuses to run."""
    product = "mariadb" if backend == "mysql" and is_mariadb(another.url) else backend
    committed.environ["MIGRATION_TARGETS"] = product
    committed.ok("upgrade")
    assert (
        f"Error: MIGRATION_TARGETS names {product}, where the squash cannot be proved without a server.\n"
        "Instead: name a server for each, on which a scratch database is created; or add --yes, for a script that"
        f" refuses to run there:\n    flask db squash --on {product}://USER:PASSWORD@SERVER b1\n"
    ) in committed.fails("squash")
    assert f"\nNot proved, and refused by the script: {product}\n" in committed.ok("squash", "--yes")
    said = committed.fails("upgrade", DATABASE_URL=url_of(another))
    assert "Trying again" not in said
    assert f"RuntimeError: this squash was not proved on {product}\nFix: build this database with" in said
    if backend == "mysql":
        said = committed.fails("upgrade", "--sql", DATABASE_URL="mysql+pymysql://root@127.0.0.1:1/nosuch")
        assert "Fix: --sql goes by the URL: if the server is MariaDB, write mariadb:// in DATABASE_URL (or " in said
    git(committed, "checkout", "migrations")
    said = committed.ok("squash", "--on", os.environ[SERVERS[backend]])
    assert re.search(rf"Schema and rows are equal on sqlite [\d.]+, {product} [\d.]+\n", said)
    committed.ok("upgrade", DATABASE_URL=url_of(another))
    assert [(7,)] == rows(another, "SELECT id FROM pet")
    del committed.environ["MIGRATION_TARGETS"]
    committed.write(*revision("c1", "b1", "pass"))
    committed.ok("upgrade")
    git(committed, "add", ".")
    commit(committed)
    assert f"Error: b1, a squash, names {product}, where the squash cannot be proved" in committed.fails("squash")
