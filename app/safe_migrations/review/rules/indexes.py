"""Rules about indexes."""

import re
from collections.abc import Callable, Iterator
from copy import copy

from alembic.operations import ops
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.elements import conv

from ..known_schema import ForeignKey, KnownTable
from .implied_ops import parts
from .paste import as_python
from .registry import BLOCKS, BOTH, MYSQL, POSTGRESQL, WARNS, Problem, RuleContext, rule

AUTOCOMMIT = "    with op.get_context().autocommit_block():\n"


@rule(BLOCKS, ops.CreateIndexOp, ops.AddColumnOp, on=POSTGRESQL)
def create_index_blocks_writes(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """CREATE INDEX takes a SHARE lock: nobody writes until it is built (PostgreSQL manual, "CREATE INDEX")."""
    for index in parts(op, context.facts, ops.CreateIndexOp):
        pieces = context.tables.partitions(context.facts, str(index.table_name), index.schema)
        if pieces is not None:
            if not is_on_table_alone(context):
                yield Problem(
                    f"creates {_called(index)} on a partitioned table, which blocks writes to {index.table_name} and is"
                    " not possible concurrently",
                    _on_partitions(index, pieces, context),
                )
        elif not index.kw.get("postgresql_concurrently"):
            yield Problem(
                f"creates {_called(index)}, and nobody can write to {index.table_name} meanwhile",
                f"create it concurrently, in a revision of its own:\n{concurrent(index)}",
            )


@rule(
    BLOCKS,
    ops.CreateIndexOp,
    ops.DropIndexOp,
    on=POSTGRESQL,
    directions=BOTH,
    new_tables=True,
)
def concurrently_in_transaction(op: ops.CreateIndexOp | ops.DropIndexOp, context: RuleContext) -> Problem | None:
    """The server refuses it there, and a revision is a transaction (PostgreSQL manual, "CREATE INDEX")."""
    if not op.kw.get("postgresql_concurrently") or (context.operation and context.operation.autocommit):
        return None
    verb = "creates" if isinstance(op, ops.CreateIndexOp) else "drops"
    return Problem(
        f"{verb} {_called(op)} concurrently in a transaction, which the server refuses",
        f"leave the transaction for it, in a revision of its own:\n{AUTOCOMMIT}{as_python(op, indent=8)}",
    )


@rule(WARNS, ops.DropIndexOp, on=POSTGRESQL)
def drop_index_blocks(op: ops.DropIndexOp, context: RuleContext) -> Problem | None:
    """DROP INDEX takes an ACCESS EXCLUSIVE lock on the table (PostgreSQL manual, "DROP INDEX")."""
    table = op.table_name or context.tables.table_of_index(str(op.index_name), op.schema)
    if (
        op.kw.get("postgresql_concurrently")
        or is_dropped(table, op.schema, context)
        or _goes_with_column(table, op, context)
    ):
        return None
    if context.tables.partitions(context.facts, str(table), op.schema) is not None:
        return Problem(
            f"drops {_called(op)} of a partitioned table, which waits for all transactions that use {table} and blocks"
            " reads and writes until then",
            "run it in a quiet period, and rehearse it first:\n    flask db rehearse",
        )
    again = ops.DropIndexOp(
        op.index_name, table, schema=op.schema, if_exists=op.if_exists, **{**op.kw, "postgresql_concurrently": True}
    )
    return Problem(
        f"drops {_called(op)}, which waits for all who use {table or 'its table'}, and all others wait behind it",
        f"drop it concurrently, in a revision of its own:\n{AUTOCOMMIT}{as_python(again, indent=8)}",
    )


@rule(
    BLOCKS,
    ops.DropIndexOp,
    ops.DropConstraintOp,
    on=MYSQL,
    directions=BOTH,
    new_tables=True,
)
def index_needed_by_foreign_key(op: ops.DropIndexOp | ops.DropConstraintOp, context: RuleContext) -> Iterator[Problem]:
    """Error 1553 (MySQL manual, "FOREIGN KEY Constraints", conditions and restrictions)."""
    if isinstance(op, ops.DropConstraintOp) and op.constraint_type not in ("unique", "primary"):
        return
    name = op.index_name if isinstance(op, ops.DropIndexOp) else op.constraint_name
    table = op.table_name or context.tables.table_of_index(str(name), op.schema)
    if table is None or name is None:
        return
    known = context.tables.table(table, op.schema)
    for key in known.foreign_keys:
        if _needs(key, str(name), known, getattr(op, "constraint_type", None) == "primary"):
            called = f"foreign key {key.name}" if key.name else f"the foreign key of {', '.join(key.columns)}"
            yield Problem(
                f"drops index {name} of {table}, and the server refuses that while {called} needs it",
                _without_index(op, str(table), key, context),
            )


@rule(WARNS, ops.CreateIndexOp, on=MYSQL)
def fulltext_blocks(op: ops.CreateIndexOp, context: RuleContext) -> Problem | None:
    """LOCK=NONE is refused for these (MySQL manual, "Online DDL Operations", index operations)."""
    kinds = {str(value).upper() for option, value in op.kw.items() if option.endswith("_prefix")}
    for kind in kinds & context.facts.blocking_indexes:
        return Problem(
            f"creates {kind} {_called(op)}, and nobody can write to {op.table_name} meanwhile",
            f"run this revision when nobody has to write to {op.table_name}, and try it on a copy before, or search in "
            "another service:\n    flask db rehearse",
        )
    return None


def _needs(key: ForeignKey, name: str, known: KnownTable, primary: bool) -> bool:
    """Whether no other index than that one, or the primary key, begins with the columns of ``key``.

    InnoDB makes one by itself, and drops that as soon as there is another: so it never takes the place of one.
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


def _without_index(op: ops.MigrateOperation, table: str, key: ForeignKey, context: RuleContext) -> str:
    """What to do instead of dropping the index, or before it."""
    later = [
        each.op for each in (context.revision.upgrade if context.direction == "upgrade" else context.revision.downgrade)
    ]
    if any(isinstance(each, ops.DropTableOp) and each.table_name == table for each in later):
        return f"leave it to the table, which takes its indexes along:\n{as_python(ops.DropTableOp(table))}"
    schema = getattr(op, "schema", None)
    if any(isinstance(each, ops.DropConstraintOp) and each.constraint_name == key.name for each in later):
        drop = ops.DropConstraintOp(key.name, table, type_="foreignkey", schema=schema)
        return f"drop the foreign key first:\n{as_python(drop, op)}"
    other = ops.CreateIndexOp(f"ix_{'_'.join([table, *key.columns])}_key", table, key.columns, schema=schema)
    return f"drop the foreign key first, or give it another index before:\n{as_python(other, op)}"


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


def is_on_table_alone(context: RuleContext) -> bool:
    """Return True for SQL that says ONLY: of a partitioned table it changes the catalog, and reads no row."""
    return (
        context.in_sql
        and re.search(r"\bONLY\b", str(context.operation and context.operation.statement), re.I) is not None
    )


def _on_partitions(index: ops.CreateIndexOp, pieces: list[str], context: RuleContext) -> str:
    """Return the lines that create an index on the partitions, and block no writes ("CREATE INDEX", PostgreSQL)."""
    plain = copy(index)
    plain.kw = {key: value for key, value in index.kw.items() if key != "postgresql_concurrently"}
    create = str(CreateIndex(plain.to_index()).compile(dialect=context.facts.sql_dialect)).replace(
        " ON ", " ON ONLY ", 1
    )
    return "\n".join(
        [
            "create it on the table alone, then on each partition concurrently, and attach these, each in a revision of"
            " its own:",
            f"    op.execute({create!r})",
            *attached(plain, pieces, context, lambda _index: []),
        ]
    )


def attached(
    index: ops.CreateIndexOp, pieces: list[str], context: RuleContext, more: Callable[[ops.CreateIndexOp], list[str]]
) -> Iterator[str]:
    """Yield the lines that create an index on each partition, do ``more`` with it, and attach it to the table's."""
    for piece in pieces or ["PARTITION"]:
        own = copy(index)
        own.table_name, own.index_name = piece, conv(context.facts.shortened(f"{piece}_{index.index_name}"))
        parent, child = (context.facts.quoted(str(each.index_name), index.schema) for each in (index, own))
        attach = f"ALTER INDEX {parent} ATTACH PARTITION {child}"
        yield from [concurrent(own), *more(own), f"    op.execute({attach!r})"]


def _called(op: ops.CreateIndexOp | ops.DropIndexOp) -> str:
    return f"index {op.index_name}" if op.index_name else f"an index of {op.table_name}"


def _goes_with_column(table: str | None, op: ops.DropIndexOp, context: RuleContext) -> bool:
    """Whether the script drops a column of it, which takes the same lock."""
    columns = context.tables.table(str(table), op.schema).indexes.get(str(op.index_name), [])
    return any(
        isinstance(other.op, ops.DropColumnOp)
        and (other.op.table_name, other.op.schema) == (table, op.schema)
        and other.op.column_name in columns
        for other in context.revision.upgrade
    )


def is_dropped(table: str | None, schema: str | None, context: RuleContext) -> bool:
    """Whether the script drops the table."""
    return any(
        isinstance(other.op, ops.DropTableOp) and (other.op.table_name, other.op.schema) == (table, schema)
        for other in context.revision.upgrade
    )
