"""The constraints and indexes that an operation makes, whether it is one of them or adds a column that has them."""

from collections.abc import Iterator
from typing import Any, TypeVar

from alembic.operations import ops
from alembic.operations.schemaobj import SchemaObjects
from sqlalchemy import Constraint, ForeignKeyConstraint, PrimaryKeyConstraint, Table

Part = TypeVar("Part", bound=ops.MigrateOperation)


def parts(op: ops.MigrateOperation, *classes: type[Part]) -> Iterator[Part]:
    """Those of ``classes`` that Alembic runs for ``op``; behind ADD COLUMN it makes what the column says."""
    found = [op] if not isinstance(op, ops.AddColumnOp) else _behind(op)
    yield from (part for part in found if isinstance(part, classes))


def with_column(op: ops.AddColumnOp) -> Table:
    """A table that has this column only, with what it says of constraints and indexes."""
    return SchemaObjects().table(op.table_name, op.column._copy(), schema=op.schema)


def is_inline(op: ops.AddColumnOp, constraint: Constraint) -> bool:
    """Whether it is a REFERENCES of the column's definition, which Alembic writes without its name."""
    return bool(
        op.inline_references
        and isinstance(constraint, ForeignKeyConstraint)
        and len(op.column.foreign_keys) == len(constraint.elements) == 1
    )


def _behind(op: ops.AddColumnOp) -> list[Any]:
    table = with_column(op)
    constraints = [
        ops.AddConstraintOp.from_constraint(constraint)
        for constraint in table.constraints
        if not isinstance(constraint, PrimaryKeyConstraint)
        and not is_inline(op, constraint)
        and not getattr(constraint, "_create_rule", None)  # of Boolean and Enum: few databases make it
    ]
    return [*constraints, *map(ops.CreateIndexOp.from_index, table.indexes)]
