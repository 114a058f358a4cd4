"""Rules about revisions that change rows, or that have several DDL statements."""

import re
from collections.abc import Collection, Iterator

from alembic.operations import ops

from ...adapters.sql_words import statements
from ..findings import assurance_line
from ..known_schema import KnownSchema, Name
from ..recorder import Operation, Revision
from ..sql.ops import BackfillOp, ChangeRowsOp, CommandOp
from .columns import adds_columns
from .registry import BLOCKS, BOTH, MYSQL, POSTGRESQL, SERVERS, WARNS, Problem, RuleContext, rule
from .suggestions import as_backfill, execute, new_revision, with_condition

DDL = {"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE", "GRANT", "REVOKE", "ANALYZE", "OPTIMIZE", "REPAIR"}
NOT_NULL = re.compile(
    r"""\s*(UPDATE|DELETE)\b((?!\b(WHERE|JOIN)\b).)*\bWHERE[\s(]+(["`\w]+\.)?["`]?(?P<name>\w+)["`]?"""
    r"\s+IS\s+NOT\s+NULL[\s;)]*",
    re.IGNORECASE | re.DOTALL,
)
"""Matches an UPDATE or DELETE of one table with a single condition, that a column is NOT NULL."""
LITERAL = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)
VERBS = {"UPDATE": "changes", "REPLACE": "changes", "DELETE": "deletes", "TRUNCATE": "deletes"}


@rule(BLOCKS, ChangeRowsOp)
def unbounded_data_change(op: ChangeRowsOp, context: RuleContext) -> Problem | None:
    """Report a statement that changes or deletes all rows of a table: old values are lost, and rows stay locked.

    It may be an UPDATE, DELETE, TRUNCATE, or an INSERT ... SELECT that overwrites rows. A row stays locked until the
    last row is done.
    """
    if op.bounded and not _selects_all(op, context):
        return None
    if isinstance(op, BackfillOp):
        return _overwritten(op, context)
    if context.facts.locks_out_writers and op.columns and adds_columns(op, set(op.columns), context):
        return None
    harm, because = "each row stays locked until the last one is done", "rows stay locked"
    if context.facts.locks_out_writers:
        harm, because = "the old values are lost", "other sessions cannot write"
    what = f"{VERBS[op.verb]} all rows of {op.table_name} at once; {harm}"
    words = [word for each in statements(op.text, context.facts) for word in each.keywords.split(" ")]
    if context.facts.pipes_are_or and "||" in words:
        what += "; its || is OR on this database, unless sql_mode has PIPES_AS_CONCAT: use concat() to join texts"
    if line := as_backfill(op.text, context.facts, _never_null(op, context)):
        return Problem(
            what, f"say which rows, and change them in batches, in a separate revision if this one does more:\n{line}"
        )
    known = context.tables.table(op.table_name, op.schema)
    key = context.facts.quoted(known.primary_key[0] if known.primary_key else "id")
    some = with_condition(op.text, f"{key} BETWEEN 1 AND 1000", context.facts)
    if not some and op.verb in ("UPDATE", "DELETE"):
        return Problem(
            what,
            "select rows with a WHERE; or, to change all in batches, write op.backfill() in a separate revision, with"
            " the values themselves in place of parameters",
        )
    some = some or f"DELETE FROM {context.table_sql(op)} WHERE {key} BETWEEN 1 AND 1000"
    return Problem(
        what,
        f"for many rows, write a script outside the migrations that commits after each batch, because {because} until"
        f" the commit; for few, select them with a WHERE:\n{execute(some)}",
    )


def _selects_all(op: ChangeRowsOp, context: RuleContext) -> bool:
    """Return True if the only condition is that a column IS NOT NULL which is known to be NOT NULL."""
    found = NOT_NULL.fullmatch(op.text)
    column = context.tables.column(op.table_name, found["name"], op.schema) if found else None
    return column is not None and column.nullable is False


def _overwritten(op: BackfillOp, context: RuleContext) -> Problem | None:
    """Return the problem of a backfill of all rows, unless only columns get values that are new and have none yet."""
    columns = [context.tables.column(op.table_name, name, op.schema) for name in op.columns]
    if all(column is not None and column.unfilled for column in columns):
        return None
    never_null, known = _never_null(op, context), context.tables.table(op.table_name, op.schema)
    line = as_backfill(op, context.facts, never_null)
    some = f"sa.column({op.columns[0]!r}).is_(None)"
    if op.columns[0] in never_null:
        some = f"sa.column({known.primary_key[0] if known.primary_key else 'id'!r}) <= 1000"
    where = f":\n{line}" if line else f", such as where={some}"
    return Problem(
        f"overwrites {' and '.join(op.columns)} in all rows of {op.table_name}; the old values are lost, as are those"
        " that running code has written",
        f"say which rows{where}",
    )


def _never_null(op: ChangeRowsOp, context: RuleContext) -> set[str]:
    """Return the columns that the operation sets and that certainly have no NULL."""
    columns = [context.tables.column(op.table_name, name, op.schema) for name in op.columns]
    return {column.name for column in columns if column is not None and column.nullable is False}


@rule(BLOCKS, Revision, on=SERVERS, directions=BOTH)
def backfill_not_alone(revision: Revision, context: RuleContext) -> Problem | None:
    """Report op.backfill() beside other operations: its batches are committed, so a failed revision remains in part.

    Other backfills are fine, as is what a second run repeats without harm, such as SET and ANALYZE.
    """
    operations: list[Operation] = getattr(revision, context.direction)
    backfills = [(each.op, each.line) for each in operations if isinstance(each.op, BackfillOp)]
    if not backfills or len(backfills) == sum(not _may_repeat(each.op) for each in operations):
        return None
    op, line = backfills[0]
    has_rows = [context.tables.has_rows(each.table_name, each.schema) for each, _ in backfills]
    return Problem(
        f"runs op.backfill() of {op.table_name} beside other operations; its batches are committed, so if the revision"
        " fails, a part of it remains",
        f"move the backfill to a separate revision:\n{new_revision(f'backfill {op.table_name}')}",
        WARNS if all(found is False for found in has_rows) else None,
        line=line,
    )


def _may_repeat(op: ops.MigrateOperation) -> bool:
    return isinstance(op, CommandOp) and op.keeps_schema


@rule(WARNS, Revision, on=POSTGRESQL)
def autocommit_not_alone(revision: Revision, _context: RuleContext) -> Problem | None:
    """Report DDL before an autocommit block, which commits it: if the revision fails later, the next run fails there.

    What the next run can repeat is fine, such as CREATE TABLE IF NOT EXISTS and CREATE OR REPLACE VIEW.
    """
    operations = revision.upgrade
    blocks = (number for number, each in enumerate(operations) if each.autocommit and not each.elsewhere)
    last_block = max(blocks, default=0)
    for each in operations[:last_block]:
        if not each.autocommit and _is_ddl(each, DDL) and not _may_repeat(each.op) and not _is_conditional(each):
            return Problem(
                "has DDL before an autocommit block, which commits it; if the revision fails later, this DDL remains,"
                f' and the next run fails with "{_error_of_repeating(each.op)}"',
                f"move the block to a separate revision:\n{new_revision('run the autocommit block')}",
                line=each.line,
            )
    return None


def _error_of_repeating(op: ops.MigrateOperation) -> str:
    drops = isinstance(op, ops.DropTableOp | ops.DropColumnOp | ops.DropConstraintOp | ops.DropIndexOp)
    return "does not exist" if drops or getattr(op, "drops", False) else "already exists"


def _is_conditional(operation: Operation) -> bool:
    """Return True for DDL with IF EXISTS, IF NOT EXISTS or OR REPLACE, which a second run can repeat."""
    op = operation.op
    if getattr(op, "if_not_exists", None) or getattr(op, "if_exists", None):
        return True
    statement = LITERAL.sub(" ", operation.statement or str(getattr(op, "words", "")))
    return re.search(r"(?i)\bIF\s+(NOT\s+)?EXISTS\b|\bCREATE\s+OR\s+REPLACE\b", statement) is not None


@rule(BLOCKS, BackfillOp, on=SERVERS, directions=BOTH)
def backfill_without_key(op: BackfillOp, context: RuleContext) -> Problem | None:
    """Report op.backfill() of a table without a primary key, by whose order it goes, or of a column in that key."""
    known = context.tables.table(op.table_name, op.schema)
    if not known.columns or (known.primary_key and not set(known.primary_key) & set(op.columns)):
        return None
    line = execute(op.sql(context.facts.sql_dialect))
    assured = "" if op.bounded else f"\nwith this line in the script:\n    {assurance_line('unbounded-data-change')}"
    line += assured
    fails = context.tables.has_rows(op.table_name, op.schema) is True
    if not known.primary_key:
        return Problem(
            f"runs op.backfill() of {op.table_name}, which has no primary key, by whose order it changes rows",
            f"first add a primary key to {op.table_name}; or, if it has few rows, change them at once:\n{line}",
            fails=fails,
        )
    return Problem(
        f"changes the primary key of {op.table_name} by op.backfill(), which goes through the rows in its order",
        f"change all rows at once, in a quiet period:\n{line}",
        fails=fails,
    )


@rule(WARNS, Revision, on=POSTGRESQL)
def backfill_with_ddl(revision: Revision, context: RuleContext) -> Problem | None:
    """Report a revision that changes rows and alters a table: the table stays locked until all rows are changed."""
    changed = next(_changed_rows(revision, context.tables), None)
    if changed is None:
        return None
    altered = [name for _, (_, name), is_new in _altered_tables(revision, context.tables) if not is_new]
    if not altered:
        return None
    operation, name = changed
    return Problem(
        f"changes rows of {name} and alters {altered[0]} in one revision; {altered[0]} stays locked until"
        " all rows are changed",
        "move the row changes to a separate revision:\n" + new_revision(f"backfill {name}"),
        line=operation.line,
    )


def _changed_rows(revision: Revision, tables: KnownSchema) -> Iterator[tuple[Operation, str]]:
    """Yield each operation of upgrade() that may change many rows of an existing table, and the table's name."""
    if not any(isinstance(operation.op, ChangeRowsOp) for operation in revision.upgrade):
        return
    tables = tables.branch()
    for operation in revision.upgrade:
        op = operation.op
        if isinstance(op, ChangeRowsOp) and not (op.given or op.in_batches):
            table = (op.table_name, op.schema)
            if not tables.is_new(*table) and tables.has_rows(*table) is not False:
                yield operation, op.table_name
        tables.apply(op)


@rule(BLOCKS, Revision, on=MYSQL, directions=BOTH, code="backfill-with-ddl")
def rows_before_ddl(revision: Revision, context: RuleContext) -> Problem | None:
    """Report changed rows before a DDL statement, which commits them: if the revision fails, they are not restored.

    Rows of a table and values of a column that the same revision creates are exempt: if the revision fails, the table
    or column is dropped.
    """
    if not any(_table_of_rows(operation.op) for operation in getattr(revision, context.direction)):
        return None
    tables = context.tables.branch()
    tables.begin_run()
    added: set[tuple[Name, str]] = set()
    changed: tuple[int, str] | None = None
    for operation in getattr(revision, context.direction):
        op, rows = operation.op, _table_of_rows(operation.op)
        if changed is not None and _is_ddl(operation, DDL):
            line, name = changed
            return Problem(
                f"changes rows of {name} before a DDL statement, which commits the changes; if the revision fails after"
                " that, the old rows are not restored",
                "run all DDL statements first and change the rows last, or change the rows in a separate revision:\n"
                + new_revision(f"backfill {name}"),
                line=line,
            )
        if rows is not None and changed is None and not tables.is_new(rows[1], rows[0]):
            columns = {(rows, name) for name in op.columns} if isinstance(op, ChangeRowsOp) else set()
            side_effects = any(map(tables.finds, context.mysql.changed_by_update(rows[1], rows[0])))
            if (side_effects or not columns or columns - added) and _may_change_rows(op, rows, tables):
                changed = operation.line, rows[1]
        if isinstance(op, ops.AddColumnOp):
            added.add(((op.schema, op.table_name), op.column.name))
        tables.apply(op)
    return None


@rule(WARNS, Revision, on=POSTGRESQL)
def several_tables(revision: Revision, context: RuleContext) -> Problem | None:
    """Report a revision that alters several tables: each table stays locked until the revision ends.

    A session that locks the same tables in the opposite order can then deadlock with the revision.
    """
    if len({context.tables.of(operation.op) for operation in revision.upgrade} - {None}) < 2:
        return None
    altered: dict[str, int] = {}
    original: dict[str, str] = {}
    for operation, (_, name), is_new in _altered_tables(revision, context.tables):
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
        "alter one table per revision:\n" + new_revision(f"alter {names[-1]}"),
        line=lines[1],
    )


@rule(WARNS, Revision, on=MYSQL)
def several_ddl(revision: Revision, context: RuleContext) -> Problem | None:
    """Report values that a DDL statement deletes before another one that can fail on existing rows.

    Each DDL statement commits, so if the second one fails, the values have to be copied back. To revert what only adds
    something, as most revisions do, no row is copied.
    """
    if not any(isinstance(operation.op, ops.DropColumnOp | ops.DropTableOp) for operation in revision.upgrade):
        return None
    tables = context.tables.branch()
    deleted: tuple[object, str] | None = None
    for operation in revision.upgrade:
        op, table = operation.op, tables.of(operation.op)
        statement = operation.statement or op
        if table is not None and not tables.is_new(*table) and not tables.is_missing(*table):
            if deleted is not None and statement != deleted[0] and _can_fail(op):
                return Problem(
                    f"deletes {deleted[1]} and then changes {table[0]}, which can fail on existing rows; the server"
                    " commits after each DDL statement, so the deleted values then have to be copied back",
                    f"change {table[0]} first, in a separate revision, and delete values in the last one:\n"
                    + new_revision(f"alter {table[0]}"),
                    line=operation.line,
                )
            if deleted is None and isinstance(op, ops.DropTableOp):
                deleted = statement, f"the rows of {table[0]}"
            elif deleted is None and isinstance(op, ops.DropColumnOp):
                column = tables.column(table[0], op.column_name, table[1])
                if column is None or not column.is_generated:
                    deleted = statement, f"values of {table[0]}.{op.column_name}"
        tables.apply(op)
    return None


def _can_fail(op: ops.MigrateOperation) -> bool:
    """Return True if existing rows can make the DDL statement fail, as duplicates do with a unique index."""
    if isinstance(op, ops.AlterColumnOp):
        return op.modify_type is not None or op.modify_nullable is False
    return isinstance(op, ops.AddConstraintOp) or (isinstance(op, ops.CreateIndexOp) and bool(op.unique))


def _altered_tables(revision: Revision, tables: KnownSchema) -> Iterator[tuple[Operation, Name, bool]]:
    """Yield each DDL statement on a table: its first operation, the table, and True if the run creates the table.

    A table that does not exist counts as created by the run: it has no rows, and no session waits for it.
    """
    tables = tables.branch()
    before: tuple[object, object] | None = None
    for operation in revision.upgrade:
        op, table = operation.op, tables.of(operation.op)
        statement = (operation.statement or op, table)
        keeps = isinstance(op, CommandOp) and op.keeps_schema
        was_new = table is not None and (tables.is_new(*table) or tables.is_missing(*table))
        tables.apply(op)
        if table is not None and _is_ddl(operation, {"ALTER"}) and not keeps and statement != before:
            yield operation, (table[1], table[0]), was_new or tables.is_new(*table)
        before = statement


def _may_change_rows(op: ops.MigrateOperation, table: Name, tables: KnownSchema) -> bool:
    """Return False if the table is known to have no rows that the operation could change, and True otherwise."""
    adds = not isinstance(op, ChangeRowsOp) or op.verb in ("INSERT", "REPLACE")
    stored = tables.table(table[1], table[0]).stored_as
    return adds or stored is None or tables.has_rows(stored, table[0]) is not False


def _table_of_rows(op: ops.MigrateOperation) -> Name | None:
    """Return schema and name of the table whose rows an operation changes.

    Return None if it changes none, or commits that by itself: TRUNCATE and op.backfill().
    """
    if isinstance(op, ops.BulkInsertOp):
        return op.table.schema, op.table.name
    if not isinstance(op, ChangeRowsOp) or op.verb == "TRUNCATE" or op.in_batches:
        return None
    return op.schema, op.table_name


def _is_ddl(operation: Operation, words: Collection[str]) -> bool:
    """Return True if the operation is DDL: an operation of Alembic except bulk_insert() and unread raw SQL.

    Operations of sql/ops.py, which stand for raw SQL, are DDL if the statement begins with one of ``words``.
    """
    op = operation.op
    if isinstance(op, ChangeRowsOp):
        return op.verb in words
    if isinstance(op, CommandOp):
        return (operation.statement or op.words).upper().split()[0] in words
    return not isinstance(op, ops.BulkInsertOp | ops.ExecuteSQLOp)
