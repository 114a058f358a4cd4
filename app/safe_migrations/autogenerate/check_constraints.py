"""CHECK constraints: which of them can be compared by name, and those of dropped and renamed columns.

Some databases refuse to drop or rename a column while a CHECK names it.
"""

import re
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    BinaryExpression,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Enum,
    String,
    Table,
    TextClause,
    inspect,
    text,
)
from sqlalchemy import column as sql_column
from sqlalchemy.sql.elements import conv
from sqlalchemy.sql.operators import in_op

from ..adapters.dialects import dialect_of
from ..adapters.exact_sql import escaped
from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..database import Database, models_metadata
from ..errors import MigrationError
from ..internals import copy_column, is_created
from ..review.known_schema import Name, in_new_names
from ..review.rules.implied_ops import implied_ops
from ..review.rules.names import real_name
from ..review.rules.suggestions import as_python, literals
from .renamed_inspector import RenamedInspector, Renames
from .rendering import PerDialect, table_changes

AUTOMATIC = re.compile(r".*_check\d*|.*_chk_\d+|CONSTRAINT_\d+")
"""The names that PostgreSQL, MySQL and MariaDB give a CHECK without a name."""
PLAIN = re.compile(r"[ !#-&(-\[\]-~]*")
"""A text that every database shows in a CHECK as it is: without quotes, backslashes, and letters outside ASCII."""


def is_comparable(
    check: CheckConstraint, reflected: bool, context: MigrationContext, models: Mapping[Name, Table]
) -> bool:
    """Return False if a CHECK that only the models or (``reflected``) only the database has may not be a difference.

    In ``models``: one that this database does not create, such as that of an Enum on PostgreSQL, and one whose name is
    shortened. In the database: one with such a name, or with a name that the database gives the unnamed ones.
    """
    if not reflected:
        assert context.connection is not None
        facts = Database(context.connection).facts
        return is_created(check, context.dialect) and not facts.is_too_long(str(check.name))
    name, model = str(check.name), models.get((check.table.schema, check.table.name))
    own = checks_of(model, context.dialect) if model is not None else []
    if any(not isinstance(each.name, str) for each in own) and AUTOMATIC.fullmatch(name):
        return False
    preparer = context.dialect.identifier_preparer
    return preparer.quote(name) not in {preparer.format_constraint(each) for each in own if isinstance(each.name, conv)}


def replace_changed_values(autogen: AutogenContext, changes: ops.ModifyTableOps, model: Table) -> None:
    """Let ``changes`` replace each CHECK of ``model``, such as an Enum's, whose list of values has changed.

    The lists of the models and of the database are compared if the CHECKs have the same name. Values that a database
    may show in another way are compared only if ``changes`` alters the type of the column.
    """
    assert autogen.inspector is not None
    assert autogen.dialect is not None
    existing = {
        each["name"]: each["sqltext"]
        for each in autogen.inspector.get_check_constraints(changes.table_name, changes.schema)
    }
    altered = {op.column_name for op in changes.ops if isinstance(op, ops.AlterColumnOp) and op.modify_type is not None}
    for check in checks_of(model, autogen.dialect):
        name, (column, after) = str(check.name), _values(check)
        before = literals(existing.get(name, ""))
        is_plain = column in altered or all(map(PLAIN.fullmatch, [*before, *after]))
        if name not in existing or not after or set(before) == set(after) or not is_plain:
            continue
        if autogen.run_object_filters(check, name, "check_constraint", False, None):
            old, new = (
                ops.CreateCheckConstraintOp(
                    conv(name), changes.table_name, sql_column(column, String).in_(values), schema=changes.schema
                )
                for values in (before, after)
            )
            changes.ops += [old.reverse(), new]


def _values(check: CheckConstraint) -> tuple[str, list[str]]:
    """Return the column and the values of a CHECK ``column IN (values)``; empty ones for another CHECK."""
    condition: Any = check.sqltext
    columns = [column for column in check.columns if isinstance(column, Column)]
    if not isinstance(condition, BinaryExpression) or condition.operator is not in_op or len(columns) != 1:
        return "", []
    values = getattr(condition.right, "value", None) or []
    is_column = str(condition.left) == str(columns[0])  # not of check.table, which Alembic changes to render a script
    return (columns[0].name, values) if is_column and all(isinstance(each, str) for each in values) else ("", [])


def checks_of(table: Table, dialect: Dialect) -> list[CheckConstraint]:
    """Return the CHECKs of a model's table that the dialect creates, including those of columns."""
    found = chain(table.constraints, *(column.constraints for column in table.columns))
    return [each for each in found if isinstance(each, CheckConstraint) and is_created(each, dialect)]


def keep_column_checks(upgrade: ops.UpgradeOps) -> None:
    """Give each new table the named CHECKs of its columns, which Alembic does not write into a script."""
    for op in [each for each in upgrade.ops if isinstance(each, ops.CreateTableOp)]:
        columns = [item for item in op.columns if isinstance(item, Column)]
        checks = [each for column in columns for each in column.constraints if isinstance(each, CheckConstraint)]
        named = [each for each in checks if isinstance(each.name, str)]
        op.columns = [*op.columns, *(CheckConstraint(each.sqltext, name=each.name) for each in named)]


def add_type_checks(upgrade: ops.UpgradeOps, models: Mapping[Name, Table]) -> None:
    """Let ``upgrade`` add the named CHECK of a type, such as a Boolean's, once, and only on databases that create it.

    PostgreSQL has no CHECK for a Boolean, and could not even read the condition of SQLite's. The definition of a new
    column would create the CHECK of its type too, at once for all rows, and no downgrade would drop it.
    """
    for changes in table_changes(upgrade):
        model = models.get((changes.schema, changes.table_name))
        for add in [op for op in changes.ops if isinstance(op, ops.AddColumnOp)]:
            _take_out_type_check(add, changes)
        for alter in [op for op in changes.ops if isinstance(op, ops.AlterColumnOp)]:
            _take_out_changed_type_check(alter)
        for op in [each for each in changes.ops if model is not None and isinstance(each, ops.CreateCheckConstraintOp)]:
            products = {product for product in FACTS if _creates(FACTS[product].dialect, op, model)}
            if products != set(FACTS):
                own = [each for each in changes.ops if getattr(each, "constraint_name", None) == op.constraint_name]
                changes.ops[:] = [each for each in changes.ops if each not in own]
                moved = ops.ModifyTableOps(op.table_name, own, schema=op.schema)
                up = dict.fromkeys(products, (moved,))
                created = PerDialect(up, dict.fromkeys(products, (moved.reverse(),)))
                upgrade.ops.insert(upgrade.ops.index(changes) + 1, created)


def _take_out_type_check(add: ops.AddColumnOp, changes: ops.ModifyTableOps) -> None:
    """Replace the CHECK of the new column's type, if it has a name, by an operation of its own in ``changes``.

    If the CHECK cannot be taken out of the type, e.g. a TypeDecorator, remove that operation instead.
    """
    found: list[Any] = [op for facts in FACTS.values() for op in implied_ops(add, facts(), ops.CreateCheckConstraintOp)]
    made = next((op for op in found if op.constraint_name not in [each.name for each in add.column.constraints]), None)
    if made is None or made.constraint_name is None:
        return
    name = real_name(made, models_metadata())
    present = [op for op in changes.ops if isinstance(op, ops.CreateCheckConstraintOp) and op.constraint_name == name]
    if not isinstance(add.column.type, Boolean | Enum):
        changes.ops[:] = [op for op in changes.ops if op not in present]
        return
    add.column = copy_column(add.column)
    kind: Any = add.column.type
    kind.create_constraint = False
    if not present:
        made.constraint_name = conv(str(name))
        changes.ops.insert(changes.ops.index(add) + 1, made)


def _take_out_changed_type_check(alter: ops.AlterColumnOp) -> None:
    """Leave the named CHECK of a new type out of the change of type, which would create it even if it exists."""
    if isinstance(alter.modify_type, Boolean | Enum) and alter.modify_type.name:
        kind: Any = alter.modify_type
        alter.modify_type = kind = kind.copy()
        kind.create_constraint = False


def _creates(dialect: str, op: ops.CreateCheckConstraintOp, model: Any) -> bool:
    return op.constraint_name in [each.name for each in checks_of(model, dialect_of(dialect))]


def keep_conditions(upgrade: ops.UpgradeOps) -> None:
    """Let the downgrade create each CHECK that ``upgrade`` drops with exactly the condition that the database has."""
    for changes in table_changes(upgrade):
        for number, op in enumerate(changes.ops):
            if isinstance(op, ops.DropConstraintOp) and op.constraint_type == "check":
                check = op.to_constraint()
                if isinstance(check, CheckConstraint) and isinstance(check.sqltext, TextClause):
                    changes.ops[number] = _dropped(changes, str(check.name), check.sqltext.text)


def _dropped(changes: ops.ModifyTableOps, name: str, condition: str) -> ops.DropConstraintOp:
    """Return the drop of a CHECK, with the condition that the database shows."""
    exact = text(escaped(condition))
    return ops.CreateCheckConstraintOp(conv(name), changes.table_name, exact, schema=changes.schema).reverse()


def drop_checks_first(upgrade: ops.UpgradeOps, inspector: RenamedInspector) -> None:
    """Add to ``upgrade`` a drop of each CHECK that names a dropped column, before the drop of that column.

    SQLite and MariaDB require this order. A CHECK without a name is left out, because it cannot be dropped.
    """
    for changes in table_changes(upgrade):
        table, schema = changes.table_name, changes.schema
        columns = [op.column_name for op in changes.ops if isinstance(op, ops.DropColumnOp)]
        dropped = [op.constraint_name for op in changes.ops if isinstance(op, ops.DropConstraintOp)]
        checks = inspector.get_check_constraints(table, schema) if columns else []
        changes.ops[:0] = [
            _dropped(changes, check["name"], check["sqltext"])
            for check in _checks_naming(columns, checks)
            if check["name"] not in dropped
        ]


def refuse_renames(context: MigrationContext, renames: Renames, targets: Collection[Facts]) -> None:
    """Raise MigrationError if a CHECK names a renamed column and MySQL or MariaDB, which refuse this, is a target."""
    assert context.connection is not None
    if not any(facts.checks_stop_renames for facts in targets):
        return
    inspector = inspect(context.connection)
    for scope, columns in renames.names.items():
        if len(scope) == 1:
            continue
        schema, table = scope
        checks = inspector.get_check_constraints(table, schema)
        for column, check in [(old, check) for old in columns for check in _checks_naming([old], checks)]:
            raise MigrationError(
                f"MySQL and MariaDB cannot rename {table}.{column} while CHECK {check['name']} names it.",
                "drop the CHECK in one revision, rename the column in the next, and create the CHECK again in a third."
                " Create the first revision with the first line, and put the second line into its upgrade():",
                'flask db revision -m "Drop a CHECK"',
                as_python(ops.DropConstraintOp(conv(check["name"]), table, "check", schema=schema)),
            )


def _checks_naming(columns: Collection[str], checks: Collection[Any]) -> list[Any]:
    """Return the ``checks``, as an Inspector reports them, that have a name and a condition on one of ``columns``."""
    other_names = dict.fromkeys(columns, "\0")
    return [each for each in checks if each["name"] and in_new_names(each["sqltext"], other_names) != each["sqltext"]]
