"""The limits of a rehearsal: a statement that would change more than the copy is refused before it runs.

The copy may share the app's server with other databases, roles and files. Triggers and routines of the copy are read
too. SQL that is built at run time cannot be read, so it is refused there.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import URL
from sqlglot.errors import TokenError

from ..adapters import Adapter
from ..adapters.base import listening
from ..adapters.databases import Outside
from ..adapters.facts import Facts
from ..adapters.sql_words import Word, Words, statements
from ..database import Database
from ..errors import UnsafeError

WRITES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "LOAD", "TRUNCATE", "CALL", "MERGE"}
# What may follow the string that EXECUTE or PREPARE runs.
AFTER_STRING = {";", "USING", "INTO", "LOOP"}
# What stands for %I and %L of PostgreSQL's format() when its template is read.
FILLED = {"I": '"%"', "L": "'%'", "%": "%"}
# The statements that format() may build: no name or value can turn them into another kind of statement.
BUILT = re.compile(
    r"(ALTER|CREATE|DROP) (TABLE|INDEX|SEQUENCE|VIEW|TYPE|TRIGGER|SCHEMA)\b|CREATE UNIQUE INDEX\b"
    r"|COMMENT ON (TABLE|COLUMN)\b|(INSERT INTO|UPDATE|DELETE FROM|SELECT|TRUNCATE)\b"
)
# A name before a parenthesis calls a function, except where it is the table before its columns.
TABLE_BEFORE_COLUMNS = re.compile(r"(\b(?:INTO|TABLE|EXISTS)|^CREATE (?:UNIQUE )?INDEX .*? ON) (?:\S+ \. )?%I \(")


@contextmanager
def confined(scratch: Adapter, real: URL, is_shared: bool) -> Iterator[None]:
    """Refuse statements on the copy ``scratch`` that reach the database ``real``, or anything else on its server if the
    copy shares it.

    Raise UnsafeError for a trigger or a routine of the copy that does.
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
            self.views |= found  # and views that read them

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
        """Return in a few words what ``text``, perhaps of a trigger or routine, reaches; or an empty string."""
        return next(filter(None, (self._found_in(each, in_code) for each in statements(text, self.facts))), "")

    def _found_in(self, statement: Words, in_code: bool) -> str:
        words, keywords, codes = statement.words, statement.keywords, self.facts.holds_code
        holds_code = codes is not None and (codes.search if in_code else codes.match)(keywords) is not None
        in_code = in_code or holds_code
        if named := self._named(words):
            return named
        if in_code or keywords.partition(" ")[0] in WRITES:
            through = self.views & {word.text.lower() for word in words}
            if through:
                return f"the view {min(through)}"
        if not self.is_shared:
            return ""
        if (reaches := self.facts.reaches_out) and (out := (reaches.search if in_code else reaches.match)(keywords)):
            return out[0][-60:].strip()
        if in_code and (found := self._found_in_dynamic(statement)):
            return found
        # Other strings are data: nothing but a literal can be executed.
        bodies = (self.found(word.text, in_code=True) for word in words if word.is_string)
        return next(filter(None, bodies), "") if holds_code and self.facts.code_in_strings else ""

    def _found_in_dynamic(self, statement: Words) -> str:
        """Return what a string reaches that is run as SQL; any other expression is refused."""
        for found in self.facts.runs_strings.finditer(statement.keywords) if self.facts.runs_strings else ():
            begin = statement.keywords.count(" ", 0, found.end())
            sql = self._executed(statement.part(begin))
            if sql is None:
                return "it runs SQL that is built at run time; only a literal, or format() with %I and %L, can be read"
            if reaches := self.found(sql, in_code=True):
                return reaches
        return ""

    def _executed(self, argument: Words) -> str | None:
        """Return the SQL that EXECUTE or PREPARE runs; None if it is built at run time."""
        group = argument.part(1).group() if argument.keywords.startswith("FORMAT (") else None
        words, rest = (group[0][0].words, group[1]) if group and group[0] else (argument.words[:1], argument.part(1))
        ends = not rest.words or rest.words[0].keyword in AFTER_STRING
        # E'...', U&'...' and x'...' may hold other letters than they show.
        if not ends or len(words) != 1 or not words[0].is_string or argument.source[words[0].start] not in "'\"$":
            return None
        return self._built(words[0].text) if group else words[0].text

    def _built(self, template: str) -> str | None:
        """Return the SQL of a template of format() if %I and %L can only be names and values in it, else None."""
        parts = re.split(r"%(?:\d+\$)?(.?)", template)
        if not FILLED.keys() >= set(parts[1::2]):
            return None
        sql = "".join(FILLED[part] if at % 2 else part for at, part in enumerate(parts))
        read = list(statements(sql, self.facts))
        words = read[0].words if len(read) == 1 else []
        filled = [word for word in words if sql[word.start : word.end + 1] in (FILLED["I"], FILLED["L"])]
        shape = " ".join("%I" if word in filled and word.is_name else word.keyword for word in words)
        if not BUILT.match(shape) or "%I (" in TABLE_BEFORE_COLUMNS.sub("", shape):
            return None
        return sql if len(filled) == sum(part in "IL" for part in parts[1::2]) else None  # else: in quotes or comments

    def _named(self, words: list[Word]) -> str:
        """Return the first forbidden database, function, extension or language in the statement, or an empty string."""
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
                created = set(texts[at + 1 : at + 5]) & self.outside.extensions
                if created:
                    return f"CREATE EXTENSION {min(created)}"
            if (name, follows) == ("u", "&") and "\\" in "".join(texts[at + 2 : at + 3]) and self.outside.functions:
                return "a name with escapes"
            if name == "language" and follows in self.outside.languages:
                return f"{name} {follows}"
        return ""

    def _is_schema(self, texts: list[str], at: int) -> bool:
        """Return True if the name before a dot is a schema, not a table or an alias of the statement."""
        elsewhere = any(text == texts[at] and texts[place + 1 : place + 2] != ["."] for place, text in enumerate(texts))
        follows = texts[at + 2 : at + 4]
        return not elsewhere or follows[1:] == ["."] or bool(self.outside.schemas[texts[at]] & set(follows[:1]))
