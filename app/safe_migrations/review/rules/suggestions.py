"""Lines to paste for findings: operations rendered as Python code, and queries rendered as SQL."""

import re
import warnings
from collections.abc import Iterable
from copy import copy
from itertools import groupby
from textwrap import dedent
from textwrap import indent as _indented
from typing import Any

from alembic.autogenerate import render_python_code, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    AddColumnOp,
    CreateIndexOp,
    CreatePrimaryKeyOp,
    CreateUniqueConstraintOp,
    DropIndexOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import ClauseElement, Column, Select
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeEngine

from ...adapters.facts import Facts
from ...console import only_warnings
from ...errors import summary
from .implied_ops import table_of

REHEARSE = (
    "run this revision in a quiet period, and first rehearse it on a copy of the database:\n    flask db rehearse"
)
"""The advice for operations that always block."""


def as_python(*operations: MigrateOperation, indent: int = 4, batch: bool = False) -> str:
    """Return the operations as lines of Python code; with ``batch``, in a batch_alter_table() block for each table.

    Return a comment that says so if an operation cannot be rendered.
    """
    found = UpgradeOps(_in_blocks(operations) if batch else list(operations))
    with only_warnings(), warnings.catch_warnings(action="ignore", category=UserWarning):  # a drop without a name
        context = MigrationContext.configure(dialect=DefaultDialect())
        try:
            text = render_python_code(found, render_as_batch=batch, migration_context=context)
        except Exception as error:  # a type of the app's own: the finding matters more than the line to paste
            return " " * indent + f"# write this operation by hand; it cannot be rendered ({summary(error)})"
    text = re.sub(r", (table_name|schema)=None(?=[,)])", "", re.sub(r",\n +", ", ", text))
    lines = [line for line in text.splitlines() if line and not line.strip().startswith("#")]
    return with_imports(_indented(dedent("\n".join(lines)), " " * indent))


def with_imports(lines: str) -> str:
    """Return the lines; if they use types such as mysql.TEXT(), put the import of the dialect above them."""
    dialects = sorted(set(re.findall(r"(?<![\w.'\"])(mysql|mariadb|postgresql|sqlite)\.(?=[A-Z])", lines)))
    if not dialects:
        return lines
    indent = lines[: len(lines) - len(lines.lstrip())]
    return f"{indent}from sqlalchemy.dialects import {', '.join(dialects)}\n{lines}"


def concurrently(op: CreateIndexOp | DropIndexOp) -> str:
    """Return the Python code that creates or drops the index with CONCURRENTLY, in an autocommit block."""
    again = copy(op)
    again.kw = {**op.kw, "postgresql_concurrently": True}
    return f"    with op.get_context().autocommit_block():\n{as_python(again, indent=8)}"


def execute(statement: str) -> str:
    """Return the line of Python that runs an SQL statement: op.execute(...)."""
    return f"    op.execute({statement!r})"


def _in_blocks(operations: Iterable[MigrateOperation]) -> list[MigrateOperation]:
    return [ModifyTableOps(name, list(found), schema=schema) for (name, schema), found in groupby(operations, table_of)]


@renderers.dispatch_for(CreatePrimaryKeyOp, replace=True)
def _create_primary_key(context: AutogenContext, op: CreatePrimaryKeyOp) -> str:
    """Render op.create_primary_key(), which Alembic does not, with the arguments of create_unique_constraint()."""
    unique = CreateUniqueConstraintOp(op.constraint_name, op.table_name, op.columns, schema=op.schema)
    (text,) = renderers.dispatch(unique)(context, unique)
    return str(text).replace("create_unique_constraint", "create_primary_key", 1)


def python_type(type_: TypeEngine[Any]) -> str:
    """Return a type as Python code, e.g. sa.String(length=80)."""
    line = as_python(AddColumnOp("t", Column("c", type_)))
    return line.partition("sa.Column('c', ")[2].removesuffix(", nullable=True))") or repr(type_)


def as_sql(element: ClauseElement, facts: Facts) -> str:
    """Return an expression or a query as one line of SQL, with values in place of parameters.

    Placeholders remain if a value cannot be written in SQL.
    """
    options = {"literal_binds": True, "include_table": isinstance(element, Select)}
    try:
        text = str(element.compile(dialect=facts.sql_dialect, compile_kwargs=options))
    except SQLAlchemyError:  # a value that has no literal
        text = str(element)
    return " ".join(line.strip() for line in text.splitlines())
