"""Operations of this package, and how they are written into a script with nothing but Alembic's `op`."""

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

from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..internals import variants_of

# A class of SQLAlchemy's as repr() writes it, inside of another one's.
BARE = re.compile(r"(?<![\w.'\"])([A-Z]\w*)(?=\()")

DIALECT = "op.get_context().dialect.name"


def all_ops(container: ops.OpContainer) -> Iterator[ops.MigrateOperation]:
    """Yield the operations of ``container``, and those inside of these."""
    for op in container.ops:
        yield op
        if isinstance(op, ops.OpContainer):
            yield from all_ops(op)


Directions = tuple[Collection[ops.MigrateOperation], Collection[ops.MigrateOperation]]
"""What an upgrade does, and what a downgrade does."""


def table_changes(container: ops.OpContainer) -> list[ops.ModifyTableOps]:
    """Return the changes of tables in ``container``, in a list of their own."""
    return [op for op in container.ops if isinstance(op, ops.ModifyTableOps)]


def remove_empty(container: ops.OpContainer) -> None:
    """Take out the tables of which nothing is changed any more."""
    container.ops[:] = [op for op in container.ops if not (isinstance(op, ops.ModifyTableOps) and op.is_empty())]


class PerDialect(ops.MigrateOperation):
    """Operations that differ by product (a key of FACTS): a script has to run on all of them."""

    def __init__(
        self,
        upgrade: Mapping[str, Collection[ops.MigrateOperation]],
        downgrade: Mapping[str, Collection[ops.MigrateOperation]],
    ) -> None:
        self.upgrade = upgrade
        self.downgrade = downgrade

    @classmethod
    def of(cls, directions: Callable[[Facts], Directions]) -> "PerDialect":
        """Return what ``directions`` gives for each product."""
        found = {product: directions(facts()) for product, facts in FACTS.items()}
        upgrade, downgrade = ({product: both[way] for product, both in found.items()} for way in (0, 1))
        return cls(upgrade, downgrade)

    def reverse(self) -> "PerDialect":
        """Return what takes it back."""
        return PerDialect(self.downgrade, self.upgrade)

    def is_empty(self) -> bool:
        """Return True if no product has an operation, in either direction."""
        return not any((*self.upgrade.values(), *self.downgrade.values()))


class AddEnumValue(PerDialect):
    """A value for an enum that is a type of its own, last or ``before`` another one. No downgrade removes it."""

    def __init__(self, facts: Facts, name: str, value: str, before: str | None) -> None:
        super().__init__({facts.product: [ops.ExecuteSQLOp(facts.add_enum_value_sql(name, value, before))]}, {})
        self.name = name
        self.value = value

    def to_diff_tuple(self) -> tuple[str, str]:
        """Return what `flask db check` prints."""
        return "add_enum_value", f"{self.name}.{self.value}"


class ExpressionDefault(DefaultClause):
    """A server default that the script writes as ``code``."""

    def __init__(self, expression: "ColumnElement[Any]", code: str) -> None:
        super().__init__(expression)
        self.code = code


class Lines(ops.MigrateOperation):
    """Code or comments as the script has them; the downgrade has its own, if any."""

    def __init__(self, *lines: str, downgrade: Collection[str] = ()) -> None:
        self.lines = lines
        self.downgrade = downgrade

    def reverse(self) -> "Lines":
        """Return the lines of the downgrade."""
        return Lines(*self.downgrade, downgrade=self.lines)


class AutocommitBlock(ops.OpContainer):
    """Operations that cannot run inside a transaction."""


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


def plain_type(column: "Column[Any]") -> Any:
    """Return the type of a column, without what a TypeDecorator adds."""
    kind: Any = column.type
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    return kind


def render_type(item: TypeEngine[Any], context: AutogenContext) -> str | bool:
    """Return a type of an app or of a dialect as code, and add its import; False for what Alembic writes well."""
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
    """Return a type of ``dialect`` as one of SQLAlchemy's own, if that is the same there: scripts run on others too."""
    belongs = type(item).__module__.startswith(type(dialect).__module__.rpartition(".")[0])
    if belongs and not variants_of(item) and getattr(item, "create_type", True):
        with suppress(NotImplementedError, CompileError):
            own = item.as_generic()
            return own if own.compile(dialect) == item.compile(dialect) else None
    return None


def _takes_other_arguments(item: TypeDecorator[Any]) -> bool:
    """Return True if the type has an __init__() of its own and not a __repr__(): that of TypeDecorator shows the
    arguments of the underlying type.
    """
    kind = type(item)
    return kind.__init__ is not TypeDecorator.__init__ and kind.__repr__ is TypeDecorator.__repr__


def _code(item: TypeEngine[Any], context: AutogenContext) -> str:
    return str(render_type(item, context) or f"sa.{_qualified(repr(item))}")


def _qualified(text: str) -> str:
    first, bracket, rest = text.partition("(")
    return first + bracket + BARE.sub(lambda name: f"sa.{name[1]}" if hasattr(sqlalchemy, name[1]) else name[1], rest)
