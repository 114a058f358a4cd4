"""Settings from the environment, and passwords that hold any character."""

import os
import subprocess
import sys
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import URL, create_engine, make_url, text

from config import Config, ConfigError, database_url
from tests.conftest import SERVERS, Project, run_on_server, server_url

ODD = "p@ss:w/rd%41?#&=+ '\"\\ü漢"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("mysql://u:p@h/d", "mysql+pymysql://u:p@h/d?charset=utf8mb4"),
        ("mysql+pymysql://u:p@h/d", "mysql+pymysql://u:p@h/d?charset=utf8mb4"),
        ("mysql://u:p@h/d?charset=latin1", "mysql+pymysql://u:p@h/d?charset=latin1"),
        ("mariadb://u:p@h:3307/d", "mariadb+pymysql://u:p@h:3307/d?charset=utf8mb4"),
        ("postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d?connect_timeout=10"),
        ("postgresql://u:p@[::1]:5433/d", "postgresql+psycopg://u:p@[::1]:5433/d?connect_timeout=10"),
        ("postgresql:///d?host=/var/run/postgresql", "connect_timeout=10&host=%2Fvar%2Frun%2Fpostgresql"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("sqlite://", "sqlite://"),
        (" sqlite:///x.db\n", "sqlite:///x.db"),
    ],
)
def test_url_as_written(given: str, expected: str) -> None:
    """The URL that a provider gives works as it is: the driver and its options are filled in."""
    assert database_url({"DATABASE_URL": given}).endswith(expected)


def test_default_is_sqlite() -> None:
    """Without settings the database is instance/app.db; DB_PORT alone, as Kubernetes sets it, is no setting."""
    assert "sqlite:///app.db" == database_url({})
    assert "sqlite:///app.db" == database_url({"DB_PORT": "tcp://10.0.0.1:3306"})


@pytest.mark.parametrize("dialect", ["mysql", "mariadb", "postgres", "postgresql"])
def test_parts(dialect: str) -> None:
    """Any character may stand in a part."""
    url = make_url(
        database_url(
            {"DB_DIALECT": dialect, "DB_USER": ODD, "DB_PASSWORD": ODD, "DB_HOST": "h", "DB_PORT": "1", "DB_NAME": "d"}
        )
    )
    assert (ODD, ODD, "h", 1, "d") == (url.username, url.password, url.host, url.port, url.database)


def test_parts_of_sqlite() -> None:
    """For SQLite the name is the file."""
    assert "sqlite:///x.db" == database_url({"DB_DIALECT": "sqlite", "DB_NAME": "x.db"})


def test_url_wins_over_parts() -> None:
    """DATABASE_URL is the whole answer where it is set."""
    assert "sqlite://" == database_url({"DATABASE_URL": "sqlite://", "DB_DIALECT": "mysql", "DB_HOST": "h"})


@pytest.mark.parametrize("url", [f"mysql://u:{ODD}@h/d", f"nonsense {ODD}", f"mysql://{ODD}:x@h:x/d", f"x://{ODD}"])
def test_no_value_in_a_message(url: str) -> None:
    """A mistyped URL is not repeated: its password may be anywhere in it."""
    with pytest.raises(ConfigError) as raised:
        database_url({"DATABASE_URL": url})
    assert not [word for word in ("p@ss", "rd%41", "漢") if word in raised.value.message]


def test_promises() -> None:
    """What stands in the class itself."""
    assert False is Config.SQLALCHEMY_TRACK_MODIFICATIONS
    assert {"pool_pre_ping": True, "pool_recycle": 280} == Config.SQLALCHEMY_ENGINE_OPTIONS


@pytest.mark.parametrize("backend", SERVERS)
@pytest.mark.parametrize("way", ["url", "parts", "dotenv"])
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
    assert ["sqlite:///app.db", "None"] == seen_by_wsgi(project)
    project.write(".flaskenv", "SECRET_KEY=flaskenv\nDATABASE_URL=sqlite:///flaskenv.db\n")
    project.write(".env", "DATABASE_URL=sqlite:///env.db\n")
    assert ["sqlite:///env.db", "flaskenv"] == seen_by_wsgi(project)
    assert ["sqlite:///env.db", "environment"] == seen_by_wsgi(project, SECRET_KEY="environment")


def test_engine_speaks_utf8mb4() -> None:
    """Four-byte characters go through PyMySQL and back."""
    engine = create_engine(server_url("mysql"))
    with engine.connect() as connection:
        assert "🐙" == connection.scalar(text("SELECT :x"), {"x": "🐙"})
        assert "utf8mb4" == connection.scalar(text("SELECT @@character_set_client"))
    engine.dispose()


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_sessions_in_tests(client: FlaskClient) -> None:
    """A test can log somebody in: its settings have a secret key."""
    with client.session_transaction() as session:
        session["user_id"] = 1
    with client.session_transaction() as session:
        assert 1 == session["user_id"]
