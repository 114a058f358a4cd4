"""Queries for the tables, views, triggers and other objects of a MySQL or MariaDB database."""

from collections.abc import Iterable

from sqlalchemy.exc import DBAPIError

from ..base import OWN_TABLES, RESTORE, SCRATCH, version_table
from .session import Execute, error_number, temporary_settings

TABLE_KINDS = {"BASE TABLE": "TABLE", "SYSTEM VERSIONED": "TABLE", "VIEW": "VIEW", "SEQUENCE": "SEQUENCE"}

ShowCreate = tuple[str, dict[str, str]]
"""The SHOW CREATE text of an object, and the session settings that the server stores with it, e.g. ``sql_mode``."""


def show_create(execute: Execute, kind: str, name: str) -> ShowCreate | None:
    """Return the SHOW CREATE text of an object and its stored settings; None if no object of this kind exists.

    Raise DBAPIError for any other error, e.g. a missing privilege. ``kind`` is "TABLE", "VIEW", "TRIGGER" or the like.
    """
    try:
        row = execute(f"SHOW CREATE {kind} {quoted(name)}")[0]
    except DBAPIError as error:
        if error_number(error.orig) not in NOT_THERE:
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
    """Return the names of the triggers of ``table``.

    Triggers of the same time and event, e.g. BEFORE INSERT, are in the order in which they fire.
    """
    return [
        name
        for (name,) in execute(
            "SELECT trigger_name FROM information_schema.triggers WHERE event_object_schema = DATABASE()"
            " AND event_object_table = %s ORDER BY action_timing, event_manipulation, action_order",
            (table,),
        )
    ]


def table_of_trigger(execute: Execute, trigger: str) -> str:
    """Return the table to which ``trigger`` belongs; an empty string if there is no such trigger."""
    query = "SELECT event_object_table FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    return next((str(table) for (table,) in execute(f"{query} AND trigger_name = %s", (trigger,))), "")


def list_objects(execute: Execute) -> list[tuple[str, str]]:
    """Return kind and name of each table, view, sequence, trigger, routine and event, e.g. ``("TABLE", "pet")``.

    The kind is one that show_create() accepts: that of a routine is PROCEDURE or FUNCTION.
    """
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
"""The journal's table. It exists while an upgrade or downgrade runs, and after one was killed."""


LOCK = f"{OWN_TABLES}lock"
"""The table of the locks of a Galera cluster (leased_lock.py). It stays, and belongs to no backup."""


def existing_tables(execute: Execute, *names: str) -> set[str]:
    """Return the ``names`` that are existing tables, views or sequences.

    Without ``names``, return the names of all tables, views and sequences, in lower case.
    """
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
    if not names:
        return {name.lower() for (name,) in execute(query)}
    marks = ", ".join(["%s"] * len(names))
    return {name for (name,) in execute(f"{query} AND table_name IN ({marks})", names)}


def heads_as_text(execute: Execute) -> str:
    """Return the database's current revisions, sorted and joined: ``"a1,b1"``; an empty string if there are none."""
    schema, name = version_table()
    query = "SELECT 1 FROM information_schema.tables WHERE table_schema = coalesce(%s, DATABASE()) AND table_name = %s"
    if not execute(query, (schema, name)):
        return ""
    place = ".".join(quoted(part) for part in (schema, name) if part)
    return as_text(head for (head,) in execute(f"SELECT version_num FROM {place}"))


def as_text(heads: Iterable[str]) -> str:
    """Return the revisions ``heads`` sorted and joined by commas: ``"a1,b1"``."""
    return ",".join(sorted(heads))


def drop_all(execute: Execute) -> None:
    """Drop all that list_objects() returns, except this package's marker tables SCRATCH and RESTORE, and the LOCK."""
    found = list_objects(execute)
    with temporary_settings(execute, {"foreign_key_checks": 0}):
        for kind, name in found:
            if name not in (SCRATCH, RESTORE, LOCK):
                execute(f"DROP {kind} IF EXISTS {quoted(name)}")


def quoted(name: str) -> str:
    """Return ``name`` in backticks, for use in SQL."""
    return f"`{name.replace('`', '``')}`"
