"""The application factory."""

from flask import Flask

from app import health, safe_migrations
from app.extensions import db, import_models, migrate
from config import Config


def create_app(config: object = Config) -> Flask:
    """An app with ``config``: a class or object with upper-case attributes, or its import name."""
    app = Flask(__name__)
    app.config.from_object(config)
    import_models()
    db.init_app(app)
    migrate.init_app(app, db)
    safe_migrations.init_app(app)
    app.register_blueprint(health.blueprint)
    return app
