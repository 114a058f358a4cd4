"""Dumps of a PostgreSQL database, written by pg_dump and restored by pg_restore and psql."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection

from ...errors import MigrationError
from ...retry import RetryPolicy
from ..base import Part, double_quoted, kept_alive, not_whole
from ..client_programs import ToolError, program, running, unnamed_file
from ..creation import ROWS

PACKAGE = "postgresql-client"
DROP_ALL, AS_IN_A_NEW_DATABASE = (
    Path(__file__).with_name(f"{name}.sql") for name in ("drop_all", "as_in_a_new_database")
)
# This statement of a dump empties the search path. It is removed, because functions in constraints, indexes and views
# may rely on the search path. All other names in a dump are qualified with their schema.
NO_PATH = b"set_config('search_path', '', false)"

# In a dump each of these statements is one line. pg_dump sorts by kind: schemas, collations, extensions, then types and
# functions, whose text is not changed here (pg_dump_sort.c).
OF_EXTENSIONS = re.compile(rb"(?:CREATE EXTENSION IF NOT EXISTS|COMMENT ON EXTENSION) [^\n]*;\n")
BEFORE_THE_REST = tuple(
    b"%b %b" % (verb, kind)
    for verb in (b"CREATE", b"ALTER")
    for kind in (b"SCHEMA", b"COLLATION", b"EXTENSION", b"DATABASE", b"PROCEDURAL", b"LANGUAGE")
)

# Options that may be on a command line, which all users of the machine can read. The others go into a file.
SHOWN = ("dbname", "user", "host", "hostaddr", "port")
# Options that are omitted: ``service``, which a service file cannot contain; the encoding, because a dump has that of
# its database; and ``sslcertmode=allow``, which libpq adds from version 16 on and older programs do not know.
LEFT_OUT = {"service": None, "client_encoding": None, "sslcertmode": "allow"}

PIECE = 1 << 17


class Dump:
    """The client programs that dump and restore the database of ``connection``; they log in with the same options."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        info = connection.connection.driver_connection.info  # type: ignore[union-attr]  # psycopg's
        parts: dict[str, str] = info.get_parameters()
        self.parts = {part: value for part, value in parts.items() if LEFT_OUT.get(part, "") not in (None, value)}
        self.password: str = info.password

    def write(self, file: Path, part: Part) -> None:
        """Write ``part`` of the database to ``file`` with ``pg_dump -Fc``.

        Raise MigrationError if that fails, OSError if the disk of ``file`` is full. Subscriptions are omitted: in a
        copy they would receive the rows of the publisher, and their replication slots are at the publisher, not in the
        dump.
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

    def script(self, left_out: Iterable[str]) -> str:
        """Return the SQL that creates the database again, rows included, without the tables ``left_out`` (patterns).

        Raise MigrationError if pg_dump fails.
        """
        args = ["--no-owner", "--no-subscriptions", "--column-inserts", f"--rows-per-insert={ROWS}"]
        args += [f"--exclude-table={each}" for each in left_out]
        with self._running("pg_dump", *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            return source.stdout.read().decode()

    def verify(self, file: Path) -> None:
        """Raise MigrationError if pg_restore cannot read all of ``file``."""
        read = [program("pg_restore", package=PACKAGE), f"--file={os.devnull}", str(file)]
        try:
            with kept_alive(self.connection), running(read, PACKAGE, stdin=subprocess.DEVNULL):
                pass
        except MigrationError as error:
            raise not_whole(file, "PostgreSQL", str(error).partition("\n")[0].rstrip(".")) from error

    def load(self, file: Path, server: tuple[Any, ...], retry: RetryPolicy, part: Part) -> None:
        """Restore ``file``: run the output of pg_restore in psql. Raise MigrationError if that fails.

        A backup (Part.ALL) is restored in one transaction, which first drops everything in the database. For a
        rehearsal (any other ``part``) the database must be empty. Then each statement commits, so that no transaction
        needs more locks than the server allows; and the owners and privileges in the dump are left out, so that the
        user of the rehearsal owns all objects. ``server`` is the server's version.
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
                "as an administrator, allow more locks with this statement, then restart the server and run the command"
                " again:",
                "ALTER SYSTEM SET max_locks_per_transaction = 1024;",
            ) from error

    def extensions(self, file: Path) -> list[str]:
        """Return the names of the extensions in the dump ``file``.

        Its table of contents has lines such as ``3; 3079 16385 EXTENSION - hstore``.
        """
        read = [program("pg_restore", package=PACKAGE), "--list", str(file)]
        with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            return re.findall(r" EXTENSION - (\S+)", source.stdout.read().decode(errors="replace"))

    @contextmanager
    def _running(self, name: str, *args: str, **pipes: int) -> Iterator["subprocess.Popen[bytes]"]:
        """Start the client program ``name``, logged in to the database, and yield its process.

        The block must not use the connection, which is kept alive.

        Only the options in SHOWN are on its command line; the others are in a service file. The password is in the
        environment, because a service file cannot contain one that ends with a space.
        """
        path = program(name, package=PACKAGE)
        shown = make_conninfo("", **{part: self.parts[part] for part in SHOWN if part in self.parts})
        lines = [f"{part}={value}" for part, value in self.parts.items() if part not in SHOWN]
        with unnamed_file("\n".join(["[safe_migrations]", *lines, ""])) as (file, passed):
            environ = {"PGSERVICEFILE": file, "PGSERVICE": "safe_migrations", "PGPASSWORD": self.password}
            args = (path, *args, f"--dbname={shown}")
            with (
                kept_alive(self.connection),
                running([*args], PACKAGE, env=environ, pass_fds=passed, **pipes) as process,
            ):
                yield process


def _script(dump: IO[bytes], server: tuple[Any, ...]) -> Iterator[bytes]:
    """Yield the output of pg_restore in pieces, changed so that psql can run it on a server of version ``server``.

    The statement that empties the search path is left out, and so is a setting that the server does not have. An
    extension that this user may not create raises no error.
    """
    head = True
    while piece := dump.readline(PIECE) if head else dump.read(PIECE):
        if head:  # up to the first object that comes after all extensions
            head = not piece.startswith((b"CREATE ", b"ALTER ", b"COPY ")) or piece.startswith(BEFORE_THE_REST)
            if NO_PATH in piece or (server < (17,) and b"transaction_timeout" in piece):
                continue  # pg_dump 17 sets the latter, which an older server does not know
            piece = _if_allowed(piece) if OF_EXTENSIONS.fullmatch(piece) else piece
        yield piece


def _if_allowed(statement: bytes) -> bytes:
    """Return SQL that runs ``statement``, which creates an extension or comments on one.

    It ignores the error if the user lacks the right, or the extension does not exist: it may not be needed.
    """
    handled = b"EXCEPTION WHEN insufficient_privilege OR undefined_object THEN NULL"
    return b"DO $safe$ BEGIN %b %b; END $safe$;\n" % (statement.strip(), handled)
