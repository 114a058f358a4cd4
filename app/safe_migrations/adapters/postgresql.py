"""PostgreSQL: an advisory lock, and a transaction for each revision."""

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from app.safe_migrations.adapters.base import Adapter, Lock, listening, not_whole
from app.safe_migrations.adapters.tools import program, running
from app.safe_migrations.errors import MigrationError
from app.safe_migrations.patience import Patience

# Advisory locks belong to a database, so one number serves all; any other program is unlikely to take this one.
KEY = int.from_bytes(hashlib.sha256(b"flask db upgrade").digest()[:8], signed=True)


PACKAGE = "postgresql-client"

# What the restore of a dump would find in its way; what belongs to an extension stays with it.
DROP_ALL = """
DO $$ DECLARE found text; BEGIN
  FOR found IN
    SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace n
     WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public') AND NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('DROP %s IF EXISTS public.%I CASCADE', CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN
           'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE'
           ELSE 'TABLE' END, relname)
      FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm', 'S', 'f', 'c', 'r', 'p')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                                 AND d.deptype IN ('e', 'i'))
  LOOP EXECUTE found; END LOOP;
  FOR found IN
    SELECT format('DROP ROUTINE IF EXISTS %s CASCADE', oid::regprocedure) FROM pg_proc p
     WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
  LOOP EXECUTE found; END LOOP;
  FOR found IN
    SELECT format('DROP TYPE IF EXISTS public.%I CASCADE', typname) FROM pg_type t
     WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r') AND NOT EXISTS
       (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
  LOOP EXECUTE found; END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
END $$;
"""


class AdvisoryLock(Lock):
    """Held by a session: the server frees it when the session ends, however it does."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def take(self) -> bool:
        """Never the variant that waits: it would hold a snapshot, for which CREATE INDEX CONCURRENTLY waits in turn."""
        return bool(self.connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": KEY}))

    def holder(self) -> tuple[str, str]:
        """The session, by its number, its name and the time of its last statement, which took the lock."""
        found = self.connection.execute(
            text(
                "SELECT a.pid, a.application_name, to_char(a.state_change, 'HH24:MI:SS') FROM pg_locks l"
                " JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
                " AND (l.classid::bigint << 32) | l.objid::bigint = :key AND l.database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            ),
            {"key": KEY},
        ).first()
        if found is None:
            return "", ""
        pid, name, since = found
        return f"session {pid}, {name}, since {since}", f"SELECT pg_terminate_backend({pid});"


class PostgreSQL(Adapter):
    """PostgreSQL has transactional DDL."""

    configure = {"transaction_per_migration": True}
    reruns = True
    suffix = ".pgdump"

    def schemas(self, connection: Connection) -> list[str | None]:
        """All of the database's own."""
        return [name for name in inspect(connection).get_schema_names() if name != "information_schema"]

    def dump(self, _connection: Connection, file: Path, _patience: Patience) -> None:
        """``pg_dump -Fc``: one snapshot."""
        self._run("pg_dump", "--format=custom", f"--file={file}", self._database())

    def verify(self, _connection: Connection, file: Path) -> None:
        """Its first bytes, and that pg_restore can read it to its end."""
        with file.open("rb") as opened:
            if opened.read(5) != b"PGDMP":
                raise not_whole(file, "PostgreSQL", "it does not begin like one of pg_dump -Fc")
        try:
            self._run("pg_restore", f"--file={os.devnull}", str(file))
        except MigrationError as error:
            raise not_whole(file, "PostgreSQL", str(error).partition("\n")[0].rstrip(".")) from error

    def load(self, connection: Connection, file: Path, patience: Patience) -> None:
        """Drop what there is and run what pg_restore says, in one transaction: all or nothing."""
        old = (connection.dialect.server_version_info or ())[:1] < (17,)
        connection.rollback()
        psql = [program("psql", package=PACKAGE), "-X", "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1", "-d"]
        read = [program("pg_restore", package=PACKAGE), "--file=-", str(file)]
        with running([*psql, self._database()], PACKAGE, env=self._environ(), stdin=subprocess.PIPE) as target:
            assert target.stdin is not None
            timeout = f"SET LOCAL lock_timeout = '{int(patience.seconds * 1000)}ms';\n"
            target.stdin.write(f"BEGIN;\n{timeout}{DROP_ALL}".encode())
            with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
                assert source.stdout is not None
                if old:  # a newer pg_dump sets what this server does not know
                    for line in source.stdout:
                        if line.startswith((b"CREATE ", b"COPY ", b"ALTER ")):
                            target.stdin.write(line)
                            break
                        if b"transaction_timeout" not in line:
                            target.stdin.write(line)
                shutil.copyfileobj(source.stdout, target.stdin)
            target.stdin.write(b"\nCOMMIT;\n")  # only behind the last line of a pg_restore that succeeded

    def _run(self, name: str, *args: str) -> None:
        with running([program(name, package=PACKAGE), *args], PACKAGE, env=self._environ(), stdin=subprocess.DEVNULL):
            pass

    def _database(self) -> str:
        """The URL without the password, which must not stand on a command line."""
        url = self.engine.url.set(drivername="postgresql")
        query = {name: value for name, value in url.query.items() if name != "password"}
        url = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
        return url.render_as_string(hide_password=False)

    def _environ(self) -> dict[str, str]:
        password = self.engine.url.password or self.engine.url.query.get("password")
        return {"PGPASSWORD": str(password)} if password else {}

    @contextmanager
    def lock(self, connection: Connection) -> Iterator[Lock]:
        """An advisory lock, on a session of its own that tells its name."""
        with self.own_session() as session:
            _require_session(session, connection)
            name = f"flask db, process {os.getpid()} on {socket.gethostname()}"[:63]
            session.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
            if session.dialect.server_version_info >= (14,):  # type: ignore[operator]
                session.execute(text("SET idle_session_timeout = 0"))
            yield AdvisoryLock(session)

    def is_lock_time_out(self, error: DBAPIError) -> bool:
        """lock_not_available (PostgreSQL manual, appendix A)."""
        return getattr(error.orig, "sqlstate", None) == "55P03"

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
        """The server's."""
        return "postgresql", ".".join(map(str, connection.dialect.server_version_info or ()))

    @contextmanager
    def prepared(self, connection: Connection, patience: Patience) -> Iterator[Callable[[], None]]:
        """``lock_timeout`` for the session, which counts for each lock that a statement waits for.

        Not in an autocommit block: what has to run there, as CREATE INDEX CONCURRENTLY, waits without blocking others,
        and leaves an invalid index behind if it is ended.
        """
        before = connection.scalar(text("SELECT current_setting('lock_timeout')"))
        connection.rollback()
        now = before

        def begin(connection: Connection) -> None:
            nonlocal now
            block = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
            wanted = "0" if block else f"{int(patience.seconds * 1000)}ms"
            if wanted != now:
                connection.exec_driver_sql(f"SET lock_timeout = '{wanted}'")
                now = wanted

        def rollback(_connection: Connection) -> None:
            nonlocal now
            now = None  # a SET is rolled back too

        try:
            with listening(connection, {"begin": begin, "rollback": rollback}):
                yield lambda: None
        finally:
            connection.rollback()
            connection.execute(text("SELECT set_config('lock_timeout', :before, false)"), {"before": before})
            connection.commit()


def _require_session(session: Connection, other: Connection) -> None:
    """Raise MigrationError if a pooler gives each transaction another session, or two of us the same one.

    Behind a pooler, the session's number is not the one that it was told at login. Those that keep a session together,
    as PgBouncer does with `pool_mode = session`, keep what is set in it.
    """
    driver: Any = session.connection.dbapi_connection
    if driver.info.backend_pid == session.scalar(text("SELECT pg_backend_pid()")):
        return
    asked, token = text("SELECT current_setting('safe_migrations.token', true)"), uuid4().hex
    for _ in range(5):
        session.execute(text("SELECT set_config('safe_migrations.token', :token, false)"), {"token": token})
        found = (session.scalar(asked) == token, other.scalar(asked) == token)
        other.rollback()
        if found != (True, False):
            raise MigrationError(
                "a pooler stands before the server and gives each transaction another session, as PgBouncer does in"
                " transaction mode: no lock holds there.",
                "connect to the server itself for migrations:",
                "DATABASE_URL=postgresql://USER:PASSWORD@SERVER:5432/DATABASE flask db upgrade",
            )
