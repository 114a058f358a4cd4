"""The adapter of PostgreSQL, which runs each revision in a transaction of its own."""

import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    TableClause,
    Text,
    cast,
    column,
    inspect,
    literal_column,
    text,
    tuple_,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import Tuple

from ...console import StepDone, log, repeatedly
from ...errors import UnsafeError
from ...retry import RetryPolicy
from ..base import (
    KEEP_ALIVE,
    Adapter,
    KeyColumn,
    Lock,
    Part,
    double_quoted,
    in_autocommit_block,
    listening,
    own_session,
)
from .databases import PostgreSQLDatabases
from .dump import Dump
from .lock import AdvisoryLock, require_session

if TYPE_CHECKING:  # only rehearsals need it
    from ..creation import Creation
    from ..snapshot import Objects, Snapshot

LITERAL = re.compile(r"'(?:[^']|'')*'")
NAME = r"(?:\"(?:[^\"]|\"\")+\"|[\w$]+)"
CONCURRENTLY = re.compile(
    r"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<index>{NAME})\s+ON\s+(?:ONLY\s+)?(?P<table>{NAME}(?:\.{NAME})?)",
    re.IGNORECASE,
)

SUBSCRIPTIONS = (
    "SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname = current_database()"
)


class PostgreSQL(Adapter):
    """The operations of PostgreSQL, where DDL can be rolled back."""

    reruns = driver_begins = runs_several_statements = shows_more_in_sql = True
    suffix = ".pgdump"
    maintenance_database = "postgres"
    # A policy that would hide rows raises an error. Keys are stored as text in these styles, and found by their index,
    # however many rows the planner expects between two rows of a composite key.
    begin_batch = (
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL row_security = off; SET LOCAL datestyle = ISO;"
        " SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
    )

    def options(self, judge: Callable[[UnsafeError], None]) -> dict[str, Any]:
        """Return options that make Alembic run each revision in a transaction of its own."""
        return {**super().options(judge), "transaction_per_migration": True}

    def schemas(self, connection: Connection) -> list[str | None]:
        """Return the names of all schemas except the system's, because scripts may use any of them."""
        return [name for name in inspect(connection).get_schema_names() if name != "information_schema"]

    def size(self, connection: Connection) -> int:
        """Return pg_database_size() of the database, in bytes."""
        return connection.scalar(text("SELECT pg_database_size(current_database())")) or 0

    def dump(self, connection: Connection, file: Path, _retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Write ``part`` of the database to ``file`` with ``pg_dump -Fc``, which reads one consistent snapshot."""
        Dump(connection).write(file, part)

    def verify(self, connection: Connection, file: Path) -> None:
        """Raise MigrationError if pg_restore cannot read all of ``file``."""
        Dump(connection).verify(file)

    def load(self, connection: Connection, file: Path, retry: RetryPolicy, part: Part = Part.ALL) -> None:
        """Drop everything in the database and restore ``file`` in one transaction.

        If ``part`` is not Part.ALL, the database is the empty copy of a rehearsal: drop nothing, and commit each
        statement. Log a warning for each extension that is missing afterwards, and for each subscription to refresh.
        """
        connection.rollback()
        dump = Dump(connection)
        dump.load(file, connection.dialect.server_version_info or (), retry, part)
        for name in dump.extensions(file):
            if not self.has_extension(connection, name):
                create = f"CREATE EXTENSION {double_quoted(name)};"
                log.warning(
                    "The extension %s is missing: this user may not create it. An administrator can: %s", name, create
                )
        for name in connection.scalars(text(SUBSCRIPTIONS)):
            refresh = f"ALTER SUBSCRIPTION {double_quoted(name)} REFRESH PUBLICATION WITH (copy_data = false);"
            log.warning("Subscription %s does not write to the restored tables until you run: %s", name, refresh)
        connection.rollback()

    @contextmanager
    def hidden_rows_refused(self, connection: Connection) -> Iterator[None]:
        """Turn ``row_security`` off in this block's transactions: a query then fails if a policy would hide rows.

        Roll back the transaction of ``connection`` before the block and after it.
        """

        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("SET LOCAL row_security = off")

        connection.rollback()
        with listening(connection, {"begin": begin}):
            yield
        connection.rollback()

    @property
    def databases(self) -> PostgreSQLDatabases:
        """Return the object that creates and drops scratch databases on the same server."""
        return PostgreSQLDatabases(self.engine)

    def creations(self, connection: Connection) -> "list[Creation]":
        """Return the statements that create the database again, in the order to run them."""
        from .creation import creations

        return creations(connection)

    def snapshot(self, connection: Connection) -> "Snapshot":
        """Return the schema as the catalog has it, and counts and fingerprints of rows; roll back the transaction."""
        from .snapshot import taken

        return taken(connection)

    def schema(self, connection: Connection) -> "Objects":
        """Return the schema as the catalog has it, without owners, rights and rows."""
        from .snapshot import schema

        return schema(connection)

    @contextmanager
    def lock(self, connection: Connection, what: str) -> Iterator[Lock]:
        """Yield an advisory lock that is not taken yet; the session that takes it ends with the block.

        The session is not that of ``connection``, and runs a query every 15 seconds (KEEP_ALIVE). Its application_name
        has the number of this process and the name of this machine. Raise MigrationError if a connection pooler could
        give the session to others.
        """
        with own_session(self.engine) as session:
            require_session(session, connection)
            name = f"flask db, process {os.getpid()} on {socket.gethostname()}"[:63]
            session.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
            lock = AdvisoryLock(session, what)
            with repeatedly(KEEP_ALIVE, lock.is_held):
                yield lock

    def is_lock_timeout(self, error: DBAPIError) -> bool:
        """Return True for the error 55P03, lock_not_available (PostgreSQL manual, appendix A)."""
        return getattr(error.orig, "sqlstate", None) == "55P03"

    def limit_lock_waits(self, connection: Connection, retry: RetryPolicy) -> None:
        """Set ``lock_timeout`` to ``retry.seconds`` in the current transaction; else PostgreSQL waits forever."""
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{retry.milliseconds}ms'")

    def rolled_back_transaction(self, error: DBAPIError) -> bool:
        """Return True for the errors 40P01, deadlock_detected, and 40001, serialization_failure."""
        return getattr(error.orig, "sqlstate", None) in ("40P01", "40001")

    def primary_key(self, connection: Connection, table: TableClause) -> list[KeyColumn]:
        """Return the columns of the primary key. The server itself converts their values to text and back."""
        query = text(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_index i"
            " CROSS JOIN unnest(i.indkey) WITH ORDINALITY k (number, place)"
            " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number"
            " WHERE i.indrelid = to_regclass(:table) AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY k.place"
        )
        return [_key_column(*row) for row in connection.execute(query, {"table": _quoted(table)})]

    def beyond(self, key: Sequence[KeyColumn], values: Sequence[str]) -> ColumnElement[bool]:
        """Return ``(a, b) > (1, 2)``, for which PostgreSQL uses the index: it does not for OR."""
        return _as_row(key) > tuple_(*(each.value(value) for each, value in zip(key, values, strict=True)))

    def up_to(self, key: Sequence[KeyColumn], values: Sequence[str]) -> ColumnElement[bool]:
        """Return ``(a, b) <= (1, 2)``."""
        return _as_row(key) <= tuple_(*(each.value(value) for each, value in zip(key, values, strict=True)))

    def estimated_rows(self, connection: Connection, table: TableClause) -> int:
        """Return ``reltuples``, which VACUUM and ANALYZE write."""
        query = text("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(:table)")
        return max(0, int(connection.scalar(query, {"table": _quoted(table)}) or 0))

    def in_transaction(self, connection: Connection) -> bool:
        """Return True if a transaction is open: psycopg knows this from the server's last answer."""
        below: Any = connection.connection.dbapi_connection
        return bool(below.info.transaction_status)  # IDLE is 0

    def blockers(self, connection: Connection) -> tuple[str, str]:
        """Return a description of the session with the oldest transaction in this database, and SQL that ends it.

        The session of ``connection`` does not count; its transaction is rolled back. Return two empty strings if no
        other session has a transaction.
        """
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
        who = f"session {pid}, {user}{f' ({name})' if name else ''} from {host or 'this machine'}"
        return f"{who}, in a transaction since {since}", f"SELECT pg_terminate_backend({pid});"

    def version(self, connection: Connection) -> tuple[str, str]:
        """Return product and version, as the server reported them at login: ``("postgresql", "15.20")``."""
        return "postgresql", ".".join(map(str, connection.dialect.server_version_info or ()))

    def require_writable(self, connection: Connection, command: str) -> None:
        """Raise MigrationError if the server is a standby, or the session's transactions are read-only."""
        from .standby import require_writable

        require_writable(connection, command)

    def is_irreversible(self, name: str, before: str, after: str) -> bool:
        """Return True if an enum type got more values, because ALTER TYPE cannot remove a value."""
        if not (name.startswith("type ") and before.startswith("e '")):
            return False
        left = iter(LITERAL.findall(after))
        return all(value in left for value in LITERAL.findall(before))

    def partitions(self, connection: Connection) -> set[tuple[str | None, str]]:
        """Return (schema, name) of each partition; if it is in the search path, also (None, name)."""
        query = (
            "SELECT nspname, relname, pg_table_is_visible(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid ="
            " relnamespace WHERE relispartition AND relkind IN ('r', 'p')"
        )
        found = connection.execute(text(query)).all()
        return {(where, name) for schema, name, seen in found for where in ((schema, None) if seen else (schema,))}

    def has_extension(self, connection: Connection, name: str) -> bool | None:
        """Return True if the extension ``name`` is installed in this database."""
        found = connection.scalar(text("SELECT 1 FROM pg_extension WHERE extname = :name"), {"name": name})
        return found is not None

    @contextmanager
    def prepared(self, connection: Connection, retry: RetryPolicy, remains: list[str]) -> Iterator[StepDone]:
        """Limit lock waits in each transaction; before CREATE INDEX CONCURRENTLY, drop an invalid index of its name.

        In an autocommit block, waits have no limit: CREATE INDEX CONCURRENTLY does not block others while it waits, and
        a time-out would leave an invalid index. The yielded function does nothing; other databases need it.
        """

        def begin(connection: Connection) -> None:
            if not in_autocommit_block(connection):
                self.limit_lock_waits(connection, retry)

        def on_statement(connection: Connection, _cursor: object, statement: str, *_others: object) -> None:
            if found := CONCURRENTLY.match(statement):
                _drop_invalid_index(connection, found["index"], found["table"])

        with listening(connection, {"begin": begin, "before_cursor_execute": on_statement}):
            yield lambda _heads: None


def _quoted(table: TableClause) -> str:
    return ".".join(double_quoted(part) for part in (table.schema, table.name) if part)


def _key_column(name: str, type_name: str) -> KeyColumn:
    def value(stored: str) -> ColumnElement[Any]:
        # By the operator, because cast() needs a type of SQLAlchemy, and the column may have any type, e.g. an enum.
        return cast(stored, Text).op("::", precedence=100)(literal_column(type_name))

    return KeyColumn(column(name), cast(column(name), Text), value)


def _as_row(key: Sequence[KeyColumn]) -> Tuple:
    return tuple_(*(each.column for each in key))


def _drop_invalid_index(connection: Connection, index: str, table: str) -> None:
    """Drop ``index`` if it is invalid, and no other session is creating it now.

    CREATE INDEX CONCURRENTLY leaves an invalid index if it fails or is killed (PostgreSQL manual, "Building Indexes
    Concurrently").
    """
    invalid = text(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE NOT i.indisvalid AND i.indrelid = to_regclass(:table)"
        " AND c.relname = (parse_ident(:index))[1]"
        " AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)"
    )
    if name := connection.scalar(invalid, {"table": table, "index": index}):
        connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY {name.replace('%', '%%')}")
        log.info("Dropped the invalid index %s of a CREATE INDEX CONCURRENTLY that failed, to create it again", name)
