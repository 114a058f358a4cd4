"""Operations that Alembic does not have, and the Python code that a script contains for operations and types."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

import sqlalchemy
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations import ops
from sqlalchemy import Column, ColumnElement, DefaultClause, Dialect
from sqlalchemy.exc import CompileError
from sqlalchemy.types import TypeDecorator, TypeEngine

from ..adapters.exact_sql import escaped
from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..internals import variants_of

# A class name without its module inside the repr() of a type, e.g. Integer in ARRAY(Integer()).
BARE = re.compile(r"(?<![\w.'\"])([A-Z]\w*)(?=\()")

DIALECT = "op.get_context().dialect.name"


def all_ops(container: ops.OpContainer) -> Iterator[ops.MigrateOperation]:
    """Yield all operations in ``container``, including those of nested containers, but not those of a PerDialect."""
    for op in container.ops:
        yield op
        if isinstance(op, ops.OpContainer):
            yield from all_ops(op)


Directions = tuple[Collection[ops.MigrateOperation], Collection[ops.MigrateOperation]]
"""The operations of an upgrade, and those of its downgrade."""


def table_changes(container: ops.OpContainer) -> list[ops.ModifyTableOps]:
    """Return the ModifyTableOps in ``container``, each of which has the changes of one table, as a new list."""
    return [op for op in container.ops if isinstance(op, ops.ModifyTableOps)]


def remove_empty(container: ops.OpContainer) -> None:
    """Remove each ModifyTableOps from ``container`` that has no operation left."""
    container.ops[:] = [op for op in container.ops if not (isinstance(op, ops.ModifyTableOps) and op.is_empty())]


class PerDialect(ops.MigrateOperation):
    """An operation that differs by database product (a key of FACTS); the script has an if for each dialect.

    ``table_name`` is the table that it alters, if it alters one.
    """

    def __init__(
        self,
        upgrade: Mapping[str, Collection[ops.MigrateOperation]],
        downgrade: Mapping[str, Collection[ops.MigrateOperation]],
        table_name: str | None = None,
    ) -> None:
        self.upgrade = upgrade
        self.downgrade = downgrade
        self.table_name = table_name

    @classmethod
    def of(cls, directions: Callable[[Facts], Directions], table_name: str | None = None) -> "PerDialect":
        """Return a PerDialect with the operations that ``directions`` returns for each product."""
        found = {product: directions(facts()) for product, facts in FACTS.items()}
        upgrade, downgrade = ({product: both[way] for product, both in found.items()} for way in (0, 1))
        return cls(upgrade, downgrade, table_name)

    def reverse(self) -> "PerDialect":
        """Return the same operation with upgrade and downgrade exchanged."""
        return PerDialect(self.downgrade, self.upgrade, self.table_name)

    def is_empty(self) -> bool:
        """Return True if no product has an operation, in either direction."""
        return not any((*self.upgrade.values(), *self.downgrade.values()))


def executed(sql: str) -> ops.ExecuteSQLOp:
    """Return an operation that executes exactly ``sql``."""
    return ops.ExecuteSQLOp(escaped(sql))


class AddEnumValue(PerDialect):
    """An operation that adds a value to an enum type, last or before ``before``. No downgrade removes the value."""

    def __init__(self, facts: Facts, name: str, value: str, before: str | None) -> None:
        super().__init__({facts.product: [executed(facts.add_enum_value_sql(name, value, before))]}, {})
        self.name = name
        self.value = value

    def to_diff_tuple(self) -> tuple[str, str]:
        """Return this difference as `flask db check` prints it, e.g. ("add_enum_value", "kind.emu")."""
        return "add_enum_value", f"{self.name}.{self.value}"


class ExpressionDefault(DefaultClause):
    """A server default that is an SQL expression; ``code`` is the Python code for it in the script."""

    def __init__(self, expression: "ColumnElement[Any]", code: str) -> None:
        super().__init__(expression)
        self.code = code


class Lines(ops.MigrateOperation):
    """Lines of Python code or comments for upgrade(), and other lines, if any, for downgrade().

    ``table_name`` is the table that they alter, if they alter one.
    """

    def __init__(self, *lines: str, downgrade: Collection[str] = (), table_name: str | None = None) -> None:
        self.lines = lines
        self.downgrade = downgrade
        self.table_name = table_name

    def reverse(self) -> "Lines":
        """Return the same operation with the lines of upgrade() and downgrade() exchanged."""
        return Lines(*self.downgrade, downgrade=self.lines, table_name=self.table_name)


class AutocommitBlock(ops.OpContainer):
    """Operations that cannot run in a transaction; the script puts them into Alembic's autocommit_block()."""


@renderers.dispatch_for(PerDialect)
def _per_dialect(context: AutogenContext, op: PerDialect) -> list[str]:
    dialects_by_lines: dict[tuple[str, ...], list[str]] = {}
    for product, facts in FACTS.items():
        lines = tuple(line for each in op.upgrade.get(product, ()) for line in render_op(context, each))
        dialects = dialects_by_lines.setdefault(lines, [])
        if facts.dialect not in dialects:
            dialects.append(facts.dialect)
    nothing = dialects_by_lines.pop((), None)
    if not dialects_by_lines:
        return []
    branches = sorted(dialects_by_lines.items(), key=lambda branch: "sqlite" in branch[1])
    if len(branches) == 1 and not nothing:
        return list(branches[0][0])
    found = []
    for number, (lines, dialects) in enumerate(branches):
        names = f"== {dialects[0]!r}" if len(dialects) == 1 else f"in {tuple(dialects)!r}"
        last = number and number == len(branches) - 1 and not nothing
        found += ["else:" if last else f"{'elif' if number else 'if'} {DIALECT} {names}:", *lines]
    return [*found, ""]


@renderers.dispatch_for(Lines)
def _lines(_context: AutogenContext, op: Lines) -> list[str]:
    return list(op.lines)


@renderers.dispatch_for(AutocommitBlock)
def _autocommit_block(context: AutogenContext, op: AutocommitBlock) -> list[str]:
    lines = [line for each in op.ops for line in render_op(context, each)]
    return ["with op.get_context().autocommit_block():", *lines, ""]


_render_alter_column = renderers.dispatch(ops.AlterColumnOp)


@renderers.dispatch_for(ops.AlterColumnOp, replace=True)
def _alter_column(context: AutogenContext, op: ops.AlterColumnOp) -> str:
    """Render the operation as Alembic does, and add postgresql_using, which Alembic omits."""
    text, using = _render_alter_column(context, op), op.kw.get("postgresql_using")
    return text if using is None else f"{text.removesuffix(')')},\n{' ' * 11}postgresql_using={using!r})"


def value_type(column: "Column[Any]") -> type:
    """Return the Python type of a column's values; object if its type does not say."""
    try:
        return column.type.python_type
    except NotImplementedError:
        return object


def plain_type(column: "Column[Any]") -> Any:
    """Return the type of a column; if that is a TypeDecorator, the SQLAlchemy type that it wraps."""
    kind: Any = column.type
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    return kind


def render_type(item: TypeEngine[Any], context: AutogenContext) -> str | bool:
    """Return the Python code for a type that the app or a dialect defines, and add the import that the code needs.

    Return False if Alembic's own code for the type is right.
    """
    module = type(item).__module__
    if module.startswith("sqlalchemy.") and not module.startswith("sqlalchemy.dialects."):
        return False
    if isinstance(item, TypeDecorator) and _takes_other_arguments(item):
        variants = (f".with_variant({_code(kind, context)}, {name!r})" for name, kind in variants_of(item).items())
        return _code(item.impl_instance, context) + "".join(variants)
    if not module.startswith("sqlalchemy."):
        if context.opts.get("user_module_prefix") is not None:
            return False
        context.imports.add(f"import {module}")
        prefix = module
    elif (own := _portable(item, context.dialect)) is not None:
        return _code(own, context)
    elif context.migration_context.impl.render_type(item, context):
        return False
    else:
        prefix = module.split(".")[2]
        context.imports.add(f"from sqlalchemy.dialects import {prefix}")
    return False if variants_of(item) else f"{prefix}.{_qualified(repr(item))}"


def _portable(item: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any] | None:
    """Return SQLAlchemy's generic type for a type of ``dialect``, e.g. DateTime for postgresql.TIMESTAMP.

    Return None if there is no generic type, or if the two are not the same type in ``dialect``. A script with the
    generic type runs on every database.
    """
    belongs = type(item).__module__.startswith(type(dialect).__module__.rpartition(".")[0])
    if belongs and not variants_of(item) and getattr(item, "create_type", True):
        with suppress(NotImplementedError, CompileError):
            own = item.as_generic()
            return own if own.compile(dialect) == item.compile(dialect) else None
    return None


def _takes_other_arguments(item: TypeDecorator[Any]) -> bool:
    """Return True if the repr() of the type shows the wrong arguments, and cannot be written into a script.

    That is so if the class defines __init__() but not __repr__(): TypeDecorator's shows the arguments of the wrapped
    type.
    """
    kind = type(item)
    return kind.__init__ is not TypeDecorator.__init__ and kind.__repr__ is TypeDecorator.__repr__


def _code(item: TypeEngine[Any], context: AutogenContext) -> str:
    return str(render_type(item, context) or f"sa.{_qualified(repr(item))}")


def _qualified(text: str) -> str:
    first, bracket, rest = text.partition("(")
    return first + bracket + BARE.sub(lambda name: f"sa.{name[1]}" if hasattr(sqlalchemy, name[1]) else name[1], rest)
