"""Rules about what happens to rows."""

from collections.abc import Iterator

from alembic.operations import ops

from ..known_schema import KnownSchema, Name
from ..recorder import Operation, Revision
from ..sql import ChangeRowsOp, CommandOp
from .ddl import altered_tables
from .registry import BLOCKS, BOTH, MYSQL, SERVERS, WARNS, Problem, RuleContext, rule
from .suggestions import execute

COMMITS = {"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE", "GRANT", "REVOKE", "ANALYZE", "OPTIMIZE", "REPAIR"}
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


@rule(WARNS, Revision, on=SERVERS, directions=BOTH)
def backfill_with_ddl(revision: Revision, context: RuleContext) -> Problem | None:
    """Report rows that change while tables are locked by DDL, or that DDL commits on MySQL and MariaDB."""
    if context.facts.product in MYSQL:
        return _committed_rows(getattr(revision, context.direction), context)
    if context.direction != "upgrade":
        return None
    altered = [name for operation, (_, name), is_new in altered_tables(revision, context.tables) if not is_new]
    changed = next(changed_rows(revision, context.tables), None)
    if changed is None or not altered:
        return None
    operation, name = changed
    return Problem(
        f"changes rows of {name} and alters {altered[0]} in one revision: {altered[0]} is locked for the whole update",
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


def _committed_rows(operations: list[Operation], context: RuleContext) -> Problem | None:
    """Find rows that a later DDL statement commits: an undo does not restore them.

    Rows of a table and values of a column that the revision creates are exempt: the undo removes all of that.
    """
    tables = context.tables.branch()
    created: set[Name] = set()
    added: set[tuple[Name, str]] = set()
    changed: tuple[Operation, str] | None = None
    for operation in operations:
        op, rows = operation.op, _table_of_rows(operation.op)
        if changed is not None and commits(operation):
            name = changed[1]
            return Problem(
                f"changes rows of {name} before a DDL statement, which commits them: if the revision fails after that,"
                " they are not restored",
                "run all DDL first, then change the rows; or change them in a revision of their own:\n"
                f'    flask db revision -m "backfill {name}"',
                BLOCKS,
                changed[0].line,
            )
        if rows is not None and rows not in created and changed is None:
            only_added = (
                isinstance(op, ChangeRowsOp) and op.columns and all((rows, name) in added for name in op.columns)
            )
            side_effects = any(map(tables.finds, context.mysql.changed_by_update(rows[1], rows[0])))
            if (side_effects or not only_added) and _may_change_rows(op, rows, tables):
                changed = operation, rows[1]
        _follow_created(op, created, added)
        tables.apply(op)
    return None


def _follow_created(op: ops.MigrateOperation, created: set[Name], added: set[tuple[Name, str]]) -> None:
    """Take note of tables and columns that an operation creates."""
    if isinstance(op, ops.CreateTableOp):
        created.add((op.schema, op.table_name))
    elif isinstance(op, ops.RenameTableOp):
        old, new = (op.schema, op.table_name), (op.schema, str(op.new_table_name))
        is_new = old in created
        created.discard(old)
        (created.add if is_new else created.discard)(new)
    elif isinstance(op, ops.AddColumnOp):
        added.add(((op.schema, op.table_name), op.column.name))


def _may_change_rows(op: ops.MigrateOperation, table: Name, tables: KnownSchema) -> bool:
    """Return True unless the table is known to have no rows that the operation could change."""
    adds = not isinstance(op, ChangeRowsOp) or op.verb in ("INSERT", "REPLACE", "MERGE")
    stored = tables.table(table[1], table[0]).stored_as
    return adds or stored is None or tables.has_rows(stored, table[0]) is not False


def _table_of_rows(op: ops.MigrateOperation) -> Name | None:
    """Return the table whose rows an operation changes in the transaction; TRUNCATE is DDL."""
    if isinstance(op, ops.BulkInsertOp):
        return op.table.schema, op.table.name
    return (op.schema, op.table_name) if isinstance(op, ChangeRowsOp) and op.verb != "TRUNCATE" else None


def commits(operation: Operation) -> bool:
    """Return True if MySQL and MariaDB commit before they run the operation."""
    op = operation.op
    if isinstance(op, ChangeRowsOp):
        return op.verb == "TRUNCATE"
    if isinstance(op, CommandOp):
        return (operation.statement or op.words).upper().split()[0] in COMMITS
    return not isinstance(op, (ops.BulkInsertOp, ops.ExecuteSQLOp))
