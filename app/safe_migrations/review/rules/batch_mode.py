"""Rules about what SQLite changes only by making a table anew, in batch mode."""

from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import Computed
from sqlalchemy.sql.elements import conv

from .paste import as_python
from .registry import BLOCKS, BOTH, SQLITE, WARNS, Level, Problem, RuleContext, rule

CONSTRAINTS = {
    ops.CreateForeignKeyOp: "a foreign key to",
    ops.CreateUniqueConstraintOp: "a unique constraint to",
    ops.CreateCheckConstraintOp: "a CHECK to",
    ops.CreatePrimaryKeyOp: "a primary key to",
}


@rule(
    BLOCKS,
    ops.MigrateOperation,
    on=SQLITE,
    directions=BOTH,
    new_tables=True,
)
def rebuild_loses(op: ops.MigrateOperation, context: RuleContext) -> Problem | None:
    """Find what SQLAlchemy does not read of a table, and a batch therefore loses when it rebuilds the table.

    The batch runs on a copy of the schema in memory, so that the rule finds exactly what the guard would refuse.
    """
    block = context.operation.block if context.operation else None
    if block is None or next(iter(block.changes), None) is not op:
        return None
    loss = context.tables.trial().loss(block)
    if loss is None:
        return None
    what = loss.what.removesuffix(".").removesuffix(" (rebuild-loses)")
    instead = "\n    ".join([loss.remedy.replace("; nothing was changed", ""), *loss.lines])
    return Problem(f"changes {block.table}: {what}", instead)


@rule(
    BLOCKS,
    ops.AlterColumnOp,
    ops.AddConstraintOp,
    ops.DropConstraintOp,
    on=SQLITE,
    directions=BOTH,
    new_tables=True,
)
def constraint_outside_batch(
    op: ops.AlterColumnOp | ops.AddConstraintOp | ops.DropConstraintOp, context: RuleContext
) -> Problem | None:
    """Find what SQLite's ALTER TABLE cannot do: it renames, adds and drops columns, and from SQLite 3.53 on sets and
    drops NOT NULL (sqlite.org/lang_altertable.html).
    """
    if context.operation is None or context.operation.batch:
        return None
    table = str(getattr(op, "table_name", None) or getattr(op, "source_table", ""))
    if isinstance(op, ops.AlterColumnOp):
        if not _changes_more_than_a_name(op):
            return None
        what = f"changes {table}.{op.column_name}"
    elif isinstance(op, ops.DropConstraintOp):
        what = f"drops constraint {op.constraint_name} of {table}"
    else:
        what = f"adds {CONSTRAINTS.get(type(op), 'a constraint to')} {table}"
    return Problem(f"{what} outside batch mode, and not every SQLite has an ALTER TABLE for that", _in_batch(op))


def _changes_more_than_a_name(op: ops.AlterColumnOp) -> bool:
    return (
        op.modify_nullable is not None
        or op.modify_type is not None
        or op.modify_server_default is not False
        or op.modify_comment is not False
    )


@rule(
    BLOCKS,
    ops.AddColumnOp,
    on=SQLITE,
    directions=BOTH,
    new_tables=True,
)
def add_column_limits(op: ops.AddColumnOp, context: RuleContext) -> Iterator[Problem]:
    """ADD COLUMN takes what no row has to be written for (sqlite.org/lang_altertable.html, section 5).

    A column that is NOT NULL and has no default is another rule's, for no database takes it where there are rows.
    """
    column, table, block = op.column, op.table_name, context.operation.block if context.operation else None
    what = f"adds column {table}.{column.name}"
    if column.primary_key and (block is None or block.recreate != "always"):
        yield Problem(
            f'{what} as a primary key, and SQLite says "Cannot add a PRIMARY KEY column", or makes none',
            f'let the table be made anew:\n    with op.batch_alter_table({table!r}, recreate="always") as batch_op:\n'
            f"        batch_op.add_column(...)",
        )
        return
    if block is not None and block.recreate != "never":
        return
    if column.unique:
        unique = ops.CreateUniqueConstraintOp(conv(f"uq_{table}_{column.name}"), table, [column.name], schema=op.schema)
        yield Problem(f'{what} with UNIQUE, and SQLite says "Cannot add a UNIQUE column"', _in_batch(op, unique))
    elif column.foreign_keys and not context.in_sql:
        (key, *_others) = column.foreign_keys
        referred, name = key.target_fullname.rsplit(".", 1)
        foreign = ops.CreateForeignKeyOp(
            conv(f"fk_{table}_{column.name}"), table, referred, [column.name], [name], source_schema=op.schema
        )
        yield Problem(
            f"{what} with a foreign key, which Alembic adds as a constraint, and SQLite has no ALTER TABLE for that",
            _in_batch(op, foreign),
        )
    elif (words := _words(op, context)) and not context.tables.is_new(table, op.schema):
        level = WARNS if context.tables.has_rows(table, op.schema) is False else Level.BLOCKS
        yield Problem(f'{what}, and SQLite says "{words}"', _in_batch(op), level)


def _words(op: ops.AddColumnOp, context: RuleContext) -> str:
    """What SQLite says where there are rows; empty if it takes the column."""
    default = op.column.server_default
    if isinstance(default, Computed):
        return "cannot add a STORED column" if default.persisted else ""
    return (
        ""
        if context.facts.is_constant(context.facts.default(default))
        else "Cannot add a column with non-constant default"
    )


def _in_batch(*operations: ops.MigrateOperation) -> str:
    return f"let the table be made anew, in batch mode:\n{as_python(*operations, batch=True)}"
