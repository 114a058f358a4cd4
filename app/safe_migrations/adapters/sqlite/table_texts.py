"""A parser for CREATE TABLE, which has details that neither SQLAlchemy nor a PRAGMA returns, e.g. ON CONFLICT."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ..sql_words import Words, statements
from .facts import SQLiteFacts

CONSTRAINTS = {"CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN"}

# What a column or a constraint can say and SQLAlchemy does not read, or reads in part.
FEATURES = {
    "AUTOINCREMENT": r"\bAUTOINCREMENT\b",
    "COLLATE": r"\bCOLLATE\b",
    "a generated column": r"\bAS \(",
    "ON DELETE": r"\bON DELETE\b",
    "ON UPDATE": r"\bON UPDATE\b",
    "ON CONFLICT": r"\bON CONFLICT\b",
    "DEFERRABLE": r"\bDEFERRABLE\b",
}


@dataclass(frozen=True)
class Clause:
    """The definition of one column or one table constraint in a CREATE TABLE."""

    words: Words

    @property
    def kind(self) -> str:
        """Return the first keyword of a constraint (CONSTRAINT if it is named, else CHECK etc.); empty for a column."""
        first = self.words.words[0].keyword
        return first if first in CONSTRAINTS else ""

    @property
    def name(self) -> str:
        """Return the name of the column or constraint in lower case; an empty string for an unnamed constraint."""
        if self.kind not in ("", "CONSTRAINT"):
            return ""
        return self.words.words[1 if self.kind else 0].text.lower()

    def inside(self, keyword: str) -> list[Words]:
        """Return the words in the parentheses after each ``keyword``: for CHECK, each condition."""
        found = []
        for at, word in enumerate(self.words.words):
            behind = self.words.part(at + 1)
            if word.keyword == keyword and (group := behind.group()):
                found.append(behind.part(1, len(behind.words) - len(group[1].words) - 1))
        return found


@dataclass(frozen=True)
class TableText:
    """A CREATE TABLE statement, split into the definitions of its columns and constraints."""

    clauses: list[Clause]
    options: set[str]
    """The options after the last parenthesis: STRICT, WITHOUT ROWID, both or neither."""

    @classmethod
    def of(cls, sql: str) -> "TableText":
        """Return the CREATE TABLE statement ``sql``, split into its columns and constraints."""
        words = _words(sql)
        start = next((at for at, word in enumerate(words.words) if word.keyword == "("), len(words.words))
        clauses, rest = words.part(start).group() or ([], words.part(start))
        return cls(
            [Clause(each) for each in clauses],
            {option for option in ("STRICT", "WITHOUT ROWID") if option in rest.keywords},
        )

    @property
    def generated(self) -> dict[str, str]:
        """Return the expression of each generated column, as written, by the column's name in lower case.

        For example ``{"total": "price * amount"}``. SQLAlchemy reads none without the words GENERATED ALWAYS, and too
        much if more text follows on the line.
        """
        columns = (clause for clause in self.clauses if not clause.kind)
        return {clause.name: found.text for clause in columns for found in clause.inside("AS")}


def features(clauses: Iterable[Clause]) -> Counter[str]:
    """Return the counts of FEATURES and CHECKs in the clauses, e.g. ``{"COLLATE": 2, "CHECK (A > 0)": 1}``."""
    found: Counter[str] = Counter()
    for clause in clauses:
        found.update(name for name, each in FEATURES.items() for _ in re.findall(each, clause.words.keywords))
        found.update(f"CHECK ({normalized(each)})" for each in clause.inside("CHECK"))
    return found


def normalized(sql: str | Words) -> str:
    """Return SQL in a form to compare: no comments, single spaces, names unquoted, all but strings in upper case."""
    words = _words(sql) if isinstance(sql, str) else sql
    return " ".join(f"'{word.text}'" if word.is_string else word.text.upper() for word in words.words)


def _words(sql: str) -> Words:
    return next(statements(sql, SQLiteFacts()), Words(sql, [], SQLiteFacts()))
