"""Backups of the database: how they are written, verified, pruned and restored."""
