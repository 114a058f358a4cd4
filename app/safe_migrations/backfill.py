"""Runs op.backfill(): in batches on a server, else as one UPDATE in the run's transaction.

A batch is committed together with its position, the key of its last row, from which a later run continues.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from alembic import context
from alembic.operations import Operations
from alembic.runtime.migration import MigrationInfo
from alembic.script import Script
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Row,
    Select,
    String,
    Table,
    Text,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from .adapters.base import IN_BATCHES, OWN_TABLES, POSITIONS, in_autocommit_block, version_table
from .adapters.exact_sql import escaped
from .console import RowProgress, log
from .database import Database
from .errors import LostLockError, MigrationError, UnsafeError, counted, summary
from .histories.heads import parents
from .lock_waits import is_lock_timeout
from .plan import again, is_known, rehearses
from .retry import RetryPolicy
from .review.sql.ops import BackfillOp
from .settings import settings
from .transaction import StepConnection, StepTransaction

# The pause after each batch, in which other sessions get the disk and the locks: this share of the batch's time, but at
# most LONGEST_PAUSE seconds.
PAUSE, LONGEST_PAUSE = 0.05, 0.5
# Without a batch_size, the first batch has FIRST rows. Each later one has as many as the UPDATE changes in LOCKED
# seconds, but at least half and at most four times as many as the one before. LOCKED is a choice: other sessions hardly
# notice that wait, and the fixed costs of a batch hardly count.
LOCKED, FIRST, SMALLEST, LARGEST = 0.15, 1000, 100, 50_000


@Operations.implementation_for(BackfillOp)
def backfill(operations: Operations, op: BackfillOp) -> None:
    """Run the backfill on the connection of ``operations``: in batches, if that may commit; with --sql print it."""
    connection = operations.migration_context.connection
    watch = connection.watch if isinstance(connection, StepConnection) else None
    if watch is None or watch.step is None or not watch.commits_each:
        operations.execute(op.statement)
        return
    block = operations.migration_context.autocommit_block
    with _batches(watch.connection), nullcontext() if in_autocommit_block(watch.connection) else block():
        Walk(op, watch).run()


@contextmanager
def _batches(connection: StepConnection) -> Iterator[None]:
    connection.execution_options(**{IN_BATCHES: True})
    try:
        yield
    finally:
        connection.execution_options(**{IN_BATCHES: False})


def positions() -> Table:
    """Return the table of the positions, which is in the schema of alembic_version.

    It has a row for each backfill that an unfinished step has begun; ``number`` counts the backfills of the step, from
    1. ``last_key`` is a JSON array of texts (KeyColumn), or NULL before the first batch. ``digest`` is the SHA-256 of
    the UPDATE without its WHERE: a run that continues may leave out rows that make it fail.
    """
    return Table(
        POSITIONS,
        MetaData(),
        Column("version_table", String(255), primary_key=True),
        Column("revision", String(255), primary_key=True),
        Column("direction", String(9), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("table_name", String(255), nullable=False),
        Column("last_key", Text),
        Column("rows_done", BigInteger, nullable=False),
        Column("is_done", Integer, nullable=False),
        Column("digest", String(64), nullable=False),
        schema=version_table()[0],
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
    )


class Walk:
    """One backfill of the running step, which goes through the table in the order of its primary key."""

    def __init__(self, op: BackfillOp, watch: StepTransaction) -> None:
        assert watch.step is not None
        watch.backfills.append((op.table_name, 0))
        self.op, self.watch, self.connection, self.adapter = op, watch, watch.connection, watch.adapter
        self.retry = settings().retry
        self.table, self.statement = op.table, op.statement
        self.sql = op.sql(watch.database.facts.sql_dialect)
        self.key = self.adapter.primary_key(self.connection, self.table)
        self.positions = positions()
        self.own: dict[str, str | int] = {
            "version_table": version_table()[1],
            "revision": watch.step.revision.revision,
            "direction": "upgrade" if watch.step.is_upgrade else "downgrade",
            "number": len(watch.backfills),
        }
        self.here = [self.positions.c[name] == value for name, value in self.own.items()]
        self.last: list[str] | None = None
        self.done = self.changed = 0
        self.size = op.batch_size or FIRST

    def run(self) -> None:
        """Change all rows that no earlier run has changed. Raise MigrationError if that fails half-way."""
        with self._transaction():
            is_empty = self.connection.execute(select(1).select_from(self.table).limit(1)).first() is None
        if is_empty:
            return
        if refused := self._key_error():
            raise refused
        if self._resume():
            return
        total = self.adapter.estimated_rows(self.connection, self.table)
        progress = RowProgress(f"Backfill of {self.op.table_name}", self.done, total)
        more = True
        while more:
            self.watch.require_lock()
            begun, before = time.perf_counter(), self.done
            try:
                self.retry.call(self._run_batch, self._may_retry)
            except DBAPIError as error:
                if not self.adapter.refuses_values(error):
                    raise
                raise self._error(error) from error
            self.watch.backfills[-1] = self.op.table_name, self.done
            more = self.done > before
            progress.reach(self.done)
            time.sleep(min(LONGEST_PAUSE, PAUSE * (time.perf_counter() - begun)) if more else 0)
        progress.end(self.changed)

    def _resume(self) -> bool:
        """Continue from the position of an earlier run, or insert the first one. Return True if that run has finished.

        Raise MigrationError if the table or the values were edited since then, unless no rows are committed.
        """
        values = replace(self.op, where=None).sql(self.watch.database.facts.sql_dialect)
        digest = hashlib.sha256(values.encode()).hexdigest()
        with self._transaction():
            self.positions.create(self.connection, checkfirst=True)
        self.watch.has_positions = True
        found = self.connection.execute(select(self.positions).where(*self.here)).first()
        if found is None or (found.digest != digest and not found.rows_done):
            new = {"table_name": self.op.table_name, "rows_done": 0, "is_done": 0, "digest": digest}
            with self._transaction():
                if found is not None:
                    self.connection.execute(self.positions.delete().where(*self.here))
                self.connection.execute(self.positions.insert().values(**self.own, **new))
            return False
        self.done = found.rows_done
        self.last = json.loads(found.last_key) if found.last_key else None
        self.watch.backfills[-1] = self.op.table_name, self.done
        if found.digest != digest:
            raise self._edit_error(digest)
        if not found.is_done:
            log.info("Continuing the backfill of %s after %s", self.op.table_name, counted(self.done, "row"))
        return bool(found.is_done)

    def _run_batch(self) -> None:
        """Change the next rows, commit them together with the new position, and choose the size of the next batch."""
        begun = time.perf_counter()
        changed = 0
        with self._transaction():
            last, count = self._end_of_batch()
            new = {"last_key": json.dumps(last)} if last is not None else {"is_done": 1}
            moved = self.positions.update().where(*self.here, self.positions.c.rows_done == self.done)
            # First, so that of two runs, one of which has lost its lock, the second one finds another position.
            if self.connection.execute(moved.values(rows_done=self.done + count, **new)).rowcount != 1:
                raise self._other_run_error()
            if last is not None:
                batch = self.statement.where(self.adapter.up_to(self.key, last))
                if self.last is not None:
                    batch = batch.where(self.adapter.beyond(self.key, self.last))
                begun = time.perf_counter()
                changed = self.connection.execute(batch).rowcount
        self.last, self.done, self.changed = last, self.done + count, self.changed + changed
        if self.op.batch_size is None:
            wanted = int(self.size * LOCKED / (time.perf_counter() - begun))
            self.size = max(SMALLEST, self.size // 2, min(LARGEST, self.size * 4, wanted))

    def _end_of_batch(self) -> tuple[list[str] | None, int]:
        """Return the key of the next batch's last row, and the number of its rows; None and 0 if no rows are left."""
        size = self.size
        found = self.connection.execute(self._rest().offset(size - 1).limit(1)).first()
        if found is not None:
            return list(found), size
        rows = self.connection.execute(self._rest().limit(size)).all()
        return (list(rows[-1]) if rows else None), len(rows)

    def _rest(self) -> Select[Any]:
        # Named unlike each column: ORDER BY would sort by a text that has the column's name.
        texts = [each.text.label(f"{OWN_TABLES}key_{number}") for number, each in enumerate(self.key)]
        rest = select(*texts).select_from(self.table).order_by(*(each.column for each in self.key))
        if self.adapter.key_hint:
            rest = rest.with_hint(self.table, self.adapter.key_hint)
        return rest if self.last is None else rest.where(self.adapter.beyond(self.key, self.last))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run the block in a transaction; without one, each statement of an autocommit block commits by itself."""
        self.connection.exec_driver_sql(self.adapter.begin_batch)
        try:
            self.adapter.limit_lock_waits(self.connection, self.retry)
            yield
            self.connection.exec_driver_sql("COMMIT")
        except BaseException:
            with suppress(SQLAlchemyError):  # of the driver, or because a lost connection was not rolled back
                self.connection.exec_driver_sql("ROLLBACK")
            raise

    def _may_retry(self, error: Exception) -> bool:
        if not isinstance(error, DBAPIError):
            return False
        return is_lock_timeout(self.watch.database, error) or self.adapter.rolled_back_transaction(error)

    def _key_error(self) -> MigrationError | None:
        """Return the error if the table has no primary key, or if the backfill changes that."""
        key = [each.column.name for each in self.key]
        changed = [name for name in key if name in self.op.columns]
        if key and not changed:
            return None
        why = f"op.backfill() changes {changed[0]}, which is in the primary key" if changed else "it has none"
        return UnsafeError(
            f"{self.op.table_name} cannot be changed in batches in the order of its primary key: {why}.",
            "add a primary key in an earlier revision, if there is none; or, if few rows change, change them at once:",
            f"op.execute({escaped(self.sql)!r})",
        )

    def _error(self, error: DBAPIError) -> MigrationError:
        fix = "correct the rows that make it fail, or leave them out with `where`"
        if rehearses():  # the rows are those of a copy
            fix = "correct the script, for example leave out the rows that make it fail with `where`"
        return MigrationError(
            f"the backfill of {self.op.table_name} in {self.watch.function} failed after {counted(self.done, 'row')}:"
            f" {summary(error).rstrip('.')}.",
            f"{fix}; then run the command again:",
            again(self.watch.again),
        )

    def _edit_error(self, digest: str) -> MigrationError:
        name, here, done = self.positions.fullname, _where(**self.own), counted(self.done, "row")
        return MigrationError(
            f"the backfill of {self.op.table_name} in {self.watch.function} was edited after it had stopped half-way.",
            f"undo the edit; or let the edited backfill continue after the first {done} (UPDATE), or change these again"
            " (DELETE). Then run the command again:",
            f"UPDATE {name} SET digest = '{digest}' {here};",
            f"DELETE FROM {name} {here};",
            again(self.watch.again),
        )

    def _other_run_error(self) -> MigrationError:
        return MigrationError(
            f"another command has continued the backfill of {self.op.table_name} at the same time.",
            "make sure that no other command is running, then run it again:",
            again(self.watch.again),
        )


def _where(**key: str | int) -> str:
    return "WHERE " + " AND ".join(
        f"{name} = {value}" if isinstance(value, int) else f"{name} = '{value}'" for name, value in key.items()
    )


def unfinished(connection: Connection) -> list[Row[Any]]:
    """Return the positions of the backfills of an unfinished step, with the columns as attributes.

    Those that have finished are included, because their step has not; those that have changed no rows are not.
    """
    found = positions()
    if not inspect(connection).has_table(found.name, found.schema):
        return []
    own = select(found).where(found.c.version_table == version_table()[1], found.c.rows_done > 0)
    return list(connection.execute(own.order_by(found.c.revision, found.c.number)))


def require_continued(scripts: Mapping[str, Sequence[Script]], database: Database) -> None:
    """Raise UnsafeError if a step would run in the other direction than an unfinished one that has changed rows.

    ``scripts`` are those that are about to run, by direction. The changed rows would remain as they are.
    """
    with database.read() as connection:
        found = unfinished(connection)
    for each in found:
        other = "downgrade" if each.direction == "upgrade" else "upgrade"
        if not scripts[other]:
            continue
        key = {"version_table": each.version_table, "revision": each.revision, "direction": each.direction}
        script = context.script.get_revision(each.revision) if is_known(context.script, each.revision) else None
        target = each.revision if each.direction == "upgrade" else " ".join(parents(script)) if script else "base"
        raise UnsafeError(
            f"the {each.direction}() of {each.revision} has stopped {'after' if each.is_done else 'half-way in'} the"
            f" backfill of {each.table_name}, after {counted(each.rows_done, 'row')}.",
            f"finish it before the {other}; or leave its rows as they are and forget it (DELETE):",
            f"flask db {each.direction} {target}",
            f"DELETE FROM {positions().fullname} {_where(**key)};",
        )


def _has_positions(watch: StepTransaction) -> bool:
    """Return True if the database has the table of positions; ask once per run, for Walk notes that it creates it."""
    if watch.has_positions is None:
        watch.has_positions = inspect(watch.connection).has_table(POSITIONS, version_table()[0])
    return watch.has_positions


def delete_positions(watch: StepTransaction, step: MigrationInfo, **_others: object) -> None:
    """Delete the positions of a finished step in its transaction, and after a `stamp` all of them.

    Also if the step has no backfill any more: an earlier run may have begun one that the script had then. Alembic calls
    this after it has changed alembic_version.
    """
    if _has_positions(watch):
        for each in unfinished(watch.connection) if step.is_stamp else ():
            done = f"{counted(each.rows_done, 'row')} of {each.table_name}"
            log.info("Forgot the backfill in %s() of %s, after %s", each.direction, each.revision, done)
        found = positions()
        own = found.delete().where(found.c.version_table == version_table()[1])
        watch.connection.execute(own if step.is_stamp else own.where(found.c.revision == step.up_revision_id))


def drop_positions(watch: StepTransaction) -> None:
    """Drop the table of the positions at the end of a run, unless one is left for which rows are committed.

    If another session uses it, as a backup does, leave it to the next run: the table is empty.
    """
    if watch.has_positions is False:  # as for most runs
        return
    adapter, connection, found = watch.adapter, watch.connection, positions()
    once = RetryPolicy(settings().retry.seconds, 1)
    with suppress(SQLAlchemyError, LostLockError), adapter.lock_waits_limited(connection, once), connection.begin():
        if not _has_positions(watch) or not watch.lock.is_held():
            return
        adapter.limit_lock_waits(connection, once)
        own = found.c.version_table == version_table()[1]
        connection.execute(found.delete().where(own, found.c.rows_done == 0))
        if connection.scalar(select(found).limit(1)) is None:
            found.drop(connection)
