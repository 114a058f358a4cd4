"""The columns of a table that hold values of their own, and what SQL says with them of a table and its copy."""

from dataclasses import dataclass

from .catalog import quoted
from .session import Execute

# InnoDB takes 3072 (MySQL manual, "InnoDB Limits"), of which some are for the columns that are no text.
OCTETS_OF_A_KEY = 3000
# Compared byte by byte, for a collation may take 'a' and 'A' for the same.
TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}


@dataclass(frozen=True)
class Column:
    """A column that holds values of its own."""

    name: str
    type: str
    key: bool
    text: bool
    follows_updates: bool
    nullable: bool
    charset: str
    octets: int


def columns_of(execute: Execute, table: str) -> list[Column]:
    """Its columns but for generated ones."""
    return [
        Column(
            name.lower(),
            kind,
            key == "PRI",
            data in TEXTS,
            "on update" in extra.lower(),
            nullable == "YES",
            charset or "",
            OCTETS_OF_A_KEY + 1 if data.endswith(("text", "blob")) else int(octets or 0),
        )
        for name, kind, key, data, extra, nullable, charset, octets in execute(
            "SELECT column_name, column_type, column_key, data_type, extra, is_nullable, character_set_name,"
            " character_octet_length FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = %s ORDER BY ordinal_position",
            (table,),
        )
        if " GENERATED" not in extra.upper()
    ]


def primary_key(columns: list[Column]) -> str:
    """The key of the table that has these columns, for its copy; nothing if only a part of each text is in the key."""
    keys = [column for column in columns if column.key]
    fits = sum(column.octets for column in keys) <= OCTETS_OF_A_KEY
    return f"(PRIMARY KEY ({listed([column.name for column in keys])}))" if keys and fits else ""


def equals(one: str, other: str, column: Column) -> str:
    """SQL for: two values of this column are the same."""
    return f"CAST({one} AS BINARY) <=> CAST({other} AS BINARY)" if column.text else f"{one} <=> {other}"


def all_equal(columns: list[Column], alias: str = "a") -> str:
    """SQL for: the row of the table is that of the copy."""
    return " AND ".join(equals(f"t.{quoted(c.name)}", f"{alias}.{quoted(c.name)}", c) for c in columns)


def listed(names: list[str], alias: str = "") -> str:
    """The columns as SQL, of the table with that alias."""
    return ", ".join((f"{alias}." if alias else "") + quoted(name) for name in names)
