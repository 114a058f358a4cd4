"""The package in a project of stock Flask-Migrate that has a history: installed by pip from its folder, in an
environment of its own.
"""

import os
import re
import site
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from sqlalchemy import Engine, inspect

from .support import PACKAGE, forked, revision

HEAD = "r1"
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

    def run(self, *args: str, ends: int = 0, **environ: str) -> str:
        """Run ``flask db ARGS`` and return what it prints; assert that its exit status is ``ends``."""
        environ = {"PATH": os.environ["PATH"], "URL": self.url, **environ}
        (done,) = forked(("flask", self.command, *args), self.path, environ, python=str(self.python))
        assert ends == done.returncode, done.stdout + done.stderr
        return done.stdout + done.stderr

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
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(found)]
    install = ["install", "-q", "--no-deps", str(PACKAGE)]
    if find_spec("hatchling"):  # else pip fetches it first, which takes six times as long
        install.append("--no-build-isolation")
    subprocess.run([*pip, *install], check=True, capture_output=True, cwd=folder)
    return found


def test_the_build_system_has_its_backend() -> None:
    """What pip would fetch for the build has the backend, for the tests build with what is installed, if it is."""
    build = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["build-system"]
    backend = build["build-backend"].partition(".")[0]
    if not find_spec(backend):
        pytest.skip(f"only where {backend} is installed: else the test below has pip fetch it")
    assert packages_distributions()[backend] == [Requirement(each).name for each in build["requires"]]


@pytest.fixture
def stock(factory: str, tmp_path: Path, python: Path, database: str) -> Stock:
    """Return a project with two revisions, which stock has applied to the database, and a row."""
    path = tmp_path / "stock"
    path.mkdir()
    (path / "models.py").write_text(MODELS)
    (path / "app.py").write_text(FACTORIES[factory])
    history, command = HISTORIES[factory]
    project = Stock(path, python, path / history, command, database)
    project.run("init")
    user = "'user', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('name', sa.String(80), nullable=False)"
    row = "op.bulk_insert(sa.table('user', sa.column('id'), sa.column('name')), [{'id': 1, 'name': 'alice'}])"
    project.write("r0", f"op.create_table({user})\n{row}", "op.drop_table('user')", None)
    project.write(HEAD, "op.execute(sa.table('user', sa.column('name')).update().values(name='bob'))", "pass", "r0")
    project.run("upgrade")
    return project


@pytest.fixture
def adopted(stock: Stock) -> Stock:
    """Return the project with the package: with the line in the factory, and then what the message says for env.py."""
    app = stock.path / "app.py"
    line = "    flask_safe_migrations.init_app(app)\n    return app\n"
    app.write_text("import flask_safe_migrations\n" + app.read_text().replace("    return app\n", line))
    said = stock.run("status", ends=1)
    assert "does not call safe_migrations" in said
    copy = said.splitlines()[-1].strip()
    assert copy.startswith("cp ")
    subprocess.run(copy, shell=True, check=True, cwd=stock.path)
    return stock


@pytest.mark.parametrize(("backend", "factory"), [("sqlite", "unbound"), ("mysql", "plain")], indirect=["backend"])
def test_adopted(adopted: Stock, engine: Engine) -> None:
    """Review, status, backup and upgrade work in a project that was stock's, whatever its factory, folder
    and command are called.
    """
    adopted.write("a1", "op.drop_column('user', 'name')", "raise NotImplementedError", HEAD)
    said = adopted.run("upgrade", ends=1)
    assert (True, True) == ("(drop-column)" in said, f"the database is still at {HEAD}" in said), said
    said = adopted.run("status", ends=1)
    assert (HEAD, "a1") == tuple(re.findall(r"^(?:revision|head) +(\S+)", said, re.MULTILINE))

    pet = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))"
    adopted.write("a1", pet, "op.drop_table('pet')", HEAD)
    adopted.run("upgrade")
    assert "pet" in inspect(engine).get_table_names()
    assert f"-{HEAD}-" in adopted.run("backups")
