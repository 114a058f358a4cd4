"""What existing rows get in a NOT NULL column without default: asked, or given with -x default=..."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import click
from alembic.operations.ops import (
    AddColumnOp,
    AlterColumnOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
)
from sqlalchemy import Column, DateTime, Enum, text
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.types import TypeEngine

from app.safe_migrations.adapters.facts import Facts
from app.safe_migrations.adapters.products import FACTS
from app.safe_migrations.autogenerate.answers import given_pairs, somebody_is_there, wrong
from app.safe_migrations.autogenerate.renames import full_name
from app.safe_migrations.autogenerate.rendering import FillColumn

NOW = "CURRENT_TIMESTAMP"


def fill(script: MigrationScript, concerned: list[Facts]) -> None:
    """Give existing rows a value. The downgrade drops the column, as it did. Raises MigrationError for a wrong -x.

    Nobody deploys on the SQLite that people develop on: where no other database is named, the script suits them all.
    """
    products = FACTS.values() if all(facts.one_writer for facts in concerned) else concerned
    without_default = tuple(kind for facts in products for kind in facts.without_default)
    assert script.upgrade_ops is not None
    given = given_pairs("default")
    ops: list[MigrateOperation] = []
    columns = {_name(changes, add): add for changes, add in _unfilled(script.upgrade_ops.ops)}
    for name, value in given.items():
        if name not in columns:
            why = f"{name} is no NOT NULL column without default that is added"
            raise wrong("default", f"{name}:{value}", why, (f"{each}:VALUE" for each in columns))
    for op in script.upgrade_ops.ops:
        values = {}
        for changes, add in _unfilled([op]):
            name = _name(changes, add)
            found = _given(name, given[name], add.column) if name in given else _asked(name, add.column)
            if found is not None:
                values[add] = found
        ops += _filled(op, values, without_default) if isinstance(op, ModifyTableOps) and values else [op]
    script.upgrade_ops.ops[:] = ops


def _unfilled(ops: Iterable[MigrateOperation]) -> Iterator[tuple[ModifyTableOps, AddColumnOp]]:
    for changes in ops:
        if isinstance(changes, ModifyTableOps):
            for op in changes.ops:
                if not isinstance(op, AddColumnOp):
                    continue
                column = op.column
                if not (column.nullable or column.server_default or column.primary_key):
                    yield changes, op


def _name(changes: ModifyTableOps, add: AddColumnOp) -> str:
    return full_name((changes.schema, changes.table_name), add.column.name)


def _given(name: str, value: str, column: "Column[Any]") -> str:
    try:
        return _stored(value, column)
    except (ValueError, ArithmeticError, click.BadParameter) as error:
        raise wrong("default", f"{name}:{value}", f"{value!r} is no {column.type!r} ({error})") from error


def _asked(name: str, column: "Column[Any]") -> str | None:
    """The answer; None if there is nobody, or they have none."""
    if not somebody_is_there():
        return None
    default = column.default.arg if isinstance(column.default, ScalarElementColumnDefault) else ""

    def read(value: Any) -> str | None:
        if value == "":
            return None
        try:
            return _stored("" if value == "''" else str(value), column)
        except (ValueError, ArithmeticError) as error:
            raise click.UsageError(f"{value!r} is no {column.type!r} ({error})") from error

    question = f"Which value do existing rows get for the NOT NULL column {name} ('' is empty, and nothing is none)?"
    shown = getattr(default, "name", default)
    found: str | None = click.prompt(question, default=shown, value_proc=read, show_default=shown != "", err=True)
    return found


def _stored(value: str, column: "Column[Any]") -> str:
    """``value`` as each database takes it in quotes. Raises ValueError and the like if it is none of that type."""
    kind = column.type
    if isinstance(kind, Enum):
        if value not in kind.enums:
            raise ValueError(f"one of {', '.join(kind.enums)}")
        return value
    try:
        python = kind.python_type
    except NotImplementedError:
        return value
    if python is bool:
        return str(int(click.BOOL.convert(value, None, None)))
    if python in (int, float, Decimal):
        return str(python(value))
    if python is UUID:
        return UUID(value).hex
    if python in (datetime, date, time):
        if value.upper() == NOW:
            return NOW
        found = python.fromisoformat(value)
        return found.isoformat(" ") if isinstance(found, datetime) else str(found)
    return value


def _filled(
    changes: ModifyTableOps, values: dict[AddColumnOp, str], without_default: tuple[type[TypeEngine[Any]], ...]
) -> Iterator[MigrateOperation]:
    """Added with the value as default, which goes at once; or filled by an UPDATE, where the type takes no such one."""
    adds, fills, alters = [], [], []
    for add, value in values.items():
        column = add.column
        # CURRENT_TIMESTAMP is a default of a DateTime everywhere, of a Date or a Time only on some databases.
        takes = value != NOW or isinstance(_plain(column), DateTime)
        by_default = takes and not isinstance(_plain(column), without_default)
        new = Column(
            column.name,
            column.type,
            nullable=not by_default,
            server_default=(text(NOW) if value == NOW else value) if by_default else None,
            comment=column.comment,
        )
        adds.append(AddColumnOp(changes.table_name, new, schema=changes.schema))
        alter = AlterColumnOp(
            changes.table_name,
            column.name,
            schema=changes.schema,
            existing_type=column.type,
            existing_comment=column.comment,
            existing_nullable=False if by_default else None,
            modify_nullable=None if by_default else False,
            modify_server_default=None if by_default else False,
        )
        alters.append(alter)
        if not by_default:
            fills.append(FillColumn(changes.table_name, column, value, changes.schema))
    rest = [op for op in changes.ops if op not in values]
    yield ModifyTableOps(changes.table_name, adds, schema=changes.schema)
    yield from fills
    yield ModifyTableOps(changes.table_name, [*alters, *rest], schema=changes.schema)


def _plain(column: "Column[Any]") -> Any:
    """The type, without what a TypeDecorator adds."""
    kind: Any = column.type
    while hasattr(kind, "impl_instance"):
        kind = kind.impl_instance
    return kind
