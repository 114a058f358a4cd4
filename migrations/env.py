"""Alembic runs this file for each `flask db` command that reads the models or the database."""

from flask import current_app

from app.safe_migrations.guard import run_migrations

extension = current_app.extensions["migrate"]

run_migrations(extension.db.engine, target_metadata=extension.db.metadata, **extension.configure_args)
