"""Measured side by side with stock Flask-Migrate; no part of the test run."""
