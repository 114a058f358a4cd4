"""The package in a project of stock Flask-Migrate that has a history: installed by pip from its folder, in an
environment of its own.
"""

import os
import site
import subprocess
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from .support import PACKAGE, revision

HEAD = "r30"
MODELS = """
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()


class User(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(80), nullable=False)
"""
# Two factories: one with everything in a function, one with unbound extensions, another folder and another command.
FACTORIES = {
    "plain": """
import os
from flask import Flask
from flask_migrate import Migrate
from models import db


def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["URL"]
    db.init_app(app)
    Migrate(app, db)
    return app
""",
    "unbound": """
import os
from flask import Flask
from flask_migrate import Migrate
from models import db

migrate = Migrate(compare_type=False)


def make_app(**settings):
    app = Flask("shop", **settings)
    app.config.from_mapping(SQLALCHEMY_DATABASE_URI=os.environ["URL"])
    migrate.init_app(app, db, "history/db", command="schema")
    db.init_app(app)
    return app


app = make_app()
""",
}


HISTORIES = {"plain": ("migrations", "db"), "unbound": ("history/db", "schema")}


@dataclass
class Stock:
    """A project of stock Flask-Migrate: its folder, its Python, the folder of its history, and its command."""

    path: Path
    python: Path
    history: Path
    command: str
    url: str

    def start(self, *args: str, **environ: str) -> "subprocess.Popen[str]":
        """``flask db ARGS``."""
        environ = {"PATH": os.environ["PATH"], "URL": self.url, **environ}
        command = [str(self.python), "-m", "flask", self.command, *args]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.path, env=environ, stdout=pipe, stderr=pipe, text=True)

    def run(self, *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        """``start()``, and wait for the end."""
        with self.start(*args, **environ) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def ok(self, *args: str) -> str:
        """What it prints; fails the test if it does not end well."""
        done = self.run(*args)
        assert 0 == done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr

    def write(self, name: str, up: str, down: str, parent: str | None) -> None:
        """Write a revision."""
        _, script = revision(name, parent, up, down)
        (self.history / "versions" / f"{name}.py").write_text(script)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the package that pip has built from its folder, and the other packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    found = next(folder.glob("[bS]*/python*"))
    (packages,) = folder.glob("[lL]ib/**/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    pip = [str(found), "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check", str(PACKAGE)]
    subprocess.run(pip, check=True, capture_output=True, cwd=folder)
    return found


@pytest.fixture(params=FACTORIES)
def stock(request: pytest.FixtureRequest, tmp_path: Path, python: Path, database: str) -> Stock:
    """A project with 31 revisions, which stock has applied to the database."""
    path = tmp_path / "stock"
    path.mkdir()
    (path / "models.py").write_text(MODELS)
    (path / "app.py").write_text(FACTORIES[request.param])
    history, command = HISTORIES[request.param]
    project = Stock(path, python, path / history, command, database)
    project.ok("init")
    user = "'user', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('name', sa.String(80), nullable=False)"
    project.write("r00", f"op.create_table({user})", "op.drop_table('user')", None)
    for number in range(1, 31):
        create = f"op.create_table('t{(number + 1) // 2}', sa.Column('id', sa.Integer(), primary_key=True))"
        drop = f"op.drop_table('t{(number + 1) // 2}')"
        project.write(f"r{number:02}", *((create, drop) if number % 2 else (drop, create)), f"r{number - 1:02}")
    project.ok("upgrade")
    return project


@pytest.fixture
def engine(stock: Stock) -> Iterator[Engine]:
    """The database, with a row."""
    engine = create_engine(stock.url)
    with engine.begin() as connection:
        user = connection.dialect.identifier_preparer.quote("user")
        connection.execute(text(f"INSERT INTO {user} (id, name) VALUES (1, 'alice')"))
    yield engine
    engine.dispose()


def adopt(project: Stock) -> None:
    """Add the line to the factory; the message then gives the one for env.py."""
    app = project.path / "app.py"
    line = "    flask_safe_migrations.init_app(app)\n    return app\n"
    app.write_text("import flask_safe_migrations\n" + app.read_text().replace("    return app\n", line))
    done = project.run("status")
    assert (1, True) == (done.returncode, "does not call safe_migrations" in done.stderr), done.stderr
    copy = done.stderr.splitlines()[-1].strip()
    assert copy.startswith("cp ")
    subprocess.run(copy, shell=True, check=True, cwd=project.path)


def test_adopted(stock: Stock, engine: Engine) -> None:
    """Review, undo, rehearsal, lock and backup work in a project that was stock's."""
    adopt(stock)
    assert HEAD in stock.ok("status")
    stock.write("a1", "op.drop_column('user', 'name')", "raise NotImplementedError", HEAD)
    done = stock.run("upgrade")
    assert (1, True) == (done.returncode, "(drop-column)" in done.stderr), done.stderr
    before = inspect(engine).get_table_names()
    pet = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"
    stock.write("a1", f"{pet}\nop.create_index('ix', 'nowhere', ['id'])", "op.drop_table('pet')", HEAD)
    done = stock.run("upgrade", MIGRATION_REVIEW="off")
    assert (1, before) == (done.returncode, inspect(engine).get_table_names()), done.stderr
    stock.write("a1", pet, "op.drop_table('pet')", HEAD)
    with (stock.path / "models.py").open("a") as models:
        models.write("\n\nclass Pet(db.Model):\n    id = db.Column(db.Integer, primary_key=True)\n")
    assert "ok" in stock.ok("rehearse")
    with stock.start("upgrade") as first, stock.start("upgrade") as second:
        said = [process.communicate(timeout=120)[1] for process in (first, second)]
    assert (0, 0) == (first.returncode, second.returncode), said
    assert "pet" in inspect(engine).get_table_names()
    assert HEAD in stock.ok("backups")
    stock.ok("downgrade")
    assert before == inspect(engine).get_table_names()
