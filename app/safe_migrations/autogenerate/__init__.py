"""From the differences between models and database to a revision script; directives.py begins."""
