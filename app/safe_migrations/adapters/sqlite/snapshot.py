"""What SQLite says of the objects of a database, and of its rows.

SQLite keeps the text of a table as it was typed, and batch mode types it anew, so these texts are not compared as a
whole: PRAGMAs tell what columns, keys and indexes are, and the text what they do not tell.
"""

import re
import sqlite3
from collections.abc import Iterator
from itertools import groupby

from app.safe_migrations.adapters.base import OWN_TABLES
from app.safe_migrations.adapters.snapshot import Rows, Snapshot

TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|[^\w\s])", re.DOTALL
)
# Kinds of columns (sqlite.org/pragma.html, table_xinfo).
KINDS = {0: "", 1: "HIDDEN", 2: "GENERATED", 3: "GENERATED STORED"}
SAID_OF_TABLES = {"AUTOINCREMENT", "CONFLICT", "DEFERRABLE", "DEFERRED", "STRICT", "ROWID", "VIRTUAL"}
CONSTRAINTS = {"CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN"}
KEYWORDS = {*SAID_OF_TABLES, *CONSTRAINTS, "COLLATE", "AS"}


def taken(connection: sqlite3.Connection) -> Snapshot:
    """Read it."""
    schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    objects: dict[str, str] = {}
    tables = {}
    for kind, name, table, sql in schema:
        if table == "alembic_version" or table.startswith((OWN_TABLES, "sqlite_")):
            continue
        tokens = _tokens(sql)
        if kind == "table":
            objects |= dict(_described(connection, name, tokens))
            tables[name] = _rows(connection, name)
        else:
            objects[f"{kind} {name}" + ("" if table == name else f" of {table}")] = " ".join(tokens)
    return Snapshot(objects, tables)


def _described(connection: sqlite3.Connection, table: str, tokens: list[str]) -> Iterator[tuple[str, str]]:
    yield f"table {table}", " ".join(sorted(token for token in tokens if token in SAID_OF_TABLES))
    said = _said_of_columns(tokens)
    columns = connection.execute(f"PRAGMA table_xinfo({_quoted(table)})").fetchall()
    key = [column for column in columns if column[5]]
    for _, name, kind, not_null, default, place, hidden in columns:
        # A key of the type INTEGER is the rowid, which is never NULL, whatever is said.
        never_null = not_null or (len(key) == 1 and place and kind.upper() == "INTEGER")
        words = [kind.upper(), "NOT NULL" if never_null else "", KINDS[hidden], f"KEY {place}" if place else ""]
        words += [f"DEFAULT {' '.join(_tokens(_inner(default)))}"] if default is not None else []
        yield f"column {name} of {table}", " ".join(filter(None, [*words, *said.get(name.lower(), [])]))
    keys = connection.execute(f"PRAGMA foreign_key_list({_quoted(table)})").fetchall()
    for (_, parent, rules), parts in groupby(keys, lambda row: (row[0], row[2], row[5:8])):
        pairs = [(part[3], part[4]) for part in parts]
        yield f"foreign key {pairs} to {parent} of {table}", " ".join(rules)
    for _, index, _, origin, _ in connection.execute(f"PRAGMA index_list({_quoted(table)})").fetchall():
        if origin == "u":
            on = connection.execute(f"PRAGMA index_xinfo({_quoted(index)})").fetchall()
            yield f"UNIQUE {[row[2] for row in on if row[5]]} of {table}", ""
    for at, token in enumerate(tokens):
        if token == "CHECK":
            yield f"CHECK {_bracketed(tokens, at + 1)} of {table}", ""
        elif token == "CONSTRAINT":
            yield f"constraint {tokens[at + 1]} of {table}", ""


def _said_of_columns(tokens: list[str]) -> dict[str, list[str]]:
    """Collation and expression of each column that has one, by its name in lower case."""
    found: dict[str, list[str]] = {}
    depth, column = 0, ""
    for at, token in enumerate(tokens):
        depth += (token == "(") - (token == ")")
        if depth == 1 and tokens[at - 1] in ("(", ","):
            column = "" if token in CONSTRAINTS else token.strip('"').lower()
        if column and token == "COLLATE":
            found.setdefault(column, []).append(f"COLLATE {tokens[at + 1].upper()}")
        elif column and token == "AS" and tokens[at + 1 : at + 2] == ["("]:
            found.setdefault(column, []).append(f"AS {_bracketed(tokens, at + 1)}")
    return found


def _bracketed(tokens: list[str], start: int) -> str:
    """From the parenthesis at ``start`` to the one that closes it."""
    depth = 0
    for at in range(start, len(tokens)):
        depth += (tokens[at] == "(") - (tokens[at] == ")")
        if not depth:
            return " ".join(tokens[start : at + 1])
    return " ".join(tokens[start:])


def _tokens(sql: str) -> list[str]:
    """Without white space and comments; all but strings in upper case, and names without quotes if they need none."""
    found = []
    for token in filter(None, TOKEN.findall(sql)):
        bare = token[1:-1].upper() if token[0] in '"`[' else token.upper()
        found.append(token if token[0] == "'" else f'"{bare}"' if token[0] in '"`[' and bare in KEYWORDS else bare)
    return found


def _inner(default: str) -> str:
    """A default without the parentheses that may stand around it."""
    while default.startswith("(") and default.endswith(")"):
        default = default[1:-1]
    return default


def _rows(connection: sqlite3.Connection, table: str) -> Rows:
    """One scan; fingerprints are sums of Python's hashes."""
    columns = connection.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
    names = [column[1] for column in columns]
    key = [at for at, column in enumerate(columns) if column[5]]
    count, values, sums = 0, [0] * len(names), [0] * len(names)
    for row in connection.execute(f"SELECT {', '.join(map(_quoted, names))} FROM {_quoted(table)}"):
        count += 1
        identity = tuple(row[at] for at in key)
        for at, value in enumerate(row):
            values[at] += value is not None
            sums[at] += hash((identity, value, type(value)))
    return Rows(count, dict(zip(names, zip(values, sums, strict=True), strict=True)))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
