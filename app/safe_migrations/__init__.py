"""Makes the commands of `flask db` safe. This package imports nothing from the app.

The app's factory calls init_app(), which loads few modules; migrations/env.py calls run_migrations().
"""

from typing import Any

from flask import Flask
from sqlalchemy import Engine

from .commands.group import add_commands

__all__ = ["init_app", "run_migrations"]


def init_app(app: Flask) -> None:
    """Replace Flask-Migrate's `flask db` commands with safe ones. Call this after Migrate's init_app().

    Store run_migrations() in app.extensions, where env.py finds it. Raise RuntimeError if Migrate's init_app() was not
    called, or was called without a SQLAlchemy object.
    """
    migrate = app.extensions.get("migrate")
    if migrate is None or migrate.db is None:
        raise RuntimeError(
            "safe_migrations.init_app(app) needs Flask-Migrate with a SQLAlchemy object. Fix: before it, call"
            " Migrate(app, db) or migrate.init_app(app, db)."
        )
    app.extensions["safe_migrations"] = run_migrations
    add_commands(app)


def run_migrations(engine: Engine | None = None, **options: Any) -> None:
    """Run the `flask db` command that loaded env.py, on the database of ``engine``, by default the app's.

    ``options`` are options of context.configure(); they override those that the app gave Migrate(). Raise the errors
    that guard.run_migrations() lists.
    """
    from pathlib import Path

    from alembic import context

    from . import guard
    from .folder import in_folder

    with in_folder(Path(context.script.dir)):
        guard.run_migrations(engine, **options)
