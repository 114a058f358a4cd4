"""Rules about what happens to rows."""

from collections.abc import Iterator

from alembic.operations import ops

from app.safe_migrations.operations import Operation, Revision
from app.safe_migrations.rules.registry import BLOCKS, WARNS, Case, Problem, rule
from app.safe_migrations.sql import ChangeRowsOp, CommandOp
from app.safe_migrations.tables import Name, Tables

VERBS = {"UPDATE": "changes", "MERGE": "changes", "DELETE": "deletes", "TRUNCATE": "deletes"}


@rule(BLOCKS, ChangeRowsOp)
def unbounded_data_change(op: ChangeRowsOp, case: Case) -> Problem | None:
    """Each row stays locked until the last one is done, and what was in it is gone."""
    if op.bounded:
        return None
    table, rows = case.facts.quoted(op.table_name, op.schema), "WHERE id BETWEEN 1 AND 1000"
    if VERBS[op.verb] == "changes":
        column = case.facts.quoted(op.columns[0]) if op.columns else "..."
        way = f"UPDATE {table} SET {column} = ... {rows}"
    else:
        way = f"DELETE FROM {table} {rows}"
    return Problem(
        f"{VERBS[op.verb]} all rows of {op.table_name} at once, and each stays locked until the last one is done",
        "say which rows; for many of them, a script beside the migrations that commits each batch, for a lock lasts as "
        f"long as its transaction:\n    op.execute({way!r})",
    )


@rule(WARNS, Revision, applies=lambda facts: not facts.one_writer)
def backfill_with_ddl(revision: Revision, case: Case) -> Problem | None:
    """What DDL has locked stays locked while rows change; and where DDL commits, the rows before it are committed."""
    altered = [name for operation, (_, name), is_new in altered_tables(revision, case.tables) if not is_new]
    changed = next(changed_rows(revision, case.tables), None)
    if changed is None or not altered:
        return None
    operation, name = changed
    cost = (
        "each of its DDL statements commits what was changed before it"
        if case.facts.ddl_commits
        else f"nobody can use {altered[0]} until all rows are done"
    )
    return Problem(
        f"changes rows of {name} and alters {altered[0]}, and {cost}",
        f'leave the rows to a revision of their own:\n    flask db revision -m "backfill {name}"',
        line=operation.line,
    )


def altered_tables(revision: Revision, tables: Tables) -> Iterator[tuple[Operation, Name, bool]]:
    """Each DDL statement of upgrade() on a table: its first operation, the table, whether this run makes it."""
    tables = tables.branch()
    before: tuple[object, object] | None = None
    for operation in revision.upgrade:
        op, table = operation.op, tables.of(operation.op)
        statement = (operation.statement or op, table)
        was_new = table is not None and tables.is_new(*table)
        tables.apply(op)
        if table is not None and is_ddl(operation) and statement != before:
            yield operation, (table[1], table[0]), was_new or tables.is_new(*table)
        before = statement


def is_ddl(operation: Operation) -> bool:
    """Whether it makes, alters or drops a table, or something of it."""
    op = operation.op
    if isinstance(op, (CommandOp, ChangeRowsOp, ops.BulkInsertOp, ops.ExecuteSQLOp)):
        return isinstance(op, CommandOp) and (operation.statement or "").upper().startswith("ALTER")
    return True


def changed_rows(revision: Revision, tables: Tables) -> Iterator[tuple[Operation, str]]:
    """Each operation of upgrade() that may take its time with rows that were there before, and their table."""
    tables = tables.branch()
    for operation in revision.upgrade:
        op = operation.op
        if isinstance(op, ChangeRowsOp) and not op.given:
            table = (op.table_name, op.schema)
            if not tables.is_new(*table) and tables.has_rows(*table) is not False:
                yield operation, op.table_name
        tables.apply(op)
