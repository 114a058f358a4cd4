-- A dump assumes that the schema public is as initdb creates it (from 15 on only its owner may create in it), and
-- that there are no default privileges.
DO $$ DECLARE statement text; BEGIN
  IF (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public') THEN
    FOR statement IN
      SELECT format('REVOKE ALL ON SCHEMA public FROM %s CASCADE',
                    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
        FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'public' AND grantee <> nspowner
    LOOP EXECUTE statement; END LOOP;
    IF current_setting('server_version_num')::int >= 150000 THEN
      IF pg_has_role('pg_database_owner', 'MEMBER') THEN
        ALTER SCHEMA public OWNER TO pg_database_owner;
      END IF;
      GRANT USAGE ON SCHEMA public TO PUBLIC;
    ELSE
      GRANT ALL ON SCHEMA public TO PUBLIC;
    END IF;
    COMMENT ON SCHEMA public IS 'standard public schema';
  END IF;
  FOR statement IN
    SELECT format('ALTER DEFAULT PRIVILEGES %s %s ON %s %s %s', 'IN SCHEMA ' || quote_ident(nspname), verb,
                  CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                                     WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END,
                  preposition, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
      FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = defaclnamespace,
           LATERAL acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END, defaclrole) AS built_in,
           LATERAL (SELECT 1, 'REVOKE ALL', 'FROM', grantee FROM aclexplode(defaclacl) UNION
                    SELECT 2, 'GRANT ' || privilege_type, 'TO', grantee FROM aclexplode(built_in)
                     WHERE defaclnamespace = 0) AS a (turn, verb, preposition, grantee)
     WHERE defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user) ORDER BY turn
  LOOP EXECUTE statement; END LOOP;
END $$;
