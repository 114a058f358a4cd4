"""Rules about columns."""

from copy import deepcopy
from typing import Any

from alembic.operations import ops
from sqlalchemy import DefaultClause, Select, column, select, table

from app.safe_migrations.rules.lines import as_python, quoted
from app.safe_migrations.rules.registry import BLOCKS, WARNS, Case, Problem, rule


@rule(BLOCKS, ops.DropColumnOp)
def drop_column(op: ops.DropColumnOp, _case: Case) -> Problem:
    """The values are gone, and code of the last release still selects them (strong_migrations, "Removing a column")."""
    return Problem(
        f"drops column {op.table_name}.{op.column_name}, and code that is still running reads it",
        "stop using the column, deploy, and drop it in the next release.",
    )


@rule(BLOCKS, ops.AlterColumnOp)
def rename_column(op: ops.AlterColumnOp, _case: Case) -> Problem | None:
    """Code of the last release still uses the old name (strong_migrations, "Renaming a column")."""
    if op.modify_name is None or op.modify_name == op.column_name:
        return None
    return Problem(
        f"renames column {op.table_name}.{op.column_name} to {op.modify_name}, "
        "and code that is still running uses the old name",
        "keep the name in the database, and rename the attribute of the model:\n"
        f'    {op.modify_name} = mapped_column("{op.column_name}", ...)',
    )


@rule(BLOCKS, ops.AddColumnOp)
def add_not_null_column(op: ops.AddColumnOp, case: Case) -> Problem | None:
    """Rows have no value for it: databases refuse that, or invent one."""
    added, name, schema = op.column, op.table_name, op.schema
    if added.nullable or added.server_default is not None or added.primary_key:
        return None
    if case.tables.has_rows(name, schema) is False:
        return None
    consequence = (
        "and each row that is there gets 0, '' or the like, which nobody chose"
        if case.facts.invents_values
        else "and fails, for rows that are there have no value for it"
    )
    without, default = deepcopy(added), deepcopy(added)
    without.nullable, default.server_default = True, DefaultClause("...")
    lines = [ops.AddColumnOp(name, each, schema=schema) for each in (without, default)]
    return Problem(
        f"adds column {name}.{added.name}, which is NOT NULL and has no server_default, {consequence}",
        "add it without NOT NULL, fill it, and make it NOT NULL in a later revision; or give a server_default:\n"
        + "\n".join(as_python(line, batch=case.in_batch) for line in lines),
    )


@rule(BLOCKS, ops.AlterColumnOp)
def set_not_null(op: ops.AlterColumnOp, case: Case) -> Problem | None:
    """It fails on a NULL, and so does code of the last release that writes one."""
    if op.modify_nullable is not False or not may_be_null(op, case):
        return None
    what = f"makes column {op.table_name}.{op.column_name} NOT NULL"
    name = quoted(op.column_name, case.facts)
    fill = f"UPDATE {quoted(op.table_name, case.facts, op.schema)} SET {name} = ... WHERE {name} IS NULL"
    if case.tables.finds(_nulls(op)):
        return Problem(
            f"{what}, and there are rows where it is NULL",
            f"fill them first, in a revision of their own:\n    op.execute({fill!r})",
        )
    return Problem(
        f"{what}, and fails if a row has none by then, as does code that is still running and writes none",
        f"deploy code that writes a value each time, and fill what is there, before this:\n    op.execute({fill!r})",
        WARNS,
    )


def may_be_null(op: ops.AlterColumnOp, case: Case) -> bool:
    """Whether the column could be NULL before; what nobody knows could."""
    if op.existing_nullable is not None:
        return op.existing_nullable
    known = case.tables.column(op.table_name, op.column_name, op.schema)
    return known is None or known.nullable is not False


def _nulls(op: ops.AlterColumnOp) -> Select[Any]:
    name: Any = column(op.column_name)
    return select(name).select_from(table(op.table_name, schema=op.schema)).where(name.is_(None))
