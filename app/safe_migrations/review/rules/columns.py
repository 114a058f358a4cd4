"""Rules about columns that are dropped, renamed, added, made NOT NULL or redefined."""

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from alembic.operations import ops
from sqlalchemy import JSON, Column, Computed, DefaultClause, Identity, column
from sqlalchemy.sql.elements import conv
from sqlalchemy.types import NullType

from ...adapters.exact_sql import escaped
from ...adapters.facts import Facts
from ...adapters.postgresql.facts import PostgreSQLFacts
from ..known_schema import Check, KnownColumn
from ..recorder import as_table
from .registry import BLOCKS, MYSQL, POSTGRESQL, WARNS, Problem, RuleContext, rule
from .suggestions import (
    EXAMPLE,
    REHEARSE,
    backfill,
    example_value,
    execute,
    identifier,
    keeping,
    python_type,
    with_imports,
)
from .tables import rebuild_of


@rule(BLOCKS, ops.DropColumnOp, ops.DropTableOp, ops.RenameTableOp)
def drop_column(op: Any, context: RuleContext) -> Problem | None:
    """Report a dropped column: its values are lost, and running code still selects it (strong_migrations).

    The column has to be nullable before: code without the attribute inserts no value, which NOT NULL refuses. Also
    report columns that a rebuild of their table by hand does not copy. Exempt is a generated column that the revision
    adds again as a generated one.
    """
    if not isinstance(op, ops.DropColumnOp):
        rebuild = rebuild_of(context)
        if rebuild is None or not rebuild.lost or rebuild.table != (op.schema, op.table_name):
            return None
        columns = ", ".join(rebuild.lost)
        return Problem(
            f"rebuilds table {op.table_name} without the values of {columns}, which running code still reads",
            "create these columns in the new table too, and copy them; drop them only in the next release:\n"
            + _definitions(rebuild.lost, op, context),
        )
    known = context.column(op)
    if known is not None and known.is_generated and _is_generated_again(op, context):
        return None
    type_ = known.type if known and known.type is not None else NullType()
    name, schema = op.column_name, op.schema
    null = ops.AlterColumnOp(op.table_name, name, schema=schema, existing_type=type_, modify_nullable=True)
    null = keeping(null, known)
    instead = (
        "drop the column only in the next release; in this one remove it from the model, and make it nullable:\n"
        + context.python(null, batch=True).replace("sa.NullType()", "...")
    )
    if known and known.nullable:
        instead = (
            "the column is nullable already: remove it from the model, deploy, and drop it only in the next release,"
            " with this line in the script:\n"
            '    safety_assured = {"drop-column": "nothing has used it since the last release"}'
        )
    return Problem(f"drops column {op.table_name}.{name}, which running code still reads", instead)


def _is_generated_again(op: ops.DropColumnOp, context: RuleContext) -> bool:
    """Return True if the revision adds the dropped column again, under the same name, as a generated column."""
    added = context.revision_ops(ops.AddColumnOp)
    return any(
        (each.schema, each.table_name, each.column.name) == (op.schema, op.table_name, op.column_name)
        and each.column.computed is not None
        for each in added
    )


@rule(BLOCKS, ops.AlterColumnOp)
def rename_column(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report a renamed column: running code still uses the old name (strong_migrations, "Renaming a column")."""
    if op.modify_name is None or op.modify_name == op.column_name:
        return None
    known, attribute = context.column(op), identifier(op.modify_name)
    type_ = context.type_before(op)
    options = "" if type_ is None else f", {python_type(type_, context.facts)}"
    options += ", nullable=False" * (op.existing_nullable is False or (known is not None and known.nullable is False))
    imports = "    import sqlalchemy as sa\n" * ("sa." in options) + "    from sqlalchemy.orm import mapped_column\n"
    return Problem(
        f"renames column {op.table_name}.{op.column_name} to {op.modify_name}, but running code still uses the old"
        " name",
        "keep the column's name in the database, and rename only the attribute of the model; the name goes before its"
        " other arguments, which stay as they are:\n"
        + imports
        + with_imports(f"    {attribute} = mapped_column({op.column_name!r}{options})"),
    )


@rule(BLOCKS, ops.AddColumnOp)
def add_not_null_column(op: ops.AddColumnOp, context: RuleContext) -> Problem | None:
    """Report a new NOT NULL column without a default: it fails on existing rows, or MySQL writes 0 or '' into them."""
    added, name, schema = op.column, op.table_name, op.schema
    if added.nullable or added.server_default is not None or added.primary_key:
        return None
    if context.tables.has_rows(name, schema) is False:
        return None
    consequence = (
        "existing rows get an invented value such as 0 or ''"
        if context.facts.invents_values
        else "it fails because existing rows would have no value"
    )
    nullable = deepcopy(added)
    nullable.nullable = True
    return Problem(
        f"adds column {name}.{added.name}, which is NOT NULL without a server_default; {consequence}",
        "give it a server_default, which existing rows get, too; or backfill it and make it NOT NULL in later"
        " revisions, and in this one add it as nullable:\n"
        + context.python(ops.AddColumnOp(name, nullable, schema=schema)),
    )


def adds_columns(op: Any, names: set[str], context: RuleContext) -> bool:
    """Return True if the revision adds the columns ``names`` to the operation's table."""
    added = context.revision_ops(ops.AddColumnOp)
    return names <= {each.column.name for each in added if (each.schema, each.table_name) == (op.schema, op.table_name)}


@rule(WARNS, ops.AlterColumnOp, code="add-not-null-column")
def new_column_required(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report a column that the revision adds and that needs a value in the end, without a default: code inserts rows.

    On MySQL so does a nullable column whose default is dropped (manual, "Data Type Default Values").
    """
    known = context.column(op)
    if known is None:
        return None
    nullable = known.nullable if op.modify_nullable is None else op.modify_nullable
    default = known.default if op.modify_server_default is False else op.modify_server_default
    needs_value = nullable is False or (op.modify_server_default is None and context.facts.needs_dropped_default)
    if not needs_value or default is not None or known.auto_increment:
        return None
    if (known.nullable, known.default) == (False, None):  # it was so before, which add_not_null_column() reports
        return None
    if not adds_columns(op, {op.column_name}, context):
        return None
    return Problem(
        f"adds column {op.table_name}.{op.column_name}, and takes its default or makes it NOT NULL; running code does"
        " not set it, so its INSERTs fail",
        "do that in the next release, when all running code sets the column:\n" + context.python(op),
    )


@rule(BLOCKS, ops.AlterColumnOp)
def set_not_null(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report a column that becomes NOT NULL, which fails on existing NULLs, and later when code inserts NULL.

    Exempt is the last of several steps: an earlier UPDATE has set a value in all rows, or, in an upgrade that reads the
    rows, a CHECK of an earlier revision rejects NULL. An existing NULL blocks all the same.
    """
    if op.modify_nullable is not False or not _may_be_null(op, context):
        return None
    has_nulls = context.tables.has_rows(op.table_name, op.schema, column(op.column_name).is_(None))
    known = context.column(op)
    is_filled = (known is not None and known.backfilled) or (has_nulls is False and any(_earlier_checks(op, context)))
    if not has_nulls and is_filled:
        return None
    consequence = (
        ", which fails because existing rows have NULL there"
        if has_nulls
        else ". It fails if any row is still NULL, and running code that inserts NULL starts to fail"
    )
    return Problem(
        f"makes {op.table_name}.{op.column_name} NOT NULL{consequence}",
        f"first deploy code that always sets a value, and backfill existing rows, in a separate revision; {EXAMPLE}:\n"
        + _backfill(op, context),
        BLOCKS if has_nulls else WARNS,
        fails=bool(has_nulls),
    )


def _definitions(names: list[str], op: Any, context: RuleContext) -> str:
    """Return the columns of the operation's table as arguments of create_table()."""
    known = context.tables.table(op.table_name, op.schema).columns
    types = {each: python_type(known[each].type or NullType(), context.facts) for each in names}
    lines = [f"    sa.Column({each!r}, {type_})," for each, type_ in types.items()]
    return with_imports("\n".join(lines))


def _backfill(op: ops.AlterColumnOp, context: RuleContext) -> str:
    name, value = context.facts.quoted(op.column_name), example_value(context.type_before(op), context.facts)
    return backfill(op.table_name, op.schema, {op.column_name: value}, f"{name} IS NULL")


def _may_be_null(op: ops.AlterColumnOp, context: RuleContext) -> bool:
    """Return False if the column is known to be NOT NULL already, and True otherwise."""
    if op.existing_nullable is not None:
        return op.existing_nullable
    known = context.column(op)
    return known is None or known.nullable is not False


@rule(BLOCKS, ops.AlterColumnOp, on=POSTGRESQL, locks=True)
def set_not_null_scans(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report SET NOT NULL that scans all rows, because no CHECK rejects NULL yet (PostgreSQL, "ALTER TABLE")."""
    if op.modify_nullable is not False or not _may_be_null(op, context):
        return None
    if any(check.valid for check in _earlier_checks(op, context)):
        return None
    table, schema, made = op.table_name, op.schema, not_null_check(op, context.facts)
    validate = context.postgresql.validate_sql(table, schema, str(made.constraint_name))
    not_null = ops.AlterColumnOp(table, op.column_name, schema=schema, modify_nullable=False)
    drop = ops.DropConstraintOp(made.constraint_name, table, "check", schema=schema)
    return Problem(
        f"makes {op.table_name}.{op.column_name} NOT NULL; PostgreSQL scans the whole table under an exclusive lock,"
        " which blocks reads",
        f"first backfill existing rows; {EXAMPLE}:\n{_backfill(op, context)}\n"
        "add a CHECK as NOT VALID, which does not scan them, in the next revision:\n"
        f"{context.python(made, batch=False)}\n"
        f"validate the CHECK in another one:\n{execute(validate)}\n"
        "and in the last one set NOT NULL, which then needs no scan, and drop the CHECK:\n"
        + context.python(not_null, drop, batch=False),
    )


def not_null_check(op: ops.AlterColumnOp, facts: Facts) -> ops.CreateCheckConstraintOp:
    """Return the operation that adds CHECK (column IS NOT NULL) as NOT VALID: without a scan of existing rows."""
    name = conv(facts.shortened(f"ck_{op.table_name}_{op.column_name}_not_null"))
    condition = f"{facts.quoted(op.column_name)} IS NOT NULL"
    return ops.CreateCheckConstraintOp(name, op.table_name, condition, schema=op.schema, postgresql_not_valid=True)


def _earlier_checks(op: ops.AlterColumnOp, context: RuleContext) -> Iterator[Check]:
    """Yield the CHECKs that reject NULL in the column, at least in new and changed rows.

    One that this revision adds does not count, because its validation scans the table, too.
    """
    made = {each.constraint_name for each in context.revision_ops(ops.CreateCheckConstraintOp)}
    for name, check in context.tables.table(op.table_name, op.schema).checks.items():
        if name not in made and proves_not_null(check.condition, op.column_name):
            yield check


def proves_not_null(condition: str, name: str, alone: bool = False) -> bool:
    """Return True if the condition of a CHECK rejects NULL in column ``name``; with ``alone``, if it does only that."""
    text = re.sub(r"[()\s]+", " ", condition).replace('"', "").strip().lower()
    parts, wanted = [part.strip() for part in text.split(" and ")], f"{name.lower()} is not null"
    return parts == [wanted] if alone else wanted in parts and " or " not in text


@rule(BLOCKS, ops.AddColumnOp, on=POSTGRESQL, locks=True)
def volatile_default_rewrites(op: ops.AddColumnOp, context: RuleContext) -> Problem | None:
    """Report a new column whose value differs in each row: PostgreSQL rewrites the table ("ALTER TABLE", Notes)."""
    default, added = op.column.server_default, op.column
    reason = ""
    if isinstance(default, Computed):
        reason = "" if default.persisted is False else "is generated and stored"
    elif isinstance(default, Identity) or (default is None and as_table(op).autoincrement_column is not None):
        reason = "auto-increments"
    elif isinstance(default, DefaultClause) and (function := _volatile(default.arg, context.postgresql)):
        reason = f"calls {function}() for each row"
    if not reason:
        return None
    what = (
        f"adds column {op.table_name}.{added.name}, which {reason}; PostgreSQL rewrites the whole table and blocks"
        " reads until it is done"
    )
    dropped = {(each.schema, each.table_name, each.column_name) for each in context.revision_ops(ops.DropColumnOp)}
    if isinstance(default, Computed) and (op.schema, op.table_name, added.name) in dropped:
        return Problem(what, REHEARSE)
    return Problem(
        what,
        default_later(op, str(default.arg), context)
        if isinstance(default, DefaultClause)
        else "let the app or a trigger write it in new rows, and backfill existing rows in later revisions; in this one"
        " only add a plain column:\n"
        + context.python(ops.AddColumnOp(op.table_name, Column(added.name, added.type), schema=op.schema)),
    )


def default_later(op: ops.AddColumnOp, default: str, context: RuleContext) -> str:
    """Return the advice to add a column without its default, which is SQL, and to give it to new and old rows later."""
    added, name = op.column, context.facts.quoted(op.column.name)
    plain = ops.AddColumnOp(op.table_name, Column(added.name, added.type), schema=op.schema)
    alter = ops.AlterColumnOp(op.table_name, added.name, schema=op.schema)
    alter.existing_type, alter.modify_server_default = added.type, added.server_default
    return (
        "add the column without a default, and then set the default for new rows:\n"
        f"{context.python(plain, alter)}\n"
        "and backfill existing rows in a separate revision:\n"
        + backfill(op.table_name, op.schema, {added.name: default}, f"{name} IS NULL")
    )


def column_of_new_type(op: ops.AlterColumnOp, context: RuleContext) -> str:
    """Return the line that adds a column of the type that the operation gives to an existing one, as NAME_new."""
    added = Column(f"{op.column_name}_new", op.modify_type or op.existing_type)
    return context.python(ops.AddColumnOp(op.table_name, added, schema=op.schema))


def _volatile(default: object, facts: PostgreSQLFacts) -> str | None:
    """Return the first function in a default that may return a different value for each row; None without one."""
    if isinstance(default, str):  # a value in quotes
        return None
    text = re.sub(r"'(?:[^']|'')*'", "''", str(default)).lower()
    called = re.findall(r"([a-z_][a-z_0-9.]*)\s*\(", text)
    return next((name for name in called if name.rpartition(".")[2] not in facts.stable_functions), None)


@rule(BLOCKS, ops.AlterColumnOp, on=MYSQL, new_tables=True)
def modify_drops_attributes(op: ops.AlterColumnOp, context: RuleContext) -> Problem | None:
    """Report attributes that MODIFY or CHANGE drops because the script does not repeat them, e.g. a default.

    If neither the database nor the history knows the column, the rule assumes that it may be NOT NULL (MySQL manual,
    "ALTER TABLE Statement").
    """
    if not context.redefines_column(op):
        return None
    lost = dict(_lost_attributes(op, context))
    if not lost:
        return None
    if (known := context.column(op)) is not None and known.type is not None:
        instead = f"repeat what the column has to keep:\n{context.python(keeping(op, known))}"
    else:
        keep = " ".join(sql.partition(", ")[0] for sql in lost) if context.in_sql else ", ".join(lost.values())
        where = "write in the column's definition" if context.in_sql else "pass to alter_column()"
        instead = f"{where} what the column has to keep:\n{with_imports(f'    {keep}')}"
    return Problem(
        f"changes {op.table_name}.{op.column_name}, and the column loses what the script does not repeat:"
        f" {', '.join(lost)}",
        instead,
    )


def _lost_attributes(op: ops.AlterColumnOp, context: RuleContext) -> Iterator[tuple[str, str]]:
    """Yield each attribute that the column loses, as SQL, with the argument of alter_column() that keeps it.

    For example ``("NOT NULL", "existing_nullable=False")``.
    """
    known, sql, kw = context.column(op) or KnownColumn(op.column_name, None), context.in_sql, op.kw
    restated = not op.modify_nullable if sql else op.modify_nullable is not None or op.existing_nullable is False
    if known.nullable is False and not restated:
        yield "NOT NULL", "existing_nullable=False"
    elif known.nullable is None and not restated and (sql or op.existing_nullable is None):
        yield "NOT NULL, if the column is NOT NULL", "existing_nullable=..."
    if known.is_generated:
        if not sql:
            yield "its generation expression", f"existing_server_default=sa.Computed({str(known.default.sqltext)!r})"
    elif known.default is not None and op.modify_server_default is (None if sql else False):
        default, existing = _as_text(known.default), None if sql else op.existing_server_default
        lost, on_update = f"DEFAULT {default}", default.lower().find("on update")
        if existing is not None and existing is not False:
            lost = "" if on_update < 0 or "on update" in _as_text(existing).lower() else default[on_update:]
        if lost:
            yield lost, f"existing_server_default=sa.text({escaped(default)!r})"
    if known.comment and not op.modify_comment and (sql or (op.modify_comment is False and not op.existing_comment)):
        yield f"COMMENT {known.comment!r}", f"existing_comment={known.comment!r}"
    restated = bool(kw.get("autoincrement") or (not sql and kw.get("existing_autoincrement")))
    if known.auto_increment and not restated and (sql or kw.get("autoincrement") is None):
        yield "AUTO_INCREMENT", "autoincrement=True"
    if not sql:
        yield from _lost_type(op, known, context)


def _lost_type(op: ops.AlterColumnOp, known: KnownColumn, context: RuleContext) -> Iterator[tuple[str, str]]:
    """Yield the type or the collation if the script does not repeat it, with the argument that keeps it.

    Alembic needs the type. Without a collation, the server gives the column the table's.
    """
    before, after = known.type, op.modify_type or op.existing_type
    collation = getattr(before, "collation", None)
    charset = getattr(after, "charset", None)
    if after is None:
        type_ = "..." if before is None else python_type(before, context.facts)
        yield "its type, which Alembic requires", f"existing_type={type_}"
    elif before is not None and collation and not getattr(after, "collation", None) and not isinstance(after, JSON):
        if charset and context.mysql.default_collation(charset) == collation:
            return
        yield (
            f"COLLATE {collation}",
            f"{'type_' if op.modify_type else 'existing_type'}={python_type(before, context.facts)}",
        )


def _as_text(default: Any) -> str:
    """Return a default as SQL: a string in a script gets quotes; a default read from the database is SQL already."""
    if isinstance(default, DefaultClause):
        default = default.arg
        return f"'{default}'" if isinstance(default, str) else str(default)
    return str(default)
