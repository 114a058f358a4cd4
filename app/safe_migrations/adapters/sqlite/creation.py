"""The statements that create a SQLite database again: the SQL that SQLite stores, and rows as quote() writes them."""

import sqlite3
from collections.abc import Iterator

from ..base import double_quoted
from ..creation import Creation, inserts
from .snapshot import entries, has_counters


def creations(connection: sqlite3.Connection) -> Iterator[Creation]:
    """Yield the statements: tables, indexes, rows, counters of AUTOINCREMENT, and then views and triggers.

    A table may come before one to which it refers, because SQLite looks for that only when rows change. Rows of virtual
    tables are left out.
    """
    found = entries(connection)
    tables = {name: sql for kind, name, _, sql in found if kind == "table"}
    yield from (Creation(sql, name, first=True) for name, sql in tables.items())
    yield from (Creation(sql, table) for kind, _, table, sql in found if kind == "index")
    for name, sql in tables.items():
        if not sql.upper().startswith("CREATE VIRTUAL"):
            yield from _rows(connection, name)
    for name, number in _counters(connection):
        yield Creation(f"DELETE FROM sqlite_sequence WHERE name = {name}", fills=name)
        yield Creation(f"INSERT INTO sqlite_sequence (name, seq) VALUES ({name}, {number})", fills=name)
    yield from (Creation(sql) for kind, _, _, sql in found if kind in ("view", "trigger"))


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[Creation]:
    """Yield the INSERTs of a table. Generated columns get no value, because they are computed."""
    columns = connection.execute(f"PRAGMA table_xinfo({double_quoted(table)})").fetchall()
    names = [double_quoted(column[1]) for column in columns if not column[6]]
    key = [double_quoted(column[1]) for column in columns if column[5]]
    values = " || ', ' || ".join(f"quote({name})" for name in names)
    order = ", ".join(key or ["rowid"])
    query = f"SELECT '(' || {values} || ')' FROM {double_quoted(table)} ORDER BY {order}"
    yield from inserts(double_quoted(table), names, [row for (row,) in connection.execute(query)], table)


def _counters(connection: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    """Yield name, in quotes, and last number of each table that counted further than its rows show."""
    if not has_counters(connection):
        return
    for name, number in connection.execute("SELECT quote(name), seq FROM sqlite_sequence ORDER BY 1").fetchall():
        table = double_quoted(name[1:-1].replace("''", "'"))
        (last,) = connection.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()
        if number is not None and number != last:
            yield name, number
