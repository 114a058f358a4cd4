"""Rules about enums on PostgreSQL, where an enum is a type of its own beside the tables."""

from collections.abc import Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import Column

from ..recorder import Revision
from ..sql.ops import CommandOp
from .registry import BLOCKS, POSTGRESQL, WARNS, Problem, RuleContext, rule
from .suggestions import EXAMPLE, backfill, execute, literal, literals


@rule(BLOCKS, ops.AlterColumnOp, CommandOp, on=POSTGRESQL)
def enum_value(op: ops.AlterColumnOp | CommandOp, context: RuleContext) -> Problem | None:
    """Report an enum value that is renamed or removed, which running code still writes, and an enum created twice."""
    if isinstance(op, ops.AlterColumnOp):
        return _created_again(op, context) or _removed_value(op, context)
    if op.words == "ALTER TYPE ... RENAME VALUE" and op.name not in _types_created(context):
        name, renamed = context.facts.quoted(str(op.name), op.schema), literals(op.text)
        return Problem(
            f"renames a value of enum {op.name}, but running code still reads and writes the old one",
            "deploy code that reads and writes both values, and update the rows in a later revision; in this one only"
            " add the new value:\n" + execute(context.facts.add_enum_value_sql(name, renamed[-1])),
        )
    return None


def _created_again(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report a CREATE TYPE for an enum that the column has already.

    `flask db migrate` writes this on SQLite, where an enum is a VARCHAR, when the enum gets more values.
    """
    known, facts = context.column(op), context.facts
    before = facts.enum_type(known.type) if known is not None and known.type is not None else None
    now = facts.enum_type(op.modify_type) if op.modify_type is not None else None
    if before is None or now is None or before.name != now.name or now.name not in _types_created(context):
        return None
    name = facts.quoted(str(now.name), now.schema)
    added = [execute(facts.add_enum_value_sql(name, each)) for each in now.enums if each not in before.enums]
    return Problem(
        f"creates enum {now.name}, which exists already because {op.table_name}.{op.column_name} has this type;"
        " this fails",
        "on PostgreSQL, skip CREATE TYPE, DROP TYPE and the change of the column, and only add the new values:\n"
        + "\n".join(added),
    )


def _removed_value(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    old, new = context.facts.kind(context.type_before(op)), context.facts.kind(op.modify_type)
    if old is None or new is None or not old.values or not new.values or old.values <= new.values:
        return None
    gone, name = sorted(old.values - new.values), context.facts.quoted(op.column_name)
    values, other = ", ".join(map(literal, gone)), literal(sorted(new.values)[0])
    return Problem(
        f"removes values from the enum of {op.table_name}.{op.column_name} ({', '.join(gone)}), but running code still"
        " reads and writes them",
        "first deploy code that does not use the removed values, and update the rows that have them, in a separate"
        f" revision; {EXAMPLE}:\n"
        + backfill(op.table_name, op.schema, {op.column_name: other}, f"{name} IN ({values})"),
    )


@rule(BLOCKS, Revision, on=POSTGRESQL)
def enum_value_used(revision: Revision, context: RuleContext) -> Iterator[Problem]:
    """Report a value that a revision adds to an enum and uses in the same transaction, which fails.

    See PostgreSQL's manual, "ALTER TYPE", Notes. A value of an enum that the revision itself creates may be used.
    """
    added: dict[str, str] = {}
    for operation in revision.upgrade:
        op = operation.op
        for value, name in added.items():
            if value in _literals(op):
                yield Problem(
                    f"adds the value {value} to enum {name} and uses it, which fails: PostgreSQL can use a new value"
                    " only after the transaction that adds it",
                    'move what uses the value to a new revision:\n    flask db revision -m "Use the new value"',
                    line=operation.line,
                )
        if isinstance(op, CommandOp) and op.words == "ALTER TYPE ... ADD VALUE" and not operation.autocommit:
            values = literals(op.text)  # BEFORE or AFTER another one may follow
            if values and op.name not in _types_created(context):
                added[values[0]] = str(op.name)


def _literals(op: ops.MigrateOperation) -> set[str]:
    """Return the strings that an operation writes to the database, as far as its text and its values show them."""
    if isinstance(op, CommandOp) and op.words == "ALTER TYPE ... ADD VALUE":
        return set()
    if isinstance(op, ops.BulkInsertOp):
        return {str(value) for row in op.rows for value in (row.values() if isinstance(row, dict) else ())}
    default: Any = getattr(op, "modify_server_default", None)
    if isinstance(op, ops.AddColumnOp):
        default = op.column.server_default
    default = str(getattr(default, "arg", default) or "")  # of a string, its value; else SQL with quotes
    return {default, *literals(f"{getattr(op, 'text', '')} {default}")}


@rule(WARNS, Revision, on=POSTGRESQL)
def enum_outlives_table(revision: Revision, context: RuleContext) -> Iterator[Problem]:
    """Report an enum that upgrade() creates and downgrade() does not drop, although it drops tables or columns.

    DROP TABLE leaves the type of an enum (PostgreSQL, "CREATE TYPE").
    """
    if not any(isinstance(each.op, ops.DropTableOp | ops.DropColumnOp) for each in revision.downgrade):
        return
    commands = [each.op for each in revision.downgrade if isinstance(each.op, CommandOp)]
    dropped = {op.name for op in commands if op.words == "DROP TYPE"}
    for name, line in _types_created(context).items():
        if name not in dropped:
            yield Problem(
                f'creates enum {name}, but downgrade() does not drop it: upgrading again fails with "already exists"',
                "drop the enum at the end of downgrade(), after the tables and columns that use it:\n"
                f"    sa.Enum(name={name!r}).drop(op.get_bind())",
                line=line,
            )


@rule(BLOCKS, ops.AddColumnOp, on=POSTGRESQL, new_tables=True, code="missing-object")
def missing_types(op: ops.AddColumnOp, context: RuleContext) -> Problem | None:
    """Report a new column whose enum type does not exist: only op.create_table() creates the types of its columns."""
    enum = context.facts.enum_type(op.column.type)
    name = str(enum.name) if enum is not None else ""
    table = (op.schema, op.table_name)
    if enum is None or not context.tables.lacks_type(name, context.postgresql.types_named(name), table):
        return None
    values, schema = ", ".join(map(repr, enum.enums)), f", schema={enum.schema!r}" if enum.schema else ""
    return Problem(
        f"adds column {op.table_name}.{op.column.name}, but the enum type {name} does not exist at that point, so this"
        " fails",
        "create the type before the column; only op.create_table() does that by itself:\n"
        f"    sa.Enum({values}, name={name!r}{schema}).create(op.get_bind(), checkfirst=True)\n{context.python(op)}\n"
        "and drop it at the end of downgrade(), after the column:\n"
        f"    sa.Enum(name={name!r}{schema}).drop(op.get_bind())",
        fails=True,
    )


def _types_created(context: RuleContext) -> dict[str, int]:
    """Return the names of the enums that upgrade() creates, also those of new tables, with the line of each."""
    found: dict[str, int] = {}
    for operation in context.revision.upgrade:
        op, names = operation.op, []
        if isinstance(op, CommandOp) and op.words == "CREATE TYPE" and " ENUM" in op.text.upper():
            names = [str(op.name)]
        elif isinstance(op, ops.CreateTableOp):
            enums = [context.facts.enum_type(each.type) for each in op.columns if isinstance(each, Column)]
            names = [str(enum.name) for enum in enums if enum is not None and getattr(enum, "create_type", True)]
        for name in names:
            found.setdefault(name, operation.line)
    return found
