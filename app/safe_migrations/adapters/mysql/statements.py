"""The effects of a statement of MySQL or MariaDB: whether it commits, what it names, renames and destroys.

Read by its words: little is asked, and a statement that is not valid SQL is the server's to refuse.
"""

from functools import cached_property
from itertools import pairwise

from .table_columns import Modification
from .tokens import Tokens

KINDS = ("TABLE", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "SEQUENCE")

DEFINES = {"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"}
# The compound statements that MariaDB takes outside of routines; BEGIN is one if NOT ATOMIC follows.
COMPOUND = {"IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR"}
# All others end the transaction first (MySQL manual, "Statements That Cause an Implicit Commit"), or may.
WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "LOAD"}
READS = {"SELECT", "VALUES", "DO", "SHOW", "SET", "USE", "DESCRIBE", "DESC", "EXPLAIN"}
LEAVES_TRANSACTION_OPEN = WRITES | READS | {"SAVEPOINT", "ROLLBACK", "RELEASE"}
# What may stand between the verb of INSERT, UPDATE, DELETE, REPLACE or LOAD and its table.
BEFORE_TARGET = {"LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE", "INTO", "FROM"}
# VIEW is the 15th word of CREATE OR REPLACE ALGORITHM = x DEFINER = a @ b SQL SECURITY DEFINER VIEW.
HEAD = 15
DELETES_ROWS = {("DROP", "PARTITION"), ("TRUNCATE", "PARTITION"), ("ALTER", "IGNORE")}
MOVES_ROWS = {("EXCHANGE", "PARTITION"), ("CONVERT", "PARTITION"), ("CONVERT", "TABLE")}
# What may stand behind ALTER TABLE ... DROP and holds no values.
HOLDS_NO_VALUES = {"INDEX", "KEY", "CONSTRAINT", "FOREIGN", "PRIMARY", "CHECK", "DEFAULT", "PARTITION"}


class Statement(Tokens):
    """One statement. Names are as written, without quotes and schema.

    Names of columns are in lower case: the servers compare them, and no other names, without case on every platform.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        if self.verb in DEFINES:
            self.keywords[:3] = ["TABLE" if word == "TABLES" else word for word in self.keywords[:3]]

    @property
    def refusal(self) -> tuple[str, str]:
        """Return what to do instead, and a line of it, if nothing could record what follows; else empty strings.

        That is a statement behind SET STATEMENT ... FOR of MariaDB, one that ANALYZE runs, LOCK TABLES, which puts the
        journal out of reach, and what releases the run's lock.
        """
        if "RELEASE_ALL_LOCKS" in self.keywords:
            return "release your own lock alone, by its name:", "op.execute(\"SELECT RELEASE_LOCK('...')\")"
        if self.verb == "LOCK":
            return "DDL locks its table by itself; lock rows with", "op.execute('SELECT id FROM ... FOR UPDATE')"
        is_measured = self.verb == "ANALYZE" and not WRITES.isdisjoint(self.keywords[1:5])
        if is_measured or self.keywords[:2] == ["SET", "STATEMENT"]:
            remedy = "execute the statement by itself, and set before it what it needs, such as"
            return remedy, "op.execute('SET SESSION max_statement_time = 100')"
        return "", ""

    @cached_property
    def verb(self) -> str:
        """Return the first word: ``ALTER``."""
        return next((word for word in self.keywords if word != "("), "")

    @cached_property
    def kind(self) -> str:
        """Return the kind of object of CREATE, ALTER, DROP, RENAME or TRUNCATE: one of KINDS, or an empty string."""
        if self.verb not in DEFINES:
            return ""
        head = self.keywords[1:HEAD]
        if self.verb == "TRUNCATE" or self._index_at:
            return "TABLE"
        return next((word for word in head if word in KINDS), "")

    @cached_property
    def _index_at(self) -> int:
        """Return the place of the table's name in CREATE INDEX and DROP INDEX; 0 for any other statement."""
        head = self.keywords[:6]
        if self.verb not in ("CREATE", "DROP") or "INDEX" not in head or {*KINDS} & {*head[: head.index("INDEX")]}:
            return 0
        return self.keywords.index("ON") + 1 if "ON" in self.keywords else 0

    @cached_property
    def is_temporary(self) -> bool:
        """Return True if it creates or drops a temporary table."""
        return self.verb in DEFINES and "TEMPORARY" in self.keywords[:4]

    @property
    def ends_transaction(self) -> bool:
        """Return True if it commits the statements before it."""
        return self.sets_autocommit or not (self.verb in LEAVES_TRANSACTION_OPEN or self.is_temporary)

    @property
    def commits_implicitly(self) -> bool:
        """Return True if the server commits before it: not for temporary tables, CALL or EXECUTE, which only may."""
        return self.verb in DEFINES and not self.is_temporary

    @property
    def writes(self) -> bool:
        """Return True if it changes rows and leaves the transaction open."""
        return self.verb in WRITES

    @property
    def creates_table(self) -> bool:
        """Return True for CREATE TABLE."""
        return self.verb == "CREATE" and self.kind == "TABLE" and not self._index_at

    @property
    def creates_new_table(self) -> bool:
        """Return True for a CREATE TABLE that fails if the table exists."""
        return self.creates_table and {"REPLACE", "EXISTS"}.isdisjoint(self.keywords[:5])

    @property
    def sets_autocommit(self) -> bool:
        """Return True if it changes whether later statements commit by themselves, and may commit those before it."""
        return self.verb == "SET" and "AUTOCOMMIT" in self.keywords and "GLOBAL" not in self.keywords

    def is_opaque(self, database: str) -> bool:
        """Return True if the journal cannot record what it changes: that stands elsewhere, or in another schema."""
        if self.verb in {"CALL", "EXECUTE"} | COMPOUND or self.sets_autocommit:
            return True
        if self.keywords[:3] == ["BEGIN", "NOT", "ATOMIC"] or self._has(MOVES_ROWS):
            return True
        return bool(self._schemas - {database})

    def _has(self, pairs: set[tuple[str, str]]) -> bool:
        """Return True if ALTER TABLE has one of these pairs of words."""
        return self.verb == "ALTER" and self.kind == "TABLE" and not pairs.isdisjoint(pairwise(self.keywords))

    @property
    def _schemas(self) -> set[str]:
        """Return the schemas that a DDL statement names with its tables, before its columns or its query."""
        if "." not in self.keywords or not self.commits_implicitly or self.kind not in ("TABLE", ""):
            return set()
        end = next((at for at, word in enumerate(self.keywords) if word in {"(", "SELECT"}), len(self.keywords))
        return {self.names[at - 1] for at in range(1, end) if self.keywords[at] == "."}

    @cached_property
    def objects(self) -> list[tuple[str, str]]:
        """Kind and name of each object that it creates, alters, renames or drops: ``[("TABLE", "user")]``."""
        if not self.kind or not self.commits_implicitly:
            return []
        if self.verb == "RENAME":
            return [("TABLE", old) for old, _ in self.renamed_tables]
        found = [(self.kind, name) for name in self._named]
        if self.verb == "ALTER" and self.kind == "EVENT" and "RENAME" in self.keywords:
            found.append(("EVENT", self.name_at(self.keywords.index("RENAME") + 2)[0]))
        return found

    @property
    def _named(self) -> list[str]:
        """Return the names behind its kind: one, or all that it drops."""
        start = self._index_at or (self.keywords.index(self.kind) + 1 if self.kind in self.keywords else 1)
        name, at = self.name_at(start)
        found = [name]
        while self.verb == "DROP" and self.keyword(at) == ",":
            name, at = self.name_at(at + 1)
            found.append(name)
        return found

    @property
    def triggers_table(self) -> str:
        """Return the table on which it creates a trigger, or an empty string."""
        on = self.keywords.index("ON") + 1 if "ON" in self.keywords else 0
        return self.name_at(on)[0] if on and self.verb == "CREATE" and self.kind == "TRIGGER" else ""

    @cached_property
    def renamed_tables(self) -> list[tuple[str, str]]:
        """Old and new name of each table that it renames, in its order."""
        found = []
        if self.verb == "RENAME" and self.keyword(1) == "TABLE":
            at = 1
            while at == 1 or self.keyword(at) == ",":
                old, at = self.name_at(at + 1)
                new, at = self.name_at(at + 1)
                found.append((old, new))
        elif self.verb == "ALTER" and self.kind == "TABLE":
            for at, word in enumerate(self.keywords):
                if word == "RENAME" and self.keyword(at + 1) not in {"COLUMN", "INDEX", "KEY"}:
                    new, _ = self.name_at(at + 1 + (self.keyword(at + 1) in {"TO", "AS", "="}))
                    found.append((self._named[0], new))
        return found

    @cached_property
    def renamed_columns(self) -> dict[str, str]:
        """Return the old name for each new one."""
        found = {}
        for at, word in enumerate(self.keywords):
            if word == "CHANGE":
                old, after = self.name_at(at + 1 + (self.keyword(at + 1) == "COLUMN"))
                found[self.name_at(after)[0].lower()] = old.lower()
            elif word == "RENAME" and self.keyword(at + 1) == "COLUMN":
                old, after = self.name_at(at + 2)
                found[self.name_at(after + 1)[0].lower()] = old.lower()
        return {new: old for new, old in found.items() if new != old}

    @property
    def drops_tables(self) -> bool:
        """Return True if it drops the tables that it names, if they exist."""
        return self.kind == "TABLE" and not self._index_at and (self.verb == "DROP" or "REPLACE" in self.keywords[:3])

    @property
    def deletes_rows(self) -> bool:
        """Return True if it deletes rows: all, those of a partition, or duplicates (ALTER IGNORE)."""
        return self.drops_tables or self.verb == "TRUNCATE" or self._has(DELETES_ROWS)

    @property
    def may_destroy(self) -> bool:
        """Return True if it may delete rows or change values."""
        return bool(self.deletes_rows or self.changed_columns or self.conversion)

    @cached_property
    def changed_columns(self) -> dict[str, Modification | None]:
        """Return the new definition of each column that MODIFY or CHANGE names; None for one that DROP names."""
        found: dict[str, Modification | None] = {}
        if self.verb != "ALTER" or self.kind != "TABLE":
            return found
        for at, word in enumerate(self.keywords):
            start = at + 1 + (self.keyword(at + 1) == "COLUMN")
            if word == "DROP" and self.keyword(start) not in HOLDS_NO_VALUES:
                found[self.name_at(start)[0].lower()] = None
            elif word in {"MODIFY", "CHANGE"}:
                name, after = self.name_at(start)
                found[name.lower()] = self._modification(after if word == "MODIFY" else self.name_at(after)[1])
        return found

    @property
    def conversion(self) -> tuple[str, ...]:
        """Return the words of CONVERT TO CHARACTER SET, which changes every text column; empty if there are none."""
        return self.clause_at(self.keywords.index("CONVERT")) if self._has({("CONVERT", "TO")}) else ()

    def _modification(self, at: int) -> Modification:
        return Modification(self.type_at(at), self.clause_at(at))

    @property
    def target(self) -> str:
        """Return the first table whose rows it changes, as far as its words say; else an empty string."""
        if self.verb == "LOAD":
            at = self.keywords.index("TABLE") + 1 if "TABLE" in self.keywords else len(self.names)
        else:
            at = self.keywords.index(self.verb) + 1
            while self.keyword(at) in BEFORE_TARGET:
                at += 1
        return self.name_at(at)[0] if self.verb in WRITES - {"WITH"} else ""

    @property
    def assigned(self) -> set[str]:
        """Return the columns that an UPDATE sets."""
        start = self.keywords.index("SET") if self.verb == "UPDATE" and "SET" in self.keywords else len(self.keywords)
        found: set[str] = set()
        depth = 0
        for at in range(start + 1, len(self.keywords)):
            depth += (self.keywords[at] == "(") - (self.keywords[at] == ")")
            if self.keywords[at] == "WHERE" and not depth:
                break
            if self.keywords[at] == "=" and not depth:
                found.add(self.names[at - 1].lower())
        return found
