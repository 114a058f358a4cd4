"""The primary keys of MySQL and MariaDB as text, and the comparison of their values without any change."""

import re
from functools import partial

from sqlalchemy import CHAR, ColumnElement, TableClause, cast, column, func, literal_column

from ...errors import MigrationError
from ..base import KeyColumn
from .session import Execute

BINARY = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry"}
# Types that compare as the number of the value, by which the index is sorted, if the other side is a number.
NUMBERED = {"enum", "set", "bit", "year"}
NUMBERS = {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "double"}


def primary_key(execute: Execute, table: TableClause) -> list[KeyColumn]:
    """Return the columns of the table's primary key in the order of its index; an empty list if it has none."""
    found = execute(
        "SELECT c.column_name, c.data_type, c.character_set_name, c.collation_name"
        " FROM information_schema.statistics s JOIN information_schema.columns c"
        " ON c.table_schema = s.table_schema AND c.table_name = s.table_name AND c.column_name = s.column_name"
        " WHERE s.table_schema = coalesce(%s, DATABASE()) AND s.table_name = %s AND s.index_name = 'PRIMARY'"
        " ORDER BY s.seq_in_index",
        (table.schema, table.name),
    )
    if any(type_ == "timestamp" for _, type_, *_ in found):
        _require_fixed_time_zone(execute, table.name)
    return [_key_column(*row) for row in found]


def _key_column(name: str, type_: str, charset: str | None, collation: str | None) -> KeyColumn:
    made: ColumnElement[str] = column(name)
    if charset:
        # The bytes: on the way to the client and back, some characters of some character sets become others.
        return KeyColumn(column(name), func.hex(made), partial(_in_hex, f"_{charset} X'{{}}' COLLATE {collation}"))
    if type_ in BINARY:
        return KeyColumn(column(name), func.hex(made), partial(_in_hex, "X'{}'"))
    if type_ in NUMBERED:
        return KeyColumn(column(name), cast(made + literal_column("0"), CHAR), literal_column)
    if type_ == "float":  # as text it has fewer digits than as a double
        return KeyColumn(column(name), cast(made + literal_column("0e0"), CHAR), _as_double)
    if type_ == "double":
        return KeyColumn(column(name), cast(made, CHAR), _as_double)
    return KeyColumn(column(name), cast(made, CHAR), literal_column if type_ in NUMBERS else _quoted)


def _in_hex(pattern: str, stored: str) -> ColumnElement[str]:
    return literal_column(pattern.format(stored))


def _as_double(stored: str) -> ColumnElement[str]:
    return literal_column(stored if "e" in stored else f"{stored}e0")


def _quoted(stored: str) -> ColumnElement[str]:
    return literal_column(f"'{stored}'")


def _require_fixed_time_zone(execute: Execute, table: str) -> None:
    """Raise MigrationError if the session's time zone may have two moments with the same local time, in autumn."""
    ((zone, system),) = execute("SELECT @@SESSION.time_zone, @@GLOBAL.system_time_zone")
    if re.fullmatch(r"[+-]\d\d:\d\d|UTC|GMT|Etc/.*", system if zone == "SYSTEM" else zone):
        return
    raise MigrationError(
        f"the primary key of {table} has a TIMESTAMP column, and in the time zone of this session, {zone}, two of its"
        " values can look the same.",
        "run this revision with a fixed time zone: add this option to DATABASE_URL, behind a ? or an &:",
        "init_command=SET%20time_zone%3D%27%2B00%3A00%27",
    )
