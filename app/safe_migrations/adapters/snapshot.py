"""A database at one moment: its schema in its own words, and its rows as counts and fingerprints."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Objects = Mapping[str, str]
"""The text of each object: ``{"column pet.name": "varchar(80) NOT NULL"}``. Their order does not count."""


@dataclass(frozen=True)
class Rows:
    """How many rows a table has; and of each column how many values that are not NULL, and a fingerprint of all.

    Equal fingerprints: each row, by its primary key, has the same value; in the same process and for the same type.
    ``rows`` is a fingerprint of the rows of a table without a key, whose columns tell nothing of each other.
    """

    count: int
    values: Mapping[str, tuple[int, int]]
    rows: int = 0


@dataclass(frozen=True)
class Scan:
    """How a server looks at each row of a table once, in its own SQL."""

    quoted: Callable[[str], str]
    """A name."""
    value: Callable[[str], str]
    """What is taken of the column's value, and is not NULL."""
    fingerprint: Callable[[list[str]], str]
    """Of all rows, by such values: a sum of hashes."""

    def rows(self, query: Callable[[str], Sequence[Any]], table: str, columns: Sequence[tuple[str, bool]]) -> Rows:
        """Those of ``table``, which is SQL, by the names of its columns, and whether each is in its primary key.

        ``query`` returns the one row of its result. A column that comes back may be in another place.
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
    """The objects, the rows of each table and how far each counter is, but for alembic_version and what a run has."""

    objects: Objects
    tables: Mapping[str, Rows]
    counters: Mapping[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """All rows."""
        return sum(rows.count for rows in self.tables.values())


@dataclass(frozen=True)
class Loss:
    """What an upgrade takes, of ``name`` (``pet`` or ``pet.name``), and the code of the rule for that."""

    name: str
    what: str
    code: str


def differences(before: Objects, after: Objects) -> Iterator[str]:
    """``index ix of pet is missing``, ``is new``, ``is A instead of B``; of a table that is missing or new, no more."""
    changed = before.keys() ^ after.keys()
    tables = tuple(f" of {name.removeprefix('table ')}" for name in changed if name.startswith("table "))
    for name in sorted(before.keys() | after.keys()):
        if name in changed and name.endswith(tables):
            continue
        if name not in after:
            yield f"{name} is missing"
        elif name not in before:
            yield f"{name} is new"
        elif before[name] != after[name]:
            yield f"{name} is {after[name]!r} instead of {before[name]!r}"


def lost(before: Snapshot, after: Snapshot) -> list[Loss]:
    """What is gone with an upgrade; not what has got another name, with the same fingerprints."""
    found: list[Loss] = []
    new = [rows for name, rows in after.tables.items() if name not in before.tables]
    for table, rows in before.tables.items():
        now = after.tables.get(table)
        if now is not None and now.count < rows.count:
            what = f"{rows.count - now.count} of the {rows.count} rows of {table}"
            found.append(Loss(table, what, "unbounded-data-change"))
        elif now is not None:
            found += _lost_values(table, rows, now)
        elif rows.count and not any(_has_all(other, rows) for other in new):
            found.append(Loss(table, f"{table}, which has {rows.count} rows", "drop-table"))
    return found


def overwritten(before: Snapshot, after: Snapshot) -> Iterator[Loss]:
    """Values that an upgrade replaces by others, in columns that stay what they are; not where NULLs are filled."""
    for table, rows in before.tables.items():
        now = after.tables.get(table, Rows(0, {}))
        for column, (count, fingerprint) in rows.values.items():
            there, other = now.values.get(column, (0, fingerprint))
            name, key = f"{table}.{column}", f"column {column} of {table}"
            same = before.objects.get(key) == after.objects.get(key) and (rows.count, count) == (now.count, there)
            if same and fingerprint != other:
                yield Loss(name, f"values of {name}", "unbounded-data-change")


def is_back(loss: Loss, before: Snapshot, back: Snapshot) -> bool:
    """Whether the downgrade has brought back what the upgrade took, all of it."""
    table, _, column = loss.name.rpartition(".")
    if loss.name in before.tables:
        return before.tables[loss.name] == back.tables.get(loss.name)
    return table in back.tables and before.tables[table].values[column] == back.tables[table].values.get(column)


def not_brought_back(before: Snapshot, back: Snapshot, losses: list[Loss]) -> Iterator[str]:
    """What is not as it was when the downgrade has run, but for what is told of the upgrade already."""
    known = {loss.name for loss in losses}
    for table, rows in before.tables.items():
        now = back.tables.get(table)
        if now is None or table in known:
            continue
        if now.count != rows.count:
            yield f"{table} has {now.count} rows instead of {rows.count}"
            continue
        other = [
            f"{table}.{column}"
            for column, (_, fingerprint) in rows.values.items()
            if column in now.values and now.values[column][1] != fingerprint and f"{table}.{column}" not in known
        ]
        yield from (f"{name} has other values than before" for name in other)
        if rows.rows != now.rows and rows.values.keys() == now.values.keys() and not other:
            yield f"{table} has its values in other rows than before"
    for name, value in before.counters.items():
        column = name.removeprefix("the counter of ")  # as COUNTERS of PostgreSQL calls it
        told = column in known or column.rpartition(".")[0] in known
        if name in back.counters and back.counters[name] < value and not told:
            yield f"{name} is at {back.counters[name]} instead of {value}"


def _has_all(new: Rows, old: Rows) -> bool:
    """Whether each column that had values is there, under whatever name."""
    there = {fingerprint for _, fingerprint in new.values.values()}
    return new.count == old.count and all(fingerprint in there for count, fingerprint in old.values.values() if count)


def _lost_values(table: str, rows: Rows, now: Rows) -> Iterator[Loss]:
    new = [fingerprint for column, (_, fingerprint) in now.values.items() if column not in rows.values]
    for column, (count, fingerprint) in rows.values.items():
        name = f"{table}.{column}"
        if column not in now.values and count and fingerprint not in new:
            yield Loss(name, f"{name}, which has {count} values", "drop-column")
        elif column in now.values and (gone := count - now.values[column][0]) > 0:
            yield Loss(name, f"{gone} of the {count} values of {name}", "unbounded-data-change")
