"""The extensions, unbound: create_app() binds them to an app."""

import os
import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Dialect, Engine, MetaData, event
from sqlalchemy.orm import DeclarativeBase

# A constraint without a name cannot be dropped by a later revision. A CHECK has to be named in the model:
# nothing else tells two of them on one table apart.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base class of db.Model."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


db = SQLAlchemy(model_class=Base)
migrate = Migrate(directory=str(Path(__file__).parents[1] / "migrations"))


def import_models() -> None:
    """Import each `models.py` and each module of a `models` package under app/: Alembic sees only imported models."""
    app = Path(__file__).parent
    for folder, folders, files in os.walk(app):
        folders[:] = sorted(set(folders) - {"safe_migrations", "static", "templates"})
        for name in sorted(files):
            module = Path(folder, name).relative_to(app.parent).with_suffix("").parts
            if name.endswith(".py") and "models" in module and all(part.isidentifier() for part in module):
                import_module(".".join(module).removesuffix(".__init__"))


@event.listens_for(Engine, "connect")
def enforce_foreign_keys(connection: object, _record: object) -> None:
    """Enforce foreign keys on SQLite, which does so only on request (sqlite.org/foreignkeys.html, section 2)."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA foreign_keys=ON")


@event.listens_for(Engine, "do_connect")
def encode_password(dialect: Dialect, _record: object, _args: object, options: dict[str, Any]) -> None:
    """Encode the password as UTF-8, which servers expect: PyMySQL encodes a str as Latin-1, and leaves bytes alone."""
    if dialect.driver == "pymysql" and isinstance(options.get("password"), str):
        options["password"] = options["password"].encode()
