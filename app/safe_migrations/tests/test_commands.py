"""The main job: from no migrations folder to a history that goes forth and back, by `flask db`, on every backend."""

import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import create_engine, inspect

from .support import FIRST, Project

pytestmark = pytest.mark.usefixtures("database")

EMAIL = "    email: Mapped[str] = mapped_column(String(120), unique=True)\n"
NICKNAME = "    nickname: Mapped[str | None] = mapped_column(String(40))\n"


@pytest.fixture
def columns(database: str) -> Iterator[Callable[[], set[str]]]:
    """Reads the names of the columns of the table user, if there is one."""
    engine = create_engine(database)

    def read() -> set[str]:
        with engine.connect() as connection:
            tables = inspect(connection).get_table_names()
            return {c["name"] for c in inspect(connection).get_columns("user")} if "user" in tables else set()

    yield read
    engine.dispose()


def add_nickname(project: Project) -> None:
    """Give the model User a column."""
    models = project.path / "app" / "models.py"
    project.write("app/models.py", models.read_text().replace(EMAIL, EMAIL + NICKNAME))


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

    add_nickname(project)
    project.ok("migrate", "-m", "Add User.nickname")
    second = project.scripts()[1].name.split("_")[2]
    project.ok("upgrade")
    assert wide == columns()
    assert f"Running downgrade {second} -> {revision}" in project.ok("downgrade")
    assert plain == columns()
    project.ok("upgrade", "--revision", second)
    assert wide == columns()
    project.ok("downgrade", "--revision", revision)
    assert plain == columns()
    project.ok("upgrade", "+1")
    assert wide == columns()
    project.ok("downgrade", "-1")
    assert plain == columns()
    project.ok("upgrade")
    project.ok("downgrade", "--revision", "-2")
    assert set() == columns()
    project.ok("upgrade")
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
    assert "DROP TABLE" in project.ok("downgrade", f"{revision}:base", "--sql")
    assert set() == columns()

    project.ok("stamp", "head")
    assert f"{revision} (head)" in project.ok("current")
    assert set() == columns()
    project.ok("stamp", "base")
    project.ok("upgrade")
    assert "No new upgrade operations detected." in project.ok("check")
    assert "No changes in schema detected." in project.ok("migrate")
    assert [script] == project.scripts()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
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


def add_pet(project: Project) -> None:
    """Add a model with an index on its foreign key."""
    models = (project.path / "app" / "models.py").read_text().replace("import String", "import ForeignKey, String")
    project.write(
        "app/models.py",
        f"{models}\n\n"
        "class Pet(db.Model):\n"
        "    id: Mapped[int] = mapped_column(primary_key=True)\n"
        "    owner_id: Mapped[int] = mapped_column(ForeignKey(User.id, ondelete='CASCADE'), index=True)\n",
    )


def test_new_model(project: Project) -> None:
    """A model that is added to models.py is all that `flask db migrate` needs, and its revision goes back too."""
    project.ok("upgrade")
    add_pet(project)
    project.ok("migrate", "-m", "Add Pet")
    script = project.scripts()[1].read_text()
    assert ["fk_pet_owner_id_user", "ix_pet_owner_id", "pk_pet"] == sorted(set(re.findall(r"op\.f\('(\w+)'", script)))
    project.ok("upgrade")
    assert "No new upgrade operations detected." in project.ok("check")
    project.ok("downgrade")


CIRCLE = """

class Team(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("player.id"), index=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"))


class Player(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"), index=True)
"""


def test_models_that_refer_to_each_other(project: Project) -> None:
    """Two new models with foreign keys in a circle, one of them to itself too, go up, down and up again."""
    models = (project.path / "app" / "models.py").read_text().replace("import String", "import ForeignKey, String")
    project.write("app/models.py", models + CIRCLE)
    project.ok("upgrade")
    project.ok("migrate", "-m", "Add Team and Player")
    project.ok("upgrade")
    assert "No new upgrade operations detected." in project.ok("check")
    project.ok("downgrade")
    project.ok("upgrade")


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_new_model_on_stock(project: Project) -> None:
    """The damage: what stock generates for this model, MySQL and MariaDB do not take back."""
    project.make_stock()
    project.ok("upgrade")
    add_pet(project)
    project.ok("migrate", "-m", "Add Pet")
    project.ok("upgrade")
    assert "1553" in project.db("downgrade").stderr


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_command_of_the_app(project: Project) -> None:
    """A command that the app adds reports errors as the others do, and may take the place of one of them."""
    wsgi = (project.path / "wsgi.py").read_text()
    for name in ("status", "seed"):
        command = f"@app.cli.commands['db'].command()\ndef {name}() -> None:\n    raise ValueError('no seeds')\n"
        project.write("wsgi.py", f"{wsgi}\n\n{command}")
        done = project.db(name)
        assert (1, True) == (done.returncode, "Error: ValueError: no seeds\nFix: " in done.stderr), done.stderr


def test_revision_twice(project: Project) -> None:
    """Argument and --revision exclude each other: wrong usage, exit status 2."""
    done = project.db("downgrade", "base", "--revision", "base")
    assert (2, True) == (done.returncode, "not as both" in done.stderr)


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_alembic_ini_in_another_encoding(project: Project) -> None:
    """Where the locale cannot read alembic.ini, the fix names it, and the line to paste makes the command work."""
    ini = project.path / "migrations" / "alembic.ini"
    ini.write_text(f"# Größe\n{ini.read_text(encoding='utf-8')}", encoding="utf-8")
    done = project.db("upgrade", **C_LOCALE)
    what = "Error: UnicodeDecodeError: 'ascii' codec can't decode"
    fix = "Fix: save alembic.ini as UTF-8, and run the command in a locale that uses UTF-8:\n"
    assert (1, True, True) == (done.returncode, what in done.stderr, fix in done.stderr), done.stderr
    project.ok("upgrade", LC_ALL="C.UTF-8")


def test_current_check_heads(project: Project) -> None:
    """`current --check-heads` exits 1 until the database is at head, as Alembic's does, and writes nothing."""
    done = project.db("current", "--check-heads")
    assert (1, "") == (done.returncode, done.stdout)
    assert "\nFix: upgrade the database to head first:\n    flask db upgrade\n" in done.stderr
    project.ok("upgrade")
    assert f"{FIRST} (head)\n" == project.db("current", "--check-heads").stdout
