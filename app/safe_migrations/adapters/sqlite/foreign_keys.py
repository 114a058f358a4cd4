"""The foreign keys of a SQLite database while a run goes on: not enforced, but looked at when it is committed."""

import sqlite3
from typing import Any

from ...errors import MigrationError

Orphan = tuple[Any, ...]
"""What ``foreign_key_check`` says of a row: its table, its rowid, the parent, which key (sqlite.org/pragma.html)."""


class ForeignKeys:
    """Those of the database behind ``bare``.

    Batch mode drops tables and makes them anew: with foreign keys on, that runs ON DELETE on rows of children.
    """

    def __init__(self, bare: sqlite3.Connection) -> None:
        self.bare = bare
        (self.enforced,) = bare.execute("PRAGMA foreign_keys").fetchone()
        self.before: list[Orphan] | None = None

    def off(self) -> None:
        """Enforce none; does nothing inside a transaction (sqlite.org/foreignkeys.html, section 2)."""
        self.bare.execute("PRAGMA foreign_keys=OFF")

    def back(self) -> None:
        """Enforce them as before."""
        self.bare.execute(f"PRAGMA foreign_keys={self.enforced}")

    def begin(self) -> None:
        """A transaction has begun: what it finds is not its fault."""
        self.before = self.orphans()

    def commit(self) -> None:
        """Raise MigrationError if the transaction that is to be committed has made orphans."""
        found = self.orphans()
        if found is None or self.before is None or len(found) <= len(self.before):
            return
        child, row, parent, _key = next(orphan for orphan in found if orphan not in self.before)
        raise MigrationError(
            f"row {row} of {child} would refer to a row of {parent} that is not there"
            f" ({len(found) - len(self.before)} such rows).",
            f"delete or correct the rows of {child} first, in the script; nothing was changed:",
            f"op.execute('DELETE FROM {child} WHERE rowid = {row}')",
        )

    def orphans(self) -> list[Orphan] | None:
        """The rows whose parent is not there; None if that does not count, or cannot be asked."""
        try:
            return list(self.bare.execute("PRAGMA foreign_key_check")) if self.enforced else None
        except sqlite3.OperationalError:  # a foreign key that refers to no unique column can only be repaired
            return None
