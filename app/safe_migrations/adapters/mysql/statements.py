"""What a statement of MySQL or MariaDB does: whether it commits, what it names, renames and takes away.

Read by its words, for what is asked is little, and a statement that is no valid SQL is the server's to refuse.
"""

from functools import cached_property

from .modifications import Modification
from .tokens import Tokens

KINDS = ("TABLE", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "SEQUENCE")

DEFINES = {"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE"}
# The compound statements that MariaDB takes outside of routines; BEGIN is one if NOT ATOMIC follows.
COMPOUND = {"IF", "CASE", "LOOP", "WHILE", "REPEAT", "FOR"}
# All others end the transaction first (MySQL manual, "Statements That Cause an Implicit Commit"), or may.
WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "LOAD"}
READS = {"SELECT", "VALUES", "DO", "SHOW", "SET", "USE", "DESCRIBE", "DESC", "EXPLAIN"}
LEAVES_TRANSACTION_OPEN = WRITES | READS | {"SAVEPOINT", "ROLLBACK", "RELEASE"}
# VIEW is the 15th word of CREATE OR REPLACE ALGORITHM = x DEFINER = a @ b SQL SECURITY DEFINER VIEW.
HEAD = 15
MAY_TAKE_ROWS = {"CONVERT", "PARTITION", "IGNORE"}
# What may stand behind ALTER TABLE ... DROP and holds no values.
HOLDS_NO_VALUES = {"INDEX", "KEY", "CONSTRAINT", "FOREIGN", "PRIMARY", "CHECK", "DEFAULT", "PARTITION"}


class Statement(Tokens):
    """One statement; names are as written, without quotes and schema.

    Those of columns are in lower case, for the servers compare them without case on every platform, and no others.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        start = self._start()
        self.settings = {name.lower() for name in self.names[:start]}
        del self.names[:start], self.keywords[:start]
        if self.verb in DEFINES:
            self.keywords[:3] = ["TABLE" if word == "TABLES" else word for word in self.keywords[:3]]

    def _start(self) -> int:
        """Where the statement begins that MariaDB runs behind SET STATEMENT ... FOR or ANALYZE FORMAT = x."""
        if self.keywords[:2] == ["SET", "STATEMENT"] and "FOR" in self.keywords:
            return self.keywords.index("FOR") + 1
        at = 4 if self.keywords[1:2] == ["FORMAT"] else 1
        return at if self.keywords[:1] == ["ANALYZE"] and self.keyword(at) in WRITES | READS else 0

    @cached_property
    def verb(self) -> str:
        """Its first word: ``ALTER``."""
        return next((word for word in self.keywords if word != "("), "")

    @property
    def ends_transaction(self) -> bool:
        """Whether it commits what was done before it."""
        return bool(self.autocommit) or not (self.verb in LEAVES_TRANSACTION_OPEN or self.is_temporary)

    @cached_property
    def is_temporary(self) -> bool:
        """Whether it makes or drops a table of the session alone."""
        return self.verb in DEFINES and "TEMPORARY" in self.keywords[:4]

    @property
    def is_compound(self) -> bool:
        """Whether it has statements of its own."""
        return self.verb in COMPOUND or self.keywords[:3] == ["BEGIN", "NOT", "ATOMIC"]

    @property
    def autocommit(self) -> bool | None:
        """Whether each statement from here on is committed by itself; None if it does not say."""
        if self.verb != "SET" or "AUTOCOMMIT" not in self.keywords or "GLOBAL" in self.keywords:
            return None
        at = self.keywords.index("AUTOCOMMIT") + 1
        at += self.keyword(at) == ":"
        return self.keyword(at + 1) in {"1", "ON", "TRUE"}

    @property
    def engine(self) -> str:
        """The engine that it gives its table, or nothing."""
        if self.kind != "TABLE" or "ENGINE" not in self.keywords:
            return ""
        at = self.keywords.index("ENGINE") + 1
        return self.keyword(at + (self.keyword(at) == "="))

    @property
    def surely_commits(self) -> bool:
        """Whether the server commits before it runs: not for a temporary table, CALL or EXECUTE, which only may."""
        return self.verb in DEFINES and not self.is_temporary

    @property
    def schemas(self) -> set[str]:
        """The schemas that a DDL statement names with its tables, before its columns or its query."""
        if "." not in self.keywords:  # as in most statements: the rest costs a pass over all words
            return set()
        ends = {"(", "SELECT"}
        end = next((at for at, word in enumerate(self.keywords) if word in ends), len(self.keywords))
        found = {self.names[at - 1] for at in range(1, end) if self.keywords[at] == "."}
        return found if self.surely_commits and self.kind in {"TABLE", ""} else set()

    @property
    def writes(self) -> bool:
        """Whether it changes rows, and leaves the transaction open."""
        return self.verb in WRITES

    @cached_property
    def kind(self) -> str:
        """Of what CREATE, ALTER, DROP, RENAME and TRUNCATE speak: one of KINDS, or nothing."""
        if self.verb == "TRUNCATE" or self.verb not in DEFINES:
            return "TABLE" if self.verb == "TRUNCATE" else ""
        head = self.keywords[1:HEAD]
        head = head[: head.index("INDEX")] if "INDEX" in head else head
        return next((word for word in head if word in KINDS), "")

    @cached_property
    def objects(self) -> list[tuple[str, str]]:
        """Kind and name of each object that it creates, alters or drops: ``[("TABLE", "user")]``."""
        if self.kind and self.surely_commits and self.verb != "RENAME":
            found = [(self.kind, name) for name in self._named]
            if self.verb == "ALTER" and self.kind == "EVENT" and "RENAME" in self.keywords:
                found.append(("EVENT", self.name_at(self.keywords.index("RENAME") + 2)[0]))
            return found + [("TABLE", new) for new in [*(new for _, new in self.renamed_tables), *self._other_tables]]
        return [("TABLE", name) for pair in self.renamed_tables for name in pair]

    @property
    def temporary_tables(self) -> list[str]:
        """Those that it makes or drops."""
        return self._named if self.is_temporary and self.kind == "TABLE" else []

    @property
    def triggers_table(self) -> str:
        """The table on which it creates a trigger, or nothing."""
        on = self.keywords.index("ON") + 1 if "ON" in self.keywords else 0
        return self.name_at(on)[0] if on and self.verb == "CREATE" and self.kind == "TRIGGER" else ""

    @property
    def _named(self) -> list[str]:
        """The names behind its kind: one, or all that it drops."""
        name, at = self.name_at(self.keywords.index(self.kind) + 1 if self.kind in self.keywords else 1)
        found = [name]
        while self.verb == "DROP" and self.keyword(at) == ",":
            name, at = self.name_at(at + 1)
            found.append(name)
        return found

    @property
    def changes_rows_of(self) -> set[str]:
        """The tables whose rows an ALTER TABLE may take or cast; not those that it only refers to."""
        return {name for kind, name in self.objects if kind == "TABLE"} if self.verb == "ALTER" else set()

    @property
    def _other_tables(self) -> list[str]:
        """Those that give or take a partition: EXCHANGE PARTITION p WITH TABLE t, CONVERT PARTITION p TO TABLE t."""
        if self.verb != "ALTER" or self.kind != "TABLE":
            return []
        start = self.keywords.index("TABLE") + 1
        return [self.name_at(at + 1)[0] for at, word in enumerate(self.keywords) if word == "TABLE" and at > start]

    @cached_property
    def renamed_tables(self) -> list[tuple[str, str]]:
        """Old and new name of each table that it renames, in its order."""
        found = []
        if self.verb == "RENAME" and self.keyword(1) in {"TABLE", "TABLES"}:
            at = 1
            while at == 1 or self.keyword(at) == ",":
                old, at = self.name_at(at + 1)
                new, at = self.name_at(at + 1)
                found.append((old, new))
        elif self.verb == "ALTER" and self.kind == "TABLE":
            for at, word in enumerate(self.keywords):
                if word == "RENAME" and self.keyword(at + 1) not in {"COLUMN", "INDEX", "KEY"}:
                    new, _ = self.name_at(at + 1 + (self.keyword(at + 1) in {"TO", "AS", "="}))
                    found.append((self.name_at(self.keywords.index("TABLE") + 1)[0], new))
        return found

    @cached_property
    def renamed_columns(self) -> dict[str, str]:
        """The old name for each new one."""
        found = {}
        for at, word in enumerate(self.keywords):
            if word == "CHANGE":
                old, after = self.name_at(at + 1 + (self.keyword(at + 1) == "COLUMN"))
                found[self.name_at(after)[0].lower()] = old.lower()
            elif word == "RENAME" and self.keyword(at + 1) == "COLUMN":
                old, after = self.name_at(at + 2)
                found[self.name_at(after + 1)[0].lower()] = old.lower()
        return found

    @property
    def takes_tables(self) -> bool:
        """Whether rows go with it, all of them."""
        return self.kind == "TABLE" and (self.verb in {"DROP", "TRUNCATE"} or "REPLACE" in self.keywords[:3])

    @property
    def takes_all_rows(self) -> bool:
        """Whether it takes tables, or may take any row of one."""
        return self.takes_tables or (self.verb == "ALTER" and bool(MAY_TAKE_ROWS & set(self.keywords)))

    @cached_property
    def taken_columns(self) -> dict[str, Modification | None]:
        """Each column whose values go or are cast: what it becomes, or None if it goes."""
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
    def target(self) -> str:
        """The table into which it inserts, or nothing."""
        into = self.keywords.index("INTO") + 1 if "INTO" in self.keywords else 0
        return self.name_at(into)[0] if into and self.verb in {"INSERT", "REPLACE"} else ""

    @property
    def assigned(self) -> set[str]:
        """The columns that an UPDATE sets."""
        start = self.keywords.index("SET") if self.verb == "UPDATE" and "SET" in self.keywords else len(self.keywords)
        found: set[str] = set()
        depth = 0
        for at in range(start + 1, len(self.keywords)):
            depth += (self.keywords[at] == "(") - (self.keywords[at] == ")")
            if self.keywords[at] == "WHERE" and not depth:
                break
            if self.keywords[at] == "=":
                found.add(self.names[at - 1].lower())
        return found

    def _modification(self, at: int) -> Modification:
        return Modification(self.type_at(at), self.clause_at(at))
