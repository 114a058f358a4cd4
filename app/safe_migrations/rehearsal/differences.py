"""Comparison of two snapshots: what an upgrade deleted, and what its downgrade did not bring back."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..adapters.snapshot import Objects, Rows, Snapshot


@dataclass(frozen=True)
class Loss:
    """A loss of data of ``name`` (``pet`` or ``pet.name``) by an upgrade, and the code of the rule for that."""

    name: str
    what: str
    code: str


def differences(before: Objects, after: Objects) -> Iterator[str]:
    """Yield ``index ix of pet is missing``, ``is new``, ``is A instead of B``; one line for a whole table."""
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


def losses(before: Snapshot, after: Snapshot) -> Iterator[Loss]:
    """Yield the data that an upgrade deletes; a new table or column with the same fingerprints is a rename."""
    new = [rows for name, rows in after.tables.items() if name not in before.tables]
    for table, rows in before.tables.items():
        now = after.tables.get(table)
        if now is None:
            if rows.count and not any(_is_renamed(rows, other) for other in new):
                yield Loss(table, f"drops {table}, which has {rows.count} rows", "drop-table")
        elif now.count < rows.count:
            what = f"deletes {rows.count - now.count} of the {rows.count} rows of {table}"
            yield Loss(table, what, "unbounded-data-change")
        else:
            yield from _lost_values(table, rows, now)


def _is_renamed(old: Rows, new: Rows) -> bool:
    """Return True if the new table has each column of the old one that had values, under any name."""
    there = {fingerprint for _, fingerprint in new.values.values()}
    return new.count == old.count and all(fingerprint in there for count, fingerprint in old.values.values() if count)


def _lost_values(table: str, rows: Rows, now: Rows) -> Iterator[Loss]:
    new = [fingerprint for column, (_, fingerprint) in now.values.items() if column not in rows.values]
    for column, (count, fingerprint) in rows.values.items():
        name = f"{table}.{column}"
        if column not in now.values:
            if count and fingerprint not in new:
                yield Loss(name, f"drops {name}, which has {count} values", "drop-column")
        elif (gone := count - now.values[column][0]) > 0:
            yield Loss(name, f"deletes {gone} of the {count} values of {name}", "unbounded-data-change")


def overwritten(before: Snapshot, after: Snapshot) -> Iterator[Loss]:
    """Yield the columns in which an upgrade replaces values: not where it fills NULLs or changes the column."""
    for table, rows in before.tables.items():
        now = after.tables.get(table, Rows(0, {}))
        for column, (count, fingerprint) in rows.values.items():
            there, other = now.values.get(column, (0, fingerprint))
            name, key = f"{table}.{column}", f"column {column} of {table}"
            same = before.objects.get(key) == after.objects.get(key) and (rows.count, count) == (now.count, there)
            if same and fingerprint != other:
                yield Loss(name, f"overwrites values of {name}", "unbounded-data-change")


def is_restored(loss: Loss, before: Snapshot, back: Snapshot) -> bool:
    """Return True if the downgrade has brought back everything that the upgrade deleted."""
    table, _, column = loss.name.rpartition(".")
    if loss.name in before.tables:
        return before.tables[loss.name] == back.tables.get(loss.name)
    return table in back.tables and before.tables[table].values[column] == back.tables[table].values.get(column)


def not_restored(before: Snapshot, back: Snapshot, known: set[str]) -> Iterator[str]:
    """Yield the data that differs after the downgrade, except in the tables and columns ``known`` to lose some."""
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
        column = name.removeprefix("the counter of ")  # the name of a counter that belongs to a column
        is_known = {column, column.rpartition(".")[0]} & known
        if name in back.counters and back.counters[name] < value and not is_known:
            yield f"{name} is at {back.counters[name]} instead of {value}"
