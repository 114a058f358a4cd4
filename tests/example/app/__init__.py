"""The application factory."""

from flask import Flask

from app import health, safe_migrations
from app import models as models  # so that `flask db migrate` sees them
from app.extensions import db, migrate
from config import Config


def create_app(config: object = Config) -> Flask:
    """An app with ``config``: a class or object with upper-case attributes, or its import name."""
    app = Flask(__name__)
    app.config.from_object(config)
    db.init_app(app)
    migrate.init_app(app, db)
    safe_migrations.init_app(app)
    health.init_app(app)
    return app
