"""Indexes and unique constraints: renamed in place, replaced without a gap, and those that a foreign key needs."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

from alembic.operations.ops import (
    CreateForeignKeyOp,
    CreateIndexOp,
    CreateTableOp,
    CreateUniqueConstraintOp,
    DropColumnOp,
    DropConstraintOp,
    DropIndexOp,
    DropTableOp,
    ExecuteSQLOp,
    MigrateOperation,
    ModifyTableOps,
    UpgradeOps,
)
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Inspector
from sqlalchemy.sql.elements import conv

from ..adapters.facts import Facts
from ..console import log
from ..review.known_schema import Name
from .history import indexes_by_revisions
from .renames import in_order
from .rendering import Directions, PerDialect

Drop = DropIndexOp | DropConstraintOp
Create = CreateIndexOp | CreateUniqueConstraintOp
ForeignKeyIndexes = Mapping[str, CreateForeignKeyOp]
"""By its name, an index that a foreign key needs, and what creates the key."""


def is_drop(op: MigrateOperation) -> TypeGuard[Drop]:
    """Return True for what drops an index or a unique constraint."""
    return isinstance(op, DropIndexOp) or (isinstance(op, DropConstraintOp) and op.constraint_type == "unique")


def name_of(op: Drop | Create) -> str:
    """Return the name of what is created or dropped; empty if it has none."""
    return str((op.index_name if isinstance(op, DropIndexOp | CreateIndexOp) else op.constraint_name) or "")


def created_by(op: Drop | Create) -> Any:
    """Return the operation that creates what ``op`` creates or drops."""
    return op if isinstance(op, CreateIndexOp | CreateUniqueConstraintOp) else op.reverse()


def drop_as_constraints(context: MigrationContext, upgrade: UpgradeOps, inspector: Inspector) -> None:
    """Drop unique constraints as such where the database reports them as indexes too, as MySQL and MariaDB do: on the
    others they are constraints. An index is what a revision created as one.
    """
    indexes: set[str] | None = None
    for changes in [op for op in upgrade.ops if isinstance(op, ModifyTableOps)]:
        drops = [op for op in changes.ops if isinstance(op, DropIndexOp)]
        uniques = inspector.get_unique_constraints(changes.table_name, changes.schema) if drops else []
        columns = {unique["name"]: unique["column_names"] for unique in uniques}
        for drop in drops:
            name = name_of(drop)
            if name not in columns:
                continue
            indexes = indexes_by_revisions(context) if indexes is None else indexes
            if name not in indexes:
                create = CreateUniqueConstraintOp(conv(name), changes.table_name, columns[name], schema=changes.schema)
                changes.ops[changes.ops.index(drop)] = create.reverse()


@dataclass(frozen=True)
class Rename:
    """A unique constraint or an index that only gets another name."""

    table: Name
    drop: Drop
    create: Create

    def reverse(self) -> "Rename":
        """Return what restores the old name."""
        return Rename(self.table, self.create.reverse(), created_by(self.drop))


def rename_indexes(upgrade: UpgradeOps) -> None:
    """Rename a unique constraint or an index that only gets another name, and drop no other before what replaces it:
    until then the table would accept duplicates.
    """
    changed = [op for op in upgrade.ops if isinstance(op, ModifyTableOps)]
    renames = [rename for changes in changed for rename in _take_renames(changes)]
    if renames:
        back = [rename.reverse() for rename in renames]
        upgrade.ops.insert(0, PerDialect.of(lambda facts: (_renaming(renames, facts), _renaming(back, facts))))
    for changes in changed:
        last = replaced(changes)
        changes.ops[:] = [*(op for op in changes.ops if op not in last), *last]


def _take_renames(changes: ModifyTableOps) -> Iterator[Rename]:
    drops = [op for op in changes.ops if is_drop(op)]
    for create in [op for op in changes.ops if isinstance(op, CreateUniqueConstraintOp | CreateIndexOp)]:
        definition = _definition(create)
        drop = next((op for op in drops if definition and definition == _definition(op)), None)
        if drop is not None:
            kind = "index" if isinstance(drop, DropIndexOp) else "constraint"
            log.info("Renaming %s %s to %s", kind, name_of(drop), name_of(create))
            yield Rename((changes.schema, changes.table_name), drop, create)
            drops.remove(drop)
            changes.ops.remove(drop)
            changes.ops.remove(create)


def _definition(op: Drop | Create) -> Any:
    """Return a unique constraint or an index without its name; None for one with expressions, or that has no name."""
    create = created_by(op)
    columns = [getattr(each, "name", each) for each in create.columns]
    if not name_of(op) or not all(isinstance(each, str) for each in columns):
        return None
    options = {key: re.sub(r"[\s()]", "", str(value)) for key, value in create.kw.items()}  # PostgreSQL adds brackets
    kept = {key: value for key, value in options.items() if value not in ("", "None", "False", "[]", "{}")}
    return type(create), bool(getattr(create, "unique", True)), columns, kept


def _renaming(renames: list[Rename], facts: Facts) -> list[MigrateOperation]:
    if not facts.rebuilds:
        statements = []
        for number, old, new in in_order((name_of(each.drop), name_of(each.create)) for each in renames):
            (schema, table), drop = renames[number].table, renames[number].drop
            kind = "ix" if isinstance(drop, DropIndexOp) else "uq"
            statements.append(ExecuteSQLOp(facts.renaming(kind, table, schema, old, new)))
        return [*statements]
    indexes = [each for each in renames if isinstance(each.drop, DropIndexOp)]
    tables: dict[Name, list[Rename]] = {}
    for each in renames:
        if each not in indexes:
            tables.setdefault(each.table, []).append(each)
    batches = [
        ModifyTableOps(name, [*(each.drop for each in found), *(each.create for each in found)], schema=schema)
        for (schema, name), found in tables.items()
    ]
    return [*(each.drop for each in indexes), *batches, *(each.create for each in indexes)]


def replaced(changes: ModifyTableOps) -> list[MigrateOperation]:
    """Return the drops of unique constraints and indexes that come last, because the table gets other unique ones: not
    of one whose name is used again, nor if the table loses a column.
    """
    creates = [op for op in changes.ops if isinstance(op, CreateUniqueConstraintOp | CreateIndexOp) and _is_unique(op)]
    names = {name_of(op) for op in creates}
    if not creates or any(isinstance(op, DropColumnOp) for op in changes.ops):
        return []
    return [op for op in changes.ops if is_drop(op) and _is_unique(op) and name_of(op) not in names]


def _is_unique(op: Drop | Create) -> bool:
    return bool(getattr(created_by(op), "unique", True))


def foreign_key_indexes(upgrade: UpgradeOps, inspector: Inspector) -> ForeignKeyIndexes:
    """Return the indexes of existing tables that are created or dropped, and that a foreign key needs which stays:
    MySQL and MariaDB drop no such index (error 1553).
    """
    found: dict[str, CreateForeignKeyOp] = {}
    for changes in changes_of_existing_tables(upgrade):
        table, schema = changes.table_name, changes.schema
        changed = [op for op in changes.ops if isinstance(op, CreateIndexOp) or is_drop(op)]
        if not changed:
            continue
        keys = inspector.get_foreign_keys(table, schema)
        dropped = {op.constraint_name for op in changes.ops if isinstance(op, DropConstraintOp)}
        existing: list[Any] = [
            {"name": None, "column_names": inspector.get_pk_constraint(table, schema)["constrained_columns"]},
            *inspector.get_unique_constraints(table, schema),  # MySQL reports a unique index both times
            *inspector.get_indexes(table, schema),
        ]
        for op in changed if keys else ():
            columns = [str(getattr(column, "name", column)) for column in created_by(op).columns]
            for key in keys:
                wanted, name = key["constrained_columns"], key["name"]
                others = [each["column_names"] for each in existing if each["name"] not in (name, name_of(op))]
                needs = columns[: len(wanted)] == wanted and not any(o[: len(wanted)] == wanted for o in others)
                if name and needs and (isinstance(op, CreateIndexOp) or name not in dropped):
                    found[name_of(op)] = _foreign_key(changes, key)
    return found


def _foreign_key(changes: ModifyTableOps, key: Any) -> CreateForeignKeyOp:
    options = ("ondelete", "onupdate", "deferrable", "initially", "match")
    return CreateForeignKeyOp(
        conv(key["name"]),
        changes.table_name,
        key["referred_table"],
        list(key["constrained_columns"]),
        list(key["referred_columns"]),
        source_schema=changes.schema,
        referent_schema=key["referred_schema"],
        **{name: value for name, value in key.get("options", {}).items() if name in options},
    )


def recreate_foreign_keys(upgrade: UpgradeOps, indexes: ForeignKeyIndexes) -> None:
    """Give a foreign key an index of its own if the upgrade or the downgrade drops the index that it needs."""
    for changes in [op for op in upgrade.ops if isinstance(op, ModifyTableOps)]:
        for op in [each for each in changes.ops if isinstance(each, CreateIndexOp) or is_drop(each)]:
            if (key := indexes.get(name_of(op))) is not None:
                changes.ops.remove(op)
                created = PerDialect.of(partial(index_created, created_by(op), key))
                if isinstance(op, CreateIndexOp):
                    upgrade.ops.append(created)
                else:
                    upgrade.ops.insert(upgrade.ops.index(changes), created.reverse())


def index_created(create: Create, key: CreateForeignKeyOp | None, facts: Facts) -> Directions:
    """Return what creates an index or a unique constraint, and what drops it. MySQL and MariaDB refuse that while a
    foreign key needs it (error 1553); a foreign key that is dropped and created again gets an index of its own.
    """
    up: MigrateOperation = create
    if isinstance(create, CreateUniqueConstraintOp):
        up = ModifyTableOps(create.table_name, [create], schema=create.schema)
    down = up.reverse()
    return [up], [key.reverse(), down, key] if key and facts.foreign_keys_need_index else [down]


def changes_of_existing_tables(upgrade: UpgradeOps) -> list[ModifyTableOps]:
    """Return what changes tables that the same script neither creates nor drops."""
    others = {(op.schema, op.table_name) for op in upgrade.ops if isinstance(op, CreateTableOp | DropTableOp)}
    changes = [op for op in upgrade.ops if isinstance(op, ModifyTableOps)]
    return [op for op in changes if (op.schema, op.table_name) not in others]
