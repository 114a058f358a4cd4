"""Other databases of a MySQL or MariaDB server."""

import secrets
from contextlib import suppress

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from ..databases import Databases, login_of
from .catalog import drop_all, quoted
from .session import executing

SEEN = "SELECT schema_name FROM information_schema.schemata"
# Each user sees these, and may not write there.
SYSTEM = ("information_schema", "performance_schema")


class MySQLDatabases(Databases):
    """The databases of the server. A statement may name any of them, if the user has rights there."""

    # ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR (of files), ER_TABLEACCESS_DENIED_ERROR,
    # ER_COLUMNACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR, ER_PROCACCESS_DENIED_ERROR,
    # ER_CANT_CREATE_USER_WITH_GRANT, ER_BINLOG_CREATE_ROUTINE_NEED_SUPER
    denied = (1044, 1045, 1142, 1143, 1227, 1370, 1410, 1419)
    setup = (
        "CREATE DATABASE rehearsal CHARACTER SET utf8mb4;",
        "CREATE USER rehearsal IDENTIFIED BY 'PASSWORD';",
        "GRANT ALL ON rehearsal.* TO rehearsal;",
    )

    def path(self, name: str) -> str:
        """Return the name itself: a URL has it behind the server's."""
        return name

    def make(self, connection: Connection, name: str) -> None:
        """Create it with the character set and collation of the database of ``connection``."""
        charset, collation = connection.execute(text("SELECT @@character_set_database, @@collation_database")).one()
        with self.denials_refused():
            executing(connection)(f"CREATE DATABASE {quoted(name)} CHARACTER SET {charset} COLLATE {collation}")

    def login(self, connection: Connection, name: str, _original: Connection) -> URL:
        """Create a user for the same hosts as the user of ``connection``."""
        user, password = login_of(name), f"{secrets.token_urlsafe(24)}-aA1"  # as validate_password wants it
        pattern = quoted(name.replace("_", r"\_"))
        account = _account(connection, name)
        with self.denials_refused():
            executing(connection)(f"CREATE USER {account} IDENTIFIED BY '{password}'")
            executing(connection)(f"GRANT ALL ON {pattern}.* TO {account}")
        return self.engine.url.set(username=user, password=password, database=name)

    def drop(self, connection: Connection, name: str) -> bool:
        """Kill the sessions of a killed run, because a statement continues without its client."""
        execute = executing(connection)
        for (number,) in execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,)):
            with suppress(DBAPIError):  # it may have ended
                execute(f"KILL {number}")
        found = execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (name,))
        if found:
            execute(f"DROP DATABASE {quoted(name)}")
        try:
            execute(f"DROP USER IF EXISTS {_account(connection, name)}")
        except DBAPIError as error:
            if not self.is_denied(error):  # who may not drop users has created none
                raise
        connection.rollback()
        return bool(found)

    def clear(self, connection: Connection) -> None:
        """Drop each table, view and routine: a user may not be allowed to create the database again."""
        drop_all(executing(connection))
        connection.rollback()

    def has(self, connection: Connection, name: str) -> bool:
        """Look among those that the user can see."""
        found = connection.scalar(
            text("SELECT 1 FROM information_schema.schemata WHERE schema_name = :name"), {"name": name}
        )
        connection.rollback()
        return found is not None

    def server(self, connection: Connection) -> str:
        """Return its machine, its port and the folder of its data."""
        found = str(connection.scalar(text("SELECT CONCAT_WS(' ', @@hostname, @@port, @@datadir)")))
        connection.rollback()
        return found

    def confine(self, connection: Connection) -> None:
        """Look at the grants and roles, and at the databases that the user can see, also by grants to everybody."""
        execute = executing(connection)
        own = str(self.engine.url.database)
        outside = [name for (name,) in execute(SEEN) if name.lower() not in (own.lower(), *SYSTEM)]
        for (grant,) in execute("SHOW GRANTS"):
            if not grant.startswith("GRANT USAGE ON *.* ") and f" ON `{own}`." not in grant.replace("\\", ""):
                outside.append(grant.partition(" TO ")[0])
        ((user,),) = execute("SELECT CURRENT_USER()")
        connection.rollback()
        if outside:
            raise self.refused(f"the user {user} has rights outside of {own} ({', '.join(outside)})")


def _account(connection: Connection, name: str) -> str:
    host = str(connection.scalar(text("SELECT CURRENT_USER()"))).rpartition("@")[2]
    return f"'{login_of(name)}'@'{host}'"
