"""Foreign keys of a SQLite database: not enforced during a run, but checked before it is committed."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from ...errors import MigrationError
from ..base import listening
from .dump import bare

# How many rows the query to paste selects.
SHOWN = 20

Orphan = tuple[Any, ...]
"""A row of ``foreign_key_check``: table, rowid, parent table, number of the key (sqlite.org/pragma.html)."""


@contextmanager
def foreign_keys_checked(connection: Connection) -> Iterator[None]:
    """Stop enforcing foreign keys, and raise MigrationError for a commit of new orphans. Begin outside a transaction.

    Batch mode drops tables to rebuild them: with foreign keys on, that runs ON DELETE on the rows that refer to them.
    """
    below = bare(connection)
    (enforced,) = below.execute("PRAGMA foreign_keys").fetchone()
    before: list[Orphan] | None = None

    def begin(_connection: Connection) -> None:
        nonlocal before
        before = _orphans(below)

    def commit(_connection: Connection) -> None:
        found = _orphans(below)
        if found is None or before is None or len(found) <= len(before):
            return
        known = set(before)
        new = [orphan for orphan in found if orphan not in known]
        child, row, parent, _key = new[0]
        rows = ", ".join(str(orphan[1]) for orphan in new[:SHOWN] if orphan[0] == child)
        where = f" WHERE rowid IN ({rows})" if row is not None else ""  # a table WITHOUT ROWID has none
        raise MigrationError(
            f"the run would leave orphans that were not there before: row {row} of {child} would refer to a row of"
            f" {parent} that does not exist ({len(found) - len(before)} such rows).",
            "correct what the script does to these rows, to their parents or to the foreign key. See the rows as they"
            " are after the rollback:",
            f"SELECT * FROM {connection.dialect.identifier_preparer.quote(child)}{where};",
        )

    below.execute("PRAGMA foreign_keys=OFF")
    try:
        with listening(connection, {"begin": begin, "commit": commit} if enforced else {}):
            yield
    finally:
        connection.rollback()  # SQLite ignores the PRAGMA inside a transaction
        below.execute(f"PRAGMA foreign_keys={enforced}")


def _orphans(below: sqlite3.Connection) -> list[Orphan] | None:
    """Return the rows whose parent does not exist; None if a foreign key refers to columns that are not unique."""
    try:
        return list(below.execute("PRAGMA foreign_key_check"))
    except sqlite3.OperationalError:
        return None
