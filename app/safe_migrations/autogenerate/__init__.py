"""The scripts that `flask db migrate` writes; Alembic calls the functions in directives.py."""
