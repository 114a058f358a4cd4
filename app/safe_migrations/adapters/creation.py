"""The statements that create a database again, schema and rows, in the SQL of the database itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect

# The most rows of one INSERT; MySQL limits the length of a statement (max_allowed_packet).
ROWS = 500


@dataclass(frozen=True)
class Creation:
    """A statement that creates a part of a database.

    ``table`` is the table that it creates, or of which it creates a default, a key, an index or a comment, with its
    schema if that is not the default one; empty for everything else, triggers among it. ``first`` says whether a table
    may need what the statement creates. ``fills`` is the table into which it inserts rows, or whose counter it sets.
    ``setting`` says that it changes a setting of the session, for the other statements.
    """

    sql: str
    table: str = ""
    first: bool = False
    fills: str = ""
    setting: bool = False


def parents_first(connection: Connection, tables: Iterable[str]) -> list[str]:
    """Return the names ``tables`` of the default schema, each after those to which its foreign keys refer.

    Tables that refer to each other in a circle come last, in any order.
    """
    ordered = [name for name, _ in inspect(connection).get_sorted_table_and_fkc_names() if name]
    wanted = set(tables)
    return [*(name for name in ordered if name in wanted), *sorted(wanted - set(ordered))]


def inserts(into: str, columns: Sequence[str], values: Sequence[Any], table: str) -> list[Creation]:
    """Return INSERT statements for the rows ``values``, each of which is a text such as ``(1, 'Rex')``.

    ``into`` and ``columns`` are quoted names; ``table`` is the plain one.
    """
    return [
        Creation(
            f"INSERT INTO {into} ({', '.join(columns)}) VALUES\n" + ",\n".join(map(str, values[at : at + ROWS])),
            fills=table,
        )
        for at in range(0, len(values), ROWS)
    ]
