"""Snapshots of a SQLite database: its schema and fingerprints of its rows, to compare two states.

The CREATE TABLE of two equal tables can differ, because batch mode rewrites it. So columns, keys and indexes are read
with PRAGMAs, and only the rest from the CREATE TABLE.
"""

import re
import sqlite3
from collections.abc import Iterator
from itertools import groupby, pairwise

from ..base import double_quoted, is_own_table
from ..snapshot import Objects, Rows, Snapshot
from .table_texts import TableText, normalized

OF_TABLE = re.compile(r"\b(?:AUTOINCREMENT|ON CONFLICT \w+|(?:NOT )?DEFERRABLE(?: INITIALLY \w+)?)\b")
# Kinds of columns (sqlite.org/pragma.html, table_xinfo).
KINDS = {0: "", 1: "HIDDEN", 2: "GENERATED", 3: "GENERATED STORED"}


def taken(connection: sqlite3.Connection) -> Snapshot:
    """Return a snapshot of the schema and the rows, as ``connection`` sees them in its transaction."""
    version = {"user_version": str(connection.execute("PRAGMA user_version").fetchone()[0])}
    tables = {name: _rows(connection, name) for kind, name, _, _ in entries(connection) if kind == "table"}
    return Snapshot({**version, **objects(connection)}, tables, _counters(connection))


def objects(connection: sqlite3.Connection) -> Objects:
    """Return the description of each object of the schema."""
    found: dict[str, str] = {}
    for kind, name, table, sql in entries(connection):
        if kind == "table":
            found |= dict(_described(connection, name, sql))
        else:
            found[f"{kind} {name}" + ("" if table == name else f" of {table}")] = normalized(sql)
    return found


def entries(connection: sqlite3.Connection) -> list[tuple[str, str, str, str]]:
    """Return type, name, table and SQL of each entry of sqlite_master, without those of SQLite and this package."""
    # The shadow tables of a virtual one hold its rows in their own way.
    shadows = {row[1] for row in connection.execute("PRAGMA table_list") if row[2] == "shadow"}
    found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return [
        (kind, name, table, sql)
        for kind, name, table, sql in found
        if not (is_own_table(table) or table.startswith("sqlite_") or table in shadows)
    ]


def has_counters(connection: sqlite3.Connection) -> bool:
    """Return True if a table has, or had, AUTOINCREMENT: SQLite then has a table with the counters."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone())


def _counters(connection: sqlite3.Connection) -> dict[str, int]:
    """Return the last AUTOINCREMENT number of each table, e.g. ``{"the counter of pet": 7}``."""
    if not has_counters(connection):
        return {}
    found = connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    return {f"the counter of {name}": int(number or 0) for name, number in found}


def _described(connection: sqlite3.Connection, table: str, sql: str) -> Iterator[tuple[str, str]]:
    text = TableText.of(sql)
    words = [normalized(sql)] if normalized(sql).startswith("CREATE VIRTUAL") else []
    words += [*text.options, *(found for clause in text.clauses for found in OF_TABLE.findall(clause.words.keywords))]
    yield f"table {table}", " ".join(sorted(words))
    of_columns = {}
    for clause in (clause for clause in text.clauses if not clause.kind):
        expressions = [f"AS ({normalized(each)})" for each in clause.inside("AS")]
        neighbours = pairwise(clause.words.words)
        collations = [f"COLLATE {name.text.upper()}" for word, name in neighbours if word.keyword == "COLLATE"]
        of_columns[clause.name] = [*collations, *expressions]
    columns = connection.execute(f"PRAGMA table_xinfo({double_quoted(table)})").fetchall()
    key = [column for column in columns if column[5]]
    for _, name, kind, not_null, default, place, hidden in columns:
        kind = re.sub(r"\s*,\s*", ", ", kind.upper())
        kind = "INTEGER" if kind == "INT" else kind  # for both have the same affinity
        # A key of the type INTEGER is the rowid, which is never NULL, whatever is said.
        never_null = not_null or (len(key) == 1 and place and kind == "INTEGER")
        words = [kind, "NOT NULL" if never_null else "", KINDS[hidden], f"KEY {place}" if place else ""]
        words += [f"DEFAULT {_inner(normalized(default))}"] if default is not None else []
        yield f"column {name} of {table}", " ".join(filter(None, [*words, *of_columns.get(name.lower(), [])]))
    keys = connection.execute(f"PRAGMA foreign_key_list({double_quoted(table)})").fetchall()
    for (_, parent, rules), found in groupby(keys, lambda row: (row[0], row[2], row[5:8])):
        pairs = [(row[3], row[4]) for row in found]
        yield f"foreign key {pairs} to {parent} of {table}", " ".join(rules)
    for _, index, _, origin, _ in connection.execute(f"PRAGMA index_list({double_quoted(table)})").fetchall():
        if origin == "u":
            on = connection.execute(f"PRAGMA index_xinfo({double_quoted(index)})").fetchall()
            yield f"UNIQUE {[(row[2], row[4]) for row in on if row[5]]} of {table}", ""
    for clause in text.clauses:
        for condition in clause.inside("CHECK"):
            yield f"CHECK ({normalized(condition)}) of {table}", ""
        for at, word in enumerate(clause.words.words):
            if word.keyword == "CONSTRAINT":
                yield f"constraint {clause.words.words[at + 1].text} of {table}", ""


def _inner(default: str) -> str:
    """Return the default without parentheses around the whole of it: ``( ( 1 ) )`` becomes ``1``."""
    while default.startswith("( ") and default.endswith(" )"):
        default = default[2:-2]
    return default


def _rows(connection: sqlite3.Connection, table: str) -> Rows:
    """Return the number of rows, and for each column the number of values and their fingerprint.

    The fingerprint is a sum of hashes of texts, because Python gives many different numbers the same hash.
    """
    found = connection.execute(f"PRAGMA table_info({double_quoted(table)})").fetchall()
    columns = sorted(found, key=lambda column: str(column[1]))  # one that comes back may be in another place
    names = [column[1] for column in columns]
    key = [at for at, column in enumerate(columns) if column[5]]
    count, rows, values, sums = 0, 0, [0] * len(names), [0] * len(names)
    for row in connection.execute(f"SELECT {', '.join(map(double_quoted, names))} FROM {double_quoted(table)}"):
        count += 1
        identity = tuple(row[at] for at in key)
        for at, value in enumerate(row):
            values[at] += value is not None
            sums[at] += hash(repr((identity, value)))
        rows += 0 if key else hash(repr(row))
    return Rows(count, dict(zip(names, zip(values, sums, strict=True), strict=True)), rows)
