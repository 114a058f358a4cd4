"""The effects of an SQL statement on MySQL or MariaDB: whether it commits, and which objects it changes or destroys.

A few words of the statement are enough to find them, so there is no full parser; the server rejects invalid SQL.
"""

from functools import cached_property, lru_cache
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
    """One SQL statement, with properties for what it does.

    Names of objects are returned as written, without quotes and schema; names of columns in lower case, because the
    servers ignore their case on every platform.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        if self.verb in DEFINES:
            self.keywords[:3] = ["TABLE" if word == "TABLES" else word for word in self.keywords[:3]]

    @property
    def refusal(self) -> tuple[str, str]:
        """Return, for a statement that must not run, what to write instead and an example; else two empty strings.

        The journal could not record the changes of a statement inside SET STATEMENT ... FOR (MariaDB) or ANALYZE. After
        LOCK TABLES, the journal could not be written. RELEASE_ALL_LOCKS() would release the lock of ``flask db``.
        """
        if "RELEASE_ALL_LOCKS" in self.keywords:
            return "release only your own lock, by its name:", "op.execute(\"SELECT RELEASE_LOCK('...')\")"
        if self.verb == "LOCK":
            remedy = "remove the LOCK statement: DDL locks its table by itself. To lock rows, write:"
            return remedy, "op.execute('SELECT id FROM ... FOR UPDATE')"
        is_measured = self.verb == "ANALYZE" and not WRITES.isdisjoint(self.keywords[1:5])
        if is_measured or self.keywords[:2] == ["SET", "STATEMENT"]:
            remedy = "remove ANALYZE or SET STATEMENT ... FOR; set a variable in a separate statement before this one:"
            return remedy, "op.execute('SET SESSION max_statement_time = 100')"
        return "", ""

    @cached_property
    def verb(self) -> str:
        """Return the first word of the statement in capitals, e.g. ``ALTER``."""
        return next((word for word in self.keywords if word != "("), "")

    @cached_property
    def kind(self) -> str:
        """Return the kind of object that a DDL statement creates, changes or drops: one of KINDS, such as ``TABLE``.

        CREATE INDEX and DROP INDEX change a table. For all other objects and statements, return an empty string.
        """
        if self.verb not in DEFINES:
            return ""
        head = self.keywords[1:HEAD]
        if self.verb == "TRUNCATE" or self._index_at:
            return "TABLE"
        return next((word for word in head if word in KINDS), "")

    @cached_property
    def _index_at(self) -> int:
        """Return the index in ``names`` of the table's name in CREATE INDEX or DROP INDEX; 0 for other statements."""
        head = self.keywords[:6]
        if self.verb not in ("CREATE", "DROP") or "INDEX" not in head or {*KINDS} & {*head[: head.index("INDEX")]}:
            return 0
        return self.keywords.index("ON") + 1 if "ON" in self.keywords else 0

    @cached_property
    def is_temporary(self) -> bool:
        """Return True if the statement creates or drops a temporary table."""
        return self.verb in DEFINES and "TEMPORARY" in self.keywords[:4]

    @property
    def ends_transaction(self) -> bool:
        """Return True if the statement commits the open transaction (DDL), or may commit it (CALL, SET autocommit).

        Return False for ROLLBACK, which does not commit.
        """
        return self.sets_autocommit or not (self.verb in LEAVES_TRANSACTION_OPEN or self.is_temporary)

    @property
    def commits_implicitly(self) -> bool:
        """Return True if the server always commits before this statement: for DDL, except on temporary tables."""
        return self.verb in DEFINES and not self.is_temporary

    @property
    def writes(self) -> bool:
        """Return True for INSERT, UPDATE, DELETE, REPLACE, LOAD and WITH: these may change rows, and do not commit."""
        return self.verb in WRITES

    @property
    def may_change_rows(self) -> bool:
        """Return False for a query, SET and SAVEPOINT, also if a function that they call changes rows."""
        return self.verb not in READS | {"SAVEPOINT", "ROLLBACK", "RELEASE"}

    @property
    def creates_table(self) -> bool:
        """Return True for CREATE TABLE, also with OR REPLACE or TEMPORARY."""
        return self.verb == "CREATE" and self.kind == "TABLE" and not self._index_at

    @property
    def creates_new(self) -> bool:
        """Return True for CREATE TABLE, VIEW or SEQUENCE without OR REPLACE and IF NOT EXISTS.

        It fails if there is a table, view or sequence of that name.
        """
        is_one = self.creates_table or (self.verb == "CREATE" and self.kind in ("VIEW", "SEQUENCE"))
        return is_one and {"REPLACE", "EXISTS"}.isdisjoint(self.keywords[: HEAD + len(("IF", "NOT", "EXISTS"))])

    @property
    def sets_autocommit(self) -> bool:
        """Return True if the statement sets ``autocommit`` of the session, which may commit the open transaction."""
        return self.verb == "SET" and "AUTOCOMMIT" in self.keywords and "GLOBAL" not in self.keywords

    def is_opaque(self, database: str) -> bool:
        """Return True if the journal cannot record what the statement changes.

        This is so for CALL, EXECUTE, compound statements, SET autocommit, an ALTER TABLE that moves rows to or from a
        partition, and DDL on a table in another schema than ``database``.
        """
        if self.verb in {"CALL", "EXECUTE"} | COMPOUND or self.sets_autocommit:
            return True
        if self.keywords[:3] == ["BEGIN", "NOT", "ATOMIC"] or self._has(MOVES_ROWS):
            return True
        return bool(self._schemas - {database})

    def _has(self, pairs: set[tuple[str, str]]) -> bool:
        """Return True if this is an ALTER TABLE that contains one of these pairs of adjacent words."""
        return self.verb == "ALTER" and self.kind == "TABLE" and not pairs.isdisjoint(pairwise(self.keywords))

    @property
    def _schemas(self) -> set[str]:
        """Return the schemas in the table names of a DDL statement: ``{"shop"}`` for ``DROP TABLE shop.pet``."""
        if "." not in self.keywords or not self.commits_implicitly or self.kind not in ("TABLE", ""):
            return set()
        end = next((at for at, word in enumerate(self.keywords) if word in {"(", "SELECT"}), len(self.keywords))
        return {self.names[at - 1] for at in range(1, end) if self.keywords[at] == "."}

    @cached_property
    def objects(self) -> list[tuple[str, str]]:
        """Return kind and name of each object that a DDL statement creates, changes or drops: ``[("TABLE", "pet")]``.

        A renamed table is listed by its old name, a renamed event by both names. For other statements, return an empty
        list.
        """
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
        """Return the object names of CREATE, ALTER or DROP: ``["pet", "toy"]`` for ``DROP TABLE pet, toy``."""
        start = self._index_at or (self.keywords.index(self.kind) + 1 if self.kind in self.keywords else 1)
        name, at = self.name_at(start)
        found = [name]
        while self.verb == "DROP" and self.keyword(at) == ",":
            name, at = self.name_at(at + 1)
            found.append(name)
        return found

    @property
    def table_of_new_trigger(self) -> str:
        """Return the table of the trigger that CREATE TRIGGER creates; an empty string for other statements."""
        on = self.keywords.index("ON") + 1 if "ON" in self.keywords else 0
        return self.name_at(on)[0] if on and self.verb == "CREATE" and self.kind == "TRIGGER" else ""

    @cached_property
    def renamed_tables(self) -> list[tuple[str, str]]:
        """Return old and new name of each table that the statement renames, in the order of the statement."""
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
        """Return the columns that the statement renames: ``{"new name": "old name"}``."""
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
        """Return True for DROP TABLE and for CREATE OR REPLACE TABLE, which drops an existing table."""
        return self.kind == "TABLE" and not self._index_at and (self.verb == "DROP" or "REPLACE" in self.keywords[:3])

    @property
    def deletes_rows(self) -> bool:
        """Return True for DDL that deletes all rows of a table, rows of a partition, or duplicates (ALTER IGNORE)."""
        return self.drops_tables or self.verb == "TRUNCATE" or self._has(DELETES_ROWS)

    @property
    def may_destroy(self) -> bool:
        """Return True for DDL that may delete rows or change values, e.g. by dropping a column."""
        return bool(self.deletes_rows or self.changed_columns or self.conversion)

    @cached_property
    def changed_columns(self) -> dict[str, Modification | None]:
        """Return the definition that MODIFY or CHANGE gives each column, by its old name; None for a dropped one."""
        found: dict[str, Modification | None] = {}
        if self.verb != "ALTER" or self.kind != "TABLE":
            return found
        for at, word in enumerate(self.keywords):
            start = at + 1 + (self.keyword(at + 1) == "COLUMN")
            if word == "DROP" and self.keyword(start) not in HOLDS_NO_VALUES:
                found[self.name_at(start)[0].lower()] = None
            elif word in {"MODIFY", "CHANGE"}:
                name, after = self.name_at(start)
                begin = after if word == "MODIFY" else self.name_at(after)[1]
                found[name.lower()] = Modification(self.type_at(begin), self.clause_at(begin))
        return found

    @property
    def conversion(self) -> tuple[str, ...]:
        """Return the words of the clause CONVERT TO CHARACTER SET in capitals; an empty tuple if there is none."""
        return self.clause_at(self.keywords.index("CONVERT")) if self._has({("CONVERT", "TO")}) else ()

    @property
    def target(self) -> str:
        """Return the table whose rows an INSERT, UPDATE, DELETE, REPLACE or LOAD changes; else an empty string.

        If an UPDATE or DELETE joins several tables, this is the one that it names first.
        """
        if self.verb == "LOAD":
            at = self.keywords.index("TABLE") + 1 if "TABLE" in self.keywords else len(self.names)
        else:
            at = self.keywords.index(self.verb) + 1
            while self.keyword(at) in BEFORE_TARGET:
                at += 1
        return self.name_at(at)[0] if self.verb in WRITES - {"WITH"} else ""

    @property
    def assigned(self) -> set[str]:
        """Return the names of the columns that an UPDATE sets; an empty set for other statements."""
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


@lru_cache(maxsize=8)
def read(text: str) -> Statement:
    """Return the statement, which is read once if it soon comes again, as the entries of the log do."""
    return Statement(text)
