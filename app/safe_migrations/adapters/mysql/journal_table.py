"""The entries of the journal: each object that a revision changes, as it was before the first change.

An entry is valid only while the database is at the heads at which its revision began. The commit of the new heads
invalidates it, and no statement has to delete it.
"""

import json
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from ...console import log
from ..base import OWN_TABLES
from .catalog import JOURNAL, quoted, show_create
from .session import Execute
from .table_restore import without_counter

COPY = f"{OWN_TABLES}copy"
ROWS = "ROWS"
# utf8mb4_bin: revision ids that differ only in case are different.
COLUMNS = (
    "id INT PRIMARY KEY, kind VARCHAR(9) NOT NULL, name VARCHAR(64) NOT NULL, text LONGTEXT, settings TEXT NOT NULL,"
    " state LONGTEXT NOT NULL, heads TEXT COLLATE utf8mb4_bin NOT NULL"
)


@dataclass
class Copy:
    """A table with values that the revision destroys, under the names that their columns had at first.

    ``what`` are VALUES of ``columns``, to be found by the table's ``key``; or ROWS, which replace those that the table
    has later if there is no key to find them by: these go into the table ``saved``.
    """

    table: str
    what: str
    columns: list[str]
    key: list[str]
    progress: str = ""
    saved: str = ""


@dataclass
class State:
    """The state of an object: its present name, empty if it does not exist.

    And for a table, the first name of each renamed column (empty for a new one), those of dropped ones, and copies.
    """

    place: str
    columns: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)

    @classmethod
    def of(cls, found: dict[str, object]) -> "State":
        """Return the state that save() has written as a dictionary."""
        copies = [Copy(**copy) for copy in found.pop("copies")]  # type: ignore[attr-defined]
        return cls(**found, copies=copies)  # type: ignore[arg-type]

    def first_name(self, column: str) -> str:
        """Return the column's original name; an empty string for a new column with the name of a dropped one."""
        return self.columns.get(column, "" if column in self.dropped else column)


@dataclass(eq=False)
class Entry:
    """An object under its first ``name``, with its first ``text``, or None if it did not exist; or of the kind ROWS a
    statement that changed rows, which are not recorded.

    ``next`` is the state that the statement under way gives it, if it runs; ``before`` its text until then.
    """

    id: int
    kind: str
    name: str
    text: str | None
    settings: dict[str, str]
    state: State
    next: State | None = None
    before: str = ""

    def __str__(self) -> str:
        return f"{self.kind.lower()} {self.name}"

    def is_as_before(self, execute: Execute) -> bool:
        """Return True if the object has its first text again, or does not exist again."""
        text, _ = show_create(execute, self.kind, self.name) or ("", None)
        return without_counter(text) == without_counter(self.text or "")

    def drop(self, execute: Execute) -> None:
        """Drop the object that has its first name, if there is one."""
        execute(f"DROP {self.kind} IF EXISTS {quoted(self.name)}")

    def settle(self, has_run: bool) -> None:
        """Let the next state be the state, if the statement under way has run."""
        if self.next is not None and has_run:
            self.state = self.next
        self.next = None

    def has_run(self, execute: Execute) -> bool:
        """Return True if the database shows that the statement has run, although its result was not received.

        What it creates exists then; what it moves, drops or changes is not what it was, under its present name.
        """
        if self.next is None:
            return False
        text, _ = show_create(execute, self.kind, self.state.place or self.next.place) or ("", None)
        return bool(text) if not self.state.place else without_counter(text) != without_counter(self.before)


class Entries:
    """The table JOURNAL, by way of ``execute``; where it commits, that is said.

    ``heads`` are those with which the revision began: ``"a1,b1"``.
    """

    def __init__(self, execute: Execute, heads: str) -> None:
        self.execute = execute
        self.heads = heads

    def create(self) -> int:
        """Create the table, unless a run that was killed has left it; return the largest id."""
        self.execute(f"CREATE TABLE IF NOT EXISTS {JOURNAL} ({COLUMNS}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")
        ((last,),) = self.execute(f"SELECT coalesce(max(id), 0) FROM {JOURNAL}")
        return int(last)

    def save(self, *entries: Entry) -> None:
        """Write the entries, in the transaction that is open."""
        values: list[object] = []
        for entry in entries:
            state = json.dumps([entry.state, entry.next, entry.before], default=vars)
            values += [entry.id, entry.kind, entry.name, entry.text, json.dumps(entry.settings), state, self.heads]
        if entries:
            marks = ", ".join(["(%s, %s, %s, %s, %s, %s, %s)"] * len(entries))
            self.execute(
                f"REPLACE INTO {JOURNAL} (id, kind, name, text, settings, state, heads) VALUES {marks}", tuple(values)
            )

    def forget(self, entry: Entry) -> None:
        """Delete the entry, in the transaction that is open."""
        self.execute(f"DELETE FROM {JOURNAL} WHERE id = %s", (entry.id,))

    def read(self) -> list[Entry]:
        """Return those of the revision under way, in their order."""
        query = f"SELECT id, kind, name, text, settings, state FROM {JOURNAL} WHERE heads = %s ORDER BY id"
        found = []
        for number, kind, name, text, settings, states in self.execute(query, (self.heads,)):
            state, following, before = json.loads(states)
            entry = Entry(number, kind, name, text, json.loads(settings), State.of(state), before=before)
            entry.next = State.of(following) if following else None
            found.append(entry)
        return found

    def forget_finished(self) -> None:
        """Delete those of finished revisions, in the transaction that is open."""
        self.execute(f"DELETE FROM {JOURNAL} WHERE heads <> %s", (self.heads,))

    def discard(self) -> None:
        """Drop the table and all copies, the table last: while it exists, they are known. Commits."""
        copies = self.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
            f" AND LEFT(table_name, {len(COPY)}) = '{COPY}'"
        )
        self.execute(f"DELETE FROM {JOURNAL} WHERE id > 0")  # a script may have left sql_safe_updates on
        self.execute("COMMIT")
        try:
            for name in [*(name for (name,) in copies), JOURNAL]:
                self.execute(f"DROP TABLE IF EXISTS {name}")
        except DBAPIError as error:
            log.info("The tables %s* are not needed any more, but could not be dropped: %s", OWN_TABLES, error.orig)
