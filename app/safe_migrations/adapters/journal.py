"""What a revision on MySQL or MariaDB is about to change, written down in the same database before it does.

Each DDL statement commits there, so a revision that fails or is killed leaves what it had done. The journal has a row
for each object that a statement touches, with its SHOW CREATE as it was, and rows that would be gone are copied into
tables beside. undo.py puts back from that.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters.base import OWN_TABLES
from app.safe_migrations.adapters.catalog import (
    TABLE_KINDS,
    Execute,
    columns_of,
    equals,
    listed,
    quoted,
    shown,
    triggers_of,
)
from app.safe_migrations.adapters.definitions import Definition
from app.safe_migrations.adapters.statements import Statement, keeps_values
from app.safe_migrations.progress import log

JOURNAL, KEPT = f"{OWN_TABLES}journal", f"{OWN_TABLES}kept"
COLUMNS = (
    "id INT AUTO_INCREMENT PRIMARY KEY, step INT NOT NULL, kind VARCHAR(9) NOT NULL, name VARCHAR(64) NOT NULL,"
    " text LONGTEXT, sql_mode VARCHAR(1024) NOT NULL, kept VARCHAR(64) NOT NULL, statement LONGTEXT NOT NULL"
)
ROWS = "ROWS"
PLAIN = "NO_AUTO_VALUE_ON_ZERO"
CHANGES_TEXTS = {"ANSI", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "PIPES_AS_CONCAT", "IGNORE_SPACE"}


class Journal:
    """The journal of one run. ``execute`` runs on the connection of the steps, ``beside`` on another one."""

    def __init__(self, execute: Execute, beside: Execute) -> None:
        self.execute = execute
        self.beside = beside
        execute(f"CREATE TABLE IF NOT EXISTS {JOURNAL} ({COLUMNS}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")
        found = execute(
            "SELECT table_name, table_type, engine FROM information_schema.tables WHERE table_schema = DATABASE()"
        )
        kinds = {name: TABLE_KINDS.get(kind) for name, kind, _ in found if not name.startswith(OWN_TABLES)}
        self.tables = {name for name, kind in kinds.items() if kind == "TABLE"}
        self.views = [name for name, kind in kinds.items() if kind == "VIEW"]
        self.read_by: dict[str, set[str]] = {}
        self.not_transactional = {name for name, _, engine in found if name in self.tables and engine != "InnoDB"}
        routines = execute("SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()")
        self.routines = {name.lower() for (name,) in routines}
        fired = execute(
            "SELECT event_object_table, action_statement FROM information_schema.triggers"
            " WHERE trigger_schema = DATABASE()"
        )
        self.fired = [(table, Statement(text).words) for table, text in fired]
        self.watching = True
        self.to_commit = self.locked = False
        self.copies = 0
        self.casts: list[str] = []
        ((mode,),) = execute("SELECT @@SESSION.sql_mode")
        self.other_mode = bool(CHANGES_TEXTS & set(mode.split(",")))
        self.step = 0
        self.under_way: Statement | None = None
        self._begin_revision()

    def _begin_revision(self) -> None:
        self.made: set[str] = set()
        self.texts: dict[str, str] = {}
        self.written: list[Statement] = []

    def step_done(self) -> None:
        """The transaction that is open ends a revision: once it is committed, there is nothing to undo.

        If the next revision begins with DDL, that commits it, together with that revision's first entry: each commit
        costs a server that writes a binary log more than all else that the journal does.
        """
        if self.step:
            with self._unwatched():
                self.execute(f"DELETE FROM {JOURNAL}")
            self.step = 0
        self._begin_revision()
        self.to_commit = True

    def commit_last_step(self) -> None:
        """Commit what step_done() left to the next statement."""
        if self.to_commit:
            with self._unwatched():
                self.execute("COMMIT")
            self.to_commit = False

    def before(self, text: str, autocommit: bool = False) -> None:
        """Write down what the statement is about to change; it goes in with the transaction that it commits."""
        if not self.watching:
            return
        self.settle()
        statement = Statement(text)
        if statement.verb in ("LOCK", "UNLOCK"):  # under LOCK TABLES the journal's own table is out of reach
            self.locked = statement.verb == "LOCK"
            if self.locked:
                self.commit_last_step()
                self._note_opaque(statement)
        if self.locked or statement.verb == "UNLOCK":
            return
        self.other_mode |= statement.verb == "SET" and "sql_mode" in statement.words
        if not statement.ends_transaction:
            self.commit_last_step()
        self.to_commit = False
        if autocommit and (statement.writes or self._calls(statement)):
            self._note_opaque(statement)
        elif statement.writes or self._calls(statement):
            self.written.append(statement)
        if statement.ends_transaction:
            self.before_commit()
            with self._unwatched():
                self.step += 1
                for kind, name in self._touched(statement):
                    self._note(statement, kind, name)
                self.under_way = statement

    def settle(self) -> None:
        """If the last statement failed it has made nothing: what there is of that name, others have made."""
        if self.under_way:
            made_nothing = "" if self.under_way.renamed_tables else " AND text IS NULL"
            with self._unwatched():
                self.execute(f"DELETE FROM {JOURNAL} WHERE step = %s{made_nothing}", (self.step,))
            self.under_way = None

    def after(self) -> None:
        """The statement has run. Copy the values that it has cast, to tell them from those that others write later."""
        if self.watching:
            self.under_way = None
            with self._unwatched():
                for copy in self.casts:
                    self.execute(copy)
                self.casts = []

    @contextmanager
    def _unwatched(self) -> Iterator[None]:
        """For the journal's own statements, under PLAIN: a text depends on the sql_mode under which it is shown."""
        before, self.watching = self.watching, False
        ((mode,),) = self.execute("SELECT @@SESSION.sql_mode") if self.other_mode else ((PLAIN,),)
        if mode != PLAIN:
            self.execute("SET SESSION sql_mode = %s", (PLAIN,))
        try:
            yield
        finally:
            if mode != PLAIN:
                self.execute("SET SESSION sql_mode = %s", (mode,))
            self.watching = before

    def before_commit(self) -> None:
        """Keep the rows that were changed since the last commit, as another session still sees them."""
        opaque = [statement for statement in self.written if self._calls(statement)]
        changed = {table: statement for statement in self.written for table in self._tables_written(statement)}
        self.written = []
        with self._unwatched():
            for statement in opaque:
                self._note_opaque(statement)
            for table, statement in changed.items():
                self._keep_changes(table, statement)

    def _calls(self, statement: Statement) -> bool:
        """Whether it runs what is written elsewhere: a procedure, a function, a prepared statement."""
        return statement.verb in ("CALL", "EXECUTE") or bool(self.routines & statement.words and not statement.kind)

    def _note_opaque(self, statement: Statement) -> None:
        """What it does to rows cannot be looked into, and will not be undone: that is told."""
        with self._unwatched():
            self.step += 1
            self._write(statement, ROWS, "", None)

    def _touched(self, statement: Statement) -> list[tuple[str, str]]:
        """What it names; and unless it says by itself which tables it is about, every table among its words."""
        named = dict.fromkeys(statement.objects)
        if statement.kind == "" or statement.verb == "ALTER":
            any_table = self._calls(statement)
            found = (name for name in sorted(self.tables) if any_table or name.lower() in statement.words)
            named |= dict.fromkeys(("TABLE", name) for name in found)
        return list(named)

    def _note(self, statement: Statement, kind: str, name: str) -> None:
        is_new = kind == "TABLE" and statement.verb == "CREATE" and name not in self.tables
        found = None if is_new else shown(self.execute, kind, name)
        kept = ""
        if found is None:
            if statement.verb == "DROP":
                return
            if not statement.renamed_tables:
                self.made.add(name)
        elif kind == "TABLE":
            self.texts.setdefault(name, found[0])
            kept = self._keep(statement, name)
            if kept or statement.takes_tables or statement.renamed_tables:
                self._note_triggers(statement, name)
            if statement.taken_columns or statement.takes_tables or statement.renamed_tables:
                self._note_views(statement, name)
        if kind == "TABLE":
            self.tables.add(name)
        elif kind == "VIEW":
            self.read_by.pop(name, None)
            self.views.append(name)
        elif kind == "TRIGGER" and statement.verb == "CREATE":
            self.fired += [(table, statement.words) for table in self.tables if table.lower() in statement.words]
        elif kind in ("PROCEDURE", "FUNCTION"):
            self.routines.add(name.lower())
        self._write(statement, kind, name, found, kept)

    def _note_triggers(self, statement: Statement, table: str) -> None:
        for trigger in triggers_of(self.execute, table):
            self._write(statement, "TRIGGER", trigger, shown(self.execute, "TRIGGER", trigger))

    def _note_views(self, statement: Statement, table: str) -> None:
        """The views that read it: the text of one that has become invalid is not what it was."""
        for view in self.views:
            if table.lower() in self._words_of(view) and (found := shown(self.execute, "VIEW", view)):
                self._write(statement, "VIEW", view, found)

    def _words_of(self, view: str) -> set[str]:
        if view not in self.read_by:
            text, _ = shown(self.execute, "VIEW", view) or ("", None)
            self.read_by[view] = Statement(text).words
        return self.read_by[view]

    def _write(
        self, statement: Statement, kind: str, name: str, found: tuple[str, str | None] | None, kept: str = ""
    ) -> None:
        text, mode = found or (None, None)
        self.execute(
            f"INSERT INTO {JOURNAL} (step, kind, name, text, sql_mode, kept, statement)"
            " VALUES (%s, %s, %s, %s, COALESCE(%s, ''), %s, %s)",
            (self.step, kind, name, text, mode, kept, statement.text),
        )

    def _keep(self, statement: Statement, table: str) -> str:
        """Copy the values that the statement takes away or casts, each with its row's key; the copy's name."""
        found = columns_of(self.execute, table)
        if statement.takes_tables or statement.takes_rows:
            wanted = found
        else:
            taken = statement.taken_columns
            wanted = [
                column
                for column in found
                if column.name in taken and not (taken[column.name] and keeps_values(column.type, taken[column.name]))
            ]
        if not wanted or table in self.made or not self.execute(f"SELECT 1 FROM {quoted(table)} LIMIT 1"):
            return ""
        kept = self._new_name()
        columns = [column.name for column in found if column.key or column in wanted]
        log.info("Keeping %s of %s until the revision is done", ", ".join(column.name for column in wanted), table)
        source = f"FROM {quoted(table)}"
        self.execute(f"CREATE TABLE {kept} ENGINE=InnoDB AS SELECT {listed(columns)} {source}")
        if any(statement.taken_columns.get(column.name) for column in wanted):
            now = {old: new for new, old in statement.renamed_columns.items()}
            left = [name for name in columns if statement.taken_columns.get(name, "key")]
            values = ", ".join(f"{quoted(now.get(name, name))} AS {quoted(name)}" for name in left)
            self.casts.append(f"CREATE TABLE {kept}_after ENGINE=InnoDB AS SELECT {values} {source}")
        return kept

    def _new_name(self) -> str:
        self.copies += 1
        return f"{KEPT}_{self.copies}"

    def _tables_written(self, statement: Statement) -> set[str]:
        """The tables whose rows it may have changed, but for those that this revision made or columns that it added."""
        found = {statement.target} if statement.target in self.tables else self._named_in(statement.words)
        for table, words in self.fired * 2:  # a trigger may fire another one
            if table in found:
                found |= self._named_in(words)
        return {name for name in found - self.made if not self._sets_only_new_columns(statement, name)}

    def _named_in(self, words: set[str]) -> set[str]:
        """The tables among these words, and those that the views among them read."""
        for view in self.views:
            if view.lower() in words:
                words = words | self._words_of(view)
        return {name for name in self.tables if name.lower() in words}

    def _sets_only_new_columns(self, statement: Statement, table: str) -> bool:
        """Whether the undoing of the columns is the undoing of the rows; not where ON UPDATE sets one more."""
        text = self.texts.get(table)
        if text is None or not statement.assigned or " ON UPDATE CURRENT_TIMESTAMP" in text.upper():
            return False
        return not any(("COLUMN", name) in Definition.read(text).lines for name in statement.assigned)

    def _keep_changes(self, table: str, statement: Statement) -> None:
        """Keep the rows that differ between this transaction and what is committed, as they were and as they are."""
        found = columns_of(self.execute, table)
        names, keys = [column.name for column in found], [column.name for column in found if column.key]
        self.step += 1
        if not keys or table in self.not_transactional:
            self._write(statement, ROWS, table, None)
            return
        self._note_triggers(statement, table)
        kept, using = self._new_name(), f"USING ({listed(keys)})"
        for copy, where in ((kept, ""), (f"{kept}_after", " LIMIT 0")):
            self.beside(
                f"CREATE TABLE {copy} (PRIMARY KEY ({listed(keys)})) ENGINE=InnoDB"
                f" AS SELECT {listed(names)} FROM {quoted(table)}{where}"
            )
        equal = " AND ".join(equals(f"t.{quoted(c.name)}", f"k.{quoted(c.name)}", c) for c in found)
        self.execute(
            f"INSERT INTO {kept}_after SELECT {listed(names, 't')} FROM {quoted(table)} t LEFT JOIN {kept} k {using}"
            f" WHERE NOT (k.{quoted(keys[0])} IS NOT NULL AND {equal})"
        )
        self.execute(f"DELETE k FROM {kept} k JOIN {quoted(table)} t {using} WHERE {equal}")
        self._write(statement, ROWS, table, None, kept)


def discard(execute: Execute) -> None:
    """Drop the journal and the copies, the journal last: while it is there, they are known."""
    kept = execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        f" AND LEFT(table_name, {len(KEPT)}) = '{KEPT}'"
    )
    execute(f"DELETE FROM {JOURNAL}")
    execute("COMMIT")
    try:
        for name in [*(name for (name,) in kept), JOURNAL]:
            execute(f"DROP TABLE IF EXISTS {name}")
    except DBAPIError as error:
        log.info("The tables %s* are of no use any more, but could not be dropped: %s", OWN_TABLES, error.orig)
