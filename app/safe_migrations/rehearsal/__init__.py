"""Rehearsals: pending revisions are upgraded, downgraded and upgraded again on a scratch copy of the database."""
