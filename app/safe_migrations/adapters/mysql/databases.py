"""Other databases of a MySQL or MariaDB server."""

from contextlib import suppress

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from ..databases import Databases, Outside, no_scratch
from .catalog import drop_all, quoted, show_create, there_are
from .session import executing


class MySQLDatabases(Databases):
    """Any statement may name one of them."""

    cursor_classes = ("cursorclass",)

    def path(self, name: str) -> str:
        """Return the name itself: a URL has it behind the server's."""
        return name

    def make(self, connection: Connection, name: str) -> None:
        """Create it with the character set and collation of the database of ``connection``."""
        charset, collation = connection.execute(text("SELECT @@character_set_database, @@collation_database")).one()
        try:
            connection.exec_driver_sql(f"CREATE DATABASE {quoted(name)} CHARACTER SET {charset} COLLATE {collation}")
        except DBAPIError as error:
            if error.orig is None or error.orig.args[0] != 1044:  # ER_DBACCESS_DENIED_ERROR
                raise
            user, host = str(connection.scalar(text("SELECT CURRENT_USER()"))).rsplit("@", 1)
            pattern = quoted(name.replace("_", r"\_"))
            raise no_scratch(
                f"the user {user} may not create the database {name}", f"GRANT ALL ON {pattern}.* TO '{user}'@'{host}';"
            ) from error

    def drop(self, connection: Connection, name: str) -> bool:
        """Kill the sessions of a killed run, because a statement continues without its client; drop the database."""
        execute = executing(connection)
        for (number,) in execute("SELECT id FROM information_schema.processlist WHERE db = %s", (name,)):
            with suppress(DBAPIError):  # it may have ended
                execute(f"KILL {number}")
        found = execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (name,))
        if found:
            execute(f"DROP DATABASE {quoted(name)}")
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

    def outside(self, connection: Connection, real: URL, is_shared: bool) -> Outside:
        """Return the databases that a statement may name; the server refuses those that the user cannot see."""
        execute = executing(connection)
        own = str(self.engine.url.database).lower()
        original = str(real.database).lower()
        seen = {name.lower() for (name,) in execute("SHOW DATABASES")} if is_shared else set()
        schemas: dict[str, set[str]] = {name: set() for name in {original, *seen} - {own, "information_schema"}}
        for kind, columns in (("tables", "table_schema, table_name"), ("routines", "routine_schema, routine_name")):
            for schema, name in execute(f"SELECT {columns} FROM information_schema.{kind}"):
                schemas.get(original if schema.lower() == own else schema.lower(), set()).add(name.lower())
        functions: set[str] = set()  # that libraries give the server
        with suppress(DBAPIError):  # of a user who may not see them
            functions = {name.lower() for (name,) in execute("SELECT name FROM mysql.func")}
        texts = {
            (kind, name): made[0]
            for kind, name in there_are(execute)
            if kind in ("TRIGGER", "PROCEDURE", "FUNCTION", "VIEW") and (made := show_create(execute, kind, name))
        }
        connection.rollback()
        return Outside(
            schemas,
            functions,
            code={f"{kind.lower()} {name}": made for (kind, name), made in texts.items() if kind != "VIEW"},
            views={name: made for (kind, name), made in texts.items() if kind == "VIEW"},
        )
