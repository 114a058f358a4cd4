"""What a script does, and what takes that back: found, and taken out."""

from typing import Any

from alembic.operations.ops import (
    AddConstraintOp,
    AlterColumnOp,
    CreateForeignKeyOp,
    CreateIndexOp,
    CreateUniqueConstraintOp,
    DropConstraintOp,
    DropIndexOp,
    MigrateOperation,
    MigrationScript,
    ModifyTableOps,
)

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
        ops.ops[:] = [op for op in ops.ops if not (isinstance(op, ModifyTableOps) and op.is_empty())]
