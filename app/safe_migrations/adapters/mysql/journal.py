"""What a revision on MySQL or MariaDB is about to change, written down in the same database before it does.

Each DDL statement commits there, so a revision that fails or is killed leaves what it had done. The journal has a row
for each object that a statement touches, with its SHOW CREATE as it was, and rows that would be gone are copied into
tables beside. undo.py puts back from that.
"""

from .catalog import (
    as_text,
    heads_as_text,
    quoted,
    show_create,
    table_of_trigger,
    triggers_of,
)
from .columns import columns_of
from .copies import Copies
from .entries import DONE, ROWS, Entries
from .revision import Revision
from .schema import Schema
from .session import Execute, Session
from .statements import Statement


class Journal:
    """The journal of one run. ``execute`` runs on the connection of the steps, ``beside`` on another one."""

    def __init__(self, execute: Execute, beside: Execute) -> None:
        self.execute = execute
        self.entries = Entries(execute, heads_as_text(execute))
        self.entries.make()
        self.beside = beside
        self.schema = Schema(execute)
        self.to_commit = self.locked = False
        self.session = Session(execute)
        self.copies = Copies(execute, beside, lambda: self.session.unwatched(plainly=True))
        self.step = 0
        self.under_way: Statement | None = None
        self.made: set[str] = set()  # by the last statement
        self.revision = Revision()

    def step_done(self, heads: set[str]) -> None:
        """The transaction that is open ends a revision: once it is committed, there is nothing to undo.

        The entries of that revision are void then, for they have other heads. If the next revision begins with DDL,
        that commits it, together with that revision's first entry: each commit costs a server that writes a binary log
        more than all else that the journal does.
        """
        self.entries.heads = as_text(heads)
        self.revision = Revision()
        self.to_commit = True

    def committing(self) -> None:
        """The transaction is about to be committed: keep what it changed, and leave no step to the next statement."""
        self.before_commit()
        self.to_commit = False

    def stop(self) -> None:
        """What follows is not the revision's."""
        self.session.watched = False

    def commit_last_step(self) -> None:
        """Commit what step_done() left to the next statement."""
        if self.to_commit:
            with self.session.unwatched():
                self.execute("COMMIT")
            self.to_commit = False

    def before(self, text: str, autocommit: bool = False) -> None:
        """Write down what the statement is about to change; it goes in with the transaction that it commits.

        ``autocommit`` says whether the connection commits it by itself.
        """
        if not self.session.watched:
            return
        self.settle()
        statement = self._read(text)
        if self._is_out_of_reach(statement):
            return
        self.session.follow(statement)
        self._leave_last_step_to(statement)
        if self.schema.tables & set(statement.temporary_tables):
            self.before_commit()  # once a temporary table hides one, its rows are out of reach
        if statement.schemas - {self.session.database}:
            self._note_opaque(statement)
            if statement.verb != "DROP":  # of several tables, some may be gone
                self.under_way = statement
            return
        if statement.writes or self.schema.calls(statement):
            self._note_writing(statement, autocommit or self.session.autocommit)
        if statement.ends_transaction:
            self.before_commit()
            self._note_objects(statement)

    def _read(self, text: str) -> Statement:
        if not self.session.mode_is_known:
            self.session.read_mode()
        return Statement(text if self.session.escapes else text.replace("\\", r"\\"))

    def _is_out_of_reach(self, statement: Statement) -> bool:
        """Whether the journal's own table is, as it is from LOCK TABLES to UNLOCK TABLES."""
        if statement.verb == "LOCK":
            self.commit_last_step()
            self._note_opaque(statement)
        if statement.verb in ("LOCK", "UNLOCK"):
            self.locked = statement.verb == "LOCK"
        return self.locked or statement.verb == "UNLOCK"

    def _leave_last_step_to(self, statement: Statement) -> None:
        """Let it commit that, if it surely commits."""
        if not statement.surely_commits:
            self.commit_last_step()
        self.to_commit = False

    def _note_writing(self, statement: Statement, commits: bool) -> None:
        """It changes rows: what of them can be kept is kept when the transaction ends, if it has one."""
        if self.schema.not_transactional:
            self._note_not_transactional(statement)
        if commits:
            self._note_opaque(statement)
        else:
            self.revision.written.append(statement)

    def _note_objects(self, statement: Statement) -> None:
        """What it makes, changes or drops, each as it is."""
        with self.session.unwatched():
            self.step += 1
            self.made = set()
            for kind, name in self.schema.touched(statement):
                self._note(statement, kind, name)
            self.revision.follow(statement)
            self.schema.follow(statement)
            self.under_way = statement

    def settle(self) -> None:
        """If the last statement failed it has made nothing: what there is of that name, others have made."""
        if self.under_way:
            with self.session.unwatched():
                self.entries.forget_step(self.step, made_only=not self.under_way.renamed_tables)
            self.revision.made -= self.made
            self.revision.noted -= self.made
            self.under_way = None
            self.copies.forget_casts()

    def fail(self) -> None:
        """The revision has failed, and its transaction is rolled back: make the tables visible that it has hidden."""
        self.settle()
        self.session.read_what_we_write()
        for name in self.schema.hidden:
            self.execute(f"DROP TEMPORARY TABLE IF EXISTS {quoted(name)}")

    def after(self, text: str) -> None:
        """The statement has run. Copy the values that it has cast, to tell them from those that others write later."""
        if self.session.watched:
            if "TEMPORARY" in text.upper() or self.schema.hidden:
                self.schema.hide(Statement(text))
            if self.under_way and self.under_way.renamed_tables:
                with self.session.unwatched():
                    self.entries.mark_step(self.step, DONE)
            self.under_way = None
            if self.copies.casts:
                with self.session.unwatched(plainly=True):
                    self.copies.of_what_it_cast()

    def before_commit(self) -> None:
        """Keep the rows that were changed since the last commit, as another session still sees them."""
        written, self.revision.written = self.revision.written, []
        with self.session.unwatched(plainly=bool(written)):
            changed: dict[str, list[Statement]] = {}
            for statement in written:
                for table in self._tables_written(statement):
                    changed.setdefault(table, []).append(statement)
                if self.schema.calls(statement):
                    self._note_opaque(statement)
            for table, statements in changed.items():
                self._keep_changes(table, statements)

    def _note_opaque(self, statement: Statement) -> None:
        """What it does to rows cannot be looked into, and will not be undone: that is told."""
        with self.session.unwatched():
            self.step += 1
            self.entries.write(self.step, ROWS, "", statement)

    def _note_not_transactional(self, statement: Statement) -> None:
        """What it changes of such tables is not rolled back, nor known afterwards: written down beside, at once."""
        with self.session.unwatched():
            tables = self.schema.written(statement) & self.schema.not_transactional - self.revision.made
        for table in tables:
            self.step += 1
            Entries(self.beside, self.entries.heads).write(self.step, ROWS, table, statement)
            self.beside("COMMIT")

    def _note(self, statement: Statement, kind: str, name: str) -> None:
        if kind == "TABLE" and self.revision.covers(statement, name):
            return
        is_new = kind == "TABLE" and statement.verb == "CREATE" and name not in self.schema.tables
        if kind == "TRIGGER":
            self._note_triggers_beside(statement, name)
        found = None if is_new else show_create(self.execute, kind, name)
        kept = ""
        if found is None:
            if statement.verb == "DROP":
                return
            if not statement.renamed_tables:
                self.revision.made.add(name)
                self.made.add(name)
        elif kind == "TABLE":
            self.revision.texts.setdefault(name, found[0])
            strict = self.session.strict and "sql_mode" not in statement.settings
            kept = "" if name in self.revision.made else self.copies.of_what_it_takes(statement, name, found[0], strict)
            if kept or statement.takes_tables or statement.renamed_tables:
                self._note_triggers(statement, name)
            if statement.taken_columns or statement.takes_tables or statement.renamed_tables:
                self._note_views(statement, name)
        if kind == "TABLE" and statement.surely_commits:
            self.revision.noted.add(name)
        self.schema.add(kind, name)
        self.entries.write(self.step, kind, name, statement, found, kept)

    def _note_triggers(self, statement: Statement, table: str) -> None:
        for trigger in triggers_of(self.execute, table):
            self.entries.write(self.step, "TRIGGER", trigger, statement, show_create(self.execute, "TRIGGER", trigger))

    def _note_triggers_beside(self, statement: Statement, trigger: str) -> None:
        """All triggers of its table, for their order is known only from the order in which they are written down."""
        if table := statement.triggers_table or table_of_trigger(self.execute, trigger):
            self._note_triggers(statement, table)

    def _note_views(self, statement: Statement, table: str) -> None:
        """The views that read it: the text of one that has become invalid is not what it was."""
        for view in self.schema.views_of(table):
            if found := show_create(self.execute, "VIEW", view):
                self.entries.write(self.step, "VIEW", view, statement, found)

    def _tables_written(self, statement: Statement) -> set[str]:
        """The tables whose rows it may have changed, but for those that this revision made or columns that it added."""
        found = self.schema.written(statement) - self.revision.made
        return {name for name in found if not self.revision.sets_only_new_columns(self.execute, statement, name)}

    def _keep_changes(self, table: str, statements: list[Statement]) -> None:
        self.step += 1
        if table in self.schema.not_transactional:
            return
        if not any(column.key for column in columns_of(self.execute, table)):
            for statement in statements:
                self.entries.write(self.step, ROWS, table, statement)
            return
        self._note_triggers(statements[-1], table)
        self.entries.write(self.step, ROWS, table, statements[-1], kept=self.copies.of_changes(table))
