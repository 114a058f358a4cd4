"""Renames of tables and columns, which autogenerate reports as a drop and an add: asked, or given with -x rename=..."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import (
    AddColumnOp,
    CreateTableOp,
    DropColumnOp,
    DropTableOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, MetaData, Table, inspect

from ..adapters.facts import Facts
from ..console import log
from ..review.known_schema import Name
from .answers import agreed, given_pairs, wrong
from .column_checks import recreate_checks
from .renamed_inspector import Renames, differences
from .rendering import RenameColumn, RenameTable, plain_type

# Two tables are asked about if this share of their columns has the same name and type.
ALIKE = 0.5


def find_renames(context: MigrationContext, upgrade: UpgradeOps) -> Renames:
    """Return what was renamed, and leave in ``upgrade`` the other differences. Raise MigrationError for a wrong -x."""
    questions = Questions(context)
    renames = questions.renames
    questions.take_given(upgrade)
    if renames:
        upgrade.ops[:] = differences(context, renames).ops
    for ask in (questions.ask_for_tables, questions.ask_for_columns):
        if ask(upgrade):
            upgrade.ops[:] = differences(context, renames).ops
    return renames


def full_name(table: Name, *column: str) -> str:
    """Return the dotted name of a table or column, without an empty schema."""
    return ".".join(part for part in (*table, *column) if part)


class Questions:
    """What people say about renames."""

    def __init__(self, context: MigrationContext) -> None:
        assert context.connection is not None
        self.context = context
        self.inspector = inspect(context.connection)
        self.renames = Renames()
        self.models = models_of(context)
        self.tables = tables_of(context)

    def take_given(self, upgrade: UpgradeOps) -> None:
        """Take the answers of -x. Raise MigrationError if one does not fit the models and the database."""
        given = given_pairs("rename")
        named = {full_name(table): table for table in self.tables}
        self.renames.tables |= {named[old]: new for old, new in given.items() if old in named}
        renamed = {full_name(self.renames.after(table)): table for table in self.tables}

        def require(possible: bool, old: str, new: str, why: str) -> None:
            if not possible:
                pairs: list[tuple[tuple[Any, ...], str]] = [(each[:-1], each[-1]) for each in self._pairs(upgrade)]
                fitting = (f"{full_name(*each)}:{name}" for each, name in pairs)
                raise wrong("rename", f"{old}:{new}", why, fitting)

        for old, new in given.items():
            if old not in named:
                name, _, column = old.rpartition(".")
                table = named.get(name) or renamed.get(name)
                exists = table is not None and column in self._columns(table)
                require(exists, old, new, f"there is no {old} in the database")
                assert table is not None
                self.renames.columns.setdefault(table, {})[column] = new
        for table, new in self.renames.tables.items():
            same = {old[1]: name for old, name in self.renames.tables.items() if old[0] == table[0]}
            existing, models = (
                [name for where, name in all if where == table[0]] for all in (self.tables, self.models)
            )
            why = _hindrance(table[1], same, existing, models)
            require(not why, full_name(table), new, why)
        for table, columns in self.renames.columns.items():
            model = self.models.get(self.renames.after(table))
            models = [] if model is None else [column.name for column in model.columns]
            for old, new in columns.items():
                why = _hindrance(old, columns, self._columns(table), models)
                require(not why, full_name(table, old), new, why)

    def ask_for_tables(self, upgrade: UpgradeOps) -> bool:
        """Ask about each pair of tables that are alike; return True if one was renamed."""
        renamed = self.renames.tables
        before = len(renamed)
        for old, new in self._pairs_of_tables(upgrade):
            taken = [after for (schema, _), after in renamed.items() if schema == old[0]]
            if old not in renamed and new not in taken and agreed(f"Was {full_name(old)} renamed to {new}?"):
                renamed[old] = new
        return len(renamed) > before

    def ask_for_columns(self, upgrade: UpgradeOps) -> bool:
        """Ask about each pair of columns of one table; return True if one was renamed."""
        found = False
        for table, old, new in self._pairs_of_columns(upgrade):
            columns = self.renames.columns.get(table, {})
            what = full_name(self.renames.after(table))
            is_free = old not in columns and new not in columns.values()
            if is_free and agreed(f"Was {what}.{old} renamed to {what}.{new}?"):
                self.renames.columns.setdefault(table, {})[old] = new
                found = True
        return found

    def _pairs(self, upgrade: UpgradeOps) -> Iterator[tuple[Any, ...]]:
        return iter([*self._pairs_of_tables(upgrade), *self._pairs_of_columns(upgrade)])

    def _pairs_of_tables(self, upgrade: UpgradeOps) -> list[tuple[Name, str]]:
        """Return dropped tables and the names of new ones, those that are most alike first."""
        dropped = [op.to_table() for op in upgrade.ops if isinstance(op, DropTableOp)]
        created = [op.to_table() for op in upgrade.ops if isinstance(op, CreateTableOp)]
        pairs = [
            ((self._alike(old, new), _similar(old.name, new.name)), (old.schema, old.name), new.name)
            for old in dropped
            for new in created
            if old.schema == new.schema
        ]
        return [(old, new) for (alike, _), old, new in sorted(pairs, key=_first, reverse=True) if alike >= ALIKE]

    def _alike(self, old: Table, new: Table) -> float:
        common = [(column, new.columns[column.name]) for column in old.columns if column.name in new.columns]
        same = [pair for pair in common if self._fit(*pair)]
        return 2 * len(same) / (len(old.columns) + len(new.columns))

    def _pairs_of_columns(self, upgrade: UpgradeOps) -> list[tuple[Name, str, str]]:
        """Return, by the old name of their table, dropped and added columns, the most similar first."""
        pairs = []
        for changes in upgrade.ops:
            if not isinstance(changes, ModifyTableOps):
                continue
            dropped = [op.to_column() for op in changes.ops if isinstance(op, DropColumnOp)]
            added = [op.column for op in changes.ops if isinstance(op, AddColumnOp)]
            table = self.renames.before((changes.schema, changes.table_name))
            pairs += [
                (
                    (not self._differs(old, new), old.nullable == new.nullable, _similar(old.name, new.name)),
                    (table, old.name, new.name),
                )
                for old in dropped
                for new in added
                if self._fit(old, new)
            ]
        return [pair for _, pair in sorted(pairs, key=_first, reverse=True)]

    def _fit(self, old: "Column[Any]", new: "Column[Any]") -> bool:
        """Return True if the values of one can be those of the other; computed values are not lost."""
        computed = old.computed is not None or new.computed is not None
        return not computed and (_family(old) == _family(new) or not self._differs(old, new))

    def _differs(self, old: "Column[Any]", new: "Column[Any]") -> bool:
        return self.context.impl.compare_type(old, new)

    def _columns(self, table: Name) -> list[str]:
        return [column["name"] for column in self.inspector.get_columns(table[1], table[0])]


def rename_operations(context: MigrationContext, renames: Renames, facts: Facts) -> list[MigrateOperation]:
    """Return operations that rename tables, then columns; log each. Keys, CHECKs and sequences keep their names."""
    tables: list[MigrateOperation] = []
    for schema in dict.fromkeys(schema for schema, _ in renames.tables):
        pairs = [(old, new) for (where, old), new in renames.tables.items() if where == schema]
        tables += [RenameTable(old, new, schema=schema) for _, old, new in in_order(pairs)]
    for table, new in renames.tables.items():
        log.info("Renaming table %s to %s", full_name(table), new)
    models, columns = models_of(context), []
    for table, renamed in renames.columns.items():
        model = models[renames.after(table)]
        columns += list(_columns_renamed(context, facts, table, model, renamed))
        for old, new in renamed.items():
            log.info("Renaming column %s to %s", full_name(renames.after(table), old), new)
    drop, create = recreate_checks(context, renames, models)
    return [*tables, *drop, *columns, *create]


def _columns_renamed(
    context: MigrationContext, facts: Facts, table: Name, model: Table, renamed: Mapping[str, str]
) -> Iterator[RenameColumn]:
    assert context.connection is not None
    known = Table(table[1], MetaData(), schema=table[0], autoload_with=context.connection, resolve_fks=False)
    by_name, pairs = {column.name: column for column in model.columns}, list(renamed.items())
    for number, old, new in in_order(pairs):
        existing, wanted = known.columns[pairs[number][0]], by_name[pairs[number][1]]
        redefined = facts.redefines_columns or context.impl.compare_type(existing, wanted)
        numbered = wanted is model.autoincrement_column
        default = existing.server_default and (wanted.server_default or existing.server_default)
        yield RenameColumn(
            model.name,
            old,
            modify_name=new,
            schema=table[0],
            existing_type=existing.type if redefined else wanted.type,
            existing_nullable=existing.nullable,
            existing_server_default=False if numbered or default is None else default,
            existing_comment=existing.comment,
            autoincrement=True if numbered else None,
        )


def models_of(context: MigrationContext) -> dict[Name, Table]:
    """Return the tables of the models; the schema is None if it is the default one."""
    assert context.connection is not None
    default = inspect(context.connection).default_schema_name
    metadata = context.opts["target_metadata"]
    return {
        (None if table.schema == default else table.schema, table.name): table
        for each in (metadata if isinstance(metadata, list | tuple) else [metadata])
        for table in each.tables.values()
    }


def tables_of(context: MigrationContext) -> list[Name]:
    """Return the tables of the database that autogenerate looks at."""
    seen = AutogenContext(context, autogenerate=True)
    schemas = {None, *(schema for schema, _ in models_of(context))}
    return [
        (schema, name)
        for schema in sorted(schemas, key=str)
        for name in sorted(seen.inspector.get_table_names(schema))
        if name != context.version_table and seen.run_name_filters(name, "table", {"schema_name": schema})
    ]


def in_order(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[int, str, str]]:
    """Yield the number of each pair, its old and its new name, so that each new name is free when its turn comes; in a
    circle, one gets a temporary name first.
    """
    left = dict(enumerate(pairs))
    while left:
        taken = [old for old, _ in left.values()]
        free = next((number for number, (_, new) in left.items() if new not in taken), None)
        if free is not None:
            yield free, *left.pop(free)
        else:
            number, (old, new) = left.popitem()
            left[number] = temporary, _ = f"swap_{old}"[:60], new
            yield number, old, temporary


def _hindrance(old: str, renames: Mapping[str, str], existing: list[str], models: list[str]) -> str:
    """Return why ``old`` cannot be renamed as ``renames`` say, or an empty string."""
    new = renames[old]
    if new not in models:
        return f"the models have no {new}"
    if new in existing and new not in renames:
        return f"{new} is in the database already"
    if old in models and old not in renames.values():
        return f"the models still have {old}"
    if [*renames.values()].count(new) > 1:
        return f"{new} can be only one of them"
    return ""


def _family(column: "Column[Any]") -> type:
    """Return what values of the column are in Python; for types that do not say so, their class."""
    kind = plain_type(column)
    try:
        return kind.python_type  # type: ignore[no-any-return]
    except NotImplementedError:
        return type(kind)


def _similar(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _first(pair: tuple[Any, ...]) -> Any:
    return pair[0]
