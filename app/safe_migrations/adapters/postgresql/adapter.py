"""PostgreSQL: an advisory lock, and a transaction for each revision."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from ...backups.client_programs import LockTimeOutError
from ...console import StepDone, log
from ...errors import UnsafeError
from ...retry import RetryPolicy
from ..base import (
    RESTORE,
    Adapter,
    Lock,
    Part,
    double_quoted,
    in_autocommit_block,
    listening,
    own_session,
)
from .databases import PostgreSQLDatabases
from .dump import Dump, extensions, locks
from .facts import PostgreSQLFacts
from .lock import AdvisoryLock, require_session

if TYPE_CHECKING:  # a command that has nothing to do, as most have, does without
    from ..snapshot import Snapshot

LITERAL = re.compile(r"'(?:[^']|'')*'")
NAME = r"(?:\"(?:[^\"]|\"\")+\"|[\w$]+)"
CONCURRENTLY = re.compile(
    r"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<index>{NAME})\s+ON\s+(?:ONLY\s+)?(?P<table>{NAME}(?:\.{NAME})?)",
    re.IGNORECASE,
)


SUBSCRIPTIONS = "pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname = current_database()"


class PostgreSQL(Adapter):
    """PostgreSQL has transactional DDL."""

    facts = {"postgresql": PostgreSQLFacts}
    reruns = driver_begins = True
    suffix = ".pgdump"
    maintenance_database = "postgres"

    def options(self, judge: Callable[[UnsafeError], None]) -> dict[str, Any]:
        """Return options for one transaction per revision."""
        return {**super().options(judge), "transaction_per_migration": True}

    def schemas(self, connection: Connection) -> list[str | None]:
        """All but those of the system: scripts may use more than the one of the search path."""
        return [name for name in inspect(connection).get_schema_names() if name != "information_schema"]

    def dump(self, connection: Connection, file: Path, _patience: RetryPolicy, part: Part = Part.ALL) -> None:
        """``pg_dump -Fc``: one snapshot."""
        Dump(connection).write(file, part)

    def verify(self, connection: Connection, file: Path) -> None:
        """Its first bytes, and that pg_restore can read it to its end."""
        Dump(connection).verify(file)

    def load(self, connection: Connection, file: Path, retry: RetryPolicy, _part: Part = Part.ALL) -> None:
        """Drop everything and run the dump, in one transaction if the server has enough locks for that.

        Otherwise it runs in steps that commit, and until the end a table marks the database as not whole.
        """
        connection.rollback()
        dump = Dump(connection)
        contents = dump.contents(file)
        wanted = extensions(contents)
        steps = bool(self.broken_restore(connection)) or not _is_enough_for(connection, locks(contents))
        if steps:
            log.info("One transaction cannot hold that many locks (max_locks_per_transaction): restoring in steps")
            _require_free(connection)
            connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS public")
            connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS public.{RESTORE} (file text)")
            connection.execute(text(f"INSERT INTO public.{RESTORE} VALUES (:file)"), {"file": str(file)})
            connection.commit()
        connection.rollback()
        dump.run(file, connection.dialect.server_version_info or (), retry, wanted, steps)
        for name in wanted:
            if not self.has_extension(connection, name):
                log.warning("Without the extension %s, which this user may not create", name)
        for name in connection.scalars(text(f"SELECT subname FROM {SUBSCRIPTIONS} AND NOT subenabled")):
            alter = f"ALTER SUBSCRIPTION {double_quoted(name)}"
            enable = f"{alter} ENABLE; {alter} REFRESH PUBLICATION WITH (copy_data = false);"
            log.warning("Subscription %s is disabled, as pg_dump writes it. To enable it: %s", name, enable)
        connection.rollback()

    def broken_restore(self, connection: Connection) -> str:
        """Read it from the table that a restore in steps drops at its end."""
        if connection.scalar(text(f"SELECT to_regclass('public.{RESTORE}')")) is None:
            return ""
        return str(connection.scalar(text(f"SELECT file FROM public.{RESTORE}")) or "FILE")

    @contextmanager
    def hidden_rows_refused(self, connection: Connection) -> Iterator[None]:
        """Turn ``row_security`` off in each transaction: then a policy that would hide rows raises an error."""

        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("SET LOCAL row_security = off")

        connection.rollback()
        with listening(connection, {"begin": begin}):
            yield
        connection.rollback()

    @property
    def databases(self) -> PostgreSQLDatabases:
        """Other databases of its server."""
        return PostgreSQLDatabases(self.engine)

    def snapshot(self, connection: Connection) -> "Snapshot":
        """From the catalog and the rows."""
        from .snapshot import taken

        return taken(connection)

    @contextmanager
    def lock(self, connection: Connection, what: str) -> Iterator[Lock]:
        """An advisory lock, on a session of its own that tells its name."""
        with own_session(self.engine) as session:
            require_session(session, connection)
            name = f"flask db, process {os.getpid()} on {socket.gethostname()}"[:63]
            session.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
            if session.dialect.server_version_info >= (14,):  # type: ignore[operator]
                session.execute(text("SET idle_session_timeout = 0"))
            yield AdvisoryLock(session, what)

    def is_lock_timeout(self, error: DBAPIError) -> bool:
        """lock_not_available (PostgreSQL manual, appendix A)."""
        return getattr(error.orig, "sqlstate", None) == "55P03"

    def limit_lock_waits(self, connection: Connection, retry: RetryPolicy) -> None:
        """By ``lock_timeout``: the server's default is to wait for ever."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{retry.milliseconds}ms'")

    def in_transaction(self, connection: Connection) -> bool:
        """Return what psycopg knows from the server's last answer."""
        below: Any = connection.connection.dbapi_connection
        return bool(below.info.transaction_status)  # IDLE is 0

    def blockers(self, connection: Connection) -> tuple[str, str]:
        """The oldest transaction of this database but our own."""
        found = connection.execute(
            text(
                "SELECT pid, usename, application_name, client_addr, to_char(xact_start, 'HH24:MI:SS')"
                " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1"
            )
        ).first()
        connection.rollback()
        if found is None:
            return "", ""
        pid, user, name, host, since = found
        told = (
            f"session {pid}, {user}{f' ({name})' if name else ''} from {host or 'here'}, in a transaction since {since}"
        )
        return told, f"SELECT pg_terminate_backend({pid});"

    def version(self, connection: Connection) -> tuple[str, str]:
        """The server's, as it told it at login: ``("postgresql", "15.20")``."""
        return "postgresql", ".".join(map(str, connection.dialect.server_version_info or ()))

    def is_one_way(self, name: str, before: str, after: str) -> bool:
        """An enum that got values: there is no ALTER TYPE that drops one."""
        if not (name.startswith("type ") and before.startswith("'")):
            return False
        left = iter(LITERAL.findall(after))
        return all(value in left for value in LITERAL.findall(before))

    def partitions(self, connection: Connection) -> set[tuple[str | None, str]]:
        """Read them from pg_class."""
        query = (
            "SELECT nspname, relname, pg_table_is_visible(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid ="
            " relnamespace WHERE relispartition AND relkind IN ('r', 'p')"
        )
        found = connection.execute(text(query)).all()
        return {(where, name) for schema, name, seen in found for where in ((schema, None) if seen else (schema,))}

    def has_extension(self, connection: Connection, name: str) -> bool | None:
        """By pg_extension."""
        found = connection.scalar(text("SELECT 1 FROM pg_extension WHERE extname = :name"), {"name": name})
        return found is not None

    @contextmanager
    def prepared(self, connection: Connection, retry: RetryPolicy) -> Iterator[StepDone]:
        """``lock_timeout`` for the session, which counts for each lock that a statement waits for.

        Not in an autocommit block: what has to run there, as CREATE INDEX CONCURRENTLY, waits without blocking others,
        and leaves an invalid index behind if it is ended.
        """
        before = connection.scalar(text("SELECT current_setting('lock_timeout')"))
        connection.rollback()
        now = before

        def begin(connection: Connection) -> None:
            nonlocal now
            wanted = "0" if in_autocommit_block(connection) else f"{retry.milliseconds}ms"
            if wanted != now:
                connection.exec_driver_sql(f"SET lock_timeout = '{wanted}'")
                now = wanted

        def rollback(_connection: Connection) -> None:
            nonlocal now
            now = None  # a SET is rolled back too

        def on_statement(connection: Connection, _cursor: object, statement: str, *_others: object) -> None:
            if found := CONCURRENTLY.match(statement):
                _drop_half_made(connection, found["index"], found["table"])

        try:
            listeners: dict[str, Callable[..., None]] = {
                "begin": begin,
                "rollback": rollback,
                "before_cursor_execute": on_statement,
            }
            with listening(connection, listeners):
                yield lambda _heads: None
        finally:
            connection.rollback()
            connection.execute(text("SELECT set_config('lock_timeout', :before, false)"), {"before": before})
            connection.commit()


def _is_enough_for(connection: Connection, number: int) -> bool:
    """Return whether one transaction can drop all objects and create ``number`` others, and leave others some locks.

    The server has max_locks_per_transaction for each session that it may have (PostgreSQL manual, "Lock Management").
    """
    query = text(
        "SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384) + (SELECT count(*) FROM pg_largeobject_metadata),"
        " current_setting('max_locks_per_transaction')::int * (current_setting('max_connections')::int"
        " + current_setting('max_prepared_transactions')::int)"
    )
    there, capacity = connection.execute(query).one()
    return bool(there + number < capacity * 3 / 4)


def _require_free(connection: Connection) -> None:
    """Raise LockTimeOutError if another session uses a table: once half of them are dropped, it is too late."""
    query = text(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database JOIN pg_stat_activity a USING (pid)"
        " WHERE d.datname = current_database() AND locktype = 'relation' AND relation >= 16384"
        " AND pid <> pg_backend_pid() AND backend_type IS DISTINCT FROM 'autovacuum worker'"
    )
    if connection.scalar(query):
        connection.rollback()
        raise LockTimeOutError("other sessions use tables of this database.", "wait for them, and run it again.")


def _drop_half_made(connection: Connection, index: str, table: str) -> None:
    """Drop the index, if it is one that nobody can use: CREATE INDEX CONCURRENTLY leaves it where it fails or is killed
    (PostgreSQL manual, "Building Indexes Concurrently"). One that somebody is making is not touched.
    """
    half_made = text(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE NOT i.indisvalid AND i.indrelid = to_regclass(:table)"
        " AND c.relname = (parse_ident(:index))[1]"
        " AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)"
    )
    if name := connection.scalar(half_made, {"table": table, "index": index}):
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name.replace('%', '%%')}")
        log.info("Dropped the index %s, which a run that failed or was killed had left half-made", name)
