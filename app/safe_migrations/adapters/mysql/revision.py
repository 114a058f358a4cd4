"""What the journal knows of the revision that is under way."""

from .catalog import triggers_of
from .definitions import Definition
from .session import Execute
from .statements import Statement


class Revision:
    """The objects that it has ``made``, the ``texts`` that others had, and what it has ``written`` since a commit; and
    the tables of which the journal has ``noted`` something that will be committed.
    """

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.noted: set[str] = set()
        self.texts: dict[str, str] = {}
        self.renamed_columns: set[str] = set()
        self.written: list[Statement] = []

    def follow(self, statement: Statement) -> None:
        """What is known of a table or a column by its name does not hold for another one that gets the name."""
        self.renamed_columns.update(statement.renamed_columns)
        for name in (name for pair in statement.renamed_tables for name in pair):
            self.texts.pop(name, None)
            self.made.discard(name)
            self.noted.discard(name)

    def covers(self, statement: Statement, table: str) -> bool:
        """Return whether the journal's note of the table undoes this statement too: the revision created the table, or
        its first text suffices.
        """
        if table not in self.noted or statement.renamed_tables or {"FOREIGN", "REFERENCES"} & {*statement.keywords}:
            return False
        takes = statement.taken_columns or statement.renamed_columns or statement.takes_all_rows
        return table in self.made or not (takes or statement.takes_tables)

    def sets_only_new_columns(self, execute: Execute, statement: Statement, table: str) -> bool:
        """Whether to undo the columns is to undo the rows; not where ON UPDATE or a trigger may set more."""
        text = self.texts.get(table)
        if text is None or not statement.assigned or statement.assigned & self.renamed_columns:
            return False
        if " ON UPDATE CURRENT_TIMESTAMP" in text.upper() or triggers_of(execute, table):
            return False
        return not any(("COLUMN", name) in Definition.read(text).lines for name in statement.assigned)
