"""Rules about changes that SQLite can make only in batch mode, which copies (rebuilds) the table."""

from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import Computed
from sqlalchemy.sql.elements import conv

from .implied_ops import KINDS, implied_ops, table_of
from .names import named
from .registry import BLOCKS, BOTH, SQLITE, WARNS, Problem, RuleContext, rule


@rule(BLOCKS, ops.MigrateOperation, on=SQLITE, directions=BOTH, new_tables=True)
def rebuild_loses(op: ops.MigrateOperation, context: RuleContext) -> Problem | None:
    """Report a batch whose rebuild loses a part of the table that SQLAlchemy does not read, e.g. COLLATE.

    The rule tries the batch on a copy of the schema in memory, and reports the first loss, as an upgrade would.
    """
    block = context.operation.block
    if block is None or next(iter(block.changes), None) is not op:
        return None
    loss = context.tables.trial().loss(block, context.tables.convention)
    if loss is None:
        return None
    what = loss.what.removesuffix(".").removesuffix(" (rebuild-loses)")
    instead = "\n    ".join([loss.remedy.replace("; nothing was changed", ""), *loss.lines])
    return Problem(f"changes {block.table}: {what}", instead)


@rule(BLOCKS, ops.AlterColumnOp, ops.AddConstraintOp, ops.DropConstraintOp, on=SQLITE, directions=BOTH, new_tables=True)
def constraint_outside_batch(
    op: ops.AlterColumnOp | ops.AddConstraintOp | ops.DropConstraintOp, context: RuleContext
) -> Problem | None:
    """Report a change outside batch mode that SQLite's ALTER TABLE does not support, e.g. a new type of a column.

    ALTER TABLE renames, adds and drops columns (sqlite.org/lang_altertable.html). SQLite 3.53 also sets and drops NOT
    NULL; the rule reports this nevertheless, because older versions cannot.
    """
    if context.operation.block is not None:
        return None
    table, _schema = table_of(op)
    if isinstance(op, ops.AlterColumnOp):
        if not _changes_more_than_name(op):
            return None
        what = f"changes {table}.{op.column_name}"
    elif isinstance(op, ops.DropConstraintOp):
        what = f"drops constraint {op.constraint_name} of {table}"
    else:
        what = f"adds a {KINDS.get(op.constraint_type, 'constraint')} to {table}"
    return Problem(
        f"{what} outside batch mode; most versions of SQLite cannot do this with ALTER TABLE", _in_batch(context, op)
    )


def _changes_more_than_name(op: ops.AlterColumnOp) -> bool:
    return (
        op.modify_nullable is not None
        or op.modify_type is not None
        or op.modify_server_default is not False
        or op.modify_comment is not False
    )


@rule(BLOCKS, ops.AddColumnOp, on=SQLITE, directions=BOTH, new_tables=True)
def add_column_limits(op: ops.AddColumnOp, context: RuleContext) -> Iterator[Problem]:
    """Report a column that SQLite's ADD COLUMN refuses, e.g. one with UNIQUE (sqlite.org/lang_altertable.html, 5).

    The rule add_not_null_column reports a column that is NOT NULL without a default, for all databases.
    """
    column, table, block = op.column, op.table_name, context.operation.block
    what = f"adds column {table}.{column.name}"
    made = implied_ops(op, context.facts, ops.CreateUniqueConstraintOp, ops.CreateForeignKeyOp)
    constraints = [named(each, context) for each in made]
    if column.primary_key and (block is None or block.recreate != "always"):
        key = ops.CreatePrimaryKeyOp(conv(f"pk_{table}"), table, [column.name], schema=op.schema)
        rebuilt = context.python(op, key, batch=True).replace(") as batch_op", ", recreate='always') as batch_op")
        yield Problem(
            f"{what} as a primary key, which SQLite cannot do: ALTER TABLE fails, or adds the column without the key",
            f"rebuild the table:\n{rebuilt}",
        )
    elif column.primary_key or (block is not None and block.recreate != "never"):
        return
    elif column.unique:
        yield Problem(
            f'{what} with UNIQUE; SQLite says "Cannot add a UNIQUE column"', _in_batch(context, op, *constraints)
        )
    elif constraints and not context.in_sql:
        yield Problem(
            f"{what} with a foreign key; Alembic adds it with ADD CONSTRAINT, which SQLite does not support",
            _in_batch(context, op, *constraints),
        )
    elif (error := _error(op, context)) and not context.tables.is_new(table, op.schema):
        level = WARNS if context.tables.has_rows(table, op.schema) is False else BLOCKS
        yield Problem(f'{what}; SQLite says "{error}"', _in_batch(context, op), level)


def _error(op: ops.AddColumnOp, context: RuleContext) -> str:
    """Return the error with which SQLite refuses the column if the table has rows; empty if SQLite adds the column."""
    default, facts = op.column.server_default, context.facts
    if isinstance(default, Computed):
        return "cannot add a STORED column" if default.persisted else ""
    return "" if facts.is_constant(facts.default(default)) else "Cannot add a column with non-constant default"


def _in_batch(context: RuleContext, *operations: ops.MigrateOperation) -> str:
    return f"rebuild the table in batch mode:\n{context.python(*operations, batch=True)}"
