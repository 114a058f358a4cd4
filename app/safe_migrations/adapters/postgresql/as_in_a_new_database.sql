-- Returns statements that give a database the state of a new one, which a dump assumes: the schema public is as initdb
-- creates it (from version 15 on only its owner may create objects in it), and there are no default privileges.
WITH ours AS (
  SELECT * FROM pg_namespace WHERE nspname = 'public' AND pg_has_role(nspowner, 'USAGE')
), statements (turn, text) AS (
  SELECT 1, format('REVOKE ALL ON SCHEMA public FROM %s CASCADE',
                   CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
    FROM ours, aclexplode(nspacl) WHERE grantee <> nspowner UNION ALL
  SELECT 2, 'ALTER SCHEMA public OWNER TO pg_database_owner' FROM ours, pg_roles r
   WHERE rolname = 'pg_database_owner' AND pg_has_role(r.oid, 'MEMBER') UNION ALL
  SELECT 3, format('GRANT %s ON SCHEMA public TO PUBLIC; COMMENT ON SCHEMA public IS ''standard public schema''',
                   CASE WHEN current_setting('server_version_num')::int < 150000 THEN 'ALL' ELSE 'USAGE' END)
    FROM ours UNION ALL
  SELECT turn, format('ALTER DEFAULT PRIVILEGES %s %s ON %s %s %s', 'IN SCHEMA ' || quote_ident(nspname), verb,
                      CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                                         WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END,
                      preposition, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
    FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = defaclnamespace,
         LATERAL acldefault(CASE defaclobjtype WHEN 'S' THEN 's' ELSE defaclobjtype END, defaclrole) AS built_in,
         LATERAL (SELECT 1, 'REVOKE ALL', 'FROM', grantee FROM aclexplode(defaclacl) UNION
                  SELECT 2, 'GRANT ' || privilege_type, 'TO', grantee FROM aclexplode(built_in)
                   WHERE defaclnamespace = 0) AS a (turn, verb, preposition, grantee)
   WHERE defaclrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
)
SELECT text FROM statements ORDER BY turn
