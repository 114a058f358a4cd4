"""Foreign keys of a SQLite database: not enforced during a run, but checked before it is committed."""

import sqlite3
from typing import Any

from ...errors import MigrationError

Orphan = tuple[Any, ...]
"""A row of ``foreign_key_check``: table, rowid, parent table, number of the key (sqlite.org/pragma.html)."""


class ForeignKeys:
    """The foreign keys of the database behind ``bare``.

    Batch mode drops tables to rebuild them: with foreign keys on, that runs ON DELETE on the rows that refer to them.
    """

    def __init__(self, bare: sqlite3.Connection) -> None:
        self.bare = bare
        (self.enforced,) = bare.execute("PRAGMA foreign_keys").fetchone()
        self.before: list[Orphan] | None = None

    def off(self) -> None:
        """Stop enforcing them. Do not call it inside a transaction, where SQLite ignores it."""
        self.bare.execute("PRAGMA foreign_keys=OFF")

    def restore(self) -> None:
        """Enforce them again if they were enforced before."""
        self.bare.execute(f"PRAGMA foreign_keys={self.enforced}")

    def begin(self) -> None:
        """Record orphans that existed before this transaction."""
        self.before = self.orphans()

    def commit(self) -> None:
        """Raise MigrationError if the transaction that is about to be committed left new orphans."""
        found = self.orphans()
        if found is None or self.before is None or len(found) <= len(self.before):
            return
        child, row, parent, _key = next(orphan for orphan in found if orphan not in self.before)
        raise MigrationError(
            f"row {row} of {child} would refer to a row of {parent} that does not exist"
            f" ({len(found) - len(self.before)} such rows).",
            f"delete or correct the rows of {child} first, in the script; nothing was changed:",
            f"op.execute('DELETE FROM {child} WHERE rowid = {row}')",
        )

    def orphans(self) -> list[Orphan] | None:
        """Return the rows whose parent does not exist; None if keys are not enforced, or SQLite cannot check them."""
        try:
            return list(self.bare.execute("PRAGMA foreign_key_check")) if self.enforced else None
        except sqlite3.OperationalError:  # a foreign key that refers to no unique column can only be repaired
            return None
