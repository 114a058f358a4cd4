"""The undo of a revision that failed or was killed on MySQL or MariaDB.

The journal, a table, has the SHOW CREATE of each changed object from before the revision, and lists the copies of
destroyed rows and values. The undo first restores the names of tables, then their definitions (by ALTER TABLE) with
their rows and values, then foreign keys, views, triggers and routines. At the end it compares each SHOW CREATE with the
journal. An undo can be killed at any point: the next one continues.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from textwrap import shorten

from sqlalchemy.exc import DBAPIError

from ...errors import HalfDoneError, summary
from ..base import OWN_TABLES, version_table
from .catalog import JOURNAL, existing_tables, quoted, show_create
from .journal_table import ROWS, Entries, Entry
from .row_copies import PREPARED, RETURNED, RowRestore, saved_name
from .session import Execute, plain_settings, temporary_settings
from .stored_objects import StoredObjects
from .table_restore import SWAPPED, Definition, revert_clauses, with_nullable, without_foreign_keys

# One RENAME TABLE renames this table and restores the names of all others: RENAMED then shows that this is done.
RENAMES, RENAMED = f"{OWN_TABLES}renames", f"{OWN_TABLES}renamed"


@dataclass
class Outcome:
    """The outcome of an undo.

    ``restored`` has, as keys, kind and name of each object that the undo changed to its state before the revision, e.g.
    ``table pet``. ``different`` has, by kind and name, the reason why an object could not be restored; ``lost`` the
    rows and values that could not be restored, in words.
    """

    restored: dict[str, None] = field(default_factory=dict)
    different: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return one sentence for each object, and for each group of rows, that could not be restored."""
        lines = [f"Could not be undone: changes to {name} ({reason})." for name, reason in self.different.items()]
        return lines + [f"Could not be restored: {rows}." for rows in self.lost]

    def require_whole(self) -> None:
        """Raise HalfDoneError if something could not be restored."""
        if self.different:
            raise HalfDoneError(
                "\n".join(["a revision failed half-way, and not all of its changes could be undone.", *self.lines()]),
                "run the command again, after you have given these objects the definitions that this query shows, or"
                " dropped those for which it shows NULL:",
                f"SELECT kind, name, text FROM {JOURNAL} ORDER BY id;",
            )
        if self.lost:
            raise HalfDoneError(
                "\n".join(["a revision failed half-way and was undone, except for these values.", *self.lines()]),
                "correct these by hand, or restore a backup; the command no longer stops for them if it is run again:",
                "flask db upgrade",
            )


def undo(execute: Execute, heads: str) -> Outcome:
    """Undo the revision that began when the database was at ``heads``, from its journal; return the outcome.

    Drop the journal if all objects are as before; else keep it for the next undo. Raise DBAPIError if the connection
    is lost.
    """
    with temporary_settings(execute, {**plain_settings(execute), "foreign_key_checks": 0}):
        Entries(execute, heads).forget_finished()
        return Undo(execute, heads).run()


class Undo:
    """The undo of one revision: it restores all that the journal has recorded."""

    def __init__(self, execute: Execute, heads: str) -> None:
        self.execute = execute
        self.outcome = Outcome()
        self.reasons: dict[str, str] = {}
        self.journal = Entries(execute, heads)
        self.entries = self.journal.read()
        self.stored = StoredObjects(execute, [entry for entry in self.entries if entry.kind not in ("TABLE", ROWS)])

    def run(self) -> Outcome:
        """Restore tables with their rows, then views, triggers and so on. Return the outcome."""
        as_before = {str(entry) for entry in self.entries if entry.kind != ROWS and self._is_untouched(entry)}
        for entry in self.stored.triggers_to_drop():
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
        """Drop the tables that the revision created, and rename renamed tables to their names before the revision.

        If the undo is killed after that, the next undo does not repeat it: it would drop a table that another session
        has created since under the same name.
        """
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
                    self._drop_new_table(entry, replaces_dropped=entry.state.place in dropped)
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

    def _drop_new_table(self, entry: Entry, replaces_dropped: bool) -> None:
        """Drop a table that the revision created.

        If it ``replaces_dropped``, i.e. has the name of a table that the revision dropped, and is not empty, rename it
        instead: the app may have written its rows.
        """
        table, saved = quoted(entry.state.place), saved_name()
        exists = show_create(self.execute, "TABLE", entry.state.place) is not None
        if replaces_dropped and exists and self.execute(f"SELECT 1 FROM {table} LIMIT 1"):
            self.execute(f"RENAME TABLE {table} TO {saved}")
            self.outcome.lost.append(f"rows written to the new table {entry.name}; they are in the table {saved}")
        self.execute(f"DROP TABLE IF EXISTS {table}")
        self.outcome.restored[str(entry)] = None

    def _drop_foreign_keys(self, tables: list[Entry]) -> Callable[[Entry], None]:
        """Return a function that drops some foreign keys of a table.

        These are foreign keys that differ from the journal, and foreign keys from or to a table with changed columns,
        which would prevent restoring the type of a column.
        """
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
        """Restore a table's definition, except foreign keys, and the rows and values that the revision destroyed."""
        assert entry.text is not None
        rows = RowRestore(self.execute, entry)
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
        text = with_nullable(entry.text, now, empty) if empty and now != entry.text else entry.text
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
        """Alter the table until its SHOW CREATE TABLE is ``text``, in at most three rounds.

        Columns that swapped names take a round of their own. Some differences show only after a round: SHOW CREATE
        names a column's character set only if the table has another one, and the server creates the index of a new
        foreign key behind all others. Foreign keys are added only if ``foreign_keys`` is set.
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
        """Restore views, triggers, routines, events and sequences.

        Retry those that failed as long as another succeeds, because a view may read other views.
        """
        left = [entry for entry in entries if not self._try(entry, self.stored.put_back)]
        if left and len(left) < len(entries):
            self._restore_stored(left)

    def _report_rows(self) -> None:
        """Add to ``outcome.lost`` the rows and values that could not be restored, and the tables that have saved rows.

        A statement whose row changes were committed is reported once: its entry in the journal is deleted.
        """
        for entry in [entry for entry in self.entries if entry.kind == ROWS]:
            self.outcome.lost.append(
                f"rows changed by this statement: {shorten(entry.text or '', 200, placeholder=' ...')}"
            )
            self.journal.forget(entry)
        for entry in self.entries:
            self.outcome.lost += [
                f"possible changes by other sessions to {entry.name};"
                f" its rows before the undo are in the table {copy.saved}"
                for copy in entry.state.copies
                if copy.saved
            ]
        self.outcome.lost += self.stored.lost
        self.execute("COMMIT")

    def _compare(self, entries: list[Entry], as_before: set[str]) -> None:
        """Compare the SHOW CREATE of each object with the journal, and add the object to ``restored`` or ``different``.

        Objects that were already ``as_before`` when the undo began, and Alembic's version table, are not added to
        ``restored``.
        """
        for entry in entries:
            if str(entry) not in self.reasons and entry.is_as_before(self.execute):
                self.outcome.restored |= dict.fromkeys({str(entry)} - as_before - {f"table {version_table()[1]}"})
            else:
                self.outcome.different[str(entry)] = self.reasons.get(str(entry), "its definition still differs")
