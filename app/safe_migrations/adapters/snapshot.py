"""A database at one moment: its schema in its own words, and its rows as counts and fingerprints."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Objects = Mapping[str, str]
"""The text of each object: ``{"column pet.name": "varchar(80) NOT NULL"}``. Their order does not count."""


@dataclass(frozen=True)
class Rows:
    """How many rows a table has; and of each column how many values that are not NULL, and a fingerprint of all.

    Equal fingerprints: each row, by its primary key, has the same value; in the same process and for the same type.
    """

    count: int
    values: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Snapshot:
    """The objects and the rows of each table, but for alembic_version and what belongs to a run."""

    objects: Objects
    tables: Mapping[str, Rows]

    @property
    def count(self) -> int:
        """All rows."""
        return sum(rows.count for rows in self.tables.values())


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


@dataclass(frozen=True)
class Loss:
    """What an upgrade takes, of ``name`` (``pet`` or ``pet.name``), and the code of the rule for that."""

    name: str
    what: str
    code: str


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
        elif rows.count and rows not in new:
            found.append(Loss(table, f"{table}, which has {rows.count} rows", "drop-table"))
    return found


def _lost_values(table: str, rows: Rows, now: Rows) -> Iterator[Loss]:
    new = [fingerprint for column, (_, fingerprint) in now.values.items() if column not in rows.values]
    for column, (count, fingerprint) in rows.values.items():
        name = f"{table}.{column}"
        if column not in now.values and count and fingerprint not in new:
            yield Loss(name, f"{name}, which has {count} values", "drop-column")
        elif column in now.values and (gone := count - now.values[column][0]) > 0:
            yield Loss(name, f"{gone} of the {count} values of {name}", "unbounded-data-change")


def not_brought_back(before: Snapshot, after: Snapshot, losses: list[Loss]) -> Iterator[str]:
    """What is not as it was when the downgrade has run, but for what the upgrade took already."""
    known = {loss.name for loss in losses}
    for table, rows in before.tables.items():
        now = after.tables.get(table)
        if now is None or table in known:
            continue
        if now.count != rows.count:
            yield f"{table} has {now.count} rows instead of {rows.count}"
            continue
        for column, (_, fingerprint) in rows.values.items():
            name = f"{table}.{column}"
            if column in now.values and now.values[column][1] != fingerprint and name not in known:
                yield f"{name} has other values than before"
