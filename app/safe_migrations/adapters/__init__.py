"""All code that differs between databases. Nothing outside this folder tests the name of a dialect.

base.py             the interface of an adapter and its lock; the folder of each database implements it
databases.py        the interface to create and drop scratch databases, for rehearsals
snapshot.py         the state of a database, to compare it with another one
creation.py         the SQL that creates a database again, for a squash
facts.py            the behaviour of a database, e.g. whether a type change rewrites the table; without a connection
casts.py            the effect of a type change on a column's values
products.py         the facts of all products
dialects.py         SQLAlchemy's dialect objects, which write SQL without a connection
exact_sql.py        SQL that reaches the database as it is written, without parameters
sql_words.py        a tokenizer, which splits SQL into statements and words
client_programs.py  functions that find and run client programs, e.g. pg_dump, for backups
"""

import re
from importlib import import_module

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from ..errors import MigrationError
from .base import OWN_TABLES, SCRATCH, Adapter, Lock, Part

# Module and class of each adapter. Only the one in use is imported: the others would slow down every command.
ADAPTERS: dict[str, str] = {
    "sqlite": "sqlite.adapter.SQLite",
    "mysql": "mysql.adapter.MySQL",
    "mariadb": "mysql.adapter.MySQL",
    "postgresql": "postgresql.adapter.PostgreSQL",
}

# The driver of each product that has several.
DRIVERS = {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql", "postgresql": "postgresql+psycopg"}

__all__ = [
    "ADAPTERS",
    "OWN_TABLES",
    "SCRATCH",
    "Adapter",
    "Lock",
    "Part",
    "adapter_of",
    "engine_of",
    "product_and_version",
]


def adapter_of(engine: Engine) -> Adapter:
    """Return the adapter of the database behind ``engine``. Raise KeyError if ADAPTERS does not have its dialect."""
    module, _, name = ADAPTERS[engine.dialect.name].rpartition(".")
    adapter: Adapter = getattr(import_module(f"{__name__}.{module}"), name)(engine)
    return adapter


def engine_of(server: str) -> Engine:
    """Return an engine for the URL of a server, which may leave out the driver and the database.

    Raise MigrationError if it is not the URL of a product in ADAPTERS. The error does not show a password.
    """
    try:
        url = make_url(server.strip().replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        url = make_url("none://")
    if url.get_backend_name() not in ADAPTERS:
        raise MigrationError(
            f"the server's URL does not begin with one of {', '.join(f'{name}://' for name in ADAPTERS)}.",
            "write it as in this line:",
            "postgresql://USER:PASSWORD@SERVER",
        )
    engine = create_engine(url.set(drivername=DRIVERS.get(url.drivername, url.drivername)))
    if engine.url.database:
        return engine
    return create_engine(engine.url.set(database=adapter_of(engine).maintenance_database))


def product_and_version(target: str, setting: str = "MIGRATION_TARGETS") -> tuple[str, tuple[int, ...]]:
    """Return product and lowest version of a target: ``("mysql", (8, 0, 16))`` for ``mysql>=8.0.16``.

    The version is an empty tuple if the target has none; ``postgres`` means postgresql. Raise MigrationError, which
    names ``setting``, if the target has another form, or a product that is not in ADAPTERS.
    """
    found = re.fullmatch(r"\s*(?P<product>\w+)\s*(?:>=\s*(?P<version>\d+(?:\.\d+)*))?\s*", target)
    product = {"postgres": "postgresql"}.get(found["product"], found["product"]) if found else ""
    if found is None or product not in ADAPTERS:
        raise MigrationError(
            f"{setting} names {target.strip()!r}, which is not a database product such as mysql, or mysql>=8.0.",
            f"name one or more of {', '.join(ADAPTERS)}, each with its lowest version or without:",
            f"flask db review {setting} 'mysql>=8.0'" if setting.startswith("-") else f"export {setting}='mysql>=8.0'",
        )
    return product, tuple(map(int, found["version"].split("."))) if found["version"] else ()
