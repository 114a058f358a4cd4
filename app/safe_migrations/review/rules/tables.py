"""Rules about tables that are dropped or renamed."""

import re
from dataclasses import dataclass
from typing import Any

from alembic.operations import ops

from ...adapters.casts import Cast
from ..known_schema import Name
from ..sql.ops import ChangeRowsOp, CommandOp
from .registry import BLOCKS, WARNS, Problem, RuleContext, rule
from .suggestions import REHEARSE


@rule(BLOCKS, ops.DropTableOp)
def drop_table(op: ops.DropTableOp, context: RuleContext) -> Problem | None:
    """Report a dropped table: its rows are lost, and running code still reads it (strong_migrations).

    Exempt is the table that a failed batch of Alembic on SQLite left behind. If the revision has copied the rows
    into a new table of the same name, report only that other sessions can write to the old one before it is
    dropped, where they can.
    """
    if op.table_name.startswith("_alembic_tmp_"):
        return None
    rebuild = rebuild_of(context)
    if rebuild is None:
        return Problem(
            f"drops table {op.table_name}, which running code still reads",
            "remove the table's model, deploy, and drop the table in the next release, with this line in the script:\n"
            '    safety_assured = {"drop-table": "nothing has used it since the last release"}',
        )
    return _writes_lost(op, "drops", rebuild, context)


@rule(BLOCKS, ops.RenameTableOp, CommandOp)
def rename_table(op: ops.RenameTableOp | CommandOp, context: RuleContext) -> Problem | None:
    """Report a table that gets another name or schema: running code still uses the old one (strong_migrations).

    If the revision copies the rows into a new table that gets the old name, report only that other sessions can write
    to the old one in between, or do not find the new one until then, where they can.
    """
    if isinstance(op, CommandOp) and (op.words != "SET SCHEMA" or op.table_name is None):
        return None
    new_name = f"{op.name}.{op.table_name}" if isinstance(op, CommandOp) else op.new_table_name
    rebuild = rebuild_of(context)
    if rebuild is None:
        return Problem(
            f"renames table {op.table_name} to {new_name}, but running code still uses the old name",
            f'keep the name in the database, and rename the model:\n    __tablename__ = "{op.table_name}"',
        )
    if rebuild.copied_first or not context.facts.commits_ddl:
        return _writes_lost(op, "renames", rebuild, context)
    return Problem(
        f"renames table {op.table_name} to {new_name} and creates it again; until all rows are copied, running code"
        " does not find them",
        REHEARSE,
        WARNS,
    )


def _writes_lost(op: Any, verb: str, rebuild: "Rebuild", context: RuleContext) -> Problem | None:
    """Return the problem that rows written after the copy of the operation's table are lost, if they can be."""
    is_old = rebuild.table == (op.schema, op.table_name)
    if not (is_old and rebuild.copied_first) or context.facts.locks_out_writers:
        return None
    return Problem(
        f"copies table {op.table_name} and then {verb} it; rows that running code writes in between are lost",
        "first rename the old table, then create the new one under its name and copy the rows:\n"
        f"    op.rename_table({op.table_name!r}, {f'{op.table_name}_old'!r})",
        WARNS,
    )


@dataclass(frozen=True)
class Rebuild:
    """A table that a revision rebuilds by hand: it creates a new one, copies all rows, and drops the old one.

    ``table`` is the name of both; ``lost`` has the columns whose values are not in the new one. ``copied_first`` is
    True if the rows are copied before the operation drops or renames the old table.
    """

    table: Name
    lost: list[str]
    copied_first: bool


def rebuild_of(context: RuleContext) -> Rebuild | None:
    """Return the rebuild of which the operation, which drops or renames a table, is a part.

    Return None if there is none, i.e. if no INSERT ... SELECT copies all rows into a new table that has the old name
    at the end. Return None too if columns of the old table are unknown, or if the new one has a column of another type
    that cannot keep all values.
    """
    if context.operation is None or not isinstance(context.operation.op, ops.DropTableOp | ops.RenameTableOp):
        return None
    if re.search(r"\bCASCADE\W*$", context.operation.statement or "", re.IGNORECASE):  # drops other tables' keys
        return None
    key = (context.operation.op.schema, context.operation.op.table_name)
    rows, tables, name, copied_first = _Rows(), context.tables.branch(), None, False
    for operation in context.revision.upgrade:
        if operation is context.operation:
            name = rows.of(key)[0]
            copied_first = rows.has_copy(key)
        rows.follow(operation.op)
        if name is not None:
            tables.apply(operation.op)
    if name is None or rows.of(name)[0] != name:
        return None
    old, new = context.tables.table(key[1], key[0]).columns, tables.table(name[1], name[0]).columns
    copied = rows.of(name)[1]
    kept = [column for column in old if column in new and (copied is None or column in copied)]
    changes = ((old[each].type, new[each].type) for each in kept)
    if not kept or any(
        after is None or context.facts.cast(before, after) is not Cast.KEEPS for before, after in changes
    ):
        return None
    return Rebuild(name, [column for column in old if column not in kept], copied_first)


class _Rows:
    """The rows that each table has during a revision."""

    def __init__(self) -> None:
        self._found: dict[Name, tuple[Name | None, frozenset[str] | None]] = {}

    def of(self, table: Name) -> tuple[Name | None, frozenset[str] | None]:
        """Return the name that the table with these rows had at first, and which columns were copied (None for all).

        The name is None for a table that does not exist, or has other rows.
        """
        return self._found.get(table, (table, None))

    def has_copy(self, table: Name) -> bool:
        """Return True if another table has a copy of the table's rows."""
        return any(rows[0] == self.of(table)[0] for other, rows in self._found.items() if other != table)

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
