"""The constraints and indexes that an operation makes, whether it is one of them or adds a column that has them."""

from collections.abc import Iterator
from typing import Any, TypeVar

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Constraint, ForeignKeyConstraint, PrimaryKeyConstraint, Table

from ...adapters.facts import Facts
from ..recorder import made_by

Part = TypeVar("Part", bound=ops.MigrateOperation)


def parts(op: ops.MigrateOperation, facts: Facts, *classes: type[Part]) -> Iterator[Part]:
    """Those of ``classes`` that Alembic runs for ``op``; behind ADD COLUMN it makes what the column says."""
    found = [op] if not isinstance(op, ops.AddColumnOp) else _behind(op, facts)
    yield from (part for part in found if isinstance(part, classes))


def is_inline(op: ops.AddColumnOp, constraint: Constraint) -> bool:
    """Whether it is a REFERENCES of the column's definition, which Alembic writes without its name."""
    return bool(
        op.inline_references
        and isinstance(constraint, ForeignKeyConstraint)
        and len(op.column.foreign_keys) == len(constraint.elements) == 1
    )


def constraints_of(table: Table) -> Iterator[tuple[Constraint, ops.AddConstraintOp]]:
    """All but primary keys, each with the operation that would make it by itself."""
    for constraint in sorted(table.constraints, key=lambda each: each._creation_order):
        if not isinstance(constraint, PrimaryKeyConstraint):
            yield constraint, ops.AddConstraintOp.from_constraint(constraint)
    for column in table.columns:
        for check in column.constraints:
            if isinstance(check, CheckConstraint):
                yield check, ops.CreateCheckConstraintOp(check.name, table.name, check.sqltext, schema=table.schema)


def _behind(op: ops.AddColumnOp, facts: Facts) -> list[Any]:
    table = made_by(op)
    constraints = [
        made for constraint, made in constraints_of(table) if not is_inline(op, constraint) and facts.makes(constraint)
    ]
    return [*constraints, *map(ops.CreateIndexOp.from_index, table.indexes)]
