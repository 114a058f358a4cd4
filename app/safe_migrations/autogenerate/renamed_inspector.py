"""A database read as it will be after renames: Alembic compares that with the models, and finds what is left to do."""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.compare import _produce_net_changes
from alembic.operations.ops import UpgradeOps
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Inspector, inspect

from ..console import only_warnings
from ..review.known_schema import Name

READ = (
    "columns",
    "pk_constraint",
    "foreign_keys",
    "indexes",
    "unique_constraints",
    "table_comment",
    "check_constraints",
    "table_options",
)


@dataclass
class Renames:
    """New names by old ones: of tables; and by the old name of their table, of columns, constraints and indexes."""

    tables: dict[Name, str] = field(default_factory=dict)
    columns: dict[Name, dict[str, str]] = field(default_factory=dict)
    names: dict[Name, dict[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.tables or self.columns)

    def after(self, table: Name) -> Name:
        """The table's new name, or the one that it has."""
        return table[0], self.tables.get(table, table[1])

    def before(self, table: Name) -> Name:
        """The table's old name."""
        old = {self.after(each): each for each in self.tables}
        return old.get(table, table)

    def translated(self, table: Name, info: Any) -> Any:
        """What an Inspector says of ``table``, by the old names, in new ones."""
        info, columns, names = deepcopy(info), self.columns.get(table, {}), self.names.get(table, {})
        for each in info if isinstance(info, list) else [info]:
            self._translate(each, columns, names)
        return info

    def _translate(self, item: dict[str, Any], columns: Mapping[str, str], names: Mapping[str, str]) -> None:
        if "type" in item and "nullable" in item:
            item["name"] = columns.get(item["name"], item["name"])
        elif item.get("name") is not None:
            item["name"] = names.get(item["name"], item["name"])
        for key in ("constrained_columns", "column_names", "include_columns"):
            if item.get(key):
                item[key] = [columns.get(name, name) for name in item[key]]
        for key in ("duplicates_index", "duplicates_constraint"):
            if item.get(key):
                item[key] = names.get(item[key], item[key])
        if item.get("column_sorting"):
            item["column_sorting"] = {columns.get(name, name): value for name, value in item["column_sorting"].items()}
        if item.get("expressions"):
            item["expressions"] = [in_new_names(text, columns) for text in item["expressions"]]
        if item.get("sqltext"):
            item["sqltext"] = in_new_names(item["sqltext"], columns)
        for key, value in item.get("dialect_options", {}).items():
            if isinstance(value, str):
                item["dialect_options"][key] = in_new_names(value, columns)
            elif isinstance(value, list):
                item["dialect_options"][key] = [columns.get(name, name) for name in value]
        if "referred_table" in item:
            referred = item["referred_schema"], item["referred_table"]
            there = self.columns.get(referred, {})
            item["referred_table"] = self.after(referred)[1]
            item["referred_columns"] = [there.get(name, name) for name in item["referred_columns"]]


def in_new_names(text: str, columns: Mapping[str, str]) -> str:
    """SQL with new names of columns, but for what stands in strings."""
    if not columns:
        return text
    names = "|".join(map(re.escape, columns))
    return re.sub(rf"'(?:[^']|'')*'|\b(?:{names})\b", lambda found: columns.get(found[0], found[0]), text)


def compared(context: MigrationContext, renames: Renames) -> UpgradeOps:
    """What is left to do after ``renames``, as autogenerate finds it."""
    autogen = AutogenContext(context, autogenerate=True)
    assert autogen.connection is not None
    vars(autogen)["inspector"] = _inspector(inspect(autogen.connection), renames)
    found = UpgradeOps([])
    with only_warnings():
        _produce_net_changes(autogen, found)
    return found


def _inspector(inspector: Inspector, renames: Renames) -> Inspector:
    """``inspector``, but it tells of all tables in their new names."""
    get_table_names = inspector.get_table_names

    def table_names(schema: str | None = None, **options: Any) -> list[str]:
        return [renames.after((schema, name))[1] for name in get_table_names(schema, **options)]

    def multi(read: Callable[..., Any]) -> Callable[..., Any]:
        def translated(schema: str | None = None, filter_names: Any = None, **options: Any) -> Any:
            old = filter_names and [renames.before((schema, name))[1] for name in filter_names]
            found = read(schema=schema, filter_names=old, **options)
            return {renames.after(table): renames.translated(table, info) for table, info in found.items()}

        # Alembic asks the dialect for a method of this name.
        translated.__name__ = read.__name__
        return translated

    def single(read: Callable[..., Any]) -> Callable[..., Any]:
        def translated(table_name: str, schema: str | None = None, **options: Any) -> Any:
            table = renames.before((schema, table_name))
            return renames.translated(table, read(table[1], schema=schema, **options))

        return translated

    # Alembic reads the tables of one schema at once, and those of the others one by one.
    readers = {f"get_{name}": single(getattr(inspector, f"get_{name}")) for name in READ}
    readers |= {f"get_multi_{name}": multi(getattr(inspector, f"get_multi_{name}")) for name in READ}
    vars(inspector).update(readers, get_table_names=table_names)
    return inspector
