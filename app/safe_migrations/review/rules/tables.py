"""Rules about tables that are dropped or renamed."""

import re
from dataclasses import dataclass
from typing import Any

from alembic.operations import ops

from ...adapters.casts import Cast
from ..known_schema import Name
from ..sql.ops import ChangeRowsOp, CommandOp
from .registry import BLOCKS, Problem, RuleContext, rule
from .suggestions import REHEARSE


@rule(BLOCKS, ops.DropTableOp)
def drop_table(op: ops.DropTableOp, context: RuleContext) -> Problem | None:
    """Report a dropped table: its rows are lost, and running code still reads it (strong_migrations).

    Exempt is the table that a failed batch of Alembic on SQLite left behind, and one whose rows the revision has copied
    into a new table of the same name, if the database allows that without harm.
    """
    if op.table_name.startswith("_alembic_tmp_"):
        return None
    if (rebuild := rebuild_of(context)) is not None:
        return _rebuilt(op, rebuild, context)
    return Problem(
        f"drops table {op.table_name}, which running code still reads",
        "remove the table's model, deploy, and drop the table in the next release, with this line in the script:\n"
        '    safety_assured = {"drop-table": "nothing has used it since the last release"}',
    )


@rule(BLOCKS, ops.RenameTableOp, CommandOp)
def rename_table(op: ops.RenameTableOp | CommandOp, context: RuleContext) -> Problem | None:
    """Report a table that gets another name or schema: running code still uses the old one (strong_migrations).

    Exempt is a table whose rows the revision copies into a new one that gets the old name, as for ``drop-table``.
    """
    if isinstance(op, CommandOp) and (op.words != "SET SCHEMA" or op.table_name is None):
        return None
    if (rebuild := rebuild_of(context)) is not None:
        return _rebuilt(op, rebuild, context)
    new_name = f"{op.name}.{op.table_name}" if isinstance(op, CommandOp) else op.new_table_name
    return Problem(
        f"renames table {op.table_name} to {new_name}, but running code still uses the old name",
        f'keep the name in the database, and rename the model:\n    __tablename__ = "{op.table_name}"',
    )


def _rebuilt(op: Any, rebuild: "Rebuild", context: RuleContext) -> Problem | None:
    """Return the problem of a table that is rebuilt by hand on a server, reported for the table that goes.

    SQLite itself recommends such a rebuild (sqlite.org/lang_altertable.html, section 7), and keeps writers out. A
    server can alter the table, whose CREATE TABLE does not say all that hangs on it.
    """
    if context.facts.locks_out_writers or rebuild.table != (op.schema, op.table_name):
        return None
    return Problem(
        f"rebuilds table {op.table_name} by hand, which loses rows that running code writes in between, and all that"
        " the new table does not repeat: counters of keys, foreign keys, triggers, rights",
        f"change it in place, with operations such as op.alter_column(); if that cannot be, {REHEARSE}",
    )


@dataclass(frozen=True)
class Rebuild:
    """A table that a revision rebuilds by hand: it creates a new one, copies the rows, and drops the old one.

    ``table`` is the name of both; ``lost`` has the columns whose values are not in the new one.
    """

    table: Name
    lost: list[str]


def rebuild_of(context: RuleContext) -> Rebuild | None:
    """Return the rebuild of which the operation, which drops or renames a table, is a part.

    Return None if there is none, i.e. if no INSERT ... SELECT copies rows into a new table that has the old name
    at the end. Return None too if columns of the old table are unknown, or if the new one has a column of another type
    that cannot keep all values.
    """
    if not isinstance(context.operation.op, ops.DropTableOp | ops.RenameTableOp):
        return None
    if re.search(r"\bCASCADE\W*$", context.operation.statement or "", re.IGNORECASE):  # drops other tables' keys
        return None
    key = (context.operation.op.schema, context.operation.op.table_name)
    rows, tables, name = _Rows(), context.tables.branch(), None
    for operation in context.revision.upgrade:
        if operation is context.operation:
            name = rows.of(key)[0]
        rows.follow(operation.op)
        if name is not None:
            tables.apply(operation.op)
    if name is None or rows.of(name)[0] != name:
        return None
    old, new = context.tables.table(key[1], key[0]).columns, tables.table(name[1], name[0]).columns
    _, copied = rows.of(name)
    kept = [column for column in old if column in new and (copied is None or column in copied)]
    changes = ((old[each].type, new[each].type) for each in kept)
    if not kept or any(
        after is None or context.facts.cast(before, after) is not Cast.KEEPS for before, after in changes
    ):
        return None
    return Rebuild(name, [column for column in old if column not in kept])


class _Rows:
    """The rows that each table has during a revision."""

    def __init__(self) -> None:
        self._found: dict[Name, tuple[Name | None, frozenset[str] | None]] = {}

    def of(self, table: Name) -> tuple[Name | None, frozenset[str] | None]:
        """Return the name that the table with these rows had at first, and which columns were copied (None for all).

        The name is None for a table that does not exist, or has other rows.
        """
        return self._found.get(table, (table, None))

    def follow(self, op: ops.MigrateOperation) -> None:
        """Move or remove rows as the operation does."""
        if not isinstance(op, ops.CreateTableOp | ops.DropTableOp | ops.RenameTableOp | ChangeRowsOp):
            return
        table = (op.schema, op.table_name)
        if isinstance(op, ops.RenameTableOp):
            self._found[op.schema, op.new_table_name] = self.of(table)
        if not isinstance(op, ChangeRowsOp) or (op.verb in ("DELETE", "TRUNCATE") and not op.bounded):
            self._found[table] = (None, None)
        elif op.source is not None and self.of(table)[0] is None:
            origin, columns = self.of(op.source)
            both = [each for each in (columns, op.copied) if each is not None]
            self._found[table] = origin, frozenset.intersection(*both) if both else None
