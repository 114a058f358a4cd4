"""Copies of rows and values that a revision on MySQL or MariaDB destroys: creating and restoring them.

Aliases in the SQL below: `k` is the copy, `t` the table, and `a` the copied values, converted to the types that the
columns have now. If `t` differs from `a`, another session has written to the table since it was copied.
"""

from collections.abc import Iterator
from uuid import uuid4

from ...console import log
from ..base import OWN_TABLES
from .catalog import quoted
from .journal_table import COPY, ROWS, Copy, Entry, State
from .session import Execute, temporary_settings
from .statements import Statement
from .table_columns import Column, Modification, columns_of, create_copied, equals, listed, loses_values
from .table_restore import Definition

VALUES = "VALUES"
PREPARED, RETURNED = "prepared", "returned"


def needed_copy(
    execute: Execute, statement: Statement, table: Entry, state: State, now: str, strict: bool
) -> Copy | None:
    """Return a description of the rows or values to copy before the statement destroys them; None if there are none.

    make_copy() then copies them. Columns that the revision itself added, and columns that already have a copy, are not
    copied; nor is anything if whole rows are already copied. ``now`` is the table's SHOW CREATE; ``strict`` says
    whether the server rejects values that do not fit.
    """
    is_copied = any(copy.what == ROWS for copy in state.copies)
    if not statement.may_destroy or is_copied or not execute(f"SELECT 1 FROM {quoted(state.place)} LIMIT 1"):
        return None
    first_text, found = Definition.read(table.text or ""), columns_of(execute, state.place)
    copied = {name for copy in state.copies for name in copy.columns}
    first = {column.name: state.first_name(column.name) for column in found}
    names = [name for name in first.values() if ("COLUMN", name) in first_text.lines and name not in copied]
    key = first_text.key if set(first_text.key) <= set(names) else []
    if statement.deletes_rows:
        return Copy("", ROWS, names, key) if names else None
    charset = Definition.read(now).charset
    changed = [(column, after) for column, after in _changes(statement, found) if first[column.name] in names]
    lost = [first[column.name] for column, after in changed if loses_values(column, after, charset, strict)]
    renumbers = any(_renumbers(execute, state.place, column, after) for column, after in changed)
    if not lost and not renumbers:
        return None
    is_found_by_key = key and not renumbers and set(key).isdisjoint(lost)
    return Copy("", VALUES, lost, key) if is_found_by_key else Copy("", ROWS, names, [])


def _changes(statement: Statement, columns: list[Column]) -> Iterator[tuple[Column, Modification | None]]:
    """Yield each column that the statement changes or drops, and its new definition; None for a dropped column."""
    for column in columns:
        if column.name in statement.changed_columns:
            yield column, statement.changed_columns[column.name]
        elif statement.conversion and column.charset:
            yield column, Modification(column.type.upper(), statement.conversion)


def _renumbers(execute: Execute, table: str, column: Column, now: Modification | None) -> bool:
    """Return True if the column becomes AUTO_INCREMENT and a row has 0 in it: the server replaces 0 by a new number."""
    query = f"SELECT 1 FROM {quoted(table)} WHERE {quoted(column.name)} = 0 LIMIT 1"
    return now is not None and "AUTO_INCREMENT" in now.words and bool(execute(query))


def make_copy(execute: Execute, state: State, copy: Copy, number: int) -> None:
    """Create the table ``_migration_copy_<number>`` with the rows or values to copy; set ``copy.table`` to its name.

    The columns have the names that they had before the revision. Creating the table commits; its rows are committed
    with what follows.
    """
    found = {state.first_name(column.name): column for column in columns_of(execute, state.place)}
    wanted = {name: found[name] for name in [*copy.key, *copy.columns]}
    log.info("Saving %s of table %s in case this revision fails", ", ".join(copy.columns), state.place)
    copy.table = f"{COPY}_{number}"
    create_copied(execute, copy.table, wanted, copy.key)
    values = listed([column.name for column in wanted.values()])
    execute(f"INSERT INTO {copy.table} ({listed(list(wanted))}) SELECT {values} FROM {quoted(state.place)}")


class RowRestore:
    """The restore of a table's rows and values from their copies.

    Before the table's old definition is restored, call prepare() for each copy that must_save(); after that, call
    put_back() for each copy.
    """

    def __init__(self, execute: Execute, entry: Entry) -> None:
        self.execute = execute
        self.table = quoted(entry.name)
        self.name = entry.name
        self.state = entry.state
        self.copies = sorted(
            (copy for copy in entry.state.copies if copy.progress != RETURNED), key=lambda copy: copy.what == VALUES
        )

    @property
    def empty_columns(self) -> set[str]:
        """Return the dropped columns that the undo adds again without values; put_back() then fills them."""
        dropped = self.state.dropped
        return {name for copy in self.copies if copy.what == VALUES for name in copy.columns if name in dropped}

    def must_save(self, copy: Copy) -> bool:
        """Return True if restoring the copy may overwrite changes of other sessions, so that rows must be saved first.

        If whole rows were copied without a primary key, this is so if the table has any row; with one, never, because
        only missing rows are inserted. If values of a column were copied because its type changes, the column is
        compared with the copy, unless whole rows were copied too, which replace it. Values of dropped columns overwrite
        nothing.
        """
        if copy.what == ROWS:
            return not copy.key and bool(self.execute(f"SELECT 1 FROM {self.table} LIMIT 1"))
        # a copy of whole rows replaces all rows of the table, and these values with them
        return all(other.what == VALUES for other in self.state.copies) and self._differs(copy)

    def _differs(self, copy: Copy) -> bool:
        """Return True if another session has written to a copied column since the statement changed its type.

        The column then differs from the copied values, converted to the type that it has now.
        """
        now = {self.state.first_name(column.name): column for column in columns_of(self.execute, self.name)}
        cast = [name for name in copy.columns if name in now]
        if not cast:
            return False
        again, names = f"{copy.table}_again", [*copy.key, *cast]
        self.execute(f"DROP TABLE IF EXISTS {again}")
        create_copied(self.execute, again, {name: now[name] for name in names}, copy.key)
        with temporary_settings(self.execute, {"sql_mode": ""}):
            self.execute(f"INSERT INTO {again} ({listed(names)}) SELECT {listed(names)} FROM {copy.table}")
        joined = " AND ".join(f"t.{quoted(now[name].name)} = a.{quoted(name)}" for name in copy.key)
        same = " AND ".join(equals(f"t.{quoted(now[name].name)}", f"a.{quoted(name)}", now[name]) for name in cast)
        return bool(self.execute(f"SELECT 1 FROM {self.table} t JOIN {again} a ON {joined} WHERE NOT ({same}) LIMIT 1"))

    def prepare(self, copy: Copy) -> None:
        """Copy all rows of the table into a new table ``copy.saved``, for the user to look at.

        Then delete them from the table, if put_back() will insert whole rows.
        """
        log.info("Saving all rows of table %s in %s: other sessions may have changed some", self.name, copy.saved)
        self.execute(f"DROP TABLE IF EXISTS {copy.saved}")
        columns = {column.name: column for column in columns_of(self.execute, self.name)}
        create_copied(self.execute, copy.saved, columns, [])
        names = listed(list(columns))
        self.execute(f"INSERT INTO {copy.saved} ({names}) SELECT {names} FROM {self.table}")
        if copy.what == ROWS:
            self.execute(f"DELETE FROM {self.table}")

    def put_back(self, copy: Copy) -> None:
        """Insert the copied rows into the table, or write the copied values into their columns.

        Rows that the table already has, according to the primary key, are not inserted.
        """
        if copy.what == VALUES:
            self._update(copy)
            return
        names, where = list(dict.fromkeys([*copy.key, *copy.columns])), ""
        if copy.key:
            where = f" LEFT JOIN {self.table} t USING ({listed(copy.key)}) WHERE t.{quoted(copy.key[0])} IS NULL"
        self.execute(
            f"INSERT INTO {self.table} ({listed(names)}) SELECT {listed(names, 'k')} FROM {copy.table} k{where}"
        )

    def _update(self, copy: Copy) -> None:
        """Write the copied values into the table by primary key, so that ON UPDATE CURRENT_TIMESTAMP has no effect."""
        follow = [column.name for column in columns_of(self.execute, self.name) if column.follows_updates]
        names = dict.fromkeys(copy.columns + follow)
        values = [f"t.{quoted(name)} = {'k' if name in copy.columns else 't'}.{quoted(name)}" for name in names]
        tables = f"{self.table} t JOIN {copy.table} k USING ({listed(copy.key)})"
        self.execute(f"UPDATE {tables} SET {', '.join(values)}")


def saved_name() -> str:
    """Return a new name, ``_migration_saved_4f2a9c01b7de``, for a table in which an undo leaves rows for the user."""
    return f"{OWN_TABLES}saved_{uuid4().hex[:12]}"
