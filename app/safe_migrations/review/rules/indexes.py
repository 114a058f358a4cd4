"""Rules about indexes."""

from collections.abc import Iterator

from alembic.operations import ops

from ..known_schema import ForeignKey, KnownTable
from .implied_ops import column_names, implied_ops
from .registry import BLOCKS, BOTH, MYSQL, POSTGRESQL, WARNS, Problem, RuleContext, rule
from .suggestions import REHEARSE, column_alone, concurrently

ADDS_INDEX = (ops.CreateIndexOp, ops.CreateUniqueConstraintOp, ops.CreatePrimaryKeyOp)


@rule(BLOCKS, ops.CreateIndexOp, ops.AddColumnOp, on=POSTGRESQL, locks=True)
def create_index_blocks_writes(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """Report an index created without CONCURRENTLY: its SHARE lock blocks writes (PostgreSQL, "CREATE INDEX")."""
    for index in implied_ops(op, context.facts, ops.CreateIndexOp):
        partitioned = context.tables.is_partitioned(str(index.table_name), index.schema)
        if partitioned or not index.kw.get("postgresql_concurrently"):
            column = column_alone(op, context.facts)
            online = f"create it concurrently, in a separate revision:\n{concurrently(index, context.facts)}"
            yield Problem(
                f"creates {_shown(index)} without CONCURRENTLY, which blocks writes to {index.table_name} until it is"
                " built",
                REHEARSE if partitioned else column + online,
            )


@rule(BLOCKS, ops.CreateIndexOp, ops.DropIndexOp, on=POSTGRESQL, directions=BOTH, new_tables=True)
def concurrently_in_transaction(op: ops.CreateIndexOp | ops.DropIndexOp, context: RuleContext) -> Problem | None:
    """Report CONCURRENTLY in a revision's transaction, where PostgreSQL refuses it (its manual, "CREATE INDEX")."""
    if not op.kw.get("postgresql_concurrently") or context.operation.autocommit:
        return None
    verb = "creates" if isinstance(op, ops.CreateIndexOp) else "drops"
    return Problem(
        f"{verb} {_shown(op)} concurrently in a transaction, which PostgreSQL refuses",
        f"run it in an autocommit block, in a separate revision:\n{concurrently(op, context.facts)}",
    )


@rule(WARNS, ops.DropIndexOp, on=POSTGRESQL)
def drop_index_blocks(op: ops.DropIndexOp, context: RuleContext) -> Problem | None:
    """Report an index dropped without CONCURRENTLY, under an ACCESS EXCLUSIVE lock (PostgreSQL, "DROP INDEX").

    Skip indexes whose table, or one of whose columns, the revision drops: this takes the same lock.
    """
    table = op.table_name or context.tables.table_of_index(str(op.index_name), op.schema)
    columns = context.tables.table(str(table), op.schema).indexes.get(str(op.index_name), [])
    if (
        op.kw.get("postgresql_concurrently")
        or drops_table(table, op.schema, context)
        or dropped_columns(table, op.schema, context) & {*columns}
    ):
        return None
    return Problem(
        f"drops {_shown(op)} without CONCURRENTLY, which blocks reads and writes of {table or 'its table'} while it"
        " waits for running transactions",
        REHEARSE
        if context.tables.is_partitioned(str(table), op.schema)
        else f"drop it concurrently, in a separate revision:\n{concurrently(op, context.facts)}",
    )


@rule(BLOCKS, ops.DropIndexOp, ops.DropConstraintOp, on=MYSQL, directions=BOTH, new_tables=True)
def index_needed_by_foreign_key(op: ops.DropIndexOp | ops.DropConstraintOp, context: RuleContext) -> Iterator[Problem]:
    """Report an index that the server refuses to drop because a foreign key needs it (error 1553).

    See the MySQL manual, "FOREIGN KEY Constraints".
    """
    if isinstance(op, ops.DropConstraintOp) and op.constraint_type not in ("unique", "primary"):
        return
    name = op.index_name if isinstance(op, ops.DropIndexOp) else op.constraint_name
    table = op.table_name or context.tables.table_of_index(str(name), op.schema)
    if table is None or name is None:
        return
    known = context.tables.table(table, op.schema)
    for key in known.foreign_keys:
        primary = getattr(op, "constraint_type", None) == "primary"
        if _needs(key, str(name), known, primary) and not _comes_at_once(key, context):
            called = f"foreign key {key.name}" if key.name else f"the foreign key of {', '.join(key.columns)}"
            other = ops.CreateIndexOp(f"ix_{'_'.join([table, *key.columns])}_key", table, key.columns, schema=op.schema)
            yield Problem(
                f"drops index {name} of {table}, which the server refuses because {called} needs it",
                "first drop the foreign key; or drop the whole table, which drops its indexes too; or first create"
                " another index for the foreign key, and then drop this one:\n"
                + context.python(other, op, batch=False),
            )


def _comes_at_once(key: ForeignKey, context: RuleContext) -> bool:
    """Return True if the same statement, such as ``DROP PRIMARY KEY, ADD PRIMARY KEY (...)``, adds an index for it."""
    statement = context.operation.statement
    return statement is not None and any(
        column_names(each.op.columns)[: len(key.columns)] == key.columns
        for each in (*context.revision.upgrade, *context.revision.downgrade)
        if each.statement == statement and isinstance(each.op, ADDS_INDEX)
    )


def _needs(key: ForeignKey, name: str, known: KnownTable, primary: bool) -> bool:
    """Return True if foreign key ``key`` needs index ``name``, or with ``primary``, the primary key.

    It does if this index begins with the columns of the foreign key, and no other index or primary key does. The index
    that InnoDB creates for a foreign key by itself does not count as another: InnoDB drops it as soon as one exists.
    """

    def serves(columns: list[str]) -> bool:
        return columns[: len(key.columns)] == key.columns

    by_itself = (key.name, key.columns[0])
    for other, columns in known.indexes.items():
        if other != name and serves(columns) and not (other in by_itself and columns == key.columns):
            return False
    if primary or serves(known.primary_key):
        return primary and serves(known.primary_key)
    return serves(known.indexes.get(name, key.columns if name == key.name else []))


@rule(WARNS, ops.CreateIndexOp, on=MYSQL)
def fulltext_blocks(op: ops.CreateIndexOp, _context: RuleContext) -> Problem | None:
    """Report a new FULLTEXT or SPATIAL index, which blocks writes (MySQL manual, "Online DDL Operations")."""
    kinds = {str(value).upper() for option, value in op.kw.items() if option.endswith("_prefix")}
    for kind in kinds & {"FULLTEXT", "SPATIAL"}:
        return Problem(
            f"creates {kind} {_shown(op)}, which blocks writes to {op.table_name} until it is built", REHEARSE
        )
    return None


def _shown(op: ops.CreateIndexOp | ops.DropIndexOp) -> str:
    return f"index {op.index_name}" if op.index_name else f"an index of {op.table_name}"


def dropped_columns(table: str | None, schema: str | None, context: RuleContext) -> set[str]:
    """Return the names of the columns that the revision drops from the table."""
    drops = context.revision_ops(ops.DropColumnOp)
    return {each.column_name for each in drops if (each.table_name, each.schema) == (table, schema)}


def drops_table(table: str | None, schema: str | None, context: RuleContext) -> bool:
    """Return True if the revision drops the table."""
    return (table, schema) in {(each.table_name, each.schema) for each in context.revision_ops(ops.DropTableOp)}
