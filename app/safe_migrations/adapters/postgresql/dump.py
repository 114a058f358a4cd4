"""Dumps of a PostgreSQL database, written and restored by its client programs."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection

from ...errors import MigrationError
from ...retry import RetryPolicy
from ..base import Part, double_quoted, not_whole
from ..client_programs import ToolError, program, running, unnamed_file

PACKAGE = "postgresql-client"
DROP_ALL, AS_IN_A_NEW_DATABASE = (
    Path(__file__).with_name(f"{name}.sql") for name in ("drop_all", "as_in_a_new_database")
)
# A dump empties the search path, on which functions in constraints, indexes and views may rely. Other names in a dump
# are qualified with their schema.
NO_PATH = b"set_config('search_path', '', false)"

# In a dump these are on lines of their own. pg_dump sorts by kind: schemas, collations, extensions, then types and
# functions, whose text is not touched (pg_dump_sort.c).
OF_EXTENSIONS = re.compile(rb"(?:CREATE EXTENSION IF NOT EXISTS|COMMENT ON EXTENSION) [^\n]*;\n")
BEFORE_THE_REST = tuple(
    b"%b %b" % (verb, kind)
    for verb in (b"CREATE", b"ALTER")
    for kind in (b"SCHEMA", b"COLLATION", b"EXTENSION", b"DATABASE", b"PROCEDURAL", b"LANGUAGE")
)

# Options that may be on a command line, which all users of the machine can read. The others go into a file.
SHOWN = ("dbname", "user", "host", "hostaddr", "port")
# Options that are omitted: one that a service file cannot contain; the encoding, because a dump has its database's; and
# one that libpq adds from version 16 on, which older programs do not know.
LEFT_OUT = {"service": None, "client_encoding": None, "sslcertmode": "allow"}

PIECE = 1 << 17


class Dump:
    """A dump of the database behind ``connection``, made by programs that log in as that session did."""

    def __init__(self, connection: Connection) -> None:
        info = connection.connection.driver_connection.info  # type: ignore[union-attr]  # psycopg's
        parts: dict[str, str] = info.get_parameters()
        self.parts = {part: value for part, value in parts.items() if LEFT_OUT.get(part, "") not in (None, value)}
        self.password: str = info.password

    def write(self, file: Path, part: Part) -> None:
        """Run ``pg_dump -Fc``. Raise MigrationError.

        Leave out subscriptions: their workers would write to a copy, and their slots stay at the publisher.
        """
        wanted = ["--schema-only"] if part is Part.SCHEMA else []
        args = ["--format=custom", "--no-subscriptions", *wanted, f"--file={file}"]
        try:
            with self._running("pg_dump", *args, stdin=subprocess.DEVNULL):
                pass
        except ToolError as error:
            if "row-level security" not in error.what:
                raise
            raise ToolError(
                error.what,
                "a policy hides rows from this user. As an administrator, let the user read all rows:",
                f"ALTER ROLE {double_quoted(self.parts.get('user', 'USER'))} BYPASSRLS;",
            ) from error

    def verify(self, file: Path) -> None:
        """Raise MigrationError unless pg_restore can read all of ``file``."""
        try:
            read = [program("pg_restore", package=PACKAGE), f"--file={os.devnull}", str(file)]
            with running(read, PACKAGE, stdin=subprocess.DEVNULL):
                pass
        except MigrationError as error:
            raise not_whole(file, "PostgreSQL", str(error).partition("\n")[0].rstrip(".")) from error

    def load(self, file: Path, server: tuple[Any, ...], retry: RetryPolicy, part: Part) -> None:
        """Drop everything and run the output of pg_restore in one transaction. Raise MigrationError.

        In a copy, which is empty, each statement commits, so that no transaction needs more locks than the server has.
        This user owns everything there, so that nothing has more privileges. ``server`` is the server's version.
        """
        begin, end, options = ["SET synchronous_commit = off;"], "", ["--no-owner", "--no-privileges"]
        if part is Part.ALL:
            statements = [f"{sql.read_text()}\\gexec" for sql in (DROP_ALL, AS_IN_A_NEW_DATABASE)]
            begin, end, options = ["BEGIN;", "CREATE SCHEMA IF NOT EXISTS public;", *statements], "COMMIT;\n", []
        settings = [f"SET lock_timeout = '{retry.milliseconds}ms';", "SET client_min_messages = warning;"]
        read = [program("pg_restore", package=PACKAGE), *options, "--file=-", str(file)]
        psql = ["psql", "-X", "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1"]
        try:
            with self._running(*psql, stdin=subprocess.PIPE) as target:
                assert target.stdin is not None
                target.stdin.write("\n".join([*settings, *begin, ""]).encode())
                with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
                    assert source.stdout is not None
                    for piece in _script(source.stdout, server):
                        target.stdin.write(piece)
                target.stdin.write(end.encode())  # only after a pg_restore that succeeded
        except ToolError as error:
            if "max_locks_per_transaction" not in error.what:
                raise
            raise ToolError(
                f"the server cannot lock all objects of the database in one transaction: {error.what}",
                "as an administrator, allow more locks, restart the server, and run it again:",
                "ALTER SYSTEM SET max_locks_per_transaction = 1024;",
            ) from error

    def extensions(self, file: Path) -> list[str]:
        """Return the extensions in the dump's table of contents: ``3; 3079 16385 EXTENSION - hstore``."""
        read = [program("pg_restore", package=PACKAGE), "--list", str(file)]
        with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            return re.findall(r" EXTENSION - (\S+)", source.stdout.read().decode(errors="replace"))

    @contextmanager
    def _running(self, name: str, *args: str, **pipes: int) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a program that uses libpq and logs in to the database.

        Options that are not SHOWN are in a service file, except for the password, which may end with a space.
        """
        path = program(name, package=PACKAGE)
        shown = make_conninfo("", **{part: self.parts[part] for part in SHOWN if part in self.parts})
        lines = [f"{part}={value}" for part, value in self.parts.items() if part not in SHOWN]
        with unnamed_file("\n".join(["[safe_migrations]", *lines, ""])) as (file, passed):
            environ = {"PGSERVICEFILE": file, "PGSERVICE": "safe_migrations", "PGPASSWORD": self.password}
            args = (path, *args, f"--dbname={shown}")
            with running([*args], PACKAGE, env=environ, pass_fds=passed, **pipes) as process:
                yield process


def _script(dump: IO[bytes], server: tuple[Any, ...]) -> Iterator[bytes]:
    """Yield the output of pg_restore as psql is to run it."""
    head = True
    while piece := dump.readline(PIECE) if head else dump.read(PIECE):
        if head:  # up to the first object that comes after all extensions
            head = not piece.startswith((b"CREATE ", b"ALTER ", b"COPY ")) or piece.startswith(BEFORE_THE_REST)
            if NO_PATH in piece or (server < (17,) and b"transaction_timeout" in piece):
                continue  # pg_dump 17 sets the latter, which an older server does not know
            piece = _if_allowed(piece) if OF_EXTENSIONS.fullmatch(piece) else piece
        yield piece


def _if_allowed(statement: bytes) -> bytes:
    """Ignore it if the user may not create an extension, or comment on it: it may exist already, or not be needed."""
    handled = b"EXCEPTION WHEN insufficient_privilege OR undefined_object THEN NULL"
    return b"DO $safe$ BEGIN %b %b; END $safe$;\n" % (statement.strip(), handled)
