"""Copies of rows and values that a revision on MySQL or MariaDB destroys: creating and restoring them.

In the SQL below `k` is the copy, `t` the table, and `a` a second copy, which an undo creates from the first one by the
same type changes as the revision. Where `t` differs from `a`, another session has written to the table since.
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
        """Return True if the table's rows have to make room for those of the copy: no key says which are the same."""
        return copy.what == ROWS and not copy.key and bool(self.execute(f"SELECT 1 FROM {self.table} LIMIT 1"))

    def prepare(self, copy: Copy, now: str) -> None:
        """Save what others may have written since, before the table, whose text is ``now``, changes."""
        if copy.saved:
            log.info("Saving the rows of %s in the table %s", self.name, copy.saved)
            self.execute(f"DROP TABLE IF EXISTS {copy.saved}")
            self.execute(f"CREATE TABLE {copy.saved} {primary_key([])} ENGINE=InnoDB AS SELECT * FROM {self.table}")
            self.execute(f"DELETE FROM {self.table}")
        elif all(other.what == VALUES for other in self.state.copies):
            self._keep_what_others_wrote(copy, now)

    def _now(self, column: str, now: str) -> str:
        """Return the name that a column has now; an empty string if the revision dropped it."""
        names = (name for kind, name in Definition.read(now).lines if kind == "COLUMN")
        return next((name for name in names if self.state.first_name(name) == column), "")

    def _can_compare(self, column: str, now: str) -> bool:
        """Return True if the column still exists, and is neither generated nor AUTO_INCREMENT."""
        line = Definition.read(now).lines.get(("COLUMN", self._now(column, now)), "AUTO_INCREMENT")
        return "GENERATED ALWAYS" not in line and "AUTO_INCREMENT" not in line

    def _convert_copy(self, copy: Copy, columns: list[str], now: str) -> None:
        """Copy the key and these columns of the copy, and change the types of the columns as the revision did."""
        second, definition = f"{copy.table}_after", Definition.read(now)
        self.execute(f"DROP TABLE IF EXISTS {second}")
        self.execute(
            f"CREATE TABLE {second} {primary_key(copy.key)} ENGINE=InnoDB {definition.letters}"
            f" AS SELECT {listed([*copy.key, *columns])} FROM {copy.table}"
        )
        changes = [f"MODIFY {quoted(name)} {definition.plain(self._now(name, now))}" for name in columns]
        with temporary_settings(self.execute, {"sql_mode": ""}):
            self.execute(f"ALTER TABLE {second} {', '.join(changes)}")

    def _keep_what_others_wrote(self, copy: Copy, now: str) -> None:
        """Delete rows from the second copy that other sessions have changed, so that the undo does not restore them."""
        cast = [name for name in copy.columns if self._can_compare(name, now)]
        if not cast:
            return
        self._convert_copy(copy, cast, now)
        types = {column.name: column for column in columns_of(self.execute, f"{copy.table}_after")}
        same = " AND ".join(
            f"({equals(f't.{quoted(self._now(name, now))}', f'a.{quoted(name)}', types[name].text)}"
            + (f" OR k.{quoted(name)} IS NULL" if _becomes_now(types[name]) else "")
            + ")"
            for name in cast
        )
        joined = " AND ".join(f"t.{quoted(self._now(name, now))} = a.{quoted(name)}" for name in copy.key)
        tables = (
            f"{copy.table}_after a JOIN {copy.table} k USING ({listed(copy.key)}) LEFT JOIN {self.table} t ON {joined}"
        )
        key = f"t.{quoted(self._now(copy.key[0], now))}"
        self.execute(f"DELETE a FROM {tables} WHERE {key} IS NULL OR NOT ({same})")

    def put_back(self, copy: Copy) -> None:
        """Put the rows or values back into the table, which has its text again."""
        if copy.what == VALUES:
            gone = [name for name in copy.columns if self._is_gone(name)]
            self._update(copy, gone)
            cast = [name for name in copy.columns if name not in gone]
            has_second = columns_of(self.execute, f"{copy.table}_after")
            self._update(copy, cast, f"JOIN {copy.table}_after a USING ({listed(copy.key)})" if has_second else "")
            return
        names, where = list(dict.fromkeys([*copy.key, *copy.columns])), ""
        if copy.key:
            where = f" LEFT JOIN {self.table} t USING ({listed(copy.key)}) WHERE t.{quoted(copy.key[0])} IS NULL"
        self.execute(
            f"INSERT INTO {self.table} ({listed(names)}) SELECT {listed(names, 'k')} FROM {copy.table} k{where}"
        )

    def _update(self, copy: Copy, columns: list[str], joined: str = "") -> None:
        """Update these columns, and no other: not one that follows updates (ON UPDATE)."""
        if not columns:
            return
        follow = [column.name for column in columns_of(self.execute, self.name) if column.follows_updates]
        names = dict.fromkeys(columns + follow)
        values = [f"t.{quoted(name)} = {'k' if name in columns else 't'}.{quoted(name)}" for name in names]
        tables = f"{self.table} t JOIN {copy.table} k USING ({listed(copy.key)}) {joined}"
        self.execute(f"UPDATE {tables} SET {', '.join(values)}")


def _becomes_now(column: Column) -> bool:
    """Return True if the server stores the current time instead of NULL: such values cannot be compared later."""
    return column.type.lower().startswith("timestamp") and not column.nullable


def saved_name() -> str:
    """Return the name of a copy that remains for a person to look at."""
    return f"{OWN_TABLES}saved_{uuid4().hex[:12]}"
