"""Rules about enums."""

from collections.abc import Iterator

from alembic.operations import ops
from sqlalchemy import Column

from ..recorder import Revision
from ..sql.ops import ChangeRowsOp, CommandOp
from .registry import BLOCKS, POSTGRESQL, WARNS, Problem, RuleContext, rule
from .suggestions import execute


@rule(BLOCKS, ops.AlterColumnOp, CommandOp, ChangeRowsOp, on=POSTGRESQL)
def enum_value(op: ops.AlterColumnOp | CommandOp | ChangeRowsOp, context: RuleContext) -> Problem | None:
    """Report a renamed or removed value, which running code still writes, and an enum that is created a second time."""
    if isinstance(op, ops.AlterColumnOp):
        return _created_again(op, context) or _removed_value(op, context)
    if isinstance(op, ChangeRowsOp):
        if op.table_name != "pg_enum":
            return None
        return Problem(
            "changes the values of an enum in the system catalogue, which breaks rows and indexes that use them",
            "create a new type without the value and a column of that type, copy the rows, and drop the old column"
            ' later:\n    sa.Enum("...", name="..._new").create(op.get_bind())',
        )
    if op.words == "ALTER TYPE ... RENAME VALUE" and op.name not in _types_created(context):
        return Problem(
            f"renames a value of enum {op.name}, but running code still reads and writes the old one",
            "add the new value, deploy code that knows both, and update the rows:\n"
            f"    op.execute(\"ALTER TYPE {op.name} ADD VALUE IF NOT EXISTS '...'\")",
        )
    return None


def _created_again(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report what `flask db migrate` writes on SQLite, where the column was a VARCHAR before it got more values."""
    known, facts = context.column(op), context.facts
    before = facts.enum_type(known.type) if known is not None and known.type is not None else None
    now = facts.enum_type(op.modify_type) if op.modify_type is not None else None
    if before is None or now is None or before.name != now.name or now.name not in _types_created(context):
        return None
    name = facts.quoted(str(now.name), now.schema)
    added = [execute(facts.add_enum_value_sql(name, each)) for each in now.enums if each not in before.enums]
    return Problem(
        f"creates enum {now.name}, but {op.table_name}.{op.column_name} has it already, so this fails",
        "on postgresql leave out CREATE TYPE, DROP TYPE and the change of the column, and add the value:\n"
        + "\n".join(added),
    )


def _removed_value(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    old, new = context.facts.kind(context.type_before(op)), context.facts.kind(op.modify_type)
    if old is None or new is None or not old.values or not new.values or old.values <= new.values:
        return None
    gone, name = sorted(old.values - new.values), context.facts.quoted(op.column_name)
    values = ", ".join(f"'{each}'" for each in gone)
    return Problem(
        f"removes {', '.join(gone)} from the enum of {op.table_name}.{op.column_name}, but running code still reads"
        " and writes them",
        "first deploy code that does not use it, and update the rows:\n"
        + execute(f"UPDATE {context.table_sql(op)} SET {name} = '...' WHERE {name} IN ({values})"),
    )


@rule(WARNS, Revision, on=POSTGRESQL)
def enum_outlives_table(revision: Revision, context: RuleContext) -> Iterator[Problem]:
    """Report an enum that a downgrade leaves: DROP TABLE does not drop it (PostgreSQL manual, "CREATE TYPE")."""
    if not any(isinstance(each.op, ops.DropTableOp | ops.DropColumnOp) for each in revision.downgrade):
        return
    commands = [each.op for each in revision.downgrade if isinstance(each.op, CommandOp)]
    dropped = {op.name for op in commands if op.words == "DROP TYPE"}
    for name, line in _types_created(context).items():
        if name not in dropped:
            yield Problem(
                f'creates enum {name}, and its downgrade does not drop it: upgrading again fails with "already exists"',
                f'drop it in downgrade(), after what uses it:\n    sa.Enum(name="{name}").drop(op.get_bind())',
                line=line,
            )


def _types_created(context: RuleContext) -> dict[str, int]:
    """Return the enums that upgrade() creates, with the lines; CREATE TABLE creates those of its columns."""
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
