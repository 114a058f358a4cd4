"""Alembic runs this file for each `flask db` command that reads the models or the database."""

from flask import current_app

run_migrations = current_app.extensions["safe_migrations"]

run_migrations()  # takes options of context.configure(), such as include_object
