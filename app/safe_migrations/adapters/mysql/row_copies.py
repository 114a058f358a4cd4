"""Copies of rows and values that a revision on MySQL or MariaDB destroys: creating and restoring them.

In the SQL below `k` is the copy, `t` the table, and `a` the copy's values in the types that the columns have now. Where
`t` differs from `a`, another session has written to the table since.
"""

from collections.abc import Iterator
from uuid import uuid4

from ...console import log
from ..base import OWN_TABLES
from .catalog import quoted
from .journal_table import COPY, ROWS, Copy, Entry, State
from .session import Execute, temporary_settings
from .statements import Statement
from .table_columns import Column, Modification, columns_of, equals, listed, loses, primary_key
from .table_restore import Definition

VALUES = "VALUES"
PREPARED, RETURNED = "prepared", "returned"


def destroyed(
    execute: Execute, statement: Statement, table: Entry, state: State, now: str, strict: bool
) -> Copy | None:
    """Return the copy to make before the statement, still without a name; None if it needs none.

    ``now`` is the table's text; ``strict`` says whether the server refuses values that do not fit. What the revision
    itself added, or has copied before, is not copied.
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
    lost = [first[column.name] for column, after in changed if loses(column, after, charset, strict)]
    renumbers = any(_renumbers(execute, state.place, column, after) for column, after in changed)
    if not lost and not renumbers:
        return None
    is_found_by_key = key and not renumbers and set(key).isdisjoint(lost)
    return Copy("", VALUES, lost, key) if is_found_by_key else Copy("", ROWS, names, [])


def _changes(statement: Statement, columns: list[Column]) -> Iterator[tuple[Column, Modification | None]]:
    """Yield each column that the statement changes, and what it becomes."""
    for column in columns:
        if column.name in statement.changed_columns:
            yield column, statement.changed_columns[column.name]
        elif statement.conversion and column.charset:
            yield column, Modification(column.type.upper(), statement.conversion)


def _renumbers(execute: Execute, table: str, column: Column, now: Modification | None) -> bool:
    """Return True if the column becomes AUTO_INCREMENT and has a 0, which the server replaces by the next number."""
    query = f"SELECT 1 FROM {quoted(table)} WHERE {quoted(column.name)} = 0 LIMIT 1"
    return now is not None and "AUTO_INCREMENT" in now.words and bool(execute(query))


def make(execute: Execute, state: State, copy: Copy, number: int) -> None:
    """Copy these columns, given by their first names, and the key; and give the copy its name. Commits."""
    found = {state.first_name(column.name): column for column in columns_of(execute, state.place)}
    wanted = {name: found[name] for name in [*copy.key, *copy.columns]}
    log.info("Saving %s of %s in case this revision fails", ", ".join(copy.columns), state.place)
    values = ", ".join(f"{quoted(column.name)} AS {quoted(name)}" for name, column in wanted.items())
    copy.table = f"{COPY}_{number}"
    execute(
        f"CREATE TABLE {copy.table} {primary_key(copy.key)} ENGINE=InnoDB AS SELECT {values} FROM {quoted(state.place)}"
    )


class ReturningRows:
    """The return of values from the copies of a table, before and after its definition is restored."""

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
        """Return the columns that come back without their values, which are copied next."""
        return {name for copy in self.copies if copy.what == VALUES for name in copy.columns if self._is_gone(name)}

    def _is_gone(self, column: str) -> bool:
        return column in self.state.dropped

    def must_save(self, copy: Copy) -> bool:
        """Return True if the copy replaces what other sessions have written into a column that was cast; or, where no
        key says which rows are the same, may have written.
        """
        if copy.what == ROWS:
            return not copy.key and bool(self.execute(f"SELECT 1 FROM {self.table} LIMIT 1"))
        # with whole rows there, too, these have replaced the table's
        return all(other.what == VALUES for other in self.state.copies) and self._differs(copy)

    def _differs(self, copy: Copy) -> bool:
        """Return True if a cast column has another value than the copied one becomes in the type that it has now."""
        now = {self.state.first_name(column.name): column for column in columns_of(self.execute, self.name)}
        cast = [name for name in copy.columns if name in now]
        if not cast:
            return False
        again, names = f"{copy.table}_again", [*copy.key, *cast]
        types = ", ".join(f"{quoted(now[name].name)} AS {quoted(name)}" for name in names)
        self.execute(f"DROP TABLE IF EXISTS {again}")
        self.execute(
            f"CREATE TABLE {again} {primary_key(copy.key)} ENGINE=InnoDB AS SELECT {types} FROM {self.table} LIMIT 0"
        )
        with temporary_settings(self.execute, {"sql_mode": ""}):
            self.execute(f"INSERT INTO {again} ({listed(names)}) SELECT {listed(names)} FROM {copy.table}")
        joined = " AND ".join(f"t.{quoted(now[name].name)} = a.{quoted(name)}" for name in copy.key)
        same = " AND ".join(equals(f"t.{quoted(now[name].name)}", f"a.{quoted(name)}", now[name]) for name in cast)
        return bool(self.execute(f"SELECT 1 FROM {self.table} t JOIN {again} a ON {joined} WHERE NOT ({same}) LIMIT 1"))

    def prepare(self, copy: Copy) -> None:
        """Save the rows that the table has now, before its definition changes, and make room for those of the copy."""
        log.info("Saving the rows of %s in the table %s", self.name, copy.saved)
        self.execute(f"DROP TABLE IF EXISTS {copy.saved}")
        self.execute(f"CREATE TABLE {copy.saved} {primary_key([])} ENGINE=InnoDB AS SELECT * FROM {self.table}")
        if copy.what == ROWS:
            self.execute(f"DELETE FROM {self.table}")

    def put_back(self, copy: Copy) -> None:
        """Put the rows or values back into the table, which has its text again."""
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
        """Update the copied columns, and no other: not one that follows updates (ON UPDATE)."""
        follow = [column.name for column in columns_of(self.execute, self.name) if column.follows_updates]
        names = dict.fromkeys(copy.columns + follow)
        values = [f"t.{quoted(name)} = {'k' if name in copy.columns else 't'}.{quoted(name)}" for name in names]
        tables = f"{self.table} t JOIN {copy.table} k USING ({listed(copy.key)})"
        self.execute(f"UPDATE {tables} SET {', '.join(values)}")


def saved_name() -> str:
    """Return the name of a copy that remains for a person to look at."""
    return f"{OWN_TABLES}saved_{uuid4().hex[:12]}"
