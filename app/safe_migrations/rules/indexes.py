"""Rules about indexes."""

from alembic.operations import ops

from app.safe_migrations.rules.registry import BLOCKS, Case, Problem, rule


@rule(BLOCKS, ops.CreateIndexOp, applies=lambda facts: facts.concurrent_indexes)
def create_index_blocks_writes(op: ops.CreateIndexOp, _case: Case) -> Problem | None:
    """CREATE INDEX takes a SHARE lock: nobody writes until it is built (PostgreSQL manual, "CREATE INDEX")."""
    if op.kw.get("postgresql_concurrently"):
        return None
    columns = ", ".join(f'"{column}"' for column in op.columns)
    return Problem(
        f"creates index {op.index_name}, and nobody can write to {op.table_name} meanwhile",
        "create it concurrently, in a revision of its own:\n"
        "    with op.get_context().autocommit_block():\n"
        f'        op.create_index("{op.index_name}", "{op.table_name}", [{columns}], postgresql_concurrently=True)',
    )
