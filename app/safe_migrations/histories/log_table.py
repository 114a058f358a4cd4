"""The log: a table in the app's database with an entry for each revision that was applied, reverted or stamped.

Entries are only added. An entry is written in the transaction that changes alembic_version (see log_writer.py).
"""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Double,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError

from ..adapters.base import LOG, version_table
from ..database import Database
from ..errors import MigrationError, first_few, relative
from .checksums import checksum, digest
from .heads import closure, needs, parents, replaces

UP, DOWN, STAMP, ACCEPT = "up", "down", "stamp", "accept"


def log_table() -> Table:
    """Return the table, which stands in the schema of alembic_version.

    ``id`` counts the entries. ``version_table`` is the name of alembic_version: two apps that share a database give it
    different names. ``finished`` is in UTC. ``checksum`` and ``file_digest`` are those of the script, or NULL if there
    is no source; a script with the same digest need not be parsed. ``parents`` are the revisions in its
    `down_revision` then, separated by spaces, or NULL if there is no script.
    """
    return Table(
        LOG,
        MetaData(),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("version_table", String(255), nullable=False),
        Column("revision", String(255), nullable=False),
        Column("direction", String(6), nullable=False),
        Column("finished", DateTime, nullable=False),
        Column("seconds", Double, nullable=False),
        Column("os_user", String(255), nullable=False),
        Column("host", String(255), nullable=False),
        Column("checksum", String(32)),
        Column("file_digest", String(32)),
        Column("parents", Text),
        schema=version_table()[0],
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
    )


def entries(connection: Connection) -> list[Row[Any]]:
    """Return the entries, the oldest first, with the columns as attributes; an empty list if there is no table."""
    log = log_table()
    if not inspect(connection).has_table(log.name, log.schema):
        return []
    own = select(log).where(log.c.version_table == version_table()[1])
    return list(connection.execute(own.order_by(log.c.id)))


def newest(found: list[Row[Any]]) -> dict[str, Row[Any]]:
    """Return the newest of the entries ``found`` for each revision."""
    return {entry.revision: entry for entry in found}


def readable_entries(database: Database, heads: tuple[str, ...]) -> list[Row[Any]]:
    """Return the entries of a database at ``heads``; an empty list if it has no revision, or the log cannot be read.

    A user who may not read the log may run a command that has nothing to do. Raise DBAPIError if the connection is
    lost, or the file of the database is damaged.
    """
    try:
        with database.read() as connection:
            return entries(connection) if heads else []
    except DBAPIError as error:
        if error.connection_invalidated or database.adapter.is_damage(error):
            raise
        return []


def edited(found: list[Row[Any]], script: ScriptDirectory, heads: tuple[str, ...]) -> list[Script]:
    """Return the scripts that were edited since they were applied to a database, which is at ``heads``.

    ``found`` are the entries of its log. The oldest comes first. A revision without an entry is not compared, nor is a
    script that replaces others, because a database may have run those. Return none if a head has no script, because
    then it is not known which revisions are applied.
    """
    known = newest(found)
    scripts: list[Script] = []
    with suppress(CommandError, RevisionError):
        scripts = applied(script, heads) if known else []
    return [each for each in scripts if each.revision in known and is_edited(each, known[each.revision])]


def applied(script: ScriptDirectory, heads: tuple[str, ...]) -> list[Script]:
    """Return the scripts that are applied to a database at ``heads``: all but those that an upgrade would run.

    The oldest comes first. After a rebase, one of ``heads`` may come before another, which Alembic's own functions
    refuse. Raise Alembic's CommandError if a head has no script.
    """

    def before(name: str) -> list[str]:
        return [script.get_revision(each).revision for each in needs(script.get_revision(name))]

    found = closure(heads, before)
    return [each for each in script.walk_revisions() if each.revision in found][::-1]


def edits_in_words(scripts: list[Script]) -> str:
    """Return a clause about ``scripts``, which were edited: ``the script of a1 was edited after it was applied``."""
    names = first_few([each.revision for each in scripts])
    if len(scripts) == 1:
        return f"the script of {names} was edited after it was applied"
    return f"the scripts of {len(scripts)} revisions were edited after they were applied: {names}"


def edit_error(scripts: list[Script]) -> MigrationError | None:
    """Return the error about ``scripts``, which were edited, the oldest first, with the ways out; None for none."""
    if not scripts:
        return None
    files = " ".join(shlex.quote(relative(Path(each.path))) for each in scripts)
    them, says = ("it", "script now says") if len(scripts) == 1 else ("them", "scripts now say")
    before, *_ = parents(scripts[0]) or ("base",)
    return MigrationError(
        f"{edits_in_words(scripts)}: a database that runs {them} now may get another schema than this one.",
        f"find the edit with git and undo it; or accept it, if this database is as the {says}; or, in development, run"
        f" {them} again (last two lines), which deletes what their tables and columns hold:",
        f"git diff HEAD -- {files}",
        f"git log -p -- {files}",
        " ".join(["flask db log", *(f"--accept {each.revision}" for each in scripts)]),
        f"flask db downgrade {before}",
        "flask db upgrade",
    )


def is_edited(script: Script, entry: Row[Any]) -> bool:
    """Return True if ``entry`` says that the script was applied, and what it runs was edited since."""
    if entry.direction == DOWN or entry.checksum is None or replaces(script):
        return False
    source = source_of(script)
    return source is not None and digest(source) != entry.file_digest and checksum(source) != entry.checksum


def source_of(script: Script) -> bytes | None:
    """Return the text of the script; None if only its bytecode is there (Alembic's option ``sourceless``)."""
    file = Path(script.path)
    return file.read_bytes() if file.suffix == ".py" else None
