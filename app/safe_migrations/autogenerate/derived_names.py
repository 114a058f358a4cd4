"""Constraints, indexes and sequences that get a new name with their table or column, as the models name them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from alembic.operations.ops import (
    CreateCheckConstraintOp,
    CreateForeignKeyOp,
    CreateIndexOp,
    CreatePrimaryKeyOp,
    CreateUniqueConstraintOp,
    DropConstraintOp,
    DropIndexOp,
    ExecuteSQLOp,
    MigrateOperation,
)
from alembic.util.sqla_compat import _get_constraint_final_name
from sqlalchemy import (
    CheckConstraint,
    Constraint,
    ForeignKeyConstraint,
    Index,
    Inspector,
    Table,
    UniqueConstraint,
)
from sqlalchemy import text as sql_text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.elements import conv

from ..adapters.facts import Facts
from ..adapters.products import FACTS
from ..review.known_schema import Name
from .renamed_inspector import Renames, in_new_names
from .rendering import Batch, PerDatabase

TYPES = {"pk": "primary", "uq": "unique", "fk": "foreignkey", "ck": "check"}

Columns = Mapping[str, str]
"""New names by old ones."""


@dataclass(frozen=True)
class Named:
    """What has an old and a new name, on a table that has its new name already; ``make`` gives what creates it.

    Of a CHECK, ``columns`` are those that it names and that get a new name, and ``text`` has these.
    """

    kind: str
    table: Name
    old: str
    new: str
    make: Callable[[str], MigrateOperation] | None = None
    columns: tuple[tuple[str, str], ...] = ()
    text: str = ""
    check: CheckConstraint | None = None
    backwards: bool = False

    def on(self, facts: Facts) -> bool:
        """Whether there is such a thing on that database."""
        return self.check is None or facts.makes(self.check)

    def before_columns(self) -> "Named":
        """A CHECK under its old name, and on the old columns."""
        text = in_new_names(self.text, {new: old for old, new in self.columns})
        make = _making_check(self.table[1], self.table[0], text)
        return replace(self.back, make=make)

    def create(self) -> MigrateOperation:
        """Under the new name."""
        assert self.make is not None
        return self.make(conv(self.new))

    def drop(self) -> MigrateOperation:
        """Under the old name."""
        schema, table = self.table
        if self.kind == "ix":
            return DropIndexOp(conv(self.old), table, schema=schema)
        return DropConstraintOp(conv(self.old), table, TYPES[self.kind], schema=schema)

    @property
    def back(self) -> "Named":
        """The same for the way back."""
        return replace(self, old=self.new, new=self.old, backwards=True)


class Names:
    """Compares the tables of ``inspector`` with ``models``, and tells ``renames`` of the names that follow."""

    def __init__(self, inspector: Inspector, models: Mapping[Name, Table], renames: Renames) -> None:
        self.inspector = inspector
        self.models = models
        self.renames = renames
        self.found: list[Named] = []
        self.unnamed: dict[Name, list[str]] = {}
        """The CHECKs without a name of each table, by its new name, on the columns' new names."""

    def find(self, tables: Iterable[Name]) -> None:
        """Look at ``tables``, by their old names."""
        for table in tables:
            if (model := self.models.get(self.renames.after(table))) is not None:
                found = list(self._of(table, model))
                self.found += found
                self.renames.names[table] = {each.old: each.new for each in found if each.kind != "seq"}

    def _of(self, table: Name, model: Table) -> Iterator[Named]:
        schema, name = table
        read = self.inspector
        key = read.get_pk_constraint(name, schema)
        uniques, indexes = read.get_unique_constraints(name, schema), read.get_indexes(name, schema)
        taken: list[Any] = [key["constrained_columns"], *(each["column_names"] for each in uniques)]
        yield from self._primary_key(table, key, model)
        for unique in uniques:
            yield from self._unique(table, unique, model)
        constraints = {unique["name"] for unique in uniques}
        foreign = read.get_foreign_keys(name, schema)
        of_foreign = {each["name"] for each in foreign}
        for index in indexes:
            if index["name"] not in constraints | of_foreign and not index.get("duplicates_constraint"):
                taken.append(index["column_names"])
                yield from self._index(table, index, model)
        for each in foreign:
            yield from self._foreign_key(table, each, model, taken)
        yield from self._checks(table, model)
        yield from self._sequence(table, model)

    def _touched(self, table: Name, info: Any) -> Any:
        """``info`` in new names, if it has any."""
        new = self.renames.translated(table, info)
        return new if info.get("name") and (new != info or table in self.renames.tables) else None

    def _primary_key(self, table: Name, info: Any, model: Table) -> Iterator[Named]:
        new, key = self._touched(table, info), model.primary_key
        if new and self._name(key) and [column.name for column in key.columns] == new["constrained_columns"]:
            schema, name = self.renames.after(table)
            columns = list(new["constrained_columns"])
            yield from self._renamed(
                "pk", table, info, self._name(key), lambda n: CreatePrimaryKeyOp(n, name, columns, schema=schema)
            )

    def _unique(self, table: Name, info: Any, model: Table) -> Iterator[Named]:
        new = self._touched(table, info)
        uniques = [each for each in model.constraints if isinstance(each, UniqueConstraint)]
        same = [each for each in uniques if new and {c.name for c in each.columns} == set(new["column_names"])]
        if len(same) == 1:
            schema, name = self.renames.after(table)
            columns = list(new["column_names"])
            yield from self._renamed(
                "uq",
                table,
                info,
                self._name(same[0]),
                lambda n: CreateUniqueConstraintOp(n, name, columns, schema=schema),
            )

    def _index(self, table: Name, info: Any, model: Table) -> Iterator[Named]:
        new = self._touched(table, info)
        if not new:
            return
        same = [each for each in model.indexes if _columns(each) == new["column_names"]]
        if len(same) != 1:
            same = [each for each in model.indexes if self._name(each) in [*self._guesses(table, info["name"])]]
        if len(same) == 1:
            index = same[0]

            def make(name: str) -> CreateIndexOp:
                op = CreateIndexOp.from_index(index)
                op.index_name = name
                return op

            yield from self._renamed("ix", table, info, self._name(index), make)

    def _foreign_key(self, table: Name, info: Any, model: Table, taken: list[Any]) -> Iterator[Named]:
        new = self._touched(table, info)
        same = [
            each
            for each in model.constraints
            if isinstance(each, ForeignKeyConstraint) and new and _refers(each) == _referred(new)
        ]
        if len(same) != 1:
            return
        after, count = self.renames.after(table), len(info["constrained_columns"])

        def make(constraint: str) -> CreateForeignKeyOp:
            return foreign_key(constraint, after, new)

        for found in self._renamed("fk", table, info, self._name(same[0]), make):
            yield found
            if not any(columns[:count] == info["constrained_columns"] for columns in taken):
                yield replace(found, kind="fk index", make=None)

    def _checks(self, table: Name, model: Table) -> Iterator[Named]:
        schema, after = self.renames.after(table)
        columns = self.renames.columns.get(table, {})
        models = {self._name(each): each for each in model.constraints if isinstance(each, CheckConstraint)}
        for info in self.inspector.get_check_constraints(table[1], schema):
            old, before = info["name"], str(info["sqltext"])
            new = next((name for name in (old, *self._guesses(table, old or "")) if name in models), old)
            text = condition_of(models[new]) if new in models else in_new_names(before, columns)
            if not old:
                self.unnamed.setdefault((schema, after), []).append(text)
            there = {new: name for name, new in columns.items()}
            mentioned = tuple(item for item in columns.items() if in_new_names(text, there) != text)
            if old and new and (old != new or mentioned):
                make = _making_check(after, schema, text)
                yield Named("ck", (schema, after), old, new, make, mentioned, text, models.get(new))

    def _sequence(self, table: Name, model: Table) -> Iterator[Named]:
        """PostgreSQL names them after table and column."""
        column = model.autoincrement_column
        if column is not None:
            schema, after = self.renames.after(table)
            before = {new: old for old, new in self.renames.columns.get(table, {}).items()}
            old, new = f"{table[1]}_{before.get(column.name, column.name)}_seq", f"{after}_{column.name}_seq"
            if old != new and not any(FACTS["postgresql"]().is_too_long(name) for name in (old, new)):
                yield Named("seq", (schema, after), old, new)

    def _name(self, item: Constraint | Index) -> str | None:
        """The name by the naming convention, as the database takes it."""
        return _get_constraint_final_name(item, self.inspector.dialect)

    def _renamed(
        self, kind: str, table: Name, info: Any, new: str | None, make: Callable[[str], MigrateOperation]
    ) -> Iterator[Named]:
        if new and new != info["name"]:
            yield Named(kind, self.renames.after(table), str(info["name"]), new, make)

    def _guesses(self, table: Name, name: str) -> Iterator[str]:
        """What a name by the naming convention becomes."""
        names = [(table[1], self.renames.after(table)[1]), *self.renames.columns.get(table, {}).items()]
        whole = name
        for old, new in names:
            if f"_{old}" in name:
                yield name.replace(f"_{old}", f"_{new}", 1)
                whole = whole.replace(f"_{old}", f"_{new}", 1)
        yield whole


def foreign_key(name: str, table: Name, info: Any) -> CreateForeignKeyOp:
    """What creates on ``table`` the foreign key of which an Inspector says ``info``, under that name."""
    options = {
        key: value
        for key, value in info.get("options", {}).items()
        if key in ("ondelete", "onupdate", "deferrable", "initially", "match")
    }
    return CreateForeignKeyOp(
        name,
        table[1],
        info["referred_table"],
        list(info["constrained_columns"]),
        list(info["referred_columns"]),
        source_schema=table[0],
        referent_schema=info["referred_schema"],
        **options,
    )


def before_columns(named: Iterable[Named]) -> PerDatabase:
    """CHECKs that would stop the renaming of columns: gone before, and back after the way back."""
    stopping = [each for each in named if each.columns]
    up: dict[str, list[MigrateOperation]] = {}
    down: dict[str, list[MigrateOperation]] = {}
    for product, facts in FACTS.items():
        here = [each for each in stopping if facts().checks_stop_renames and each.on(facts())]
        up[product] = [each.drop() for each in here]
        down[product] = [each.before_columns().create() for each in here]
    return PerDatabase(up, down)


def renamed(found: list[Named], in_batches: Callable[[list[Named]], list[MigrateOperation]]) -> PerDatabase:
    """Return what gives them all their new names, and the old ones on the way back: ``in_batches`` where a database
    rebuilds the table for it. Tables and columns have their new names already.
    """
    ways = [
        {
            product: in_batches(named) if facts.rebuilds else _one_by_one(named, facts())
            for product, facts in FACTS.items()
        }
        for named in (found, [each.back for each in found])
    ]
    return PerDatabase(*ways)


def _one_by_one(named: list[Named], facts: Facts) -> list[MigrateOperation]:
    """Renamed where there is a statement for it, else dropped first and created last."""
    drops: list[MigrateOperation] = []
    creates: list[MigrateOperation] = []
    for each in named:
        statement = _statement(each, facts)
        if statement is None and each.make is not None and each.on(facts):
            if not (facts.checks_stop_renames and each.columns and not each.backwards):
                drops.append(each.drop())
            if not (facts.checks_stop_renames and each.columns and each.backwards):
                creates.append(each.create())
    statements = [found for each in _in_order(named) if (found := _statement(each, facts))]
    return [*drops, *map(ExecuteSQLOp, statements), *creates]


def _statement(named: Named, facts: Facts) -> str | None:
    schema, table = named.table
    if named.kind == "ck" and named.old == named.new:
        return None if facts.checks_stop_renames else ""
    if named.kind == "fk index":
        return facts.renaming("ix", table, schema, named.old, named.new) if facts.foreign_keys_need_index else ""
    return facts.renaming(named.kind, table, schema, named.old, named.new)


def _in_order(named: Iterable[Named]) -> Iterator[Named]:
    """So that each new name is free when its turn comes; in a circle, one goes by a name in between."""
    left = list(named)
    while left:
        olds = [each.old for each in left]
        free = next((each for each in left if each.old == each.new or each.new not in olds), None)
        if free is not None:
            left.remove(free)
            yield free
        else:
            first = left.pop(0)
            between = in_between(first.old)
            yield replace(first, new=between)
            left.append(replace(first, old=between))


def in_between(name: str) -> str:
    """A name for a while, where two swap theirs."""
    return f"swap_{name}"[:60]


def rebuilt(names: Names, named: list[Named]) -> list[MigrateOperation]:
    """Return what gives these their new names in a database that rebuilds their tables for it."""
    indexes = [each for each in named if each.kind == "ix"]
    batches: list[MigrateOperation] = []
    for table in dict.fromkeys(each.table for each in named):
        options = {key: value for key, value in names.models[table].kwargs.items() if key.startswith("sqlite_")}
        # SQLAlchemy names no primary key that has AUTOINCREMENT.
        kinds = set(TYPES) - ({"pk"} if options.get("sqlite_autoincrement") else set())
        here = [each for each in named if each.table == table and each.kind in kinds and each.old != each.new]
        if here:
            ops = [each.drop() for each in here] + [each.create() for each in here]
            batches.append(Batch(table[1], ops, table[0], names.unnamed.get(table, ()), options))
    return [*(each.drop() for each in indexes), *batches, *(each.create() for each in indexes)]


def _columns(index: Index) -> list[str]:
    return [str(getattr(expression, "name", "")) for expression in index.expressions]


def _refers(key: ForeignKeyConstraint) -> tuple[list[str], str, list[str]]:
    *_schema, table, _column = key.elements[0].target_fullname.split(".")
    return (
        [column.name for column in key.columns],
        table,
        [each.target_fullname.rpartition(".")[2] for each in key.elements],
    )


def _referred(info: Any) -> tuple[list[str], str, list[str]]:
    return list(info["constrained_columns"]), info["referred_table"], list(info["referred_columns"])


def condition_of(check: CheckConstraint) -> str:
    """Return the condition as SQL, with its values."""
    dialect = DefaultDialect()
    compiler = dialect.ddl_compiler(dialect, None).sql_compiler  # type: ignore[arg-type]
    return compiler.process(check.sqltext, include_table=False, literal_binds=True)


def _making_check(table: str, schema: str | None, text: str) -> Callable[[str], CreateCheckConstraintOp]:
    return lambda name: CreateCheckConstraintOp(name, table, sql_text(text), schema=schema)
