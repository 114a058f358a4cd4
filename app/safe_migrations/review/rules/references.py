"""Rules about foreign keys that are written with a column."""

from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import Column
from sqlalchemy.sql.elements import conv

from .paste import as_python
from .registry import BLOCKS, MYSQL, Problem, RuleContext, rule


@rule(BLOCKS, ops.AddColumnOp, ops.CreateTableOp, on=MYSQL, new_tables=True)
def inline_references_ignored(op: ops.AddColumnOp | ops.CreateTableOp, context: RuleContext) -> Iterator[Problem]:
    """Report REFERENCES in the definition of a column, which MySQL before 9.0 parses and ignores (bug 102904)."""
    if not context.facts.ignores_inline_references:
        return
    for column in [op.column] if isinstance(op, ops.AddColumnOp) else op.columns:
        if not isinstance(column, Column) or not column.info.get("inline_references"):
            continue
        (key,) = column.foreign_keys
        table, referred = key.target_fullname.rsplit(".", 1)
        name = conv(f"fk_{op.table_name}_{column.name}")
        foreign_key = ops.CreateForeignKeyOp(name, op.table_name, table, [column.name], [referred])
        yield Problem(
            f"has REFERENCES in the definition of {op.table_name}.{column.name}; this version of the database silently"
            " ignores it and creates no foreign key",
            f"create the foreign key as a constraint of the table, which works on every version:\n"
            f"{as_python(foreign_key)}",
        )
