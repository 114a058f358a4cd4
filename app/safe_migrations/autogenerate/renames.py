"""Renames of tables and columns, which autogenerate takes for a drop and an add: asked, or given with -x rename=..."""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from functools import partial
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    AddColumnOp,
    CreateTableOp,
    DropColumnOp,
    DropTableOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, MetaData, Table, inspect

from ..adapters.facts import Facts
from ..console import log
from ..review.known_schema import Name
from .answers import agreed, given_pairs, wrong
from .derived_names import Names, before_columns, in_between, rebuilt, renamed
from .renamed_inspector import Renames, compared
from .rendering import RenameColumn, RenameTable

# Of two tables, so many of the columns have the same name and type, else nobody is asked.
ALIKE = 0.5


def rename(context: MigrationContext, script: MigrationScript, facts: Facts) -> None:
    """Make true renames of what people say is one, in upgrade and downgrade. Raises MigrationError for a wrong -x."""
    assert script.upgrade_ops is not None
    assert script.downgrade_ops is not None
    renaming = Renaming(context, facts)
    renaming.take_given(script.upgrade_ops)
    rest = renaming.left(script.upgrade_ops)
    if renaming.ask_for_tables(rest):
        rest = renaming.left(rest)
    renaming.ask_for_columns(rest)
    if renaming.renames:
        first = renaming.operations()
        script.upgrade_ops.ops[:] = [*first, *renaming.left(rest).ops]
        script.upgrade_ops.reverse_into(script.downgrade_ops)


def full_name(table: Name, *column: str) -> str:
    """As people write it."""
    return ".".join(part for part in (*table, *column) if part)


class Renaming:
    """From answers to operations."""

    def __init__(self, context: MigrationContext, facts: Facts) -> None:
        assert context.connection is not None
        self.context = context
        self.facts = facts
        self.inspector = inspect(context.connection)
        self.renames = Renames()
        self.models = models_of(context)
        self.tables = tables_of(context)

    def left(self, before: UpgradeOps) -> UpgradeOps:
        """What is to be done beside the renames; ``before``, if there are none."""
        return compared(self.context, self.renames) if self.renames else before

    def take_given(self, found: UpgradeOps) -> None:
        """Take what -x says, and refuse what does not fit the models and the database."""
        given = given_pairs("rename")
        named = {full_name(table): table for table in self.tables}
        fitting = [
            *(f"{full_name(old)}:{new}" for old, new in self._pairs_of_tables(found)),
            *(f"{full_name(table, old)}:{new}" for table, old, new in self._pairs_of_columns(found)),
        ]
        for old, new in given.items():
            if old in named:
                self.renames.tables[named[old]] = new
        for old, new in given.items():
            if old in named:
                continue
            name, _, column = old.rpartition(".")
            table = named.get(name) or {full_name(self.renames.after(each)): each for each in self.tables}.get(name)
            if table is None or column not in self._columns(table):
                raise wrong("rename", f"{old}:{new}", f"there is no {old} in the database", fitting)
            self.renames.columns.setdefault(table, {})[column] = new
        for table, new in self.renames.tables.items():
            there = [name for schema, name in self.tables if schema == table[0]]
            models = [name for schema, name in self.models if schema == table[0]]
            same = {old[1]: name for old, name in self.renames.tables.items() if old[0] == table[0]}
            if why := _hindrance(table[1], same, there, models):
                raise wrong("rename", f"{full_name(table)}:{new}", why, fitting)
        for table, columns in self.renames.columns.items():
            model = self.models.get(self.renames.after(table))
            models = [] if model is None else [column.name for column in model.columns]
            for old, new in columns.items():
                if why := _hindrance(old, columns, self._columns(table), models):
                    raise wrong("rename", f"{full_name(table, old)}:{new}", why, fitting)

    def ask_for_tables(self, found: UpgradeOps) -> bool:
        """Ask for each pair of tables that are alike; True if one was renamed."""
        agreed_before = len(self.renames.tables)
        for old, new in self._pairs_of_tables(found):
            taken = [after for (schema, _), after in self.renames.tables.items() if schema == old[0]]
            if (
                old not in self.renames.tables
                and new not in taken
                and agreed(f"Was {full_name(old)} renamed to {new}?")
            ):
                self.renames.tables[old] = new
        return len(self.renames.tables) > agreed_before

    def ask_for_columns(self, found: UpgradeOps) -> None:
        """Ask for each pair of columns of one table."""
        for table, old, new in self._pairs_of_columns(found):
            columns = self.renames.columns.get(table, {})
            what = full_name(self.renames.after(table))
            if (
                old not in columns
                and new not in columns.values()
                and agreed(f"Was {what}.{old} renamed to {what}.{new}?")
            ):
                self.renames.columns.setdefault(table, {})[old] = new

    def operations(self) -> list[MigrateOperation]:
        """Renames of tables, then of columns, then of what follows them; tells of each."""
        names = Names(self.inspector, self.models, self.renames)
        found: list[MigrateOperation] = []
        for schema in dict.fromkeys(schema for schema, _ in self.renames.tables):
            pairs = {old: new for (where, old), new in self.renames.tables.items() if where == schema}
            found += [RenameTable(old, new, schema=schema) for old, new in in_order(pairs)]
        columns = [
            operation
            for table, pairs in self.renames.columns.items()
            for operation in self._columns_renamed(table, pairs)
        ]
        names.find(self.tables)
        ways = [before_columns(names.found), *columns, renamed(names.found, partial(rebuilt, names))]
        for table, new in self.renames.tables.items():
            log.info("Renaming table %s to %s", full_name(table), new)
        for table, pairs in self.renames.columns.items():
            for old, new in pairs.items():
                log.info("Renaming column %s to %s", full_name(self.renames.after(table), old), new)
        return [*found, *ways]

    def _columns_renamed(self, table: Name, pairs: Mapping[str, str]) -> Iterator[RenameColumn]:
        schema, name = table
        known = Table(name, MetaData(), schema=schema, autoload_with=self.context.connection, resolve_fks=False)
        after = self.renames.after(table)
        model = self.models[after]
        by_name = {column.name: column for column in model.columns}
        origins = {old: old for old in pairs}
        for old, new in in_order(pairs):
            origin = origins.pop(old)
            origins[new] = origin
            there, wanted = known.columns[origin], by_name[pairs[origin]]
            restated = self.facts.redefines_columns or self._differs(there, wanted)
            counted = wanted is model.autoincrement_column
            default = wanted.server_default if wanted.server_default and there.server_default else there.server_default
            yield RenameColumn(
                after[1],
                old,
                modify_name=new,
                schema=schema,
                existing_type=there.type if restated else wanted.type,
                existing_nullable=there.nullable,
                existing_server_default=False if counted or default is None else default,
                existing_comment=there.comment,
                existing_autoincrement=counted,
            )

    def _pairs_of_tables(self, found: UpgradeOps) -> list[tuple[Name, str]]:
        """Tables that go, and names of tables that come instead, those that are most alike first."""
        going = [op.to_table() for op in found.ops if isinstance(op, DropTableOp)]
        coming = [op.to_table() for op in found.ops if isinstance(op, CreateTableOp)]
        pairs = [
            ((self._alike(old, new), _similar(old.name, new.name)), (old.schema, old.name), new.name)
            for old in going
            for new in coming
            if old.schema == new.schema
        ]
        return [(old, new) for (alike, _), old, new in sorted(pairs, key=_first, reverse=True) if alike >= ALIKE]

    def _alike(self, old: Table, new: Table) -> float:
        same = [
            column
            for column in old.columns
            if column.name in new.columns and self._fit(column, new.columns[column.name])
        ]
        return 2 * len(same) / (len(old.columns) + len(new.columns))

    def _pairs_of_columns(self, found: UpgradeOps) -> list[tuple[Name, str, str]]:
        """By the old name of their table: columns that go, and those that come instead, the most similar first."""
        pairs = []
        for changes in found.ops:
            if not isinstance(changes, ModifyTableOps):
                continue
            going = [op.to_column() for op in changes.ops if isinstance(op, DropColumnOp)]
            coming = [op.column for op in changes.ops if isinstance(op, AddColumnOp)]
            table = self.renames.before((changes.schema, changes.table_name))
            pairs += [
                (
                    (not self._differs(old, new), old.nullable == new.nullable, _similar(old.name, new.name)),
                    (table, old.name, new.name),
                )
                for old in going
                for new in coming
                if self._fit(old, new)
            ]
        return [pair for _, pair in sorted(pairs, key=_first, reverse=True)]

    def _fit(self, old: "Column[Any]", new: "Column[Any]") -> bool:
        """Whether the values of one can be those of the other; those that are computed are no loss."""
        computed = old.computed is not None or new.computed is not None
        kin = old.type._type_affinity is new.type._type_affinity
        return not computed and (kin or not self._differs(old, new))

    def _differs(self, old: "Column[Any]", new: "Column[Any]") -> bool:
        """Whether the types do, as autogenerate compares them."""
        return self.context.impl.compare_type(old, new)

    def _columns(self, table: Name) -> list[str]:
        return [column["name"] for column in self.inspector.get_columns(table[1], table[0])]


def models_of(context: MigrationContext) -> dict[Name, Table]:
    """The tables of the models; those of the default schema have None for it."""
    assert context.connection is not None
    default = inspect(context.connection).default_schema_name
    metadata = context.opts["target_metadata"]
    return {
        (None if table.schema == default else table.schema, table.name): table
        for each in (metadata if isinstance(metadata, list | tuple) else [metadata])
        for table in each.tables.values()
    }


def tables_of(context: MigrationContext) -> list[Name]:
    """The tables of the database that autogenerate looks at."""
    seen = AutogenContext(context, autogenerate=True)
    schemas = {None, *(schema for schema, _ in models_of(context))}
    return [
        (schema, name)
        for schema in sorted(schemas, key=str)
        for name in sorted(seen.inspector.get_table_names(schema))
        if name != context.version_table and seen.run_name_filters(name, "table", {"schema_name": schema})
    ]


def in_order(pairs: Mapping[str, str]) -> list[tuple[str, str]]:
    """Old and new names, so that each new one is free when its turn comes; in a circle, by a name in between."""
    left, found = dict(pairs), []
    while left:
        old = next((old for old, new in left.items() if new not in left), None)
        if old is None:
            old, new = left.popitem()
            left[in_between(old)] = new
            found.append((old, in_between(old)))
        else:
            found.append((old, left.pop(old)))
    return found


def _hindrance(old: str, renames: Mapping[str, str], there: list[str], models: list[str]) -> str:
    """Why ``old`` cannot be renamed as ``renames`` say, among names that are there and those that the models have."""
    new = renames[old]
    if new not in models:
        return f"the models have no {new}"
    if new in there and new not in renames:
        return f"{new} is in the database already"
    if old in models and old not in renames.values():
        return f"the models still have {old}"
    if [*renames.values()].count(new) > 1:
        return f"{new} can be only one of them"
    return ""


def _similar(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _first(pair: tuple[Any, ...]) -> Any:
    return pair[0]
