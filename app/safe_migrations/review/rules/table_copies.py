"""Rules about changes for which MySQL and MariaDB copy the whole table and block writes."""

import re
from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Column, Computed, DefaultClause, Enum

from ..recorder import as_table
from ..sql.ops import CommandOp
from .columns import column_of_new_type, default_later
from .implied_ops import column_names, table_of
from .registry import BLOCKS, MYSQL, WARNS, Problem, RuleContext, rule
from .suggestions import execute, keeping

COPIES = "the server copies the table for this and blocks writes until it is done"
NEW_COLUMN = (
    "in this revision only add a new column, backfill it in another one with op.backfill(), and switch the next release"
    " to it"
)
QUIET = (
    "use gh-ost or pt-online-schema-change, which copy the table without blocking writes; or run this revision in a"
    " quiet period, and first rehearse it on a copy of the database:\n    flask db rehearse"
)
WHOLE_TABLE = {"ENGINE", "CONVERT TO CHARACTER SET"}


@rule(
    BLOCKS,
    *(ops.AlterColumnOp, ops.AddColumnOp, ops.DropConstraintOp, ops.AddConstraintOp, ops.DropColumnOp),
    *(ops.RenameTableOp, ops.CreateIndexOp, ops.DropIndexOp, CommandOp),
    on=MYSQL,
    locks=True,
)
def alter_copies_table(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """Report a change that copies the table (ALGORITHM=COPY) and blocks writes until all rows are copied.

    adapters/mysql/facts.py has the list of these changes, which was measured on the servers.
    """
    if lock := _requested_lock(context):
        table = getattr(op, "table_name", None) or getattr(op, "source_table", None) or "the table"
        yield Problem(
            f"requests {lock}, which blocks writes to {table} until the statement is done",
            "request an algorithm that does not block writes; if there is none, the server refuses the statement:\n"
            + execute(_without_lock(context.operation.statement or "")),
        )
    elif _refuses_to_copy(context):
        return
    elif isinstance(op, ops.AddColumnOp):
        yield from _copied_for_new_column(op, context)
    elif isinstance(op, ops.AlterColumnOp):
        yield from _copied_for_change(op, context)
    elif isinstance(op, ops.DropConstraintOp):
        if op.constraint_type == "primary" and context.mysql.copies("DROP PRIMARY KEY"):
            added = [
                each.columns for each in context.revision_ops(ops.CreatePrimaryKeyOp) if table_of(each) == table_of(op)
            ]
            key = ", ".join(map(context.facts.quoted, column_names(added[0]))) if added else ""
            both = f"DROP PRIMARY KEY, ADD PRIMARY KEY ({key}), ALGORITHM=INPLACE, LOCK=NONE"
            yield Problem(
                f"drops the primary key of {op.table_name}; {COPIES}",
                "replace the drop and the add with one statement, which does not block writes:\n"
                + execute(f"ALTER TABLE {context.table_sql(op)} {both}")
                if added
                else QUIET,
            )
    elif isinstance(op, ops.CreateCheckConstraintOp):
        if context.mysql.copies("CHECK"):
            yield Problem(f"adds a CHECK to {op.table_name}; {COPIES}", QUIET, WARNS)
    elif isinstance(op, CommandOp) and context.mysql.copies("the table"):
        yield from _copied_for_command(op, context)


def _copied_for_new_column(op: ops.AddColumnOp, context: RuleContext) -> Iterator[Problem]:
    facts, column, default = context.mysql, op.column, op.column.server_default
    what = f"adds column {op.table_name}.{column.name}"
    if column.autoincrement is True or as_table(op).autoincrement_column is not None:
        yield Problem(f"{what} with AUTO_INCREMENT, which blocks writes until all rows are numbered", QUIET)
    elif isinstance(default, Computed):
        if default.persisted and facts.copies("STORED"):
            virtual = Column(column.name, column.type, Computed(default.sqltext, persisted=False))
            yield Problem(
                f"{what}, which is generated and STORED; {COPIES}",
                "make it VIRTUAL, which needs no copy and can have an index:\n"
                + context.python(ops.AddColumnOp(op.table_name, virtual, schema=op.schema)),
            )
    elif (written := _default(op, context)) and facts.copies_for_default(written):
        yield Problem(
            f"{what} with the default {written}; {COPIES}",
            f"{default_later(op, written, context)}\n"
            "On MySQL only a default in parentheses copies the table: sa.text('CURRENT_TIMESTAMP') does not, but"
            " sa.func.now() does, because SQLAlchemy puts it in parentheses.",
        )
    inline = any(isinstance(each, CheckConstraint) for each in column.constraints)
    has_check = inline or getattr(column.type, "create_constraint", False)
    if has_check and facts.copies("inline CHECK" if inline else "CHECK"):
        yield Problem(f"{what} with a CHECK; {COPIES}", QUIET, WARNS)


def _default(op: ops.AddColumnOp, context: RuleContext) -> str:
    """Return the default as sent to the server: from raw SQL unchanged, else with parentheses around an expression."""
    default = op.column.server_default
    if context.in_sql and isinstance(default, DefaultClause):
        return str(default.arg)
    return context.facts.default(default)


def _copied_for_change(op: ops.AlterColumnOp, context: RuleContext) -> Iterator[Problem]:
    known, auto_increment = context.column(op), op.kw.get("autoincrement")
    before, after = context.type_before(op), op.modify_type or op.existing_type
    what = f"changes {op.table_name}.{op.column_name}"
    if not context.redefines_column(op) or after is None:
        return
    if (
        auto_increment is not None
        and op.modify_type is None
        and (known is None or known.auto_increment != auto_increment)
        and context.mysql.copies(f"{'ADD' if auto_increment else 'DROP'} AUTO_INCREMENT")
    ):
        yield Problem(f"{what}, which {'adds' if auto_increment else 'removes'} AUTO_INCREMENT; {COPIES}", QUIET)
    elif context.mysql.copies_for_type(before, after) and not _crosses(op, context) and not _reorders_enum(op, context):
        was = f" from {context.facts.spelled(before)}" if before is not None else ""
        yield Problem(
            f"{what}{was} to {context.facts.spelled(after)}; {COPIES}",
            f"{NEW_COLUMN}:\n{column_of_new_type(op, context)}\nOr use gh-ost or pt-online-schema-change, which copy"
            " the table without blocking writes.",
        )


def _copied_for_command(op: CommandOp, context: RuleContext) -> Iterator[Problem]:
    """Report raw SQL that gives the table another engine or character set."""
    if op.table_name is None or op.words not in WHOLE_TABLE:
        return
    if op.words == "ENGINE":
        engine = re.sub(r"(?i)^ENGINE\s*=?\s*", "", op.text).strip()
        if context.tables.first(context.mysql.has_engine(engine, op.table_name, op.schema)):
            return
    yield Problem(f"alters {op.table_name} with {op.text}; {COPIES}", QUIET)


def _without_lock(statement: str) -> str:
    """Return the statement with options that let others write, in place of those that do not."""
    without = re.sub(r"(?i)\bALGORITHM\s*=?\s*COPY\b", "ALGORITHM=INPLACE", statement)
    return re.sub(r"(?i)\bLOCK\s*=?\s*(SHARED|EXCLUSIVE)\b", "LOCK=NONE", without)


def _refuses_to_copy(context: RuleContext) -> bool:
    """Return True if the SQL has an option such as LOCK=NONE, with which the server fails instead of copying."""
    requests = context.operation.requests
    return requests.get("algorithm") in ("INPLACE", "INSTANT", "NOCOPY") or requests.get("lock") == "NONE"


def _requested_lock(context: RuleContext) -> str:
    """Return the option in the SQL that blocks writes, e.g. LOCK=SHARED; empty if it has none."""
    requests = context.operation.requests
    if requests.get("lock") in ("SHARED", "EXCLUSIVE"):
        return f"LOCK={requests['lock']}"
    copies = (
        requests.get("algorithm") == "COPY" and requests.get("lock") != "NONE" and context.mysql.copies("the table")
    )
    return "ALGORITHM=COPY" if copies else ""


@rule(BLOCKS, ops.AlterColumnOp, on=MYSQL, locks=True)
def varchar_crosses_255_bytes(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report a VARCHAR that grows past 255 bytes, for which the server copies the table.

    Its length then takes two bytes in each row (MySQL manual, "Online DDL Operations", VARCHAR).
    """
    after = op.modify_type or op.existing_type
    if after is None or _refuses_to_copy(context) or not context.redefines_column(op) or not _crosses(op, context):
        return None
    old, new = context.facts.spelled(context.type_before(op)), context.facts.spelled(after)
    return Problem(
        f"extends {op.table_name}.{op.column_name} from {old} to {new}, past 255 bytes; {COPIES}",
        f"{NEW_COLUMN} (a column created with more than 255 bytes can be extended without a copy):\n"
        + column_of_new_type(op, context),
    )


@rule(BLOCKS, ops.AlterColumnOp, on=MYSQL)
def enum_reorder(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report ENUM values that change position or are removed: rows store positions (MySQL manual, "The ENUM Type")."""
    after = op.modify_type or op.existing_type
    if after is None or _refuses_to_copy(context) or not _reorders_enum(op, context):
        return None
    old, new = context.mysql.enum_values(context.type_before(op)), context.mysql.enum_values(after)
    gone = [value for value in old if value not in new]
    what = f"removes {' and '.join(gone)} from" if gone else "reorders"
    kept = keeping(op, context.column(op))
    kept.modify_type = Enum(*old, *(value for value in new if value not in old))
    return Problem(
        f"{what} the values of {op.table_name}.{op.column_name}, which rows store by position; {COPIES}",
        f"keep existing values where they are, and append new ones:\n{context.python(kept)}",
    )


def _reorders_enum(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    """Return True if values of an enum are removed or get another position."""
    old = context.mysql.enum_values(context.type_before(op))
    new = context.mysql.enum_values(op.modify_type or op.existing_type)
    return bool(old and new) and context.redefines_column(op) and new[: len(old)] != old


def _crosses(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    before, after, facts = context.type_before(op), op.modify_type or op.existing_type, context.mysql
    if after is None:
        return False
    found = context.tables.first(facts.width_of(op.table_name, op.column_name, op.schema))
    return facts.crosses_length_bytes(before, after, int(found[0]) if found and found[0] else None)
