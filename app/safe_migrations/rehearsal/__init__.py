"""Pending revisions up, down and up again on a scratch copy."""
