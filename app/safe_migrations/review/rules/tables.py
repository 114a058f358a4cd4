"""Rules about tables that are dropped or renamed."""

from alembic.operations import ops

from ..sql.ops import CommandOp
from .registry import BLOCKS, Problem, RuleContext, rule


@rule(BLOCKS, ops.DropTableOp)
def drop_table(op: ops.DropTableOp, _context: RuleContext) -> Problem:
    """Report a dropped table: its rows are lost, and running code still reads it (strong_migrations)."""
    return Problem(
        f"drops table {op.table_name}, which running code still reads",
        "remove the table's model, deploy, and drop the table in the next release, with this line in the script:\n"
        '    safety_assured = {"drop-table": "nothing has used it since the last release"}',
    )


@rule(BLOCKS, ops.RenameTableOp, CommandOp)
def rename_table(op: ops.RenameTableOp | CommandOp, _context: RuleContext) -> Problem | None:
    """Report a table that gets another name or schema: running code still uses the old one (strong_migrations)."""
    if isinstance(op, CommandOp) and (op.words != "SET SCHEMA" or op.table_name is None):
        return None
    new_name = f"{op.name}.{op.table_name}" if isinstance(op, CommandOp) else op.new_table_name
    return Problem(
        f"renames table {op.table_name} to {new_name}, but running code still uses the old name",
        f'keep the name in the database, and rename the model:\n    __tablename__ = "{op.table_name}"',
    )
