"""What each database can do, and how it is asked. Nothing outside this folder tests the name of a dialect."""

from sqlalchemy import Engine

from app.safe_migrations.adapters.base import OWN_TABLES, SCRATCH, Adapter, Lock, Part
from app.safe_migrations.adapters.mysql.adapter import MySQL
from app.safe_migrations.adapters.postgresql.adapter import PostgreSQL
from app.safe_migrations.adapters.sqlite.adapter import SQLite

ADAPTERS: dict[str, type[Adapter]] = {"sqlite": SQLite, "mysql": MySQL, "mariadb": MySQL, "postgresql": PostgreSQL}

__all__ = ["ADAPTERS", "OWN_TABLES", "SCRATCH", "Adapter", "Lock", "Part", "adapter_of"]


def adapter_of(engine: Engine) -> Adapter:
    """The adapter of the database behind ``engine``."""
    return ADAPTERS[engine.dialect.name](engine)
