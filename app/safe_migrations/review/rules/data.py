"""Rules about what happens to rows."""

from collections.abc import Iterator

from ..known_schema import KnownSchema
from ..recorder import Operation, Revision
from ..sql import ChangeRowsOp
from .ddl import altered_tables
from .registry import BLOCKS, SERVERS, WARNS, Problem, RuleContext, rule

VERBS = {"UPDATE": "changes", "MERGE": "changes", "REPLACE": "changes", "DELETE": "deletes", "TRUNCATE": "deletes"}


@rule(BLOCKS, ChangeRowsOp)
def unbounded_data_change(op: ChangeRowsOp, context: RuleContext) -> Problem | None:
    """Each row stays locked until the last one is done, and what was in it is gone."""
    if op.bounded:
        return None
    table, rows = context.facts.quoted(op.table_name, op.schema), "WHERE id BETWEEN 1 AND 1000"
    if VERBS[op.verb] == "changes":
        column = context.facts.quoted(op.columns[0]) if op.columns else "..."
        direction = f"UPDATE {table} SET {column} = ... {rows}"
    else:
        direction = f"DELETE FROM {table} {rows}"
    return Problem(
        f"{VERBS[op.verb]} all rows of {op.table_name} at once, and each stays locked until the last one is done",
        "say which rows; for many of them, a script beside the migrations that commits each batch, for a lock lasts as "
        f"long as its transaction:\n    op.execute({direction!r})",
    )


@rule(WARNS, Revision, on=SERVERS)
def backfill_with_ddl(revision: Revision, context: RuleContext) -> Problem | None:
    """What DDL has locked stays locked while rows change; and where DDL commits, the rows before it are committed."""
    altered = [name for operation, (_, name), is_new in altered_tables(revision, context.tables) if not is_new]
    changed = next(changed_rows(revision, context.tables), None)
    if changed is None or not altered:
        return None
    operation, name = changed
    cost = (
        "each of its DDL statements commits what was changed before it"
        if context.facts.ddl_commits
        else f"nobody can use {altered[0]} until all rows are done"
    )
    return Problem(
        f"changes rows of {name} and alters {altered[0]}, and {cost}",
        f'leave the rows to a revision of their own:\n    flask db revision -m "backfill {name}"',
        line=operation.line,
    )


def changed_rows(revision: Revision, tables: KnownSchema) -> Iterator[tuple[Operation, str]]:
    """Each operation of upgrade() that may take its time with rows that were there before, and their table."""
    tables = tables.branch()
    for operation in revision.upgrade:
        op = operation.op
        if isinstance(op, ChangeRowsOp) and not op.given:
            table = (op.table_name, op.schema)
            if not tables.is_new(*table) and tables.has_rows(*table) is not False:
                yield operation, op.table_name
        tables.apply(op)
