"""Rules about revisions with several DDL statements."""

from collections.abc import Iterator

from alembic.operations import ops

from ..known_schema import KnownSchema, Name
from ..recorder import Operation, Revision
from ..sql import ChangeRowsOp, CommandOp
from .registry import MYSQL, POSTGRESQL, WARNS, Problem, RuleContext, rule
from .suggestions import execute


@rule(WARNS, Revision, on=POSTGRESQL)
def several_tables(revision: Revision, context: RuleContext) -> Problem | None:
    """Report several altered tables: each stays locked to the end, and two in opposite orders deadlock."""
    altered: dict[str, int] = {}
    original: dict[str, str] = {}
    for operation, (_, name), is_new in altered_tables(revision, context.tables):
        name = original.get(name, name)
        if isinstance(operation.op, ops.RenameTableOp):
            original[str(operation.op.new_table_name)] = name
        if not is_new and not operation.autocommit:
            altered.setdefault(name, operation.line)
    if len(altered) < 2:
        return None
    names, lines = list(altered), list(altered.values())
    return Problem(
        f"alters {', '.join(names[:-1])} and {names[-1]}, and each stays locked until the end of the revision",
        f'alter one table per revision:\n    flask db revision -m "alter {names[-1]}"',
        line=lines[1],
    )


@rule(WARNS, Revision, on=MYSQL)
def several_ddl(revision: Revision, context: RuleContext) -> Problem | None:
    """Report several DDL statements: each commits, and a full disk or a lost server can keep the undo from running."""
    found = list(altered_tables(revision, context.tables))
    altered = [(operation, table) for operation, table, is_new in found if not is_new]
    if len(found) < 2 or not altered:
        return None
    operation, (schema, name) = altered[-1]
    return Problem(
        f"has {len(found)} DDL statements, and the server commits after each of them; if one fails, those before it"
        " have to be reverted",
        f"move the changes to {name} into a separate revision, as one ALTER TABLE if possible:\n"
        + execute(f"ALTER TABLE {context.facts.quoted(name, schema)} ADD ..., ADD ..."),
        line=operation.line,
    )


def altered_tables(revision: Revision, tables: KnownSchema) -> Iterator[tuple[Operation, Name, bool]]:
    """Yield each DDL statement on a table in upgrade(): its first operation, the table, and if this run creates it."""
    tables = tables.branch()
    before: tuple[object, object] | None = None
    for operation in revision.upgrade:
        op, table = operation.op, tables.of(operation.op)
        statement = (operation.statement or op, table)
        was_new = table is not None and tables.is_new(*table)
        tables.apply(op)
        if table is not None and _is_ddl(operation) and statement != before:
            yield operation, (table[1], table[0]), was_new or tables.is_new(*table)
        before = statement


def _is_ddl(operation: Operation) -> bool:
    op = operation.op
    if isinstance(op, CommandOp):
        return (operation.statement or "").upper().startswith("ALTER") and not op.keeps_schema
    return not isinstance(op, ChangeRowsOp | ops.BulkInsertOp | ops.ExecuteSQLOp)
