-- Drop everything before a restore: one by one, and what refers to other objects first, so that in steps no statement
-- takes more locks than the server has. Members of an extension are dropped with it; an extension that the dump contains
-- stays, because the user may not have the right to create it. The slot of a subscription stays at its publisher.
DO $$ DECLARE statement text; BEGIN
  CREATE SCHEMA IF NOT EXISTS public;
  FOREACH statement IN ARRAY ARRAY(SELECT s.text FROM (
    SELECT 1, 0, format('ALTER SUBSCRIPTION %1$I DISABLE; ALTER SUBSCRIPTION %1$I SET (slot_name = NONE);'
                        'DROP SUBSCRIPTION %1$I', subname)
      FROM pg_subscription JOIN pg_database d ON d.oid = subdbid
     WHERE datname = current_database() AND pg_has_role(subowner, 'USAGE') UNION ALL
    SELECT 2, 0, format('DROP EVENT TRIGGER IF EXISTS %I', evtname) FROM pg_event_trigger t
     WHERE pg_has_role(evtowner, 'USAGE')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e') UNION ALL
    SELECT 3, 0, format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', conrelid::regclass, conname)
      FROM pg_constraint JOIN pg_class c ON c.oid = conrelid
     WHERE contype = 'f' AND conparentid = 0 AND pg_has_role(relowner, 'USAGE')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') UNION ALL
    SELECT CASE WHEN c.relispartition THEN 4 WHEN c.oid IS NOT NULL THEN 5 ELSE 6 END, -d.objid::bigint,
           format('DROP %s IF EXISTS %s CASCADE', replace(o.type, ' object', ''), o.identity)
      FROM pg_namespace n JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
      JOIN pg_identify_object(d.classid, d.objid, 0) o ON true
      LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND d.deptype = 'n'
       AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_extension'::regclass)
       AND o.identity NOT IN ('public._migration_rehearsal', 'public._migration_restore') AND NOT EXISTS
       (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.objsubid = 0
                                  AND e.deptype IN ('e', 'i')) UNION ALL
    SELECT 7, 0, format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) FROM pg_namespace n
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public') AND NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
     UNION ALL
    SELECT 8, 0, format('DROP EXTENSION IF EXISTS %I CASCADE', extname) FROM pg_extension
     WHERE extname <> 'plpgsql' AND pg_has_role(extowner, 'USAGE')
       AND extname <> ALL (string_to_array(current_setting('safe_migrations.kept', true), ' ')) UNION ALL
    SELECT 9, 0, format('DROP PUBLICATION IF EXISTS %I', pubname) FROM pg_publication
     WHERE pg_has_role(pubowner, 'USAGE') UNION ALL
    SELECT 10, 0, format('DROP FOREIGN DATA WRAPPER IF EXISTS %I CASCADE', fdwname) FROM pg_foreign_data_wrapper f
     WHERE pg_has_role(fdwowner, 'USAGE')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = f.oid AND d.deptype = 'e')
  ) AS s (turn, number, text) ORDER BY s.turn, s.number)
  LOOP EXECUTE statement; COMMIT; END LOOP;
  LOOP
    PERFORM lo_unlink(oid) FROM (SELECT oid FROM pg_largeobject_metadata LIMIT 1000) AS few;
    EXIT WHEN NOT FOUND;
    COMMIT;
  END LOOP;
END $$;
