"""Rules about constraints."""

import re
from collections.abc import Iterator
from copy import copy
from typing import Any

from alembic.ddl.postgresql import CreateExcludeConstraintOp
from alembic.operations import ops
from sqlalchemy import Select, UnaryExpression, column, exists, func, literal_column, select, table, text
from sqlalchemy.sql.elements import conv

from ...adapters.facts import Facts
from .columns import is_not_null_check
from .implied_ops import parts
from .indexes import attached, concurrent, is_dropped, is_on_table_alone
from .names import real_name
from .paste import as_python, as_sql
from .registry import BLOCKS, MYSQL, POSTGRESQL, WARNS, Problem, RuleContext, rule

UNIQUE = (ops.CreateUniqueConstraintOp, ops.CreatePrimaryKeyOp)


@rule(BLOCKS, *UNIQUE, ops.CreateIndexOp)
def add_unique(op: Any, context: RuleContext) -> Problem | None:
    """It fails on rows that have the same values."""
    if isinstance(op, ops.CreateIndexOp) and not op.unique:
        return None
    columns = ", ".join(str(getattr(each, "name", each)) for each in op.columns)
    made = f"makes {columns} of {op.table_name} unique"
    return _by_rows(made, "that have the same", _duplicates(op, context), context)


@rule(WARNS, ops.CreateForeignKeyOp)
def add_foreign_key(op: ops.CreateForeignKeyOp, context: RuleContext) -> Problem | None:
    """It fails on rows that refer to nothing."""
    if _is_not_valid(op, context):
        return None
    rows = f"of {op.source_table} that refer to no {op.referent_table}"
    return _by_rows(f"adds {_called(op)}", rows, _orphans(op), context)


@rule(WARNS, ops.CreateCheckConstraintOp)
def add_check(op: ops.CreateCheckConstraintOp, context: RuleContext) -> Problem | None:
    """It fails on rows for which the condition is false; NULL is not (PostgreSQL manual, "Check Constraints")."""
    if _is_not_valid(op, context):
        return None
    condition = as_sql(op.to_constraint().sqltext, context.facts)
    rows = table(op.table_name, schema=op.schema)
    query: Select[Any] = select(literal_column("*")).select_from(rows).where(literal_column(f"NOT ({condition})"))
    return _by_rows(f"adds {_called(op)}", f"of {op.table_name} that violate it", query, context)


@rule(WARNS, ops.DropConstraintOp)
def drop_constraint(op: ops.DropConstraintOp, context: RuleContext) -> Problem | None:
    """What it kept out comes in, without an error. One that the script makes anew is not lost."""
    made = {getattr(other.op, "constraint_name", None) for other in context.revision.upgrade if _adds(other.op)}
    if op.constraint_name in made - {None} or is_dropped(op.table_name, op.schema, context):
        return None
    if _is_not_null(op, context) or _goes_with_column(op, context):
        return None
    return Problem(
        f"drops {_named('constraint', op.constraint_name)} of {op.table_name}, and nothing keeps out what it kept out",
        "keep it, or say in the script why it is not needed any more:\n"
        '    safety_assured = {"drop-constraint": "why it is safe"}',
    )


@rule(
    BLOCKS,
    ops.CreateForeignKeyOp,
    ops.CreateCheckConstraintOp,
    ops.AddColumnOp,
    on=POSTGRESQL,
)
def constraint_scan_blocks(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """All rows are read under SHARE ROW EXCLUSIVE, for a CHECK under ACCESS EXCLUSIVE (PostgreSQL, "ALTER TABLE")."""
    for made in parts(op, context.facts, ops.CreateForeignKeyOp, ops.CreateCheckConstraintOp):
        if _is_not_valid(made, context):
            continue
        name, where, schema = _place(made)
        reads = " reads and" if isinstance(made, ops.CreateCheckConstraintOp) else ""
        others = f" and {made.referent_table}" if isinstance(made, ops.CreateForeignKeyOp) else ""
        validate = f"ALTER TABLE {context.facts.quoted(where, schema)} VALIDATE CONSTRAINT {context.facts.quoted(name)}"
        if (
            isinstance(made, ops.CreateForeignKeyOp)
            and context.tables.partitions(context.facts, where, schema) is not None
        ):
            yield Problem(
                f"adds {_called(made)}, a partitioned table, which blocks writes to {where}{others} while all rows are"
                " read, and cannot be NOT VALID",
                "run it in a quiet period, and rehearse it first:\n    flask db rehearse",
            )
            continue
        yield Problem(
            f"adds {_called(made)}, and nobody{reads} writes {where}{others} while all rows are read",
            f"add it without a look at the rows that are there:\n{as_python(_with(made, postgresql_not_valid=True))}\n"
            f"and look at them in the next revision:\n    op.execute({validate!r})",
        )


@rule(BLOCKS, *UNIQUE, ops.AddColumnOp, on=POSTGRESQL)
def unique_constraint_blocks(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """Its index is built under an ACCESS EXCLUSIVE lock (PostgreSQL manual, "ALTER TABLE")."""
    for made in parts(op, context.facts, *UNIQUE):
        index, use = by_index(made, context.facts)
        pieces = context.tables.partitions(context.facts, str(index.table_name), index.schema)
        if pieces is not None:
            if not is_on_table_alone(context):
                yield Problem(
                    f"adds {_called(made)}, a partitioned table, which blocks reads and writes until it is done",
                    _on_partitions(made, pieces, context),
                )
            continue
        yield Problem(
            f"adds {_called(made)}, and nobody can read or write {index.table_name} while its index is built",
            f"create a unique index concurrently, in a revision of its own:\n{concurrent(index)}\n"
            f"and make it the constraint in the next one:\n    op.execute({use!r})",
        )


def _on_partitions(made: Any, pieces: list[str], context: RuleContext) -> str:
    """Return the lines that add a constraint to each partition, then to the table ("ALTER INDEX", PostgreSQL)."""
    index, use = by_index(made, context.facts)

    def use_own(own: ops.CreateIndexOp) -> list[str]:
        again = copy(made)
        again.table_name, again.constraint_name = own.table_name, own.index_name
        return [f"    op.execute({by_index(again, context.facts)[1]!r})"]

    columns = ", ".join(context.facts.quoted(str(each)) for each in made.columns)
    add = use.partition(" USING INDEX ")[0].replace("ALTER TABLE ", "ALTER TABLE ONLY ", 1)
    return "\n".join(
        [
            "add it to the table alone, then to each partition by an index that is created concurrently, and attach"
            " these, each in a revision of its own:",
            f"    op.execute({f'{add} ({columns}){_deferred(made.kw)}'!r})",
            *attached(index, pieces, context, use_own),
        ]
    )


def by_index(made: Any, facts: Facts) -> tuple[ops.CreateIndexOp, str]:
    """A unique index, and the statement that makes it the constraint which ``made`` would add."""
    kind = "UNIQUE" if isinstance(made, ops.CreateUniqueConstraintOp) else "PRIMARY KEY"
    name, where, schema = _place(made)
    kept = {option: value for option, value in made.kw.items() if option.startswith("postgresql_")}
    index = ops.CreateIndexOp(name, where, made.columns, schema=schema, unique=True, **kept)
    add = f"ALTER TABLE {facts.quoted(where, schema)} ADD CONSTRAINT {facts.quoted(name)} {kind}"
    return index, f"{add} USING INDEX {facts.quoted(name)}{_deferred(made.kw)}"


@rule(BLOCKS, CreateExcludeConstraintOp, on=POSTGRESQL)
def exclude_constraint(op: CreateExcludeConstraintOp, context: RuleContext) -> Problem:
    """Its index is built under an ACCESS EXCLUSIVE lock, and none that is there serves (PostgreSQL, "ALTER TABLE")."""
    new, old = (context.facts.quoted(name, op.schema) for name in (f"{op.table_name}_new", op.table_name))
    return Problem(
        f"adds {_named('EXCLUDE constraint', op.constraint_name)} to {op.table_name}, and nobody can read or write it"
        " while its index is built",
        "run this revision when nobody needs the table, or make a new table that has it, and copy the rows:\n"
        f"    op.execute({f'INSERT INTO {new} SELECT * FROM {old}'!r})",
    )


@rule(WARNS, ops.CreateForeignKeyOp, ops.AddColumnOp, on=MYSQL)
def add_foreign_key_blocks(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """ALGORITHM=INPLACE is refused with foreign_key_checks=1 (MySQL manual, "Online DDL Operations", foreign keys)."""
    for made in parts(op, context.facts, ops.CreateForeignKeyOp):
        _name, where, schema = _place(made)
        if context.tables.has_rows(where, schema) is not False:
            yield Problem(
                f"adds {_called(made)}, for which {where} is copied, and nobody can write to it meanwhile",
                f"run this revision when nobody has to write to {where}, and try it on a copy before:\n"
                "    flask db rehearse",
            )


def _by_rows(made: str, rows: str, query: Select[Any], context: RuleContext) -> Problem:
    """Blocks if there are such rows."""
    found = context.tables.finds(query)
    return Problem(
        f"{made}, {'and there are' if found else 'which fails on'} rows {rows}",
        f"correct or remove such rows in a revision before this one:\n    {as_sql(query, context.facts)}",
        BLOCKS if found else WARNS,
    )


def _is_not_null(op: ops.DropConstraintOp, context: RuleContext) -> bool:
    """Whether it is a CHECK that says of a column what its NOT NULL says too."""
    known = context.tables.table(op.table_name, op.schema)
    check = known.checks.get(str(op.constraint_name))
    return check is not None and any(
        is_not_null_check(check.condition, name) for name, column in known.columns.items() if column.nullable is False
    )


def _goes_with_column(op: ops.DropConstraintOp, context: RuleContext) -> bool:
    """Return True if it is about a column that the same revision drops."""
    known, name = context.tables.table(op.table_name, op.schema), str(op.constraint_name)
    drops = [each.op for each in context.revision.upgrade if isinstance(each.op, ops.DropColumnOp)]
    dropped = {each.column_name for each in drops if (each.table_name, each.schema) == (op.table_name, op.schema)}
    condition = known.checks[name].condition if name in known.checks else ""
    named = re.findall(r"\w+", re.sub(r"'(?:[^']|'')*'", "", condition))
    return not dropped.isdisjoint({*named, *known.indexes.get(name, ())})


def _adds(op: ops.MigrateOperation) -> bool:
    return isinstance(op, ops.AddConstraintOp)


def _place(op: Any) -> tuple[str, str, str | None]:
    """Name, table and schema of a constraint; one without a name gets one."""
    if isinstance(op, ops.CreateForeignKeyOp):
        where, schema, columns = op.source_table, op.kw.get("source_schema"), op.local_cols
    else:
        where, schema, columns = op.table_name, op.schema, getattr(op, "columns", [])
    return real_name(op) or str(op.constraint_name or "_".join([where, *map(str, columns or ["check"])])), where, schema


def _with(op: Any, **options: Any) -> Any:
    """The same operation with more options, and with its name."""
    again = copy(op)
    again.kw = {**op.kw, **options}
    if op.constraint_name is None:
        again.constraint_name = conv(_place(op)[0])
    return again


def _is_not_valid(op: Any, context: RuleContext) -> bool:
    return context.facts.unvalidated_constraints and bool(op.kw.get("postgresql_not_valid"))


def _deferred(options: dict[str, Any]) -> str:
    deferrable = {True: " DEFERRABLE", False: " NOT DEFERRABLE", None: ""}[options.get("deferrable")]
    return deferrable + (f" INITIALLY {options['initially']}" if options.get("initially") else "")


def _called(op: Any) -> str:
    kinds = {"foreignkey": "foreign key", "primarykey": "primary key", "check": "CHECK constraint"}
    return f"{_named(kinds.get(op.constraint_type, 'constraint'), op.constraint_name)} to {_place(op)[1]}"


def _named(kind: str, name: Any) -> str:
    return f"{kind} {name}" if name else f"{'an' if kind.startswith('E') else 'a'} {kind}"


def _duplicates(op: Any, context: RuleContext) -> Select[Any]:
    """Values that several rows have; NULL is equal to nothing, unless the constraint says so."""
    keys = [_expression(each, context) for each in op.columns]
    rows = select(*keys, func.count()).select_from(table(op.table_name, schema=op.schema))
    if not op.kw.get(f"{context.facts.dialect}_nulls_not_distinct"):
        rows = rows.where(*(key.is_not(None) for key in keys))
    if (condition := op.kw.get(f"{context.facts.dialect}_where")) is not None:
        rows = rows.where(text(condition) if isinstance(condition, str) else _literal(condition, context))
    return rows.group_by(*keys).having(func.count() > 1)


def _expression(key: Any, context: RuleContext) -> Any:
    """What an index is ordered by, without ASC and DESC."""
    if isinstance(key, UnaryExpression):
        return _expression(key.element, context)
    if isinstance(key, str) or hasattr(key, "table"):
        return column(getattr(key, "name", key))
    return _literal(key, context)


def _literal(element: Any, context: RuleContext) -> Any:
    """Without the names of tables, which are other objects than the one that is asked."""
    return literal_column(f"({as_sql(element, context.facts)})")


def _orphans(op: ops.CreateForeignKeyOp) -> Select[Any]:
    """Rows whose columns all have a value, and no row there has the same."""
    rows = table(op.source_table, *map(column, op.local_cols), schema=op.kw.get("source_schema"))
    there = table(op.referent_table, *map(column, op.remote_cols), schema=op.kw.get("referent_schema")).alias(
        "referred"
    )
    pairs = zip(op.local_cols, op.remote_cols, strict=True)
    same = exists(literal_column("1")).where(*(there.c[remote] == rows.c[local] for local, remote in pairs))
    return (
        select(literal_column("*"))
        .select_from(rows)
        .where(*(rows.c[local].is_not(None) for local in op.local_cols), ~same)
    )
