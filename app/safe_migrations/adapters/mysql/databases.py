"""Scratch databases on a MySQL or MariaDB server, in which revisions are rehearsed."""

import secrets
from contextlib import suppress

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from ..databases import Databases, login_of
from .catalog import LOCK, drop_all, quoted
from .session import executing

SEEN = "SELECT schema_name FROM information_schema.schemata"
# Each user sees these, and may not write there.
SYSTEM = ("information_schema", "performance_schema")


class MySQLDatabases(Databases):
    """The databases on a MySQL or MariaDB server: creates and drops a scratch database and its user.

    A statement can change any database in which its user has rights. So the scratch database's user has rights in no
    other database.
    """

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
        """Return ``name`` unchanged: a URL contains the database's name, as in ``mysql://server/app``."""
        return name

    def make(self, connection: Connection, name: str) -> None:
        """Create the database ``name``, with the character set and collation of the database of ``connection``.

        Raise MigrationError if the user may not.
        """
        charset, collation = connection.execute(text("SELECT @@character_set_database, @@collation_database")).one()
        with self.denials_refused():
            executing(connection)(f"CREATE DATABASE {quoted(name)} CHARACTER SET {charset} COLLATE {collation}")

    def login(self, connection: Connection, name: str, _original: Connection) -> URL:
        """Create a user with all rights in the database ``name`` and none elsewhere; return the user's login URL.

        The new user may log in from the same hosts as the user of ``connection``. Raise MigrationError if the server
        denies this.
        """
        user, password = login_of(name), f"{secrets.token_urlsafe(24)}-aA1"  # as validate_password wants it
        pattern = quoted(name.replace("_", r"\_"))
        account = _account(connection, name)
        with self.denials_refused():
            executing(connection)(f"CREATE USER {account} IDENTIFIED BY '{password}'")
            executing(connection)(f"GRANT ALL ON {pattern}.* TO {account}")
        return self.engine.url.set(username=user, password=password, database=name)

    def drop(self, connection: Connection, name: str) -> bool:
        """Drop the database ``name`` and its user; return False if the database does not exist.

        First kill all sessions in the database: the server continues a statement even if its client was killed.
        """
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
        """Drop everything in the database of ``connection``, except the marker tables SCRATCH and RESTORE.

        The database itself is not dropped: the user may lack the right to create it again.
        """
        drop_all(executing(connection))
        executing(connection)(f"DROP TABLE IF EXISTS {LOCK}")  # of the commands that ran in the scratch database
        connection.rollback()

    def has(self, connection: Connection, name: str) -> bool:
        """Return True if a database called ``name`` exists and the user can see it."""
        found = connection.scalar(
            text("SELECT 1 FROM information_schema.schemata WHERE schema_name = :name"), {"name": name}
        )
        connection.rollback()
        return found is not None

    def server(self, connection: Connection) -> str:
        """Return the server's host name, port and data folder, which identify it: ``"db1 3306 /var/lib/mysql/"``."""
        found = str(connection.scalar(text("SELECT CONCAT_WS(' ', @@hostname, @@port, @@datadir)")))
        connection.rollback()
        return found

    def confine(self, connection: Connection) -> None:
        """Raise MigrationError if the user of ``connection`` has a role, or rights outside the database in the URL.

        SHOW GRANTS lists the user's own rights, but not rights that all users have. These count too: the user can see
        the databases to which they apply.
        """
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
