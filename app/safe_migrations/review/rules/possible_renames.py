"""The rule about what a rename looks like to autogenerate."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from alembic.operations import ops
from sqlalchemy import Column

from ...adapters.facts import Facts
from ..known_schema import KnownColumn, KnownSchema, Name
from ..recorder import Operation, Revision
from ..sql import ChangeRowsOp
from .paste import as_python
from .registry import BLOCKS, WARNS, Problem, RuleContext, rule


@rule(BLOCKS, Revision)
def possible_rename(revision: Revision, context: RuleContext) -> Iterator[Problem]:
    """Autogenerate cannot tell a rename from a drop and an add (its manual, "What does Autogenerate Not Detect?")."""
    tables = context.tables.branch()
    dropped: list[_Gone] = []
    added: list[_Come] = []
    kinds = {type(operation.op) for operation in revision.upgrade}
    if not kinds & {ops.DropColumnOp, ops.DropTableOp} or not kinds & {ops.AddColumnOp, ops.CreateTableOp}:
        return
    for operation in revision.upgrade:
        dropped += _gone(operation, tables)
        added += _come(operation.op, tables)
        tables.apply(operation.op)
    for gone in dropped:
        come = next((each for each in added if _alike(gone, each, context.facts)), None)
        if come is not None:
            added.remove(come)
        if come is not None and not _copied(gone, come, revision):
            yield _renamed(gone, come, context)


@dataclass
class _Come:
    """What a revision adds: a column of a table, or with None a table; and the columns that it has."""

    table: Name
    column: str | None
    columns: list[KnownColumn]


@dataclass
class _Gone(_Come):
    """What it drops."""

    operation: Operation


def _gone(operation: Operation, tables: KnownSchema) -> Iterator[_Gone]:
    op = operation.op
    if not isinstance(op, ops.DropColumnOp | ops.DropTableOp) or tables.is_new(op.table_name, op.schema):
        return
    key, known = (op.schema, op.table_name), tables.table(op.table_name, op.schema).columns
    if isinstance(op, ops.DropTableOp):
        yield _Gone(key, None, list(known.values()), operation)
    else:
        yield _Gone(key, op.column_name, [known.get(op.column_name) or KnownColumn(op.column_name, None)], operation)


def _come(op: ops.MigrateOperation, tables: KnownSchema) -> Iterator[_Come]:
    if isinstance(op, ops.CreateTableOp):
        columns = [KnownColumn(each.name, each.type) for each in op.columns if isinstance(each, Column)]
        yield _Come((op.schema, op.table_name), None, columns)
    elif isinstance(op, ops.AddColumnOp) and not tables.is_new(op.table_name, op.schema):
        yield _Come((op.schema, op.table_name), op.column.name, [KnownColumn(op.column.name, op.column.type)])


def _alike(gone: _Gone, come: _Come, facts: Facts) -> bool:
    """Columns of one table whose types are of a family; tables that have more than half of their columns in common."""
    if (gone.column is None) != (come.column is None):
        return False
    if gone.column is not None:
        same_table, other_name = gone.table == come.table, gone.column != come.column
        return same_table and other_name and _of_a_kind(gone.columns[0], come.columns[0], facts)
    others = {each.name: each for each in come.columns}
    common = [each for each in gone.columns if each.name in others and _of_a_kind(each, others[each.name], facts)]
    return gone.table != come.table and 2 * len(common) > max(len(gone.columns), len(others))


def _copied(gone: _Gone, come: _Come, revision: Revision) -> bool:
    """Whether a statement of the revision moves the rows, or the values: it has both names in it."""
    (_, table), (_, new_table) = gone.table, come.table
    names = (gone.column, come.column) if gone.column and come.column else (table, new_table)
    texts = [each.op.text for each in revision.upgrade if isinstance(each.op, ChangeRowsOp)]
    return any(all(re.search(rf"\b{re.escape(name)}\b", text) for name in names) for text in texts)


def _of_a_kind(one: KnownColumn, other: KnownColumn, facts: Facts) -> bool:
    """What nobody knows may be."""
    before, after = facts.kind(one.type), facts.kind(other.type)
    return before is None or after is None or before.family == after.family


def _renamed(gone: _Gone, come: _Come, context: RuleContext) -> Problem:
    (schema, table), (_, new_table) = gone.table, come.table
    if gone.column is None:
        what = f"drops table {table} and makes {new_table}, which is like it: the rows are lost"
        line = f"    op.rename_table({table!r}, {new_table!r}{f', schema={schema!r}' if schema else ''})"
    else:
        what = f"drops column {table}.{gone.column} and adds {come.column}, which is like it: the values are lost"
        type_ = come.columns[0].type
        type_ = come.columns[0].type
        renamed = ops.AlterColumnOp(table, gone.column, schema=schema, modify_name=come.column, existing_type=type_)
        line = as_python(renamed, batch=gone.operation.batch)
    return Problem(
        f"{what}, if it is a rename",
        f"rename it, if it is:\n{line}",
        WARNS if context.tables.has_rows(table, schema) is False else None,
        gone.operation.line,
    )
