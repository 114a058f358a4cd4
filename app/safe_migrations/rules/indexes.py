"""Rules about indexes."""

from collections.abc import Iterator

from alembic.operations import ops

from app.safe_migrations.rules.lines import as_python
from app.safe_migrations.rules.parts import parts
from app.safe_migrations.rules.registry import BLOCKS, WARNS, Case, Problem, rule

AUTOCOMMIT = "    with op.get_context().autocommit_block():\n"


@rule(BLOCKS, ops.CreateIndexOp, ops.AddColumnOp, applies=lambda facts: facts.concurrent_indexes)
def create_index_blocks_writes(op: ops.MigrateOperation, _case: Case) -> Iterator[Problem]:
    """CREATE INDEX takes a SHARE lock: nobody writes until it is built (PostgreSQL manual, "CREATE INDEX")."""
    for index in parts(op, ops.CreateIndexOp):
        if not index.kw.get("postgresql_concurrently"):
            yield Problem(
                f"creates {_called(index)}, and nobody can write to {index.table_name} meanwhile",
                f"create it concurrently, in a revision of its own:\n{concurrent(index)}",
            )


@rule(
    BLOCKS,
    ops.CreateIndexOp,
    ops.DropIndexOp,
    applies=lambda facts: facts.concurrent_indexes,
    ways=("upgrade", "downgrade"),
    new_tables=True,
)
def concurrently_in_transaction(op: ops.CreateIndexOp | ops.DropIndexOp, case: Case) -> Problem | None:
    """The server refuses it there, and a revision is a transaction (PostgreSQL manual, "CREATE INDEX")."""
    if not op.kw.get("postgresql_concurrently") or (case.operation and case.operation.autocommit):
        return None
    verb = "creates" if isinstance(op, ops.CreateIndexOp) else "drops"
    return Problem(
        f"{verb} {_called(op)} concurrently in a transaction, which the server refuses",
        f"leave the transaction for it, in a revision of its own:\n{AUTOCOMMIT}{as_python(op, indent=8)}",
    )


@rule(WARNS, ops.DropIndexOp, applies=lambda facts: facts.concurrent_indexes)
def drop_index_blocks(op: ops.DropIndexOp, case: Case) -> Problem | None:
    """DROP INDEX takes an ACCESS EXCLUSIVE lock on the table (PostgreSQL manual, "DROP INDEX")."""
    table = op.table_name or case.tables.table_of_index(str(op.index_name), op.schema)
    if op.kw.get("postgresql_concurrently") or _is_dropped(table, op.schema, case):
        return None
    again = ops.DropIndexOp(
        op.index_name, table, schema=op.schema, if_exists=op.if_exists, **{**op.kw, "postgresql_concurrently": True}
    )
    return Problem(
        f"drops {_called(op)}, which waits for all who use {table or 'its table'}, and all others wait behind it",
        f"drop it concurrently, in a revision of its own:\n{AUTOCOMMIT}{as_python(again, indent=8)}",
    )


def concurrent(index: ops.CreateIndexOp) -> str:
    """The lines that create the index, and let others write."""
    again = ops.CreateIndexOp(
        index.index_name,
        index.table_name,
        index.columns,
        schema=index.schema,
        unique=index.unique,
        if_not_exists=index.if_not_exists,
        **{**index.kw, "postgresql_concurrently": True},
    )
    return f"{AUTOCOMMIT}{as_python(again, indent=8)}"


def _called(op: ops.CreateIndexOp | ops.DropIndexOp) -> str:
    return f"index {op.index_name}" if op.index_name else f"an index of {op.table_name}"


def _is_dropped(table: str | None, schema: str | None, case: Case) -> bool:
    return any(
        isinstance(other.op, ops.DropTableOp) and (other.op.table_name, other.op.schema) == (table, schema)
        for other in case.revision.upgrade
    )
