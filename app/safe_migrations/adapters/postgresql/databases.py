"""Other databases of a PostgreSQL server."""

import secrets

from sqlalchemy import URL, Connection, text

from ..base import own_session
from ..databases import Databases, login_of
from .dump import DROP_ALL

# What a role owns or has rights to, in all databases of the server, is in pg_shdepend. Foreign data wrappers, of which
# dblink has one, reach other servers.
RIGHTS_ELSEWHERE = """
SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR EXISTS (SELECT FROM pg_foreign_data_wrapper)
       OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)
       OR EXISTS (SELECT FROM pg_shdepend s WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid
                     AND dbid <> d.oid AND NOT (dbid = 0 AND classid = 'pg_database'::regclass AND objid = d.oid))
  FROM pg_roles r, pg_database d WHERE rolname = session_user AND datname = current_database()
"""
SEARCH_PATH = """SELECT replace(current_setting('search_path'), '"$user"', quote_ident(current_user))"""


class PostgreSQLDatabases(Databases):
    """The databases of a PostgreSQL server; a copy and all in it belong to a role that has rights there only."""

    denied = ("42501",)  # insufficient_privilege
    setup = (
        "CREATE ROLE rehearsal LOGIN PASSWORD 'PASSWORD';",
        "CREATE DATABASE rehearsal OWNER rehearsal;",
    )

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

    def login(self, connection: Connection, name: str, original: Connection) -> URL:
        """Create the owner of the database, with the search path of ``original``.

        Let a superuser's see rows that policies hide, as a superuser does.
        """
        user, password = login_of(name), secrets.token_urlsafe(24)
        path = original.scalar(text(SEARCH_PATH))
        original.rollback()
        is_superuser = connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
        connection.rollback()
        self._in_no_transaction(
            f"CREATE ROLE {user} LOGIN PASSWORD '{password}'{' BYPASSRLS' if is_superuser else ''}",
            f"ALTER ROLE {user} SET search_path = {path}",
            f"GRANT {user} TO CURRENT_USER",
            f'ALTER DATABASE "{name}" OWNER TO {user}',
        )
        return self.engine.url.set(username=user, password=password, database=name)

    def drop(self, connection: Connection, name: str) -> bool:
        """Drop it; from PostgreSQL 13 on ``WITH (FORCE)`` ends the sessions."""
        found = self.has(connection, name)
        force = " WITH (FORCE)" if (connection.dialect.server_version_info or ()) >= (13,) else ""
        if found:
            self._in_no_transaction(f'DROP DATABASE "{name}"{force}')
        if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": login_of(name)}):
            self._in_no_transaction(f"DROP ROLE {login_of(name)}")
        connection.rollback()
        return found

    def _in_no_transaction(self, *statements: str) -> None:
        """Run each outside of a transaction. Raise MigrationError if the user may not, or another DBAPIError."""
        with own_session(self.engine) as session, self.denials_refused():
            for statement in statements:
                session.exec_driver_sql(statement.replace("%", "%%"))

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

    def server(self, connection: Connection) -> str:
        """Return the microsecond in which it was started: a copy of its files has the same system identifier."""
        found = str(connection.scalar(text("SELECT extract(epoch FROM pg_postmaster_start_time())")))
        connection.rollback()
        return found

    def confine(self, connection: Connection) -> None:
        """Look into the catalogs of the server and of the database, which may have an administrator's extensions."""
        has_rights = connection.scalar(text(RIGHTS_ELSEWHERE))
        user = connection.scalar(text("SELECT session_user"))
        connection.rollback()
        if has_rights:
            raise self.refused(f"the user {user} has rights outside of {self.engine.url.database}")
