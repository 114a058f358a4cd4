"""The statements that create a PostgreSQL database again, as pg_dump writes them."""

import re
from collections.abc import Iterator

from sqlalchemy import Connection, text

from ..base import OWN_TABLES, version_table
from ..creation import Creation, parents_first
from ..sql_words import statements
from .dump import Dump
from .facts import PostgreSQLFacts

# pg_dump writes such a comment above each object.
HEAD = re.compile(
    r"^--\n-- (?:Data for )?Name: (?P<name>.*); Type: (?P<type>[A-Z ]+); Schema: .*\n--\n\n", re.MULTILINE
)
NAME = r'(?:"(?:[^"]|"")+"|\w+)(?:\.(?:"(?:[^"]|"")+"|\w+))?'
# The table of which a statement creates a part.
TABLE = re.compile(
    rf"(?:CREATE (?:UNLOGGED |FOREIGN )?TABLE|ALTER TABLE(?: ONLY)?|CREATE (?:UNIQUE )?INDEX \S+ ON(?: ONLY)?"
    rf"|COMMENT ON (?:TABLE|CONSTRAINT \S+ ON)|GRANT .*? ON TABLE|INSERT INTO) (?P<table>{NAME})"
    rf"|(?:ALTER SEQUENCE {NAME}\s+OWNED BY|COMMENT ON COLUMN) (?P<of>{NAME})\."
)
OWNER = """
SELECT d.refobjid::regclass FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
   AND d.refclassid = 'pg_class'::regclass AND d.objid = to_regclass(:sequence)
"""
# Objects that a table may need, or that belong to one; pg_dump has views among them.
FIRST = {"SCHEMA", "EXTENSION", "TYPE", "DOMAIN", "COLLATION", "FUNCTION", "AGGREGATE", "OPERATOR", "CAST"} | {
    "TABLE", "SEQUENCE", "SEQUENCE OWNED BY", "DEFAULT", "TABLE ATTACH", "CONSTRAINT",
}  # fmt: skip
OF_ROLES = {"ACL", "DEFAULT ACL", "POLICY"}
NOT_PARTS = {"TRIGGER", "RULE", "POLICY"}


def creations(connection: Connection) -> list[Creation]:
    """Return the statements in pg_dump's order: schema, rows, and what is faster or possible only after the rows.

    Rows are ordered by foreign keys. Raise MigrationError if pg_dump is missing or fails.
    """
    own = [version_table()[1], f"{OWN_TABLES}*"]
    found = [
        each for kind, name, sql in _entries(Dump(connection).script(own)) for each in _of(connection, kind, name, sql)
    ]
    if any(re.match(r"CREATE (FUNCTION|PROCEDURE)", each.sql) for each in found):
        # As pg_dump does: a function may come before a table that it reads.
        found.insert(0, Creation("SET LOCAL check_function_bodies = off", first=True, setting=True))
        found.append(Creation("SET LOCAL check_function_bodies = on", setting=True))
    rows = [each for each in found if each.sql.startswith("INSERT")]
    order = {name: at for at, name in enumerate(parents_first(connection, {each.fills for each in rows}))}
    connection.rollback()
    rows.sort(key=lambda each: order[each.fills])
    filled = iter(rows)
    return [next(filled) if each.sql.startswith("INSERT") else each for each in found]


def _entries(dump: str) -> Iterator[tuple[str, str, str]]:
    """Yield type, name and SQL of each object of a dump."""
    heads = list(HEAD.finditer(dump))
    ends = [*(head.start() for head in heads[1:]), len(dump)]
    for head, end in zip(heads, ends, strict=True):
        sql = re.sub(r"^(\\(un)?restrict .*|SET default_\w+ = .*;)$", "", dump[head.end() : end], flags=re.MULTILINE)
        yield head["type"], head["name"], sql


def _of(connection: Connection, kind: str, name: str, sql: str) -> Iterator[Creation]:
    for words in statements(sql, PostgreSQLFacts()):
        statement = words.text
        if kind in OF_ROLES:  # whoever runs the statements is the owner, not the role of the scratch database
            user = str(connection.scalar(text("SELECT quote_ident(current_user)")))
            statement = re.sub(rf"(?<= ){re.escape(user)}(?=[ ,]|$)", "CURRENT_USER", statement)
        part = TABLE.match(statement)
        table = _plain(connection, (part["table"] or part["of"]) if part else "")
        if kind == "SEQUENCE" and not table:
            owner = connection.scalar(text(OWNER), {"sequence": statement.split()[2]})
            table = str(owner or "").replace('"', "")
        if kind == "TABLE DATA":
            yield Creation(statement, fills=table)
        elif kind == "SEQUENCE SET":
            if not statement.endswith(", 1, false)"):
                yield Creation(statement, fills=name)
        elif not statement.startswith("COMMENT ON EXTENSION"):
            yield Creation(statement, "" if kind in NOT_PARTS else table, first=kind in FIRST)


def _plain(connection: Connection, table: str) -> str:
    """Return a quoted name as the database shows it, without its schema if that is in the search path, and unquoted."""
    shown = connection.scalar(text("SELECT to_regclass(:table)::text"), {"table": table}) if table else None
    return str(shown or table).replace('"', "")
