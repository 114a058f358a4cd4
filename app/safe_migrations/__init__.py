"""Makes `flask db` safe. Lift this folder out and nothing of the app's comes along.

init_app() is for the factory, and loads little; guard.run_migrations() is for migrations/env.py.
"""

from .commands.group import init_app

__all__ = ["init_app"]
