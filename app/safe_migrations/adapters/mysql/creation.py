"""The statements that create a MySQL or MariaDB database again: its SHOW CREATE, and rows as QUOTE() writes them."""

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from sqlalchemy import Connection

from ..creation import Creation, inserts
from .catalog import ShowCreate, quoted, show_create, triggers_of
from .dump import cleaned_table
from .session import Execute, executing
from .snapshot import COLUMNS, DEFINER, app_objects
from .table_restore import COUNTER, without_counter

COMPUTED = re.compile("(VIRTUAL|STORED) GENERATED")  # DEFAULT_GENERATED is an expression as default
BINARY = ("binary", "varbinary", "blob", "bit", "geometry", "point", "linestring", "polygon", "vector")


def creations(connection: Connection) -> Iterator[Creation]:
    """Yield the statements: sequences, tables, rows, counters, and then routines, views and triggers.

    Objects have no definer: whoever runs the statements is the definer. A table does not name the engine and the
    character set that new tables of this database have anyway. Events are last.
    """
    execute = executing(connection)
    found = app_objects(execute)
    ((database, mode),) = execute("SELECT DATABASE(), @@SESSION.sql_mode")
    created = {(kind, name): _created(execute, kind, name, quoted(database)) for kind, name in found}
    texts = {each: text for each, (text, _) in created.items()}
    tables = sorted(name for kind, name in found if kind == "TABLE")
    for kind, name in found:
        if kind == "SEQUENCE":
            yield Creation(texts[kind, name], first=True)
            ((number, start),) = execute(f"SELECT next_not_cached_value, start_value FROM {quoted(name)}")
            if number != start:
                yield Creation(f"ALTER SEQUENCE {quoted(name)} RESTART WITH {number}", fills=name)
    usual = _usual_options(execute)
    # As in a dump: tables refer to each other, and so do rows.
    yield Creation("SET SESSION foreign_key_checks = 0", first=True, setting=True)
    for name in tables:
        text = without_counter(cleaned_table(texts["TABLE", name].encode(), True).decode())
        yield Creation(usual.sub("", text), name, first=True)
    for name in tables:
        yield from _rows(execute, name)
    for name in tables:
        yield from _counter(execute, name, texts["TABLE", name])
    yield Creation("SET SESSION foreign_key_checks = 1", setting=True)
    for wanted in ("FUNCTION", "PROCEDURE"):
        for kind, name in found:
            if kind == wanted:
                yield from _stored(mode, *created[kind, name])
    yield from (
        Creation(text) for text in _ordered({name: texts[kind, name] for kind, name in found if kind == "VIEW"})
    )
    for name in tables:
        for each in triggers_of(execute, name):
            yield from _stored(mode, *created["TRIGGER", each])
    for kind, name in found:
        if kind == "EVENT":
            yield from _stored(mode, *created[kind, name])


def _stored(mode: str, text: str, settings: dict[str, str]) -> Iterator[Creation]:
    """Yield the statement that creates a trigger or the like, in the SQL mode that the server has stored with it.

    ``mode`` is that of the session.
    """
    if (own := settings.get("sql_mode", mode)) == mode:
        yield Creation(text)
        return
    yield Creation(f"SET SESSION sql_mode = '{own}'", setting=True)
    yield Creation(text)
    yield Creation(f"SET SESSION sql_mode = '{mode}'", setting=True)


def _created(execute: Execute, kind: str, name: str, database: str) -> ShowCreate:
    """Return the SHOW CREATE of an object without its definer, and without ``database`` before the names of others.

    Tables and views name it before sequences and functions. A body of SQL, as of a trigger, is left as it was written.
    """
    text, settings = show_create(execute, kind, name) or ("", {})
    text = text.replace(f"{database}.", "") if kind in ("TABLE", "VIEW") else text
    return DEFINER.sub("", text, count=1), settings


def _usual_options(execute: Execute) -> re.Pattern[str]:
    """Return a pattern for the options after a CREATE TABLE that a new table of this database has by default."""
    ((engine, charset, collation),) = execute(
        "SELECT @@default_storage_engine, @@character_set_database, @@collation_database"
    )
    return re.compile(rf"(?<=\n\)) ENGINE={engine}(?: DEFAULT CHARSET={charset}(?: COLLATE={collation})?)?(?=\s|$)")


def _ordered(views: dict[str, str]) -> Iterator[str]:
    """Yield the text of each view after those that it names."""
    graph = {
        name: {other for other in views if other != name and quoted(other) in text} for name, text in views.items()
    }
    try:
        yield from [views[name] for name in TopologicalSorter(graph).static_order()]
    except CycleError:  # a column may have the name of a view
        yield from views.values()


def _rows(execute: Execute, table: str) -> Iterator[Creation]:
    """Yield the INSERTs of a table. Generated columns get no value, because they are computed."""
    columns = [column for column in execute(COLUMNS, (table,)) if not COMPUTED.search(column[3])]
    names = [quoted(name) for name, *_ in columns]
    key = [quoted(name) for name, _, is_key, _ in columns if is_key]
    pairs = zip(names, columns, strict=True)
    values = [_binary(name) if kind.endswith(BINARY) else f"QUOTE({name})" for name, (_, kind, *_) in pairs]
    query = f"SELECT CONCAT('(', CONCAT_WS(', ', {', '.join(values)}), ')') FROM {quoted(table)}"
    found = execute(f"{query} ORDER BY {', '.join(key or ['1'])}")
    yield from inserts(quoted(table), names, [row for (row,) in found], table)


def _binary(name: str) -> str:
    """Return SQL for a value as a hexadecimal literal, which has an even number of digits; HEX() of a BIT may not."""
    digits = f"IF(LENGTH(HEX({name})) % 2, '0', ''), HEX({name})"
    return f"IF({name} IS NULL, 'NULL', CONCAT('X''', {digits}, ''''))"


def _counter(execute: Execute, table: str, text: str) -> Iterator[Creation]:
    """Yield a statement that sets the next AUTO_INCREMENT number of a table, if its rows alone do not set it."""
    counter = COUNTER.search(text)
    column = next((name for name, _, _, extra in execute(COLUMNS, (table,)) if "auto_increment" in extra), None)
    if counter and column:
        number = int(counter[0].rpartition("=")[2])
        ((last,),) = execute(f"SELECT COALESCE(MAX({quoted(column)}), 0) FROM {quoted(table)}")
        if number != last + 1:
            yield Creation(f"ALTER TABLE {quoted(table)} AUTO_INCREMENT = {number}", fills=table)
