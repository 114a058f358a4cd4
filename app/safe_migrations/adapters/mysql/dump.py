"""Backups of MySQL and MariaDB: SQL dumps, written by mysqldump or mariadb-dump, and run by mysql or mariadb."""

import gzip
import re
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from ...console import log
from ...errors import MigrationError, summary
from ..base import Ask, Part, not_whole, version_table
from ..client_programs import ToolError, program, running, unnamed_file
from .catalog import LOCK, existing_tables, list_objects, quoted
from .definers import Definer, privilege_error
from .session import MAKES_KEYS, Execute, can_turn_off_generated_keys

PACKAGES = {"mariadb": "mariadb-client", "mysql": "mysql-client (or mariadb-client)"}
# Names of PyMySQL's options, and those of the programs.
OPTIONS = {"unix_socket": "socket", "ssl_ca": "ssl-ca", "ssl_cert": "ssl-cert", "ssl_key": "ssl-key"}
WRITE = [
    *("--single-transaction", "--quick", "--triggers", "--hex-blob", "--no-tablespaces", "--skip-add-locks"),
    *("--default-character-set=utf8mb4", "--max-allowed-packet=1G"),
    # "loose": only the programs of one product have these, of some versions.
    *("--loose-set-gtid-purged=OFF", "--loose-column-statistics=0"),
]
RUN = ["--binary-mode", "--default-character-set=utf8mb4", "--max-allowed-packet=1G"]
# MariaDB's programs begin a dump with this, and other clients take it for an error.
SANDBOX = b"/*M!999999"
HEAD = re.compile(rb"-- (?:MySQL|MariaDB) dump (?:[^\n]*\n){1,9}?-- Server version\t([^\n]*)")
DEFINER = re.compile(
    rb"^(?:/\*!5|CREATE )[^\n]{0,60}?DEFINER=(`(?:[^`]|``)*`@`[^`]*`)(?:\*/ /\*!\d+)?"
    rb"(\s+(?:TRIGGER|(?:AGGREGATE )?FUNCTION)\b)?",
    re.MULTILINE | re.IGNORECASE,
)
# Without more, the server makes 0000-00-00 of a date such as 2021-02-31, which a table may have.
MODE = re.compile(rb"^(/\*!40101 SET @OLD_SQL_MODE=[^\n]*NO_AUTO_VALUE_ON_ZERO)'", re.MULTILINE)
# Storage engines whose rows are in other tables, on other servers, or in files.
ELSEWHERE = {"FEDERATED", "CONNECT", "SPIDER", "MRG_MYISAM", "S3", "OQGRAPH"}
CREATE_TABLE = re.compile(rb"^CREATE TABLE `.*?^\)", re.MULTILINE | re.DOTALL)
KEY = re.compile(rb"^  (?:UNIQUE |PRIMARY )?KEY (`(?:[^`]|``)+` )?\(([^)]*)\)", re.MULTILINE)
FOREIGN_KEY = re.compile(rb"^  CONSTRAINT (`(?:[^`]|``)+`) FOREIGN KEY \(([^)]*)\)", re.MULTILINE)
NEXT_VALUE = re.compile(rb"(?<=nextval\()`(?:[^`]|``)+`\.(?=`)")
TABLES = "tables WHERE table_schema = DATABASE()"
PIECE = 1 << 17
ASKED = 1.0
"""Seconds between two statements that run() sends on the session of the run, to find out whether a lease was lost."""


class Dump:
    """Writes, verifies and runs dumps of the database at ``url``.

    ``product`` is "mysql" or "mariadb"; ``execute`` runs SQL in that database. ``kept_alive`` keeps the session of
    ``execute`` in use while a program runs; ``execute`` must not be called inside its block.
    """

    def __init__(
        self, url: URL, product: str, execute: Execute, kept_alive: Callable[[], AbstractContextManager[Ask]]
    ) -> None:
        self.url = url
        self.product = product
        self.execute = execute
        self.kept_alive = kept_alive
        self.package = PACKAGES[product]

    def write(self, file: Path, part: Part) -> None:
        """Write a compressed dump of ``part`` of the database to ``file``, with mysqldump or mariadb-dump.

        Raise MigrationError if the program is missing or fails, and OSError if the disk is full. Views that cannot be
        read are left out; so are tables that store their rows elsewhere, unless ``part`` is ALL. Alembic's table of the
        current revisions comes last, so a database that was restored only in part has no revision.
        """
        path = self._program("mariadb-dump", "mysqldump")
        self._require_native(path)
        wanted = [*WRITE, "--routines"]
        wanted += ["--events"] if part is Part.ALL else []
        wanted += ["--no-data"] if part is Part.SCHEMA else []
        wanted += ["--dump-history"] if self._has_history() and part is not Part.SCHEMA else []
        _, revisions = version_table()
        left_out = [revisions, LOCK, *self._broken_views()]
        left_out += self._tables_elsewhere() if part is not Part.ALL else []
        wanted += [f"--ignore-table={self.url.database}.{name}" for name in left_out]
        with file.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1) as target:
            self._write([path, *wanted, *self._database()], target)
            if existing_tables(self.execute, revisions):
                self._write([path, *WRITE, *self._database(), revisions], target)

    def verify(self, file: Path) -> set[Definer]:
        """Return the definers of the views, triggers, routines and events in the dump ``file``.

        Raise MigrationError if the dump is incomplete, if it is from the other product (MySQL or MariaDB), or if a row
        is too large for the server.
        """
        product = {"mariadb": "MariaDB", "mysql": "MySQL"}[self.product]
        head, last = b"", b""
        definers: set[Definer] = set()
        pieces = self._pieces(file)
        try:
            with self.kept_alive():
                for piece in pieces:
                    head = head or piece
                    last = piece.rstrip().rpartition(b"\n")[2]
                    if b"DEFINER=" in piece:  # the pattern looks at every character, and takes longer than unpacking
                        found = DEFINER.findall(piece)
                        definers |= {(name.decode(errors="replace"), bool(kind)) for name, kind in found}
        except (OSError, EOFError, zlib.error) as error:
            raise not_whole(file, product, str(error)) from error
        server = HEAD.match(head)
        if server is None:
            raise not_whole(file, product, "it does not begin with the lines that mysqldump writes")
        if (b"MariaDB" in server[1]) != (self.product == "mariadb"):
            other = {"mariadb": "MySQL", "mysql": "MariaDB"}[self.product]
            raise not_whole(file, product, f"it was made on {other}, version {server[1].decode(errors='replace')}")
        if not last.startswith(b"-- Dump completed"):
            raise not_whole(file, product, "its last line, '-- Dump completed', is missing")
        return definers

    def require_rights(self, definers: set[Definer]) -> None:
        """Raise MigrationError if the current user may not create views, triggers or the like with these definers."""
        refused = {
            name: why
            for name, is_logged in sorted(definers)
            if (why := privilege_error(self.execute, (name, is_logged)))
        }
        if refused:
            ((user,),) = self.execute("SELECT CURRENT_USER()")
            raise MigrationError(
                f"{user} may not create the backup's views, triggers, routines or events whose definer is"
                f" {', '.join(name or user for name in refused)}: {'; '.join(dict.fromkeys(refused.values()))}.",
                "restore the backup as an administrator; the database was not changed:",
                "DATABASE_URL=mysql://root:PASSWORD@SERVER/DATABASE flask db restore FILE",
            )

    def run(self, file: Path, part: Part) -> None:
        """Run the dump ``file`` with the program mysql or mariadb.

        If ``part`` is not ALL (a copy for a rehearsal), leave out the definers: then the current user is the definer of
        all objects, and no object has more rights than this user. Every second a statement runs on the session of the
        run, which raises LostLockError if a lease was lost (leased_lock.py).
        """
        path, pieces = self._program("mariadb", "mysql"), self._pieces(file)
        makes_keys = can_turn_off_generated_keys(self.execute)
        # Not as an argument: it may begin with a dash, and MySQL's mysql reads options even after `--`.
        args = [path, *RUN, f"--database={self.url.database}"]
        with self.kept_alive() as ask, self._running(args, stdin=subprocess.PIPE) as target:
            assert target.stdin is not None
            if makes_keys:
                target.stdin.write(f"SET SESSION {MAKES_KEYS} = 0;\n".encode())
            asked = time.monotonic()
            for piece in _whole_tables(pieces, part is not Part.ALL):
                if time.monotonic() - asked > ASKED:
                    ask()
                    asked = time.monotonic()
                if part is not Part.ALL and b"DEFINER=" in piece:
                    piece = DEFINER.sub(_without_definer, piece)
                target.stdin.write(MODE.sub(rb"\1,ALLOW_INVALID_DATES'", piece))

    def _pieces(self, file: Path) -> Iterator[bytes]:
        ((most,),) = self.execute("SELECT @@GLOBAL.max_allowed_packet")
        return _pieces(file, most)

    def _write(self, args: list[str], target: gzip.GzipFile) -> None:
        with self.kept_alive(), self._running(args, stdout=subprocess.PIPE) as source:
            assert source.stdout is not None
            first = source.stdout.readline()
            target.write(b"" if first.startswith(SANDBOX) else first)
            shutil.copyfileobj(source.stdout, target, PIECE)

    def _require_native(self, path: str) -> None:
        """Raise ToolError if the program at ``path`` is the other product's and cannot dump this database.

        MariaDB's program dumps values of generated columns, which MySQL rejects. MySQL's program dumps sequences after
        the tables that use them, and leaves out the history of system-versioned tables.
        """
        if self.product == "mysql":
            own, other, what = "MySQL", "MariaDB", "generated columns"
            found = self._has_any("columns WHERE table_schema = DATABASE() AND extra LIKE %s", "% GENERATED")
        else:
            own, other, what = "MariaDB", "MySQL", "sequences and system-versioned tables"
            found = self._has_history() or self._has_any(f"{TABLES} AND table_type = %s", "SEQUENCE")
        if found:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            if ("MariaDB" in said) != (self.product == "mariadb"):
                raise ToolError(
                    f"this {Path(path).name} is {other}'s program, which cannot dump the {what} of {own}.",
                    f"install {own}'s own program:",
                    f"apt-get install {self.product}-client",
                )

    def _has_history(self) -> bool:
        return self._has_any(f"{TABLES} AND table_type = %s", "SYSTEM VERSIONED")

    def _broken_views(self) -> list[str]:
        """Return the views that cannot be read, e.g. because a table is missing: a dump program would stop at them."""
        found = []
        for kind, name in list_objects(self.execute):
            try:
                if kind == "VIEW":
                    self.execute(f"SELECT 1 FROM {quoted(name)} LIMIT 0")
            except DBAPIError as error:
                log.info("View %s is left out of the dump, because reading it fails: %s", name, summary(error))
                found.append(name)
        return found

    def _tables_elsewhere(self) -> list[str]:
        """Return the tables whose storage engine keeps the rows in other tables, on other servers or in files."""
        found = self.execute(f"SELECT table_name, engine FROM information_schema.{TABLES} AND engine IS NOT NULL")
        elsewhere = [(name, engine) for name, engine in found if engine.upper() in ELSEWHERE]
        for name, engine in elsewhere:
            said = "Table %s is not copied for the rehearsal, because its engine %s stores the rows elsewhere"
            log.info(said, name, engine)
        return [name for name, _ in elsewhere]

    def _has_any(self, where: str, value: str) -> bool:
        ((count,),) = self.execute(f"SELECT COUNT(*) FROM information_schema.{where}", (value,))
        return bool(count)

    def _program(self, of_mariadb: str, of_mysql: str) -> str:
        names = (of_mariadb, of_mysql) if self.product == "mariadb" else (of_mysql, of_mariadb)
        return program(*names, package=self.package)

    def _database(self) -> tuple[str, str]:
        return "--", str(self.url.database)  # which may begin with a dash

    @contextmanager
    def _running(self, args: list[str], **pipes: int) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the program and arguments ``args``, and yield the process. ``pipes`` are its pipes, e.g. ``stdin``.

        The program reads the login from a private options file, and ignores the user's own options files.
        """
        with unnamed_file(self._login()) as (path, passed):
            login = f"--defaults-file={path}"
            with running([args[0], login, *args[1:]], self.package, pass_fds=passed, **pipes) as process:
                yield process

    def _login(self) -> str:
        """Return the text of an options file with host, port, user and password.

        The protocol is given too: for the host localhost the programs would use a socket, where PyMySQL uses TCP.
        """
        given = {
            "protocol": "socket" if "unix_socket" in self.url.query else "tcp",
            "host": self.url.host or "localhost",
            "port": self.url.port or 3306,
            "user": self.url.username,
            "password": self.url.password or self.url.query.get("password"),
            **{option: self.url.query.get(name) for name, option in OPTIONS.items()},
        }
        escaped = str.maketrans({"\\": "\\\\", '"': '\\"'})
        lines = [f'{name}="{str(value).translate(escaped)}"' for name, value in given.items() if value]
        return "\n".join(["[client]", *lines, ""])


def _without_definer(match: re.Match[bytes]) -> bytes:
    return match[0].replace(b"DEFINER=" + match[1], b"", 1)


def _whole_tables(pieces: Iterator[bytes], is_copy: bool) -> Iterator[bytes]:
    """Yield the text of ``pieces``, split so that each CREATE TABLE is whole, and rewritten by cleaned_table().

    ``is_copy`` is True if the dump makes a copy for a rehearsal.
    """
    held = b""
    for piece in pieces:
        piece, held = held + piece, b""
        if b"CREATE TABLE `" in piece:
            begin = piece.rfind(b"\nCREATE TABLE `")
            if begin >= 0 and b"\n)" not in piece[begin:]:
                piece, held = piece[: begin + 1], piece[begin + 1 :]
            piece = CREATE_TABLE.sub(lambda match: cleaned_table(match[0], is_copy), piece)
        yield piece
    yield held


def cleaned_table(table: bytes, is_copy: bool) -> bytes:
    """Return a CREATE TABLE without the indexes that InnoDB itself created for foreign keys.

    InnoDB creates them again, and later drops them when another index replaces them; it never drops an index that the
    dump creates. An index named after its column may be InnoDB's or the user's: remove it only if ``is_copy``, i.e. for
    a rehearsal. Also remove the database's name before a sequence, e.g. in ``nextval(`app`.`numbers`)``.
    """
    table = NEXT_VALUE.sub(b"", table)
    listed = [columns for _, columns in KEY.findall(table)]
    for name, columns in FOREIGN_KEY.findall(table):
        names = [name, *([columns.split(b",")[0]] if is_copy and re.search(rb"_ibfk_\d+`$", name) else [])]
        if sum(other == columns or other.startswith(columns + b",") for other in listed) == 1:
            for key in names:
                table = table.replace(b"\n  KEY %b (%b),\n" % (key, columns), b"\n")
    return table


def _pieces(file: Path, most: int) -> Iterator[bytes]:
    """Yield the text of a compressed file in pieces of whole lines.

    Raise EOFError, OSError or zlib.error if the file is cut off or damaged. Raise ToolError for a line longer than the
    ``most`` bytes that the server accepts, because a small file may unpack to any size.
    """
    parts: list[bytes] = []
    size = 0
    with gzip.open(file) as packed:
        while piece := packed.read(PIECE):
            lines, end, rest = piece.rpartition(b"\n")
            parts += [lines, end]
            size += len(lines)
            if size >= most and (not end or max(map(len, b"".join(parts).split(b"\n"))) >= most):
                raise ToolError(
                    "the backup cannot be restored, because the INSERT for one of its rows is larger than the server's"
                    f" max_allowed_packet ({most / 1e6:.1f} MB).",
                    "set this limit to 1G, in the server's configuration file and, as an administrator, on the running"
                    " server:",
                    "SET GLOBAL max_allowed_packet = 1073741824;",
                )
            if end:
                yield b"".join(parts)
                parts, size = [], 0
            parts.append(rest)
            size += len(rest)
    if any(parts):
        raise EOFError("it is cut off")
