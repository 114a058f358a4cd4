"""The databases: what each can do, and how to query it. Nothing outside this folder tests the name of a dialect.

base.py             the interface of an adapter and its lock; each database's own are in the folder of its name
databases.py        the interface to the other databases of a server, for rehearsals
snapshot.py         a database at one moment
facts.py            what reviews, generated scripts and rehearsals ask, without a connection
casts.py            what becomes of values that get another type
products.py         where the facts of each product are
dialects.py         SQLAlchemy's dialect for a product, without a connection
sql_words.py        SQL as words, for each database: one tokenizer for the whole package
client_programs.py  the databases' own programs, for backups
"""

import re
from importlib import import_module

from sqlalchemy import Engine

from ..errors import MigrationError
from .base import OWN_TABLES, SCRATCH, Adapter, Lock, Part

# Where each stands: a run loads one, and the others would make every command slower.
ADAPTERS: dict[str, str] = {
    "sqlite": "sqlite.adapter.SQLite",
    "mysql": "mysql.adapter.MySQL",
    "mariadb": "mysql.adapter.MySQL",
    "postgresql": "postgresql.adapter.PostgreSQL",
}

__all__ = ["ADAPTERS", "OWN_TABLES", "SCRATCH", "Adapter", "Lock", "Part", "adapter_of", "product_and_version"]


def adapter_of(engine: Engine) -> Adapter:
    """Return the adapter of the database behind ``engine``."""
    module, _, name = ADAPTERS[engine.dialect.name].rpartition(".")
    adapter: Adapter = getattr(import_module(f"{__name__}.{module}"), name)(engine)
    return adapter


def product_and_version(target: str, setting: str = "MIGRATION_TARGETS") -> tuple[str, tuple[int, ...]]:
    """Return the product and the lowest version, if any: ``mysql>=8.0.16`` is ``("mysql", (8, 0, 16))``.

    Raise MigrationError for anything else, by the name of the ``setting`` that has it.
    """
    found = re.fullmatch(r"\s*(?P<product>\w+)\s*(?:>=\s*(?P<version>\d+(?:\.\d+)*))?\s*", target)
    product = {"postgres": "postgresql"}.get(found["product"], found["product"]) if found else ""
    if found is None or product not in ADAPTERS:
        raise MigrationError(
            f"{setting} names {target.strip()!r}, which is not a target of a review.",
            f"name some of {', '.join(ADAPTERS)}, with the lowest version or without:",
            f"flask db review {setting} 'mysql>=8.0'" if setting.startswith("-") else f"export {setting}='mysql>=8.0'",
        )
    return product, tuple(map(int, found["version"].split("."))) if found["version"] else ()
