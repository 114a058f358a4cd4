"""SQLite's batch mode makes a table anew from what SQLAlchemy reads of it: what that leaves out is put back or refused.

Alembic's steps are CREATE TABLE _alembic_tmp_x, INSERT INTO it, DROP TABLE x, ALTER TABLE _alembic_tmp_x RENAME TO x,
and CREATE INDEX for each index that it could read.
"""

import re
import sqlite3
from dataclasses import dataclass, field

from app.safe_migrations.errors import MigrationError

TEMPORARY = r"\s*{verb}\s+TABLE\s+[\"`\[]?_alembic_tmp_(?P<table>[^\s\"`\](]+)"
CREATE, RENAME = (re.compile(TEMPORARY.format(verb=verb), re.IGNORECASE) for verb in ("CREATE", "ALTER"))
INSERT = re.compile(TEMPORARY.format(verb="INSERT").replace("TABLE", "INTO"), re.IGNORECASE)
CAST = re.compile(r"CAST\((?P<column>[^()]+?) AS (?P<type>\w+(?:\([\d, ]+\))?)\)")

# What a CREATE TABLE can say and SQLAlchemy does not read, or read in part (checked against SQLAlchemy 2.0 and 2.1).
FEATURES = {
    "AUTOINCREMENT": r"\bAUTOINCREMENT\b",
    "COLLATE": r"\bCOLLATE\b",
    "a CHECK constraint": r"\bCHECK\s*\(",
    "a generated column": r"\bAS\s*\((?!\s*SELECT\b)",
    "ON DELETE": r"\bON\s+DELETE\b",
    "ON UPDATE": r"\bON\s+UPDATE\b",
    "ON CONFLICT": r"\bON\s+CONFLICT\b",
    "DEFERRABLE": r"\bDEFERRABLE\b",
    "STRICT": r"\)[^)]*\bSTRICT\b[^)]*$",
    "WITHOUT ROWID": r"\)[^)]*\bWITHOUT\s+ROWID\b[^)]*$",
}


@dataclass
class Rebuilds:
    """The tables that one step makes anew, as they were."""

    bare: sqlite3.Connection
    objects: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    expressions: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)

    def before(self, statement: str) -> None:
        """Look at a statement that is about to run; MigrationError if it would lose what cannot be put back."""
        if found := CREATE.match(statement):
            self._remember(found["table"], statement)
        elif found := INSERT.match(statement):
            self._require_same_values(found["table"], statement)
        elif RENAME.match(statement):
            # Otherwise the renaming fails at each view on the table, which is not there for this moment.
            self.bare.execute("PRAGMA legacy_alter_table=ON")

    def after(self, statement: str) -> None:
        """Look at what a statement left."""
        if RENAME.match(statement):
            self.bare.execute("PRAGMA legacy_alter_table=OFF")

    def put_back(self) -> None:
        """At the end of a step: the rows are as many as before, and indexes and triggers are again what they were."""
        for table, objects in self.objects.items():
            if self._rows(table) != self.counts[table]:
                raise MigrationError(
                    f"making {table} anew would lose rows: {self.counts[table]} before, {self._rows(table)} after.",
                    "look at what the script does to them; nothing was changed.",
                )
            for kind, name, text in objects:
                self._put_back(table, kind, name, text)
            for probe, what in self._probes(table):
                if probe not in self.broken and (failure := self._failure(probe)):
                    raise MigrationError(
                        f"{what} would not work after this change: {failure} (rebuild-loses).",
                        "drop it before in the script, and create it anew as it is to be; nothing was changed.",
                    )
        self.objects.clear()
        self.broken.clear()

    def _remember(self, table: str, statement: str) -> None:
        if leftover := self._text(f"_alembic_tmp_{table}"):
            raise MigrationError(
                f"an earlier upgrade that failed left the table _alembic_tmp_{table} behind: {leftover[:60]}...",
                f"make sure that {table} has its rows, and drop the other:",
                f'DROP TABLE "_alembic_tmp_{table}";',
            )
        if table in self.objects:
            return
        new = _bare(statement)
        old = _without_what_goes(_bare(self._text(table) or ""), new)
        lost = [name for name, pattern in FEATURES.items() if _count(pattern, new) < _count(pattern, old)]
        if lost:
            raise MigrationError(
                f"SQLite has to make {table} anew for this, and would lose {' and '.join(lost)} (rebuild-loses).",
                "give the whole table as it is to be; nothing was changed:",
                f"with op.batch_alter_table({table!r}, copy_from=sa.Table(...), table_args=(...)) as batch_op:",
            )
        rows = self.bare.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE lower(tbl_name) = lower(?) AND sql IS NOT NULL"
            " AND type IN ('index', 'trigger')",
            (table,),
        ).fetchall()
        self.objects[table] = rows
        self.counts[table] = self._rows(table)
        for kind, name, _text in rows:
            columns = self.bare.execute(f'PRAGMA index_info("{name}")').fetchall() if kind == "index" else []
            if any(number == -2 for _, number, _ in columns):  # an expression: sqlite.org/pragma.html, index_info
                self.expressions.add(name)
        self.broken |= {probe for probe, _what in self._probes(table) if self._failure(probe)}

    def _put_back(self, table: str, kind: str, name: str, text: str) -> None:
        now = self._text(name)
        # An index that SQLAlchemy can read, and that is gone, was dropped by the script.
        if (now is None and kind == "index" and name not in self.expressions) or (now and _same(now, text)):
            return
        try:
            if now is not None:
                self.bare.execute(f'DROP {kind.upper()} "{name}"')
            self.bare.execute(text)
        except sqlite3.Error as error:
            raise MigrationError(
                f"the {kind} {name} of {table} cannot be put back after this change: {error} (rebuild-loses).",
                "drop it before in the script, and create it anew as it is to be; nothing was changed:",
                f"op.execute('DROP {kind.upper()} {name}')",
            ) from None

    def _probes(self, table: str) -> list[tuple[str, str]]:
        """Statements that compile the triggers of a table and the views, and what fails where one does not."""
        (column, *_rest) = [row[1] for row in self.bare.execute(f'PRAGMA table_xinfo("{table}")') if row[6] == 0]
        views = self.bare.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
        return [
            (f'EXPLAIN INSERT INTO "{table}" DEFAULT VALUES', f"a trigger of {table}"),
            (f'EXPLAIN DELETE FROM "{table}"', f"a trigger of {table}"),
            (f'EXPLAIN UPDATE "{table}" SET "{column}" = "{column}"', f"a trigger of {table}"),
            *((f'EXPLAIN SELECT * FROM "{view}"', f"the view {view}") for (view,) in views),
        ]

    def _failure(self, statement: str) -> str:
        try:
            self.bare.execute(statement)
        except sqlite3.Error as error:
            return str(error)
        return ""

    def _require_same_values(self, table: str, statement: str) -> None:
        """SQLite's CAST makes 12 of '12x' and 0 of 'abc', without a word (sqlite.org/lang_expr.html, section 4)."""
        for found in CAST.finditer(statement):
            column, kind = found["column"].strip(), found["type"]
            changed = self.bare.execute(
                f'SELECT rowid, {column}, CAST({column} AS {kind}) FROM "{table}" WHERE {column} IS NOT NULL AND'
                f" CASE typeof({column}) WHEN 'text' THEN CAST(CAST({column} AS {kind}) AS TEXT) <> {column}"
                f" ELSE CAST({column} AS {kind}) <> {column} END LIMIT 1"
            ).fetchone()
            if changed is not None:
                rowid, value, made = changed
                raise MigrationError(
                    f"{column} as {kind} would be {made!r} instead of {value!r}, in row {rowid} for one (change-type).",
                    "correct such values first, or add a column and fill it; nothing was changed:",
                    f"SELECT {column} FROM {table} WHERE rowid = {rowid};",
                )

    def _rows(self, table: str) -> int:
        (count,) = self.bare.execute(f'SELECT count(*) FROM "{table}"').fetchone()
        return int(count)

    def _text(self, name: str) -> str | None:
        found = self.bare.execute("SELECT sql FROM sqlite_master WHERE lower(name) = lower(?)", (name,)).fetchone()
        return str(found[0]) if found else None


def _bare(text: str) -> str:
    """A statement without what stands in strings and comments."""
    return re.sub(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", "''", text, flags=re.DOTALL)


def _without_what_goes(old: str, new: str) -> str:
    """``old`` without columns that ``new`` does not have, with their foreign keys, and constraints it does not name.

    Those were dropped on purpose: SQLAlchemy reads every column and every constraint that has a name.
    """
    head, items, tail = _items(old)
    names = {_name(item) for item in _items(new)[1]}

    def stays(item: str) -> bool:
        if key := re.match(r"FOREIGN\s+KEY\s*\(([^)]*)\)", item, re.IGNORECASE):
            return all(_unquoted(column) in names for column in key[1].split(","))
        return re.match(r"(CHECK|UNIQUE|PRIMARY)\b", item, re.IGNORECASE) is not None or _name(item) in names

    return head + ",".join(item for item in items if stays(item)) + tail


def _name(item: str) -> str:
    """The name of a column, or of a constraint."""
    return _unquoted(re.sub(r"^CONSTRAINT\s+", "", item, flags=re.IGNORECASE).split(maxsplit=1)[0])


def _unquoted(name: str) -> str:
    return name.strip(' \t\n"`[]').lower()


def _items(text: str) -> tuple[str, list[str], str]:
    """What stands before the columns and constraints of a CREATE TABLE, each of them, and what stands behind."""
    start, end = text.find("(") + 1, text.rfind(")")
    items, depth, begin = [], 0, start
    for position in range(start, end):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if text[position] == "," and depth == 0:
            items.append(text[begin:position].strip())
            begin = position + 1
    return text[:start], [*items, text[begin:end].strip()], text[end:]


def _count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.IGNORECASE))


def _same(one: str, other: str) -> bool:
    """Whether two CREATE statements differ in quotes, spaces and case alone."""
    return re.sub(r"[\s\"`\[\]]", "", one).lower() == re.sub(r"[\s\"`\[\]]", "", other).lower()
