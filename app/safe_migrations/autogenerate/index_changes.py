"""Renames of indexes, unique constraints and CHECKs in place, and drops of an index that a foreign key needs."""

import re
from collections.abc import Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any, TypeGuard

from alembic.operations import ops
from sqlalchemy import Inspector
from sqlalchemy.sql.elements import conv

from ..adapters.facts import Facts
from ..console import log
from ..database import models_metadata
from ..review.rules.implied_ops import column_names
from .rendering import Directions, PerDialect, executed, table_changes

Drop = ops.DropIndexOp | ops.DropConstraintOp
Create = ops.CreateIndexOp | ops.CreateUniqueConstraintOp
KINDS = {"ix": ops.CreateIndexOp, "uq": ops.CreateUniqueConstraintOp, "ck": ops.CreateCheckConstraintOp}
ForeignKeyIndexes = Mapping[str, ops.CreateForeignKeyOp]
"""By the name of an index that a foreign key needs: the operation that creates the foreign key."""


def is_drop(op: ops.MigrateOperation) -> TypeGuard[Drop]:
    """Return True if ``op`` drops an index or a unique constraint."""
    return isinstance(op, ops.DropIndexOp) or (isinstance(op, ops.DropConstraintOp) and op.constraint_type == "unique")


def is_create(op: ops.MigrateOperation) -> TypeGuard[Create]:
    """Return True if ``op`` creates an index or a unique constraint."""
    return isinstance(op, ops.CreateIndexOp | ops.CreateUniqueConstraintOp)


def name_of(op: Drop | Create) -> str:
    """Return the name of the index or unique constraint that ``op`` creates or drops; an empty string without one."""
    return str((op.index_name if isinstance(op, ops.DropIndexOp | ops.CreateIndexOp) else op.constraint_name) or "")


def created_by(op: Drop | Create) -> Any:
    """Return the operation that creates the index or unique constraint: ``op``, or its reverse if it is a drop."""
    return op if is_create(op) else op.reverse()


def drop_as_constraints(upgrade: ops.UpgradeOps, inspector: Inspector) -> None:
    """Replace DROP INDEX by DROP CONSTRAINT for unique constraints, which MySQL and MariaDB also report as indexes.

    Other databases need DROP CONSTRAINT. A unique constraint is recognized by the prefix that the naming convention
    gives its name, e.g. uq_, or because it is replaced by one on the same columns: then only its name differs.
    """
    prefix = str(models_metadata().naming_convention.get("uq", "")).partition("%")[0]
    for changes in table_changes(upgrade):
        table, schema = changes.table_name, changes.schema
        drops = [op for op in changes.ops if isinstance(op, ops.DropIndexOp)]
        uniques = inspector.get_unique_constraints(table, schema) if drops else []
        columns = {unique["name"]: unique["column_names"] for unique in uniques}
        created = [created_by(op).columns for op in changes.ops if isinstance(op, ops.CreateUniqueConstraintOp)]
        for drop in drops:
            name = name_of(drop)
            is_constraint = (prefix and name.startswith(prefix)) or columns.get(name) in created
            if name in columns and is_constraint:
                create = ops.CreateUniqueConstraintOp(conv(name), table, columns[name], schema=schema)
                changes.ops[changes.ops.index(drop)] = create.reverse()


def rename_in_place(upgrade: ops.UpgradeOps) -> None:
    """Rename an index, a unique constraint or a CHECK that ``upgrade`` would drop and create with another name only.

    Alembic does not compare the names of primary keys and foreign keys.
    """
    for changes in table_changes(upgrade):
        if renames := list(_take_renames(changes)):
            upgrade.ops.insert(0, PerDialect.of(partial(_all_renamed, renames), changes.table_name))


def _all_renamed(renames: list[tuple[Drop, Any]], facts: Facts) -> Directions:
    found = [_renamed(create, name_of(drop), facts) for drop, create in renames]
    return [op for up, _ in found for op in up], [op for _, down in found for op in down]


def _take_renames(changes: ops.ModifyTableOps) -> Iterator[tuple[Drop, Any]]:
    drops = [op for op in changes.ops if is_drop(op) or drops_check(op)]
    used = {name_of(op) for op in drops}
    creates: list[Any] = [op for op in changes.ops if isinstance(op, tuple(KINDS.values()))]
    for create in [op for op in creates if name_of(op) not in used]:
        definition = _definition(create)
        drop = next((op for op in drops if definition and definition == _definition(op)), None)
        if drop is not None:
            kind = "index" if isinstance(drop, ops.DropIndexOp) else "constraint"
            log.info("Renaming %s %s to %s", kind, name_of(drop), name_of(create))
            yield drop, create
            drops.remove(drop)
            changes.ops.remove(drop)
            changes.ops.remove(create)


def drops_check(op: ops.MigrateOperation) -> TypeGuard[ops.DropConstraintOp]:
    """Return True if ``op`` drops a CHECK."""
    return isinstance(op, ops.DropConstraintOp) and op.constraint_type == "check"


def _definition(op: Any) -> Any:
    """Return the definition of an index, a unique constraint or a CHECK without its name, to compare it with another.

    Return None for an index with expressions, and for one without a name. The condition of a CHECK is compared without
    what databases add to it: brackets, quotes and types.
    """
    create: Any = op.reverse() if isinstance(op, ops.DropIndexOp | ops.DropConstraintOp) else op
    if isinstance(create, ops.CreateCheckConstraintOp):
        return re.sub(r"[\s()`\"]|::[\w ]+", "", str(create.condition)).lower()
    columns = [getattr(each, "name", each) for each in create.columns]
    if not name_of(op) or not all(isinstance(each, str) for each in columns):
        return None
    options = {key: re.sub(r"[\s()]", "", str(value)) for key, value in create.kw.items()}  # PostgreSQL adds brackets
    kept = {key: value for key, value in options.items() if value not in ("", "None", "False", "[]", "{}")}
    return type(create), bool(getattr(create, "unique", True)), columns, kept


def _renamed(create: Any, old: str, facts: Facts) -> Directions:
    """Return the operations that rename what ``create`` creates from ``old``, and those that rename it back.

    Where no statement does this, SQLite rebuilds the table once, and a server creates the new one before it drops the
    old one: rows stay checked.
    """
    table, schema, new = create.table_name, create.schema, name_of(create)
    kind = next(kind for kind, types in KINDS.items() if isinstance(create, types))
    up, down = (facts.renaming(kind, str(table), schema, *names) for names in ((old, new), (new, old)))
    if up:
        return [executed(up)], [executed(down)]
    before = copy(create)
    setattr(before, "index_name" if kind == "ix" else "constraint_name", conv(old))
    both = [before.reverse(), create] if facts.rebuilds else [create, before.reverse()]
    changes = ops.ModifyTableOps(table, both, schema=schema)
    return [changes], [changes.reverse()]


def dropped_for_good(changes: ops.ModifyTableOps) -> list[Drop]:
    """Return the drops of an index or a unique constraint, except if ``changes`` creates another of the same name."""
    names = {name_of(op) for op in changes.ops if is_create(op)}
    return [op for op in changes.ops if is_drop(op) and name_of(op) not in names]


def foreign_key_indexes(upgrade: ops.UpgradeOps, inspector: Inspector) -> ForeignKeyIndexes:
    """Return existing foreign keys by the name of an index that they may need and that ``upgrade`` creates or drops.

    MySQL and MariaDB refuse to drop such an index (error 1553). If ``upgrade`` drops the foreign key together with the
    index, the index is left out.
    """
    found: dict[str, ops.CreateForeignKeyOp] = {}
    for changes in changes_of_existing_tables(upgrade):
        changed = [op for op in changes.ops if isinstance(op, ops.CreateIndexOp) or is_drop(op)]
        dropped = {op.constraint_name for op in changes.ops if isinstance(op, ops.DropConstraintOp)}
        for key in inspector.get_foreign_keys(changes.table_name, changes.schema) if changed else ():
            wanted, name = key["constrained_columns"], key["name"]
            for op in changed:
                columns = column_names(created_by(op).columns)
                stays = isinstance(op, ops.CreateIndexOp) or name not in dropped
                if name and stays and columns[: len(wanted)] == wanted:
                    found[name_of(op)] = _foreign_key(changes, key)
    return found


def _foreign_key(changes: ops.ModifyTableOps, key: Any) -> ops.CreateForeignKeyOp:
    options = ("ondelete", "onupdate", "deferrable", "initially", "match")
    return ops.CreateForeignKeyOp(
        conv(key["name"]),
        changes.table_name,
        key["referred_table"],
        list(key["constrained_columns"]),
        list(key["referred_columns"]),
        source_schema=changes.schema,
        referent_schema=key["referred_schema"],
        **{name: value for name, value in key.get("options", {}).items() if name in options},
    )


def recreate_foreign_keys(upgrade: ops.UpgradeOps, indexes: ForeignKeyIndexes) -> None:
    """Put each drop of an index that a foreign key needs between a drop and a new creation of the foreign key.

    This concerns drops in ``upgrade`` and, for the indexes that it creates, in its downgrade. The foreign key is only
    dropped on MySQL and MariaDB, which otherwise refuse to drop the index (error 1553). When the foreign key is created
    again, the server creates a new index for it.
    """
    for changes in table_changes(upgrade):
        for op in [each for each in changes.ops if isinstance(each, ops.CreateIndexOp) or is_drop(each)]:
            if (key := indexes.get(name_of(op))) is not None:
                changes.ops.remove(op)
                created = PerDialect.of(partial(index_created, created_by(op), key), changes.table_name)
                if isinstance(op, ops.CreateIndexOp):
                    upgrade.ops.append(created)
                else:
                    upgrade.ops.insert(upgrade.ops.index(changes), created.reverse())


def index_created(create: Create, key: ops.CreateForeignKeyOp | None, facts: Facts) -> Directions:
    """Return the operations that create an index or a unique constraint, and those that drop it in the downgrade.

    MySQL and MariaDB refuse the drop while the foreign key ``key`` needs the index (error 1553). So there the downgrade
    drops ``key`` first, and creates it again: the server then creates an index for it.
    """
    up: ops.MigrateOperation = create
    if isinstance(create, ops.CreateUniqueConstraintOp):
        up = ops.ModifyTableOps(create.table_name, [create], schema=create.schema)
    down = up.reverse()
    return [up], [key.reverse(), down, key] if key and facts.foreign_keys_need_index else [down]


def changes_of_existing_tables(upgrade: ops.UpgradeOps) -> list[ops.ModifyTableOps]:
    """Return the changes of tables that ``upgrade`` neither creates nor drops."""
    others = {(op.schema, op.table_name) for op in upgrade.ops if isinstance(op, ops.CreateTableOp | ops.DropTableOp)}
    return [op for op in table_changes(upgrade) if (op.schema, op.table_name) not in others]
