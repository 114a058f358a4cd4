"""The state of a database, to compare it with another one: its schema as text, its rows as counts and fingerprints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Objects = Mapping[str, str]
"""The description of each object of the schema, by its name: ``{"column pet.name": "varchar(80) NOT NULL"}``."""


@dataclass(frozen=True)
class Rows:
    """The number of rows of a table; for each column, the number of values that are not NULL, and a fingerprint.

    Two fingerprints of a column are equal if each row, identified by its primary key, has the same value in both. They
    are comparable only in one process, and if the column's type is the same. ``rows`` is the fingerprint of whole rows
    of a table without a primary key, else 0.
    """

    count: int
    values: Mapping[str, tuple[int, int]]
    rows: int = 0


@dataclass(frozen=True)
class Scan:
    """The parts of a query with which a server reads a table once and returns counts and fingerprints."""

    quoted: Callable[[str], str]
    """Put a name into quotes."""
    value: Callable[[str], str]
    """Take a column's name; return SQL for its value that is never NULL."""
    fingerprint: Callable[[list[str]], str]
    """Take such SQL of several columns; return SQL that hashes their values in each row and adds up the hashes."""

    def rows(self, query: Callable[[str], Sequence[Any]], table: str, columns: Sequence[tuple[str, bool]]) -> Rows:
        """Return the counts and fingerprints of ``table``, a name in quotes.

        ``columns`` are pairs of a name, and True if the column is in the primary key; their order does not matter.
        ``query`` runs a SELECT and returns its only row.
        """
        columns = sorted(columns)
        names, keys = [name for name, _ in columns], [self.value(name) for name, is_key in columns if is_key]
        sums = [f"COUNT({self.quoted(name)}), {self.fingerprint([*keys, self.value(name)])}" for name in names]
        row = self.fingerprint([self.value(name) for name in names]) if not keys else "0"
        count, rows, *found = query(f"SELECT {', '.join(['COUNT(*)', row, *sums])} FROM {table}")
        pairs = ((int(values), int(total)) for values, total in zip(found[::2], found[1::2], strict=True))
        return Rows(int(count), dict(zip(names, pairs, strict=True)), int(rows))


@dataclass(frozen=True)
class Snapshot:
    """The schema of a database, counts and fingerprints of its rows, and how far each sequence has counted.

    On SQLite AUTOINCREMENT counts as a sequence; on MySQL AUTO_INCREMENT does not. The tables of Alembic and of this
    package are omitted.
    """

    objects: Objects
    tables: Mapping[str, Rows]
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Return the number of rows in all tables."""
        return sum(rows.count for rows in self.tables.values())
