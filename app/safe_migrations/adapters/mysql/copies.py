"""Copies of rows that a revision on MySQL or MariaDB takes or changes: made before, and brought back if it fails.

A copy is a table beside the journal; in the SQL below it is `k`, and `t` is the table that it is of. Its twin,
`..._after` or `a`, has the rows as the revision made them, to tell them from what others write later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import uuid4

from app.safe_migrations.adapters.base import OWN_TABLES
from app.safe_migrations.adapters.mysql.catalog import Column, columns_of, equals, listed, primary_key, quoted
from app.safe_migrations.adapters.mysql.definitions import charset_of
from app.safe_migrations.adapters.mysql.session import Execute
from app.safe_migrations.adapters.mysql.statements import Cast, Statement, keeps_letters, keeps_values
from app.safe_migrations.progress import log

KEPT = f"{OWN_TABLES}kept"
WHOLE = f"{KEPT}_whole"


@dataclass(frozen=True)
class _Made:
    """A copy of which there is to be a twin when ``statement`` has run."""

    kept: str
    statement: Statement
    table: str
    columns: list[Column]


class Copies:
    """Makes the copies of one run. ``execute`` runs on the connection of the steps, ``beside`` on another one."""

    def __init__(self, execute: Execute, beside: Execute) -> None:
        self.execute = execute
        self.beside = beside
        self.count = 0
        self.casts: list[_Made] = []

    def of_what_it_takes(self, statement: Statement, table: str, text: str, strict: bool) -> str:
        """Copy the values that the statement takes away or casts, each with its row's key; the copy's name.

        All rows, if it may take some, or if they could not be found by their key afterwards. ``text`` is that of the
        table; ``strict`` says whether the server refuses what a column cannot hold.
        """
        if statement.verb == "ALTER" and table not in statement.changes_rows_of:
            return ""
        if not statement.takes_all_rows and not statement.taken_columns:
            return ""
        found = columns_of(self.execute, table)
        taken = statement.taken_columns
        lost = [column for column in found if column.name in taken and _loses(column, taken, charset_of(text), strict)]
        is_whole = statement.takes_all_rows or self._moves_rows(table, found, lost, taken)
        wanted = found if is_whole else lost
        if not wanted or not self.execute(f"SELECT 1 FROM {quoted(table)} LIMIT 1"):
            return ""
        kept = self._new_name(WHOLE if is_whole and statement.verb == "ALTER" else KEPT)
        columns = [column for column in found if column.key or column in wanted]
        names = [column.name for column in columns]
        log.info("Keeping %s of %s until the revision is done", ", ".join(column.name for column in wanted), table)
        source = f"ENGINE=InnoDB AS SELECT {listed(names)} FROM {quoted(table)}"
        self.execute(f"CREATE TABLE {kept} {primary_key(columns)} {source}")
        if kept.startswith(WHOLE) or any(taken.get(column.name) for column in wanted):
            self.casts.append(_Made(kept, statement, table, columns))
        return kept

    def _moves_rows(
        self, table: str, found: list[Column], lost: list[Column], taken: Mapping[str, Cast | None]
    ) -> bool:
        """Whether rows get other keys, or have none by which a value could be put back."""
        if any(column.key for column in lost) or (lost and not any(column.key for column in found)):
            return True
        numbered = [name for name, cast in taken.items() if cast and "AUTO_INCREMENT" in cast.words]
        return any(
            self.execute(f"SELECT 1 FROM {quoted(table)} WHERE {quoted(column.name)} = 0 LIMIT 1")
            for column in found
            if column.name in numbered
        )

    def of_what_it_cast(self) -> None:
        """The statement has run: copy what it made of the values."""
        for made in self.casts:
            statement = made.statement
            table = dict(statement.renamed_tables).get(made.table, made.table)
            now = {old: new for new, old in statement.renamed_columns.items()}
            if made.kept.startswith(WHOLE):
                columns = columns_of(self.execute, table)
                values = listed([column.name for column in columns])
            else:
                columns = [column for column in made.columns if statement.taken_columns.get(column.name, "key")]
                values = ", ".join(f"{quoted(now.get(c.name, c.name))} AS {quoted(c.name)}" for c in columns)
            source = f"ENGINE=InnoDB AS SELECT {values} FROM {quoted(table)}"
            self.execute(f"CREATE TABLE {made.kept}_after {primary_key(columns)} {source}")
        self.forget_casts()

    def forget_casts(self) -> None:
        """The statement has failed, and has cast nothing."""
        self.casts = []

    def of_changes(self, table: str) -> str:
        """Copy the rows that differ between this transaction and what is committed, as they were and as they are.

        The table has to have a primary key and transactions; returns the copy's name.
        """
        found = columns_of(self.execute, table)
        names, keys = [column.name for column in found], [column.name for column in found if column.key]
        kept, using = self._new_name(KEPT), f"USING ({listed(keys)})"
        for copy, where in ((kept, ""), (f"{kept}_after", " LIMIT 0")):
            self.beside(
                f"CREATE TABLE {copy} {primary_key(found)} ENGINE=InnoDB"
                f" AS SELECT {listed(names)} FROM {quoted(table)}{where}"
            )
        equal = all_equal(found, "k")
        self.execute(
            f"INSERT INTO {kept}_after SELECT {listed(names, 't')} FROM {quoted(table)} t LEFT JOIN {kept} k {using}"
            f" WHERE NOT (k.{quoted(keys[0])} IS NOT NULL AND {equal})"
        )
        self.execute(f"DELETE k FROM {kept} k JOIN {quoted(table)} t {using} WHERE {equal}")
        return kept

    def _new_name(self, begin: str) -> str:
        self.count += 1
        return f"{begin}_{self.count}"


def _loses(column: Column, taken: Mapping[str, Cast | None], charset: str, strict: bool) -> bool:
    """Whether the column goes, or is cast to what does not keep all its values."""
    cast = taken[column.name]
    if cast is None or cast.is_generated or not keeps_values(column.type, cast.type):
        return True
    if column.charset and not keeps_letters(column.charset, cast.charset or charset):
        return True
    is_timestamp = column.type.lower().startswith("timestamp")  # MariaDB makes NULL the time, in its strict mode too
    if column.nullable and cast.not_null and (is_timestamp or not strict):
        return True
    return not strict and column.type.lower().startswith(("enum", "set"))


def all_equal(columns: list[Column], alias: str = "a") -> str:
    """SQL for: the row of the table is that of the copy."""
    return " AND ".join(equals(f"t.{quoted(c.name)}", f"{alias}.{quoted(c.name)}", c) for c in columns)


class Copy:
    """The copy ``kept`` of rows of ``table``, made before ``statement``, and how they come back."""

    def __init__(self, execute: Execute, kept: str, table: str, statement: Statement) -> None:
        self.execute = execute
        self.kept = kept
        self.table = table
        self.taken = statement.taken_columns
        self.takes_rows = statement.takes_tables
        self.exchanges = "EXCHANGE" in statement.keywords
        self.now = {old: new for new, old in statement.renamed_columns.items()}
        self.columns = columns_of(execute, kept)
        self.after = columns_of(execute, f"{kept}_after")

    def prepare(self, _is_changed: bool) -> str:
        """Of a column that was cast, only what still has the value that the statement made of it is put back."""
        keys = [column.name for column in self.after if column.name not in self.taken]
        equal = " AND ".join(
            equals(f"t.{quoted(self.now.get(c.name, c.name))}", f"a.{quoted(c.name)}", c) for c in self.after
        )
        if keys:
            self.execute(
                f"DELETE a FROM {self.kept}_after a JOIN {quoted(self.table)} t USING ({listed(keys)})"
                f" WHERE NOT ({equal})"
            )
        return ""

    def put_back(self) -> str:
        """What the statement took, into the table as it was; a text that tells what could not be, or nothing."""
        keys = [column.name for column in columns_of(self.execute, self.table) if column.key]
        is_empty = not self.execute(f"SELECT 1 FROM {quoted(self.table)} LIMIT 1")
        if self.takes_rows and (keys or is_empty):
            self._insert(keys)
        elif not keys:
            return "" if self.takes_rows and self._is_all_there(self.kept, self.columns) else self._saved()
        else:
            taken = [column.name for column in self.columns if column.name in self.taken]
            cast = [name for name in taken if self.taken[name]]
            self._update([name for name in taken if name not in cast], keys)
            self._update(cast, keys, f"JOIN {self.kept}_after a USING ({listed(keys)})" if self.after else "")
        return ""

    def put_changes_back(self) -> str:
        """Rows that the transaction inserted, changed or deleted, unless others have changed them since: that is told.

        Those that are as we made them are deleted, and all go in as they were: one by one, a changed row could meet a
        unique value of another that is still to be changed back.
        """
        columns = columns_of(self.execute, self.table)
        keys = [column.name for column in columns if column.key]
        if not keys:
            return (
                f"rows of {self.table}, which is gone or has no primary key; the table {self.save()} has what was there"
            )
        table, key, using = quoted(self.table), quoted(keys[0]), f"USING ({listed(keys)})"
        ours, theirs = all_equal(columns), all_equal(columns, "k")
        after = f"{self.kept}_after a"
        ((others,),) = self.execute(
            f"SELECT COUNT(*) FROM {table} t JOIN {after} {using} LEFT JOIN {self.kept} k {using}"
            f" WHERE NOT ({ours}) AND NOT (k.{key} IS NOT NULL AND {theirs})"
        )
        self.execute(
            f"DELETE k FROM {self.kept} k JOIN {after} {using} LEFT JOIN {table} t {using} WHERE t.{key} IS NULL"
        )
        self.execute(f"DELETE t FROM {table} t JOIN {after} {using} WHERE {ours}")
        self._insert(keys)
        return f"{others} rows of {self.table}, which others have changed since" if others else ""

    def _is_all_there(self, copy: str, columns: list[Column]) -> bool:
        """Whether the table has the rows of the copy, each as often."""
        names = ", ".join(
            f"CAST({quoted(c.name)} AS BINARY) AS {quoted(c.name)}" if c.text else quoted(c.name) for c in columns
        )
        count = f"{OWN_TABLES}count"
        both = f"SELECT 1 AS {count}, {names} FROM {quoted(self.table)} UNION ALL SELECT -1, {names} FROM {copy}"
        groups = listed([column.name for column in columns])
        return not self.execute(f"SELECT 1 FROM ({both}) u GROUP BY {groups} HAVING SUM({count}) <> 0 LIMIT 1")

    def _insert(self, keys: list[str]) -> None:
        """All kept rows that are not there; those that are, others have written meanwhile."""
        columns = [column.name for column in self.columns]
        table, where = quoted(self.table), ""
        if keys:
            where = f" LEFT JOIN {table} t USING ({listed(keys)}) WHERE t.{quoted(keys[0])} IS NULL"
        self.execute(f"INSERT INTO {table} ({listed(columns)}) SELECT {listed(columns, 'k')} FROM {self.kept} k{where}")

    def _update(self, columns: list[str], keys: list[str], joined: str = "") -> None:
        """The values of these columns, and of no other: not of one that ON UPDATE sets."""
        if not columns:
            return
        names = columns + [column.name for column in columns_of(self.execute, self.table) if column.follows_updates]
        values = [f"t.{quoted(name)} = {'k' if name in columns else 't'}.{quoted(name)}" for name in names]
        tables = f"{quoted(self.table)} t JOIN {self.kept} k USING ({listed(keys)}) {joined}"
        self.execute(f"UPDATE {tables} SET {', '.join(values)}")

    def save(self) -> str:
        """Let the copy stay for a person to look at; its new name."""
        saved = f"{OWN_TABLES}saved_{uuid4().hex[:12]}"
        self.execute(f"RENAME TABLE {self.kept} TO {saved}")
        return saved

    def _saved(self) -> str:
        """Values whose rows cannot be told apart."""
        what = f"{', '.join(self.taken) or 'rows'} of {self.table}"
        return f"{what}, which has no primary key; the table {self.save()} has what was there"
