"""Backups: written, verified, restored."""
