"""Rules about columns."""

import re
from copy import deepcopy
from typing import Any

from alembic.operations import ops
from sqlalchemy import JSON, Column, Computed, DefaultClause, Identity, column
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import NullType

from ...adapters.facts import Facts
from ..recorder import made_by
from .paste import as_python, python_type
from .registry import BLOCKS, MYSQL, POSTGRESQL, WARNS, Problem, RuleContext, rule


@rule(BLOCKS, ops.DropColumnOp)
def drop_column(op: ops.DropColumnOp, context: RuleContext) -> Problem:
    """The values are gone, and code of the last release still selects them (strong_migrations, "Removing a column").

    A release that has no attribute for it inserts no value, which a column that is NOT NULL refuses.
    """
    known = context.tables.column(op.table_name, op.column_name, op.schema)
    type_ = known.type if known else None
    null = ops.AlterColumnOp(
        op.table_name,
        op.column_name,
        schema=op.schema,
        existing_type=NullType() if type_ is None else type_,
        modify_nullable=True,
    )
    return Problem(
        f"drops column {op.table_name}.{op.column_name}, and code that is still running reads it",
        "let it be NULL, take it out of the model, deploy, and drop it in the next release:\n"
        + as_python(null, batch=True).replace("sa.NullType()", "..."),
    )


@rule(BLOCKS, ops.AlterColumnOp)
def rename_column(op: ops.AlterColumnOp, _context: RuleContext) -> Problem | None:
    """Code of the last release still uses the old name (strong_migrations, "Renaming a column")."""
    if op.modify_name is None or op.modify_name == op.column_name:
        return None
    return Problem(
        f"renames column {op.table_name}.{op.column_name} to {op.modify_name}, "
        "and code that is still running uses the old name",
        "keep the name in the database, and rename the attribute of the model:\n"
        f'    {op.modify_name} = mapped_column("{op.column_name}", ...)',
    )


@rule(BLOCKS, ops.AddColumnOp)
def add_not_null_column(op: ops.AddColumnOp, context: RuleContext) -> Problem | None:
    """Rows have no value for it: databases refuse that, or invent one."""
    added, name, schema = op.column, op.table_name, op.schema
    if added.nullable or added.server_default is not None or added.primary_key:
        return None
    if context.tables.has_rows(name, schema) is False:
        return None
    consequence = (
        "and each row that is there gets 0, '' or the like, which nobody chose"
        if context.facts.invents_values
        else "and fails, for rows that are there have no value for it"
    )
    without, default = deepcopy(added), deepcopy(added)
    without.nullable, default.server_default = True, DefaultClause("...")
    lines = [ops.AddColumnOp(name, each, schema=schema) for each in (without, default)]
    return Problem(
        f"adds column {name}.{added.name}, which is NOT NULL and has no server_default, {consequence}",
        "add it without NOT NULL, fill it, and make it NOT NULL in a later revision; or give a server_default:\n"
        + "\n".join(as_python(line, batch=context.in_batch) for line in lines),
    )


@rule(BLOCKS, ops.AlterColumnOp)
def set_not_null(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """It fails on a NULL, and so does code of the last release that writes one."""
    if op.modify_nullable is not False or not may_be_null(op, context):
        return None
    what = f"makes column {op.table_name}.{op.column_name} NOT NULL"
    name = context.facts.quoted(op.column_name)
    fill = f"UPDATE {context.facts.quoted(op.table_name, op.schema)} SET {name} = ... WHERE {name} IS NULL"
    if context.tables.finds_in(op.table_name, op.schema, column(op.column_name).is_(None)):
        return Problem(
            f"{what}, and there are rows where it is NULL",
            f"fill them first, in a revision of their own:\n    op.execute({fill!r})",
        )
    return Problem(
        f"{what}, and fails if a row has none by then, as does code that is still running and writes none",
        f"deploy code that writes a value each time, and fill what is there, before this:\n    op.execute({fill!r})",
        WARNS,
    )


def may_be_null(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    """Whether the column could be NULL before; what nobody knows could."""
    if op.existing_nullable is not None:
        return op.existing_nullable
    known = context.tables.column(op.table_name, op.column_name, op.schema)
    return known is None or known.nullable is not False


@rule(BLOCKS, ops.AlterColumnOp, on=POSTGRESQL)
def set_not_null_scans(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Nobody can read while all rows are looked at, unless a CHECK says enough (PostgreSQL manual, "ALTER TABLE")."""
    if op.modify_nullable is not False or not may_be_null(op, context) or _is_checked(op, context):
        return None
    made = not_null_check(op, context.facts)
    validate = context.facts.validating(op.table_name, op.schema, str(made.constraint_name))
    return Problem(
        f"makes column {op.table_name}.{op.column_name} NOT NULL, and nobody can read the table while all rows are "
        "looked at",
        "in one revision, add a CHECK that looks at no row; in the next one, look at them; then this costs nothing, "
        "and the CHECK can go:\n"
        f"{as_python(made)}\n    op.execute({validate!r})",
    )


def not_null_check(op: ops.AlterColumnOp, facts: Facts) -> ops.CreateCheckConstraintOp:
    """A CHECK that says of the column what NOT NULL says, and has not looked at the rows that are there."""
    name = facts.shortened(f"ck_{op.table_name}_{op.column_name}_not_null")
    condition = f"{facts.quoted(op.column_name)} IS NOT NULL"
    check = conv(name)  # the naming convention adds nothing to it
    return ops.CreateCheckConstraintOp(check, op.table_name, condition, schema=op.schema, postgresql_not_valid=True)


def _is_checked(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    """Whether a CHECK that an earlier revision made and validated keeps NULL out; else the scan is in this one."""
    made = {
        each.op.constraint_name for each in context.revision.upgrade if isinstance(each.op, ops.CreateCheckConstraintOp)
    }
    checks = context.tables.table(op.table_name, op.schema).checks
    return any(
        check.valid and name not in made and _says_not_null(check.condition, op.column_name)
        for name, check in checks.items()
    )


def _says_not_null(condition: str, name: str) -> bool:
    """Whether a condition is, or has as one of its parts, that the column is not NULL; one with OR may not."""
    text = _plain(condition)
    parts = [part.strip() for part in text.split(" and ")]
    return " or " not in text and f"{name.lower()} is not null" in parts


def is_not_null_check(condition: str, name: str) -> bool:
    """Whether a condition says that the column is not NULL, and nothing else."""
    return _plain(condition) == f"{name.lower()} is not null"


def _plain(condition: str) -> str:
    return re.sub(r"[()\s]+", " ", condition).replace('"', "").strip().lower()


@rule(BLOCKS, ops.AddColumnOp, on=POSTGRESQL)
def volatile_default_rewrites(op: ops.AddColumnOp, context: RuleContext) -> Problem | None:
    """Nobody can read while each row gets a value of its own (PostgreSQL manual, "ALTER TABLE", Notes)."""
    default, added = op.column.server_default, op.column
    reason = ""
    if isinstance(default, Computed):
        reason = "" if default.persisted is False else "is computed and stored"
    elif isinstance(default, Identity) or _counts_up(op):
        reason = "counts up"
    elif isinstance(default, DefaultClause) and (function := _volatile(default.arg, context.facts)):
        reason = f"gets {function}() for each row"
    if not reason:
        return None
    plain: Column[Any] = Column(added.name, added.type)
    return Problem(
        f"adds column {op.table_name}.{added.name}, which {reason}, and nobody can read {op.table_name} until it is "
        "made anew",
        "add the column alone, then give it the default, and fill the rows that are there in a revision of their own:\n"
        + as_python(ops.AddColumnOp(op.table_name, plain, schema=op.schema), batch=context.in_batch),
    )


def _counts_up(op: ops.AddColumnOp) -> bool:
    """Whether it is SERIAL: as the key of the table, or by a type of that name."""
    table = made_by(op)
    return table.autoincrement_column is not None and op.column.server_default is None


def _volatile(default: object, facts: Facts) -> str | None:
    """The first function in a default of which nobody knows that it gives all rows the same value."""
    if isinstance(default, str):  # a value in quotes
        return None
    text = re.sub(r"'(?:[^']|'')*'", "''", str(default)).lower()
    called = re.findall(r"([a-z_][a-z_0-9.]*)\s*\(", text)
    return next((name for name in called if name.rpartition(".")[2] not in facts.stable_functions), None)


@rule(BLOCKS, ops.AlterColumnOp, on=MYSQL, new_tables=True)
def modify_drops_attributes(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """MODIFY and CHANGE say all of a column, and what they leave out is gone (MySQL manual, "ALTER TABLE Statement").

    Where neither the database nor the history tells what the column has, it may have what the script does not say.
    """
    if not context.redefines_column(op):
        return None
    lost = _lost_in_sql(op, context) if context.in_sql else {**_lost(op, context), **_lost_of_type(op, context)}
    if not lost:
        return None
    column, what = f"{op.table_name}.{op.column_name}", ", ".join(lost)
    if context.in_sql:
        table, name = context.facts.quoted(op.table_name, op.schema), context.facts.quoted(op.column_name)
        statement = f"ALTER TABLE {table} MODIFY {name} ... {' '.join(lost.values())}"
        return Problem(
            f"changes {column}, and what the statement does not say of the column goes: {what}",
            f"say what is to stay:\n    op.execute({statement!r})",
        )
    name = "batch_op.alter_column(" if context.in_batch else f'op.alter_column("{op.table_name}", '
    return Problem(
        f"changes {column}, and what the script does not say of the column goes: {what}",
        "say what is to stay:\n" + f'    {name}"{op.column_name}", ..., {", ".join(filter(None, lost.values()))})',
    )


def _lost_in_sql(op: ops.AlterColumnOp, context: RuleContext) -> dict[str, str]:
    """What goes, and the SQL that keeps it."""
    known = context.tables.column(op.table_name, op.column_name, op.schema)
    lost = {}
    if op.modify_nullable and (known is None or known.nullable is not True):
        lost["NOT NULL" if known is not None and known.nullable is False else "NOT NULL, if it has that"] = "NOT NULL"
    if known is None:
        return lost
    if known.default is not None and not isinstance(known.default, Computed) and op.modify_server_default is None:
        lost[f"DEFAULT {_text(known.default)}"] = f"DEFAULT {_text(known.default)}"
    if known.auto_increment and not op.kw.get("autoincrement"):
        lost["AUTO_INCREMENT"] = "AUTO_INCREMENT"
    if known.comment and not op.modify_comment:
        lost["the comment"] = "COMMENT '...'"
    return lost


def _lost(op: ops.AlterColumnOp, context: RuleContext) -> dict[str, str]:
    """What goes beside the type, and what keeps it."""
    known = context.tables.column(op.table_name, op.column_name, op.schema)
    lost = {}
    nullable = known.nullable if known is not None else None
    if op.modify_nullable is None and op.existing_nullable is not False:
        if nullable is False:
            lost["NOT NULL"] = "existing_nullable=False"
        elif nullable is None and op.existing_nullable is None:
            lost["NOT NULL, if it has that"] = "existing_nullable=..."
    if known is None:
        return lost
    if isinstance(known.default, Computed):
        lost["that it is generated"] = f"existing_server_default=sa.Computed({str(known.default.sqltext)!r})"
    elif known.default is not None and op.modify_server_default is False:
        default = _text(known.default)
        if op.existing_server_default is None or op.existing_server_default is False:
            lost[f"DEFAULT {default}"] = f"existing_server_default=sa.text({default!r})"
        elif "on update" in default.lower() and "on update" not in _text(op.existing_server_default).lower():
            lost[default[default.lower().index("on update") :]] = f"existing_server_default=sa.text({default!r})"
    if known.comment and op.modify_comment is False and not op.existing_comment:
        lost["the comment"] = f"existing_comment={known.comment!r}"
    if known.auto_increment and not (op.kw.get("autoincrement") is not None or op.kw.get("existing_autoincrement")):
        lost["AUTO_INCREMENT"] = "autoincrement=True"
    return lost


def _lost_of_type(op: ops.AlterColumnOp, context: RuleContext) -> dict[str, str]:
    """Alembic needs a type; and one that does not say a collation gets the table's."""
    known = context.tables.column(op.table_name, op.column_name, op.schema)
    before, after = known.type if known is not None else None, op.modify_type or op.existing_type
    if after is None:
        return {"its type, without which this fails": f"existing_type={python_type(before) if before else '...'}"}
    collation = getattr(before, "collation", None)
    if before is not None and collation and not getattr(after, "collation", None) and not isinstance(after, JSON):
        return {f"COLLATE {collation}": f"{'type_' if op.modify_type else 'existing_type'}={python_type(before)}"}
    return {}


def _text(default: Any) -> str:
    """A default as SQL: of a database it is text already, of a script a string is a value."""
    if isinstance(default, DefaultClause):
        default = default.arg
        return f"'{default}'" if isinstance(default, str) else str(default)
    return str(default)
