"""The tables as they are before an operation: those of the database, changed by the operations before it."""

import warnings
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import singledispatchmethod
from typing import Any

from alembic.operations import ops
from sqlalchemy import (
    CheckConstraint,
    Column,
    ColumnElement,
    Computed,
    Connection,
    ForeignKeyConstraint,
    Inspector,
    Select,
    Table,
    TableClause,
    UniqueConstraint,
    column,
    func,
    inspect,
    select,
    table,
)
from sqlalchemy.engine import ObjectKind, ObjectScope
from sqlalchemy.exc import DBAPIError, InvalidRequestError, NoSuchTableError, SAWarning, SQLAlchemyError
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.types import TypeEngine

from ..adapters.facts import Facts
from ..database import named_by_convention
from .recorder import Operation, as_table
from .sql.ops import ChangeRowsOp, CommandOp
from .trial import Trial

Name = tuple[str | None, str]
"""Schema and name."""


@dataclass
class ForeignKey:
    """A foreign key, as far as it is known."""

    name: str | None
    columns: list[str]
    referred: Name
    referred_columns: list[str]


@dataclass
class KnownColumn:
    """A column, as far as it is known; ``type`` is None if a script did not give it."""

    name: str
    type: TypeEngine[Any] | None
    nullable: bool | None = None
    default: Any = None
    comment: str | None = None
    auto_increment: bool = False
    """Whether the database numbers the values (AUTO_INCREMENT)."""
    stored_as: str | None = None
    """Its name in the database; None if an operation adds it."""


@dataclass
class Check:
    """A CHECK constraint, and whether all existing rows were validated."""

    condition: str
    valid: bool = True


@dataclass
class KnownTable:
    """A table, as far as it is known."""

    columns: dict[str, KnownColumn] = field(default_factory=dict)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    indexes: dict[str, list[str]] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict)
    primary_key: list[str] = field(default_factory=list)
    partitioned: bool = False
    """Whether a script created it as a partitioned table."""
    stored_as: str | None = None
    """Its name in the database; None if an operation creates it."""

    def copy(self) -> "KnownTable":
        """Return a copy that can be changed by itself."""
        columns = {name: replace(column) for name, column in self.columns.items()}
        checks = {name: replace(check) for name, check in self.checks.items()}
        return replace(
            self, columns=columns, foreign_keys=list(self.foreign_keys), indexes=dict(self.indexes), checks=checks
        )


class KnownSchema:
    """The tables of the database behind ``connection``, if any, as the operations that it follows change them."""

    def __init__(self, facts: Facts, connection: Connection | None = None) -> None:
        self.facts = facts
        self.connection = connection
        self.new: set[Name] = set()
        self.known: dict[Name, KnownTable] = {}
        self.parent: KnownSchema | None = None
        self.followed: list[Operation] = []
        self._trial: Trial | None = None
        self.written: set[Name | None] = set()
        """Tables whose rows an earlier operation changes, which the database does not have yet; None for any table."""

    def begin_run(self) -> None:
        """Count tables as new only from here on."""
        self.new.clear()

    def branch(self, facts: Facts | None = None) -> "KnownSchema":
        """Return a copy that can follow other operations, such as those of a downgrade, or of another product."""
        copy = KnownSchema(facts or self.facts, self.connection)
        copy.parent, copy.new, copy.written = self, set(self.new), set(self.written)
        return copy

    def is_new(self, name: str, schema: str | None = None) -> bool:
        """Return whether an earlier operation of the same run created the table."""
        return (schema, name) in self.new

    def table(self, name: str, schema: str | None = None) -> KnownTable:
        """Return what is known of the table; an empty one if nothing is."""
        key = (schema, name)
        if key not in self.known:
            found = self.parent.table(name, schema) if self.parent else None
            self.known[key] = found.copy() if found else self._reflected(schema, [name]).get(name, KnownTable())
        return self.known[key]

    def column(self, table: str, name: str, schema: str | None = None) -> KnownColumn | None:
        """Return what is known of the column; None if nothing is."""
        return self.table(table, schema).columns.get(name)

    def of(self, operation: object) -> tuple[str, str | None] | None:
        """Return name and schema of the table that the operation changes; None if it changes no table."""
        schema = getattr(operation, "schema", None)
        name = getattr(operation, "table_name", None) or getattr(operation, "source_table", None)
        if name is None and isinstance(operation, ops.DropIndexOp):
            name = self.table_of_index(str(operation.index_name), schema)
        if schema is None and isinstance(operation, ops.CreateForeignKeyOp):
            schema = operation.kw.get("source_schema")
        return (str(name), schema) if name else None

    def table_of_index(self, index: str, schema: str | None = None) -> str | None:
        """Return the name of the table that has the index, among the tables that were read or created."""
        for (where, name), known in self.known.items():
            if where == schema and index in known.indexes:
                return name
        return self.parent.table_of_index(index, schema) if self.parent else None

    def has_rows(self, name: str, schema: str | None = None, *conditions: ColumnElement[bool]) -> bool | None:
        """Return whether the table has rows that meet the conditions; None if that is not known."""
        return self.finds(select(1).select_from(table(name, schema=schema)).where(*conditions))

    def is_partitioned(self, name: str, schema: str | None = None) -> bool:
        """Return True if the table is partitioned, and that makes a difference on this database."""
        query = self.facts.is_partitioned(name, schema)
        return query is not None and (self.table(name, schema).partitioned or bool(self.first(query)))

    def count(self, name: str, schema: str | None = None, values_of: str | None = None) -> int | None:
        """Return how many rows the table has, or values that are not NULL one column; None if that is not known."""
        counted = func.count() if values_of is None else func.count(column(values_of))
        found = self.first(select(counted).select_from(table(name, schema=schema)))
        return int(found[0]) if found else None

    def finds(self, query: Select[Any]) -> bool | None:
        """Return whether the query has a result.

        Return None without a database, if the query fails there, or if an earlier operation changes rows that it reads.
        """
        asked = {(each.schema, each.name) for each in iterate(query) if isinstance(each, TableClause)}
        if self.written & {None, *asked}:
            return None
        found = self.first(query.limit(1))
        return None if found is None else bool(found)

    def first(self, query: Select[Any]) -> Sequence[Any] | None:
        """Return the first row, or an empty one; None if that is not known."""
        if self.connection is None:
            return None
        try:
            return self.connection.execute(query).first() or ()
        except SQLAlchemyError:  # a table or column that an earlier step of the run has yet to make
            return None
        finally:
            self.connection.rollback()

    def read(self, names: Collection[Name]) -> None:
        """Read tables from the database, all of a schema at once: one by one, each would take several queries."""
        for schema in {schema for schema, _ in names}:
            wanted = [name for where, name in names if where == schema and (where, name) not in self.known]
            self.known |= {(schema, name): known for name, known in self._reflected(schema, wanted).items()}

    def _reflected(self, schema: str | None, names: list[str]) -> dict[str, KnownTable]:
        if self.connection is None or not names:
            return {}
        try:
            with warnings.catch_warnings(action="ignore", category=SAWarning):  # a type that SQLAlchemy does not know
                return _read(inspect(self.connection), schema, names)
        except (DBAPIError, NoSuchTableError):
            return {}
        finally:
            self.connection.rollback()

    def follow(self, operation: Operation) -> None:
        """Apply the operation, and note it for trials."""
        self.followed.append(operation)
        self.apply(operation.op)

    def trial(self) -> Trial:
        """Return a copy of the schema in memory, as far as SQLite has one, with the operations that were followed."""
        if self._trial is None:
            self._trial = Trial(self.parent.trial().connection if self.parent else self.connection)
        self._trial.follow(self.followed)
        return self._trial

    @singledispatchmethod
    def apply(self, _operation: ops.MigrateOperation) -> None:
        """Change what is known of the tables as the operation does."""

    @apply.register
    def _(self, operation: ops.CreateTableOp) -> None:
        key = (operation.schema, operation.table_name)
        self.new.add(key)
        self.known[key] = made = KnownTable()
        made.partitioned = any(option.endswith("_partition_by") for option in operation.kw)
        table = as_table(operation)
        for each in table.columns:
            _add_column(made, each)
        # Of the constraints: a column's own foreign keys came with it.
        for constraint in table.constraints:
            if isinstance(constraint, ForeignKeyConstraint) and len(constraint.elements) > 1:
                made.foreign_keys.append(
                    _foreign_key(constraint.name, list(constraint.column_keys), *constraint.elements)
                )
            elif isinstance(constraint, UniqueConstraint) and constraint.name:
                made.indexes[str(constraint.name)] = [each.name for each in constraint.columns]
        _add_checks(made, table)
        made.primary_key = [each.name for each in table.primary_key]
        _add_indexes(made, table)

    @apply.register
    def _(self, operation: ops.BulkInsertOp) -> None:
        self.written.add((operation.table.schema, operation.table.name))

    @apply.register
    def _(self, operation: ops.DropTableOp) -> None:
        self.new.discard((operation.schema, operation.table_name))
        self.known[operation.schema, operation.table_name] = KnownTable()

    @apply.register
    def _(self, operation: ops.RenameTableOp) -> None:
        before, after = (operation.schema, operation.table_name), (operation.schema, operation.new_table_name)
        self.known[after], self.known[before] = self.table(operation.table_name, operation.schema), KnownTable()
        if before in self.new:
            self.new.discard(before)
            self.new.add(after)

    @apply.register
    def _(self, operation: ops.AddColumnOp) -> None:
        known = self.table(operation.table_name, operation.schema)
        table = as_table(operation)
        _add_column(known, table.columns[operation.column.name])
        _add_checks(known, table)
        _add_indexes(known, table)

    @apply.register
    def _(self, operation: ops.DropColumnOp) -> None:
        self.table(operation.table_name, operation.schema).columns.pop(operation.column_name, None)

    @apply.register
    def _(self, operation: ops.AlterColumnOp) -> None:
        columns = self.table(operation.table_name, operation.schema).columns
        column = columns.pop(operation.column_name, KnownColumn(operation.column_name, None))
        column.name = operation.modify_name or column.name
        column.type = operation.modify_type or operation.existing_type or column.type
        if operation.modify_nullable is not None:
            column.nullable = operation.modify_nullable
        if operation.modify_server_default is not False:
            column.default = operation.modify_server_default
        if operation.modify_comment is not False:
            column.comment = operation.modify_comment
        if (auto_increment := operation.kw.get("autoincrement")) is not None:
            column.auto_increment = auto_increment
        columns[column.name] = column

    @apply.register
    def _(self, operation: ops.CreateForeignKeyOp) -> None:
        options = operation.kw
        self.table(operation.source_table, options.get("source_schema")).foreign_keys.append(
            ForeignKey(
                str(operation.constraint_name) if operation.constraint_name else None,
                list(operation.local_cols),
                (options.get("referent_schema"), operation.referent_table),
                list(operation.remote_cols),
            )
        )

    @apply.register
    def _(self, operation: ops.DropConstraintOp) -> None:
        known = self.table(operation.table_name, operation.schema)
        kind, name = operation.constraint_type, operation.constraint_name
        if kind in ("foreignkey", None):
            # One that got its name from a naming convention, or from the server, is known without.
            gone = name if any(key.name == name for key in known.foreign_keys) else None
            known.foreign_keys = [key for key in known.foreign_keys if key.name != gone]
        if kind != "foreignkey":
            known.indexes.pop(str(name), None)
            known.checks.pop(str(name), None)
        if kind == "primary":
            known.primary_key = []

    @apply.register
    def _(self, operation: ops.CreatePrimaryKeyOp) -> None:
        self.table(operation.table_name, operation.schema).primary_key = [str(each) for each in operation.columns]

    @apply.register
    def _(self, operation: ops.CreateCheckConstraintOp) -> None:
        valid = not operation.kw.get("postgresql_not_valid")
        checks = self.table(operation.table_name, operation.schema).checks
        checks[str(operation.constraint_name)] = Check(str(operation.condition), valid)

    @apply.register
    def _(self, operation: ChangeRowsOp) -> None:
        self.written.add((operation.schema, operation.table_name))

    @apply.register
    def _(self, operation: CommandOp) -> None:
        if not operation.parsed or operation.may_do_anything:
            self.written.add(None)
        if operation.words == "VALIDATE CONSTRAINT" and operation.table_name:
            checks = self.table(operation.table_name, operation.schema).checks
            if operation.name in checks:
                checks[operation.name].valid = True

    @apply.register(ops.CreateIndexOp)
    @apply.register(ops.CreateUniqueConstraintOp)
    def _(self, operation: Any) -> None:
        name = operation.index_name if isinstance(operation, ops.CreateIndexOp) else operation.constraint_name
        if name:
            self.table(operation.table_name, operation.schema).indexes[str(name)] = [
                str(getattr(column, "name", column)) for column in operation.columns
            ]

    @apply.register
    def _(self, operation: ops.DropIndexOp) -> None:
        if (
            name := operation.table_name or self.table_of_index(str(operation.index_name), operation.schema)
        ) is not None:
            self.table(name, operation.schema).indexes.pop(str(operation.index_name), None)


def _read(inspector: Inspector, schema: str | None, names: list[str]) -> dict[str, KnownTable]:
    asked: Any = {"schema": schema, "filter_names": names, "kind": ObjectKind.ANY, "scope": ObjectScope.ANY}
    found: dict[str, KnownTable] = {}
    for (_, name), columns in inspector.get_multi_columns(**asked).items():
        found[name] = KnownTable(
            {
                column["name"]: KnownColumn(
                    column["name"],
                    column["type"],
                    column["nullable"],
                    Computed(**column["computed"]) if "computed" in column else column.get("default"),
                    column.get("comment"),
                    column.get("autoincrement") is True,
                    stored_as=column["name"],
                )
                for column in columns
            },
            stored_as=name,
        )
    for (_, name), keys in inspector.get_multi_foreign_keys(**asked).items():
        found[name].foreign_keys = [
            ForeignKey(
                key["name"],
                key["constrained_columns"],
                (key["referred_schema"], key["referred_table"]),
                key["referred_columns"],
            )
            for key in keys
        ]
    for (_, name), indexes in inspector.get_multi_indexes(**asked).items():
        found[name].indexes = {
            str(index["name"]): [column for column in index["column_names"] if column] for index in indexes
        }
    for (_, name), checks in inspector.get_multi_check_constraints(**asked).items():
        found[name].checks = {
            str(check["name"]): Check(check["sqltext"], not check.get("dialect_options", {}).get("not_valid"))
            for check in checks
        }
    for (_, name), key in inspector.get_multi_pk_constraint(**asked).items():
        found[name].primary_key = key["constrained_columns"] if key else []
    return found


def _add_column(known: KnownTable, column: "Column[Any]") -> None:
    auto_increment = column.table is not None and column.table.autoincrement_column is column
    known.columns[column.name] = KnownColumn(
        column.name, column.type, column.nullable, column.server_default, column.comment, auto_increment
    )
    for key in column.foreign_keys:
        if key.constraint is None or len(key.constraint.elements) == 1:
            name = key.name if key.constraint is None else key.constraint.name
            known.foreign_keys.append(_foreign_key(name, [column.name], key))


def _add_checks(known: KnownTable, table: Table) -> None:
    if not any(isinstance(constraint, CheckConstraint) for constraint in table.constraints):
        return
    with suppress(InvalidRequestError):  # a CHECK without a name, which the convention cannot give
        table = named_by_convention(table)
    for constraint in table.constraints:
        if isinstance(constraint, CheckConstraint) and constraint.name:
            known.checks[str(constraint.name)] = Check(str(constraint.sqltext))


def _add_indexes(known: KnownTable, table: Table) -> None:
    for index in table.indexes:
        known.indexes[str(index.name)] = [each.name for each in index.columns]


def _foreign_key(name: Any, columns: list[str], *targets: Any) -> ForeignKey:
    *schema, table, _column = targets[0].target_fullname.split(".")
    referred = [target.target_fullname.rpartition(".")[2] for target in targets]
    return ForeignKey(str(name) if name else None, columns, (schema[0] if schema else None, table), referred)
