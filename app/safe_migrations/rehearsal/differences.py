"""Comparison of snapshots: the data that an upgrade deleted, and the data that its downgrade did not restore."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..adapters.snapshot import Objects, Rows, Snapshot
from ..errors import counted


@dataclass(frozen=True)
class Loss:
    """A loss of data by an upgrade: the table or column, a description, and the code of the rule that it violates.

    For example ``Loss("pet.name", "drops pet.name, which has 3 values", "drop-column")``.
    """

    name: str
    what: str
    code: str


def differences(before: Objects, after: Objects) -> Iterator[str]:
    """Yield one line for each object that differs, e.g. ``index ix of pet is missing`` or ``column age of pet is new``.

    Missing means that only ``before`` has it, new that only ``after`` has it. A table that is missing or new
    gives one line, and none for its columns and indexes.
    """
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


NULL = "( NOT| DEFAULT)? NULL"


def became_nullable(before: Objects, upgraded: Objects, back: Objects) -> dict[str, str]:
    """Return name and description of each NOT NULL column that was dropped, and that ``back`` has as a nullable one.

    `flask db migrate` writes such a downgrade for a column whose constraints may refuse a default.
    """
    return {
        name: text
        for name, text in before.items()
        if name.startswith("column ") and name not in upgraded
        if " NOT NULL" in text and " NOT NULL" not in back.get(name, " NOT NULL")
        if re.sub(NULL, "", text) == re.sub(NULL, "", back[name])
    }


def renamed(before: Objects, after: Objects) -> dict[str, str]:
    """Return the constraints and indexes that are the same in both, but have another name in ``after``.

    For example ``{"constraint uq of pet": "constraint pet_name_key of pet"}``.
    """
    same: dict[tuple[str, str], list[str]] = {}
    for name in before.keys() - after.keys():
        same.setdefault(_nameless(name, before[name]), []).append(name)
    found = {}
    for name in sorted(after.keys() - before.keys()):
        if others := sorted(same.get(_nameless(name, after[name]), ())):
            found[others[0]] = name
            same[_nameless(name, after[name])].remove(others[0])
    return found


# The kind, the name without its schema, and the table.
NAMED = re.compile(r'(constraint|foreign key|key|index) (?:\w+\.|"[^"]+"\.)?(.+?)( of .+)')


def _nameless(name: str, text: str) -> tuple[str, str]:
    """Return ``name`` and ``text`` of an object; of a constraint or an index, without its own name.

    The texts of some databases begin with the name.
    """
    match = NAMED.fullmatch(name)
    if match is None or not text or (match[1] == "foreign key" and match[2] not in text):
        return name, text
    if match[1] == "constraint" and not text.startswith("CONSTRAINT"):
        return f"constraint{match[3]}", text
    inner = re.compile(rf'[`"]?{re.escape(match[2])}[`"]?', re.IGNORECASE)
    return f"{match[1]}{match[3]}", inner.sub("", text, count=1)


def losses(before: Snapshot, after: Snapshot, names: Mapping[str, str]) -> Iterator[Loss]:
    """Yield a Loss for each table and column from which an upgrade deleted data.

    ``names`` has the new names of tables that the script renames, as far as is known. Other renames lose nothing, too:
    the new table or column has the same fingerprints, which are hashes of all values.
    """
    new = [rows for name, rows in after.tables.items() if name not in before.tables]
    for table, rows in before.tables.items():
        now = after.tables.get(table) or after.tables.get(names.get(table, table))
        if now is None:
            if rows.count and not any(_is_renamed(rows, other) for other in new):
                yield Loss(table, f"drops {table}, which has {counted(rows.count, 'row')}", "drop-table")
        elif now.count < rows.count:
            what = f"deletes {rows.count - now.count} of {counted(rows.count, 'row')} of {table}"
            yield Loss(table, what, "unbounded-data-change")
        else:
            yield from _lost_values(table, rows, now)


def _is_renamed(old: Rows, new: Rows) -> bool:
    """Return True if the table ``new`` has as many rows as ``old``, and the same values, under any column names."""
    there = {fingerprint for _, fingerprint in new.values.values()}
    return new.count == old.count and all(fingerprint in there for count, fingerprint in old.values.values() if count)


def _lost_values(table: str, rows: Rows, now: Rows) -> Iterator[Loss]:
    new = [fingerprint for column, (_, fingerprint) in now.values.items() if column not in rows.values]
    for column, (count, fingerprint) in rows.values.items():
        name = f"{table}.{column}"
        if column not in now.values:
            if count and fingerprint not in new:
                yield Loss(name, f"drops {name}, which has {counted(count, 'value')}", "drop-column")
        elif (gone := count - now.values[column][0]) > 0:
            yield Loss(name, f"deletes {gone} of {counted(count, 'value')} of {name}", "unbounded-data-change")


def overwritten(before: Snapshot, after: Snapshot) -> Iterator[Loss]:
    """Yield a Loss for each column in which an upgrade replaced values.

    A column is skipped if its definition, its number of NULLs or the number of rows changed.
    """
    for table, rows in before.tables.items():
        now = after.tables.get(table, Rows(0, {}))
        for column, (count, fingerprint) in rows.values.items():
            there, other = now.values.get(column, (0, fingerprint))
            name, key = f"{table}.{column}", f"column {column} of {table}"
            same = before.objects.get(key) == after.objects.get(key) and (rows.count, count) == (now.count, there)
            if same and fingerprint != other:
                yield Loss(name, f"overwrites values of {name}", "unbounded-data-change")


def is_restored(loss: Loss, before: Snapshot, back: Snapshot) -> bool:
    """Return True if the lost table or column has the same data in ``back``, after the downgrade, as in ``before``."""
    table, _, column = loss.name.rpartition(".")
    if loss.name in before.tables:
        return before.tables[loss.name] == back.tables.get(loss.name)
    return table in back.tables and before.tables[table].values[column] == back.tables[table].values.get(column)


def not_restored(before: Snapshot, back: Snapshot, known: set[str]) -> Iterator[str]:
    """Yield one line for each table, column and counter whose data the downgrade did not restore.

    For example ``pet has 2 rows instead of 3``. Tables and columns in ``known``, whose loss is already reported, are
    skipped, and so are those that ``back`` does not have: differences() reports them.
    """
    for table, rows in before.tables.items():
        now = back.tables.get(table)
        if now is None or table in known:
            continue
        if now.count != rows.count:
            yield f"{table} has {counted(now.count, 'row')} instead of {rows.count}"
            continue
        other = [
            f"{table}.{column}"
            for column, (_, fingerprint) in rows.values.items()
            if column in now.values and now.values[column][1] != fingerprint and f"{table}.{column}" not in known
        ]
        yield from (f"{name} has other values than before" for name in other)
        if rows.rows != now.rows and rows.values.keys() == now.values.keys() and not other:
            yield f"{table} has the same values as before, but in other rows"
    for name, value in before.counters.items():
        column = name.removeprefix("the counter of ")  # the name of a counter that belongs to a column
        is_known = {column, column.rpartition(".")[0]} & known
        if name in back.counters and back.counters[name] < value and not is_known:
            yield f"{name} is at {back.counters[name]} instead of {value}, so its numbers would be reused"
