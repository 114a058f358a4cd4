"""Rebuilds of SQLite tables by Alembic's batch mode, without losing what SQLAlchemy does not reflect.

Alembic creates _alembic_tmp_x, copies the rows of x, drops x, renames the new table to x and creates the indexes again.
What SQLAlchemy does not reflect, such as triggers, would be lost: this module recreates it, or refuses the rebuild.
"""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from alembic.operations.batch import ApplyBatchImpl
from sqlalchemy import (
    Cast,
    CheckConstraint,
    Column,
    Computed,
    Connection,
    Constraint,
    Integer,
    StaticPool,
    Table,
    TextClause,
    create_engine,
    literal_column,
)
from sqlalchemy.exc import CompileError
from sqlalchemy.schema import ColumnCollectionConstraint, CreateTable
from sqlalchemy.util import set_creation_order

from ...errors import MigrationError, UnsafeError, summary
from ..base import double_quoted
from ..exact_sql import ExactSQLiteImpl
from .dump import copy_schema, driver_connection
from .snapshot import has_counters
from .stored_columns import keeps_default, keys_of, stored_columns, stored_keys
from .table_texts import Clause, TableText, features

ON_LOSS = "on_rebuild_loss"
"""The option of ``context.configure()`` for a function that gets the UnsafeError for a loss, and may raise it."""


class RebuildImpl(ExactSQLiteImpl):
    """Alembic's implementation for SQLite, with table rebuilds that lose nothing. Alembic finds it by ``__dialect__``.

    A rebuild that would lose something raises UnsafeError, unless the function of the option ON_LOSS accepts the loss.
    """

    __dialect__ = "sqlite"
    rebuild: "Rebuild | None" = None

    def prep_table_for_batch(self, batch_impl: ApplyBatchImpl, table: Table) -> None:
        """Sort the constraints and indexes of the new table, and keep its generated columns, before Alembic creates it.

        Refuse a rebuild that would lose something.
        """
        super().prep_table_for_batch(batch_impl, table)
        assert batch_impl.new_table is not None
        for constraint in sorted(batch_impl.new_table.constraints, key=_in_order):  # a set has no order
            set_creation_order(constraint)
        batch_impl.indexes = dict(sorted(batch_impl.indexes.items()))
        for name, column in batch_impl.columns.items():
            if isinstance(column.server_default, Computed):  # Alembic would insert values, which SQLite rejects
                batch_impl.column_transfers[name].pop("expr", None)
        if self.connection is None or self.as_sql:
            return
        query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
        if found := driver_connection(self.connection).execute(query, (table.name,)).fetchone():
            self.rebuild = Rebuild(self.connection, batch_impl, found[0], self._refuse)

    def drop_table(self, table: Table, **kw: Any) -> None:
        """Drop a table. If a rebuild has copied its rows, first refuse values that the copy has changed."""
        if self.rebuild is not None and table is self.rebuild.batch.table:
            self.rebuild.require_same_copies()
        super().drop_table(table, **kw)

    def rename_table(self, old_table_name: str, new_table_name: str, schema: Any = None) -> None:
        """Rename a table. If this is the end of a rebuild, recreate what Alembic does not, such as triggers."""
        rebuild, self.rebuild = self.rebuild, None
        if rebuild is None or old_table_name != rebuild.batch.temp_table_name:
            super().rename_table(old_table_name, new_table_name, schema)
            return
        # Otherwise renaming fails at each view on the old table, which does not exist at this moment.
        rebuild.driver.execute("PRAGMA legacy_alter_table=ON")
        try:
            super().rename_table(old_table_name, new_table_name, schema)
        finally:
            rebuild.driver.execute("PRAGMA legacy_alter_table=OFF")
        rebuild.recreate()

    def _refuse(self, error: UnsafeError) -> None:
        if (on_loss := self.context_opts.get(ON_LOSS)) is None:
            raise error
        on_loss(error)


def _in_order(constraint: Constraint) -> tuple[str, ...]:
    columns = constraint.columns.keys() if isinstance(constraint, ColumnCollectionConstraint) else []
    condition = str(constraint.sqltext) if isinstance(constraint, CheckConstraint) else ""
    return str(constraint.name or ""), type(constraint).__name__, *columns, condition


class Rebuild:
    """The rebuild of one table: creating the object checks what would be lost, and recreate() ends the rebuild.

    ``text`` is the table's CREATE TABLE. ``refuse`` is called with an UnsafeError for each loss.
    """

    def __init__(
        self, connection: Connection, batch: ApplyBatchImpl, text: str, refuse: Callable[[UnsafeError], None]
    ) -> None:
        self.dialect = connection.dialect
        self.driver = driver_connection(connection)
        self.batch = batch
        self.table: str = batch.table.name
        self.old = TableText.of(text)
        self.columns = stored_columns(self.driver, self.table)
        self.refuse = refuse
        self.staying = {
            name: column
            for name, column in batch.columns.items()
            if name in batch.table.c
            and ("expr" in batch.column_transfers[name] or isinstance(column.server_default, Computed))
        }
        self._require_no_leftover()
        self._keep_generated_columns()
        self._keep_conditions()
        self._require_nothing_lost()
        self._require_same_values()
        self.rows = self._count_rows()
        self.sequence = self._last_number()
        self.indexes = dict(self._take_indexes())
        self.triggers = self._texts("trigger")
        self.failures = set(self._find_failures())

    def _require_no_leftover(self) -> None:
        temporary = self.batch.temp_table_name
        if self.driver.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (temporary,)).fetchone():
            raise MigrationError(
                f"an earlier upgrade failed and left the table {temporary} behind.",
                f"make sure that {self.table} has all its rows, then drop {temporary}:",
                f"DROP TABLE {double_quoted(temporary)};",
            )

    def _keep_generated_columns(self) -> None:
        """Give each unchanged generated column of the new table the expression from the old table's CREATE TABLE."""
        for name, expression in self.old.generated.items() if self.batch.reflected else ():
            column = next((each for key, each in self.batch.columns.items() if key.lower() == name), None)
            if column is None or not isinstance(new := column.server_default, Computed):
                continue
            read = self.batch.table.c[column.key].server_default
            if isinstance(read, Computed) and str(read.sqltext) == str(new.sqltext):
                new.sqltext = literal_column(expression)

    def _keep_conditions(self) -> None:
        """Give each CHECK and index that was read from the database its condition, without parameters such as :b."""
        if not self.batch.reflected:
            return
        assert self.batch.new_table is not None
        read = {name for name, each in self.batch.named_constraints.items() if each in self.batch.table.constraints}
        for constraint in self.batch.new_table.constraints:
            if isinstance(constraint, CheckConstraint) and str(constraint.name) in read:
                constraint.sqltext = _verbatim(constraint.sqltext)
        for index in self.batch.indexes.values():
            options = index.dialect_options["sqlite"]
            options["where"] = _verbatim(options["where"])

    def _require_nothing_lost(self) -> None:
        """Refuse the rebuild if the table would lose what the script does not drop.

        That is one of FEATURES of an unchanged column or constraint, such as COLLATE, or what copy_from leaves out.
        """
        batch = self.batch
        assert batch.new_table is not None
        try:
            new = TableText.of(str(CreateTable(batch.new_table).compile(dialect=self.dialect)))
        except CompileError as error:
            raise not_rebuilt(self.table, f"this fails: {summary(error)}") from error
        named = {clause.name for clause in new.clauses if clause.kind}
        read = {str(each.name).lower() for each in batch.table.constraints if each.name}
        changed = read - named
        now = batch.named_constraints.items()
        changed |= {name.lower() for name, each in now if each not in batch.table.constraints}

        def stays(clause: Clause, columns: set[str]) -> bool:
            if not clause.kind:
                return clause.name in columns
            for key in [*clause.inside("KEY"), *clause.inside("UNIQUE")]:
                if not columns.issuperset(part.words[0].text.lower() for part in key.parts()):
                    return False
            return clause.name not in changed

        before, after = {name.lower() for name in self.staying}, {each.name.lower() for each in self.staying.values()}
        dropped = {column.name.lower() for column in batch.table.c} - before
        old = (each for each in self.old.clauses if not each.kind or dropped.isdisjoint(_names_in_checks(each)))
        lost = features(clause for clause in old if stays(clause, before))
        lost -= features(clause for clause in new.clauses if stays(clause, after))
        self.counts_up = features(new.clauses)["AUTOINCREMENT"] > 0
        if found := [*self._left_out(batch.table, batch.new_table), *lost, *sorted(self.old.options - new.options)]:
            self.refuse(not_rebuilt(self.table, f"would lose {' and '.join(found)}"))

    def _left_out(self, given: Table, new: Table) -> Iterator[str]:
        """Yield each column and key of the table that neither ``given`` has, which copy_from may name, nor ``new``.

        A key with a column that the script drops is not lost, but dropped.
        """
        known = {column.name.lower() for column in given.columns}
        yield from (f"column {column.name}" for name, column in self.columns.items() if name not in known)
        names = {name.lower(): column.name.lower() for name, column in self.staying.items()}
        dropped = known - names.keys()
        indexes = self.batch.new_indexes.values()
        kept = keys_of(given.constraints, given.indexes)
        made = keys_of(new.constraints, ()) | {each.renamed(names) for each in keys_of((), indexes)}
        for key in sorted(stored_keys(self.driver, self.table) - kept, key=str):
            if key.columns.isdisjoint(dropped) and key.renamed(names) not in made:
                yield str(key)

    def _require_same_values(self) -> None:
        """Raise UnsafeError if a change of a column's type would change values.

        SQLite casts '12x' to 12 and 'abc' to 0 without an error (sqlite.org/lang_expr.html).
        """
        for name, transfer in self.batch.column_transfers.items():
            new = transfer.get("expr")
            if not isinstance(new, Cast):
                continue
            column, cast = (str(each.compile(dialect=self.dialect)) for each in (self.batch.table.c[name], new))
            # As text where digits count, such as 007; else as numbers, for which 1.50 is 1.5.
            same = f"CAST({cast} AS TEXT)" if isinstance(new.type, Integer) else cast
            changed = self.driver.execute(
                f"SELECT {column}, {cast} FROM {double_quoted(self.table)} WHERE CASE typeof({column})"
                f" WHEN 'null' THEN 0 WHEN 'text' THEN {same} <> {column}"
                f" WHEN 'blob' THEN CAST({cast} AS BLOB) <> {column} ELSE {cast} <> {column} END LIMIT 1"
            ).fetchone()
            if changed is not None:
                raise UnsafeError(
                    f"changing {self.table}.{name} to {new.type.compile(self.dialect)} would turn"
                    f" {changed[0]!r} into {changed[1]!r} (change-type).",
                    "correct such values, or add a new column and backfill it; nothing was changed. To list all"
                    " values of the column:",
                    f"SELECT {column} FROM {double_quoted(self.table)};",
                )

    def require_same_copies(self) -> None:
        """Raise UnsafeError if the new table has other values in a column whose type reflect_args or copy_from changes.

        Without a cast SQLite nevertheless makes 7 of '007' in an INTEGER column.
        """
        now = stored_columns(self.driver, self.batch.temp_table_name)
        for name, column in self.staying.items():
            before, after = self.columns.get(name.lower()), now[column.name.lower()]
            is_cast = isinstance(self.batch.column_transfers[name].get("expr"), Cast)
            if before is None or before.affinity == after.affinity or is_cast:
                continue
            old, new = double_quoted(before.name), double_quoted(after.name)
            # As text where digits count, such as 007; else as numbers, for which 1.50 is 1.5.
            text = "TEXT" if after.affinity == "INTEGER" else "NUMERIC"
            for types, kind in (("'text'", text), ("'integer', 'real'", "NUMERIC")):
                changed = self.driver.execute(
                    f"SELECT {old} FROM {double_quoted(self.table)} WHERE typeof({old}) IN ({types})"
                    f" AND CAST({old} AS {kind}) NOT IN (SELECT CAST({new} AS {kind})"
                    f" FROM {double_quoted(self.batch.temp_table_name)} WHERE {new} IS NOT NULL) LIMIT 1"
                ).fetchone()
                if changed is not None:
                    raise UnsafeError(
                        f"copying {self.table}.{name} ({before.type or 'no type'}) into a column of type {after.type}"
                        f" would change {changed[0]!r} (change-type).",
                        f"use {before.type or 'BLOB'} in reflect_args or copy_from, as in the database; nothing was"
                        " changed. To list all values of the column:",
                        f"SELECT {old} FROM {double_quoted(self.table)};",
                    )

    def _take_indexes(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the CREATE INDEX of each index to recreate unchanged, so that Alembic does not create it.

        Alembic still creates the indexes of renamed columns. Refuse the rebuild if one has DESC or COLLATE, which
        Alembic would lose.
        """
        read = {str(index.name) for index in self.batch.table.indexes}
        staying = {name.lower() for name in self.staying}
        unchanged = {name for name, column in self.staying.items() if column.name == name}
        for name, text in self._texts("index").items():
            # seqno, cid (-2 is an expression), name, desc, coll, key: sqlite.org/pragma.html, index_xinfo
            keys = [row for row in self.driver.execute(f"PRAGMA index_xinfo({double_quoted(name)})") if row[5]]
            if name not in read:  # of an expression, or copy_from leaves it out
                columns = {key[2].lower() for key in keys if key[1] != -2}
                if staying.issuperset(columns) and name not in self.batch.new_indexes:
                    yield name, text
            elif self.batch.reflected and name in self.batch.indexes:
                if unchanged.issuperset(key[2] for key in keys):
                    del self.batch.indexes[name]
                    yield name, text
                elif any(key[3] or key[4] != "BINARY" for key in keys):
                    self.refuse(_not_recreated(self.table, "index", name, "one of its columns is renamed"))

    def recreate(self) -> None:
        """Recreate the indexes and triggers that Alembic does not, and restore the last number of AUTOINCREMENT.

        Raise UnsafeError if rows are missing. Refuse the rebuild if a default or NOT NULL was lost, if an index or
        trigger cannot be recreated, or if a view or trigger no longer works.
        """
        if (rows := self._count_rows()) != self.rows:
            raise UnsafeError(
                f"the rebuild of {self.table} would lose rows: {self.rows} before, {rows} after.",
                "before this change correct or delete the rows that the new table's constraints reject, or remove ON"
                " CONFLICT from the new table; nothing was changed. To count the rows:",
                f"SELECT count(*) FROM {double_quoted(self.table)};",
            )
        if changed := list(self._find_changed_columns()):
            self.refuse(not_rebuilt(self.table, f"would lose {' and '.join(changed)}"))
        if self.sequence is not None and self.counts_up:
            self.driver.execute("DELETE FROM sqlite_sequence WHERE name = ?", (self.table,))
            self.driver.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (self.table, self.sequence))
        for kind, texts in (("index", self.indexes), ("trigger", self.triggers)):
            for name, text in texts.items():
                if failure := self._failure(text):
                    self.refuse(_not_recreated(self.table, kind, name, failure))
        for what, failure in self._find_failures():
            if (what, failure) not in self.failures:
                self.refuse(
                    UnsafeError(
                        f"{what} would not work after this change: {failure} (rebuild-loses).",
                        "in the script, drop it before this change and create a corrected one after it. Nothing was"
                        " changed; to see the SQL of all views and triggers:",
                        "SELECT name, sql FROM sqlite_master WHERE type IN ('view', 'trigger');",
                    )
                )

    def _find_changed_columns(self) -> Iterator[str]:
        """Yield the default and the NOT NULL of each column that has lost it without a change in the script."""
        now = stored_columns(self.driver, self.table)
        for name, column in self.staying.items():
            read, before, after = self.batch.table.c[name], self.columns.get(name.lower()), now[column.name.lower()]
            if before is None:
                continue
            if _sql_of(read) is _sql_of(column) and not keeps_default(self.driver, before, after):
                yield f"DEFAULT {before.default} of {before.name}"
            if before.is_not_null and not (after.is_not_null or after.in_key) and read.nullable == column.nullable:
                yield f"NOT NULL of {before.name}"

    def _find_failures(self) -> Iterator[tuple[str, str]]:
        """Yield each view or trigger that SQLite cannot compile, such as ``a trigger of pet``, and the error."""
        for kind, name in self.driver.execute(
            "SELECT DISTINCT type, tbl_name FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY type DESC"
        ).fetchall():
            table, what = double_quoted(name), f"the view {name}" if kind == "view" else f"a trigger of {name}"
            probes = [f"SELECT * FROM {table}"]
            if kind == "trigger":
                columns = [row[1] for row in self.driver.execute(f"PRAGMA table_xinfo({table})") if not row[6]]
                same = ", ".join(f"{column} = {column}" for column in map(double_quoted, columns))
                probes = [f"INSERT INTO {table} DEFAULT VALUES", f"DELETE FROM {table}", f"UPDATE {table} SET {same}"]
            failures = filter(None, (self._failure(f"EXPLAIN {probe}") for probe in probes))
            yield from ((what, failure) for failure in failures)

    def _failure(self, statement: str) -> str:
        try:
            self.driver.execute(statement)
        except sqlite3.Error as error:
            return str(error)
        return ""

    def _texts(self, kind: str) -> dict[str, str]:
        query = "SELECT name, sql FROM sqlite_master WHERE type = ? AND tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL"
        query += " ORDER BY rowid"
        return dict(self.driver.execute(query, (kind, self.table)).fetchall())

    def _count_rows(self) -> int:
        return int(self.driver.execute(f"SELECT count(*) FROM {double_quoted(self.table)}").fetchone()[0])

    def _last_number(self) -> int | None:
        """Return the last number that AUTOINCREMENT assigned in the table; None if it has not assigned any."""
        if not has_counters(self.driver):
            return None
        query = "SELECT seq FROM sqlite_sequence WHERE name = ? COLLATE NOCASE"
        found = self.driver.execute(query, (self.table,)).fetchone()
        return int(found[0]) if found else None


def _names_in_checks(clause: Clause) -> Iterator[str]:
    """Yield the words of each CHECK that are not strings, in lower case: the names of columns are among them."""
    for condition in clause.inside("CHECK"):
        yield from (word.text.lower() for word in condition.words if not word.is_string)


def _sql_of(column: "Column[Any]") -> Any:
    return getattr(column.server_default, "arg", None)


def _verbatim(condition: Any) -> Any:
    """Return SQL that SQLAlchemy has read into a text() so that it takes no part of it for a parameter."""
    return literal_column(condition.text) if isinstance(condition, TextClause) else condition


def not_rebuilt(table: str, why: str) -> UnsafeError:
    """Return the error for a table that cannot be rebuilt without a loss; ``why`` says what would be lost or fail."""
    return UnsafeError(
        f"SQLite has to rebuild {table}, and {why} (rebuild-loses).",
        "pass the whole table as it is now, as a sa.Table(), to batch_alter_table() in copy_from, or only what would be"
        " lost in table_args and table_kwargs; nothing was changed. To see its definition:",
        "SELECT sql FROM sqlite_master WHERE tbl_name = '{}';".format(table.replace("'", "''")),
    )


def _not_recreated(table: str, kind: str, name: str, failure: str) -> UnsafeError:
    return UnsafeError(
        f"the {kind} {name} of {table} cannot be recreated after this change: {failure} (rebuild-loses).",
        f"in the script, create a corrected {kind} after this change, and before it drop the present one with this line"
        " (nothing was changed):",
        f"op.execute({f'DROP {kind.upper()} {double_quoted(name)}'!r})",
    )


def schema_in_memory(connection: Connection | None) -> Connection:
    """Return a connection to a new SQLite database in memory, with the schema of ``connection`` but without rows.

    The database is empty if ``connection`` is None or not to SQLite.
    """
    copy = create_engine("sqlite://", poolclass=StaticPool, isolation_level="AUTOCOMMIT").connect()
    if connection is not None and connection.dialect.name == "sqlite":
        copy_schema(driver_connection(connection), driver_connection(copy))
    return copy
