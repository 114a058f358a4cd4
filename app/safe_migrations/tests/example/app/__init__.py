"""The application factory of the example."""

from flask import Flask

from app import safe_migrations

from . import models  # noqa: F401
from .extensions import db, migrate, set_up


def create_app(config: object = "config.Config") -> Flask:
    """Return an app with ``config``: a class or object with upper-case attributes, or its import name."""
    app = Flask(__name__)
    app.config.from_object(config)
    db.init_app(app)
    migrate.init_app(app, db)
    safe_migrations.init_app(app)
    with app.app_context():
        set_up(db.engine)
    return app
