"""Other databases of a MySQL or MariaDB server."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import URL, Connection, event, text
from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters.base import Databases, no_scratch
from app.safe_migrations.adapters.mysql.catalog import drop_all, quoted, show_create, there_are
from app.safe_migrations.adapters.mysql.session import executing
from app.safe_migrations.adapters.mysql.statements import Statement
from app.safe_migrations.errors import UnsafeError


class MySQLDatabases(Databases):
    """Any statement may name one of them."""

    def path(self, name: str) -> str:
        """The name itself: a URL has it behind the server's."""
        return name

    def make(self, connection: Connection, name: str) -> None:
        """With the character set and the collation of the database of ``connection``."""
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
        """End the sessions that a killed run may have left, for a statement goes on without its client."""
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
        """Each table, view and routine by itself, for a user may not make the database again. Raises DBAPIError."""
        drop_all(executing(connection))
        connection.rollback()

    @contextmanager
    def confined(self, real: URL) -> Iterator[None]:
        """A statement reaches any database of the server that it names."""
        name = str(real.database)

        def refuse(what: str, sql: str) -> None:
            statement = Statement(sql)
            named = {name} if statement.verb == "USE" else statement.of_schema(name)
            if named and (name not in tables or named & {name, *tables}):
                raise UnsafeError(
                    f"{what} names the database {name} itself, and a rehearsal must not touch that.",
                    "name the table alone, or rehearse on a server of its own:",
                    "export MIGRATION_REHEARSAL_URL=mysql://USER:PASSWORD@OTHER_SERVER",
                )

        def before(_connection: Connection, _cursor: Any, statement: str, *_others: Any) -> None:
            refuse(f"the statement {statement[:80]!r}", statement)

        with self.engine.connect() as connection:
            execute = executing(connection)
            found = there_are(execute)
            tables = {object_ for kind, object_ in found if kind == "TABLE"}
            for kind, object_ in found:
                if kind in ("TRIGGER", "PROCEDURE", "FUNCTION") and (said := show_create(execute, kind, object_)):
                    refuse(f"the {kind.lower()} {object_}", said[0])
        event.listen(self.engine, "before_cursor_execute", before)
        try:
            yield
        finally:
            event.remove(self.engine, "before_cursor_execute", before)
