"""A database at one moment: its schema as the database describes it, and its rows as counts and fingerprints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Objects = Mapping[str, str]
"""The description of each object: ``{"column pet.name": "varchar(80) NOT NULL"}``."""


@dataclass(frozen=True)
class Rows:
    """The rows of a table: how many there are; and of each column, how many values are not NULL and their fingerprint.

    Fingerprints are equal if each row, identified by its primary key, has the same value; they can be compared within
    one process and one type. ``rows`` is the fingerprint of whole rows, for tables without a primary key.
    """

    count: int
    values: Mapping[str, tuple[int, int]]
    rows: int = 0


@dataclass(frozen=True)
class Scan:
    """The SQL with which a server reads a table once, and returns counts and fingerprints."""

    quoted: Callable[[str], str]
    """Return a name in quotes."""
    value: Callable[[str], str]
    """Return an expression for a column's value that is never NULL."""
    fingerprint: Callable[[list[str]], str]
    """Return an aggregate over all rows of a hash of such values."""

    def rows(self, query: Callable[[str], Sequence[Any]], table: str, columns: Sequence[tuple[str, bool]]) -> Rows:
        """Return the rows of ``table``, a name in quotes, whose ``columns`` are names, each with whether it is in the
        primary key. ``query`` returns the only row of a result. The order of the columns does not count.
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
    """The schema, the rows of each table and the value of each counter, without the tables of Alembic and of a run."""

    objects: Objects
    tables: Mapping[str, Rows]
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Return the number of rows in all tables."""
        return sum(rows.count for rows in self.tables.values())
