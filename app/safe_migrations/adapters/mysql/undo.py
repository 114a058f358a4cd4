"""Puts back what a revision on MySQL or MariaDB had changed when it failed or was killed, from the journal.

The last statement first: each object that it touched gets the text that it had, in the words of that text, and the rows
that it took come back. What others wrote meanwhile stays. At the end the texts are compared with the journal.
"""

from collections.abc import Callable
from itertools import groupby

from sqlalchemy.exc import DBAPIError

from ...errors import summary
from ..base import version_table
from .catalog import quoted, show_create
from .copies import WHOLE
from .definitions import (
    taking_empty,
    way_back,
    without_counter,
    without_foreign_keys,
)
from .entries import DONE, PREPARED, ROWS, UNDONE, Entries, Entry, under_first_names
from .outcome import Outcome
from .returning_rows import Copy, WholeCopy
from .session import Execute, plain, set_aside
from .stored_objects import KINDS_IN_ORDER, StoredObjects


def undo(execute: Execute, heads: str) -> Outcome:
    """Put back what the journal knows of the revision that began at ``heads``.

    Without a difference the journal is gone afterwards, else it stays. Raises DBAPIError if the connection is lost.
    """
    with set_aside(execute, {**plain(execute), "foreign_key_checks": 0}):
        Entries(execute, heads).forget_finished()
        return Undo(execute, heads).run()


class Undo:
    """One undoing: tables and rows step by step; then, when all tables are there, what refers to them."""

    def __init__(self, execute: Execute, heads: str) -> None:
        self.execute = execute
        self.outcome = Outcome()
        self.reasons: dict[str, str] = {}
        self.failed: dict[Entry, str] = {}
        self.journal = Entries(execute, heads)
        self.entries = self.journal.read()
        self.stored = StoredObjects(execute, self.entries, self.outcome)
        self.first = {entry.id: entry for entry in under_first_names(self.entries)}

    def run(self) -> Outcome:
        """Undo each step, the last one first, and compare."""
        first: dict[str, Entry] = {}
        for entry in self.first.values():
            if entry.kind != ROWS:
                first.setdefault(str(entry), entry)
        originals = list(first.values())
        changed_rows = {f"table {entry.name}" for entry in self.entries if entry.kept or entry.kind == ROWS}
        as_before = {str(entry) for entry in originals if entry.is_as_before(self.execute)} - changed_rows
        others = [entry for entry in originals if entry.kind != "TABLE"]
        for entry in others:
            if entry.kind == "TRIGGER" and self.stored.is_own_table(entry):
                self._try(entry, self._drop)  # the undoing of rows is not for it
        for entry in others:
            if entry.kind == "SEQUENCE" and entry.text is not None:
                self._try(entry, self.stored.put_back)  # a column's default may be its next number
        steps = [list(found) for _, found in groupby(self.entries, lambda entry: entry.step)]
        for step in reversed(steps):
            self._undo(step)
        for entry in originals:
            if entry.kind == "TABLE" and entry.text is not None:
                self._try(entry, self._add_foreign_keys)
        self._make_others(sorted(others, key=lambda entry: KINDS_IN_ORDER.index(entry.kind)))
        self.execute("COMMIT")
        self._compare(originals, as_before)
        for entry in self.failed:
            self.outcome.lose(self._rows_left(entry))
        if not self.outcome.different:
            self.journal.discard()
        return self.outcome

    def _make_others(self, entries: list[Entry]) -> None:
        """In as many rounds as one more comes back in each, for a view may read others."""
        left = [entry for entry in entries if not self._try(entry, self.stored.put_back)]
        if left and len(left) < len(entries):
            self._make_others(left)

    def _undo(self, step: list[Entry]) -> None:
        """Tables and rows as they were before one statement; what an undo before this one has done, others may use."""
        step = [entry for entry in step if entry.progress != UNDONE]
        tables = [entry for entry in step if entry.kind == "TABLE"]
        renamed = step[0].statement.renamed_tables if step else []
        if renamed and self._were_renamed(tables, renamed):
            self.execute("RENAME TABLE " + ", ".join(f"{quoted(new)} TO {quoted(old)}" for old, new in renamed[::-1]))
            self.journal.mark(tables, "")
            self.execute("COMMIT")
        for entry in tables:
            if entry.text is None and not renamed:
                self._finish(entry, self._drop)
        for entry in tables:
            if entry.text is not None:
                self._finish(entry, self._change_back)
        for entry in step:
            if entry.kind == ROWS:
                self._finish(entry, self._change_rows_back)

    def _were_renamed(self, tables: list[Entry], renamed: list[tuple[str, str]]) -> bool:
        """Whether the names are those that the renaming gives. One that cannot be carried out has renamed nothing.

        Tables that swap their names are told apart by their columns, or by the mark of a renaming that has run.
        """
        before = {entry.name: _columns(entry.text) for entry in tables if entry.text is not None}
        after = dict(before)
        for old, new in renamed:
            if old not in after or new in after:
                return False
            after[new] = after.pop(old)
        found = {entry.name: show_create(self.execute, "TABLE", entry.name) for entry in tables}
        there = {name: _columns(text[0]) for name, text in found.items() if text}
        if set(there) != set(after):
            return False
        if set(before) != set(after):
            return True
        if before != after and there in (before, after):
            return there == after
        return any(entry.progress == DONE for entry in tables)

    def _finish(self, entry: Entry, action: Callable[[Entry], None]) -> None:
        """Do it once: what has been undone is the app's again. A table that is gone takes its later entries along."""
        if self._try(entry, action):
            gone = entry.kind == "TABLE" and entry.text is None
            object_ = self.first[entry.id].name
            later = [other for other in self.entries if other.id > entry.id and self.first[other.id].name == object_]
            self.journal.mark([entry, *(other for other in later if gone and other.kind in ("TABLE", ROWS))], UNDONE)
            self.execute("COMMIT")
        elif entry.kept:
            self.failed[entry] = self.reasons[str(entry)]

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

    def _drop(self, entry: Entry) -> None:
        entry.drop(self.execute)

    def _change_back(self, entry: Entry) -> None:
        """A table, and what the statement took of its rows."""
        copy = self._copy(entry)
        if entry.kept and entry.progress != PREPARED:
            self.outcome.lose(copy.prepare(not entry.is_as_before(self.execute)))
            # In the same transaction, for an undo that is killed after it begins again.
            self.journal.mark([entry], PREPARED)
        assert entry.text is not None
        now = show_create(self.execute, "TABLE", entry.name)
        if copy.empty_columns and now is not None and now[0] != entry.text:
            self._change_text_back(entry, taking_empty(entry.text, now[0], copy.empty_columns))
            self.outcome.lose(copy.put_back())
            self._change_text_back(entry, entry.text)
            return
        self._change_text_back(entry, entry.text)
        if copy.columns:
            self.outcome.lose(copy.put_back())

    def _change_text_back(self, entry: Entry, text: str) -> None:
        """In two rounds, for a table's character set shows in its columns only when the table has another one."""
        for _ in range(2):
            now = show_create(self.execute, "TABLE", entry.name)
            if now is None:
                self.execute(without_foreign_keys(text))
            elif now[0] != text:
                self._alter(entry, way_back(now[0], text, entry.statement.renamed_columns))

    def _add_foreign_keys(self, entry: Entry) -> None:
        """In two rounds, for a key that was made with a foreign key is made anew with that, behind all others."""
        for _ in range(2):
            now = show_create(self.execute, "TABLE", entry.name)
            if now is not None and entry.text is not None and now[0] != entry.text:
                self._alter(entry, way_back(now[0], entry.text, {}, foreign_keys=True))

    def _alter(self, entry: Entry, turns: list[str]) -> None:
        for turn in turns:
            self.execute(f"ALTER TABLE {quoted(entry.name)} {turn}")

    def _change_rows_back(self, entry: Entry) -> None:
        copy = self._copy(entry)
        if not entry.kept:
            self.outcome.lose(entry.unseen)
        elif copy.columns:
            self.outcome.lose(copy.put_changes_back())

    def _rows_left(self, entry: Entry) -> str:
        """The rows of a copy that did not come back; it stays, under a name of its own if the journal goes."""
        where = "" if self.outcome.different else f"; the table {self._copy(entry).save()} has what was there"
        return f"rows of {entry.name} ({self.failed[entry]}) after: {entry.statement.text}{where}"

    def _copy(self, entry: Entry) -> Copy:
        kind = WholeCopy if entry.kept.startswith(WHOLE) else Copy
        return kind(self.execute, entry.kept, entry.name, entry.statement)

    def _compare(self, originals: list[Entry], as_before: set[str]) -> None:
        """Compare the objects with their original texts. Those that were ``as_before`` when the undo began do not count
        as restored, nor does Alembic's own table.
        """
        for entry in originals:
            if entry.progress == UNDONE and entry.text is None:
                continue  # of that name, there is only what others have made since
            if str(entry) not in self.reasons and entry.is_as_before(self.execute):
                self.outcome.restored += {str(entry)} - as_before - {f"table {version_table()[1]}"}
            else:
                self.outcome.different[str(entry)] = self.reasons.get(str(entry), "its text differs")


def _columns(text: str) -> str:
    """What of a table's text is the same under another name."""
    return without_counter(without_foreign_keys(text)).partition("(\n")[2]
