"""A tokenizer, which splits SQL into statements and words; all but the journal of MySQL (tokens.py) uses it.

sqlglot recognizes comments, strings and names of each database. It is imported when the first SQL is split.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from .facts import Facts

# CREATE of these contains other statements, with semicolons between them.
ROUTINES = {"TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE"}
OPENS_BLOCK = {"BEGIN", "CASE"}
OPENS_BLOCK_AT_START = {"IF", "LOOP", "WHILE", "REPEAT", "FOR"}
STARTS = {";", ":", "BEGIN", "THEN", "ELSE", "DO", "ROW", "LOOP", "REPEAT"}
# One of ROUTINES is looked for in so many first words: CREATE OR REPLACE DEFINER = a @ b SQL SECURITY DEFINER VIEW.
HEAD = 15


@dataclass(frozen=True)
class Word:
    """A word of SQL: a name, a keyword, a string, a number or a sign such as a comma."""

    text: str
    """The word without quotes."""
    start: int
    end: int
    """The position of its last character."""
    is_name: bool
    """Whether the word can be the name of a table and the like; many keywords can, too."""
    keyword: str
    """The word in upper case; empty for a string and for a name in quotes."""

    @property
    def is_string(self) -> bool:
        """Return True if the word is a string, whatever its quotes."""
        return not self.keyword and not self.is_name


@dataclass(frozen=True)
class Words:
    """The words of an SQL statement, or of a part of a statement."""

    source: str
    words: list[Word]
    facts: Facts

    @property
    def text(self) -> str:
        """Return the SQL from the first word to the last, as it was written."""
        return self.source[self.words[0].start : self.words[-1].end + 1] if self.words else ""

    @cached_property
    def keywords(self) -> str:
        """Return the words in upper case with spaces between them; a string or a name in quotes is left empty.

        E.g. the keywords of ``drop table "pet" cascade`` are ``DROP TABLE  CASCADE``, with two spaces.
        """
        return " ".join(word.keyword for word in self.words)

    def part(self, start: int, end: int | None = None) -> "Words":
        """Return the words from index ``start`` up to index ``end``, like a slice."""
        return Words(self.source, self.words[start:end], self.facts)

    def parts(self) -> list["Words"]:
        """Return the parts that commas separate; a comma in parentheses does not."""
        found: list[list[Word]] = [[]]
        depth = 0
        for word in self.words:
            depth += {"(": 1, ")": -1}.get(word.keyword, 0)
            if word.keyword == "," and not depth:
                found.append([])
            else:
                found[-1].append(word)
        return [Words(self.source, part, self.facts) for part in found if part]

    def group(self) -> tuple[list["Words"], "Words"] | None:
        """Return the parts that commas separate in the parentheses at the beginning, and the words after them.

        Return None if the first word is not an opening parenthesis, or is never closed.
        """
        depth = 0
        for at, word in enumerate(self.words):
            depth += {"(": 1, ")": -1}.get(word.keyword, 0)
            if not depth:
                return (self.part(1, at).parts(), self.part(at + 1)) if at else None
        return None

    def name(self) -> tuple[str, str | None] | None:
        """Return the name at the beginning and its schema: ``("pet", "shop")`` for ``shop.pet``.

        The schema is None if there is none or it is the default one. Return None if the first word, or one after a
        dot, is not a name.
        """
        names = []
        for at in range(0, len(self.words), 2):
            word = self.words[at]
            if not word.is_name:
                return None
            names.append(word.text.lower() if self.facts.folds_names and word.keyword else word.text)
            if at + 1 == len(self.words) or self.words[at + 1].keyword != ".":
                schema = names[-2] if len(names) > 1 else None
                return names[-1], None if schema == self.facts.default_schema else schema
        return None


def statements(text: str, facts: Facts) -> Iterator[Words]:
    """Yield each statement of ``text``; CREATE TRIGGER and the like, with its body, is one statement.

    Raise sqlglot's TokenError if ``text`` cannot be split, e.g. because of a string without an end.
    """
    if facts.runs_comments:
        text = re.sub(r"/\*M?!\d*(.*?)\*/", r" \1 ", text, flags=re.DOTALL)
    found: list[Word] = []
    depth = 0
    for word in _words(text, facts.grammar):
        if _is_routine(found):
            depth = max(0, depth + _deeper(found, word.keyword))
        elif len(found) == 2 and _begins_block([*found, word]):
            depth = 1
        if word.keyword != ";" or depth:
            found.append(word)
        elif found:
            yield Words(text, found, facts)
            found = []
    if found:
        yield Words(text, found, facts)


def _words(text: str, grammar: str) -> Iterator[Word]:
    from sqlglot.tokens import TokenType

    names = {TokenType.VAR, TokenType.IDENTIFIER}
    for token in _tokenizer(grammar)().tokenize(text):
        is_string = token.token_type.name.endswith("STRING")
        keyword = "" if is_string or token.token_type is TokenType.IDENTIFIER else token.text.upper()
        yield Word(token.text, token.start, token.end, token.token_type in names, keyword)


@cache
def _tokenizer(grammar: str) -> Any:
    """Return sqlglot's tokenizer for ``grammar``, changed to give one token per word; it joins GROUP BY by default."""
    from sqlglot.dialects.dialect import Dialect

    base: Any = Dialect.get_or_raise(grammar).tokenizer_class

    class Tokenizer(base):  # type: ignore[misc]
        KEYWORDS = {key: kind for key, kind in base.KEYWORDS.items() if not re.search(r"\w", key)}
        COMMANDS: set[Any] = set()

    return Tokenizer


def _is_routine(found: list[Word]) -> bool:
    if found and found[0].keyword == "CREATE":
        return not ROUTINES.isdisjoint(word.keyword for word in found[:HEAD])
    return _begins_block(found)


def _begins_block(found: list[Word]) -> bool:
    return [word.keyword for word in found[:3]] == ["BEGIN", "NOT", "ATOMIC"]


def _deeper(found: list[Word], keyword: str) -> int:
    """Return 1 if the word after ``found`` opens a block, as BEGIN does, -1 if it is END, which closes one, else 0."""
    before = found[-1].keyword
    if keyword == "END":
        return -1
    if before == "END":
        return 0
    return int(keyword in OPENS_BLOCK or (keyword in OPENS_BLOCK_AT_START and before in STARTS))
