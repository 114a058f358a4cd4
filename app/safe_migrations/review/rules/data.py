"""Rules about what happens to rows."""

from collections.abc import Iterator

from ..known_schema import KnownSchema
from ..recorder import Operation, Revision
from ..sql import ChangeRowsOp
from .ddl import altered_tables
from .paste import execute
from .registry import BLOCKS, SERVERS, WARNS, Problem, RuleContext, rule

VERBS = {"UPDATE": "changes", "MERGE": "changes", "REPLACE": "changes", "DELETE": "deletes", "TRUNCATE": "deletes"}


@rule(BLOCKS, ChangeRowsOp)
def unbounded_data_change(op: ChangeRowsOp, context: RuleContext) -> Problem | None:
    """Report a statement on all rows: data is lost, and each row stays locked until the last one is done."""
    if op.bounded:
        return None
    table, column = context.table_sql(op), context.facts.quoted(op.columns[0]) if op.columns else "..."
    statement = f"UPDATE {table} SET {column} = ..." if VERBS[op.verb] == "changes" else f"DELETE FROM {table}"
    return Problem(
        f"{VERBS[op.verb]} all rows of {op.table_name} at once; each stays locked until the last one is done",
        "say which rows; for many of them use a script outside the migrations that commits each batch, because a lock"
        f" lasts as long as its transaction:\n{execute(f'{statement} WHERE id BETWEEN 1 AND 1000')}",
    )


@rule(WARNS, Revision, on=SERVERS)
def backfill_with_ddl(revision: Revision, context: RuleContext) -> Problem | None:
    """Report rows that change while tables are locked by DDL, or that DDL commits on MySQL and MariaDB."""
    altered = [name for operation, (_, name), is_new in altered_tables(revision, context.tables) if not is_new]
    changed = next(changed_rows(revision, context.tables), None)
    if changed is None or not altered:
        return None
    operation, name = changed
    cost = (
        "each DDL statement commits the changes before it"
        if context.facts.ddl_commits
        else f"{altered[0]} stays locked for the whole update"
    )
    return Problem(
        f"changes rows of {name} and alters {altered[0]} in one revision: {cost}",
        f'move the row changes to a separate revision:\n    flask db revision -m "backfill {name}"',
        line=operation.line,
    )


def changed_rows(revision: Revision, tables: KnownSchema) -> Iterator[tuple[Operation, str]]:
    """Yield each operation of upgrade() that may take long on existing rows, and their table."""
    tables = tables.branch()
    for operation in revision.upgrade:
        op = operation.op
        if isinstance(op, ChangeRowsOp) and not op.given:
            table = (op.table_name, op.schema)
            if not tables.is_new(*table) and tables.has_rows(*table) is not False:
                yield operation, op.table_name
        tables.apply(op)
