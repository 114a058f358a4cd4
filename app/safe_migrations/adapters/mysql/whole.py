"""The copy of all rows of a table that an ALTER TABLE may take, move to other keys or to another table."""

from uuid import uuid4

from app.safe_migrations.adapters.base import OWN_TABLES
from app.safe_migrations.adapters.mysql.catalog import columns_of, listed, primary_key, quoted
from app.safe_migrations.adapters.mysql.copies import Copy, all_equal


class WholeCopy(Copy):
    """Rows cannot be found by a key that was cast: those that are as the statement made them go, the kept ones come."""

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
            saved = f"{OWN_TABLES}saved_{uuid4().hex[:12]}"
            self.execute(f"CREATE TABLE {saved} {primary_key(self.after)} AS SELECT * FROM {self.kept}_after")
            return f"rows of {self.table} that others wrote meanwhile; the table {saved} has what was there"
        if not keys:
            return ""
        ((count,),) = self.execute(
            f"SELECT COUNT(*) FROM {self.kept}_after a LEFT JOIN {quoted(self.table)} t USING ({listed(keys)})"
            f" WHERE t.{quoted(keys[0])} IS NULL OR NOT ({all_equal(self.after)})"
        )
        return f"{count} rows of {self.table}, which others have changed since" if count else ""
