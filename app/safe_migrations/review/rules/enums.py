"""Rules about enums."""

from collections.abc import Iterable, Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import Column
from sqlalchemy.types import TypeEngine

from ...adapters.casts import enum_of
from ...adapters.facts import Facts
from ..recorder import Operation, Revision
from ..sql import ChangeRowsOp, CommandOp
from .registry import BLOCKS, POSTGRESQL, WARNS, Problem, RuleContext, rule


@rule(BLOCKS, ops.AlterColumnOp, CommandOp, ChangeRowsOp, on=POSTGRESQL)
def enum_value(op: ops.AlterColumnOp | CommandOp | ChangeRowsOp, context: RuleContext) -> Problem | None:
    """Code of the last release writes the old value, which is none any more; and there is no way to remove one."""
    if isinstance(op, ops.AlterColumnOp):
        return _removed_value(op, context)
    if _is(op, "ALTER TYPE ... RENAME VALUE") and _name(op) not in {name for name, _ in _made(context)}:
        return Problem(
            f"renames a value of enum {_name(op)}, and code that is still running reads and writes the old one",
            "add the new value, deploy code that knows both, and move the rows:\n"
            f"    op.execute(\"ALTER TYPE {_name(op)} ADD VALUE IF NOT EXISTS '...'\")",
        )
    if isinstance(op, ChangeRowsOp) and op.table_name == context.facts.enum_catalogue:
        return Problem(
            "changes the values of an enum in the system catalogue, and rows and indexes that have them break",
            "make a new type without the value, and a column of it; copy the rows, and drop the old one later:\n"
            '    sa.Enum("...", name="..._new").create(op.get_bind())',
        )
    return None


def _removed_value(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    old, new = context.facts.kind(context.type_before(op)), context.facts.kind(op.modify_type)
    if old is None or new is None or not old.values or not new.values or old.values <= new.values:
        return None
    gone = sorted(old.values - new.values)
    removed = ", ".join(gone)
    table, name = context.facts.quoted(op.table_name, op.schema), context.facts.quoted(op.column_name)
    values = ", ".join(f"'{each}'" for each in gone)
    move = f"UPDATE {table} SET {name} = '...' WHERE {name} IN ({values})"
    return Problem(
        f"makes column {op.table_name}.{op.column_name} an enum without {removed}, and code that is still running "
        "reads and writes that",
        f"deploy code that does not use it, and move the rows, before this:\n    op.execute({move!r})",
    )


@rule(WARNS, Revision, on=POSTGRESQL)
def enum_outlives_table(revision: Revision, context: RuleContext) -> Iterator[Problem]:
    """DROP TABLE leaves the type, and to make it again fails (PostgreSQL manual, "CREATE TYPE")."""
    if not any(isinstance(each.op, ops.DropTableOp | ops.DropColumnOp) for each in revision.downgrade):
        return
    dropped = {_name(each.op) for each in revision.downgrade if _is(each.op, "DROP TYPE")}
    for name, made in _made(context):
        if name not in dropped:
            yield Problem(
                f"makes enum {name}, which its downgrade leaves: the next upgrade fails, or finds the old values",
                f'drop it in downgrade(), behind what uses it:\n    sa.Enum(name="{name}").drop(op.get_bind())',
                line=made.line,
            )


def _made(context: RuleContext) -> Iterator[tuple[str, Operation]]:
    """The names of the types that the revision makes, once each."""
    seen = set()
    for operation in context.revision.upgrade:
        for name in _types_made(operation.op, context.facts):
            if name not in seen:
                seen.add(name)
                yield name, operation


def _types_made(op: Any, facts: Facts) -> Iterator[str]:
    """CREATE TABLE makes the types of its columns; ADD COLUMN does not."""
    if _is(op, "CREATE TYPE") and " ENUM" in op.text.upper():
        yield _name(op)
    elif isinstance(op, ops.CreateTableOp):
        columns: Iterable[Any] = (each for each in op.columns if isinstance(each, Column))
        yield from (name for each in columns if (name := _type_made(each.type, facts)))


def _type_made(type_: TypeEngine[Any], facts: Facts) -> str | None:
    enum = enum_of(getattr(type_, "item_type", type_), facts.dialect)
    return enum.name if enum is not None and getattr(enum, "create_type", True) else None


def _is(op: object, words: str) -> bool:
    return isinstance(op, CommandOp) and op.words == words


def _name(op: Any) -> str:
    return str(op.name)
