"""What a script does, and what takes that back: found, taken out, and put into a revision that follows."""

import re
from random import randrange
from typing import Any

from alembic.operations.ops import (
    AddConstraintOp,
    AlterColumnOp,
    CreateForeignKeyOp,
    CreateIndexOp,
    CreateUniqueConstraintOp,
    DowngradeOps,
    DropConstraintOp,
    DropIndexOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
    OpContainer,
    UpgradeOps,
)
from alembic.util import rev_id

# By what a downgrade takes it back.
BACK: dict[type[MigrateOperation], type[MigrateOperation]] = {
    CreateIndexOp: DropIndexOp,
    DropIndexOp: CreateIndexOp,
    CreateUniqueConstraintOp: DropConstraintOp,
    CreateForeignKeyOp: DropConstraintOp,
    DropConstraintOp: AddConstraintOp,
    AlterColumnOp: AlterColumnOp,
}


def taken_out(script: MigrationScript, changes: ModifyTableOps, op: MigrateOperation) -> MigrateOperation:
    """Take ``op`` out of the upgrade, where it is one of ``changes``; and, as taken_back() does, out of the downgrade
    what takes it back, which is returned.
    """
    changes.ops.remove(op)
    return taken_back(script, op) or op.reverse()


def taken_back(script: MigrationScript, op: MigrateOperation) -> MigrateOperation | None:
    """Take what takes ``op`` back out of the downgrade, and return it; None if nothing does."""
    changes, back = way_back(script, op)
    if changes is not None and back is not None:
        changes.ops.remove(back)
    return back


def way_back(
    script: MigrationScript, op: MigrateOperation
) -> tuple[ModifyTableOps, MigrateOperation] | tuple[None, None]:
    """What takes ``op`` back in the downgrade, and where it is one of the changes of a table."""
    for changes in script.downgrade_ops.ops:  # type: ignore[union-attr]
        if isinstance(changes, ModifyTableOps):
            for each in changes.ops:
                if isinstance(each, BACK[type(op)]) and about(each) == about(op):
                    return changes, each
    return None, None


def about(op: Any) -> tuple[str, str, str | None, str]:
    """Kind, table, schema and name of what is created, dropped or changed."""
    if isinstance(op, CreateForeignKeyOp):
        return "foreignkey", op.source_table, op.kw.get("source_schema"), str(op.constraint_name)
    if isinstance(op, CreateIndexOp | DropIndexOp):
        return "index", str(op.table_name), op.schema, str(op.index_name)
    if isinstance(op, AlterColumnOp):
        return "column", op.table_name, op.schema, op.column_name
    return str(op.constraint_type), op.table_name, op.schema, str(op.constraint_name)


def remove_empty(script: MigrationScript) -> None:
    """Take out the tables of which nothing is changed any more."""
    for ops in (*script.upgrade_ops_list, *script.downgrade_ops_list):
        remove_empty_from(ops)


def remove_empty_from(ops: OpContainer) -> None:
    """Take out the tables of which nothing is changed any more, in one direction."""
    ops.ops[:] = [op for op in ops.ops if not (isinstance(op, ModifyTableOps) and op.is_empty())]


def following(
    script: MigrationScript,
    identifier: str,
    message: str | None,
    up: list[MigrateOperation],
    down: list[MigrateOperation],
) -> MigrationScript:
    """The revision ``identifier``, which comes next after ``script``."""
    return MigrationScript(
        identifier,
        UpgradeOps(up),
        DowngradeOps(down),
        message=message,
        head=str(script.rev_id),
        version_path=script.version_path,
    )


def ids_after(first: str, count: int) -> list[str]:
    """Like Alembic's, 12 hexadecimal digits, and sorted: names of files begin with the second, and go on with these."""
    if not re.fullmatch("[0-9a-f]{12}", first):  # somebody's own
        return [rev_id() for _ in range(count)]
    return sorted(f"{randrange(int(first, 16) + 1, 16**12):012x}" for _ in range(count))
