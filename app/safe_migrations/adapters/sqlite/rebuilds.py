"""SQLite's batch mode makes a table anew from what SQLAlchemy reads of it: what that leaves out is put back or refused.

Alembic's statements are CREATE TABLE _alembic_tmp_x, INSERT INTO it from x, DROP TABLE x, ALTER TABLE _alembic_tmp_x
RENAME TO x, and CREATE INDEX for each index that it could read. Put back is right behind these.
"""

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.ddl.sqlite import SQLiteImpl
from alembic.operations.batch import ApplyBatchImpl
from sqlalchemy import CheckConstraint, Computed, Connection, Constraint, Table, inspect, literal_column
from sqlalchemy.schema import ColumnCollectionConstraint, CreateTable
from sqlalchemy.util import set_creation_order

from ...console import log
from ...errors import MigrationError, UnsafeError
from ...remedies import relative
from ..base import double_quoted, listening
from .dump import bare
from .table_texts import (
    FEATURES,
    blunt,
    count,
    generated_as,
    items_of,
    lost,
    name_of,
    parts_of,
    plain,
    unquoted,
)

NAME = r"(?:\"(?P<quoted>(?:[^\"]|\"\")*)\"|(?P<plain>[^\s(\"]+))"
CREATE, INSERT, RENAME = (
    re.compile(rf"\s*{verb}\s+{noun}\s+{NAME}", re.IGNORECASE)
    for verb, noun in (("CREATE", "TABLE"), ("INSERT", "INTO"), ("ALTER", "TABLE"))
)
INDEX = re.compile(rf"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+{NAME}", re.IGNORECASE)
CAST = re.compile(r"CAST\((?P<column>[^()]+?) AS (?P<type>[^()]+(?:\([^()]*\))?)\)")
# SQLAlchemy's names of what a foreign key can say.
OPTIONS = {"ondelete": "ON DELETE", "onupdate": "ON UPDATE", "deferrable": "DEFERRABLE"}


# What table_kwargs can remove on purpose, and the key of Table.info for what they remove.
GIVES_UP = {
    ("sqlite_autoincrement", False): "AUTOINCREMENT",
    ("sqlite_strict", False): "STRICT",
    ("sqlite_with_rowid", True): "WITHOUT ROWID",
}
GIVEN_UP = "safe_migrations_given_up"


class BatchImpl(SQLiteImpl):
    """Alembic's SQLiteImpl, in whose place Alembic finds it, with generated columns and a fixed order.

    Alembic writes generated columns in a form that SQLite rejects, and constraints in the order of a set, which differs
    from run to run.
    """

    __dialect__ = "sqlite"

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        """Correct the new table before Alembic creates it and copies the rows."""
        super().prep_table_for_batch(batch_impl, table)
        read = {column.name: column.server_default for column in table.columns} if batch_impl.reflected else {}
        for name, column in batch_impl.columns.items():
            computed = column.server_default
            if not isinstance(computed, Computed):
                continue
            batch_impl.column_transfers[name].pop("expr", None)
            was = read.get(name)
            if isinstance(was, Computed) and str(was.sqltext) == str(computed.sqltext):  # the script keeps it
                computed.sqltext = literal_column(self._generated_as(table.name)[name.lower()])
        assert batch_impl.new_table is not None
        for constraint in sorted(batch_impl.new_table.constraints, key=_in_order):
            set_creation_order(constraint)  # by which SQLAlchemy sorts them
        batch_impl.indexes = dict(sorted(batch_impl.indexes.items()))
        given = batch_impl.table_kwargs
        batch_impl.new_table.info[GIVEN_UP] = {
            feature for (option, value), feature in GIVES_UP.items() if given.get(option) is value
        }

    def _generated_as(self, table: str) -> dict[str, str]:
        assert self.connection is not None
        query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
        return generated_as(str(bare(self.connection).execute(query, (table,)).fetchone()[0]))


def _in_order(constraint: Constraint) -> tuple[str, ...]:
    columns = constraint.columns.keys() if isinstance(constraint, ColumnCollectionConstraint) else []
    condition = str(constraint.sqltext) if isinstance(constraint, CheckConstraint) else ""
    return str(constraint.name or ""), type(constraint).__name__, *columns, condition


@dataclass
class Rebuild:
    """A table that is being made anew, as it was, and the CREATE TABLE of the one that takes its place."""

    table: str
    created: str
    text: str
    rows: int
    sequence: int | None
    triggers: list[tuple[str, str]]
    expressions: list[tuple[str, str]]
    indexes: dict[str, str]
    broken: set[str]
    given_up: set[str]
    """The FEATURES that the script removes on purpose."""


class Rebuilds:
    """Watches the statements of a run on ``connection``; the setting ``review`` says whether a loss is refused."""

    def __init__(self, connection: Connection, review: str = "enforce") -> None:
        self.connection = connection
        self.review = review
        self.bare = bare(connection)
        self.under_way: dict[str, Rebuild] = {}
        self.last: Rebuild | None = None

    def before(self, statement: str, given_up: set[str]) -> None:
        """Check a statement that is about to run. Raise UnsafeError if it would lose what cannot be put back."""
        if found := CREATE.match(statement):
            self._remember(_named(found), statement, given_up)
        elif (found := INSERT.match(statement)) and (rebuild := self.under_way.get(_named(found))):
            self._require_all_read(rebuild, statement)
            self._require_same_values(rebuild, statement)
        elif (found := RENAME.match(statement)) and _named(found) in self.under_way:
            # Otherwise the renaming fails at each view on the table, which is not there for this moment.
            self.bare.execute("PRAGMA legacy_alter_table=ON")

    def after(self, statement: str) -> None:
        """Put back what a statement lost."""
        if (found := RENAME.match(statement)) and (rebuild := self.under_way.pop(_named(found), None)):
            self.bare.execute("PRAGMA legacy_alter_table=OFF")
            self._put_back(rebuild)
            self.last = rebuild
        elif (found := INDEX.match(statement)) and self.last:
            self._sharpen(self.last, _named(found), statement)
        elif not statement.lstrip().upper().startswith(("PRAGMA", "SELECT")):
            self.last = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at each statement."""

        def before(_on: Connection, _cursor: Any, statement: str, _given: Any, context: Any, _many: bool) -> None:
            made = getattr(context.compiled, "statement", None)
            self.before(statement, made.element.info.get(GIVEN_UP, set()) if isinstance(made, CreateTable) else set())

        def after(_connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
            self.after(statement)

        with listening(self.connection, {"before_cursor_execute": before, "after_cursor_execute": after}):
            yield

    def _remember(self, temporary: str, statement: str, given_up: set[str]) -> None:
        if not temporary.startswith("_alembic_tmp_"):
            return
        # Alembic cuts the name to 50 characters.
        tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND"
        found = self.bare.execute(f"{tables} substr('_alembic_tmp_' || name, 1, 50) = ?", (temporary,)).fetchone()
        if found is None:
            return
        (table,) = found
        if self.bare.execute(f"{tables} name = ?", (temporary,)).fetchone():
            raise MigrationError(
                f"an earlier upgrade that failed left the table {temporary} behind.",
                f"make sure that {table} has its rows, and drop the other:",
                f"DROP TABLE {double_quoted(temporary)};",
            )
        rows = self.bare.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL", (table,)
        ).fetchall()
        expressions = [
            (name, text)
            for kind, name, text in rows
            if kind == "index"
            # -2 is an expression: sqlite.org/pragma.html, index_info
            and any(row[1] == -2 for row in self.bare.execute(f"PRAGMA index_info({double_quoted(name)})"))
        ]
        self.under_way[temporary] = Rebuild(
            table=table,
            created=statement,
            text=next(text for kind, _name, text in rows if kind == "table"),
            rows=self._rows(table),
            sequence=self._sequence(table),
            triggers=[(name, text) for kind, name, text in rows if kind == "trigger"],
            expressions=expressions,
            indexes={name: text for kind, name, text in rows if kind == "index"},
            broken={probe for probe, _what in self._probes(table) if self._failure(probe)},
            given_up=given_up,
        )

    def _require_all_read(self, rebuild: Rebuild, insert: str) -> None:
        if not any(count(feature, rebuild.text) for feature in FEATURES):
            return
        kept = {name.lower() for name in self._columns(rebuild.table) if _copies(insert, rebuild.table, name)}
        # Generated columns are not copied: one that the new table lacks is dropped on purpose.
        made = {name_of(item) for item in items_of(parts_of(rebuild.created))[1] if item}
        kept |= made & {name.lower() for name in self._generated(rebuild.table)}
        losses = lost(rebuild.text, rebuild.created, kept, self._read_whole(rebuild))
        if losses := [feature for feature in losses if feature not in rebuild.given_up]:
            self._refuse(not_made(rebuild.table, f"would lose {' and '.join(losses)}"))

    def _refuse(self, error: UnsafeError) -> None:
        """Raise ``error`` unless the setting or the running script accepts the loss; no review covers a downgrade."""
        frame = sys._getframe()
        while frame.f_back is not None and "down_revision" not in frame.f_globals:
            frame = frame.f_back
        if "down_revision" not in frame.f_globals:
            raise error
        from ...review.rules import Assurances  # loads all rules

        declared = Assurances(frame.f_globals.get("safety_assured"), None)
        if self.review == "off" or "rebuild-loses" in declared.codes:
            return
        if self.review == "warn":
            log.warning("%s", error.what)
            return
        file = relative(Path(frame.f_code.co_filename))
        assured = 'safety_assured = {"rebuild-loses": "why it is safe"}'
        remedy = error.remedy.replace(
            "; nothing was changed", f"; or say in {file} why it is safe; nothing was changed"
        )
        raise UnsafeError(error.what, remedy, *error.lines, assured)

    def _read_whole(self, rebuild: Rebuild) -> set[str]:
        """Foreign keys, by name in lower case, of which SQLAlchemy reads every option: it reads none behind MATCH."""
        typed = {
            name_of(item): " ".join(item)
            for item in items_of(parts_of(rebuild.text))[1]
            if item and item[0].upper() == "CONSTRAINT"
        }
        return {
            name
            for key in inspect(self.connection).get_foreign_keys(rebuild.table)
            if (name := str(key["name"]).lower()) in typed
            and all(
                (option in key.get("options", {})) == bool(count(feature, typed[name]))
                for option, feature in OPTIONS.items()
            )
        }

    def _require_same_values(self, rebuild: Rebuild, insert: str) -> None:
        """SQLite's CAST makes 12 of '12x' and 0 of 'abc', without a word (sqlite.org/lang_expr.html, section 4)."""
        for found in CAST.finditer(insert):
            column, kind = found["column"].strip(), found["type"]
            bare_name = unquoted(column.rpartition(".")[2])
            # As text where digits count, such as 007; else as numbers, for which 1.50 is 1.5.
            same = f"CAST(CAST({column} AS {kind}) AS TEXT)" if "INT" in kind.upper() else f"CAST({column} AS {kind})"
            changed = self.bare.execute(
                f"SELECT {column}, CAST({column} AS {kind}) FROM {double_quoted(rebuild.table)}"
                f" WHERE CASE typeof({column})"
                f" WHEN 'null' THEN 0 WHEN 'text' THEN {same} <> {column}"
                f" WHEN 'blob' THEN CAST(CAST({column} AS {kind}) AS BLOB) <> {column}"
                f" ELSE CAST({column} AS {kind}) <> {column} END LIMIT 1"
            ).fetchone()
            if changed is not None:
                raise UnsafeError(
                    f"changing {rebuild.table}.{bare_name} to {kind} would turn {changed[0]!r} into {changed[1]!r}"
                    " (change-type).",
                    "correct such values first, or add a column and fill it; nothing was changed:",
                    f"SELECT {column} FROM {double_quoted(rebuild.table)};",
                )

    def _put_back(self, rebuild: Rebuild) -> None:
        table = rebuild.table
        if self._rows(table) != rebuild.rows:
            raise UnsafeError(
                f"the rebuild of {table} would lose rows: {rebuild.rows} before, {self._rows(table)} after.",
                "look at what the script does to them; nothing was changed:",
                f"SELECT count(*) FROM {double_quoted(table)};",
            )
        if rebuild.sequence is not None and count("AUTOINCREMENT", rebuild.created):
            self.bare.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
            self.bare.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, rebuild.sequence))
        for kind, objects in (("index", rebuild.expressions), ("trigger", rebuild.triggers)):
            for name, text in objects:
                if failure := self._failure(text):
                    self._refuse(_not_put_back(table, kind, name, failure))
        for probe, what in self._probes(table):
            if probe not in rebuild.broken and (failure := self._failure(probe)):
                error = UnsafeError(
                    f"{what} would not work after this change: {failure} (rebuild-loses).",
                    "drop it first, and create it again as it is to be; nothing was changed:",
                    "SELECT name, sql FROM sqlite_master WHERE type IN ('view', 'trigger');",
                )
                self._refuse(error)

    def _sharpen(self, rebuild: Rebuild, name: str, statement: str) -> None:
        """Give an index that Alembic has just made from what SQLAlchemy reads its DESC and COLLATE again."""
        text = rebuild.indexes.get(name)
        if text and plain(text) != plain(statement) and plain(blunt(text)) == plain(statement):
            self.bare.execute(f"DROP INDEX {double_quoted(name)}")
            self.bare.execute(text)

    def _probes(self, table: str) -> list[tuple[str, str]]:
        """Return statements that compile the views and triggers that name the table, and what fails with each."""
        views, triggered = dependents(self.bare, table)
        probes = [(f"EXPLAIN SELECT * FROM {double_quoted(name)}", f"the view {name}") for name in views]
        for on in sorted({table, *triggered} - set(views)):
            column = double_quoted(self._columns(on)[0])
            for probe in ("INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", f"UPDATE {{}} SET {column} = {column}"):
                probes.append((f"EXPLAIN {probe.format(double_quoted(on))}", f"a trigger of {on}"))
        return probes

    def _failure(self, statement: str) -> str:
        try:
            self.bare.execute(statement)
        except sqlite3.Error as error:
            return str(error)
        return ""

    def _columns(self, table: str) -> list[str]:
        return [row[1] for row in self.bare.execute(f"PRAGMA table_xinfo({double_quoted(table)})") if row[6] == 0]

    def _generated(self, table: str) -> list[str]:
        return [row[1] for row in self.bare.execute(f"PRAGMA table_xinfo({double_quoted(table)})") if row[6] in (2, 3)]

    def _rows(self, table: str) -> int:
        return int(self.bare.execute(f"SELECT count(*) FROM {double_quoted(table)}").fetchone()[0])

    def _sequence(self, table: str) -> int | None:
        if not self.bare.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone():
            return None
        found = self.bare.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return int(found[0]) if found else None


def dependents(bare: sqlite3.Connection, table: str) -> tuple[list[str], list[str]]:
    """Return the views that name the table or such a view, and the tables whose triggers name one of these."""
    names, views, triggered = [table], [], []
    for name in names:
        for kind, found, on in bare.execute(
            "SELECT type, name, tbl_name FROM sqlite_master WHERE type IN ('view', 'trigger')"
            " AND instr(replace(lower(sql), '\"\"', '\"'), lower(?))",
            (name,),
        ):
            if kind == "trigger":
                triggered.append(on)
            elif found not in names:
                names.append(found)
                views.append(found)
    return views, triggered


def not_made(table: str, why: str) -> UnsafeError:
    """Return the error for a table that cannot be rebuilt from what SQLAlchemy reflects."""
    return UnsafeError(
        f"SQLite has to rebuild {table}, and {why} (rebuild-loses).",
        "give the whole table as it is to be; nothing was changed:",
        f"with op.batch_alter_table({table!r}, copy_from=sa.Table(...), table_args=(...)) as batch_op:",
    )


def _not_put_back(table: str, kind: str, name: str, failure: str) -> UnsafeError:
    return UnsafeError(
        f"the {kind} {name} of {table} cannot be put back after this change: {failure} (rebuild-loses).",
        "drop it before in the script, and create it anew as it is to be; nothing was changed:",
        f"op.execute('DROP {kind.upper()} {name}')",
    )


def _named(found: re.Match[str]) -> str:
    return found["plain"] or found["quoted"].replace('""', '"')


def _copies(insert: str, table: str, column: str) -> bool:
    """Whether the INSERT ... SELECT reads this column of the table."""
    names = (rf"(?:{re.escape(name)}|{re.escape(double_quoted(name))})" for name in (table, column))
    return re.search(r"(?<![\w\"])" + r"\.".join(names) + r"(?![\w\"])", insert) is not None
