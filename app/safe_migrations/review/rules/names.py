"""Rules about names: constraints created or dropped without a name, and names that are too long."""

import re
from collections.abc import Iterator
from copy import copy
from typing import Any

from alembic.operations import ops
from sqlalchemy import Constraint, MetaData, UniqueConstraint
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.sql.elements import conv

from ...database import named_by_convention
from ...internals import is_created
from ..recorder import as_table
from .implied_ops import KINDS, column_names, constraints_of, is_inline, table_of
from .registry import BLOCKS, BOTH, SERVERS, WARNS, Problem, RuleContext, rule

CONSTRAINT = re.compile(r"sa\.\w+Constraint\(.*\)$", re.MULTILINE)
"""A constraint at the end of create_table()."""
PREFIXES = {"foreignkey": "fk", "unique": "uq", "primarykey": "pk", "exclude": "excl", "check": "ck"}


def real_name(op: ops.AddConstraintOp, convention: MetaData) -> str | None:
    """Return the constraint's name from the script or the naming convention; None if neither has one.

    Without such a name, the server chooses one.
    """
    given = getattr(op, "constraint_name", None)
    if isinstance(given, conv) or (given is not None and op.constraint_type != "check"):
        return str(given)
    constraint: Any = op.to_constraint()
    try:
        table = named_by_convention(constraint.table, convention)
    except InvalidRequestError:  # a CHECK: the convention needs a name to tell it from others
        return None
    (name,) = {each.name for each in table.constraints if type(each) is type(constraint)}
    return str(name) if isinstance(name, str) else None


def name_for(op: Any, context: RuleContext) -> conv:
    """Return the constraint's name; if it has none, make one in the style of naming conventions, e.g. uq_user_email."""
    columns = column_names(getattr(op, "local_cols", getattr(op, "columns", ["valid"])))
    made = "_".join([PREFIXES[op.constraint_type], table_of(op)[0], *columns])
    return conv(real_name(op, context.tables.convention) or made)


def named(op: Any, context: RuleContext, **options: Any) -> Any:
    """Return a copy of the operation with ``options`` added, and with a name if its constraint has none."""
    again = copy(op)
    again.kw = {**op.kw, **options}
    if op.constraint_name is None:
        again.constraint_name = name_for(op, context)
    return again


@rule(BLOCKS, ops.CreateTableOp, ops.AddColumnOp, ops.AddConstraintOp, new_tables=True)
def unnamed_constraint(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """Report a constraint without a name: later revisions cannot drop it on SQLite, and servers choose different names.

    On servers this only warns. A CHECK without a name blocks there too if the naming convention requires one, because
    Alembic then raises an error.
    """
    convention = context.tables.convention.naming_convention
    for made in _nameless(op, context):
        kind, level = KINDS.get(made.constraint_type, "constraint"), None
        if made.constraint_type == "check" and convention.get("ck") and not context.in_sql:
            consequence = "the naming convention requires a name for it, so this fails"
        elif context.facts.rebuilds:
            consequence = "later revisions cannot drop it"
        else:
            consequence, level = "each database chooses another name, which later revisions have to find out", WARNS
        add = named(made, context)
        where, line = "", context.python(add)
        if isinstance(op, ops.CreateTableOp):
            table = context.python(ops.CreateTableOp.from_table(add.to_constraint().table), batch=False)
            where, line = " in create_table()", f"    {CONSTRAINT.findall(table)[-1]}"
        yield Problem(
            f"creates a {kind} of {table_of(made)[0]} without a name; {consequence}",
            f"give it a name{where}:\n{line}",
            level,
        )


@rule(BLOCKS, ops.DropConstraintOp, ops.DropIndexOp, directions=BOTH, new_tables=True)
def unnamed_drop(op: ops.DropConstraintOp | ops.DropIndexOp, context: RuleContext) -> Problem | None:
    """Report the drop of a constraint or index without its name, which always fails.

    A primary key needs none if the naming convention has its name, or if the database drops it without a name.
    """
    dropped = "index" if isinstance(op, ops.DropIndexOp) else "constraint"
    if (op.index_name if isinstance(op, ops.DropIndexOp) else op.constraint_name) is not None:
        return None
    is_named = context.tables.convention.naming_convention.get("pk") or context.facts.unnamed_primary_keys
    if is_named and getattr(op, "constraint_type", None) == "primary":
        return None
    again = copy(op)
    setattr(again, f"{dropped}_name", _name_of_dropped(op, context))
    kind = PREFIXES.get(str(getattr(op, "constraint_type", None)), "")
    pattern, unnamed = context.tables.convention.naming_convention.get(kind), ""
    if pattern and context.facts.rebuilds and context.direction == "upgrade":
        convention = {kind: pattern}
        unnamed = f"; if it has no name, pass naming_convention={convention!r} to batch_alter_table() and write the"
        unnamed += " name that this convention gives it"
    return Problem(
        f"drops {'an' if dropped == 'index' else 'a'} {dropped} of {op.table_name} without its name, which always"
        " fails",
        f"write the name that the {dropped} has in the database, here and where the {dropped} is created{unnamed}:\n"
        + context.python(again),
    )


def _name_of_dropped(op: ops.DropConstraintOp | ops.DropIndexOp, context: RuleContext) -> str:
    """Return the name of what is dropped, if the revision or the known table has only one of that kind; else "..."."""
    kind = {"foreignkey": ops.CreateForeignKeyOp, "unique": ops.CreateUniqueConstraintOp}.get(
        str(getattr(op, "constraint_type", None)), ops.CreateIndexOp
    )
    made = [each.op for each in context.revision.upgrade if isinstance(each.op, kind)]
    names = {
        str(getattr(each, "index_name", None) or name_for(each, context))
        for each in made
        if table_of(each) == (op.table_name, op.schema)
    }
    return names.pop() if len(names) == 1 else "..."


def _nameless(op: Any, context: RuleContext) -> Iterator[Any]:
    """Yield each constraint that ``op`` creates without a name, as the operation that adds only this constraint."""
    if isinstance(op, ops.AddConstraintOp):
        if not isinstance(op, ops.CreatePrimaryKeyOp) and real_name(op, context.tables.convention) is None:
            yield op
        return
    for constraint, made in constraints_of(as_table(op)):
        loses_name = _loses_name(op, constraint, context) or real_name(made, context.tables.convention) is None
        if loses_name and is_created(constraint, context.facts.sql_dialect):
            yield made


def _loses_name(op: ops.MigrateOperation, constraint: Constraint, context: RuleContext) -> bool:
    """Return True if Alembic writes the constraint into the definition of a new column, and omits its name there."""
    if not isinstance(op, ops.AddColumnOp):
        return False
    rebuilt = context.facts.rebuilds and context.operation.block is not None
    return is_inline(op, constraint) or (rebuilt and isinstance(constraint, UniqueConstraint))


@rule(
    WARNS,
    *(ops.CreateTableOp, ops.AddColumnOp, ops.AlterColumnOp),
    *(ops.RenameTableOp, ops.CreateIndexOp, ops.AddConstraintOp),
    on=SERVERS,
    new_tables=True,
)
def long_identifier(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """Report a name that is too long: PostgreSQL truncates it, so that the models have another; MySQL refuses it."""
    facts = context.facts
    unit = "bytes" if facts.names_in_bytes else "characters"
    for name in filter(facts.is_too_long, _names(op)):
        yield Problem(
            f"uses the name {name}, which is longer than {facts.longest_name} {unit}; the server truncates"
            " or refuses it",
            "use a shorter name here, and in the model or the naming convention:\n"
            + context.python(op).replace(name, facts.shortened(name)),
        )


def _names(op: Any) -> Iterator[str]:
    """Yield the names that an operation gives to tables, columns, constraints and indexes."""
    given = [getattr(op, name, None) for name in ("new_table_name", "modify_name", "index_name", "constraint_name")]
    if isinstance(op, ops.CreateTableOp | ops.AddColumnOp):
        table = as_table(op)
        given += [each.name for each in (table, *table.columns, *table.constraints, *table.indexes)]
    yield from (str(name) for name in given if name)
