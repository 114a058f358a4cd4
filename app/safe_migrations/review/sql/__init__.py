"""The translation of raw SQL into operations. All modules except ops.py import sqlglot, which is slow to load."""
