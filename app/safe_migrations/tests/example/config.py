"""The settings of the example."""

import os


class Config:
    """What Flask-SQLAlchemy reads; the package reads its settings from the environment."""

    SQLALCHEMY_DATABASE_URI = os.environ.get("DATABASE_URL", "sqlite:///app.db")
