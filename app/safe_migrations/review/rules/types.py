"""Rules about types of columns."""

from collections.abc import Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import Column, Table, column
from sqlalchemy.types import TypeEngine

from ...adapters.casts import Cast, Kind, outside
from ..recorder import made_by
from .paste import as_python, python_type
from .registry import BLOCKS, POSTGRESQL, SERVERS, WARNS, Problem, RuleContext, rule

BITS_OF_A_KEY = 64
Type = TypeEngine[Any] | None


@rule(BLOCKS, ops.AlterColumnOp)
def change_type(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Casts change values in silence or fail, and a rewrite keeps all out (PostgreSQL manual, "ALTER TABLE", Notes)."""
    old, new = context.type_before(op), op.modify_type
    if (
        new is None or context.facts.kind(new) is None or _is_enum_again(op, context)
    ):  # no such type: it cannot run there
        return None
    cast = context.facts.cast(old, new)
    what = _what(op, old, context)
    if cast is Cast.LOSES and old is None:
        say = f"say what type it has:\n    existing_type=..., type_={python_type(new)}"
        return Problem(f"{what}, and does not say what it was: values that do not fit are changed or refused", say)
    if cast is Cast.LOSES:
        has_value = column(op.column_name).is_not(None)
        level = WARNS if context.tables.finds_in(op.table_name, op.schema, has_value) is False else None
        return Problem(f"{what}: values that do not fit are changed or refused", _new_column(op, context), level)
    if (
        cast is Cast.KEEPS
        and context.facts.rewrites(old, new)
        and context.tables.has_rows(op.table_name, op.schema) is not False
    ):
        return Problem(f"{what}, and nobody can read the table until it is made anew", _new_column(op, context), WARNS)
    return None


@rule(BLOCKS, ops.AlterColumnOp, on=SERVERS)
def shrink_column(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """What is too long or too large is cut, rounded or refused, by database and SQL mode."""
    old, new = context.type_before(op), op.modify_type
    if new is None or context.facts.cast(old, new) is not Cast.SHRINKS:
        return None
    before, after = context.facts.kind(old), context.facts.kind(new)
    condition = outside(before, after, column(op.column_name)) if before and after else None
    too_large = None if condition is None else context.tables.finds_in(op.table_name, op.schema, condition)
    what = _what(op, old, context) + (", and it was larger" if old is None else "")
    if too_large is False:
        return Problem(
            f"{what}: no value is too large now, and it fails if one is by then",
            "deploy code that writes no larger ones before this:\n"
            '    safety_assured = {"shrink-column": "no release writes larger values"}',
            WARNS,
        )
    there = "there are values that are too large" if too_large else "values that are too large are cut or refused"
    return Problem(
        f"{what}: {there}",
        "let the app refuse larger values and leave the column as it is; or shorten those that are there, "
        "and let a review with the database see that none is left:\n    flask db review",
    )


def _what(op: ops.AlterColumnOp, old: TypeEngine[Any] | None, context: RuleContext) -> str:
    was = "" if old is None else f" from {context.facts.spelled(old)}"
    return f"changes column {op.table_name}.{op.column_name}{was} to {context.facts.spelled(op.modify_type)}"


def _is_enum_again(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    """Whether only its values differ, or some go: there are rules for enums."""
    old, new = context.facts.kind(context.type_before(op)), context.facts.kind(op.modify_type)
    if old is None or new is None or not old.family == new.family == "enum":
        return False
    return old.name == new.name or not old.values <= new.values


def _new_column(op: ops.AlterColumnOp, context: RuleContext) -> str:
    added: Column[Any] = Column(f"{op.column_name}_new", op.modify_type)
    line = as_python(ops.AddColumnOp(op.table_name, added, schema=op.schema), batch=context.in_batch)
    return f"add a column, copy what fits, use it, and drop this one in a later release:\n{line}"


@rule(
    WARNS,
    ops.CreateTableOp,
    ops.AddColumnOp,
    ops.CreateForeignKeyOp,
    on=SERVERS,
    new_tables=True,
)
def small_key(
    op: ops.CreateTableOp | ops.AddColumnOp | ops.CreateForeignKeyOp, context: RuleContext
) -> Iterator[Problem]:
    """A key of 32 bits runs out, and to make it larger then is slow; a foreign key is no larger than its column."""
    if isinstance(op, ops.CreateForeignKeyOp):
        yield from _other_types(_references(op, context), context)
        return
    made = made_by(op)
    key = made.autoincrement_column
    kind = None if key is None else context.facts.kind(key.type)
    if key is not None and kind is not None and kind.family == "integer" and kind.size < BITS_OF_A_KEY:
        yield Problem(
            f"makes {made.name}.{key.name} a key of type {context.facts.spelled(key.type)}, "
            f"which has no number after {2 ** int(kind.bits) - 1}",
            "make it larger, in the model too, and so what refers to it (SQLite counts up nothing but INTEGER):\n"
            f"    sa.Column({key.name!r}, sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False)",
        )
    yield from _other_types(_references_of(made, context), context)


def _references(op: ops.CreateForeignKeyOp, context: RuleContext) -> Iterator[tuple[str, Type, str, Type]]:
    """The columns that refer, and those that are referred to, with their types as far as these are known."""
    columns = context.tables.table(op.source_table, op.kw.get("source_schema")).columns
    targets = context.tables.table(op.referent_table, op.kw.get("referent_schema")).columns
    for name, target in zip(op.local_cols, op.remote_cols, strict=False):
        if name in columns and target in targets:
            here, there = f"{op.source_table}.{name}", f"{op.referent_table}.{target}"
            yield here, columns[name].type, there, targets[target].type


def _references_of(made: Table, context: RuleContext) -> Iterator[tuple[str, Type, str, Type]]:
    """The same of a new table, which may refer to itself."""
    for key in made.foreign_keys:
        *schema, table_name, target = key.target_fullname.split(".")
        known = context.tables.column(table_name, target, schema[0] if schema else None)
        own = made.columns.get(target) if table_name == made.name else None
        type_: Type = known.type if known else own.type if own is not None else None
        yield f"{made.name}.{key.parent.name}", key.parent.type, f"{table_name}.{target}", type_


def _other_types(references: Iterator[tuple[str, Type, str, Type]], context: RuleContext) -> Iterator[Problem]:
    for here, type_, there, target in references:
        kinds = context.facts.kind(type_), context.facts.kind(target)
        if target is None or None in kinds or len({_comparable(kind) for kind in kinds if kind}) == 1:
            continue
        yield Problem(
            f"lets {here}, which is {context.facts.spelled(type_)}, refer to {there}, which is "
            f"{context.facts.spelled(target)}: it is refused, or is slow and runs out first",
            f"give {here} the same type, in the model too:\n    {python_type(target)}",
        )


def _comparable(kind: Kind) -> tuple[object, ...]:
    """What has to be equal; how long a text may be does not."""
    return (kind.family, kind.size, kind.unsigned) if kind.family == "integer" else (kind.family,)


@rule(
    WARNS,
    ops.CreateTableOp,
    ops.AddColumnOp,
    ops.AlterColumnOp,
    on=POSTGRESQL,
    new_tables=True,
)
def json_column(op: ops.CreateTableOp | ops.AddColumnOp | ops.AlterColumnOp, context: RuleContext) -> Iterator[Problem]:
    """Type json has no equality, so DISTINCT and GROUP BY fail, and no index (PostgreSQL manual, "JSON Types")."""
    if isinstance(op, ops.AlterColumnOp):
        columns = [(op.column_name, op.modify_type)]
    elif isinstance(op, ops.AddColumnOp):
        columns = [(op.column.name, op.column.type)]
    else:
        columns = [(each.name, each.type) for each in op.columns if isinstance(each, Column)]
    for name, type_ in columns:
        if type_ is not None and context.facts.spelled(type_) == "JSON":
            yield Problem(
                f"makes {op.table_name}.{name} json, which cannot be compared or indexed, and is parsed at each read",
                "take jsonb there, in the model too:\n"
                f"    sa.Column({name!r}, sa.JSON().with_variant(postgresql.JSONB(), 'postgresql'))",
            )
