"""What each database can do, and how it is asked. Nothing outside this folder tests the name of a dialect.

base.py      what an adapter is, and its lock; each database's own stands in the folder of its name
snapshot.py  a database at one moment, and what another moment lacks
facts.py     what reviews, generated scripts and rehearsals ask, without a connection
casts.py     what becomes of values that get another type
products.py  where the facts of each product are
dialects.py  SQLAlchemy's dialect for a product, without a connection
"""

from importlib import import_module

from sqlalchemy import Engine

from .base import OWN_TABLES, SCRATCH, Adapter, Lock, Part

# Where each stands: a run loads one, and the others would make every command slower.
ADAPTERS: dict[str, str] = {
    "sqlite": "sqlite.adapter.SQLite",
    "mysql": "mysql.adapter.MySQL",
    "mariadb": "mysql.adapter.MySQL",
    "postgresql": "postgresql.adapter.PostgreSQL",
}

__all__ = ["ADAPTERS", "OWN_TABLES", "SCRATCH", "Adapter", "Lock", "Part", "adapter_of"]


def adapter_of(engine: Engine) -> Adapter:
    """The adapter of the database behind ``engine``."""
    module, _, name = ADAPTERS[engine.dialect.name].rpartition(".")
    adapter: Adapter = getattr(import_module(f"{__name__}.{module}"), name)(engine)
    return adapter
