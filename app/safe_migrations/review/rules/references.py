"""Rules about foreign keys that are written with a column."""

from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import Column

from .registry import BLOCKS, MYSQL, Problem, RuleContext, rule


@rule(BLOCKS, ops.AddColumnOp, ops.CreateTableOp, on=MYSQL, new_tables=True)
def inline_references_ignored(op: ops.AddColumnOp | ops.CreateTableOp, context: RuleContext) -> Iterator[Problem]:
    """Find REFERENCES in the definition of a column, which MySQL before 9.0 parses and ignores (bug 102904)."""
    if not context.facts.ignores_inline_references:
        return
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
