-- A CHECK may call a function that reads another table, whose rows are restored later: such constraints are dropped
-- before the rows are restored, and added again at the end.
DO $$ DECLARE each record; texts text := ''; BEGIN
  LOOP
    SELECT CASE contypid WHEN 0 THEN format('TABLE %s', conrelid::regclass)
                         ELSE format('DOMAIN %s', contypid::regtype) END AS target, conname AS name,
           pg_get_constraintdef(c.oid) AS definition, obj_description(c.oid, 'pg_constraint') AS comment INTO each
      FROM pg_constraint c WHERE contype = 'c' AND coninhcount = 0 AND EXISTS
        (SELECT FROM pg_depend d WHERE d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
            AND d.refclassid = 'pg_proc'::regclass AND NOT EXISTS
              (SELECT FROM pg_depend e WHERE e.objid = d.refobjid AND e.deptype = 'e')) LIMIT 1;
    EXIT WHEN NOT FOUND;
    texts := format('ALTER %s ADD CONSTRAINT %I %s;', each.target, each.name, each.definition)
      || coalesce(format('COMMENT ON CONSTRAINT %I ON %s IS %L;', each.name,
                         regexp_replace(each.target, '^TABLE ', ''), each.comment), '') || texts;
    EXECUTE format('ALTER %s DROP CONSTRAINT %I', each.target, each.name);
  END LOOP;
  PERFORM set_config('safe_migrations.checks', texts, false);
END $$;
