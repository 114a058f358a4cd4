"""What a finding gives to paste: operations as Flask-Migrate writes them, and queries as the database reads them."""

import re
from textwrap import dedent
from textwrap import indent as _indented
from typing import Any

from alembic.autogenerate import render_python_code
from alembic.operations.ops import AddColumnOp, MigrateOperation, ModifyTableOps, UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import ClauseElement, Column, Select
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeEngine

from app.safe_migrations.adapters.facts import Facts
from app.safe_migrations.progress import only_warnings


def as_python(*operations: MigrateOperation, indent: int = 4, batch: bool = False) -> str:
    """A line for each; with ``batch`` each in a block of its own."""
    with only_warnings():
        context = MigrationContext.configure(dialect=DefaultDialect())
    found = UpgradeOps([_of_table(each) for each in operations] if batch else list(operations))
    text = render_python_code(found, render_as_batch=batch, migration_context=context)
    text = re.sub(r", (table_name|schema)=None(?=[,)])", "", re.sub(r",\n +", ", ", text))
    lines = [line for line in text.splitlines() if line and not line.strip().startswith("#")]
    return _indented(dedent("\n".join(lines)), " " * indent)


def _of_table(operation: Any) -> MigrateOperation:
    table = getattr(operation, "source_table", None) or operation.table_name
    schema = getattr(operation, "schema", None) or getattr(operation, "kw", {}).get("source_schema")
    return ModifyTableOps(table, [operation], schema=schema)


def python_type(type_: TypeEngine[Any]) -> str:
    """A type, as Flask-Migrate writes it."""
    return as_python(AddColumnOp("t", Column("c", type_))).split("sa.Column('c', ")[1].removesuffix(", nullable=True))")


def as_sql(element: ClauseElement, facts: Facts) -> str:
    """One line, with its values."""
    options = {"literal_binds": True, "include_table": isinstance(element, Select)}
    try:
        text = str(element.compile(dialect=facts.sql_dialect, compile_kwargs=options))
    except SQLAlchemyError:  # a value that has no literal
        text = str(element)
    return " ".join(line.strip() for line in text.splitlines())
