"""Copies of rows that a revision on MySQL or MariaDB takes or changes, made before; returning_rows.py brings them back.

A copy is a table beside the journal; in the SQL below it is `k`, and `t` is the table that it is of. Its twin,
`..._after` or `a`, has the rows as the revision made them, to tell them from what others write later.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ...console import log
from ..base import OWN_TABLES
from .catalog import quoted
from .columns import Column, all_equal, columns_of, listed, primary_key
from .definitions import charset_of
from .modifications import Modification, loses
from .session import Execute
from .statements import Statement

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
    """Makes the copies of one run. ``execute`` runs on the connection of the steps, ``beside`` on another one, and
    within ``plainly`` the session of the steps has plain settings.
    """

    def __init__(self, execute: Execute, beside: Execute, plainly: Callable[[], AbstractContextManager[None]]) -> None:
        self.execute = execute
        self.beside = beside
        self.plainly = plainly
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
        if not self.execute(f"SELECT 1 FROM {quoted(table)} LIMIT 1"):
            return ""
        found = columns_of(self.execute, table)
        taken = statement.taken_columns
        charset = charset_of(text)
        lost = [
            column for column in found if column.name in taken and loses(column, taken[column.name], charset, strict)
        ]
        is_whole = statement.takes_all_rows or self._moves_rows(table, found, lost, taken)
        wanted = found if is_whole else lost
        if not wanted:
            return ""
        kept = self._new_name(WHOLE if is_whole and statement.verb == "ALTER" else KEPT)
        columns = [column for column in found if column.key or column in wanted]
        names = [column.name for column in columns]
        log.info("Keeping %s of %s until the revision is done", ", ".join(column.name for column in wanted), table)
        source = f"ENGINE=InnoDB AS SELECT {listed(names)} FROM {quoted(table)}"
        with self.plainly():
            self.execute(f"CREATE TABLE {kept} {primary_key(columns)} {source}")
        if kept.startswith(WHOLE) or any(taken.get(column.name) for column in wanted):
            self.casts.append(_Made(kept, statement, table, columns))
        return kept

    def _moves_rows(
        self, table: str, found: list[Column], lost: list[Column], taken: Mapping[str, Modification | None]
    ) -> bool:
        """Whether rows get other keys, or have none by which a value could be put back."""
        if any(column.key for column in lost) or (lost and not any(column.key for column in found)):
            return True
        auto_increment = [name for name, now in taken.items() if now and "AUTO_INCREMENT" in now.words]
        return any(
            self.execute(f"SELECT 1 FROM {quoted(table)} WHERE {quoted(column.name)} = 0 LIMIT 1")
            for column in found
            if column.name in auto_increment
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
