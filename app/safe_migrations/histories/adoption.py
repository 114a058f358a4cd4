"""Comparison of a database that has no revision with what each revision of the history makes."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from alembic.config import Config
from alembic.operations.ops import BulkInsertOp
from alembic.script import Script

from ..adapters.snapshot import Objects
from ..database import Database, replaced_by
from ..rehearsal.differences import differences, renamed
from ..rehearsal.runner import Rehearsal
from ..rehearsal.scratch import scratch_database
from ..review.recorder import Recordings
from ..review.sql.ops import ChangeRowsOp
from ..settings import Settings
from .naming import assumed_before_convention, written_before_convention
from .unversioned import created_tables

Heads = tuple[str, ...]
"""The revisions that a database is at: one, unless the history has branches."""

PART = re.compile(r"(?:column|constraint|index|key|primary key|foreign key|UNIQUE|CHECK|other)(?: .*)? of (.+)")
"""An object that belongs to a table, with a group for the table."""


@dataclass
class History:
    """The schemas that the revisions of a history make, built on an empty database."""

    schemas: dict[Heads, Objects] = field(default_factory=dict)
    """The schema after each revision, the first one first."""
    revisions: list[str] = field(default_factory=list)
    """The revisions, in the order of the schemas."""
    failure: str = ""
    """The first revision that fails on an empty database, and why; empty if none does."""
    coming: set[str] = field(default_factory=set)
    """The tables that this revision and later ones would create."""
    named: Heads = ()
    """The revisions to which the history was built first, because the user named one."""

    def up_to(self, heads: Heads) -> list[str]:
        """Return the revisions that lead to ``heads``, the oldest first."""
        return self.revisions[: list(self.schemas).index(heads) + 1]

    def rows_only(self, heads: Heads) -> tuple[Heads, list[str]]:
        """Return the last revisions up to ``heads`` that leave the schema as it is, and the heads before them."""
        order, revisions = list(self.schemas), self.up_to(heads)
        first = len(revisions) - 1
        while first and self.schemas[order[first - 1]] == self.schemas[heads]:
            first -= 1
        return order[first], revisions[first + 1 :]

    def knows(self, name: str) -> bool:
        """Return True if a revision makes the object ``name``, or the table to which it belongs."""
        table = PART.fullmatch(name)
        names = {name, f"table {table[1]}"} if table else {name}
        tables = {name.removeprefix("table ").strip('"') for name in names}
        return bool(tables & self.coming) or any(names & objects.keys() for objects in self.schemas.values())

    def unknown(self, found: Objects) -> list[str]:
        """Return the objects in ``found`` that no revision makes, without the parts of tables, e.g. ``["view v"]``."""
        return sorted(name for name in found if not self.knows(name) and not PART.fullmatch(name))


def built(
    config: Config,
    database: Database,
    using: Settings,
    revision: str | None = None,
    older: Collection[str] | None = None,
) -> History:
    """Run the history on an empty scratch database, first to ``revision`` if it is given, then to the heads.

    The revisions ``older`` run without the models' naming convention; by default, those that alembic.ini names. Raise
    CommandError or RevisionError if no script has ``revision``.
    """
    history = History()
    older = written_before_convention() if older is None else older
    with (
        scratch_database(database, using) as scratch,
        replaced_by(scratch.engine),
        assumed_before_convention(older),
    ):
        left = _build(history, Rehearsal(config, scratch), (revision, "heads") if revision else ("heads",))
    history.coming = {name for _, name in created_tables(left, database, Recordings())}
    return history


def _build(history: History, rehearsal: Rehearsal, destinations: Iterable[str]) -> list[Script]:
    """Run the history to each of ``destinations``, and note its states. Return the scripts that did not run."""
    for destination in destinations:
        for report in rehearsal.build(destination):
            if report.faults:
                history.failure = f"{report.revision}: {report.faults[0]}"
                return [each for each in rehearsal.steps() if each.revision not in history.revisions]
            history.schemas[rehearsal.heads()] = rehearsal.schema()
            history.revisions.append(report.revision)
        history.named = history.named or rehearsal.heads()
    return []


def inserting_rows(scripts: Iterable[Script | None], product: str) -> list[str]:
    """Return the revisions whose upgrade() inserts rows, as far as it can be read without a database."""
    recordings = Recordings()

    def inserts(script: Script) -> bool:
        found = [each.op for each in recordings.of(script, product, "upgrade").upgrade]
        return any(
            isinstance(op, BulkInsertOp) or (isinstance(op, ChangeRowsOp) and op.verb in ("INSERT", "REPLACE"))
            for op in found
        )

    return [script.revision for script in scripts if script and inserts(script)]


@dataclass(frozen=True)
class Fit:
    """The comparison of a database with ``heads``, which one or several revisions make."""

    heads: Heads
    differences: list[str]
    """What differs in tables, columns, types, keys and indexes, a line each."""
    names: list[str]
    """The constraints and indexes that only have another name, a line each."""
    distance: int
    """The number of objects that differ, in which a missing table counts with its columns, keys and indexes."""

    @property
    def rank(self) -> tuple[int, int]:
        """Return how far the database is from the revision: by its structure first, and then by names."""
        return self.distance, len(self.names)

    @classmethod
    def of(cls, heads: Heads, history: History, found: Objects) -> "Fit":
        """Return the comparison of ``found``, the objects of a database, with what the history has at ``heads``."""
        expected = history.schemas[heads]
        known = {name: text for name, text in found.items() if history.knows(name)}
        others = renamed(expected, known)
        here, there = _without(expected, others), _without(known, others.values())
        names = [
            f"{name} is called {other.rpartition(' of ')[0].rpartition(' ')[2]}"
            for name, other in others.items()
            if not _is_index_of_constraint(name, others)
        ]
        different = {name for name in here.keys() | there.keys() if here.get(name) != there.get(name)}
        # On SQLite the name of a constraint is an object of its own, without a text.
        bare = {name for name in different if name.startswith("constraint ") and not {**here, **there}[name]}
        hidden = {*bare, *(name for name in different if _is_index_of_constraint(name, different))}
        others_left = different - {name for name in bare if f"table {name.rpartition(' of ')[2]}" not in different}
        names += _lines(_without(here, others_left), _without(there, others_left))
        return cls(heads, _lines(_without(here, hidden), _without(there, hidden)), names, len(different - bare))


def _lines(before: Objects, after: Objects) -> list[str]:
    return [re.sub(r" is new$", " is not in this revision", line) for line in differences(before, after)]


def _is_index_of_constraint(name: str, names: Collection[str]) -> bool:
    """Return True if ``name`` is the index of a constraint in ``names``, which has the same name."""
    kind, _, rest = name.partition(" ")
    return kind in ("index", "key") and any(f"{other} {rest}" in names for other in ("constraint", "foreign key"))


def _without(objects: Objects, names: Collection[str]) -> Objects:
    return {name: text for name, text in objects.items() if name not in names}


def closest(history: History, found: Objects, revision: str | None = None) -> Fit | None:
    """Return the comparison with ``revision``, or else with the closest one: the newest, if several are equally close.

    ``found`` are the objects of the database. Return None if the history could not be built so far.
    """
    if revision:
        return Fit.of(history.named, history, found) if history.named else None
    newest_first = [Fit.of(heads, history, found) for heads in reversed(history.schemas)]
    return min(newest_first, key=lambda fit: fit.rank, default=None)


def first_with_convention(named: History, unnamed: History) -> str | None:
    """Return the first revision from which on the models' naming convention changes no name.

    ``named`` was built with the convention, ``unnamed`` without. Return None if the newest revision is still affected.
    """
    before: set[str] = set()
    affected = -1
    for number, (heads, objects) in enumerate(unnamed.schemas.items()):
        other = objects.keys() ^ named.schemas.get(heads, {}).keys()
        if heads not in named.schemas or other - before:
            affected = number
        before = set(other)
    return next(iter(unnamed.revisions[affected + 1 :]), None)
