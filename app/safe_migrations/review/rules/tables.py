"""Rules about whole tables."""

from alembic.operations import ops

from ..sql import CommandOp
from .registry import BLOCKS, Problem, RuleContext, rule


@rule(BLOCKS, ops.DropTableOp)
def drop_table(op: ops.DropTableOp, _context: RuleContext) -> Problem:
    """The rows are gone, and code of the last release still reads them (strong_migrations, "Dropping a table")."""
    return Problem(
        f"drops table {op.table_name}, and code that is still running reads it",
        "take its model out, deploy, and drop it in the next release:\n"
        '    safety_assured = {"drop-table": "nothing has used it since the last release"}',
    )


@rule(BLOCKS, ops.RenameTableOp, CommandOp)
def rename_table(op: ops.RenameTableOp | CommandOp, _context: RuleContext) -> Problem | None:
    """Code of the last release still uses the old name (strong_migrations, "Renaming a table"), or schema."""
    if isinstance(op, CommandOp):
        if op.words != "SET SCHEMA" or op.table_name is None:
            return None
        return Problem(
            f"moves table {op.table_name} to schema {op.name}, and code that is still running looks where it was",
            "leave it there, and let a view have the new name:\n"
            f'    op.execute("CREATE VIEW {op.name}.{op.table_name} AS SELECT * FROM {op.table_name}")',
        )
    return Problem(
        f"renames table {op.table_name} to {op.new_table_name}, and code that is still running uses the old name",
        f'keep the name in the database, and rename the model:\n    __tablename__ = "{op.table_name}"',
    )
