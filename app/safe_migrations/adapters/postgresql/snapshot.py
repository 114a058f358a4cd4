"""A snapshot of a PostgreSQL database: objects from the catalog, and rows."""

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import Connection, text

from ..base import OWN_TABLES, double_quoted, version_table
from ..snapshot import Rows, Scan, Snapshot

# Not the system's schemas, nor members of extensions. Names have their schema if the search path needs it.
OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
NOT_OF_AN_EXTENSION = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{catalog}'::regclass AND d.objid = {oid}"
    " AND d.deptype = 'e')"
)
TABLES = (
    f"pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND {OURS} AND "
    + NOT_OF_AN_EXTENSION.format(catalog="pg_class", oid="c.oid")
    + rf" AND c.relname <> :revisions AND c.relname !~ '^{OWN_TABLES}'"
)
TYPES = f"pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {OURS} AND " + NOT_OF_AN_EXTENSION.format(
    catalog="pg_type", oid="t.oid"
)
ACL = "coalesce(c.relacl, acldefault('r', c.relowner))"
# NOT VALID is left out, because no downgrade can make a validated constraint unvalidated.
OBJECTS = f"""
SELECT 'schema ' || n.nspname, coalesce(n.nspacl::text, '') FROM pg_namespace n WHERE {OURS}
UNION ALL
SELECT 'extension ' || extname, extversion FROM pg_extension
UNION ALL
SELECT 'table ' || c.oid::regclass,
       concat_ws(' ', c.relkind, c.relpersistence, c.reloptions, {ACL}, c.relowner::regrole, pg_get_partkeydef(c.oid),
                 pg_get_expr(c.relpartbound, c.oid), CASE WHEN c.relrowsecurity THEN 'ROW LEVEL SECURITY' END,
                 CASE WHEN c.relforcerowsecurity THEN 'FORCED' END, nullif(c.relreplident, 'd'),
                 obj_description(c.oid, 'pg_class'))
  FROM {TABLES} WHERE c.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'column ' || a.attname || ' of ' || c.oid::regclass,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                 'DEFAULT ' || pg_get_expr(f.adbin, f.adrelid), nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
                 CASE WHEN a.attcollation <> y.typcollation THEN l.collname END, a.attacl,
                 col_description(c.oid, a.attnum))
  FROM {TABLES} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_collation l ON l.oid = a.attcollation
  LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum WHERE c.relkind IN ('r', 'p', 'f', 'c')
UNION ALL
SELECT 'constraint ' || k.conname || ' of ' || c.oid::regclass,
       concat_ws(' ', regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
                 obj_description(k.oid, 'pg_constraint'))
  FROM {TABLES} JOIN pg_constraint k ON k.conrelid = c.oid WHERE k.contype <> 'n'
UNION ALL
SELECT 'index ' || i.indexrelid::regclass || ' of ' || c.oid::regclass,
       concat_ws(' ', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
                 CASE WHEN i.indisclustered THEN 'CLUSTER ON' END, obj_description(i.indexrelid, 'pg_class'))
  FROM {TABLES} JOIN pg_index i ON i.indrelid = c.oid
UNION ALL
SELECT 'trigger ' || g.tgname || ' of ' || c.oid::regclass, concat_ws(' ', pg_get_triggerdef(g.oid), g.tgenabled)
  FROM {TABLES} JOIN pg_trigger g ON g.tgrelid = c.oid WHERE NOT g.tgisinternal
UNION ALL
SELECT 'rule ' || r.rulename || ' of ' || c.oid::regclass, pg_get_ruledef(r.oid)
  FROM {TABLES} JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'policy ' || p.polname || ' of ' || c.oid::regclass,
       concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[], pg_get_expr(p.polqual, c.oid),
                 pg_get_expr(p.polwithcheck, c.oid))
  FROM {TABLES} JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT 'view ' || c.oid::regclass,
       concat_ws(' ', c.relkind, pg_get_viewdef(c.oid), c.reloptions, {ACL}, c.relispopulated,
                 obj_description(c.oid, 'pg_class'))
  FROM {TABLES} WHERE c.relkind IN ('v', 'm')
UNION ALL
SELECT 'sequence ' || c.oid::regclass,
       concat_ws(' ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle,
                 s.seqcache, coalesce(c.relacl, acldefault('s', c.relowner)),
                 (SELECT d.refobjid::regclass || '.' || a.attname FROM pg_depend d
                    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') LIMIT 1))
  FROM {TABLES} JOIN pg_sequence s ON s.seqrelid = c.oid
UNION ALL
SELECT 'routine ' || p.oid::regprocedure,
       concat_ws(' ', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE (SELECT g::text FROM pg_aggregate g
                 WHERE g.aggfnoid = p.oid) END, coalesce(p.proacl, acldefault('f', p.proowner)),
                 obj_description(p.oid, 'pg_proc'))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
   AND {OURS} AND {NOT_OF_AN_EXTENSION.format(catalog="pg_proc", oid="p.oid")}
UNION ALL
SELECT 'type ' || t.oid::regtype, (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
                                     FROM pg_enum e WHERE e.enumtypid = t.oid)
  FROM {TYPES} WHERE t.typtype = 'e'
UNION ALL
SELECT 'type ' || t.oid::regtype,
       concat_ws(' ', format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'NOT NULL' END, t.typdefault,
                 (SELECT string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
                    FROM pg_constraint k WHERE k.contypid = t.oid))
  FROM {TYPES} WHERE t.typtype = 'd'
UNION ALL
SELECT 'type ' || t.oid::regtype, t.typtype::text
  FROM {TYPES} LEFT JOIN pg_class c ON c.oid = t.typrelid WHERE t.typtype = 'r' OR c.relkind = 'c'
UNION ALL
SELECT 'statistics ' || s.stxname, pg_get_statisticsobjdef(s.oid)
  FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace AND {OURS}
UNION ALL
SELECT 'publication ' || pubname, concat_ws(' ', puballtables, (SELECT string_agg(prrelid::regclass::text, ', '
       ORDER BY 1) FROM pg_publication_rel r WHERE r.prpubid = p.oid)) FROM pg_publication p
"""
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

COLUMNS = f"""
SELECT c.oid::regclass::text, format('%I.%I', n.nspname, c.relname), a.attname,
       coalesce(a.attnum = ANY (i.indkey), false) AS is_key
  FROM {TABLES} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
 WHERE c.relkind IN ('r', 'p') ORDER BY 1, a.attnum
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
    """Return the objects and rows of all schemas but the system's; end the transaction. Raises DBAPIError."""
    revisions = {"revisions": version_table()[1]}
    objects = {name: words or "" for name, words in connection.execute(text(OBJECTS), revisions)}
    connection.execute(text(SHOW_ALL_ROWS))
    columns = connection.execute(text(COLUMNS), revisions).all()
    tables = {
        name: _rows(connection, full, [(column[2], column[3]) for column in found])
        for (name, full), found in groupby(columns, lambda column: (column[0], column[1]))
    }
    counters = {name: int(number) for name, number in connection.execute(text(COUNTERS), revisions)}
    connection.rollback()
    return Snapshot(objects, tables, counters)


def _rows(connection: Connection, table: str, columns: Sequence[tuple[str, bool]]) -> Rows:
    return SCAN.rows(lambda query: connection.exec_driver_sql(query.replace("%", "%%")).one(), table, columns)


def _text(name: str) -> str:
    return f"coalesce('=' || {double_quoted(name)}::text, '')"


def _sum(values: list[str]) -> str:
    """Return the sum over all rows of a 64-bit hash of the values."""
    joined = f"concat_ws(',', {', '.join(values)})" if values else "''"
    return f'coalesce(sum(hashtextextended({joined} COLLATE "C", 0)::numeric), 0)'


SCAN = Scan(double_quoted, _text, _sum)
