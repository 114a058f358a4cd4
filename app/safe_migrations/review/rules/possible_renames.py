"""The rule about a drop and an add that look like a rename."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from alembic.operations import ops
from sqlalchemy import Column

from ...adapters.facts import Facts
from ..known_schema import KnownColumn, KnownSchema, Name
from ..recorder import Operation, Revision
from ..sql.ops import ChangeRowsOp
from .registry import BLOCKS, WARNS, Problem, RuleContext, rule
from .suggestions import execute


@dataclass
class _Thing:
    """A column or table that a revision drops or adds; ``columns`` is that one column, or all columns of the table."""

    table: Name
    column: str | None
    columns: list[KnownColumn]
    operation: Operation

    @property
    def name(self) -> str:
        """Return the name of the column, or for a table the name of the table."""
        return self.column or self.table[1]


@rule(BLOCKS, Revision)
def possible_rename(revision: Revision, context: RuleContext) -> Iterator[Problem]:
    """Report a drop and an add of similar columns or tables, which may be a rename.

    Autogenerate writes a rename as these two (Alembic's manual, "What does Autogenerate Not Detect?").
    """
    kinds = {type(operation.op) for operation in revision.upgrade}
    if kinds.isdisjoint({ops.DropColumnOp, ops.DropTableOp}) or kinds.isdisjoint({ops.AddColumnOp, ops.CreateTableOp}):
        return
    tables, dropped, added = context.tables.branch(), list[_Thing](), list[_Thing]()
    for operation in revision.upgrade:
        if (thing := _dropped(operation, tables)) is not None:
            dropped.append(thing)
        if (thing := _added(operation, tables)) is not None:
            added.append(thing)
        tables.apply(operation.op)
    for old in dropped:
        new = next((each for each in added if _alike(old, each, context.facts)), None)
        if new is not None:
            added.remove(new)
            if not _is_copied(old, new, revision):
                yield _renamed(old, new, context)


def _dropped(operation: Operation, tables: KnownSchema) -> _Thing | None:
    op = operation.op
    if not isinstance(op, ops.DropColumnOp | ops.DropTableOp) or tables.is_new(op.table_name, op.schema):
        return None
    key, columns = (op.schema, op.table_name), tables.table(op.table_name, op.schema).columns
    if isinstance(op, ops.DropTableOp):
        return _Thing(key, None, list(columns.values()), operation)
    return _Thing(key, op.column_name, [columns.get(op.column_name, KnownColumn(op.column_name, None))], operation)


def _added(operation: Operation, tables: KnownSchema) -> _Thing | None:
    op = operation.op
    if isinstance(op, ops.CreateTableOp):
        columns = [KnownColumn(each.name, each.type) for each in op.columns if isinstance(each, Column)]
        return _Thing((op.schema, op.table_name), None, columns, operation)
    if isinstance(op, ops.AddColumnOp) and not tables.is_new(op.table_name, op.schema):
        column = KnownColumn(op.column.name, op.column.type)
        return _Thing((op.schema, op.table_name), column.name, [column], operation)
    return None


def _alike(old: _Thing, new: _Thing, facts: Facts) -> bool:
    if old.column is None or new.column is None:
        more_than_half = similarity(old.columns, new.columns, facts) > 0.5
        return old.column is new.column and old.table != new.table and more_than_half
    return old.table == new.table and old.column != new.column and same_family(old.columns[0], new.columns[0], facts)


def similarity(old: Collection[KnownColumn], new: Collection[KnownColumn], facts: Facts) -> float:
    """Return the share, from 0 to 1, of columns that two tables have in common: same name and family of type."""
    others = {each.name: each for each in new}
    common = [each for each in old if each.name in others and same_family(each, others[each.name], facts)]
    return len(common) / max(len(old), len(new), 1)


def same_family(old: KnownColumn, new: KnownColumn, facts: Facts) -> bool:
    """Return True if the types of both columns belong to one family, e.g. text, or if a type is unknown."""
    before, after = facts.kind(old.type), facts.kind(new.type)
    return before is None or after is None or before.family == after.family


def _is_copied(old: _Thing, new: _Thing, revision: Revision) -> bool:
    """Return True if a statement that changes rows contains both names, e.g. an UPDATE that copies old to new."""
    texts = [each.op.text for each in revision.upgrade if isinstance(each.op, ChangeRowsOp)]
    return any(all(re.search(rf"\b{re.escape(each.name)}\b", text) for each in (old, new)) for text in texts)


def rename_column_sql(table: Name, old: str, new: str, facts: Facts) -> str:
    """Return ALTER TABLE ... RENAME COLUMN, which runs on all databases and changes only the name.

    Alembic would write CHANGE on MySQL, which redefines the column.
    """
    return f"ALTER TABLE {facts.quoted(table[1], table[0])} RENAME COLUMN {facts.quoted(old)} TO {facts.quoted(new)}"


def _renamed(old: _Thing, new: _Thing, context: RuleContext) -> Problem:
    schema, table = old.table
    if old.column is None:
        what, lost = f"drops table {table} and creates {new.name}", "the rows"
        line = f"    op.rename_table({table!r}, {new.name!r}{f', schema={schema!r}' if schema else ''})"
    else:
        what, lost = f"drops column {table}.{old.name} and adds {new.name}", "the data"
        line = execute(rename_column_sql(old.table, old.name, new.name, context.facts))
    return Problem(
        f"{what}, which looks like a rename; if it is, this loses {lost}",
        f"if it is a rename, replace the drop and the add with:\n{line}",
        WARNS if context.tables.has_rows(table, schema) is False else None,
        old.operation.line,
    )
