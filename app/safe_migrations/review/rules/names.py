"""Rules about names: those that constraints get from scripts and from the naming convention, and long ones."""

from collections.abc import Iterator
from copy import copy
from typing import Any

from alembic.operations import ops
from sqlalchemy import Constraint, MetaData, UniqueConstraint
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.sql.elements import conv

from ...database import naming_convention
from ..recorder import made_by
from .implied_ops import constraints_of, is_inline, parts
from .paste import as_python, as_sql
from .registry import BLOCKS, BOTH, SERVERS, WARNS, Problem, RuleContext, rule

NAMING = (
    ops.CreateTableOp,
    ops.AddColumnOp,
    ops.AlterColumnOp,
    ops.RenameTableOp,
    ops.CreateIndexOp,
    ops.AddConstraintOp,
)


def real_name(op: ops.AddConstraintOp) -> str | None:
    """The name in the database; None where there is none, the server chooses it, or the convention cannot make one."""
    given = getattr(op, "constraint_name", None)
    if isinstance(given, conv) or (given is not None and op.constraint_type != "check"):
        return str(given)
    constraint: Any = op.to_constraint()
    try:
        table = constraint.table.to_metadata(MetaData(naming_convention=naming_convention()))
    except InvalidRequestError:  # a CHECK: the convention needs something to tell it from the others
        return None
    (name,) = {each.name for each in table.constraints if type(each) is type(constraint)}
    return str(name) if isinstance(name, str) else None


@rule(BLOCKS, ops.CreateTableOp, ops.AddColumnOp, ops.AddConstraintOp, new_tables=True)
def unnamed_constraint(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """Without a name no revision can drop it; and where the server chooses one, each chooses another."""
    for made in _nameless(op, context):
        kind = {"foreignkey": "foreign key", "check": "CHECK constraint"}.get(made.constraint_type, "constraint")
        fails = made.constraint_type == "check" and naming_convention().get("ck")
        yield Problem(
            f"makes a {kind} of {_table(made)} without a name, "
            + (
                "and the naming convention has none for it: that fails"
                if fails
                else "and no revision can drop it by one"
            ),
            f"give it a name:\n{_with_name(made, op, context)}",
        )


@rule(BLOCKS, ops.DropConstraintOp, ops.DropIndexOp, directions=BOTH, new_tables=True)
def unnamed_drop(op: ops.DropConstraintOp | ops.DropIndexOp, context: RuleContext) -> Problem | None:
    """Without its columns the naming convention makes no name either, but for a primary key; some need none."""
    kind = op.constraint_type if isinstance(op, ops.DropConstraintOp) else None
    name = op.constraint_name if isinstance(op, ops.DropConstraintOp) else op.index_name
    if name is not None or (
        kind == "primary" and (naming_convention().get("pk") or context.facts.unnamed_primary_keys)
    ):
        return None
    thing = "an index" if isinstance(op, ops.DropIndexOp) else "a constraint"
    again = copy(op)
    vars(again).update(
        {"constraint_name" if "constraint_name" in vars(op) else "index_name": conv(_made_name(op, context))}
    )
    return Problem(
        f"drops {thing} of {op.table_name} without a name, which always fails",
        "give it the name that it has in the database, here and where it is made:\n"
        + as_python(again, batch=context.in_batch),
    )


def _nameless(op: Any, context: RuleContext) -> Iterator[Any]:
    """The constraints that ``op`` makes, and that have no name in the database, or one that the server chooses."""
    if isinstance(op, ops.AddConstraintOp):
        if not isinstance(op, ops.CreatePrimaryKeyOp) and real_name(op) is None:
            yield op
        return
    table = made_by(op)
    for constraint, made in constraints_of(table):
        if context.facts.makes(constraint) and (_loses_its_name(op, constraint, context) or real_name(made) is None):
            yield made


def _loses_its_name(op: ops.MigrateOperation, constraint: Constraint, context: RuleContext) -> bool:
    """Whether Alembic writes it into the definition of a column, without the name that it would have beside it."""
    if not isinstance(op, ops.AddColumnOp):
        return False
    rebuilt = context.facts.rebuilds and context.in_batch
    return is_inline(op, constraint) or (rebuilt and isinstance(constraint, UniqueConstraint))


def _table(op: Any) -> str:
    return str(getattr(op, "source_table", None) or op.table_name)


def _columns(op: Any) -> list[str]:
    return [str(getattr(each, "name", each)) for each in getattr(op, "local_cols", None) or getattr(op, "columns", [])]


def _name_for(op: Any) -> str:
    """By the naming convention, or like it."""
    if op.constraint_type == "check":
        return "valid" if naming_convention().get("ck") else f"ck_{_table(op)}_valid"
    short = {"foreignkey": "fk", "unique": "uq", "primarykey": "pk"}.get(op.constraint_type, "excl")
    return real_name(op) or "_".join([short, _table(op), *_columns(op)])


def _with_name(made: Any, op: ops.MigrateOperation, context: RuleContext) -> str:
    """The line that makes it with a name: in the table that is made, or behind the column."""
    name = _name_for(made)
    if not isinstance(op, ops.CreateTableOp):
        again = copy(made)
        again.constraint_name = name if made.constraint_type == "check" else conv(name)
        return as_python(again, batch=context.in_batch)
    if made.constraint_type == "foreignkey":
        schema = f"{made.kw['referent_schema']}." if made.kw.get("referent_schema") else ""
        there = [f"{schema}{made.referent_table}.{each}" for each in made.remote_cols]
        return f"    sa.ForeignKeyConstraint({made.local_cols!r}, {there!r}, name=op.f({name!r}))"
    if made.constraint_type == "check":
        return f"    sa.CheckConstraint({as_sql(made.condition, context.facts)!r}, name={name!r})"
    return f"    sa.UniqueConstraint({', '.join(map(repr, _columns(made)))}, name=op.f({name!r}))"


def _made_name(drop: ops.DropConstraintOp | ops.DropIndexOp, context: RuleContext) -> str:
    """What the script's upgrade() makes of that kind in the table; as the database shows it, if nothing."""
    wanted: Any = ops.CreateIndexOp if isinstance(drop, ops.DropIndexOp) else ops.AddConstraintOp
    kind = getattr(drop, "constraint_type", None)
    for operation in context.revision.upgrade:
        for made in parts(operation.op, context.facts, wanted):
            if _table(made) == drop.table_name and kind in (None, getattr(made, "constraint_type", None)):
                return str(made.index_name or "...") if isinstance(made, ops.CreateIndexOp) else _name_for(made)
    return "..."


@rule(WARNS, *NAMING, on=SERVERS, new_tables=True)
def long_identifier(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """A name that is cut is another than the models have, and one that is refused stops the run halfway."""
    for kind, name in _named(op):
        if context.facts.is_too_long(name):
            unit = "bytes" if context.facts.names_in_bytes else "characters"
            yield Problem(
                f"names {kind} {name}, which is longer than {context.facts.longest_name} {unit}: it is cut or refused",
                f"take a shorter name, in the model or the naming convention too:\n    {context.facts.shortened(name)}",
            )


def _named(op: Any) -> Iterator[tuple[str, str]]:
    """What an operation names, and how."""
    if isinstance(op, ops.RenameTableOp):
        yield "table", op.new_table_name
    elif isinstance(op, ops.AlterColumnOp) and op.modify_name:
        yield "column", op.modify_name
    elif isinstance(op, ops.CreateIndexOp) and op.index_name:
        yield "index", str(op.index_name)
    elif isinstance(op, ops.AddConstraintOp) and getattr(op, "constraint_name", None):
        yield "constraint", str(getattr(op, "constraint_name", ""))
    elif isinstance(op, ops.CreateTableOp | ops.AddColumnOp):
        table = made_by(op)
        yield from [("table", table.name)] if isinstance(op, ops.CreateTableOp) else []
        yield from (("column", each.name) for each in table.columns)
        yield from (("constraint", str(each.name)) for each in table.constraints if each.name)
        yield from (("index", str(each.name)) for each in table.indexes if each.name)
