"""Server defaults and generated columns: which ones differ between models and database, whatever their spelling."""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.ddl.base import IdentityColumnDefault
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    Column,
    Computed,
    DefaultClause,
    FetchedValue,
    Identity,
    MetaData,
    Table,
    UniqueConstraint,
    false,
    text,
    true,
)
from sqlalchemy.types import NullType
from sqlglot import exp

from ..adapters import OWN_TABLES, adapter_of
from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..console import log
from ..errors import MigrationError
from ..internals import copy_column
from ..review.known_schema import Name
from ..review.rules.implied_ops import column_names
from ..review.rules.suggestions import as_python, as_sql, new_revision
from ..review.sql.trees import expression_of
from .rendering import PerDialect, executed, remove_empty, table_changes, value_type

BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "on"), Decimal(1)),
    **dict.fromkeys(("false", "f", "no", "off"), Decimal(0)),
}
"""The texts that PostgreSQL takes for a boolean (its manual, "Boolean Type"), but not each of their prefixes."""


def differs(autogen: AutogenContext, existing: "Column[Any]", wanted: "Column[Any]") -> bool:
    """Return True if the server default or the expression of a column certainly differs from that of the model.

    Two texts are the same if they differ only in quotes, casts of constants, parentheses or case, or if the database
    makes the same text of both. A default that only the database has, on a NOT NULL column, is not a difference:
    `flask db migrate` adds such defaults, so that the previous release can still insert rows without the column.
    """
    if existing.computed is not None or wanted.computed is not None:
        return _is_generated_differently(autogen, existing, wanted)
    facts, default = _facts(autogen), wanted.server_default
    if default is not None and not isinstance(default, DefaultClause):  # FetchedValue: there may be one, or a trigger
        return False
    if wanted is wanted.table.autoincrement_column:
        return False
    before, after = _value(_text(existing), wanted, facts), _value(facts.default(default), wanted, facts)
    if after is None:
        return before is not None and bool(wanted.nullable)
    return _certainly_differ(autogen, facts, wanted, before, after)


def _is_generated_differently(autogen: AutogenContext, existing: "Column[Any]", wanted: "Column[Any]") -> bool:
    """Return True if only one of two columns is generated, or they certainly differ in STORED or in the expression."""
    old, new = existing.computed, wanted.computed
    if old is None or new is None:
        return True
    if None not in (old.persisted, new.persisted) and bool(old.persisted) != bool(new.persisted):
        return True
    facts = _facts(autogen)
    before, after = expression_of(str(old.sqltext), facts), expression_of(as_sql(new.sqltext, facts), facts)
    return _certainly_differ(autogen, facts, wanted, before, after)


def portable_default(autogen: AutogenContext, existing: "Column[Any]", wanted: "Column[Any]") -> FetchedValue | None:
    """Return the column's default in the database, for a downgrade, so that every database accepts a constant."""
    facts, written = _facts(autogen), _text(existing)
    value = _value(written, wanted, facts)
    if "'" in written and isinstance(value, Decimal | exp.Literal):
        return DefaultClause(str(value.this if isinstance(value, exp.Literal) else value))
    if isinstance(value, Decimal) and value_type(wanted) is bool:
        return DefaultClause(true() if value else false())
    if facts.rewrites_sql and value == exp.CurrentTimestamp() and "current" in written.lower():
        return DefaultClause(text("CURRENT_TIMESTAMP"))
    return existing.server_default


def _text(existing: "Column[Any]") -> str:
    """Return the server default of a column of the database as SQL; empty if it has none."""
    return str(existing.server_default.arg) if isinstance(existing.server_default, DefaultClause) else ""


def _facts(autogen: AutogenContext) -> Facts:
    assert autogen.dialect is not None
    return FACTS["mariadb" if getattr(autogen.dialect, "is_mariadb", False) else autogen.dialect.name]()


def _certainly_differ(autogen: AutogenContext, facts: Facts, wanted: "Column[Any]", before: Any, after: Any) -> bool:
    """Return True if ``before``, what the database has, is certainly not ``after``, what the model says.

    SQLAlchemy does not see some defaults of MariaDB (None), such as lcase('A'): then it does not see the stored one
    either.
    """
    if before == after:
        return False

    if facts.rewrites_sql and (stored := _as_stored(autogen, wanted)) is not None:
        if wanted.computed is None:
            return bool(before != _value(stored["default"] or "", wanted, facts))
        return bool(before != expression_of(stored.get("computed", {}).get("sqltext", ""), facts))
    known: Any = (Decimal, exp.Expression)
    if facts.rewrites_sql:  # it has a spelling of its own for dates, JSON and the like
        known = (Decimal, exp.Literal) if value_type(wanted) is str else Decimal
    return (before is None or isinstance(before, known)) and isinstance(after, known)


def _as_stored(autogen: AutogenContext, column: "Column[Any]") -> Any:
    """Return how the database would report a column of the models; None if it refuses.

    Ask it with a temporary table that has the column, and for a generated column also those that it may be computed
    from.
    """
    assert autogen.connection is not None
    assert autogen.dialect is not None
    columns = []
    for each in column.table.columns if column.computed is not None else [column]:
        default: Any = each.computed and Computed(each.computed.sqltext, each.computed.persisted)
        if default is not None and default.persisted is None and autogen.dialect.name == "postgresql":
            default.persisted = True  # before PostgreSQL 18, SQLAlchemy warns that this is what it creates
        if each is column and isinstance(each.server_default, DefaultClause):
            default = DefaultClause(each.server_default.arg)
        columns.append(Column(each.name, copy_column(each).type, *([] if default is None else [default])))
    table = Table(f"{OWN_TABLES}compared", MetaData(), *columns, prefixes=["TEMPORARY"])
    table.constraints.clear()  # those of types
    found = adapter_of(autogen.connection.engine).columns_as_stored(autogen.connection, table)
    return next((each for each in found if each["name"] == column.name), None)


def _value(sql: str, column: "Column[Any]", facts: Facts) -> Any:
    """Return a default in one spelling: a Decimal, a constant as a syntax tree, or any other tree; None for NULL.

    SQL that cannot be parsed is returned as it is.
    """
    tree = expression_of(sql, facts) if sql else exp.Null()
    if isinstance(tree, exp.Null):
        return None
    negative = isinstance(tree, exp.Neg) and isinstance(tree.this, exp.Literal)
    constant = tree.this if negative else tree
    if not isinstance(constant, exp.Literal | exp.Boolean):
        return tree
    written = ("-" if negative else "") + str(constant.this)
    python = value_type(column)
    try:
        if python is bool and written.lower() in BOOLEANS:
            return BOOLEANS[written.lower()]
        if python in (bool, int, float, Decimal):
            return Decimal(written)
    except InvalidOperation:
        pass
    return exp.Literal.string(written)


def alter_identities(upgrade: ops.UpgradeOps, context: MigrationContext) -> None:
    """Replace the changes of Identity in ``upgrade`` by SQL for PostgreSQL, on which alone there are such changes.

    Alembic's script says nothing of the Identity that a column has, and then fails to add another.
    """

    def sql(op: ops.AlterColumnOp, old: Any, new: Any) -> tuple[ops.ExecuteSQLOp]:
        options = {"schema": op.schema, "existing_server_default": old}
        element = IdentityColumnDefault(op.table_name, op.column_name, new, context.impl, **options)
        return (executed(str(element.compile(dialect=context.dialect)).strip()),)

    for changes in table_changes(upgrade):
        for op in [each for each in changes.ops if isinstance(each, ops.AlterColumnOp)]:
            old, new = op.existing_server_default, op.modify_server_default
            if new is not False and (isinstance(old, Identity) or isinstance(new, Identity)):
                product = context.dialect.name
                altered = PerDialect({product: sql(op, old, new)}, {product: sql(op, new, old)})
                upgrade.ops.insert(upgrade.ops.index(changes) + 1, altered)
                _leave_out_default(op, changes)
    remove_empty(upgrade)


def _leave_out_default(op: ops.AlterColumnOp, changes: ops.ModifyTableOps) -> None:
    """Take the change of the default out of ``op``; if ``op`` then changes nothing, take it out of ``changes``."""
    op.modify_server_default = False
    if not op.has_changes():
        changes.ops.remove(op)


def leave_out_generated(upgrade: ops.UpgradeOps, models: Mapping[Name, Table], targets: Sequence[Facts]) -> None:
    """Take changes of generated columns out of ``upgrade``, and log lines that make and revert them.

    Raise MigrationError with these lines if nothing remains. Alembic has no ALTER for them: the column has to be added
    again, with its indexes and unique constraints. The lines are for the first of ``targets``; every target accepts the
    new column.
    """
    names: list[str] = []
    up: list[ops.MigrateOperation] = []
    down: list[ops.MigrateOperation] = []
    for changes in table_changes(upgrade):
        for op in [each for each in changes.ops if isinstance(each, ops.AlterColumnOp)]:
            defaults, name = (op.existing_server_default, op.modify_server_default), op.column_name
            if defaults[1] is False or not any(isinstance(each, Computed) for each in defaults):
                continue
            table, schema = changes.table_name, changes.schema
            wanted = next(each for each in models[schema, table].columns if each.name == name)
            keys = _keys_of(wanted, changes)
            for column, lines in ((copy_column(wanted), up), (_column_before(op), down)):
                add = ops.AddColumnOp(table, generated_for(targets, column), schema=schema)
                lines += [*(key.reverse() for key in keys), ops.DropColumnOp(table, name, schema=schema), add, *keys]
            names.append(f"{table}.{name}")
            changes.ops.remove(op)  # the added column has all of the model's attributes
    remove_empty(upgrade)
    if not names:
        return
    listed = ", ".join(names)
    what = f"the database generates {listed} differently than the models say."
    fix = "write this by hand, in a separate revision; it adds each column again:"
    code = [new_revision(f"generate {listed} again").strip()]
    for function, lines in (("upgrade", up), ("downgrade", down)):
        code += [f"def {function}():", *as_python(*lines, batch=True, facts=targets[0]).splitlines()]
    if upgrade.is_empty():
        raise MigrationError(what, fix, *code)
    log.warning("%s `flask db migrate` does not change them; %s\n%s", what, fix, "\n".join(code))


def _keys_of(column: "Column[Any]", changes: ops.ModifyTableOps) -> list[Any]:
    """Return operations that create the indexes and unique constraints of ``column``, except those in ``changes``."""
    new = {_name(op) for op in changes.ops if isinstance(op, ops.CreateIndexOp | ops.CreateUniqueConstraintOp)}
    unique = [each for each in column.table.constraints if isinstance(each, UniqueConstraint)]
    keys: list[Any] = [
        *map(ops.CreateIndexOp.from_index, column.table.indexes),
        *map(ops.AddConstraintOp.from_constraint, unique),
    ]
    return [key for key in keys if _name(key) not in new and column.name in column_names(key.columns)]


def _name(op: Any) -> Any:
    return op.index_name if isinstance(op, ops.CreateIndexOp) else op.constraint_name


def generated_for(targets: Sequence[Facts], column: "Column[Any]") -> "Column[Any]":
    """Return ``column``, or a nullable copy, if it is generated and a target refuses NOT NULL for that (error 1064)."""
    if column.computed is not None and not all(facts.generated_not_null for facts in targets):
        column = copy_column(column)  # leave the model's own column as it is
        column.nullable = True
    return column


def _column_before(op: ops.AlterColumnOp) -> "Column[Any]":
    """Return the column as it is in the database; nullable, if rows would otherwise have no value in it."""
    default: Any = op.existing_server_default or None
    if isinstance(default, Computed):
        default = Computed(default.sqltext, default.persisted)
    elif isinstance(default, DefaultClause):
        default = DefaultClause(default.arg)
    type_ = op.existing_type if op.existing_type is not None else NullType()
    nullable = default is None or op.existing_nullable is not False
    return Column(op.column_name, type_, *([] if default is None else [default]), nullable=nullable)
