"""How the rows of a copy come back, when an undo has given the table its text again.

In the SQL below the copy is `k`, its twin, `..._after`, is `a`, and the table that they are of is `t`.
"""

from uuid import uuid4

from ..base import OWN_TABLES
from .catalog import quoted
from .columns import Column, all_equal, columns_of, equals, listed, primary_key
from .session import Execute
from .statements import Statement


def saved_name() -> str:
    """The name of a copy that stays for a person to look at."""
    return f"{OWN_TABLES}saved_{uuid4().hex[:12]}"


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

    @property
    def empty_columns(self) -> set[str]:
        """The columns that are added back before their values."""
        return {column.name for column in self.columns if column.name in self.taken and not self.taken[column.name]}

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
        saved = saved_name()
        self.execute(f"RENAME TABLE {self.kept} TO {saved}")
        return saved

    def _saved(self) -> str:
        """Values whose rows cannot be told apart."""
        what = f"{', '.join(self.taken) or 'rows'} of {self.table}"
        return f"{what}, which has no primary key; the table {self.save()} has what was there"


class WholeCopy(Copy):
    """Rows cannot be found by a key that was cast: those that are as the statement made them go, the kept ones come."""

    empty_columns: set[str] = set()

    def prepare(self, is_changed: bool) -> str:
        """Before the text is changed back: delete what the statement made of the rows; tells which could not be found.

        What others have changed, deleted or added since is left so. Whether the table ``is_changed`` says whether the
        statement has run if the run was killed before it could copy what that made: then what is there is taken for it.
        """
        columns = columns_of(self.execute, self.table)
        keys = [column.name for column in columns if column.key]
        moves = not set(keys) <= {column.name for column in self.columns} - set(self.taken)
        if not self.after and is_changed and (moves or not keys):
            source = f"SELECT {listed([column.name for column in columns])} FROM {quoted(self.table)}"
            self.execute(f"CREATE TABLE {self.kept}_after {primary_key(columns)} ENGINE=InnoDB AS {source}")
            self.after = columns_of(self.execute, f"{self.kept}_after")
        if not self.after:
            return ""
        told = self._others(keys) if moves and not self.exchanges else ""
        if keys:
            self._delete(keys, moves)
        elif self._is_all_there(f"{self.kept}_after", self.after):
            self.execute(f"DELETE FROM {quoted(self.table)}")
        return told

    def put_back(self) -> str:
        """The kept rows that are not there; a text that tells what could not be put back, or nothing."""
        keys = [column.name for column in columns_of(self.execute, self.table) if column.key]
        if keys or not self.execute(f"SELECT 1 FROM {quoted(self.table)} LIMIT 1"):
            self._insert(keys)
            return ""
        return "" if self._is_all_there(self.kept, self.columns) else self._saved()

    def _delete(self, keys: list[str], moves: bool) -> None:
        table, using, ours = quoted(self.table), f"USING ({listed(keys)})", all_equal(self.after)
        ours_alone = ""
        if not moves:
            self.execute(
                f"DELETE k FROM {self.kept} k JOIN {self.kept}_after a {using} LEFT JOIN {table} t {using}"
                f" WHERE t.{quoted(keys[0])} IS NULL OR NOT ({ours})"
            )
            ours_alone = "" if self.exchanges else f"JOIN {self.kept} k {using}"
        self.execute(f"DELETE t FROM {table} t JOIN {self.kept}_after a {using} {ours_alone} WHERE {ours}")

    def _others(self, keys: list[str]) -> str:
        """Rows that others have changed since, or added while the statement began."""
        ((added,),) = self.execute(
            f"SELECT (SELECT COUNT(*) FROM {self.kept}) - (SELECT COUNT(*) FROM {self.kept}_after)"
        )
        if added:
            saved = saved_name()
            self.execute(f"CREATE TABLE {saved} {primary_key(self.after)} AS SELECT * FROM {self.kept}_after")
            return f"rows of {self.table} that others wrote meanwhile; the table {saved} has what was there"
        if not keys:
            return ""
        ((count,),) = self.execute(
            f"SELECT COUNT(*) FROM {self.kept}_after a LEFT JOIN {quoted(self.table)} t USING ({listed(keys)})"
            f" WHERE t.{quoted(keys[0])} IS NULL OR NOT ({all_equal(self.after)})"
        )
        return f"{count} rows of {self.table}, which others have changed since" if count else ""
