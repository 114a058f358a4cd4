"""A database that has tables but no revision gets the one that it fits, or the differences; and keeps its rows."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, text

from ..adapters import adapter_of
from ..commands.app_database import opened
from ..database import app_engine
from ..histories.adoption import History, built, closest
from .example.app.extensions import NAMING_CONVENTION, migrate
from .support import (
    FIRST,
    PACKAGE,
    SERVERS,
    Project,
    Sql,
    copied,
    empty_database,
    is_mariadb,
    make_app,
    on_postgresql,
    on_sqlite,
    revision,
    state,
)

HISTORY = (
    revision(
        "a1",
        FIRST,
        "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('name', sa.String(80)),"
        " sa.Column('owner_id', sa.Integer()), sa.ForeignKeyConstraint(['owner_id'], ['user.id']))",
    ),
    revision(
        "a2",
        "a1",
        "with op.batch_alter_table('pet') as batch:\n"
        "    batch.add_column(sa.Column('age', sa.Integer(), server_default='0', nullable=False))\n"
        "    batch.create_unique_constraint('uq_pet_name', ['name'])\n"
        "    batch.create_check_constraint('age_not_negative', 'age >= 0')\n"
        "op.create_index('ix_pet_age', 'pet', ['age'])",
    ),
    revision(
        "a3",
        "a2",
        "op.create_table('toy', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('note', sa.Text()),"
        " sa.Column('kind', sa.Enum('ball', 'rope', name='kind')))",
    ),
    revision("a4", "a3", "op.execute(\"UPDATE pet SET name = 'Rex' WHERE name = 'rex'\")"),
)
KEY: dict[str, Any] = {"primary_key": True}


def tables(
    newest: str = "a3",
    convention: Any = NAMING_CONVENTION,
    size: int = 80,
    unique: str | Literal[False] | None = None,
    missing: tuple[str, ...] = (),
    **age: Any,
) -> sa.MetaData:
    """Return the tables that the history makes up to ``newest``, with columns in another order, or what differs."""
    models = sa.MetaData(naming_convention=convention)
    name, email = (
        sa.Column(name, sa.String(size), nullable=False) for name, size in (("username", 80), ("email", 120))
    )
    both = sa.UniqueConstraint("username"), sa.UniqueConstraint("email")
    sa.Table("user", models, sa.Column("id", sa.Integer, **KEY), email, name, *both)
    pet: list[Any] = [sa.Column("owner_id", sa.Integer, sa.ForeignKey("user.id")), sa.Column("name", sa.String(size))]
    if newest >= "a2":
        pet += [sa.Column("age", sa.Integer, **{"server_default": "0", "nullable": False, **age})]
        pet += [sa.Index("ix_pet_age", "age"), sa.CheckConstraint("age >= 0", name="age_not_negative")]
        pet += [] if unique is False else [sa.UniqueConstraint("name", name=unique)]
    if "pet" not in missing:
        sa.Table("pet", models, *pet, sa.Column("id", sa.Integer, **KEY))
    if newest >= "a3":
        toy: list[Any] = [sa.Column("kind", sa.Enum("ball", "rope", name="kind")), sa.Column("id", sa.Integer, **KEY)]
        sa.Table("toy", models, *toy, *([] if "note" in missing else [sa.Column("note", sa.Text)]))
    return models


TRIGGER = {
    "sqlite": "CREATE TRIGGER t AFTER INSERT ON toy BEGIN SELECT 1; END",
    "mysql": "CREATE TRIGGER t BEFORE INSERT ON toy FOR EACH ROW SET NEW.note = 'x'",
    "postgresql": "CREATE TRIGGER t BEFORE UPDATE ON toy FOR EACH ROW EXECUTE FUNCTION"
    " suppress_redundant_updates_trigger()",
}
# What the database chose when the table was created; PostgreSQL and SQLite have one collation for a database.
COLLATION = {"mysql": "ALTER TABLE toy CONVERT TO CHARACTER SET latin1"}
OTHERS = ["CREATE TABLE audit (id INTEGER PRIMARY KEY)", "CREATE VIEW v AS SELECT id FROM pet"]
# How the database is made, SQL that changes it then, the revision that is closest, what differs, and which names do.
SITUATIONS: dict[str, tuple[dict[str, Any], list[str], str, list[str], list[str]]] = {
    "create_all": ({}, [], "a4", [], []),
    "an older revision": ({"newest": "a2"}, [], "a2", [], []),
    "names that the server chose": ({"newest": "a1", "convention": None}, [], "a1", [], ["user", "pet"]),
    "an index too many": (
        {},
        ["CREATE INDEX more ON pet (name, age)"],
        "a4",
        ["more of pet is not in this revision"],
        [],
    ),
    "another type": ({"size": 40}, [], "a4", ["column name of pet is "], []),
    "a missing column": ({"missing": ("note",)}, [], "a4", ["column note of toy is missing"], []),
    "another default": ({"server_default": "1"}, [], "a4", ["column age of pet is "], []),
    "a missing constraint": ({"unique": False}, [], "a4", ["of pet is missing"], []),
    "NULL": ({"nullable": True}, [], "a4", ["column age of pet is "], []),
    "a renamed constraint": ({"unique": "one_name"}, [], "a4", [], ["pet"]),
    "another collation": ({}, ["COLLATION"], "a4", [], []),
    "objects of others": ({}, [*OTHERS, "TRIGGER"], "a4", [], []),
}


@pytest.fixture(scope="module")
def histories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], tuple[History, str]]]:
    """Yield a function that returns what the history makes on a backend, and the URL of a database there.

    It is built once for all tests.
    """
    with ExitStack() as stack:

        @cache
        def of(backend: str) -> tuple[History, str]:
            folder = tmp_path_factory.mktemp(backend)
            project = with_history(copied(folder))
            url = stack.enter_context(empty_database(backend, folder))
            stack.enter_context(patch.object(migrate, "directory", str(project.path / "migrations")))
            with make_app(url).app_context():
                config = migrate.get_config()
                with opened(config) as (database, using):
                    history = built(config, database, using)
                app_engine().dispose()
            return history, url

        yield of


def with_history(project: Project) -> Project:
    """Write the scripts of HISTORY."""
    for name, script in HISTORY:
        project.write(name, script)
    return project


def made(engine: Engine, models: sa.MetaData, *statements: str) -> None:
    """Create the tables, with rows, and run ``statements``."""
    models.create_all(engine)
    with engine.begin() as connection:
        connection.execute(models.tables["user"].insert(), [{"username": "ann", "email": "a@x"}])
        for statement in statements:
            own = {"TRIGGER": TRIGGER, "COLLATION": COLLATION}.get(statement, {})
            connection.execute(text(own.get(engine.dialect.name, "SELECT 1") if own else statement))


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.usefixtures("in_any_app")
def test_situations(
    histories: Callable[[str], tuple[History, str]], backend: str, engine: Engine, situation: str
) -> None:
    """The closest revision is found, and what differs is listed, apart from what only has another name."""
    options, statements, nearest, different, named = SITUATIONS[situation]
    made(engine, tables(**options), *statements)
    history, _ = histories(backend)
    with engine.connect() as connection:
        found = adapter_of(engine).schema(connection)
    best = closest(history, found)
    assert best is not None
    assert ("", (nearest,)) == (history.failure, best.heads)
    assert len(different) == len(best.differences), best
    assert all(words in line for words, line in zip(different, best.differences, strict=True)), best
    others = [line.replace('"', "") for line in best.names]
    if backend != "sqlite" or not different:  # where the name of a missing constraint is missing, too
        assert set(named) == {table for table in ("user", "pet") if any(f" of {table} " in line for line in others)}
    trigger = "trigger t" if backend == "mysql" else "trigger t of toy"
    assert (["table audit", trigger, "view v"] if len(statements) > 1 else []) == history.unknown(found)


@pytest.fixture
def adopting(project: Project, engine: Engine) -> Project:
    """Return a project with HISTORY, on an empty database."""
    return with_history(project)


def revisions(engine: Engine) -> list[str]:
    """Return the rows of alembic_version; an empty list if there is no such table."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return []
        return list(connection.scalars(text("SELECT version_num FROM alembic_version")))


def test_adopted(adopting: Project, engine: Engine) -> None:
    """A database that fits is stamped, and nothing else in it changes; the revisions after it are pending."""
    made(engine, tables("a1"))
    before = state(engine)
    said = adopting.ok("adopt")
    assert "a1: the database has the schema of this revision" in said
    schema, texts, rows = state(engine)
    assert ["('a1',)"] == rows.pop("alembic_version")
    assert before == (schema, {name: texts[name] for name in before[1]}, rows)
    adopting.ok("upgrade")
    assert ["a4"] == revisions(engine)


def test_view_and_trigger(adopting: Project, engine: Engine, backend: str, sql: Sql) -> None:
    """The view and the trigger of a revision are the same, whoever created them, and a missing one is a difference."""
    # On MySQL the user of a scratch database has no right to create triggers, because the server has a binary log.
    has_right = backend != "mysql" or is_mariadb(engine.url)
    statements = [OTHERS[1], *([TRIGGER[backend]] if has_right else [])]
    adopting.write(*revision("a5", "a4", "\n".join(f"op.execute({each!r})" for each in statements)))
    made(engine, tables(), *statements)
    assert "a5: the database has the schema of this revision" in adopting.ok("adopt")
    sql("DROP VIEW v", "DELETE FROM alembic_version")
    assert "a5: the database has 1 difference:\n    view v is missing\n" in adopting.fails("adopt", "a5")


@on_sqlite
def test_names_as_written(adopting: Project, engine: Engine) -> None:
    """SQLite does not compare the names of constraints: a message has them as they are written."""
    made(engine, tables(unique=False))
    assert "    constraint uq_pet_name of pet is missing\n" in adopting.fails("adopt", "a4")


def test_different(adopting: Project, engine: Engine) -> None:
    """Differences are listed with the line that stamps all the same; without --yes nothing is stamped."""
    made(engine, tables("a3", missing=("note", "pet")))
    said = adopting.fails("adopt", "a4")
    lines = ["a4: the database has 2 differences:", "    column note of toy is missing", "    table pet is missing"]
    assert "\n".join(lines) in said
    assert "    flask db adopt a4 --yes" in said
    assert [] == revisions(engine)
    adopting.ok("adopt", "a3", "--yes")
    assert ["a3"] == revisions(engine)
    assert "Error: the database is at a3 already.\nFix: " in adopting.fails("adopt")


@on_sqlite
@pytest.mark.parametrize(
    ("statement", "args", "status", "says"),
    [
        ("SELECT 1", (), 1, "has no tables.\nFix: create them:\n    flask db upgrade"),
        ("CREATE TABLE other (id INTEGER)", (), 1, "has no table of this history.\nFix: create the tables:\n"),
        ("CREATE TABLE pet (id INTEGER)", ("a9",), 1, "Error: unknown revision a9.\nFix: "),
        ("CREATE TABLE pet (id INTEGER)", ("base",), 2, "base has no tables. Fix: leave REVISION out: flask db adopt"),
    ],
    ids=["empty", "only tables of others", "unknown revision", "base"],
)
def test_refused(
    adopting: Project, engine: Engine, sql: Sql, statement: str, args: tuple[str, ...], status: int, says: str
) -> None:
    """What cannot be adopted is refused, and gets no revision."""
    sql(statement)
    done = adopting.db("adopt", *args)
    assert (status, True, []) == (done.returncode, says in done.stderr, revisions(engine)), done.stderr


@on_sqlite
def test_revision_that_fails(adopting: Project, engine: Engine, sql: Sql) -> None:
    """If a revision cannot be built on an empty database, the database is compared with those before it.

    A table that this revision or a later one would create is a difference.
    """
    made(engine, tables(), "CREATE TABLE late (id INTEGER)")
    adopting.write(*revision("a5", "a4", "op.drop_table('missing')"))
    adopting.write(*revision("a6", "a5", "op.create_table('late', sa.Column('id', sa.Integer()))"))
    assert "cannot be built on an empty database. a5: its upgrade fails: " in adopting.fails("adopt", "a5", "--yes")
    said = adopting.fails("adopt")
    assert "Not compared, because it cannot be built on an empty database: a5: its upgrade fails: " in said
    assert "a4: the database has 1 difference:\n    table late is not in this revision\n" in said
    sql("DROP TABLE late")
    said = adopting.fails("adopt")
    assert "Fix: if the database is not at a later revision, stamp this one:\n    flask db stamp a4\n" in said
    assert [] == revisions(engine)


@on_sqlite
def test_same_schema(adopting: Project, engine: Engine) -> None:
    """Revisions that only change rows are named, because the schema cannot show whether they have run."""
    made(engine, tables())
    adopting.write(*revision("a5", "a4", 'op.execute("INSERT INTO pet (id, age) VALUES (9, 1)")'))
    said = adopting.ok("adopt")
    assert (
        "a4, a5 change only rows; nothing in the schema tells whether they ran. If they did not:\n"
        "    flask db stamp a3\n"
        "Revisions that insert rows, which a database made by create_all() lacks: a5\n"
    ) in said
    assert ["a5"] == revisions(engine)


@on_sqlite
def test_stock(adopting: Project, engine: Engine) -> None:
    """Stock begins to upgrade a database that has the tables already, fails, and leaves what it has made until then."""
    made(engine, tables("a1"))
    (first,) = (script for script in adopting.scripts() if FIRST in script.name)
    start = "def upgrade() -> None:\n"
    part = f"{start}    op.create_table('part', sa.Column('id', sa.Integer()))\n"
    first.write_text(first.read_text().replace(start, part))
    adopting.make_stock()
    assert "already exists" in adopting.fails("upgrade")
    assert sa.inspect(engine).has_table("part")


def test_upgrade(adopting: Project, engine: Engine) -> None:
    """An upgrade of a database without a revision stops before it touches anything, if it has tables of the history."""
    made(engine, tables("a1"))
    before = state(engine)
    what = "the database has the tables user, pet already, which pending revisions create, but it has no revision."
    fix = "mark it as applied; this changes nothing else:\n    flask db adopt\n"
    said = adopting.fails("upgrade")
    assert (True, True) == (what in said, fix + "Nothing was changed; the database is still at base." in said), said
    assert before == state(engine)
    for command in ("migrate", "check", "status"):
        said = adopting.fails(command)
        assert (True, True) == (what in said, fix in said), said
    assert before == state(engine)


def test_tables_of_others(adopting: Project, engine: Engine, sql: Sql) -> None:
    """Tables that no revision creates do not stop an upgrade, nor those that a script expects to find."""
    extra = "CREATE TABLE IF NOT EXISTS more (id INTEGER)", "CREATE TABLE user_log (id INTEGER)"
    adopting.write(*revision("a5", "a4", "\n".join([f"op.execute({extra[0]!r})", "op.drop_table('user_log')"])))
    sql(*extra, OTHERS[0])
    adopting.ok("upgrade")
    assert ["a5"] == revisions(engine)


@on_sqlite
def test_first_revision(adopting: Project, engine: Engine) -> None:
    """`migrate` warns that it cannot write a first revision from a database that has the models' tables."""
    for script in adopting.scripts():
        script.unlink()
    made(engine, tables("a1", missing=("pet",)))
    said = adopting.ok("migrate", "-m", "Begin")
    assert (
        "already, so the first revision would leave out what these have: it could not build an empty database" in said
    )
    assert '    DATABASE_URL=sqlite:////tmp/empty.db flask db migrate -m "Begin"\n    flask db adopt\n' in said
    for script in adopting.scripts():
        script.unlink()
    adopting.ok("migrate", "-m", "Begin", DATABASE_URL="sqlite://")
    assert "the database has the schema of this revision" in adopting.ok("adopt")
    adopting.ok("check")


PET = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('size', sa.Integer()){})"
UNIQUE = PET.format(", sa.UniqueConstraint('size')")
AGE = "op.add_column('pet', sa.Column('age', sa.Integer()))"
SINCE = ["convention_since = c2"]
SINCE_NEW = [
    'flask db revision --rev-id convention -m "Name constraints by the convention from here on"',
    "convention_since = convention",
]


@pytest.mark.parametrize(
    ("backend", "first", "second", "lines"),
    [
        *((backend, UNIQUE, AGE, SINCE) for backend in ("sqlite", *SERVERS)),
        ("sqlite", UNIQUE, UNIQUE.replace("pet", "toy"), SINCE_NEW),
        ("sqlite", PET.format(", sa.CheckConstraint('size > 0')"), AGE, SINCE_NEW),
    ],
    ids=["sqlite", *SERVERS, "up to the newest revision", "a revision fails with the convention"],
    indirect=["backend"],
)
def test_without_convention(
    project: Project, engine: Engine, sql: Sql, first: str, second: str, lines: list[str]
) -> None:
    """If the names fit only without the convention, lines are printed with which the history makes them again."""
    project.write(*revision("c1", FIRST, first))
    project.write(*revision("c2", "c1", second))
    made(engine, tables("a1", missing=("pet",)))
    with engine.begin() as connection:  # as stock runs scripts if the app has no convention
        stock = Operations(MigrationContext.configure(connection))
        exec(f"{first}\n{second}", {"op": stock, "sa": sa})
    said = project.ok("adopt")
    why = "From c2 on, it changes no name" if lines == SINCE else "It changes names in the newest revision, too"
    assert f"{why}. To run older revisions without it, write " in said
    assert "".join(f"    {line}\n" for line in lines) in said
    assert ["c2"] == revisions(engine)
    if len(lines) > 1:
        project.ok(*shlex.split(lines[0])[2:])
    ini = project.path / "migrations" / "alembic.ini"
    ini.write_text(ini.read_text().replace("[alembic]", f"[alembic]\n{lines[-1]}"))
    sql("DELETE FROM alembic_version")
    said = project.ok("adopt", "c2")
    assert ("c2: the database has the schema of this revision\n", False) == (
        said[: said.index("\n") + 1],
        "only in their names" in said,
    ), said


@on_postgresql
def test_without_models(project: Project, sql: Sql, database: str) -> None:
    """The commands of HISTORIES.md write models and a first script for a database that has none, and adopt it."""
    pytest.importorskip("sqlacodegen", reason="only with sqlacodegen, which CI installs")
    sql(
        "CREATE TABLE person (id serial PRIMARY KEY, email varchar(120) NOT NULL UNIQUE, kind char(1) DEFAULT 'a')",
        "CREATE TABLE pet (id serial PRIMARY KEY, owner integer REFERENCES person (id), age integer CHECK (age > 0))",
        "CREATE INDEX pet_age ON pet (age)",
    )
    for script in project.scripts():
        script.unlink()
    text = (PACKAGE / "HISTORIES.md").read_text().partition("### Without models")[2].partition("```sh\n")[2]
    _, *models, migrate, adopt = text.partition("```")[0].splitlines()
    command = "\n".join(models).replace("postgresql+psycopg://USER@SERVER/DATABASE", database)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-ec", command], cwd=project.path, env={**os.environ, "PATH": path}, check=True)
    url, targets, *arguments = shlex.split(migrate)
    settings = dict(each.split("=", 1) for each in (url, targets))
    project.ok(*arguments[2:], **{**settings, "DATABASE_URL": "sqlite://"})
    said = project.ok(*shlex.split(adopt)[2:])
    assert ", Begin: the database has the schema of this revision" in said
    project.ok("migrate", "-m", "Rename a CHECK as the convention says")
    assert "RENAME CONSTRAINT pet_age_check TO ck_pet_pet_age_check" in project.scripts()[-1].read_text()
    project.ok("upgrade")
    project.ok("check")


@on_sqlite
def test_revision_of_another_command(adopting: Project, engine: Engine) -> None:
    """A revision that another command has given the database while the history was built is not overwritten."""
    made(engine, tables())
    stamp = "import sqlite3\nother = sqlite3.connect({!r})\nother.executescript({!r})\nother.close()"
    sql = "CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('a1')"
    adopting.write(*revision("a5", "a4", stamp.format(engine.url.database, sql)))
    assert "Error: the database is at a1 already.\nFix: " in adopting.fails("adopt", "--yes")
    assert ["a1"] == revisions(engine)
