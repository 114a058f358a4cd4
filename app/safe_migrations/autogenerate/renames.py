"""Renames of tables and columns, which autogenerate reports as a drop and an add: asked, or given with -x rename=..."""

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from functools import partial
from typing import Any

from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Table, inspect

from ..adapters.facts import Facts
from ..console import log
from ..errors import MigrationError
from ..review.known_schema import KnownColumn, Name
from ..review.rules.possible_renames import same_family, similarity
from .questions import agreed, given_pairs, wrong
from .renamed_inspector import Renames, differences
from .rendering import Directions, Lines, PerDialect, table_changes


def find_renames(context: MigrationContext, upgrade: ops.UpgradeOps, facts: Facts) -> Renames:
    """Return what was renamed, and leave in ``upgrade`` the other differences. Raise MigrationError for a wrong -x."""
    questions = Questions(context, facts)
    for ask in (questions.take_given, questions.ask_for_tables, questions.ask_for_columns):
        ask(upgrade)
        if questions.renames:
            upgrade.ops[:] = differences(context, questions.renames).ops
    return questions.renames


def full_name(*names: str | None) -> str:
    """Return the dotted name of a table or column, without an empty schema."""
    return ".".join(name for name in names if name)


class Questions:
    """The questions about renames, and their answers."""

    def __init__(self, context: MigrationContext, facts: Facts) -> None:
        assert context.connection is not None
        self.context = context
        self.facts = facts
        self.inspector = inspect(context.connection)
        self.renames = Renames()
        self.models = models_of(context)
        self.tables = tables_of(context)

    def take_given(self, upgrade: ops.UpgradeOps) -> None:
        """Take the answers of -x. Raise MigrationError if one does not fit the models and the database."""
        given = given_pairs("rename")
        tables = {full_name(*table): table for table in self.tables}
        self.renames.tables |= {tables[old]: new for old, new in given.items() if old in tables}
        renamed = {full_name(*self.renames.after(table)): table for table in self.tables}
        for old, new in given.items():
            if old not in tables:
                name, _, column = old.rpartition(".")
                table = tables.get(name) or renamed.get(name)
                if table is None:
                    raise self._wrong(upgrade, old, new)
                self.renames.columns.setdefault(table, {})[column] = new
        for within, renames, existing, models in self._renames_by_scope():
            for old, new in renames.items():
                others = [renames.get(name, name) for name in existing if name != old]
                leaves, comes = old in existing and (old not in models or old in others), new in models
                if not (leaves and comes and new not in others):
                    raise self._wrong(upgrade, full_name(*within, old), new)

    def ask_for_tables(self, upgrade: ops.UpgradeOps) -> None:
        """Ask about each pair of tables that are alike."""
        renamed = self.renames.tables
        for old, new in self._pairs_of_tables(upgrade):
            taken = [after for (schema, _), after in renamed.items() if schema == old[0]]
            if old not in renamed and new not in taken and agreed(f"Was {full_name(*old)} renamed to {new}?"):
                renamed[old] = new

    def ask_for_columns(self, upgrade: ops.UpgradeOps) -> None:
        """Ask about each pair of columns of one table."""
        for table, old, new in self._pairs_of_columns(upgrade):
            columns = self.renames.columns.get(table, {})
            what = full_name(*self.renames.after(table))
            is_free = old not in columns and new not in columns.values()
            if is_free and agreed(f"Was {what}.{old} renamed to {what}.{new}?"):
                self.renames.columns.setdefault(table, {})[old] = new

    def _renames_by_scope(self) -> Iterator[tuple[tuple[str | None, ...], dict[str, str], list[str], list[str]]]:
        """Yield each schema and table in which something gets another name, the new names by the old ones, and the
        names that the database and the models have there.
        """
        for schema in dict.fromkeys(schema for schema, _ in self.renames.tables):
            renames = {old: new for (where, old), new in self.renames.tables.items() if where == schema}
            existing, models = ([name for where, name in all if where == schema] for all in (self.tables, self.models))
            yield (schema,), renames, existing, models
        for table, renames in self.renames.columns.items():
            model = self.models.get(self.renames.after(table))
            yield table, renames, self._columns(table), [] if model is None else [each.name for each in model.columns]

    def _wrong(self, upgrade: ops.UpgradeOps, old: str, new: str) -> MigrationError:
        why = f"{old} must be in the database only, and {new} in the models only, unless names are swapped"
        fitting = [f"{full_name(*table)}:{name}" for table, name in self._pairs_of_tables(upgrade)]
        fitting += [f"{full_name(*table, column)}:{name}" for table, column, name in self._pairs_of_columns(upgrade)]
        return wrong("rename", f"{old}:{new}", why, fitting)

    def _pairs_of_tables(self, upgrade: ops.UpgradeOps) -> list[tuple[Name, str]]:
        """Return dropped tables and the names of new ones, those that are most alike first."""
        dropped = [op.to_table() for op in upgrade.ops if isinstance(op, ops.DropTableOp)]
        created = [op.to_table() for op in upgrade.ops if isinstance(op, ops.CreateTableOp)]
        pairs = [
            ((self._similarity(old, new), _likeness(old.name, new.name)), ((old.schema, old.name), new.name))
            for old in dropped
            for new in created
            if old.schema == new.schema
        ]
        return [pair for (similar, _), pair in sorted(pairs, key=_in_turn, reverse=True) if similar >= 0.5]

    def _similarity(self, old: Table, new: Table) -> float:
        return similarity([*map(_known, old.columns)], [*map(_known, new.columns)], self.facts)

    def _pairs_of_columns(self, upgrade: ops.UpgradeOps) -> list[tuple[Name, str, str]]:
        """Return, by the old name of their table, dropped and added columns, the most similar first. Computed values
        are not lost.
        """
        pairs = []
        for changes in table_changes(upgrade):
            table = self.renames.before((changes.schema, changes.table_name))
            for old in [op.to_column() for op in changes.ops if isinstance(op, ops.DropColumnOp)]:
                for new in [op.column for op in changes.ops if isinstance(op, ops.AddColumnOp)]:
                    stored = old.computed is None and new.computed is None
                    if stored and same_family(_known(old), _known(new), self.facts):
                        same_type = not self.context.impl.compare_type(old, new)
                        like = (same_type, old.nullable == new.nullable, _likeness(old.name, new.name))
                        pairs.append((like, (table, old.name, new.name)))
        return [pair for _, pair in sorted(pairs, key=_in_turn, reverse=True)]

    def _columns(self, table: Name) -> list[str]:
        return [column["name"] for column in self.inspector.get_columns(table[1], table[0])]


def rename_operations(renames: Renames) -> list[ops.MigrateOperation]:
    """Return operations that rename tables, then columns; log each. Keys, CHECKs and sequences keep their names."""
    tables: list[ops.MigrateOperation] = []
    columns: list[ops.MigrateOperation] = []
    for schema in dict.fromkeys(schema for schema, _ in renames.tables):
        pairs = [(old, new) for (where, old), new in renames.tables.items() if where == schema]
        tables += [_table_renamed(schema, old, new) for _, old, new in in_order(pairs)]
    for table, new in renames.tables.items():
        log.info("Renaming table %s to %s", full_name(*table), new)
    for table, renamed in renames.columns.items():
        after = renames.after(table)
        for _, old, new in in_order(renamed.items()):
            columns.append(PerDialect.of(partial(_column_renamed, after, old, new)))
        for old, new in renamed.items():
            log.info("Renaming column %s to %s", full_name(*after, old), new)
    return [*tables, *columns]


def _table_renamed(schema: str | None, old: str, new: str) -> Lines:
    options = f", schema={schema!r}" if schema else ""
    up, down = (f"op.rename_table({str(a)!r}, {str(b)!r}{options})" for a, b in ((old, new), (new, old)))
    return Lines(up, downgrade=(down,))


def _column_renamed(table: Name, old: str, new: str, facts: Facts) -> Directions:
    """Rename a column by a statement that all databases have: MySQL's CHANGE, which Alembic uses, redefines it."""
    begin = f"ALTER TABLE {facts.quoted(table[1], table[0])} RENAME COLUMN"
    pairs = (facts.quoted(old), facts.quoted(new)), (facts.quoted(new), facts.quoted(old))
    up, down = ([ops.ExecuteSQLOp(f"{begin} {before} TO {after}")] for before, after in pairs)
    return up, down


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
    """Yield number, old name and new name of each pair, in an order in which each new name is free; break a cycle with
    a temporary name.
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


def _known(column: "Column[Any]") -> KnownColumn:
    return KnownColumn(column.name, column.type)


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _in_turn(pair: tuple[Any, Any]) -> tuple[Any, str]:
    return pair[0], str(pair[1])  # pairs that are as much alike in one order, whatever the seed of Python's hashes
