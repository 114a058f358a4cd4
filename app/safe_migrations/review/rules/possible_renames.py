"""The rule about a drop and an add that look like a rename."""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

from alembic.operations import ops
from sqlalchemy import Column, Uuid

from ...adapters.casts import Kind
from ...adapters.facts import Facts
from ..known_schema import KnownColumn, KnownSchema, Name
from ..recorder import Operation, Revision
from ..sql.ops import ChangeRowsOp
from .registry import BLOCKS, WARNS, Problem, RuleContext, rule
from .suggestions import execute
from .tables import rebuild_of

UUID_SIZES = (32, 36)
"""The lengths of a text that may contain UUIDs: without hyphens, as SQLAlchemy stores them, or with hyphens."""


@dataclass(eq=False)
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
    """Report a drop and an add of similar columns or tables, which may be a rename, the most similar names first.

    Autogenerate writes a rename as these two (Alembic's manual, "What does Autogenerate Not Detect?"). What is dropped
    and added under the same name is not renamed.
    """
    kinds = {type(operation.op) for operation in revision.reached("upgrade")}
    if kinds.isdisjoint({ops.DropColumnOp, ops.DropTableOp}) or kinds.isdisjoint({ops.AddColumnOp, ops.CreateTableOp}):
        return
    tables, dropped, added = context.tables.branch(), list[_Thing](), list[_Thing]()
    for operation in revision.reached("upgrade"):
        at = replace(context, operation=operation, tables=tables)
        if (thing := _dropped(operation, tables)) is not None and rebuild_of(at) is None:
            dropped.append(thing)
        if (thing := _added(operation, tables)) is not None:
            added.append(thing)
        tables.apply(operation.op)
    both = {(each.table, each.column) for each in dropped} & {(each.table, each.column) for each in added}
    old_ones, new_ones = (
        [each for each in found if (each.table, each.column) not in both] for found in (dropped, added)
    )
    pairs = [(old, new) for old in old_ones for new in new_ones if _alike(old, new, context.facts)]
    for old, new in sorted(pairs, key=lambda pair: name_similarity(pair[0].name, pair[1].name), reverse=True):
        if old in old_ones and new in new_ones:
            old_ones.remove(old)
            new_ones.remove(new)
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
        columns = [known_column(each) for each in op.columns if isinstance(each, Column)]
        return _Thing((op.schema, op.table_name), None, columns, operation)
    if isinstance(op, ops.AddColumnOp) and not tables.is_new(op.table_name, op.schema):
        column = known_column(op.column)
        return _Thing((op.schema, op.table_name), column.name, [column], operation)
    return None


def _alike(old: _Thing, new: _Thing, facts: Facts) -> bool:
    if old.column is None or new.column is None:
        return old.column is new.column and old.table != new.table and tables_fit(old.columns, new.columns, facts)
    return old.table == new.table and columns_fit(old.columns[0], new.columns[0], facts)


def known_column(column: "Column[Any]") -> KnownColumn:
    """Return what columns_fit() and tables_fit() compare of a column."""
    return KnownColumn(column.name, column.type, default=column.server_default)


def tables_fit(old: Collection[KnownColumn], new: Collection[KnownColumn], facts: Facts) -> bool:
    """Return True if a table may be the other one renamed: more than half of the columns of the larger one are in both.

    These have the same name, and types that have values in common.
    """
    others = {each.name: each for each in new}
    common = [each for each in old if each.name in others and _types_fit(each, others[each.name], facts)]
    return len(common) > max(len(old), len(new)) / 2


def columns_fit(old: KnownColumn, new: KnownColumn, facts: Facts) -> bool:
    """Return True if a column may be the other one renamed: their types have values in common.

    Return False if one of them is generated: its values are computed again, not lost.
    """
    return not (old.is_generated or new.is_generated) and _types_fit(old, new, facts)


def name_similarity(old: str, new: str) -> float:
    """Return how similar two names are, from 0 to 1. Of the pairs that fit, those with the most similar names count."""
    return SequenceMatcher(None, old.lower(), new.lower()).ratio()


def _types_fit(old: KnownColumn, new: KnownColumn, facts: Facts) -> bool:
    """Return True if the types of both columns belong to one family, e.g. text, or if a type is unknown.

    SQLite and MySQL store a UUID as a text; only a text of that length can be renamed to a UUID, or the reverse.
    """
    kinds = facts.kind(old.type), facts.kind(new.type)
    if kinds[0] is None or kinds[1] is None:
        return True
    texts = [kind for kind, each in zip(kinds, (old, new), strict=True) if kind and not _is_uuid(each, kind)]
    if len(texts) == 1:
        return texts[0].family == "text" and texts[0].size in UUID_SIZES
    return not texts or kinds[0].family == kinds[1].family


def _is_uuid(column: KnownColumn, kind: Kind) -> bool:
    return kind.family == "uuid" or isinstance(getattr(column.type, "impl_instance", column.type), Uuid)


def _is_copied(old: _Thing, new: _Thing, revision: Revision) -> bool:
    """Return True if a statement that changes rows contains both names, e.g. an UPDATE that copies old to new."""
    texts = [each.op.text for each in revision.reached("upgrade") if isinstance(each.op, ChangeRowsOp)]
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
