"""The package in a project of stock Flask-Migrate that has a history: installed by pip from its folder, in an
environment of its own.
"""

import os
import re
import site
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect

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
        """Start ``flask db ARGS``."""
        environ = {"PATH": os.environ["PATH"], "URL": self.url, **environ}
        command = [str(self.python), "-m", "flask", self.command, *args]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.path, env=environ, stdout=pipe, stderr=pipe, text=True)

    def run(self, *args: str, ends: int = 0, **environ: str) -> str:
        """Run ``flask db ARGS`` and return what it prints; assert that its exit status is ``ends``."""
        with self.start(*args, **environ) as process:
            said = "".join(process.communicate(timeout=120))
        assert ends == process.returncode, said
        return said

    def write(self, name: str, up: str, down: str, parent: str | None) -> None:
        """Write a revision."""
        _, script = revision(name, parent, up, down)
        (self.history / "versions" / f"{name}.py").write_text(script)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with the package that pip has built from its folder, and the other packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder)
    found = next(folder.glob("[bS]*/python*"))
    (packages,) = folder.glob("[lL]ib/**/site-packages")
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    pip = [sys.executable, "-m", "pip", "--python", str(found), "install", "-q", "--no-deps", str(PACKAGE)]
    subprocess.run([*pip, "--disable-pip-version-check"], check=True, capture_output=True, cwd=folder)
    return found


@pytest.fixture
def stock(factory: str, tmp_path: Path, python: Path, database: str) -> Stock:
    """Return a project with 31 revisions, which stock has applied to the database, and a row."""
    path = tmp_path / "stock"
    path.mkdir()
    (path / "models.py").write_text(MODELS)
    (path / "app.py").write_text(FACTORIES[factory])
    history, command = HISTORIES[factory]
    project = Stock(path, python, path / history, command, database)
    project.run("init")
    user = "'user', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('name', sa.String(80), nullable=False)"
    row = "op.bulk_insert(sa.table('user', sa.column('id'), sa.column('name')), [{'id': 1, 'name': 'alice'}])"
    project.write("r00", f"op.create_table({user})\n{row}", "op.drop_table('user')", None)
    for number in range(1, 31):
        create = f"op.create_table('t{(number + 1) // 2}', sa.Column('id', sa.Integer(), primary_key=True))"
        drop = f"op.drop_table('t{(number + 1) // 2}')"
        project.write(f"r{number:02}", *((create, drop) if number % 2 else (drop, create)), f"r{number - 1:02}")
    project.run("upgrade")
    return project


def adopt(project: Stock) -> None:
    """Add the line to the factory; the message then gives the one for env.py."""
    app = project.path / "app.py"
    line = "    flask_safe_migrations.init_app(app)\n    return app\n"
    app.write_text("import flask_safe_migrations\n" + app.read_text().replace("    return app\n", line))
    said = project.run("status", ends=1)
    assert "does not call safe_migrations" in said
    copy = said.splitlines()[-1].strip()
    assert copy.startswith("cp ")
    subprocess.run(copy, shell=True, check=True, cwd=project.path)


@pytest.fixture
def adopted(stock: Stock) -> Stock:
    """Return the project with the package, after an upgrade that the review stops."""
    adopt(stock)
    stock.write("a1", "op.drop_column('user', 'name')", "raise NotImplementedError", HEAD)
    said = stock.run("upgrade", ends=1)
    assert (True, True) == ("(drop-column)" in said, f"the database is still at {HEAD}" in said), said
    return stock


@pytest.mark.parametrize(("backend", "factory"), [("sqlite", "unbound"), ("mysql", "plain")], indirect=["backend"])
def test_status_of_adopted(adopted: Stock) -> None:
    """The commands work in a project that was stock's, whatever its factory, folder and command are called."""
    said = adopted.run("status", ends=1)
    assert (HEAD, "a1") == tuple(re.findall(r"^(?:revision|head) +(\S+)", said, re.MULTILINE))


@pytest.mark.parametrize(("backend", "factory"), [("sqlite", "plain"), ("postgresql", "unbound")], indirect=["backend"])
def test_adopted(adopted: Stock, engine: Engine) -> None:
    """Undo, rehearsal, lock and backup work in a project that was stock's."""
    before = inspect(engine).get_table_names()
    pet = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"
    adopted.write("a1", f"{pet}\nop.create_index('ix', 'nowhere', ['id'])", "op.drop_table('pet')", HEAD)
    adopted.run("upgrade", ends=1, MIGRATION_REVIEW="off")
    assert before == inspect(engine).get_table_names()
    adopted.write("a1", pet, "op.drop_table('pet')", HEAD)
    with (adopted.path / "models.py").open("a") as models:
        models.write("\n\nclass Pet(db.Model):\n    id = db.Column(db.Integer, primary_key=True)\n")
    assert "ok" in adopted.run("rehearse")
    with adopted.start("upgrade") as first, adopted.start("upgrade") as second:
        said = [process.communicate(timeout=120)[1] for process in (first, second)]
    assert (0, 0) == (first.returncode, second.returncode), said
    assert "pet" in inspect(engine).get_table_names()
    assert f"-{HEAD}-" in adopted.run("backups")
    adopted.run("downgrade")
    assert before == inspect(engine).get_table_names()
