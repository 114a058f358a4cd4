"""Rules about foreign keys that are written with a column."""

from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import Column

from .registry import BLOCKS, Problem, RuleContext, rule


@rule(
    BLOCKS,
    ops.AddColumnOp,
    ops.CreateTableOp,
    applies=lambda facts: facts.ignores_inline_references,
    new_tables=True,
)
def inline_references_ignored(op: ops.AddColumnOp | ops.CreateTableOp, _case: RuleContext) -> Iterator[Problem]:
    """MySQL reads REFERENCES in the definition of a column, and makes no foreign key of it, before 9.0 (bug 102904)."""
    for column in [op.column] if isinstance(op, ops.AddColumnOp) else op.columns:
        if not isinstance(column, Column) or not column.info.get("inline_references"):
            continue
        (key,) = column.foreign_keys
        table, referred = key.target_fullname.rsplit(".", 1)
        yield Problem(
            f"has REFERENCES in the definition of {op.table_name}.{column.name}, and this version of the database makes"
            " no foreign key of it, and no error",
            "make it a constraint of the table, which every version keeps:\n"
            f'    op.create_foreign_key("fk_{op.table_name}_{column.name}", "{op.table_name}", "{table}",'
            f' ["{column.name}"], ["{referred}"])',
        )
