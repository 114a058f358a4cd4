"""The table that stores the journal: an entry for each object that a revision changes, as it was before.

An entry is valid only while the database is at the heads at which the revision began. When the revision's new heads are
committed, its entries become invalid without being deleted.
"""

import json
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from ...console import log
from ...errors import summary
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
    """A copy, in the table ``table``, of rows or values that the revision destroys.

    ``what`` is VALUES for single ``columns``: an undo finds their rows by the primary ``key``. It is ROWS for whole
    rows: an undo inserts missing rows or, if ``key`` is empty, replaces all rows of the table. ``columns`` and ``key``
    are the names before the revision. ``saved`` is the table in which an undo saves rows before it overwrites them, or
    empty. ``progress`` is what an undo has done with the copy: PREPARED, RETURNED or, if empty, nothing.
    """

    table: str
    what: str
    columns: list[str]
    key: list[str]
    progress: str = ""
    saved: str = ""


@dataclass
class State:
    """The current state of a recorded object.

    ``place`` is its current name, empty if it does not exist. For a table, ``columns`` has, by the current name of
    each renamed column, its name before the revision; ``dropped`` has the names before the revision of dropped columns,
    and ``copies`` the copies of rows and values.
    """

    place: str
    columns: dict[str, str] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)

    @classmethod
    def of(cls, found: dict[str, object]) -> "State":
        """Return the State that Entries.save() has written to the journal as the dictionary ``found``."""
        copies = [Copy(**copy) for copy in found.pop("copies")]  # type: ignore[attr-defined]
        return cls(**found, copies=copies)  # type: ignore[arg-type]

    def first_name(self, column: str) -> str:
        """Return the name that ``column`` had before the revision; an empty string if it replaces a dropped column.

        For any other column that the revision added, return its name when it was added: State does not show it is new.
        """
        return self.columns.get(column, "" if column in self.dropped else column)


@dataclass(eq=False)
class Entry:
    """An object that the revision changes: its ``name`` and SHOW CREATE ``text`` from before the revision.

    ``text`` is None if the object did not exist. ``settings`` are those that the server stores with it. ``state`` is
    the object's current state, ``next`` the state after the running statement (None if that does not change the state),
    and ``before`` the SHOW CREATE text before that statement. In an entry of the kind ROWS, ``text`` is a statement
    that changed rows, which an undo cannot restore.
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
        """Return True if the object's SHOW CREATE is the same as before the revision.

        An object that did not exist is the same if it does not exist now. Rows, and the next AUTO_INCREMENT value, are
        not compared.
        """
        text, _ = show_create(execute, self.kind, self.name) or ("", None)
        return without_counter(text) == without_counter(self.text or "")

    def drop(self, execute: Execute) -> None:
        """Drop the object with this entry's kind and name, if it exists."""
        execute(f"DROP {self.kind} IF EXISTS {quoted(self.name)}")

    def settle(self, has_run: bool) -> None:
        """If the last statement ``has_run``, make ``next`` the current state; otherwise discard ``next``."""
        if self.next is not None and has_run:
            self.state = self.next
        self.next = None

    def has_run(self, execute: Execute) -> bool:
        """Return True if the object shows that the last statement on it has taken effect.

        An object that the statement creates then exists; any other object no longer has the definition ``before`` under
        its old name. Return False if the statement does not change the state (``next`` is None).
        """
        if self.next is None:
            return False
        text, _ = show_create(execute, self.kind, self.state.place or self.next.place) or ("", None)
        return bool(text) if not self.state.place else without_counter(text) != without_counter(self.before)


class Entries:
    """Reads and writes the entries in the journal's table; ``execute`` runs the SQL.

    ``heads`` are the heads of the database when the current revision began: ``"a1,b1"``. Only create() and
    discard() commit.
    """

    def __init__(self, execute: Execute, heads: str) -> None:
        self.execute = execute
        self.heads = heads

    def create(self) -> int:
        """Create the journal's table if it does not exist, and return the largest id in it, 0 if it is empty."""
        self.execute(f"CREATE TABLE IF NOT EXISTS {JOURNAL} ({COLUMNS}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")
        ((last,),) = self.execute(f"SELECT coalesce(max(id), 0) FROM {JOURNAL}")
        return int(last)

    def save(self, *entries: Entry) -> None:
        """Insert or replace these entries in the journal's table, in the open transaction."""
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
        """Delete the entry from the journal's table, in the open transaction."""
        self.execute(f"DELETE FROM {JOURNAL} WHERE id = %s", (entry.id,))

    def read(self) -> list[Entry]:
        """Return the entries of the revision that began at ``heads``, in the order in which they were recorded."""
        query = f"SELECT id, kind, name, text, settings, state FROM {JOURNAL} WHERE heads = %s ORDER BY id"
        found = []
        for number, kind, name, text, settings, states in self.execute(query, (self.heads,)):
            state, following, before = json.loads(states)
            entry = Entry(number, kind, name, text, json.loads(settings), State.of(state), before=before)
            entry.next = State.of(following) if following else None
            found.append(entry)
        return found

    def forget_finished(self) -> None:
        """Delete the entries of finished revisions (those with other ``heads``), in the open transaction."""
        self.execute(f"DELETE FROM {JOURNAL} WHERE heads <> %s", (self.heads,))

    def discard(self) -> None:
        """Delete all entries, commit, and drop the copies and then the journal's table; only log a DROP that fails.

        The journal's table is last: as long as it exists, the next upgrade or downgrade drops the remaining copies.
        """
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
            said = "Could not drop the tables %s and %s_*, which are not needed any more: %s."
            log.info(f"{said} The next upgrade or downgrade tries again", JOURNAL, COPY, summary(error))
