"""Foreign keys of a SQLite database: not enforced during a run, but checked before it is committed."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection

from ...errors import MigrationError, counted
from ..base import listening
from .dump import driver_connection

# How many rows the query to paste selects.
SHOWN = 20

Orphan = tuple[Any, ...]
"""A row without its parent, as PRAGMA foreign_key_check shows it: table, rowid, parent table, number of the key."""


@contextmanager
def foreign_keys_checked(connection: Connection) -> Iterator[None]:
    """Do not enforce foreign keys in the block; before COMMIT, raise MigrationError if a transaction added orphans.

    An orphan is a row that refers to a missing parent row. With foreign keys enforced, batch mode would run ON DELETE
    CASCADE, because it drops a table to rebuild it. If ``connection`` does not enforce foreign keys anyway, orphans are
    not looked for. Call this outside a transaction; one that is open at the end of the block is rolled back.
    """
    below = driver_connection(connection)
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
        # A table WITHOUT ROWID has none.
        which, where = ("", "") if row is None else (f" with rowid {row}", f" WHERE rowid IN ({rows})")
        raise MigrationError(
            f"the run would break a foreign key: a row of {child}{which} would refer to a row of {parent} that does"
            f" not exist ({counted(len(found) - len(before), 'such row')}).",
            f"change the script so that it deletes or updates such rows of {child}, or keeps the rows of {parent}."
            f" The run was rolled back; to see the rows of {child} as they are now:",
            f"SELECT * FROM {connection.dialect.identifier_preparer.quote(child)}{where};",
        )

    below.execute("PRAGMA foreign_keys=OFF")
    try:
        with listening(connection, {"begin": begin, "commit": commit} if enforced else {}):
            yield
    finally:
        connection.rollback()
        if not connection.invalidated:  # as Ctrl-C in a statement does, which closes it
            below.rollback()  # what commit() refuses stays open, unknown to SQLAlchemy; SQLite then ignores the PRAGMA
            below.execute(f"PRAGMA foreign_keys={enforced}")


def _orphans(below: sqlite3.Connection) -> list[Orphan] | None:
    """Return all rows that refer to a missing parent.

    Return None if SQLite cannot check that, because columns that a foreign key refers to are not unique.
    """
    try:
        return list(below.execute("PRAGMA foreign_key_check"))
    except sqlite3.OperationalError:
        return None
