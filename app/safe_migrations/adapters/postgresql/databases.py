"""Scratch databases on a PostgreSQL server, in which rehearsals run."""

import secrets

from sqlalchemy import URL, Connection, text

from ..base import own_session
from ..databases import Databases, login_of
from .dump import AS_IN_A_NEW_DATABASE, DROP_ALL

# pg_shdepend lists the objects that a role owns or has rights to, in all databases of the server.
RIGHTS_ELSEWHERE = """
SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication
       OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)
       OR EXISTS (SELECT FROM pg_shdepend s WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid
                     AND dbid <> d.oid AND NOT (dbid = 0 AND classid = 'pg_database'::regclass AND objid = d.oid)),
       EXISTS (SELECT FROM pg_foreign_data_wrapper)
  FROM pg_roles r, pg_database d WHERE rolname = session_user AND datname = current_database()
"""
SEARCH_PATH = """SELECT replace(current_setting('search_path'), '"$user"', quote_ident(current_user))"""


class PostgreSQLDatabases(Databases):
    """The databases of a PostgreSQL server. A rehearsal's copy is owned by a role that has rights only there."""

    denied = ("42501",)  # insufficient_privilege
    setup = (
        "CREATE ROLE rehearsal LOGIN PASSWORD 'PASSWORD';",
        "CREATE DATABASE rehearsal OWNER rehearsal;",
    )

    def path(self, name: str) -> str:
        """Return ``name``, because a URL contains the name of the database."""
        return name

    def make(self, connection: Connection, name: str) -> None:
        """Create the database ``name``, with the encoding and the locale of the database of ``connection``."""
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
        """Create a role, make it the owner of the database ``name``, and return the URL to log in there.

        The role has the search path of ``original``, the connection to the app's database. If ``connection`` is that of
        a superuser, the role can read rows that policies hide (BYPASSRLS), as a superuser can.
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
        """Drop the database ``name`` and its role. Return False if the database did not exist.

        From PostgreSQL 13 on, ``WITH (FORCE)`` ends the sessions in it. An older server raises DBAPIError.
        """
        found = self.has(connection, name)
        force = " WITH (FORCE)" if (connection.dialect.server_version_info or ()) >= (13,) else ""
        if found:
            self._in_no_transaction(f'DROP DATABASE "{name}"{force}')
        if connection.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :name"), {"name": login_of(name)}):
            self._in_no_transaction(f"DROP ROLE {login_of(name)}")
        connection.rollback()
        return found

    def _in_no_transaction(self, *statements: str) -> None:
        """Run each statement outside of a transaction. Raise MigrationError if the user lacks the right to do so."""
        with own_session(self.engine) as session, self.denials_refused():
            for statement in statements:
                session.exec_driver_sql(statement.replace("%", "%%"))

    def clear(self, connection: Connection) -> None:
        """Drop everything in the database of ``connection``, except the table that marks it as a scratch database."""
        connection.rollback()
        with own_session(self.engine) as session:
            for query in (DROP_ALL, AS_IN_A_NEW_DATABASE):
                for statement in session.exec_driver_sql(query.read_text().replace("%", "%%")).scalars().all():
                    session.exec_driver_sql(statement.replace("%", "%%"))

    def has(self, connection: Connection, name: str) -> bool:
        """Return True if the server has a database ``name`` (pg_database)."""
        found = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        connection.rollback()
        return found is not None

    def server(self, connection: Connection) -> str:
        """Return the time when the server started, in seconds since 1970, with the microseconds after the point.

        The server's system identifier would not do: another server that runs on a copy of the files has the same.
        """
        found = str(connection.scalar(text("SELECT extract(epoch FROM pg_postmaster_start_time())")))
        connection.rollback()
        return found

    def confine(self, connection: Connection) -> None:
        """Raise MigrationError if the user has rights outside of this database, or it has a foreign data wrapper.

        Such a wrapper, e.g. from an administrator's extension, reaches other servers.
        """
        user, has_rights, has_wrapper = connection.execute(text(RIGHTS_ELSEWHERE)).one()
        connection.rollback()
        if has_rights:
            raise self.refused(f"the user {user} has rights outside of {self.engine.url.database}")
        if has_wrapper:
            raise self.refused(f"{self.engine.url.database} has a foreign data wrapper, which can reach other servers")
