"""The scaffold as a whole, in a clone of its own: the environment, the models that are seen, what is loaded."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from conftest import ROOT, cloned
from sqlalchemy import URL, make_url

from app.safe_migrations.tests.support import Project, revision, run_on_server, server_url


@pytest.mark.parametrize(("backend", "way"), [("postgresql", "url"), ("mysql", "parts"), ("postgresql", "dotenv")])
def test_log_in_with_an_odd_password(project: Project, backend: str, way: str) -> None:
    """A user whose password holds @ : / % and letters beyond ASCII migrates a real database."""
    server = server_url(backend)
    user, password, name = f"u{uuid4().hex[:12]}", "p@ss:w/rd%41ü漢#'", f"test_{uuid4().hex}"
    quoted = password.replace("'", "''").replace(":", r"\:")
    rights = {
        "mysql": [f"CREATE USER {user} IDENTIFIED BY '{quoted}'", f"GRANT ALL ON {name}.* TO {user}"],
        "postgresql": [f"CREATE ROLE {user} LOGIN PASSWORD '{quoted}'", f"ALTER DATABASE {name} OWNER TO {user}"],
    }
    run_on_server(server, f"CREATE DATABASE {name}", *rights[backend])
    parts = {
        "DB_DIALECT": backend,
        "DB_USER": user,
        "DB_PASSWORD": password,
        "DB_HOST": server.host or "",
        "DB_PORT": str(server.port or {"mysql": 3306, "postgresql": 5432}[backend]),
        "DB_NAME": name,
    }
    url = URL.create(backend, user, password, server.host, server.port, name)
    try:
        if way == "url":
            project.environ["DATABASE_URL"] = url.render_as_string(hide_password=False)
        elif way == "parts":
            project.environ.update(parts)
        else:
            lines = (
                f"{key}='{value}'" for key, value in {**parts, "DB_PASSWORD": password.replace("'", r"\'")}.items()
            )
            project.write(".env", "\n".join(lines))
        assert "Running upgrade  -> " in project.ok("upgrade")
        assert "(head)" in project.ok("current")
    finally:
        run_on_server(server, f"DROP DATABASE {name}", f"DROP {'USER' if backend == 'mysql' else 'ROLE'} {user}")


def seen_by_wsgi(project: Project, **environ: str) -> list[str]:
    """Database file and secret key of the app that a WSGI server elsewhere loads."""
    code = "from wsgi import app; print(app.config['SQLALCHEMY_DATABASE_URI'], app.config['SECRET_KEY'])"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(project.path), **environ},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


def test_dotfiles_under_wsgi(project: Project) -> None:
    """A WSGI server that knows neither .env nor .flaskenv, in another folder: the environment, then .env, then it."""
    project.write(".flaskenv", "SECRET_KEY=flaskenv\nDATABASE_URL=sqlite:///flaskenv.db\n")
    project.write(".env", "DATABASE_URL=sqlite:///env.db\n")
    assert ["sqlite:///env.db", "flaskenv"] == seen_by_wsgi(project)
    assert ["sqlite:///env.db", "environment"] == seen_by_wsgi(project, SECRET_KEY="environment")


MODEL = """from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import db


class {name}(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
"""


def test_a_web_server_loads_little(project: Project) -> None:
    """The app imports no command, no adapter and no SQL parser: only `flask db` does."""
    project.write("probe.py", "import sys, wsgi\nprint(*sys.modules)")
    loaded = set(project.run("probe").stdout.split())
    found = {name.removeprefix("app.safe_migrations.") for name in loaded if name.startswith("app.safe_migrations.")}
    modules = {"console", "errors", "folder", "internals"}
    assert {"commands", "commands.command", "commands.group", *modules} == found
    assert "sqlglot" not in loaded


def test_a_folder_with_an_awkward_name(tmp_path: Path) -> None:
    """A path may contain what ConfigParser and URLs interpret; the probe works from any folder."""
    project = cloned(tmp_path / "50% ü %(here)s #?")
    shutil.rmtree(project.path / "migrations")
    project.ok("init")
    project.ok("migrate", "-m", "Add User")
    project.ok("upgrade")
    project.write("probe.py", "from wsgi import app\nprint(app.test_client().get('/readyz').json)")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(project.path), **project.environ}
    command = [sys.executable, str(project.path / "probe.py")]
    done = subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True)
    assert ("{'status': 'ready'}\n", "") == (done.stdout, done.stderr)


def test_init_writes_what_is_committed(project: Project) -> None:
    """The committed migrations folder is what `flask db init` writes, and revisions."""
    shutil.rmtree(project.path / "migrations")
    project.ok("init")
    written = {path.name for path in (project.path / "migrations").iterdir()}
    assert {"README", "alembic.ini", "env.py", "script.py.mako", "versions"} == written
    files = sorted(written - {"versions"})
    assert (files, [], []) == filecmp.cmpfiles(ROOT / "migrations", project.path / "migrations", files, shallow=False)


def test_a_model_that_nothing_imports(project: Project) -> None:
    """`migrate` sees the models of each `models.py` and of each module of a `models` package, with or without an
    `__init__.py`; other modules are not imported. Where the factory imports one module by name, stock misses the rest.
    """
    files = {
        "shop/models.py": "Cart",
        "pets/__init__.py": None,
        "pets/models/__init__.py": None,
        "pets/models/dog.py": "Dog",
    }
    for file, name in files.items():
        project.write(f"app/{file}", MODEL.format(name=name) if name else "")
    for file in ("shop/views.py", "safe_models.py", "static/models.py", "pets/models/.#dog.py"):
        project.write(f"app/{file}", "raise RuntimeError('imported')")
    project.ok("upgrade")
    found = project.db("check").stderr
    assert (True, True) == ("add_table cart" in found, "add_table dog" in found), found

    factory = (project.path / "app" / "__init__.py").read_text()
    project.write("app/__init__.py", factory.replace("import_models()", "from app import models"))
    project.take_out()
    run_on_server(make_url(f"sqlite:///{project.path}/instance/app.db"), "DROP TABLE _migration_log")
    assert "No new upgrade operations detected" in project.ok("check")


def test_a_models_module_that_is_broken(project: Project) -> None:
    """A `models.py` that cannot be imported stops the app, and the error says why and where."""
    project.write("app/shop/models.py", "import no_such_module")
    done = project.db("upgrade")
    assert 0 != done.returncode
    assert "No module named 'no_such_module'" in done.stderr
    assert "app/shop/models.py" in done.stderr


def test_ready_at_heads_that_depend(project: Project) -> None:
    """A head that depends on another implies it: the database is ready, though alembic_version omits it."""
    (first,) = project.scripts()
    project.write(*revision("a1", first.name.split("_")[2], "pass"))
    project.write(*revision("p1", (), "pass", more='branch_labels = ("plugin",)\ndepends_on = "a1"'))
    project.ok("upgrade", "heads")
    project.write("probe.py", "from wsgi import app\nprint(app.test_client().get('/readyz').json)")
    assert "{'status': 'ready'}\n" == project.run("probe").stdout
