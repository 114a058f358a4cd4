"""The text of a CREATE TABLE: it says what neither SQLAlchemy nor a PRAGMA reads in full."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

COMMENT = r"--[^\n]*|/\*.*?\*/"
QUOTED = r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]"
HIDDEN = re.compile(f"(?P<comment>{COMMENT})|{QUOTED}", re.DOTALL)
PART = re.compile(rf"{COMMENT}|({QUOTED}|\w+|[^\w\s])", re.DOTALL)
CONSTRAINTS = {"CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN"}

# What a column or a constraint can say and SQLAlchemy does not read, or reads in part.
FEATURES = {
    name: re.compile(rf"\b{pattern}", re.IGNORECASE)
    for name, pattern in {
        "AUTOINCREMENT": r"AUTOINCREMENT\b",
        "COLLATE": r"COLLATE\b",
        "a CHECK constraint": r"CHECK\s*\(",
        "a generated column": r"AS\s*\(",
        "ON DELETE": r"ON\s+DELETE\b",
        "ON UPDATE": r"ON\s+UPDATE\b",
        "ON CONFLICT": r"ON\s+CONFLICT\b",
        "DEFERRABLE": r"DEFERRABLE\b",
    }.items()
}


@dataclass(frozen=True)
class Clause:
    """The definition of a column or a constraint, as typed, and with comments and everything quoted hidden."""

    text: str
    masked: str

    @property
    def kind(self) -> str:
        """Return the first word of a constraint, CONSTRAINT if it has a name; empty for a column."""
        first = self.masked.split(None, 1)[0].partition("(")[0].upper()
        return first if first in CONSTRAINTS else ""

    @property
    def name(self) -> str:
        """Return the name of the column or constraint in lower case; empty for a constraint without one."""
        found = re.match(r"\s*(?:CONSTRAINT\s+)?([^\s(]+)", self.masked, re.IGNORECASE)
        assert found is not None
        return "" if self.kind not in ("", "CONSTRAINT") else unquoted(self.text[found.start(1) : found.end(1)])

    def matches(self, pattern: str) -> list[str]:
        """Return what matches outside of quotes and comments."""
        found = re.finditer(rf"\b(?:{pattern})", self.masked, re.IGNORECASE)
        return [normalized(self.text[each.start() : each.end()]) for each in found]

    def inside(self, word: str) -> list[str]:
        """Return what stands in the parentheses after each ``word``, as typed."""
        texts = []
        for found in re.finditer(rf"\b{word}\s*\(", self.masked, re.IGNORECASE):
            depth, end = 1, found.end()
            while depth and end < len(self.masked):
                depth += (self.masked[end] == "(") - (self.masked[end] == ")")
                end += 1
            texts.append(self.text[found.end() : end - 1])
        return texts


@dataclass(frozen=True)
class TableText:
    """A CREATE TABLE, cut into its columns and constraints."""

    clauses: list[Clause]
    options: set[str]
    """STRICT and WITHOUT ROWID, which follow the last parenthesis."""

    @classmethod
    def of(cls, sql: str) -> "TableText":
        """Cut the statement at the commas between its columns and constraints."""
        masked = HIDDEN.sub(lambda found: (" " if found["comment"] else "_") * len(found[0]), sql)
        clauses, depth, start = [], 0, 0
        for at, sign in enumerate(masked):
            depth += (sign == "(") - (sign == ")")
            if (sign == "," and depth == 1) or (sign == ")" and not depth):
                clauses.append(Clause(sql[start:at], masked[start:at]))
            if (sign in "(," and depth == 1) or (sign == ")" and not depth):
                start = at + 1
        options = " ".join(masked[start:].upper().split())
        return cls(
            [clause for clause in clauses if clause.masked.strip()],
            {option for option in ("STRICT", "WITHOUT ROWID") if option in options},
        )

    @property
    def generated(self) -> dict[str, str]:
        """Return the expressions of generated columns, as typed, by the name of the column.

        SQLAlchemy misses AS without GENERATED ALWAYS, and reads too much if the line goes on.
        """
        columns = (clause for clause in self.clauses if not clause.kind)
        return {clause.name: found for clause in columns for found in clause.inside("AS")}


def features(clauses: Iterable[Clause]) -> Counter[str]:
    """Return how often the clauses say each of FEATURES."""
    return Counter(
        name for clause in clauses for name, pattern in FEATURES.items() for _found in pattern.finditer(clause.masked)
    )


def normalized(sql: str) -> str:
    """Return the statement with single spaces, without comments, and names without quotes in upper case."""
    parts = (part for part in PART.findall(sql) if part)
    return " ".join(part if part[0] == "'" else unquoted(part).upper() for part in parts)


def unquoted(name: str) -> str:
    """Return a name without quotes in lower case, as SQLite compares names."""
    return (name[1:-1].replace(name[-1] * 2, name[-1]) if name[:1] in ('"', "`", "[") else name).lower()
