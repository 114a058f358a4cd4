"""Rules about revisions that have several DDL statements."""

from collections.abc import Iterator

from alembic.operations import ops

from ..known_schema import KnownSchema, Name
from ..recorder import Operation, Revision
from ..sql import ChangeRowsOp, CommandOp
from .registry import MYSQL, POSTGRESQL, WARNS, Problem, RuleContext, rule


@rule(WARNS, Revision, on=POSTGRESQL)
def several_tables(revision: Revision, context: RuleContext) -> Problem | None:
    """Each table stays locked until the last one is done, and two that lock in another order wait for each other."""
    altered: dict[str, int] = {}
    was: dict[str, str] = {}
    for operation, (_, name), is_new in altered_tables(revision, context.tables):
        name = was.get(name, name)
        if isinstance(operation.op, ops.RenameTableOp):
            was[str(operation.op.new_table_name)] = name
        if not is_new and not operation.autocommit:
            altered.setdefault(name, operation.line)
    if len(altered) < 2:
        return None
    names, lines = list(altered), list(altered.values())
    return Problem(
        f"alters {', '.join(names[:-1])} and {names[-1]}, and each stays locked until all is done",
        f'alter one table in each revision:\n    flask db revision -m "alter {names[-1]}"',
        line=lines[1],
    )


@rule(WARNS, Revision, on=MYSQL)
def several_ddl(revision: Revision, context: RuleContext) -> Problem | None:
    """Each commits; what is done has to be undone by statements, which a full disk or a lost server may prevent."""
    found = list(altered_tables(revision, context.tables))
    altered = [(operation, table) for operation, table, is_new in found if not is_new]
    if len(found) < 2 or not altered:
        return None
    operation, (schema, name) = altered[-1]
    statement = f"ALTER TABLE {context.facts.quoted(name, schema)} ADD ..., ADD ..."
    return Problem(
        f"has {len(found)} DDL statements, and each commits: if one fails, those before it have to be undone",
        f"give what concerns {name} a revision of its own, and one statement where that can be:\n"
        f"    op.execute({statement!r})",
        line=operation.line,
    )


def altered_tables(revision: Revision, tables: KnownSchema) -> Iterator[tuple[Operation, Name, bool]]:
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
        is_alter = (operation.statement or "").upper().startswith("ALTER")
        return isinstance(op, CommandOp) and is_alter and not op.keeps_schema
    return True
