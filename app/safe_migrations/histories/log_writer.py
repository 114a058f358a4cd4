"""Writes the entries of the log, each in the transaction that changes alembic_version."""

import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime

from alembic.runtime.migration import MigrationContext, MigrationInfo, MigrationStep
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, func, select

from ..adapters.base import user_and_host, version_table
from .checksums import checksum, digest
from .heads import parents
from .log_table import DOWN, STAMP, UP, log_table, source_of


class LogWriter:
    """Writes an entry for each step of a run, on the connection of the run."""

    def __init__(self, connection: Connection, script: ScriptDirectory) -> None:
        self.connection = connection
        self.script = script
        self.log = log_table()
        self.insert = self.log.insert()
        self.last_id = 0
        self.begun = 0.0
        os_user, host = user_and_host()
        self.by = {"os_user": os_user, "host": host}

    def begin(self) -> None:
        """Create the table if it does not exist, in the open transaction or in one of its own; find the last number.

        Call this under the lock, before the first step: the script of that may change the schema in which tables are
        created, and on MySQL this commits.
        """
        with nullcontext() if self.connection.in_transaction() else self.connection.begin():
            self.log.create(self.connection, checkfirst=True)
            self.last_id = self.connection.scalar(select(func.max(self.log.c.id))) or 0

    def steps(self, steps: Iterable[MigrationStep], context: MigrationContext) -> Iterator[MigrationStep]:
        """Yield each of ``steps`` to Alembic, which runs it, and note when it begins.

        Write the entry of a `stamp --purge base` here, because it has no steps.
        """
        step = None
        for step in steps:
            self.begun = time.monotonic()
            yield step
        if context.purge and step is None:
            self.write(STAMP, "base", 0)

    def on_version_apply(self, step: MigrationInfo, **_others: object) -> None:
        """Write the entry of a step. Alembic calls this after it has changed alembic_version, and before it commits."""
        seconds = time.monotonic() - self.begun
        if step.is_stamp:
            for revision in step.destination_revision_ids or ("base",):
                self.write(STAMP, revision, seconds)
        else:
            self.write(UP if step.is_upgrade else DOWN, str(step.up_revision_id), seconds)

    def write(self, direction: str, revision: str, seconds: float) -> None:
        """Write an entry for the script of ``revision``, which is "base" if a stamp has left none."""
        script: Script | None = self.script.get_revision(revision)
        source = source_of(script) if script else None
        self.last_id += 1
        entry = {
            "id": self.last_id,
            "version_table": version_table()[1],
            "revision": revision,
            "direction": direction,
            "finished": datetime.now(UTC).replace(tzinfo=None, microsecond=0),
            "seconds": round(seconds, 3),
            **self.by,
            "checksum": checksum(source) if source else None,
            "file_digest": digest(source) if source else None,
            "parents": " ".join(parents(script)) if script else None,
        }
        self.connection.execute(self.insert, entry)
