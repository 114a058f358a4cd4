-- Returns statements that drop everything in the database. Event triggers, extensions, publications and foreign data
-- wrappers of another owner stay, e.g. an extension of an administrator, with the objects that belong to it.
WITH objects (turn, owner, classid, objid) AS (
  SELECT 1, evtowner, 'pg_event_trigger'::regclass, oid FROM pg_event_trigger UNION ALL
  SELECT 2, NULL, d.classid, d.objid FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid
   WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n'
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_extension'::regclass) UNION ALL
  SELECT 3, NULL, 'pg_namespace'::regclass, oid FROM pg_namespace
   WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public') UNION ALL
  SELECT 4, extowner, 'pg_extension'::regclass, oid FROM pg_extension WHERE extname <> 'plpgsql' UNION ALL
  SELECT 5, pubowner, 'pg_publication'::regclass, oid FROM pg_publication UNION ALL
  SELECT 6, fdwowner, 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
), statements (turn, objid, text) AS (
  SELECT turn, objid, format('DROP %s IF EXISTS %s CASCADE', regexp_replace(replace(o.type, '-', ' '), ' object$', ''),
                             o.identity)
    FROM objects, pg_identify_object(classid, objid, 0) o
   WHERE (owner IS NULL OR pg_has_role(owner, 'USAGE')) AND o.identity <> 'public._migration_rehearsal' AND NOT EXISTS
         (SELECT FROM pg_depend e WHERE e.classid = objects.classid AND e.objid = objects.objid AND e.objsubid = 0
                                    AND e.deptype IN ('e', 'i'))
   UNION ALL
  SELECT 7, oid, format('SELECT lo_unlink(%s)', oid) FROM pg_largeobject_metadata
)
SELECT text FROM statements ORDER BY turn, objid DESC
