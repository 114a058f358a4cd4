"""Operations of this package, and how they are written into a script with nothing but Alembic's `op`."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy
from alembic.autogenerate import renderers
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import render_op
from alembic.operations.ops import (
    AlterColumnOp,
    ExecuteSQLOp,
    MigrateOperation,
    ModifyTableOps,
    OpContainer,
    RenameTableOp,
)
from sqlalchemy import JSON, Column, ColumnElement, DefaultClause, LargeBinary
from sqlalchemy.types import TypeDecorator, TypeEngine

from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..review.rules import paste as _primary_keys  # noqa: F401  # teaches Alembic to write them

# A class of SQLAlchemy's as repr() writes it, inside of another one's.
BARE = re.compile(r"(?<![\w.'\"])([A-Z]\w*)(?=\()")

DIALECT = "op.get_context().dialect.name"


def every(container: OpContainer) -> Iterator[MigrateOperation]:
    """The operations in it, and those in these."""
    for op in container.ops:
        yield op
        if isinstance(op, OpContainer):
            yield from every(op)


class PerDatabase(MigrateOperation):
    """What is done in another way on each product of FACTS, forth and back: a script has to run on all of them."""

    def __init__(
        self, up: Mapping[str, Sequence[MigrateOperation]], down: Mapping[str, Sequence[MigrateOperation]]
    ) -> None:
        self.up = up
        self.down = down

    def reverse(self) -> "PerDatabase":
        """The way back."""
        return PerDatabase(self.down, self.up)

    def is_empty(self) -> bool:
        """Whether it does nothing anywhere, forth and back."""
        return not any((*self.up.values(), *self.down.values()))


class AddEnumValue(PerDatabase):
    """A value for an enum that is a type of its own, last or ``before`` another one. No downgrade takes it away."""

    def __init__(self, facts: Facts, name: str, value: str, before: str | None) -> None:
        super().__init__({facts.product: [ExecuteSQLOp(facts.growing_enum(name, value, before))]}, {})
        self.name = name
        self.value = value

    def to_diff_tuple(self) -> tuple[str, str]:
        """For `flask db check`."""
        return "add_enum_value", f"{self.name}.{self.value}"


class RenameTable(RenameTableOp):
    """Alembic's, with a way back."""

    def reverse(self) -> "RenameTable":
        """The old name again."""
        return RenameTable(self.new_table_name, self.table_name, schema=self.schema)


class RenameColumn(AlterColumnOp):
    """Alembic's, with a way back; outside of batch mode, for SQLite renames a column in place and loses nothing."""

    def reverse(self) -> "RenameColumn":
        """The old name again."""
        kept: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("existing_type", "existing_nullable", "existing_server_default", "existing_comment")
        }
        return RenameColumn(
            self.table_name,
            str(self.modify_name),
            modify_name=self.column_name,
            schema=self.schema,
            **kept,
            **self.kw,
        )


class Batch(ModifyTableOps):
    """A batch, whatever ``render_as_batch`` says; ``checks`` (those without a name) and ``options`` of the table are
    what Alembic does not read of SQLite, and by the ``convention`` it calls constraints that have no name.
    """

    def __init__(
        self,
        table_name: str,
        ops: Sequence[MigrateOperation],
        schema: str | None,
        checks: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
        convention: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(table_name, ops, schema=schema)
        self.checks = checks
        self.options = options or {}
        self.convention = convention or {}


class ExpressionDefault(DefaultClause):
    """A server default that the script writes as ``code``."""

    def __init__(self, expression: "ColumnElement[Any]", code: str) -> None:
        super().__init__(expression)
        self.code = code


class FillColumn(MigrateOperation):
    """One value for all rows that have none; the downgrade has nothing to do."""

    def __init__(self, table_name: str, column: "Column[Any]", value: str, schema: str | None) -> None:
        self.table_name = table_name
        self.column = column
        self.value = value
        self.schema = schema


class Comment(MigrateOperation):
    """A comment in a script, of some lines."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines


class AutocommitBlock(OpContainer):
    """What cannot run inside a transaction."""


@renderers.dispatch_for(PerDatabase)
def _per_database(context: AutogenContext, op: PerDatabase) -> list[str]:
    ways: dict[tuple[str, ...], list[str]] = {}
    for product, facts in FACTS.items():
        lines = tuple(line for each in op.up.get(product, ()) for line in render_op(context, each))
        dialects = ways.setdefault(lines, [])
        if facts.dialect not in dialects:
            dialects.append(facts.dialect)
    nothing = ways.pop((), None)
    if not ways:
        return []
    branches = sorted(ways.items(), key=lambda way: "sqlite" in way[1])
    if len(branches) == 1 and not nothing:
        return list(branches[0][0])
    found = []
    for number, (lines, dialects) in enumerate(branches):
        names = f"== {dialects[0]!r}" if len(dialects) == 1 else f"in {tuple(dialects)!r}"
        last = number and number == len(branches) - 1 and not nothing
        found += ["else:" if last else f"{'elif' if number else 'if'} {DIALECT} {names}:", *lines]
    return [*found, ""]


@renderers.dispatch_for(RenameTable)
def _rename_table(_context: AutogenContext, op: RenameTable) -> str:
    schema = f", schema={op.schema!r}" if op.schema else ""
    return f"op.rename_table({str(op.table_name)!r}, {str(op.new_table_name)!r}{schema})"


@renderers.dispatch_for(RenameColumn)
def _rename_column(context: AutogenContext, op: RenameColumn) -> str:
    stock = AlterColumnOp(
        str(op.table_name),
        str(op.column_name),
        schema=op.schema,
        existing_type=op.existing_type,
        existing_nullable=op.existing_nullable,
        existing_server_default=op.existing_server_default,
        existing_comment=op.existing_comment,
    )
    text = "\n".join(render_op(context, stock))
    head = f"alter_column({stock.table_name!r}, {stock.column_name!r}"
    autoincrement = ", existing_autoincrement=True)" if op.kw.get("existing_autoincrement") else ")"
    return text.replace(head, f"{head}, new_column_name={str(op.modify_name)!r}", 1)[:-1] + autoincrement


@renderers.dispatch_for(Batch)
def _batch(context: AutogenContext, op: Batch) -> list[str]:
    arguments = [repr(str(op.table_name))]
    if op.schema:
        arguments.append(f"schema={op.schema!r}")
    if op.checks:
        arguments.append(f"table_args=({''.join(f'sa.CheckConstraint({text!r}), ' for text in op.checks)})")
    if op.options:
        arguments.append(f"table_kwargs={dict(op.options)!r}")
    if convention := {key: value for key, value in op.convention.items() if isinstance(value, str)}:
        arguments.append(f"naming_convention={convention!r}")
    with context._within_batch():
        lines = [line for each in op.ops for line in render_op(context, each)]
    return [f"with op.batch_alter_table({', '.join(arguments)}) as batch_op:", *lines, ""]


@renderers.dispatch_for(FillColumn)
def _fill_column(_context: AutogenContext, op: FillColumn) -> str:
    quoted = "'" + op.value.replace("'", "''") + "'"
    value, kind = repr(op.value), ", sa.Text()"
    if op.value in ("CURRENT_DATE", "CURRENT_TIME"):
        value, kind = f"sa.func.{op.value.lower()}()", ""
    elif isinstance(op.column.type, JSON):
        value, kind = f"sa.literal_column({quoted!r})", ""
    elif isinstance(op.column.type, LargeBinary):
        value, kind = repr(op.value.encode()), ", sa.LargeBinary()"
    schema = f", schema={op.schema!r}" if op.schema else ""
    name = str(op.column.name)
    return (
        f"op.execute(sa.table({str(op.table_name)!r}, sa.column({name!r}{kind}){schema})"
        f".update().where(sa.column({name!r}).is_(None)).values({{{name!r}: {value}}}))"
    )


@renderers.dispatch_for(Comment)
def _comment(_context: AutogenContext, op: Comment) -> list[str]:
    return [f"# {line}" for line in op.lines]


@renderers.dispatch_for(AutocommitBlock)
def _autocommit_block(context: AutogenContext, op: AutocommitBlock) -> list[str]:
    lines = [line for each in op.ops for line in render_op(context, each)]
    return ["with op.get_context().autocommit_block():", *lines, ""]


def render_type(item: TypeEngine[Any], context: AutogenContext) -> str | bool:
    """A type of an app or of a dialect, and its import; False for what Alembic writes well."""
    module = type(item).__module__
    if isinstance(item, TypeDecorator) and not module.startswith("sqlalchemy.") and not _can_be_read(item, context):
        return _render_plain(item, context)
    theirs = context.opts.get("user_module_prefix") is not None and not module.startswith("sqlalchemy.")
    if theirs or (module.startswith("sqlalchemy.") and not module.startswith("sqlalchemy.dialects.")):
        return False
    if not module.startswith("sqlalchemy."):
        context.imports.add(f"import {module}")
        prefix = module
    elif context.migration_context.impl.render_type(item, context):
        return False
    else:
        prefix = module.split(".")[2]
        context.imports.add(f"from sqlalchemy.dialects import {prefix}")
    return False if item._variant_mapping else f"{prefix}.{_qualified(repr(item))}"


def _can_be_read(item: TypeDecorator[Any], context: AutogenContext) -> bool:
    """Return True if the type's repr() makes a type of the same SQL.

    repr() has the arguments of the underlying type, which the type's own __init__ may not accept.
    """
    module = type(item).__module__
    names = {"sa": sqlalchemy, module.partition(".")[0]: sys.modules[module.partition(".")[0]]}
    try:
        found = eval(f"{module}.{_qualified(repr(item))}", names)
        return bool(found.compile(dialect=context.dialect) == item.compile(dialect=context.dialect))
    except Exception:
        return False


def _render_plain(item: TypeDecorator[Any], context: AutogenContext) -> str:
    """Return the underlying type of ``item``, which is the same to the database, and its variants."""

    def rendered(kind: TypeEngine[Any]) -> str:
        return str(render_type(kind, context) or f"sa.{_qualified(repr(kind))}")

    variants = (f".with_variant({rendered(kind)}, {name!r})" for name, kind in item._variant_mapping.items())
    return rendered(item.impl_instance) + "".join(variants)


def _qualified(text: str) -> str:
    first, bracket, rest = text.partition("(")
    return first + bracket + BARE.sub(lambda name: f"sa.{name[1]}" if hasattr(sqlalchemy, name[1]) else name[1], rest)
