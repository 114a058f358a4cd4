"""Makes `flask db` safe. Lift this folder out and nothing of the app's comes along.

init_app() is for the factory, and loads little; run_migrations() is for migrations/env.py.
"""

from typing import Any

from flask import Flask
from sqlalchemy import Engine

from .commands.group import add_commands

__all__ = ["init_app", "run_migrations"]


def init_app(app: Flask) -> None:
    """Make the commands of `flask db` safe, and let env.py find run_migrations(). Call it after Migrate's init_app().

    Raise RuntimeError if the app has no Migrate yet, or one without SQLAlchemy.
    """
    migrate = app.extensions.get("migrate")
    if migrate is None or migrate.db is None:
        raise RuntimeError(
            "safe_migrations.init_app(app) needs Flask-Migrate and its database: call Migrate(app, db), or"
            " migrate.init_app(app, db), before it."
        )
    app.extensions["safe_migrations"] = run_migrations
    add_commands(app)


def run_migrations(engine: Engine | None = None, **options: Any) -> None:
    """Run the command that loaded env.py, on the app's database or the one behind ``engine``.

    ``options`` are those of context.configure(), besides what the app gave Migrate(). Raise what guard.py says.
    """
    from . import guard

    guard.run_migrations(engine, **options)
