"""The journal of a revision on MySQL or MariaDB: a record of its changes, from which undo.py can undo them.

The server commits each DDL statement, so the changes of a failed or killed revision remain in the database. The journal
has one entry for each object that the revision changes, with the object's SHOW CREATE before the first change. Rows and
values that a statement destroys are copied first. The journal and the copies are tables in the same database.
"""

from copy import deepcopy
from textwrap import shorten

from ...errors import UnsafeError
from ..base import LOG, OWN_TABLES
from .catalog import (
    as_text,
    existing_tables,
    heads_as_text,
    quoted,
    show_create,
    table_of_trigger,
    triggers_of,
)
from .journal_table import ROWS, Entries, Entry, State
from .row_copies import make_copy, needed_copy
from .session import Execute, Session, temporary_settings
from .statements import Statement, read
from .table_restore import Definition


class Journal:
    """The journal of one upgrade or downgrade. ``execute`` runs SQL on the connection that its revisions use."""

    def __init__(self, execute: Execute) -> None:
        self.execute = execute
        self.entries = Entries(execute, heads_as_text(execute))
        self.last_id = self.entries.create()
        self.session = Session(execute)
        self.to_commit = False
        self.copies = 0
        self.known_tables = existing_tables(execute)
        """The names of tables, views and sequences, in lower case. A CREATE with another name needs no look-up: if
        there is one of that name after all, the statement fails.
        """
        self._begin_revision()

    def _begin_revision(self) -> None:
        self.objects: dict[tuple[str, str], Entry] = {}
        """The entry of each recorded object, by the object's kind and current name."""
        self.under_way: list[Entry] = []
        """Entries of the objects that the running statement creates, renames or drops, or whose rows it destroys."""
        self.unsaved: list[Entry] = []
        """Entries that are not committed yet: they are written to the journal in the open transaction."""
        self.written: list[str] = []
        """The statements since the last commit for which _outlasts_undo() is True."""
        self.rolled_back: list[str] = []
        """Statements that were in ``written`` when their transaction was rolled back."""
        self.views_noted = False
        self.triggers_noted: set[str] = set()
        """The tables whose triggers were recorded: those that they get after that, the revision creates."""
        self.id_before = self.last_id

    @property
    def has_changes(self) -> bool:
        """Return True if the revision has changed anything outside of the batches of a backfill, or begun to."""
        return bool(self.last_id > self.id_before or self.written or self.rolled_back)

    def step_done(self, heads: set[str]) -> None:
        """Begin a new set of entries for the next revision, which starts at ``heads``.

        The open transaction stores these heads; its commit makes the finished revision's entries invalid, because they
        have other heads. The commit is left to the next statement: DDL commits anyway, and a commit is the journal's
        largest cost on a server with a binary log.
        """
        self.entries.heads = as_text(heads)
        self._begin_revision()
        self.to_commit = True

    def committing(self) -> None:
        """Write unsaved entries and statements that changed rows to the journal, just before a transaction commits."""
        if self.session.watched and (self.written or self.unsaved):
            with self.session.unwatched():
                self._note_written()
                self._save()
        self.unsaved = []
        self.to_commit = False

    def stop(self) -> None:
        """Stop recording: later statements do not belong to a revision."""
        self.session.watched = False

    def rolling_back(self) -> None:
        """Prepare for the rollback of the open transaction.

        Commit the last finished revision, if that is still to be done, so that its heads are not rolled back. Move all
        statements from ``written`` to ``rolled_back``.
        """
        self.commit_last_step()
        self.rolled_back += self.written
        self.written = []

    def commit_last_step(self) -> None:
        """Commit the last finished revision, if it is not committed yet (see step_done)."""
        if self.to_commit:
            with self.session.unwatched():
                self.execute("COMMIT")
            self.to_commit = False

    def before(self, text: str, autocommit: bool = False) -> None:
        """Record the objects and rows that the SQL statement ``text``, which runs next, is going to change.

        A DDL statement first commits the open transaction, which contains this record. ``autocommit`` is True if each
        statement commits by itself. Raise UnsafeError for a statement that must not run, e.g. LOCK TABLES (see
        Statement.refusal).
        """
        if not self.session.watched:
            return
        self._settle_failure()
        if not self.session.mode_is_known:
            self.session.read_mode()
        statement = read(text if self.session.escapes else text.replace("\\", r"\\"))
        remedy, line = statement.refusal
        if remedy:
            shown = shorten(text, 200, placeholder=" ...")
            what = "this statement was not run, because a failed revision could not be undone after it"
            raise UnsafeError(f"{what}: {shown}", remedy, line)
        self.statement = statement
        if statement.verb in ("SET", "USE"):
            self.session.note_set(statement.words)
        if not statement.commits_implicitly:
            self.commit_last_step()
        self._note(statement, autocommit)

    def _note(self, statement: Statement, commits: bool) -> None:
        is_opaque = statement.is_opaque(self.session.database)
        writes = not statement.ends_transaction and statement.writes
        if writes and self._outlasts_undo(statement):
            self.written.append(statement.text)
        if not (is_opaque or statement.ends_transaction or (writes and commits)):
            return
        with self.session.unwatched():
            self._note_written()
            if is_opaque:
                self.under_way = [self._new_entry(ROWS, "", statement.text)]
            elif statement.commits_implicitly:
                self._note_objects(statement)
            self._save()

    def _outlasts_undo(self, statement: Statement) -> bool:
        """Return True if an undo could not revert what the statement writes, once that is committed.

        Return False if the undo drops all of it, because the revision itself created the table, or all columns that an
        UPDATE changes. ON UPDATE CURRENT_TIMESTAMP and triggers may change other columns too: then return True.
        """
        entry = self.objects.get(("TABLE", statement.target))
        if entry is None or not statement.target:
            return True
        if entry.text is None:
            return False
        lines = Definition.read(entry.text).lines
        sets_others = any(("COLUMN", entry.state.first_name(name)) in lines for name in statement.assigned)
        if not statement.assigned or sets_others or " ON UPDATE CURRENT_TIMESTAMP" in entry.text.upper():
            return True
        with self.session.unwatched():
            return bool(triggers_of(self.execute, statement.target))

    def _note_written(self) -> None:
        for text in self.written:
            self._new_entry(ROWS, "", text)
        self.written = []

    def _new_entry(
        self, kind: str, name: str, text: str | None, settings: dict[str, str] | None = None, place: str = ""
    ) -> Entry:
        self.last_id += 1
        entry = Entry(self.last_id, kind, name, text, settings or {}, State(place))
        self.unsaved.append(entry)
        return entry

    def _save(self) -> None:
        self.entries.save(*self.unsaved)

    def _note_objects(self, statement: Statement) -> None:
        """Record the objects that ``statement`` names.

        For a table, also record its new name, and copy the rows or values that the statement destroys.
        """
        tables, last_id = [], self.last_id
        for kind, name in statement.objects:
            # A script may change each table that an inspector lists: of this package's, the log alone outlives the run.
            if name.startswith(OWN_TABLES) and (name != LOG or statement.creates_table):
                continue
            if kind == "TRIGGER":
                self._note_triggers(statement.table_of_new_trigger or table_of_trigger(self.execute, name))
            is_new = statement.creates_new and name.lower() not in self.known_tables
            entry = None if is_new else self._entry(kind, name)
            if entry is None and statement.verb in ("CREATE", "ALTER") and (kind != "TABLE" or statement.creates_table):
                entry = self._created(kind, name)
            if entry is not None and kind == "TABLE" and entry not in self.under_way:
                tables.append(entry)
        renamed: dict[str, Entry] = {}
        for old, new in statement.renamed_tables:
            moved = renamed.pop(old, None) or self._entry("TABLE", old)
            if moved is not None:
                renamed[new] = moved
                self.known_tables.add(new.lower())
        places = {entry.id: name for name, entry in renamed.items()}
        for entry in tables:
            now = entry.text if entry.id > last_id else None
            self._note_table(statement, entry, places.get(entry.id, entry.state.place), now)
        if tables and statement.drops_tables and statement.creates_table:  # CREATE OR REPLACE
            self._created("TABLE", statement.objects[0][1])

    def _entry(self, kind: str, name: str) -> Entry | None:
        """Return the entry of the object whose current name is ``name``; add the entry if the journal has none yet.

        Return None if the object does not exist, or is a temporary table.
        """
        if (kind, name) not in self.objects:
            found = show_create(self.execute, kind, name)
            if found is None or found[0].startswith("CREATE TEMPORARY"):
                return None
            self.objects[kind, name] = self._new_entry(kind, name, found[0], found[1], name)
        return self.objects[kind, name]

    def _created(self, kind: str, name: str) -> Entry:
        """Add an entry for an object that the running statement creates, and return it."""
        entry = self._new_entry(kind, name, None)
        entry.next = State(name)
        self.known_tables.add(name.lower())
        self.under_way.append(entry)
        return entry

    def _note_table(self, statement: Statement, entry: Entry, place: str, now: str | None) -> None:
        """Record how ``statement`` changes a table's name or columns, and copy the rows or values that it destroys.

        Do nothing if the statement does neither. ``place`` is the name that the table has after the statement, and is
        ignored if the table is dropped; ``now`` is its SHOW CREATE text, or None if that is still to be read.
        """
        following = deepcopy(entry.state)
        following.place = "" if statement.drops_tables else place
        first, was = entry.state.first_name, statement.renamed_columns
        gone = [name for name, becomes in statement.changed_columns.items() if becomes is None]
        following.dropped += [first(name) for name in gone if first(name)]
        for name in (*gone, *was.values()):
            following.columns.pop(name, None)
        following.columns |= {new: first(old) for new, old in was.items()}
        if following == entry.state and (entry.text is None or not statement.may_destroy):
            return
        if now is None:
            now, _ = show_create(self.execute, "TABLE", entry.state.place) or (entry.text or "", None)
        if entry.text is not None:
            if following != entry.state or statement.deletes_rows:
                self._note_dependents(entry.state.place, is_renamed=bool(was) or following.place != entry.state.place)
            if copy := needed_copy(self.execute, statement, entry, entry.state, now, self.session.strict):
                self._note_triggers(entry.state.place)
                self.copies += 1
                with temporary_settings(self.execute, self.session.plain):
                    make_copy(self.execute, entry.state, copy, self.copies)
                following.copies.append(copy)
        entry.before = "" if statement.verb == "TRUNCATE" else now
        if following != entry.state:
            entry.next = following
            self.under_way.append(entry)
            if entry not in self.unsaved:
                self.unsaved.append(entry)

    def _note_dependents(self, table: str, is_renamed: bool) -> None:
        """Record the triggers of ``table`` and all views, because their definitions may change with the table.

        If the table or a column ``is_renamed``, also record the tables whose foreign keys refer to the table.
        """
        self._note_triggers(table)
        if not self.views_noted:
            self.views_noted = True
            # On MariaDB information_schema.views takes two to four times as long.
            for view, _ in self.execute("SHOW FULL TABLES WHERE table_type = 'VIEW'"):
                self._entry("VIEW", view)
        if is_renamed:
            query = (
                "SELECT table_name FROM information_schema.referential_constraints"
                " WHERE constraint_schema = DATABASE() AND referenced_table_name = %s"
            )
            for (child,) in self.execute(query, (table,)):
                self._entry("TABLE", child)

    def _note_triggers(self, table: str) -> None:
        """Record all triggers of a table in the order in which they fire, because SHOW CREATE does not show it."""
        if table and table not in self.triggers_noted:
            self.triggers_noted.add(table)
            for trigger in triggers_of(self.execute, table):
                self._entry("TRIGGER", trigger)

    def after(self) -> None:
        """Record that the statement given to before() has succeeded.

        The entries of the objects that it changed get their new state (name, columns).
        """
        if not self.session.watched:
            return
        if self.statement.commits_implicitly:
            self.unsaved, self.to_commit = [], False
        moved, self.under_way = self.under_way, []
        self._settle(moved, [True] * len(moved))
        if len(self.statement.renamed_tables) > 1:  # of tables that swap names, only their columns tell what they are
            with self.session.unwatched():
                self._save()
                self.execute("COMMIT")
            self.unsaved = []

    def _settle(self, entries: list[Entry], have_run: list[bool]) -> None:
        for entry in entries:
            self.objects.pop((entry.kind, entry.state.place), None)
        for entry, has_run in zip(entries, have_run, strict=True):
            is_created = not entry.state.place  # the database itself shows that it exists
            entry.settle(has_run)
            if entry.state.place:
                self.objects[entry.kind, entry.state.place] = entry
            if entry.kind != ROWS and not is_created and entry not in self.unsaved:
                self.unsaved.append(entry)

    def _settle_failure(self) -> None:
        """If the last statement failed, delete the entries of the objects that it should have created.

        If such an object exists, another session created it, and an undo must not drop it. On MariaDB a failed DROP of
        several tables may have dropped some of them: update the entries of these.
        """
        if not self.under_way:
            return
        failed, self.under_way = self.under_way, []
        with self.session.unwatched():
            for entry in [entry for entry in failed if not entry.state.place]:
                failed.remove(entry)
                self.unsaved.remove(entry)
                self.entries.forget(entry)
            drops = self.statement.drops_tables
            self._settle(failed, [drops and entry.has_run(self.execute) for entry in failed])

    def fail(self) -> None:
        """Complete the journal for undo(), after a revision has failed and its transaction was rolled back.

        Write entries that are not committed yet, and statements whose changes the rollback did not revert. Drop the
        temporary tables that have the names of recorded tables: SHOW CREATE would show them instead.
        """
        self._settle_failure()
        self.session.reset_charsets()
        self.unsaved = [entry for entry in self.unsaved if entry.kind != ROWS]  # those were rolled back
        self._note_not_transactional()
        self._save()
        for kind, name in self.objects:
            if kind == "TABLE":
                self.execute(f"DROP TEMPORARY TABLE IF EXISTS {quoted(name)}")

    def _note_not_transactional(self) -> None:
        """Record rolled-back statements on tables without transactions (e.g. MyISAM): there the changes remain."""
        query = (
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND engine <> 'InnoDB'"
        )
        names = {name.lower() for (name,) in self.execute(query)}
        self.written = [text for text in self.rolled_back if names & Statement(text).words]
        self._note_written()
