"""An Inspector that shows Alembic the database as if its tables and columns were already renamed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Inspector

from ..console import only_warnings
from ..internals import initialize
from ..review.known_schema import Name, in_new_names

WITH_COLUMNS = (
    "constrained_columns",
    "column_names",
    "include_columns",
    "column_sorting",
    "expressions",
    "sqltext",
    "computed",
    "dialect_options",
)
"""Keys in the reports of an Inspector whose values are column names, or SQL that may contain column names."""


Scope = tuple[str | None] | Name
"""Where a name has to be unique: for a table, (schema,); for a column, (schema, old name of its table)."""


@dataclass
class Renames:
    """The renames of tables and columns: their new names by their old names, in each schema or table."""

    names: dict[Scope, dict[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.names)

    def is_free(self, scope: Scope, old: str, new: str) -> bool:
        """Return True if ``old`` has no new name yet in ``scope``, and ``new`` is not the new name of another."""
        names = self.names.get(scope, {})
        return old not in names and new not in names.values()

    def after(self, table: Name) -> Name:
        """Return the schema of ``table`` and its new name, or its old name if it is not renamed."""
        schema, name = table
        return schema, self.names.get((schema,), {}).get(name, name)

    def before(self, table: Name) -> Name:
        """Return the schema of ``table``, given by its new name, and the old name that it still has in the database."""
        schema, name = table
        return schema, {new: old for old, new in self.names.get((schema,), {}).items()}.get(name, name)

    def translated(self, table: Name, info: Any) -> Any:
        """Return ``info``, an Inspector's report on ``table`` (its old name), with new names of tables and columns."""
        if isinstance(info, list):
            return [self.translated(table, item) for item in info]
        columns = self.names.get(table, {})
        info = {**info, **{key: in_new_names(info[key], columns) for key in WITH_COLUMNS if key in info}}
        if "nullable" in info:  # a column; other things keep their names
            info["name"] = columns.get(info["name"], info["name"])
        if "referred_table" in info:
            referred = info["referred_schema"], info["referred_table"]
            info["referred_table"] = self.after(referred)[1]
            info["referred_columns"] = in_new_names(info["referred_columns"], self.names.get(referred, {}))
        return info


class RenamedInspector(Inspector):
    """An Inspector that reports tables and columns by their new names, as if they were already renamed."""

    def __init__(self, connection: Connection, renames: Renames) -> None:
        initialize(self, connection)
        self.renames = renames

    def get_table_names(self, schema: str | None = None, **options: Any) -> list[str]:
        """Return the names of the tables, new names for those that are renamed."""
        return [self.renames.after((schema, name))[1] for name in super().get_table_names(schema, **options)]


def _of_one_table(read: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(read)
    def translated(self: RenamedInspector, table_name: str, schema: str | None = None, **options: Any) -> Any:
        table = self.renames.before((schema, table_name))
        return self.renames.translated(table, read(self, table[1], schema=schema, **options))

    return translated


def _of_several_tables(read: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(read)
    def translated(
        self: RenamedInspector, schema: str | None = None, filter_names: Any = None, **options: Any
    ) -> dict[Name, Any]:
        old = filter_names and [self.renames.before((schema, name))[1] for name in filter_names]
        found = read(self, schema=schema, filter_names=old, **options)
        return {self.renames.after(table): self.renames.translated(table, info) for table, info in found.items()}

    return translated


for _about in (
    "columns",
    "pk_constraint",
    "foreign_keys",
    "indexes",
    "unique_constraints",
    "check_constraints",
    "table_comment",
    "table_options",
):
    setattr(RenamedInspector, f"get_{_about}", _of_one_table(getattr(Inspector, f"get_{_about}")))
    setattr(RenamedInspector, f"get_multi_{_about}", _of_several_tables(getattr(Inspector, f"get_multi_{_about}")))


def differences(context: MigrationContext, renames: Renames) -> UpgradeOps:
    """Compare the models with the database as if ``renames`` were done, and return operations for the differences."""
    autogen = AutogenContext(context, autogenerate=True)
    assert autogen.connection is not None
    autogen.inspector = RenamedInspector(autogen.connection, renames)
    found = UpgradeOps([])
    with only_warnings():
        autogen.comparators.dispatch("autogenerate", qualifier=autogen.dialect.name)(autogen, found)
    return found
