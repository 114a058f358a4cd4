"""What of a schema on MySQL or MariaDB a statement touches, while a run changes that schema."""

from ..base import OWN_TABLES
from .catalog import TABLE_KINDS, show_create
from .session import Execute
from .statements import Statement


class Schema:
    """The tables, views, triggers and routines of a database, asked for once and then followed."""

    def __init__(self, execute: Execute) -> None:
        self.execute = execute
        found = execute(
            "SELECT table_name, table_type, engine FROM information_schema.tables WHERE table_schema = DATABASE()"
        )
        kinds = {name: TABLE_KINDS.get(kind) for name, kind, _ in found if not name.startswith(OWN_TABLES)}
        self.tables = {name for name, kind in kinds.items() if kind == "TABLE"}
        self.not_transactional = {name for name, _, engine in found if name in self.tables and engine != "InnoDB"}
        self._views = [name for name, kind in kinds.items() if kind == "VIEW"]
        self.hidden: set[str] = set()
        self._read_by: dict[str, set[str]] = {}
        routines = execute("SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()")
        self._routines = {name.lower() for (name,) in routines}

    def add(self, kind: str, name: str) -> None:
        """Take note of an object that is made or altered."""
        if kind == "TABLE":
            self.tables.add(name)
        elif kind == "VIEW":
            self._read_by.pop(name, None)
            self._views.append(name)
        elif kind in ("PROCEDURE", "FUNCTION"):
            self._routines.add(name.lower())

    def follow(self, statement: Statement) -> None:
        """Take note of the engines and names that it gives to tables."""
        if statement.engine:
            named = {name for kind, name in statement.objects if kind == "TABLE"}
            self.not_transactional = self.not_transactional - named | (set() if statement.engine == "INNODB" else named)
        for old, new in statement.renamed_tables:
            self.not_transactional = {new if name == old else name for name in self.not_transactional}

    def hide(self, statement: Statement) -> None:
        """Take note of temporary tables: while there is one of its name, no statement reaches the real one."""
        if statement.verb == "CREATE":
            self.hidden |= set(statement.temporary_tables)
        elif statement.verb == "DROP" and self.hidden:
            self.hidden -= {*statement.temporary_tables, *(name for kind, name in statement.objects if kind == "TABLE")}

    def calls(self, statement: Statement) -> bool:
        """Whether it runs what is written elsewhere: a procedure, a function, a prepared statement."""
        runs = statement.verb in ("CALL", "EXECUTE") or statement.is_compound
        return runs or bool(self._routines & statement.words and not statement.kind)

    def touched(self, statement: Statement) -> list[tuple[str, str]]:
        """What it names; and unless it says by itself which tables it is about, every table among its words."""
        named = dict.fromkeys(statement.objects)
        if statement.kind == "" or statement.verb == "ALTER":
            any_table = self.calls(statement)
            found = (name for name in sorted(self.tables) if any_table or name.lower() in statement.words)
            named |= dict.fromkeys(("TABLE", name) for name in found)
        return [(kind, name) for kind, name in named if kind != "TABLE" or name not in self.hidden]

    def written(self, statement: Statement) -> set[str]:
        """The tables whose rows it may change: by itself, by triggers, by foreign keys, and by what those change."""
        found = {statement.target} if statement.target in self.tables else self._named_in(statement.words)
        if statement.target in self.hidden:
            return set()
        found = found - self.hidden
        fired = self.execute(
            "SELECT event_object_table, action_statement FROM information_schema.triggers"
            " WHERE trigger_schema = DATABASE()"
        )
        reached = [(table, self._named_in(Statement(text).words)) for table, text in fired]
        reached += [
            (parent, {child})
            for parent, child in self.execute(
                "SELECT referenced_table_name, table_name FROM information_schema.referential_constraints"
                " WHERE constraint_schema = DATABASE() AND NOT (delete_rule IN ('RESTRICT', 'NO ACTION')"
                " AND update_rule IN ('RESTRICT', 'NO ACTION'))"
            )
        ]
        before: set[str] = set()
        while before != found:
            before = set(found)
            found |= {name for table, names in reached if table in found for name in names}
        return found

    def views_of(self, table: str) -> list[str]:
        """The views that read it, by other views too."""
        found: dict[str, None] = {}
        reading = [table]
        while reading:
            read = reading.pop().lower()
            readers = [view for view in self._views if view not in found and read in self._words_of(view)]
            found |= dict.fromkeys(readers)
            reading += readers
        return list(found)

    def _named_in(self, words: set[str]) -> set[str]:
        """The tables among these words, and those that the views among them read."""
        for view in self._views:
            if view.lower() in words:
                words = words | self._words_of(view)
        return {name for name in self.tables if name.lower() in words}

    def _words_of(self, view: str) -> set[str]:
        if view not in self._read_by:
            text, _ = show_create(self.execute, "VIEW", view) or ("", None)
            self._read_by[view] = Statement(text).words
        return self._read_by[view]
