"""The constraints and indexes that an operation creates, by itself or together with a new column."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from alembic.operations import ops
from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Constraint,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    Table,
    column,
)
from sqlalchemy.sql.visitors import ExternallyTraversible, replacement_traverse

from ...adapters.facts import Facts
from ...internals import is_created
from ..recorder import as_table

Op = TypeVar("Op", bound=ops.MigrateOperation)
KINDS = {
    "foreignkey": "foreign key",
    "primarykey": "primary key",
    "check": "CHECK constraint",
    "unique": "unique constraint",
}
"""The words for kinds of constraints in messages, by Alembic's constraint_type."""


def implied_ops(op: ops.MigrateOperation, facts: Facts, *classes: type[Op]) -> Iterator[Op]:
    """Yield ``op``, or if it adds a column, instead the operations that create the column's constraints and indexes.

    Only operations of ``classes`` are yielded, and no constraint that the database would not create.
    """
    found = _implied_by_column(op, facts) if isinstance(op, ops.AddColumnOp) else [op]
    yield from (each for each in found if isinstance(each, classes))


def table_of(op: Any) -> tuple[str, str | None]:
    """Return name and schema of the table that an operation changes."""
    if isinstance(op, ops.CreateForeignKeyOp):
        return op.source_table, op.kw.get("source_schema")
    return op.table_name, op.schema


def column_names(columns: Iterable[Any]) -> list[str]:
    """Return the names of the columns, which operations have as strings or as objects with a name."""
    return [str(getattr(each, "name", each)) for each in columns]


def is_inline(op: ops.AddColumnOp, constraint: Constraint) -> bool:
    """Return True for a foreign key that Alembic writes as REFERENCES in the column's definition, without its name."""
    return bool(
        op.inline_references
        and isinstance(constraint, ForeignKeyConstraint)
        and len(op.column.foreign_keys) == len(constraint.elements) == 1
    )


def constraints_of(table: Table) -> Iterator[tuple[Constraint, ops.AddConstraintOp]]:
    """Yield each constraint of the table except its primary key, with the operation that creates the constraint."""
    for constraint in sorted(table.constraints, key=_order):
        if not isinstance(constraint, PrimaryKeyConstraint):
            made = ops.AddConstraintOp.from_constraint(constraint)
            if isinstance(constraint, CheckConstraint) and isinstance(made, ops.CreateCheckConstraintOp):
                made.condition = _unbound(constraint.sqltext)
            yield constraint, made
    for each in table.columns:
        for check in each.constraints:
            if isinstance(check, CheckConstraint):
                yield check, ops.CreateCheckConstraintOp(check.name, table.name, check.sqltext, schema=table.schema)


def _unbound(condition: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a copy of the condition, in which the columns belong to no table.

    Otherwise SQLAlchemy adds each CHECK that is created with the condition to the table of its columns, e.g. a second
    CHECK of a Boolean when a rule calls to_constraint().
    """

    def replaced(element: ExternallyTraversible, **_options: object) -> ExternallyTraversible | None:
        return column(element.name, element.type) if isinstance(element, Column) else None

    unbound: ColumnElement[Any] = replacement_traverse(condition, {}, replaced)
    return unbound


def _order(constraint: Any) -> tuple[str, ...]:
    """Return a key to sort constraints by, because SQLAlchemy keeps them in a set, which has no order."""
    columns = ", ".join(column.name for column in constraint.columns)
    return type(constraint).__name__, str(constraint.name), columns, str(getattr(constraint, "sqltext", ""))


def _implied_by_column(op: ops.AddColumnOp, facts: Facts) -> list[Any]:
    table = as_table(op)
    constraints = [
        made
        for constraint, made in constraints_of(table)
        if not is_inline(op, constraint) and is_created(constraint, facts.sql_dialect)
    ]
    return [*constraints, *map(ops.CreateIndexOp.from_index, table.indexes)]
