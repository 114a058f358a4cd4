-- Returns a row for each object of the database: its name and its description. Objects of system schemas, of
-- extensions, of Alembic and of this package are omitted. A name has its schema if that is not in the search path.
-- Owners, rights, versions of extensions, and sequences that belong to columns are included only if :whole.
WITH schemas AS (
  SELECT * FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), members AS (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), tables AS (
  SELECT c.* FROM pg_class c JOIN schemas n ON n.oid = c.relnamespace
   WHERE c.relname <> :revisions AND c.relname !~ :own
     AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
), types AS (
  SELECT t.* FROM pg_type t JOIN schemas n ON n.oid = t.typnamespace
   WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
), routines AS (
  SELECT p.* FROM pg_proc p JOIN schemas n ON n.oid = p.pronamespace
   WHERE NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
)
SELECT 'schema ' || nspname, CASE WHEN :whole THEN nspacl::text END FROM schemas
UNION ALL
SELECT 'extension ' || extname, CASE WHEN :whole THEN extversion END FROM pg_extension
UNION ALL
SELECT CASE WHEN c.relkind IN ('v', 'm') THEN 'view ' ELSE 'table ' END || c.oid::regclass,
       concat_ws(' ', c.relkind, c.relpersistence, c.reloptions,
                 CASE WHEN :whole THEN coalesce(c.relacl, acldefault('r', c.relowner)) END,
                 CASE WHEN :whole THEN c.relowner::regrole END, pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
                 CASE WHEN c.relrowsecurity THEN 'ROW LEVEL SECURITY' END,
                 CASE WHEN c.relforcerowsecurity THEN 'FORCED' END, nullif(c.relreplident, 'd'),
                 CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
                 CASE WHEN NOT c.relispopulated THEN 'NOT POPULATED' END, obj_description(c.oid, 'pg_class'))
  FROM tables c WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
UNION ALL
SELECT 'column ' || a.attname || ' of ' || c.oid::regclass,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
                 'DEFAULT ' || pg_get_expr(f.adbin, f.adrelid), nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
                 CASE WHEN a.attcollation <> y.typcollation THEN l.collname END, CASE WHEN :whole THEN a.attacl END,
                 col_description(c.oid, a.attnum))
  FROM tables c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_collation l ON l.oid = a.attcollation
  LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum WHERE c.relkind IN ('r', 'p', 'f', 'c')
UNION ALL
-- NOT VALID is left out, because no downgrade can make a validated constraint unvalidated.
SELECT 'constraint ' || k.conname || ' of ' || c.oid::regclass,
       concat_ws(' ', regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', ''),
                 obj_description(k.oid, 'pg_constraint'))
  FROM tables c JOIN pg_constraint k ON k.conrelid = c.oid WHERE k.contype <> 'n'
UNION ALL
SELECT 'index ' || i.indexrelid::regclass || ' of ' || c.oid::regclass,
       concat_ws(' ', pg_get_indexdef(i.indexrelid), CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
                 CASE WHEN i.indisclustered THEN 'CLUSTER ON' END, obj_description(i.indexrelid, 'pg_class'))
  FROM tables c JOIN pg_index i ON i.indrelid = c.oid
UNION ALL
SELECT 'trigger ' || g.tgname || ' of ' || c.oid::regclass, concat_ws(' ', pg_get_triggerdef(g.oid), g.tgenabled)
  FROM tables c JOIN pg_trigger g ON g.tgrelid = c.oid WHERE NOT g.tgisinternal
UNION ALL
SELECT 'rule ' || r.rulename || ' of ' || c.oid::regclass, pg_get_ruledef(r.oid)
  FROM tables c JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT 'policy ' || p.polname || ' of ' || c.oid::regclass,
       concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::regrole[], pg_get_expr(p.polqual, c.oid),
                 pg_get_expr(p.polwithcheck, c.oid))
  FROM tables c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT 'sequence ' || c.oid::regclass,
       concat_ws(' ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle,
                 s.seqcache, CASE WHEN :whole THEN coalesce(c.relacl, acldefault('s', c.relowner)) END,
                 (SELECT d.refobjid::regclass || '.' || a.attname FROM pg_depend d
                    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i') LIMIT 1))
  FROM tables c JOIN pg_sequence s ON s.seqrelid = c.oid
 WHERE :whole OR NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i'))
UNION ALL
SELECT 'routine ' || p.oid::regprocedure,
       concat_ws(' ', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid)
                           ELSE (SELECT g::text FROM pg_aggregate g WHERE g.aggfnoid = p.oid) END,
                 CASE WHEN :whole THEN coalesce(p.proacl, acldefault('f', p.proowner)) END,
                 obj_description(p.oid, 'pg_proc'))
  FROM routines p
UNION ALL
SELECT 'type ' || t.oid::regtype,
       concat_ws(' ', t.typtype, format_type(nullif(t.typbasetype, 0), t.typtypmod),
                 CASE WHEN t.typnotnull THEN 'NOT NULL' END, t.typdefault,
                 (SELECT string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
                    FROM pg_constraint k WHERE k.contypid = t.oid),
                 (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
                    FROM pg_enum e WHERE e.enumtypid = t.oid))
  FROM types t LEFT JOIN pg_class c ON c.oid = t.typrelid WHERE t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c'
UNION ALL
SELECT 'statistics ' || s.stxname, pg_get_statisticsobjdef(s.oid)
  FROM pg_statistic_ext s JOIN schemas n ON n.oid = s.stxnamespace
UNION ALL
SELECT 'publication ' || pubname,
       concat_ws(' ', puballtables, (SELECT string_agg(prrelid::regclass::text, ', ' ORDER BY 1)
                                       FROM pg_publication_rel r WHERE r.prpubid = p.oid))
  FROM pg_publication p
