"""What a MySQL or MariaDB server says of its objects."""

from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters.base import OWN_TABLES, SCRATCH
from app.safe_migrations.adapters.mysql.session import Execute, set_aside

TABLE_KINDS = {"BASE TABLE": "TABLE", "SYSTEM VERSIONED": "TABLE", "VIEW": "VIEW", "SEQUENCE": "SEQUENCE"}


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


ShowCreate = tuple[str, dict[str, str]]
"""A text, and the settings of the session, ``sql_mode`` and others, that it was made with and runs with."""


def show_create(execute: Execute, kind: str, name: str) -> ShowCreate | None:
    """What SHOW CREATE says of it; None if it is not there."""
    try:
        row = execute(f"SHOW CREATE {kind} {quoted(name)}")[0]
    except DBAPIError as error:
        if error.orig is None or error.orig.args[0] not in NOT_THERE:
            raise
        return None
    names = SETTINGS.get(kind, ("name", "text"))
    settings = {name: str(value) for name, value in zip(names, row, strict=False)}
    del settings["name"]
    return settings.pop("text"), settings


CHARSETS = ("character_set_client", "collation_connection")
SETTINGS = {
    "VIEW": ("name", "text", *CHARSETS),
    "EVENT": ("name", "sql_mode", "time_zone", "text", *CHARSETS),
    **dict.fromkeys(("TRIGGER", "PROCEDURE", "FUNCTION"), ("name", "sql_mode", "text", *CHARSETS)),
}
# ER_BAD_TABLE_ERROR, ER_NO_SUCH_TABLE, ER_SP_DOES_NOT_EXIST, ER_WRONG_OBJECT, ER_TRG_DOES_NOT_EXIST,
# ER_EVENT_DOES_NOT_EXIST, ER_NOT_SEQUENCE, ER_UNKNOWN_SEQUENCES
NOT_THERE = {1051, 1146, 1305, 1347, 1360, 1539, 4089, 4091}


def triggers_of(execute: Execute, table: str) -> list[str]:
    """The names of its triggers, in the order in which they fire."""
    return [
        name
        for (name,) in execute(
            "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema = DATABASE()"
            " AND event_object_table = %s ORDER BY action_timing, event_manipulation, action_order",
            (table,),
        )
    ]


def table_of_trigger(execute: Execute, trigger: str) -> str:
    """The table on which it is, or nothing."""
    query = "SELECT event_object_table FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    return next((str(table) for (table,) in execute(f"{query} AND trigger_name = %s", (trigger,))), "")


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


def there_are(execute: Execute) -> list[tuple[str, str]]:
    """Kind and name of each table, view, sequence, trigger, routine and event: ``[("TABLE", "pet")]``."""
    queries = (
        ("table_type, table_name", "tables", "table_schema"),
        ("'TRIGGER', trigger_name", "triggers", "trigger_schema"),
        ("routine_type, routine_name", "routines", "routine_schema"),
        ("'EVENT', event_name", "events", "event_schema"),
    )
    return [
        (str(TABLE_KINDS.get(kind, kind)), name)
        for columns, table, schema in queries
        for kind, name in execute(f"SELECT {columns} FROM information_schema.{table} WHERE {schema} = DATABASE()")
    ]


JOURNAL = f"{OWN_TABLES}journal"
"""The table that is there while a run goes on, or after one was killed."""

RESTORE = f"{OWN_TABLES}restore"
"""A table that is there while a backup is restored; it has the path of the file."""


def there(execute: Execute, *names: str) -> set[str]:
    """Those of these tables that are there."""
    marks = ", ".join(["%s"] * len(names))
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name"
    return {name for (name,) in execute(f"{query} IN ({marks})", names)}


def broken_restore(execute: Execute) -> str:
    """The file whose restore is under way or was broken off, or an empty text."""
    if not there(execute, RESTORE):
        return ""
    return next((str(file) for (file,) in execute(f"SELECT file FROM {RESTORE}")), "FILE")


def drop_all(execute: Execute) -> None:
    """Drop all of them; but the marks of a scratch database and of a restore stay."""
    found = there_are(execute)
    with set_aside(execute, {"foreign_key_checks": 0}):
        for kind, name in found:
            if name not in (SCRATCH, RESTORE):
                execute(f"DROP {kind} IF EXISTS {quoted(name)}")


# InnoDB takes 3072 (MySQL manual, "InnoDB Limits"), of which some are for the columns that are no text.
OCTETS_OF_A_KEY = 3000


def primary_key(columns: list[Column]) -> str:
    """The key of the table that has these columns, for its copy; nothing if only a part of each text is in the key."""
    keys = [column for column in columns if column.key]
    fits = sum(column.octets for column in keys) <= OCTETS_OF_A_KEY
    return f"(PRIMARY KEY ({listed([column.name for column in keys])}))" if keys and fits else ""


# Compared byte by byte, for a collation may take 'a' and 'A' for the same.
TEXTS = {"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"}


def equals(one: str, other: str, column: Column) -> str:
    """SQL for: two values of this column are the same."""
    return f"CAST({one} AS BINARY) <=> CAST({other} AS BINARY)" if column.text else f"{one} <=> {other}"


def quoted(name: str) -> str:
    """The name as SQL."""
    return f"`{name.replace('`', '``')}`"


def listed(names: list[str], alias: str = "") -> str:
    """The columns as SQL, of the table with that alias."""
    return ", ".join((f"{alias}." if alias else "") + quoted(name) for name in names)
