"""Makes `flask db` safe. Lift this folder out and nothing of the app's comes along."""

from app.safe_migrations.cli import init_app
from app.safe_migrations.directives import process_revision_directives
from app.safe_migrations.guard import run_migrations

__all__ = ["init_app", "process_revision_directives", "run_migrations"]
