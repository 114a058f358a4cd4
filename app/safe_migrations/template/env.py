"""Alembic runs this file for each `flask db` command that reads the models or the database."""

from flask import current_app

from app.safe_migrations import process_revision_directives, run_migrations

extension = current_app.extensions["migrate"]
options = {"process_revision_directives": process_revision_directives, **extension.configure_args}

run_migrations(extension.db.engine, target_metadata=extension.db.metadata, **options)
