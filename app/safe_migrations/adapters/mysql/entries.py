"""The entries of the journal: each an object, or rows, that a statement touches, as they were before.

An entry counts only while the database is at the heads with which its revision began: what commits the new heads makes
it void, without a statement that deletes it.
"""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from sqlalchemy.exc import DBAPIError

from ...console import log
from ..base import OWN_TABLES
from .catalog import JOURNAL, ShowCreate, quoted, show_create
from .copies import KEPT
from .definitions import with_former_columns, without_counter
from .session import Execute
from .statements import Statement

# utf8mb4_bin: revision ids that differ only in case are different.
COLUMNS = (
    "id INT AUTO_INCREMENT PRIMARY KEY, step INT NOT NULL, kind VARCHAR(9) NOT NULL, name VARCHAR(64) NOT NULL,"
    " text LONGTEXT, settings TEXT NOT NULL, kept VARCHAR(64) NOT NULL, statement LONGTEXT NOT NULL,"
    " progress VARCHAR(8) NOT NULL DEFAULT '', heads TEXT COLLATE utf8mb4_bin NOT NULL"
)
# How far an entry is: its renaming has run; what the statement made of rows is out of the way of the kept ones; it has
# been undone, and is not to be undone again.
DONE, PREPARED, UNDONE = "done", "prepared", "undone"
INSERT = (
    f"INSERT INTO {JOURNAL} (step, kind, name, text, settings, kept, statement, heads)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)
ROWS = "ROWS"


@dataclass(frozen=True)
class Entry:
    """An object that a statement touches, its ``text`` before, None if it was not there; or ROWS that it changed."""

    id: int
    step: int
    kind: str
    name: str
    text: str | None
    settings: str
    kept: str
    progress: str
    statement: Statement

    def __str__(self) -> str:
        return f"{self.kind.lower()} {self.name}"

    def is_as_before(self, execute: Execute) -> bool:
        """Whether the object has its text again, or is not there again."""
        text, _ = show_create(execute, self.kind, self.name) or ("", None)
        return without_counter(text) == without_counter(self.text or "")

    def drop(self, execute: Execute) -> None:
        """Drop the object of that name, if there is one."""
        execute(f"DROP {self.kind} IF EXISTS {quoted(self.name)}")

    @property
    def unseen(self) -> str:
        """Of rows of which there is no copy: what may not be as it was."""
        text = textwrap.shorten(self.statement.text, 200, placeholder=" ...")
        if self.name:
            return f"{self.name} has no primary key or no transactions, and this was committed: {text}"
        return f"what this may have changed, out of sight: {text}"


class Entries:
    """The table JOURNAL, by way of ``execute``; where it commits, that is said.

    ``heads`` are those with which the revision began: ``"a1,b1"``.
    """

    def __init__(self, execute: Execute, heads: str) -> None:
        self.execute = execute
        self.heads = heads

    def make(self) -> None:
        """Make the table, unless a run that was killed has left it."""
        self.execute(f"CREATE TABLE IF NOT EXISTS {JOURNAL} ({COLUMNS}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")

    def write(
        self, step: int, kind: str, name: str, statement: Statement, found: ShowCreate | None = None, kept: str = ""
    ) -> None:
        """What ``statement`` is about to touch: ``found`` by SHOW CREATE; ``kept`` names the copy of rows."""
        text, settings = found or (None, {})
        self.execute(INSERT, (step, kind, name, text, json.dumps(settings), kept, statement.text, self.heads))

    def read(self) -> list[Entry]:
        """Those of the revision under way, in the order in which they were written."""
        names = [name for name in Entry.__dataclass_fields__ if name != "statement"]
        wanted = f"SELECT statement, {', '.join(names)} FROM {JOURNAL} WHERE heads = %s ORDER BY id"
        rows = self.execute(wanted, (self.heads,))
        return [Entry(statement=Statement(row[0]), **dict(zip(names, row[1:], strict=True))) for row in rows]

    def forget_finished(self) -> None:
        """Delete those of finished revisions, in the transaction that is open."""
        self.execute(f"DELETE FROM {JOURNAL} WHERE heads <> %s", (self.heads,))

    def mark(self, entries: list[Entry], progress: str) -> None:
        """Write down how far they are; in the transaction that is open."""
        ids = ", ".join(str(entry.id) for entry in entries)
        self.execute(f"UPDATE {JOURNAL} SET progress = %s WHERE id IN ({ids})", (progress,))

    def mark_step(self, step: int, progress: str) -> None:
        """The same of all of one statement; commits."""
        self.execute(f"UPDATE {JOURNAL} SET progress = %s WHERE step = %s", (progress, step))
        self.execute("COMMIT")

    def forget_step(self, step: int, made_only: bool) -> None:
        """Delete those of one statement; or only those of what it was to make."""
        of_what_it_makes = " AND text IS NULL" if made_only else ""
        self.execute(f"DELETE FROM {JOURNAL} WHERE step = %s{of_what_it_makes}", (step,))

    def discard(self) -> None:
        """Drop the table and the copies of rows, the table last: while it is there, they are known. Commits."""
        kept = self.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
            f" AND LEFT(table_name, {len(KEPT)}) = '{KEPT}'"
        )
        self.execute(f"DELETE FROM {JOURNAL} WHERE id > 0")  # a script may have left sql_safe_updates on
        self.execute("COMMIT")
        try:
            for name in [*(name for (name,) in kept), JOURNAL]:
                self.execute(f"DROP TABLE IF EXISTS {name}")
        except DBAPIError as error:
            log.info("The tables %s* are of no use any more, but could not be dropped: %s", OWN_TABLES, error.orig)


def under_first_names(entries: list[Entry]) -> Iterator[Entry]:
    """Each entry with the names that it, and what it refers to, had at first."""
    before: list[list[Entry]] = []
    for _, found in groupby(entries, lambda entry: entry.step):
        step = list(found)
        for entry in step:
            for earlier in reversed(before):
                entry = _under_names_before(entry, earlier)
            yield entry
        before.append(step)


def _under_names_before(entry: Entry, step: list[Entry]) -> Entry:
    """The entry with the names as they were before the statement of ``step``."""
    statement = step[0].statement
    name, text = entry.name, entry.text
    for old, new in reversed(statement.renamed_tables):
        name = old if entry.kind in ("TABLE", ROWS) and name == new else name
        text = text and text.replace(f" REFERENCES {quoted(new)} ", f" REFERENCES {quoted(old)} ")
    if text and statement.renamed_columns:
        for table in (table for table in step if ("TABLE", table.name) in statement.objects[:1]):
            text = with_former_columns(text, table.name, table.text or "", statement.renamed_columns)
    return replace(entry, name=name, text=text)
