"""Other databases of a PostgreSQL server."""

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters.base import Databases, no_scratch, own_session
from app.safe_migrations.adapters.postgresql.dump import DROP_ALL


class PostgreSQLDatabases(Databases):
    """None of them can be reached from another one."""

    def path(self, name: str) -> str:
        """The name itself: a URL has it behind the server's."""
        return name

    def make(self, connection: Connection, name: str) -> None:
        """With the encoding and the locale of the database of ``connection``."""
        version = connection.dialect.server_version_info or ()
        columns = "pg_encoding_to_char(encoding) AS encoding, datcollate AS lc_collate, datctype AS lc_ctype"
        if version >= (15,):
            columns += ", CASE datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' END AS locale_provider"
            columns += f", CASE datlocprovider WHEN 'i' THEN {'datlocale' if version >= (17,) else 'daticulocale'} END"
            columns += " AS icu_locale"
        if version >= (17,):
            columns += ", CASE datlocprovider WHEN 'b' THEN datlocale END AS builtin_locale"
        found = connection.execute(text(f"SELECT {columns} FROM pg_database WHERE datname = current_database()")).one()
        options = "".join(f" {option} '{value}'" for option, value in found._mapping.items() if value)
        connection.rollback()
        self._outside(f'CREATE DATABASE "{name}" TEMPLATE template0{options}')

    def drop(self, connection: Connection, name: str) -> bool:
        """``WITH (FORCE)`` ends the sessions, from PostgreSQL 13 on."""
        found = connection.scalar(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
        connection.rollback()
        force = " WITH (FORCE)" if (connection.dialect.server_version_info or ()) >= (13,) else ""
        if found:
            self._outside(f'DROP DATABASE "{name}"{force}')
        return bool(found)

    def _outside(self, statement: str) -> None:
        """Run it in no transaction. Raises MigrationError if the user has no right to it, else DBAPIError."""
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
        """Drop what is in the way of a dump, one by one."""
        connection.rollback()
        with own_session(self.engine) as session:
            session.exec_driver_sql(DROP_ALL.replace("%", "%%"))
