"""What helps against an error, found by its words: the tables that errors.py looks things up in."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL


@dataclass(frozen=True)
class Situation:
    """What an error alone does not tell: the database, the migrations folder, the values that were typed, --sql."""

    url: URL
    directory: Path
    typed: frozenset[str]
    sql: bool = False

    @property
    def database(self) -> str:
        """The database, without its password."""
        return masked(self.url)


def masked(url: URL) -> str:
    """``url`` without password and without the options behind the ``?``, which may hold another."""
    return repr(url.set(query={}))


@dataclass(frozen=True)
class Remedy:
    """What helps where ``pattern`` is found; in ``lines``, {name} is a part of the situation or a group of it."""

    pattern: str
    fix: str
    lines: tuple[str, ...] = ()


def find(words: str, remedies: tuple[Remedy, ...], situation: Situation) -> tuple[str, ...]:
    """Return the fix and the lines to paste of the first of ``remedies`` that fits; the last one fits all."""
    remedy, found = next((remedy, found) for remedy in remedies if (found := re.search(remedy.pattern, words)))
    url = situation.url
    file = (url.database or "").removeprefix("file:")  # of SQLite
    names = {
        "directory": shlex.quote(relative(situation.directory)),
        "server": "".join(
            f" --{name}={shlex.quote(str(value))}" for name, value in (("host", url.host), ("port", url.port)) if value
        ),
        "user": shlex.quote(url.username or "USER"),
        "name": shlex.quote(file),
        "create": shlex.quote(f"CREATE DATABASE `{url.database}` CHARACTER SET utf8mb4"),
        "database": f"`{url.database}`",
        "folder": shlex.quote(str(Path(file).parent)),
        **found.groupdict(),
    }
    return (remedy.fix, *(line.format(**names) for line in remedy.lines))


def relative(path: Path) -> str:
    """``path`` as someone in this folder would type it."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


# The database's words when it refuses a login, and what its drivers say when they did not get that far.
LOGIN = (
    Remedy(
        r"Access denied for user (?P<account>'.*'@'.*') to database",
        "give the user its rights, as the server's administrator:",
        ("GRANT ALL ON {database}.* TO {account};",),
    ),
    Remedy(
        r"Access denied|authentication failed|role .* does not exist|no password supplied",
        "check user and password in DATABASE_URL (or DB_USER and DB_PASSWORD).",
    ),
    Remedy(
        r"Unknown database",
        "check the name in DATABASE_URL (or DB_NAME), or create the database:",
        ("mysql{server} --user={user} -p -e {create}",),
    ),
    Remedy(
        r"database .* does not exist",
        "check the name in DATABASE_URL (or DB_NAME), or create the database:",
        ("createdb{server} --username={user} {name}",),
    ),
    Remedy(
        r"not known|failed to resolve|getaddrinfo|nodename nor servname|name resolution",
        "check the host in DATABASE_URL (or DB_HOST).",
    ),
    Remedy(
        r"unable to open database file",
        "check the path in DATABASE_URL; it names a file, whose folder has to be there:",
        ("mkdir -p {folder}",),
    ),
    Remedy(r"is not a MariaDB variant", "write mysql:// in DATABASE_URL (or DB_DIALECT=mysql)."),
    Remedy(
        r"option|keyword argument|ssl|SSL|encoding|certificate|connect_timeout|No such file",
        "correct the options behind the ? in DATABASE_URL.",
    ),
    Remedy(r"", "start the server, or check host and port in DATABASE_URL (or DB_HOST and DB_PORT)."),
)

# Errors of a disk, not of a script, in the words of SQLite, PostgreSQL and MySQL.
DISK = re.compile(
    r"disk is full|disk I/O error|readonly database|No space left|read-only (transaction|mode|option)|^Disk full"
    r"|^The table '.*' is full|error 28\b|errno: 28\b"
)

# The database's words about a statement of Alembic's own: it reads and writes the table alembic_version.
STATEMENT = (
    Remedy(
        r"not a database|malformed",
        "check the path in DATABASE_URL: the file is no SQLite database, or it is damaged.",
    ),
    Remedy(
        r"readonly",
        "make the file and its folder writable for this user. See their modes:",
        ("ls -ld {folder} {name}",),
    ),
    Remedy(r"read-only", "name the primary server in DATABASE_URL: this one takes no writes, as a replica does."),
    Remedy(
        r"denied to user (?P<account>'.*?'@'.*?')",
        "give the user that right, as the server's administrator:",
        ("GRANT ALL ON {database}.* TO {account};",),
    ),
    Remedy(
        r"permission denied for (?:table|view|relation) (?P<what>.+)",
        "give the user that right, as the owner:",
        ('GRANT ALL ON TABLE "{what}" TO {user};',),
    ),
    Remedy(
        r"permission denied for (?P<kind>schema|sequence) (?P<what>.+)",
        "give the user that right, as the owner:",
        ('GRANT ALL ON {kind} "{what}" TO {user};',),
    ),
    Remedy(
        r"permission denied|must be (?:owner|superuser|member)",
        "give the user that right, or run it as the owner, named in DATABASE_URL.",
    ),
    Remedy(r"is locked", "wait for the other process that writes to the database, then run the command again."),
    Remedy(
        r"database or disk is full|disk I/O error",
        "make room on the disk that has the database, or repair it, then run the command again. See the free space:",
        ("df -h {folder}",),
    ),
    Remedy(DISK.pattern, "make room on the server's disk, as its administrator, then run the command again."),
    Remedy(r"", "see which revision the database is at:", ("flask db current",)),
)

COMMAND = (
    Remedy(r"not up to date|not on all head revisions", "bring the database to head first:", ("flask db upgrade",)),
    Remedy(
        r"Path doesn't exist",
        "bring the folder back, or begin a history of your own:",
        ("git checkout -- {directory}", "flask db init"),
    ),
    Remedy(
        r"already exists and is not empty",
        "use the history that is there (`flask db migrate`), or begin one of your own:",
        ("rm -r {directory} && flask db init",),
    ),
    Remedy(r"Could not determine revision id", "bring the script back:", ("git checkout -- {directory}/versions",)),
    Remedy(
        r"Range revision",
        "name one revision, or print the SQL of the range, here for an upgrade:",
        ("flask db upgrade FROM:TO --sql",),
    ),
    Remedy(r"present more than once", "give one of them another `revision`:", ("grep -rn ^revision {directory}",)),
    Remedy(
        r"is not present|[Ll]oop is detected|[Cc]ycle is detected",
        "correct `down_revision`, or bring back the script that is missing:",
        ("grep -rn ^down_revision {directory}",),
    ),
    Remedy(r"Relative revision|ancestor|[Aa]mbiguous|start with", "choose one of:", ("flask db history -i",)),
    Remedy(
        r"explicitly named",
        "name it in the model:",
        ('CheckConstraint("age >= 0", name="age_not_negative")',),
    ),
    Remedy(r"editor", "name your editor:", ("export EDITOR=vi",)),
    Remedy(r"", "see how the command is used:", ("flask db --help",)),
)
