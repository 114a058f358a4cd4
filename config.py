"""The app's settings, read from the environment once, when this module is imported.

.env and .flaskenv beside this file are loaded first, because WSGI servers do not load them. The environment wins over
.env, and .env over .flaskenv.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from click import ClickException
from dotenv import load_dotenv
from sqlalchemy import URL, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

for dotfile in (".env", ".flaskenv"):
    load_dotenv(Path(__file__).with_name(dotfile))

# For each name before ://, the driver that requirements.txt installs, and the options that it needs. PyMySQL gives up
# connecting after 10 seconds by itself, psycopg never does.
DRIVERS: dict[str, tuple[str, dict[str, str]]] = {
    "sqlite": ("sqlite", {}),
    "mysql": ("mysql+pymysql", {"charset": "utf8mb4"}),
    "mariadb": ("mariadb+pymysql", {"charset": "utf8mb4"}),
    "postgresql": ("postgresql+psycopg", {"connect_timeout": "10"}),
}


class ConfigError(ClickException):
    """The error for a setting that is missing or wrong. The `flask` command prints it as one line and exits with 1."""

    def __init__(self, name: str, wrong: str, fix: str) -> None:
        super().__init__(f"{name} {wrong}. Fix: {fix}")


def database_url(environ: Mapping[str, str], name: str = "DATABASE_URL") -> str:
    """Return the URL in the variable ``name``, with driver and options.

    Without DATABASE_URL, return the URL of DB_..., else sqlite:///app.db. Raise ConfigError if a value is wrong, or
    another variable is not set. The message does not show the value, because it may contain the password.
    """
    if name in environ:
        return _completed(_parsed(environ[name], blame=name), blame=name)
    if name != "DATABASE_URL":
        raise ConfigError(name, "is not set", "set it to dialect://user:password@host:port/database")
    # Ignore DB_PORT alone: Kubernetes sets it for a service that is called db.
    if any(environ.get(f"DB_{part}") for part in ("DIALECT", "USER", "PASSWORD", "HOST", "NAME")):
        return _completed(_assembled(environ), blame="DB_DIALECT")
    return "sqlite:///app.db"


def _parsed(value: str, blame: str) -> URL:
    shape = "write it as dialect://user:password@host:port/database"
    if blame == "DATABASE_URL":
        shape += ", or set DB_DIALECT, DB_USER, ... (see .env.example)"
    try:
        url = make_url(value.strip())
    except (ArgumentError, ValueError):
        raise ConfigError(blame, "is not a URL" if value.strip() else "is empty", shape) from None
    _require_product(url, blame)
    if url.drivername.startswith("sqlite"):
        if url.host or url.username:
            raise ConfigError(blame, "names a host, but SQLite has none", "write sqlite:///file or sqlite:////path")
    elif "@" in f"{url.host}{url.database}":
        raise ConfigError(blame, "has more than one @", "in the password, write @ as %40, / as %2F, : as %3A")
    elif not url.database:
        raise ConfigError(blame, "names no database", shape)
    return url


def _assembled(environ: Mapping[str, str]) -> URL:
    for name in ("DB_DIALECT", "DB_NAME"):
        if not environ.get(name):
            raise ConfigError(name, "is not set", "set it, or set DATABASE_URL (see .env.example)")
    if environ["DB_DIALECT"] == "sqlite":
        return URL.create("sqlite", database=environ["DB_NAME"])
    host, port = environ.get("DB_HOST") or "localhost", environ.get("DB_PORT") or None
    if not re.fullmatch(r"[\w.:%-]+", host):
        raise ConfigError("DB_HOST", "is not a host name", "give its name or address alone, such as 127.0.0.1")
    if port and not port.isdecimal():
        raise ConfigError("DB_PORT", "is not a number", "give the port alone, such as 3306 or 5432")
    return URL.create(
        environ["DB_DIALECT"],
        username=environ.get("DB_USER") or None,
        password=environ.get("DB_PASSWORD") or None,
        host=host,
        port=int(port) if port else None,
        database=environ["DB_NAME"],
    )


def _require_product(url: URL, blame: str) -> str:
    name = url.drivername.partition("+")[0]
    dialect = "postgresql" if name == "postgres" else name
    if dialect not in DRIVERS:
        raise ConfigError(blame, "names a database that is not supported", f"use one of {', '.join(DRIVERS)}")
    return dialect


def _completed(url: URL, blame: str) -> str:
    dialect, driver = _require_product(url, blame), url.drivername.partition("+")[2]
    drivername, options = DRIVERS[dialect]
    url = url.set(drivername=f"{dialect}+{driver}" if driver else drivername)
    _require_driver(url, blame)
    if url.port is not None and not 0 < url.port < 65536:
        raise ConfigError(
            "DB_PORT" if blame == "DB_DIALECT" else blame,
            "names a port that cannot exist",
            "give one from 1 to 65535",
        )
    if url.drivername == drivername:
        url = url.set(query={**options, **url.query})
    return url.render_as_string(hide_password=False)


def _require_driver(url: URL, blame: str) -> None:
    wrong = ConfigError(
        blame, "names a driver that is not installed, or is async", f"write {url.get_backend_name()} without a driver"
    )
    try:
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except (ImportError, NoSuchModuleError):
        raise wrong from None
    if dialect.is_async:
        raise wrong
    try:
        create_engine(url)
    except (ArgumentError, TypeError, ValueError):
        raise ConfigError(
            blame, "has an option that its driver does not accept", "correct the options after the ? in the URL"
        ) from None


class Binds(Mapping[str, str]):
    """The URLs of SQLALCHEMY_BINDS. The arguments are bind keys, and the names of the variables that have their URLs.

    They are read when an app is made, so that tests, whose binds are in memory, do not need the variables.
    """

    def __init__(self, **variables: str) -> None:
        self.variables = variables

    def __getitem__(self, key: str) -> str:
        return database_url(os.environ, self.variables[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.variables)

    def __len__(self) -> int:
        return len(self.variables)


class Config:
    """The app's settings, by the names of Flask and Flask-SQLAlchemy."""

    SECRET_KEY = os.environ.get("SECRET_KEY")
    SQLALCHEMY_DATABASE_URI = database_url(os.environ)
    SQLALCHEMY_TRACK_MODIFICATIONS = False
    # A server or a proxy drops connections that are idle, often after 300 seconds: ask before use, renew before that.
    SQLALCHEMY_ENGINE_OPTIONS = {"pool_pre_ping": True, "pool_recycle": 280}


class TestConfig(Config):
    """The settings of the tests. None depends on the environment; tests/conftest.py sets the database's URL."""

    __test__ = False  # pytest would take it for a class of tests

    TESTING = True
    SECRET_KEY = "not a secret: for tests"
    SQLALCHEMY_DATABASE_URI = "sqlite://"
    MIGRATION_BACKUP = "never"
    MIGRATION_REVIEW = "off"
