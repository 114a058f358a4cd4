"""The limits of a rehearsal: a statement that would change more than the copy is refused before it runs.

The server of the copy may be that of the app, with other databases, roles and files. Triggers and routines of the copy
are checked too, and dynamic SQL that cannot be read is refused.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import URL
from sqlglot.errors import TokenError

from ..adapters import Adapter
from ..adapters.base import Outside, listening
from ..adapters.facts import Facts
from ..database import Database
from ..errors import UnsafeError
from ..review.sql.words import Word, Words, statements

WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "LOAD", "TRUNCATE", "CALL", "MERGE"}
BEGINS = re.compile(r"\s*[a-z]{3}", re.IGNORECASE)
BREAKS_OFF = re.compile(r"\s*(CREATE|ALTER|DROP|GRANT|REVOKE|COMMENT\s+ON)\s*(%|$)", re.IGNORECASE)
# What follows the EXECUTE of a trigger, of a right, or of MariaDB.
NOT_DYNAMIC = {"FUNCTION", "PROCEDURE", "ON", "IMMEDIATE"}
# What stands in SQL for a name or value that functions of PostgreSQL, and signs of its format(), put into it quoted.
FILLED_IN = "\x1a"
QUOTED = {
    "quote_ident": f'"{FILLED_IN}"',
    "quote_literal": f"'{FILLED_IN}'",
    "quote_nullable": f"'{FILLED_IN}'",
    "I": f'"{FILLED_IN}"',
    "L": f"'{FILLED_IN}'",
    "%": "%",
}
# Statements that no name or value, put into them with quotes, makes into another kind.
KEEPS_KIND = re.compile(
    r"(ALTER|CREATE|DROP) (TABLE|INDEX|SEQUENCE|VIEW|TYPE|TRIGGER|SCHEMA)\b|CREATE UNIQUE INDEX\b"
    r"|COMMENT ON (TABLE|COLUMN)\b"
    r"|INSERT INTO\b|UPDATE\b|DELETE FROM\b|SELECT\b|TRUNCATE\b|ANALYZE\b|REFRESH MATERIALIZED VIEW\b"
)


@contextmanager
def confined(scratch: Adapter, real: URL, is_shared: bool) -> Iterator[None]:
    """Refuse statements on the copy ``scratch`` that reach the database ``real``, or its server if the two share that.

    Raises UnsafeError for a trigger or a routine of the copy that does.
    """
    with scratch.engine.connect() as connection:
        facts = Database(connection).facts
        if is_shared:
            scratch.databases.confine(connection)
    scratch.engine.dispose()  # sessions that began before confine() are not confined
    with scratch.engine.connect() as connection:
        outside = scratch.databases.outside(connection, real, is_shared)
    reach = Reach(facts, outside, is_shared)
    for name, text in outside.code.items():
        reach.refuse(text, f"the {name}")

    def check(statement: str) -> None:
        reach.refuse(statement, f"the statement {statement[:80]!r}")

    def before(_connection: object, cursor: Any, statement: str, *_others: Any) -> None:
        check(statement)
        with suppress(AttributeError):  # a cursor of another class than _checking() returns
            cursor.is_checked = True

    def connected(session: Any, _record: object) -> None:
        for name in scratch.databases.cursor_classes:
            if hasattr(session, name):
                setattr(session, name, _checking(getattr(session, name), check))

    scratch.engine.dispose()
    with listening(scratch.engine, {"connect": connected, "before_cursor_execute": before}):
        yield


def _checking(cursors: type, check: Callable[[str], None]) -> type:
    """Return a subclass of a driver's cursors that checks what a script runs on them without SQLAlchemy."""

    def checked(name: str) -> Callable[..., Any]:
        method = getattr(cursors, name)

        def call(self: Any, statement: Any, *args: Any, **options: Any) -> Any:
            if not self.is_checked:
                text = statement.as_string(None) if hasattr(statement, "as_string") else statement
                text = text.decode() if isinstance(text, bytes) else text
                check(f"CALL {text}()" if name == "callproc" else text)
            return method(self, statement, *args, **options)

        return call

    names = [name for name in ("execute", "executemany", "callproc", "copy", "stream") if hasattr(cursors, name)]
    return type(cursors.__name__, (cursors,), {"is_checked": False, **{name: checked(name) for name in names}})


class Reach:
    """Finds in SQL what it may change ``outside`` its database."""

    def __init__(self, facts: Facts, outside: Outside, is_shared: bool) -> None:
        self.facts = facts
        self.outside = outside
        self.is_shared = is_shared
        self.views: set[str] = set()
        while found := {
            name.lower()
            for name, text in outside.views.items()
            if name.lower() not in self.views and self.found(text, in_code=True)
        }:
            self.views |= found  # and those that read them

    def refuse(self, text: str, what: str) -> None:
        """Raise UnsafeError if ``text`` reaches out or cannot be read; ``what`` names it in the message."""
        try:
            found = self.found(text.replace("%%", "%"))
        except TokenError:
            found = "cannot be read"
        if found:
            url = f"export MIGRATION_REHEARSAL_URL={self.facts.product}://USER:PASSWORD@OTHER_SERVER"
            way_out = (
                ("run it outside of the migrations.",)
                if self.facts.dialect == "sqlite"
                else ("rehearse on a server of its own, from which nothing else can be reached:", url)
            )
            raise UnsafeError(f"{what} can change more than the copy of a rehearsal ({found}).", *way_out)

    def found(self, text: str, in_code: bool = False) -> str:
        """Return in a few words what ``text`` reaches; an empty text if it reaches nothing."""
        read = list(statements(text, self.facts.product))
        dynamic = (self._found_in_dynamic(each) for each in read if in_code)
        return next(filter(None, (*dynamic, *(self._found_in(each, in_code) for each in read))), "")

    def _found_in(self, words: Words, in_code: bool) -> str:
        keywords = " ".join(word.keyword for word in words.words)
        holds_code = self.facts.holds_code is not None and self.facts.holds_code.match(keywords) is not None
        in_code = in_code or holds_code
        if named := self._named(words.words):
            return named
        if in_code or words.keyword() in WRITES:
            through = self.views & {word.text.lower() for word in words.words}
            if through:
                return f"the view {min(through)}"
        if not self.is_shared:
            return ""
        if (reaches := self.facts.reaches_out) and (out := (reaches.search if in_code else reaches.match)(keywords)):
            return out[0][-60:].strip()
        strings = [word.text for word in words.words if _is_string(word)] if in_code else []
        return next(filter(None, map(self._found_in_string, strings)), "")

    def _found_in_dynamic(self, statement: Words) -> str:
        """Return what SQL reaches that PL/pgSQL, or a routine of MySQL, puts together at run time."""
        words = statement.words
        for at, (word, follows) in enumerate(zip(words, [*words[1:], None], strict=True)):
            if word.keyword != "EXECUTE" or (follows and follows.keyword in NOT_DYNAMIC):
                continue
            if self.facts.product != "postgresql":
                if not _can_be_read(words):
                    return "EXECUTE of what cannot be read"
                continue
            line = _put_together(words[at + 1 :], statement.source)
            if line is None or not self._keeps_kind(line):
                return (
                    "EXECUTE of SQL that is not known before it runs; %I and %L of format() pass, not %s or variables"
                )
            if reaches := self.found(line, in_code=True):
                return reaches
        return ""

    def _keeps_kind(self, line: str) -> bool:
        """Return True if what is filled in is names and values of one statement, and none names a function to call."""
        filled_in = line.count(FILLED_IN)
        if not filled_in:
            return True
        read = list(statements(line, self.facts.product))
        words = read[0].words if len(read) == 1 else []
        keywords = " ".join(word.keyword for word in words)
        if not KEEPS_KIND.match(keywords) or filled_in != sum(
            line[word.start : word.end + 1] in QUOTED.values() for word in words
        ):
            return False
        before_columns = {"INTO", "TABLE", "EXISTS"} | ({"ON"} if "INDEX" in keywords.split()[:3] else set())
        for at, word in enumerate(words[:-1]):
            if word.text == FILLED_IN and word.is_name and words[at + 1].keyword == "(":
                start = at - 2 if words[at - 1].keyword == "." else at  # of a schema
                if words[start - 1].keyword not in before_columns:
                    return False
        return True

    def _found_in_string(self, string: str) -> str:
        """Return what a string reaches that is run as SQL, alone or as a part of a statement."""
        try:
            return self.found(string, in_code=True)
        except TokenError:  # of a quote that another string closes
            return self.found(re.sub(r"[^\w\s.(@=;]", " ", string), in_code=True)

    def _named(self, words: list[Word]) -> str:
        """Return the database, function, extension or language that the words name and must not; or an empty text."""
        texts = [word.text.lower() for word in words]
        behind = {"use": texts[1:2], "alter": texts[2:3] if texts[1:2] in (["database"], ["schema"]) else []}
        if self.outside.schemas.keys() & behind.get("".join(texts[:1]), []):
            return " ".join(texts[:3])
        for at, (name, follows) in enumerate(zip(texts, [*texts[1:], ""], strict=True)):
            if follows == "." and name in self.outside.schemas and self._is_schema(texts, at):
                return f"{name}.{''.join(texts[at + 2 : at + 3])}"
            if follows == "(" and name in self.outside.functions:
                return f"{name}()"
            if name == "extension" and "create" in texts[max(at - 1, 0) : at]:
                made = set(texts[at + 1 : at + 5]) & self.outside.extensions
                if made:
                    return f"CREATE EXTENSION {min(made)}"
            if (name, follows) == ("u", "&") and "\\" in "".join(texts[at + 2 : at + 3]) and self.outside.functions:
                return "a name with escapes"
            if name == "language" and follows in self.outside.languages:
                return f"{name} {follows}"
        return ""

    def _is_schema(self, texts: list[str], at: int) -> bool:
        """Return True if the name before a dot is a schema, and not a table or an alias of the statement."""
        elsewhere = any(text == texts[at] and texts[place + 1 : place + 2] != ["."] for place, text in enumerate(texts))
        follows = texts[at + 2 : at + 4]
        return not elsewhere or follows[1:] == ["."] or bool(self.outside.schemas[texts[at]] & set(follows[:1]))


def _put_together(words: list[Word], source: str) -> str | None:
    """Return the SQL that begins the words of an EXECUTE, of strings and what is filled in; None if there is more."""
    line, at = "", 0
    while at < len(words):
        name = words[at].text.lower()
        if _is_plain_string(words[at], source):
            line += words[at].text
        elif name in ("format", *QUOTED) and [word.keyword for word in words[at + 1 : at + 2]] == ["("]:
            template = words[at + 2] if name == "format" and at + 2 < len(words) else None
            depth, at = 1, at + 2
            while depth and at < len(words):
                depth += {"(": 1, ")": -1}.get(words[at].keyword, 0)
                at += 1
            at -= 1
            if name != "format":
                line += QUOTED[name]
            elif template and _is_plain_string(template, source):
                parts = re.split(r"%(?:\d+\$)?(.?)", template.text)
                if not QUOTED.keys() >= set(parts[1::2]):
                    return None
                line += "".join(QUOTED[part] if sign % 2 else part for sign, part in enumerate(parts))
            else:
                return None
        else:
            return None
        if at + 1 == len(words) or words[at + 1].keyword in ("USING", "INTO", "LOOP"):
            return line
        if words[at + 1].keyword != "||":
            return None
        at += 2
    return None


def _is_plain_string(word: Word, source: str) -> bool:
    """Return True for a string without escapes: E'...' and U&'...' may hold other letters than they show."""
    return _is_string(word) and source[word.start] in "'$"


def _can_be_read(words: list[Word]) -> bool:
    """Return True if a string begins like a statement, and none stops before the kind of object that it is about."""
    strings = [word.text for word in words if _is_string(word)]
    return any(map(BEGINS.match, strings)) and not any(map(BREAKS_OFF.match, strings))


def _is_string(word: Word) -> bool:
    return not word.keyword and not word.is_name
