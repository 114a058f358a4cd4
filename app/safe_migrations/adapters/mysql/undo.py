"""Restores what a revision on MySQL or MariaDB had changed when it failed or was killed, from the journal.

Tables first get their names again and then their texts, each by one ALTER TABLE from the text that it has; rows and
values come back from the copies; then what refers to tables: foreign keys, views, triggers, routines. At the end the
texts are compared with the journal. An undo can be killed at any point: the next one continues.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import shorten

from sqlalchemy.exc import DBAPIError

from ...errors import HalfDoneError, summary
from ..base import OWN_TABLES, version_table
from .catalog import JOURNAL, existing_tables, quoted, show_create
from .journal_table import ROWS, Entries, Entry
from .row_copies import PREPARED, RETURNED, ReturningRows, saved_name
from .session import Execute, plain, temporary_settings
from .stored_objects import StoredObjects
from .table_restore import SWAPPED, Definition, revert_clauses, taking_empty, without_foreign_keys

# Renamed together with the tables that get their first names again, so that this is not done twice.
RENAMES, RENAMED = f"{OWN_TABLES}renames", f"{OWN_TABLES}renamed"


@dataclass
class Outcome:
    """The outcome of an undo: what is restored; what differs, with the reason; and rows that could not be restored."""

    restored: list[str] = field(default_factory=list)
    different: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what could not be restored, in words."""
        lines = [f"Could not be undone: {name} ({reason})." for name, reason in self.different.items()]
        return lines + [f"Could not be restored: {rows}." for rows in self.lost]

    def require_whole(self) -> None:
        """Raise HalfDoneError if something could not be restored."""
        if self.different:
            raise HalfDoneError(
                "\n".join(["a revision failed half-way.", *self.lines()]),
                f"restore these objects to their definitions in the table {JOURNAL}, then run the command again:",
                f"SELECT kind, name, text FROM {JOURNAL} ORDER BY id;",
            )
        if self.lost:
            raise HalfDoneError(
                "\n".join(["a revision failed half-way and was rolled back, except for these rows.", *self.lines()]),
                "compare them, or restore the backup; the next run goes on from here:",
                "flask db upgrade",
            )


def undo(execute: Execute, heads: str) -> Outcome:
    """Restore what the journal has of the revision that began at ``heads``.

    Without a difference the journal is gone afterwards, else it remains. Raise DBAPIError if the connection is lost.
    """
    with temporary_settings(execute, {**plain(execute), "foreign_key_checks": 0}):
        Entries(execute, heads).forget_finished()
        return Undo(execute, heads).run()


class Undo:
    """One undoing, of all that the journal has."""

    def __init__(self, execute: Execute, heads: str) -> None:
        self.execute = execute
        self.outcome = Outcome()
        self.reasons: dict[str, str] = {}
        self.journal = Entries(execute, heads)
        self.entries = self.journal.read()
        self.stored = StoredObjects(execute, [entry for entry in self.entries if entry.kind not in ("TABLE", ROWS)])

    def run(self) -> Outcome:
        """Restore tables and rows, then what refers to them, and compare."""
        as_before = {str(entry) for entry in self.entries if entry.kind != ROWS and self._is_untouched(entry)}
        for entry in self.stored.out_of_the_way():
            self._try(entry, lambda entry: entry.drop(self.execute))
        for entry in self.stored.entries:
            if entry.kind == "SEQUENCE" and entry.text is not None:
                self._try(entry, self.stored.put_back)  # a column's default may be its next number
        tables = [entry for entry in self.entries if entry.kind == "TABLE"]
        if tables and self._try(tables[0], lambda _entry: self._restore_names(tables)):
            tables = [entry for entry in tables if entry.text is not None]
            for action in (self._drop_foreign_keys(tables), self._restore_table, self._add_foreign_keys):
                for entry in tables:
                    self._try(entry, action)
        self._restore_stored(self.stored.entries)
        self._report_rows()
        self._compare([entry for entry in self.entries if entry.kind != ROWS], as_before)
        if not self.outcome.different:
            self.journal.discard()
        return self.outcome

    def _is_untouched(self, entry: Entry) -> bool:
        return not entry.state.copies and entry.next is None and entry.is_as_before(self.execute)

    def _try(self, entry: Entry, action: Callable[[Entry], None]) -> bool:
        try:
            action(entry)
            self.reasons.pop(str(entry), None)
            return True
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            self.execute("ROLLBACK")
            self.reasons[str(entry)] = summary(error)
            return False

    def _save(self, entry: Entry) -> None:
        self.journal.save(entry)
        self.execute("COMMIT")

    def _restore_names(self, tables: list[Entry]) -> None:
        """Drop new tables, and rename the others back, once: afterwards such names may be those of others' tables."""
        if RENAMED not in existing_tables(self.execute, RENAMED):
            under_way = [entry for entry in tables if entry.next is not None]
            replaced = {entry.next.place for entry in under_way if entry.next and not entry.state.place}
            # Of CREATE OR REPLACE the copy brings the rows back, whether it has run or not.
            have_run = [entry.state.place in replaced or entry.has_run(self.execute) for entry in under_way]
            for entry, has_run in zip(under_way, have_run, strict=True):
                entry.settle(has_run)
                self._save(entry)
            dropped = {entry.name for entry in tables if entry.text is not None and not entry.state.place}
            for entry in tables:
                if entry.text is None and entry.state.place:
                    self._drop_new_table(entry, may_have_rows_of_others=entry.state.place in dropped)
            moved = [entry for entry in tables if entry.text is not None and entry.state.place not in ("", entry.name)]
            asides = {entry.id: f"{OWN_TABLES}aside_{entry.id}" for entry in moved}
            pairs = [(entry.state.place, asides[entry.id]) for entry in moved]
            pairs += [(asides[entry.id], entry.name) for entry in moved]
            self.execute(f"CREATE TABLE IF NOT EXISTS {RENAMES} (id INT PRIMARY KEY)")
            renames = [f"{quoted(old)} TO {quoted(new)}" for old, new in [*pairs, (RENAMES, RENAMED)]]
            self.execute(f"RENAME TABLE {', '.join(renames)}")
        for entry in tables:
            entry.settle(False)
            entry.state.place = entry.name
            if entry.text is None:
                self.journal.forget(entry)
                self.entries.remove(entry)
            else:
                self.journal.save(entry)
        self.execute("COMMIT")
        self.execute(f"DROP TABLE {RENAMED}")

    def _drop_new_table(self, entry: Entry, may_have_rows_of_others: bool) -> None:
        """Drop a new table; but rename it if it replaced a table, so that the app may have written to it."""
        table, saved = quoted(entry.state.place), saved_name()
        exists = show_create(self.execute, "TABLE", entry.state.place) is not None
        if may_have_rows_of_others and exists and self.execute(f"SELECT 1 FROM {table} LIMIT 1"):
            self.execute(f"RENAME TABLE {table} TO {saved}")
            self.outcome.lost.append(f"rows written to the new table {entry.name}; the table {saved} has them")
        self.execute(f"DROP TABLE IF EXISTS {table}")
        self.outcome.restored.append(str(entry))

    def _drop_foreign_keys(self, tables: list[Entry]) -> Callable[[Entry], None]:
        """Return what drops those of a table that differ, and those that are in the way of a column's old type."""
        texts = {entry.name: show_create(self.execute, "TABLE", entry.name) for entry in tables}
        now = {name: Definition.read(found[0]) for name, found in texts.items() if found}
        before = {entry.name: Definition.read(entry.text or "") for entry in tables}
        changed = {
            name
            for name, definition in now.items()
            if any(
                before[name].lines.get(part, line) != line
                for part, line in definition.lines.items()
                if part[0] == "COLUMN"
            )
        }

        def drop(entry: Entry) -> None:
            lines = now[entry.name].lines if entry.name in now else {}
            gone = [
                name
                for (kind, name), line in lines.items()
                if kind == "FOREIGN KEY"
                if before[entry.name].lines.get((kind, name)) != line
                or entry.name in changed
                or any(f" REFERENCES {quoted(other)} " in line for other in changed)
            ]
            if gone:
                drops = ", ".join(f"DROP FOREIGN KEY {quoted(name)}" for name in gone)
                self.execute(f"ALTER TABLE {quoted(entry.name)} {drops}")

        return drop

    def _restore_table(self, entry: Entry) -> None:
        """Restore the text of a table, and the rows and values that the revision destroyed."""
        assert entry.text is not None
        rows = ReturningRows(self.execute, entry)
        now, _ = show_create(self.execute, "TABLE", entry.name) or ("", None)
        for copy in rows.copies if now else []:
            if not copy.progress:
                if not copy.saved and rows.must_save(copy):
                    copy.saved = saved_name()
                    self._save(entry)
                if copy.saved:
                    rows.prepare(copy)
                copy.progress = PREPARED
                self._save(entry)
        empty = rows.empty_columns
        text = taking_empty(entry.text, now, empty) if empty and now != entry.text else entry.text
        if not now:
            self.execute(without_foreign_keys(text))
        elif rows.copies:
            self._alter(entry, text)
        for copy in rows.copies:
            rows.put_back(copy)
            copy.progress = RETURNED
            self._save(entry)
        self._alter(entry, entry.text)

    def _alter(self, entry: Entry, text: str, foreign_keys: bool = False) -> None:
        """Alter the table until its definition is ``text``, in at most three rounds.

        Columns that swapped names take a round of their own. Some differences show only after a round: SHOW CREATE
        names a column's character set only if the table has another one, and a key that comes with a foreign key is
        created again with that, behind all others.
        """
        for _ in range(3):
            now = show_create(self.execute, "TABLE", entry.name)
            if now is None or now[0] == text:
                return
            renamed = {name: first for name, first in entry.state.columns.items() if first}
            for turn in revert_clauses(now[0], text, renamed, foreign_keys):
                self.execute(f"ALTER TABLE {quoted(entry.name)} {turn}")
                if SWAPPED in turn:
                    entry.state.columns = {}
                    self._save(entry)

    def _add_foreign_keys(self, entry: Entry) -> None:
        assert entry.text is not None
        self._alter(entry, entry.text, foreign_keys=True)

    def _restore_stored(self, entries: list[Entry]) -> None:
        """Restore views and the like, in rounds until none is left or none succeeds: a view may read others."""
        left = [entry for entry in entries if not self._try(entry, self.stored.put_back)]
        if left and len(left) < len(entries):
            self._restore_stored(left)

    def _report_rows(self) -> None:
        """Report, once, statements whose row changes a later statement committed, and values that have no copy."""
        for entry in [entry for entry in self.entries if entry.kind == ROWS]:
            self.outcome.lost.append(
                f"rows changed by this statement: {shorten(entry.text or '', 200, placeholder=' ...')}"
            )
            self.journal.forget(entry)
        for entry in self.entries:
            self.outcome.lost += [
                f"possible writes of other sessions to {entry.name}; the table {copy.saved} has its rows"
                for copy in entry.state.copies
                if copy.saved
            ]
        self.outcome.lost += self.stored.lost
        self.execute("COMMIT")

    def _compare(self, entries: list[Entry], as_before: set[str]) -> None:
        """Compare the objects with their first texts. Those that were ``as_before`` when the undo began do not count as
        restored, nor does Alembic's own table.
        """
        for entry in entries:
            if str(entry) not in self.reasons and entry.is_as_before(self.execute):
                self.outcome.restored += {str(entry)} - as_before - {f"table {version_table()[1]}"}
            else:
                self.outcome.different[str(entry)] = self.reasons.get(str(entry), "its text differs")
