"""The main job: from no migrations folder to a history that goes forth and back, by `flask db`, on every backend."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, create_engine, inspect, text

from .. import init_app
from .support import AGREE, LOG, Project, on_mysql, on_sqlite, revision

pytestmark = pytest.mark.usefixtures("database")

EMAIL = "    email: Mapped[str] = mapped_column(String(120), unique=True)\n"
NICKNAME = "    nickname: Mapped[str | None] = mapped_column(String(40))\n"


@pytest.fixture
def columns(engine: Engine) -> Callable[[], set[str]]:
    """Return a function that reads the names of the columns of the table user, if there is one."""
    return lambda: {
        column["name"]
        for (_, table), columns in inspect(engine).get_multi_columns().items()
        for column in columns
        if table == "user"
    }


def test_from_nothing(project: Project, columns: Callable[[], set[str]]) -> None:
    """Init, migrate, upgrade, and back and forth, on a checkout whose migrations folder was removed."""
    plain, wide = {"id", "username", "email"}, {"id", "username", "email", "nickname"}
    shutil.rmtree(project.path / "migrations")
    project.ok("init")
    project.ok("migrate", "-m", "Add User Model")
    (first,) = project.scripts()
    assert re.fullmatch(r"\d{8}_\d{6}_[0-9a-f]{12}_add_user_model\.py", first.name)
    assert "op.create_table('user'" in first.read_text()
    assert "The previous release is still running while this does" in first.read_text()
    assert set() == columns()

    upgrade = project.ok("upgrade")
    revision = first.name.split("_")[2]
    assert f"Running upgrade  -> {revision}, Add User Model" in upgrade
    assert plain == columns()
    assert f"Nothing to do: the database is at {revision}" in project.ok("upgrade")

    models = (project.path / "app" / "models.py").read_text()
    project.write("app/models.py", models.replace(EMAIL, EMAIL + NICKNAME))
    project.ok("migrate", "-m", "Add User.nickname")
    second = project.scripts()[1].name.split("_")[2]
    project.ok("upgrade")
    assert wide == columns()
    assert f"Running downgrade {second} -> {revision}" in project.ok("downgrade")
    assert plain == columns()
    project.ok("upgrade", "--revision", second)
    assert wide == columns()
    project.ok("downgrade", "--revision", "-2")
    assert set() == columns()
    project.ok("upgrade", "+1")
    assert plain == columns()
    project.ok("downgrade", "base")
    assert set() == columns()


def test_the_other_commands(project: Project, columns: Callable[[], set[str]]) -> None:
    """What reads the database without changing it, sets its revision, or prints SQL instead of running it."""
    (script,) = project.scripts()
    revision = script.name.split("_")[2]
    assert revision not in project.ok("current")
    sql = project.ok("upgrade", "--sql")
    assert "CREATE TABLE" in sql
    assert "INSERT INTO alembic_version" in sql
    assert 1 == sql.count("Generating static SQL")
    for command, typed, whole in (("upgrade", f":{revision}", "base:{}"), ("downgrade", f"{revision}:", "{}:base")):
        refused = project.db(command, typed, "--sql")
        wanted = f"Fix: flask db {command} {whole.format(revision)} --sql\n"
        assert (2, True) == (refused.returncode, refused.stderr.endswith(wanted)), refused.stderr
    assert "DROP TABLE" in project.ok("downgrade", f"{revision}:base", "--sql")
    assert set() == columns()

    project.ok("stamp", "head")
    assert f"{revision} (head)" in project.ok("current")
    assert set() == columns()
    project.ok("stamp", "base")
    project.ok("upgrade")
    assert AGREE in project.ok("check")
    assert "No changes in schema detected." in project.ok("migrate")
    assert [script] == project.scripts()


@on_sqlite
def test_history(project: Project) -> None:
    """What reads and writes the history, and goes up and down in one that has branches."""
    revision = project.scripts()[0].name.split("_")[2]
    assert f"{revision} (head)" in project.ok("heads")
    assert f"<base> -> {revision} (head), Add User Model" in project.ok("history")
    assert "Add User Model" in project.ok("show", revision)
    assert "Add User Model" in project.ok("show", "--revision", revision)
    assert not project.ok("branches").strip()

    project.ok("revision", "-m", "By hand", "--rev-id", "a1")
    project.ok("revision", "-m", "Beside it", "--rev-id", "b1", "--head", revision, "--splice")
    assert f"{revision} (branchpoint)" in project.ok("branches")
    project.ok("merge", "-m", "Merge heads", "heads", "--rev-id", "c1")
    assert "c1 (head) (mergepoint)" in project.ok("heads", "-v") + project.ok("heads")
    project.ok("upgrade")
    assert "c1 (head)" in project.ok("current")
    project.ok("downgrade", revision)
    assert f"{revision} (branchpoint)" in project.ok("current")


PET = """

class Pet(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete="CASCADE"), index=True)
"""
CIRCLE = """

class Team(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("player.id"), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"))


class Player(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"), index=True)
"""


def add_models(project: Project, classes: str) -> None:
    """Add the models, and generate their revision."""
    models = (project.path / "app" / "models.py").read_text().replace("import String", "import ForeignKey, String")
    project.write("app/models.py", models + classes)
    project.ok("migrate", "-m", "Add models")


@pytest.mark.filterwarnings("ignore:Cannot correctly sort tables")
def test_new_models(project: Project) -> None:
    """Models that are added to models.py are all that `flask db migrate` needs, also if they refer to each other in a
    circle; they go up, down and up again.
    """
    project.ok("upgrade")
    add_models(project, PET + CIRCLE)
    keys = set(re.findall(r"op\.f\('(fk_\w+)'", project.scripts()[1].read_text()))
    circle = {"fk_player_team_id_team", "fk_team_lead_id_player", "fk_team_parent_id_team"}
    assert circle | {"fk_pet_owner_id_user"} == keys
    project.ok("upgrade")
    assert AGREE in project.ok("check")
    project.ok("downgrade")
    project.ok("upgrade")


@on_mysql
def test_new_model_on_stock(project: Project) -> None:
    """The damage: what stock generates for this model, MySQL and MariaDB do not take back."""
    project.ok("upgrade")
    project.make_stock()
    add_models(project, PET)
    project.ok("upgrade")
    assert "1553" in project.db("downgrade").stderr


@on_sqlite
@pytest.mark.parametrize("name", ["status", "seed"])
def test_command_of_the_app(project: Project, name: str) -> None:
    """A command that the app adds reports errors as the others do, and may take the place of one of them."""
    wsgi = (project.path / "wsgi.py").read_text()
    command = f"@app.cli.commands['db'].command()\ndef {name}() -> None:\n    raise ValueError('no seeds')\n"
    project.write("wsgi.py", f"{wsgi}\n\n{command}")
    assert "Error: ValueError: no seeds\nFix: " in project.fails(name)


def own_app(url: str, folder: Path, table: str, **settings: str) -> Flask:
    """Return an app of one model, without a config.py; its Migrate() has a folder and a version table of its own."""
    app = Flask(table, instance_path=str(folder / "instance"))
    app.config.from_mapping(settings, SQLALCHEMY_DATABASE_URI=url, MIGRATION_BACKUP="never")
    database = SQLAlchemy()
    type(table.title(), (database.Model,), {"id": database.Column(database.Integer, primary_key=True)})
    Migrate(app, database, str(folder / table), version_table=f"{table}_versions")
    database.init_app(app)
    init_app(app)
    return app


@on_sqlite
def test_several_apps_in_one_process(engine: Engine, database: str, tmp_path: Path) -> None:
    """Apps of one process have a database, options and settings of their own."""
    other = create_engine(f"sqlite:///{tmp_path / 'cats.db'}")
    cats = own_app(str(other.url), tmp_path, "cat")
    dogs = own_app(database, tmp_path, "dog", MIGRATION_REVIEW="warn")

    def run(app: Flask, *args: str, ends: int = 0) -> str:
        done = app.test_cli_runner().invoke(args=["db", *args])
        assert ends == done.exit_code, done.output
        return done.output

    for args in (["init"], ["migrate", "-m", "Make", "--rev-id", "a1"], ["review"], ["upgrade"]):
        for app in (cats, dogs):
            run(app, *args)
    for app, each in ((cats, other), (dogs, engine)):
        with each.begin() as connection:
            connection.execute(text(f"INSERT INTO {app.name} VALUES (1)"))
        _, script = revision("b1", "a1", f"op.drop_table('{app.name}')", "raise NotImplementedError")
        (tmp_path / app.name / "versions" / "b1.py").write_text(script)
    assert "(drop-table)" in run(cats, "upgrade", ends=1)
    assert "(drop-table)" in run(dogs, "upgrade")
    assert {"cat", "cat_versions", LOG} == set(inspect(other).get_table_names())
    assert {"dog_versions", LOG} == set(inspect(engine).get_table_names())

    for app in (cats, dogs):
        with app.app_context():
            app.extensions["sqlalchemy"].engine.dispose()
    other.dispose()


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@on_sqlite
def test_alembic_ini_in_another_encoding(project: Project) -> None:
    """Where the locale cannot read alembic.ini, the fix names it, and a locale that uses UTF-8 does."""
    ini = project.path / "migrations" / "alembic.ini"
    ini.write_text(f"# Größe\n{ini.read_text(encoding='utf-8')}", encoding="utf-8")
    said = project.fails("upgrade", **C_LOCALE)
    assert "Error: UnicodeDecodeError: 'ascii' codec can't decode" in said
    assert "Fix: save alembic.ini as UTF-8, and run the command in a locale that uses UTF-8:\n" in said
    project.ok("upgrade")
