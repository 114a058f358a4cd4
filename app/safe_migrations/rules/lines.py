"""What a finding gives to paste: operations as Flask-Migrate writes them, and queries as the database reads them."""

from typing import Any

from alembic.autogenerate import render_python_code
from alembic.operations.ops import MigrateOperation, UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import ClauseElement, Dialect, make_url
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import SQLAlchemyError

from app.safe_migrations.adapters.facts import Facts
from app.safe_migrations.progress import only_warnings


def as_python(*operations: MigrateOperation, indent: int = 4) -> str:
    """A line for each."""
    with only_warnings():
        context = MigrationContext.configure(dialect=DefaultDialect())
    text = render_python_code(UpgradeOps(list(operations)), migration_context=context)
    lines = [line.strip().replace(", table_name=None", "") for line in text.splitlines()]
    return "\n".join(f"{' ' * indent}{line}" for line in lines if not line.startswith("#"))


def as_sql(element: ClauseElement, facts: Facts) -> str:
    """One line, with its values."""
    options = {"literal_binds": True, "include_table": False}
    try:
        text = str(element.compile(dialect=dialect_of(facts), compile_kwargs=options))
    except SQLAlchemyError:  # a value that has no literal
        text = str(element)
    return " ".join(line.strip() for line in text.splitlines())


def dialect_of(facts: Facts) -> Dialect:
    """SQLAlchemy's, without a DBAPI; it leaves each % as it is."""
    make: Any = make_url(f"{facts.dialect}://").get_dialect()
    dialect: Dialect = make(paramstyle="named")
    return dialect


def quoted(name: str, facts: Facts, schema: str | None = None) -> str:
    """A name as SQL, in quotes if it needs them."""
    preparer = dialect_of(facts).identifier_preparer
    return f"{preparer.quote_schema(schema)}.{preparer.quote(name)}" if schema else preparer.quote(name)
