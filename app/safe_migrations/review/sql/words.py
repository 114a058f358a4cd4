"""SQL as words: what is a comment, a string or a name is the database's grammar, and sqlglot's to know."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ...adapters.facts import Facts
from ...adapters.products import FACTS

# What has statements of its own, and semicolons between them.
ROUTINES = {"TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE"}
OPENS_BLOCK = {"BEGIN", "CASE"}
OPENS_BLOCK_AT_START = {"IF", "LOOP", "WHILE", "REPEAT", "FOR"}
STARTS = {";", ":", "BEGIN", "THEN", "ELSE", "DO", "ROW", "LOOP", "REPEAT"}


class Unreadable(Exception):  # noqa: N818  # no error of anybody's
    """SQL that is none, or of a kind that is not known here."""


@dataclass(frozen=True)
class Word:
    """A name, a keyword, a string, a number or a sign."""

    text: str
    """Without quotes."""
    start: int
    end: int
    is_name: bool
    """Whether it may be the name of something."""
    keyword: str
    """In capitals; empty where it is quoted."""


@dataclass
class Words:
    """The words of a statement or of a part, read from the left."""

    source: str
    words: list[Word]
    facts: Facts
    at: int = field(default=0)

    @property
    def text(self) -> str:
        """All of it, as written."""
        return self.source[self.words[0].start : self.words[-1].end + 1] if self.words else ""

    @property
    def rest(self) -> str:
        """What is not read yet, as written."""
        return self.source[self.words[self.at].start : self.words[-1].end + 1] if not self.done else ""

    @property
    def done(self) -> bool:
        """Whether all is read."""
        return self.at >= len(self.words)

    def keyword(self, ahead: int = 0) -> str:
        """The word there; empty behind the end, and where it is quoted."""
        at = self.at + ahead
        return self.words[at].keyword if at < len(self.words) else ""

    def follows(self, *keywords: str) -> bool:
        """Whether these are the next words."""
        return all(self.keyword(ahead) == keyword for ahead, keyword in enumerate(keywords))

    def has(self, *keywords: str) -> bool:
        """Whether these are to be read yet, one behind the other."""
        later = [word.keyword for word in self.words[self.at :]]
        return any(later[at : at + len(keywords)] == list(keywords) for at in range(len(later)))

    def take(self, *keywords: str) -> bool:
        """Read these words, if they are the next ones."""
        if not self.follows(*keywords):
            return False
        self.at += len(keywords)
        return True

    def take_any(self, *keywords: str) -> str:
        """Read the next word, if it is one of these."""
        return self.next().keyword if self.keyword() in keywords and not self.done else ""

    def next(self) -> Word:
        """Read a word. Raises Unreadable behind the end."""
        if self.done:
            raise Unreadable(self.text)
        self.at += 1
        return self.words[self.at - 1]

    def name(self) -> str:
        """Read a name, as the database keeps it. Raises Unreadable if there is none."""
        word = self.next()
        if not word.is_name:
            raise Unreadable(self.text)
        return word.text.lower() if self.facts.folds_names and word.keyword else word.text

    def qualified(self) -> tuple[str, str | None]:
        """Read a name and the schema before it, None if that is the one where all is."""
        parts = [self.name()]
        while self.take("."):
            parts.append(self.name())
        schema = parts[-2] if len(parts) > 1 else None
        return parts[-1], None if schema == self.facts.default_schema else schema

    def group(self) -> list["Words"]:
        """Read what stands in parentheses, in parts between commas. Raises Unreadable if there is none."""
        if not self.take("("):
            raise Unreadable(self.text)
        start, depth = self.at, 1
        while depth:
            depth += {"(": 1, ")": -1}.get(self.next().text, 0)
        return Words(self.source, self.words[start : self.at - 1], self.facts).parts()

    def parts(self) -> list["Words"]:
        """What is not read yet, between the commas that stand in no parentheses."""
        found: list[list[Word]] = [[]]
        depth = 0
        for word in self.words[self.at :]:
            depth += {"(": 1, ")": -1}.get(word.keyword, 0)
            if word.keyword == "," and not depth:
                found.append([])
            else:
                found[-1].append(word)
        return [Words(self.source, part, self.facts) for part in found if part]

    def skip_group(self) -> str:
        """Read what stands in parentheses; as written, without them."""
        parts = self.group()
        return self.source[parts[0].words[0].start : parts[-1].words[-1].end + 1] if parts else ""


def statements(text: str, dialect: str) -> Iterator[Words]:
    """The statements of a text, of a routine its whole body. Raises sqlglot's TokenError."""
    facts = FACTS[dialect]()
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
    """Sqlglot's, but each word is one: keywords of several words, or that swallow a statement, are for its parser."""
    from sqlglot.dialects.dialect import Dialect

    base: Any = Dialect.get_or_raise(grammar).tokenizer_class

    class Tokenizer(base):  # type: ignore[misc]
        KEYWORDS = {key: kind for key, kind in base.KEYWORDS.items() if not re.search(r"\w", key)}
        COMMANDS: set[Any] = set()

    return Tokenizer


def _is_routine(found: list[Word]) -> bool:
    if found and found[0].keyword == "CREATE":
        return not ROUTINES.isdisjoint(word.keyword for word in found[:15])
    return _begins_block(found)


def _begins_block(found: list[Word]) -> bool:
    return [word.keyword for word in found[:3]] == ["BEGIN", "NOT", "ATOMIC"]


def _deeper(found: list[Word], keyword: str) -> int:
    """How many blocks more there are around what follows the word."""
    before = found[-1].keyword
    if keyword == "END":
        return -1
    if before == "END":
        return 0
    return int(keyword in OPENS_BLOCK or (keyword in OPENS_BLOCK_AT_START and before in STARTS))
