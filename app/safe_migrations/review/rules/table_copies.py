"""Rules about tables that are copied, while nobody can write to them."""

import re
from collections.abc import Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Column, Computed, DefaultClause, MetaData, Table

from ..sql import CommandOp
from .paste import python_type
from .registry import BLOCKS, MYSQL, WARNS, Problem, RuleContext, rule

COPIES = "the table is copied, and nobody can write to it until that is done"


@rule(
    BLOCKS,
    ops.AlterColumnOp,
    ops.AddColumnOp,
    ops.DropConstraintOp,
    ops.AddConstraintOp,
    ops.DropColumnOp,
    ops.RenameTableOp,
    ops.CreateIndexOp,
    ops.DropIndexOp,
    CommandOp,
    on=MYSQL,
)
def alter_copies_table(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """With ALGORITHM=COPY a table is locked against writes as long as it takes to copy all rows.

    What copies was found out by asking the servers; see adapters/mysql/facts.py and types.py.
    """
    if asked := _asks_for_lock(op, context):
        table = getattr(op, "table_name", None) or getattr(op, "source_table", None) or "the table"
        yield Problem(
            f"asks for {asked}: nobody can write to {table} until that is done",
            "ask for a way that lets others write, which the server refuses if there is none:\n"
            f'    op.execute("ALTER TABLE {table} ..., ALGORITHM=INPLACE, LOCK=NONE")',
        )
    elif refuses_to_copy(op):
        return
    elif isinstance(op, ops.AddColumnOp):
        yield from _copied_for_new(op, context)
    elif isinstance(op, ops.AlterColumnOp):
        yield from _copied_for_change(op, context)
    elif isinstance(op, ops.DropConstraintOp):
        if op.constraint_type == "primary" and context.facts.alters_by_copy:
            yield Problem(
                f"drops the primary key of {op.table_name}, for which {COPIES}",
                "give both in one statement, for which the rows can be written meanwhile:\n"
                f'    op.execute("ALTER TABLE {context.facts.quoted(op.table_name, op.schema)} DROP PRIMARY KEY, '
                'ADD PRIMARY KEY (...), ALGORITHM=INPLACE, LOCK=NONE")',
            )
    elif isinstance(op, ops.CreateCheckConstraintOp):
        if context.facts.copies_for_check(False):
            yield Problem(f"adds a CHECK to {op.table_name}, for which {COPIES}", _window(op.table_name), level=WARNS)
    elif isinstance(op, CommandOp) and context.facts.alters_by_copy:
        yield from _copied_for_command(op, context)


def _copied_for_new(op: ops.AddColumnOp, context: RuleContext) -> Iterator[Problem]:
    facts, table, column = context.facts, op.table_name, op.column
    what = f"adds column {table}.{column.name}"
    if is_numbered(column) and facts.auto_increment_blocks_writes:
        yield Problem(
            f"{what}, whose values the database numbers, and nobody can write to {table} meanwhile", _window(table)
        )
    elif isinstance(column.server_default, Computed):
        if column.server_default.persisted and facts.alters_by_copy:
            yield Problem(
                f"{what}, which is generated and STORED, for which {COPIES}",
                "let it be generated when it is read, which takes no time; it can have an index:\n"
                f'    op.add_column("{table}", sa.Column("{column.name}", {python_type(column.type)},'
                f" sa.Computed({str(column.server_default.sqltext)!r}, persisted=False)))",
            )
    elif (default := _default(op, context)) and facts.copies_for_default(default):
        plain = _outside_parentheses(default)
        written = f'sa.Column("{column.name}", {python_type(column.type)}'
        yield Problem(
            f"{what} with the default {default}, for which {COPIES}",
            f'write it as a constant:\n    op.add_column("{table}", {written}, server_default=sa.text({plain!r})))'
            if plain
            else "add it without, and fill the rows in batches; new rows can have it at once:\n"
            f'    op.add_column("{table}", {written}))\n'
            f'    op.alter_column("{table}", "{column.name}", server_default=sa.text({default!r}))',
        )
    inline = any(isinstance(each, CheckConstraint) for each in column.constraints)
    if (inline or getattr(column.type, "create_constraint", False)) and facts.copies_for_check(inline):
        yield Problem(f"{what} with a CHECK, for which {COPIES}", _window(table), level=WARNS)


def _default(op: ops.AddColumnOp, context: RuleContext) -> str:
    """As it reaches the server: SQLAlchemy puts what is no constant into parentheses, SQL stays as it is."""
    default = op.column.server_default
    if context.in_sql and isinstance(default, DefaultClause):
        return str(default.arg)
    return context.facts.default(default)


def _outside_parentheses(default: str) -> str:
    """The same as a constant; empty if it is none, such as a function of anything but the time."""
    if re.fullmatch(r"\((?:now|current_timestamp)(?:\(\))?\)", default, re.IGNORECASE):
        return "CURRENT_TIMESTAMP"
    number = re.fullmatch(r"\((-?[\d.]+)\)", default)
    return f"'{number[1]}'" if number else ""


def _copied_for_change(op: ops.AlterColumnOp, context: RuleContext) -> Iterator[Problem]:
    facts = context.facts
    known = context.tables.column(op.table_name, op.column_name, op.schema)
    before, after = context.type_before(op), op.modify_type or op.existing_type
    what = f"changes {op.table_name}.{op.column_name}"
    if not context.redefines_column(op) or after is None:
        return
    auto_increment = op.kw.get("autoincrement")
    if (
        auto_increment is not None
        and op.modify_type is None
        and (known is None or known.auto_increment != auto_increment)
        and facts.copies_for_auto_increment(auto_increment)
    ):
        begins = "begins to number" if auto_increment else "no longer numbers"
        yield Problem(f"{what}, whose values the database {begins}, for which {COPIES}", _window(op.table_name))
    elif facts.copies_for_type(before, after) and not _crosses(op, context) and not _moves(op, context):
        was = f" from {context.facts.spelled(before)}" if before is not None else ""
        yield Problem(
            f"{what}{was} to {context.facts.spelled(after)}, for which {COPIES}",
            "add a column, fill it in batches, and let the next release use it:\n"
            f'    op.add_column("{op.table_name}", sa.Column("{op.column_name}_new", {python_type(after)}))\n'
            "Or copy the table without a lock, with gh-ost or pt-online-schema-change.",
        )


WHOLE = {
    *("ENGINE", "CONVERT TO CHARACTER SET", "CONVERT TO CHARSET", "ORDER BY"),
    *("PARTITION BY", "REMOVE PARTITIONING", "REORGANIZE PARTITION", "COALESCE PARTITION"),
}


def _copied_for_command(op: CommandOp, context: RuleContext) -> Iterator[Problem]:
    """What Alembic has no operation for: another engine, character set, partitions."""
    if op.table_name is None or op.words not in WHOLE:
        return
    if op.words == "ENGINE":
        engine = re.sub(r"(?i)^ENGINE\s*=?\s*", "", op.text).strip()
        query = context.facts.has_engine(engine, op.table_name, op.schema)
        if query is not None and context.tables.finds(query):
            return
    yield Problem(f"alters {op.table_name} with {op.text}, for which {COPIES}", _window(op.table_name))


def refuses_to_copy(op: ops.MigrateOperation) -> bool:
    """Whether SQL says how it is to be done, and the server refuses if it cannot be done so."""
    said = getattr(op, "kw", {})
    return said.get("algorithm") in ("INPLACE", "INSTANT", "NOCOPY") or said.get("lock") == "NONE"


def _asks_for_lock(op: ops.MigrateOperation, context: RuleContext) -> str:
    """What SQL says for which nobody can write, whatever is altered; empty if it says nothing of the kind."""
    said = getattr(op, "kw", {})
    if said.get("lock") in ("SHARED", "EXCLUSIVE"):
        return f"LOCK={said['lock']}"
    copies = said.get("algorithm") == "COPY" and said.get("lock") != "NONE" and context.facts.alters_by_copy
    return "ALGORITHM=COPY" if copies else ""


@rule(BLOCKS, ops.AlterColumnOp, on=MYSQL)
def varchar_crosses_255_bytes(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """The length takes a second byte in each row (MySQL manual, "Online DDL Operations", extending VARCHAR)."""
    after = op.modify_type or op.existing_type
    if after is None or refuses_to_copy(op) or not context.redefines_column(op) or not _crosses(op, context):
        return None
    was = context.facts.spelled(context.type_before(op))
    return Problem(
        f"lets {op.table_name}.{op.column_name} grow from {was} to {context.facts.spelled(after)}, past 255 bytes,"
        f" for which {COPIES}",
        "add a column, fill it in batches, and let the next release use it; one that is past 255 bytes from the start"
        " grows without a copy:\n"
        f'    op.add_column("{op.table_name}", sa.Column("{op.column_name}_new", {python_type(after)}))',
    )


@rule(BLOCKS, ops.AlterColumnOp, on=MYSQL)
def enum_reorder(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """A value is stored by its place: unless new ones come last, every row is written again (MySQL manual, "ENUM")."""
    after = op.modify_type or op.existing_type
    if after is None or refuses_to_copy(op) or not _moves(op, context):
        return None
    old, new = context.facts.enum_values(context.type_before(op)), context.facts.enum_values(after)
    gone = [value for value in old if value not in new]
    what = f"removes {' and '.join(gone)} from the values of" if gone else "moves the values of"
    kept = ", ".join(repr(value) for value in [*old, *(value for value in new if value not in old)])
    return Problem(
        f"{what} {op.table_name}.{op.column_name}, and rows store a value by its place in the list: {COPIES}",
        "leave those that are there as they are, and let new ones follow:\n"
        f'    op.alter_column("{op.table_name}", "{op.column_name}", type_=sa.Enum({kept}), ...)',
    )


def _moves(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    """Whether values of an enum go, or get another place."""
    old = context.facts.enum_values(context.type_before(op))
    new = context.facts.enum_values(op.modify_type or op.existing_type)
    return bool(old and new) and context.redefines_column(op) and new[: len(old)] != old


def _crosses(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    before, after = context.type_before(op), op.modify_type or op.existing_type
    if after is None or not any(context.facts.crosses_length_bytes(before, after, width) for width in (1, 2, 3, 4)):
        return False  # at no width: so it need not be queried
    width = context.tables.width(context.facts, op.table_name, op.column_name, op.schema)
    return context.facts.crosses_length_bytes(before, after, width)


def _window(table: str) -> str:
    return (
        f"do it while nothing writes to {table}, and try it on a copy before, or do it with gh-ost or "
        "pt-online-schema-change, which copy without a lock:\n    flask db rehearse"
    )


def is_numbered(column: Column[Any]) -> bool:
    """Whether the database would number the values of a new column."""
    return column.autoincrement is True or Table("t", MetaData(), column._copy()).autoincrement_column is not None
