"""Alembic runs this file for each `flask db` command that reads the models or the database."""

from alembic import context
from flask import current_app

from app.safe_migrations import guarded, process_revision_directives

extension = current_app.extensions["migrate"]
options = {
    "target_metadata": extension.db.metadata,
    "process_revision_directives": process_revision_directives,
    **extension.configure_args,
}

with guarded(extension.db.engine) as target:
    context.configure(**target, **options)
    with context.begin_transaction():
        context.run_migrations()
