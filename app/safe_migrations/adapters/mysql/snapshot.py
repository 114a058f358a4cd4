"""A snapshot of a MySQL or MariaDB database: the definitions of its objects, and fingerprints of its rows."""

import re
from collections.abc import Iterator

from ..base import is_own_table
from ..snapshot import Objects, Rows, Scan, Snapshot
from .catalog import list_objects, quoted, show_create
from .session import Execute
from .table_restore import NAME, Definition, without_counter

CHARSET = re.compile(r" DEFAULT CHARSET=(\w+)(?: COLLATE=(\w+))?")
COLUMNS = (
    "SELECT column_name, data_type, column_key = 'PRI', extra FROM information_schema.columns"
    " WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position"
)
DEFINER = re.compile(rf" DEFINER={NAME}@{NAME}")


def taken(execute: Execute) -> Snapshot:
    """Return a snapshot: the definitions of all objects, counts and fingerprints of rows, next values of sequences.

    Tables of Alembic and of this package are left out. Raise DBAPIError if a query fails.
    """
    found = app_objects(execute)
    counters = {
        f"sequence {name}": int(execute(f"SELECT next_not_cached_value FROM {quoted(name)}")[0][0])
        for kind, name in found
        if kind == "SEQUENCE"
    }
    rows = {name: _rows(execute, name) for kind, name in found if kind == "TABLE"}
    return Snapshot(_objects(execute, found), rows, counters)


def schema(execute: Execute) -> Objects:
    """Return the definitions of all objects without definers, and without inherited character sets and collations.

    A table inherits them from the database as it is when the table is created, a column from its table.
    """
    found = _objects(execute, app_objects(execute))
    inherited = {
        name.removeprefix("table "): re.compile(rf" CHARACTER SET {match[1]}\b| COLLATE {match[2]}\b")
        for name, text in found.items()
        if name.startswith("table ") and (match := CHARSET.search(text))
    }

    def own(name: str, text: str) -> str:
        kind, table = name.partition(" ")[0], name.rpartition(" of ")[2]
        if kind == "column" and table in inherited:
            return inherited[table].sub("", text)
        return CHARSET.sub("", text) if kind == "table" else DEFINER.sub("", text, count=1)

    return {name: own(name, text) for name, text in found.items()}


def app_objects(execute: Execute) -> list[tuple[str, str]]:
    """Return kind and name of each object of the database, without those of Alembic and of this package."""
    return [(kind, name) for kind, name in list_objects(execute) if not is_own_table(name)]


def _objects(execute: Execute, found: list[tuple[str, str]]) -> Objects:
    return {name: words for kind, each in found for name, words in _described(execute, kind, each)}


def _described(execute: Execute, kind: str, name: str) -> Iterator[tuple[str, str]]:
    text, _ = show_create(execute, kind, name) or ("", None)
    if kind != "TABLE":
        yield f"{kind.lower()} {name}", text
        return
    table = Definition.read(text)
    yield f"table {name}", without_counter(f"{table.options} {table.partitions}").strip()
    for (part, inner), line in table.lines.items():
        yield f"{part.lower()} {inner} of {name}".replace("  ", " "), line


def _rows(execute: Execute, table: str) -> Rows:
    columns = [(name, bool(is_key)) for name, _, is_key, _ in execute(COLUMNS, (table,))]
    return SCAN.rows(lambda query: execute(query)[0], quoted(table), columns)


def _hash(name: str) -> str:
    """Return an SQL expression for the hash of a column's value, or for an empty string if the value is NULL.

    Each value is hashed by itself, because values of different collations cannot be joined. MySQL 9 has no MD5.
    """
    return f"COALESCE(SHA2({quoted(name)}, 224), '')"


def _sum(hashes: list[str]) -> str:
    """Return an SQL expression for a fingerprint of all rows: the sum of a 60-bit hash of each row's ``hashes``."""
    joined = f"SHA2(CONCAT_WS(',', {', '.join(hashes)}), 224)"
    return f"COALESCE(SUM(CAST(CONV(LEFT({joined}, 15), 16, 10) AS UNSIGNED)), 0)"


SCAN = Scan(quoted, _hash, _sum)
