"""Rules about whole tables."""

from collections.abc import Iterator
from typing import Any

from alembic.operations import ops

from app.safe_migrations.adapters.facts import Facts
from app.safe_migrations.operations import made_by, with_column
from app.safe_migrations.rules.registry import BLOCKS, WARNS, Case, Problem, rule

NAMING = (
    ops.CreateTableOp,
    ops.AddColumnOp,
    ops.AlterColumnOp,
    ops.RenameTableOp,
    ops.CreateIndexOp,
    ops.AddConstraintOp,
)


@rule(BLOCKS, ops.DropTableOp)
def drop_table(op: ops.DropTableOp, _case: Case) -> Problem:
    """The rows are gone, and code of the last release still reads them (strong_migrations, "Dropping a table")."""
    return Problem(
        f"drops table {op.table_name}, and code that is still running reads it",
        "take its model out, deploy, and drop it in the next release:\n"
        '    safety_assured = {"drop-table": "nothing has used it since the last release"}',
    )


@rule(BLOCKS, ops.RenameTableOp)
def rename_table(op: ops.RenameTableOp, _case: Case) -> Problem:
    """Code of the last release still uses the old name (strong_migrations, "Renaming a table")."""
    return Problem(
        f"renames table {op.table_name} to {op.new_table_name}, and code that is still running uses the old name",
        f'keep the name in the database, and rename the model:\n    __tablename__ = "{op.table_name}"',
    )


@rule(WARNS, *NAMING, applies=lambda facts: facts.names_end, new_tables=True)
def long_identifier(op: ops.MigrateOperation, case: Case) -> Iterator[Problem]:
    """A name that is cut is another than the models have, and one that is refused stops the run halfway."""
    for kind, name in _names(op):
        if case.facts.is_too_long(name):
            unit = "bytes" if case.facts.names_in_bytes else "characters"
            yield Problem(
                f"names {kind} {name}, which is longer than {case.facts.longest_name} {unit}: it is cut or refused",
                f"take a shorter name, in the model or the naming convention too:\n    {_shorter(name, case.facts)}",
            )


def _shorter(name: str, facts: Facts) -> str:
    """Its beginning, as far as it is not too long."""
    return next(name[:end] for end in range(len(name), 0, -1) if not facts.is_too_long(name[:end]))


def _names(op: Any) -> Iterator[tuple[str, str]]:
    """What an operation names, and how."""
    if isinstance(op, ops.RenameTableOp):
        yield "table", op.new_table_name
    elif isinstance(op, ops.AlterColumnOp) and op.modify_name:
        yield "column", op.modify_name
    elif isinstance(op, ops.CreateIndexOp) and op.index_name:
        yield "index", str(op.index_name)
    elif isinstance(op, ops.AddConstraintOp) and getattr(op, "constraint_name", None):
        yield "constraint", str(getattr(op, "constraint_name", ""))
    elif isinstance(op, ops.CreateTableOp | ops.AddColumnOp):
        table = made_by(op) if isinstance(op, ops.CreateTableOp) else with_column(op)
        yield from [("table", table.name)] if isinstance(op, ops.CreateTableOp) else []
        yield from (("column", each.name) for each in table.columns)
        yield from (("constraint", str(each.name)) for each in table.constraints if each.name)
        yield from (("index", str(each.name)) for each in table.indexes if each.name)
