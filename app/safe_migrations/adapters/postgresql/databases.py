"""The databases of a PostgreSQL server, and what a statement can reach from one of them."""

from typing import Any

from sqlalchemy import URL, Connection, event, text
from sqlalchemy.exc import DBAPIError

from ..base import own_session
from ..databases import Databases, Outside, no_scratch
from .dump import DROP_ALL

# Functions that PUBLIC may not execute, such as those for files, the server and replication; those that end sessions or
# run a string as SQL; and those of extensions that reach other servers.
GUARDED = """
SELECT p.proname FROM pg_proc p LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                                                      AND d.deptype = 'e'
  LEFT JOIN pg_extension e ON e.oid = d.refobjid
 WHERE (p.pronamespace = 'pg_catalog'::regnamespace OR e.oid IS NOT NULL)
   AND (NOT has_function_privilege('public', p.oid, 'EXECUTE')
        OR p.proname ~ '^(pg_(terminate|cancel)_backend|pg_.*replication.*|pg_logical_emit_message)$'
        OR p.proname ~ '^(query_to_xml|crosstab|ts_stat|xpath_table)'
        OR e.extname IN ('dblink', 'adminpack', 'http', 'pg_net', 'pg_cron', 'pg_background', 'plproxy'))
"""
# All extensions that a revision can create, except those known to have no function that reaches out.
EXTENSIONS = """
SELECT name FROM pg_available_extensions
 WHERE installed_version IS NULL AND name !~ '^(postgis|address_standardizer|btree_|tsm_)' AND name NOT IN (
       'bloom', 'citext', 'cube', 'dict_int', 'dict_xsyn', 'earthdistance', 'fuzzystrmatch', 'hstore',
       'insert_username', 'intagg', 'intarray', 'isn', 'lo', 'ltree', 'moddatetime', 'pg_trgm', 'pgcrypto', 'seg',
       'tablefunc', 'tcn', 'unaccent', 'uuid-ossp', 'vector')
"""
CODE = """
SELECT CASE p.prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END || p.oid::regprocedure,
       pg_get_functiondef(p.oid)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.prokind IN ('f', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                                             AND d.deptype = 'e')
"""
MAPPINGS = """
DO $$ DECLARE statement text; BEGIN
  FOR statement IN SELECT format('DROP USER MAPPING FOR %s SERVER %I',
                                 CASE umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(usename) END, m.srvname)
    FROM pg_user_mappings m JOIN pg_foreign_server s ON s.oid = m.srvid AND pg_has_role(srvowner, 'USAGE')
  LOOP EXECUTE statement; END LOOP;
END $$
"""
NO_FOREIGN_TABLES = """
SELECT set_config(name, 'foreign-table', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'
"""


class PostgreSQLDatabases(Databases):
    """Databases that only foreign tables and functions of extensions can reach from one another."""

    cursor_classes = ("cursor_factory", "server_cursor_factory")

    def path(self, name: str) -> str:
        """Return the name itself."""
        return name

    def make(self, connection: Connection, name: str) -> None:
        """Create it with the encoding and the locale of the database of ``connection``."""
        version = connection.dialect.server_version_info or ()
        columns = "pg_encoding_to_char(encoding) AS encoding, datcollate AS lc_collate, datctype AS lc_ctype"
        if version >= (15,):
            columns += ", CASE datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END AS locale_provider"
            columns += f", CASE datlocprovider WHEN 'i' THEN {'datlocale' if version >= (17,) else 'daticulocale'} END"
            columns += " AS icu_locale"
        if version >= (17,):
            columns += ", CASE datlocprovider WHEN 'b' THEN datlocale END AS builtin_locale"
        query = text(f"SELECT {columns} FROM pg_database WHERE datname = current_database()")
        found = connection.execute(query).mappings().one()
        options = "".join(f" {option} '{value}'" for option, value in found.items() if value)
        connection.rollback()
        self._in_no_transaction(f'CREATE DATABASE "{name}" TEMPLATE template0{options}')

    def drop(self, connection: Connection, name: str) -> bool:
        """Drop it; from PostgreSQL 13 on ``WITH (FORCE)`` ends the sessions."""
        found = self.has(connection, name)
        force = " WITH (FORCE)" if (connection.dialect.server_version_info or ()) >= (13,) else ""
        if found:
            self._in_no_transaction(f'DROP DATABASE "{name}"{force}')
        return found

    def _in_no_transaction(self, statement: str) -> None:
        """Run it outside of a transaction. Raise MigrationError if the user lacks the right, or another DBAPIError."""
        with own_session(self.engine) as session:
            try:
                session.exec_driver_sql(statement.replace("%", "%%"))
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != "42501":  # insufficient_privilege
                    raise
                user = session.scalar(text("SELECT current_user"))
                raise no_scratch(
                    f"the user {user} may not create databases", f'ALTER ROLE "{user}" CREATEDB;'
                ) from error

    def clear(self, connection: Connection) -> None:
        """Drop everything, as before a restore."""
        connection.rollback()
        with own_session(self.engine) as session:
            for statement in session.exec_driver_sql(DROP_ALL.read_text().replace("%", "%%")).scalars().all():
                session.exec_driver_sql(statement.replace("%", "%%"))

    def has(self, connection: Connection, name: str) -> bool:
        """Look it up in pg_database."""
        found = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        connection.rollback()
        return found is not None

    def outside(self, connection: Connection, _real: URL, is_shared: bool) -> Outside:
        """Read functions, languages, extensions and code from the catalog."""
        if not is_shared:
            return Outside()
        functions = {name.lower() for name in connection.scalars(text(GUARDED))}
        extensions = set(connection.scalars(text(EXTENSIONS)))
        languages = set(connection.scalars(text("SELECT lanname FROM pg_language WHERE NOT lanpltrusted")))
        code = {str(name): str(source) for name, source in connection.execute(text(CODE)).all()}
        connection.rollback()
        return Outside({}, functions, languages, extensions, code)

    def confine(self, connection: Connection) -> None:
        """Drop the user mappings, and forbid foreign tables if the server can (from 14.13, 15.8 and 16.4 on)."""
        connection.execute(text(MAPPINGS))
        connection.commit()

        def forbid(session: Any, _record: object) -> None:
            with session.cursor() as cursor:
                cursor.execute(NO_FOREIGN_TABLES)
            session.commit()

        event.listen(self.engine, "connect", forbid)
