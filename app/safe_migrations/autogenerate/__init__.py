"""Revision scripts from the differences between models and database; directives.py begins."""
