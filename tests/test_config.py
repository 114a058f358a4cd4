"""Settings from the environment, and passwords that hold any character."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import create_engine, make_url, text

from config import Binds, Config, ConfigError, database_url
from tests.conftest import server_url

SECRET = "s3cr3t-Pa55"
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


@pytest.mark.parametrize(
    ("environ", "says", "fix"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is empty", "dialect://user:password@host:port/database"),
        ({"DATABASE_URL": "  "}, "DATABASE_URL is empty", "dialect://"),
        ({"DATABASE_URL": f"mysql:/u:{SECRET}@h/d"}, "DATABASE_URL is not a URL", "dialect://"),
        ({"DATABASE_URL": f"oracle://u:{SECRET}@h/d"}, "DATABASE_URL names a database that is not supported", "mysql"),
        ({"DATABASE_URL": f"mysql+mysqldb://u:{SECRET}@h/d"}, "DATABASE_URL names a driver", "write mysql without"),
        ({"DATABASE_URL": f"postgresql+psycopg_async://u:{SECRET}@h/d"}, "names a driver", "write postgresql without"),
        ({"DATABASE_URL": f"mysql://u:{SECRET}@h:port/d"}, "DATABASE_URL is not a URL", "host:port"),
        (
            {"DATABASE_URL": f"mysql://u:{SECRET}@h:99999/d"},
            "DATABASE_URL names a port that cannot exist",
            "1 to 65535",
        ),
        ({"DATABASE_URL": f"mysql://u:{SECRET}@h"}, "DATABASE_URL names no database", "host:port/database"),
        ({"DATABASE_URL": f"mysql://u:x@{SECRET}@h/d"}, "DATABASE_URL has more than one @", "%40"),
        ({"DATABASE_URL": f"mysql://u:x@h/{SECRET}@h/d"}, "DATABASE_URL has more than one @", "%40"),
        ({"DATABASE_URL": "sqlite://app.db"}, "DATABASE_URL names a host", "sqlite:///file"),
        ({"DB_HOST": "h", "DB_PASSWORD": SECRET}, "DB_DIALECT is not set", "set it"),
        ({"DB_DIALECT": "mssql", "DB_NAME": "d"}, "DB_DIALECT names a database", "one of sqlite"),
        ({"DB_DIALECT": "mysql", "DB_PASSWORD": SECRET}, "DB_NAME is not set", "set it"),
        ({"DATABASE_URL": "mysql://u@h/d?connect_timeout=abc"}, "DATABASE_URL has an option", "after the ?"),
        ({"DATABASE_URL": "sqlite:///x.db?timeout=abc"}, "DATABASE_URL has an option", "after the ?"),
        ({"DB_DIALECT": "mysql", "DB_NAME": "d", "DB_HOST": "mysql://h"}, "DB_HOST is not a host name", "127.0.0.1"),
        ({"DB_DIALECT": "mysql", "DB_NAME": "d", "DB_PORT": "tcp://10.0.0.1:3306"}, "DB_PORT is not a number", "3306"),
        ({"DB_DIALECT": "mysql", "DB_NAME": "d", "DB_PORT": "0"}, "DB_PORT names a port that cannot exist", "65535"),
    ],
)
def test_wrong_setting(environ: dict[str, str], says: str, fix: str) -> None:
    """A wrong value is an error that names the setting and the fix, and does not show the password."""
    with pytest.raises(ConfigError) as raised:
        database_url(environ)
    what, how = raised.value.message.split(" Fix: ")
    assert (True, True, False) == (says in what, fix in how, SECRET in raised.value.message)


def test_binds() -> None:
    """The URL of a bind comes from a variable of its own, which the message about a wrong value names."""
    assert "mysql+pymysql://h/d?charset=utf8mb4" == database_url({"AUDIT_URL": "mysql://h/d"}, "AUDIT_URL")
    for environ in ({"DB_DIALECT": "sqlite", "DB_NAME": "x"}, {"AUDIT_URL": ""}, {"AUDIT_URL": "mysql://h:0/d"}):
        with pytest.raises(ConfigError, match="AUDIT_URL"):
            database_url(environ, "AUDIT_URL")
    assert ["audit"] == list(Binds(audit="NOT_SET"))
    with pytest.raises(ConfigError, match="NOT_SET is not set"):
        Binds(audit="NOT_SET")["audit"]


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
