"""A snapshot of a PostgreSQL database: its objects from the catalog, and counts and fingerprints of its rows."""

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection, text

from ..base import OWN_TABLES, double_quoted, version_table
from ..snapshot import Objects, Rows, Scan, Snapshot

OBJECTS = Path(__file__).with_name("objects.sql")
# The last value of each sequence, 0 before its first use. A sequence that a column owns is named after the column, so
# that its loss counts as the column's.
COUNTERS = """
SELECT coalesce((SELECT format('the counter of %s.%s', d.refobjid::regclass, a.attname) FROM pg_depend d
                   JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = s.name::regclass AND d.deptype IN ('a', 'i')
                  LIMIT 1), 'sequence ' || s.name), s.last_value
  FROM (SELECT format('%I.%I', schemaname, sequencename) AS name, coalesce(last_value, 0) AS last_value
          FROM pg_sequences) s
"""
COLUMNS = """
SELECT c.oid::regclass::text, format('%I.%I', n.nspname, c.relname), a.attname,
       coalesce(a.attnum = ANY (i.indkey), false) AS is_key
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
 WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND c.relname <> :revisions AND c.relname !~ :own AND NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY 1, a.attnum
"""
# Forced policies hide rows from the table's owner too. The ALTER TABLE is rolled back at the end.
SHOW_ALL_ROWS = """
DO $$ DECLARE t record; BEGIN
  FOR t IN SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
               WHERE relforcerowsecurity AND row_security_active(pg_class.oid) AND pg_has_role(relowner, 'USAGE')
  LOOP EXECUTE format('ALTER TABLE %I.%I NO FORCE ROW LEVEL SECURITY', t.nspname, t.relname); END LOOP;
  SET LOCAL row_security = off; -- hidden rows of other tables are an error
END $$
"""


def taken(connection: Connection) -> Snapshot:
    """Return objects, rows and sequences of all schemas except the system's; roll back the transaction.

    Raise DBAPIError if the user cannot read all rows.
    """
    objects = _objects(connection, whole=True)
    connection.execute(text(SHOW_ALL_ROWS))
    columns = connection.execute(text(COLUMNS), _not_ours()).all()
    tables = {
        name: _rows(connection, full, [(column[2], column[3]) for column in found])
        for (name, full), found in groupby(columns, lambda column: (column[0], column[1]))
    }
    counters = {name: int(number) for name, number in connection.execute(text(COUNTERS))}
    connection.rollback()
    return Snapshot(objects, tables, counters)


def schema(connection: Connection) -> Objects:
    """Return all objects without owners and rights.

    A default that counts by a sequence does not name it: the name depends on what the table was called at first.
    """
    found = _objects(connection, whole=False)
    return {name: re.sub(r"nextval\('.*?'::regclass\)", "nextval()", text) for name, text in found.items()}


def _objects(connection: Connection, whole: bool) -> dict[str, str]:
    found = connection.execute(text(OBJECTS.read_text()), {**_not_ours(), "whole": whole})
    return {name: description or "" for name, description in found}


def _not_ours() -> dict[str, object]:
    return {"revisions": version_table()[1], "own": f"^{OWN_TABLES}"}


def _rows(connection: Connection, table: str, columns: Sequence[tuple[str, bool]]) -> Rows:
    return SCAN.rows(lambda query: connection.exec_driver_sql(query.replace("%", "%%")).one(), table, columns)


def _text(name: str) -> str:
    return f"coalesce('=' || {double_quoted(name)}::text, '')"


def _sum(values: list[str]) -> str:
    """Return SQL that hashes the values of each row to 64 bits, and adds up the hashes of all rows."""
    joined = f"concat_ws(',', {', '.join(values)})" if values else "''"
    return f'coalesce(sum(hashtextextended({joined} COLLATE "C", 0)::numeric), 0)'


SCAN = Scan(double_quoted, _text, _sum)
