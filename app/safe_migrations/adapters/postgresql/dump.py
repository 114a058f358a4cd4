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
from ..base import RESTORE, Part, double_quoted, not_whole
from ..client_programs import ToolError, program, running, unnamed_file

PACKAGE = "postgresql-client"
DROP_ALL, AS_IN_A_NEW_DATABASE, WITHOUT_CHECKS = (
    Path(__file__).with_name(f"{name}.sql") for name in ("drop_all", "as_in_a_new_database", "without_checks")
)
WITH_CHECKS = "DO $$ BEGIN EXECUTE current_setting('safe_migrations.checks'); END $$;"
# A dump empties the search path, on which functions in constraints, indexes and views may rely. Other names in a dump
# are qualified with their schema.
NO_PATH = b"set_config('search_path', '', false)"

# Lines of pg_restore --list for objects that need a lock. A table needs two more, for its TOAST table and its index.
LOCKED = re.compile(r"^\d+; \d+ \d+ (TABLE|INDEX|CONSTRAINT|SEQUENCE|BLOB)(?! DATA| METADATA| ATTACH)\b", re.MULTILINE)
LARGE_OBJECTS = re.compile(r" BLOB METADATA - (\d+)\.\.(\d+)")

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
# The lines that pg_restore prints before those of the archive.
PREAMBLE = (b"--\n", b"-- PostgreSQL database dump\n", b"\n")
ROWS = re.compile(rb"COPY [^\n]* FROM stdin;\n")


class Dump:
    """A dump of the database behind ``connection``, made by programs that log in as that session did."""

    def __init__(self, connection: Connection) -> None:
        info = connection.connection.driver_connection.info  # type: ignore[union-attr]  # psycopg's
        parts: dict[str, str] = info.get_parameters()
        self.parts = {part: value for part, value in parts.items() if LEFT_OUT.get(part, "") not in (None, value)}
        self.password: str = info.password

    def write(self, file: Path, part: Part) -> None:
        """Run ``pg_dump -Fc``. Raise MigrationError.

        A copy has no subscriptions: their workers would write to it, and it could not be dropped.
        """
        wanted = ["--schema-only"] if part is Part.SCHEMA else []
        wanted += [] if part is Part.ALL else ["--no-subscriptions"]
        args = ["--format=custom", *wanted, f"--file={file}"]
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
        """Raise MigrationError unless ``file`` begins like a dump, and pg_restore can read all of it."""
        with file.open("rb") as opened:
            if opened.read(5) != b"PGDMP":
                raise not_whole(file, "PostgreSQL", "it does not begin like a dump of pg_dump -Fc")
        try:
            read = [program("pg_restore", package=PACKAGE), f"--file={os.devnull}", str(file)]
            with running(read, PACKAGE, stdin=subprocess.DEVNULL):
                pass
        except MigrationError as error:
            raise not_whole(file, "PostgreSQL", str(error).partition("\n")[0].rstrip(".")) from error

    def run(self, file: Path, server: tuple[Any, ...], retry: RetryPolicy, extensions: list[str], steps: bool) -> None:
        """Drop everything and run the output of pg_restore: in one transaction, or in ``steps`` that commit.

        ``server`` is the server's version, and ``extensions`` what extensions() found in the contents of ``file``.
        """
        psql = ["psql", "-X", "-q", "-o", os.devnull, "-v", "ON_ERROR_STOP=1"]
        begin = "SET synchronous_commit = off;" if steps else "BEGIN;"
        end = f"SET synchronous_commit = on; DROP TABLE public.{RESTORE};" if steps else "COMMIT;"
        drop_all = DROP_ALL.read_text() if steps else DROP_ALL.read_text().replace("COMMIT;", "")
        with self._running(*psql, stdin=subprocess.PIPE) as target:
            assert target.stdin is not None
            settings = f"SET lock_timeout = '{retry.milliseconds}ms'; SET client_min_messages = warning;\n"
            settings += f"SET safe_migrations.kept = '{' '.join(extensions)}';\n"
            target.stdin.write(f"{settings}{begin}\n{drop_all}{AS_IN_A_NEW_DATABASE.read_text()}".encode())
            for section in ("pre-data", "data", "post-data"):
                if section == "data":
                    target.stdin.write(WITHOUT_CHECKS.read_bytes())
                read = [program("pg_restore", package=PACKAGE), f"--section={section}", "--file=-", str(file)]
                with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
                    assert source.stdout is not None
                    for piece in _script(source.stdout, server):
                        target.stdin.write(piece)
            target.stdin.write(f"{WITH_CHECKS}{end}\n".encode())  # only after a pg_restore that succeeded

    def contents(self, file: Path) -> str:
        """Return the dump's table of contents: ``3; 3079 16385 EXTENSION - hstore``."""
        read = [program("pg_restore", package=PACKAGE), "--list", str(file)]
        with running(read, PACKAGE, stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            return source.stdout.read().decode(errors="replace")

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


def extensions(contents: str) -> list[str]:
    """Return the extensions in the contents of a dump."""
    return re.findall(r" EXTENSION - (\S+)", contents)


def locks(contents: str) -> int:
    """Return how many locks a transaction takes that creates everything in a dump."""
    large = sum(int(last) - int(first) for first, last in LARGE_OBJECTS.findall(contents))
    return large + sum(3 if kind == "TABLE" else 1 for kind in LOCKED.findall(contents))


def _script(dump: IO[bytes], server: tuple[Any, ...]) -> Iterator[bytes]:
    """Yield the output of pg_restore as psql is to run it.

    Raise ToolError for a command to psql itself, such as one that runs a program: a crafted archive may contain it.
    Output that begins with ``restrict`` prevents that; in that of an older pg_restore only rows may have a backslash.
    """
    head = preamble = True
    restricted = rows = False
    while piece := dump.read(PIECE) if restricted and not head else dump.readline(PIECE):
        restricted = restricted or (preamble and piece.startswith(b"\\restrict "))
        preamble = preamble and piece in PREAMBLE
        if not restricted:
            if not rows and piece.lstrip().startswith(b"\\"):
                raise ToolError(
                    "a line of this file begins with a backslash, so it could make psql run any program.",
                    "restore it with a pg_restore of August 2025 or later, which prevents that:",
                    f"apt-get install {PACKAGE}",
                )
            rows = piece != b"\\.\n" if rows else bool(ROWS.fullmatch(piece))
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
