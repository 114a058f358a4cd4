"""Rules about constraints: unique constraints, primary keys, foreign keys, CHECK and EXCLUDE."""

import re
from collections.abc import Iterable, Iterator
from itertools import dropwhile, takewhile
from typing import Any

from alembic.ddl.postgresql import CreateExcludeConstraintOp
from alembic.operations import ops
from sqlalchemy import ColumnElement, Select, UnaryExpression, column, exists, func, literal_column, select, table, text
from sqlalchemy.sql.elements import conv

from ...adapters.facts import Facts
from ..findings import assurance_line
from ..known_schema import Check, ForeignKey
from ..recorder import as_table
from ..sql.ops import CommandOp
from .columns import proves_not_null
from .implied_ops import KINDS, column_names, constraints_of, implied_ops, table_of
from .indexes import dropped_columns, drops_table
from .names import name_for, named
from .registry import BLOCKS, MYSQL, POSTGRESQL, WARNS, Problem, RuleContext, rule
from .suggestions import REHEARSE, as_sql, column_alone, concurrently, execute

UNIQUE = (ops.CreateUniqueConstraintOp, ops.CreatePrimaryKeyOp)


@rule(BLOCKS, *UNIQUE, ops.CreateIndexOp)
def add_unique(op: Any, context: RuleContext) -> Problem | None:
    """Report a new unique constraint, unique index or primary key, which fails if rows have duplicates."""
    if isinstance(op, ops.CreateIndexOp) and not op.unique:
        return None
    accepts_nulls = not isinstance(op, ops.CreatePrimaryKeyOp) and not _rejects_equal_nulls(op, context)
    if accepts_nulls and _is_unfilled(op, op.columns, context):
        return None
    columns = ", ".join(column_names(op.columns))
    kind = "unique index" if isinstance(op, ops.CreateIndexOp) else KINDS[op.constraint_type]
    on = f"{columns} of {op.table_name}" if len(op.columns) > 1 else f"{op.table_name}.{columns}"
    share, query = "rows share a value", _duplicates(op, context)
    if _was_unique(op, context) and not context.tables.finds(query):
        return None
    return _if_found(f"adds a {kind} on {on}", f"if two {share}", f"because {share}", query, context)


@rule(WARNS, ops.CreateForeignKeyOp, CommandOp)
def add_foreign_key(subject: Any, context: RuleContext) -> Problem | None:
    """Report a new foreign key, which fails if existing rows refer to missing rows.

    With NOT VALID, it is VALIDATE CONSTRAINT that fails.
    """
    op = subject if isinstance(subject, ops.CreateForeignKeyOp) else _validated(subject, ForeignKey, context)
    if op is None or _is_unfilled(op, op.local_cols, context):
        return None
    rows, query = f"of {op.source_table} refer to missing rows of {op.referent_table}", _orphans(op)
    if op is not subject:
        validates = f"validates {_shown(op, 'of')}, which fails because rows {rows}"
        return _if_violated(validates, query, context, fails=True)
    if _is_not_valid(op, context):
        return _if_violated(f"adds {_shown(op)}; rows {rows}, so VALIDATE CONSTRAINT will fail", query, context)
    key = ForeignKey(None, list(op.local_cols), (op.kw.get("referent_schema"), op.referent_table), list(op.remote_cols))
    if key in _dropped_here(op, ForeignKey, context) and not context.tables.finds(query):
        return None
    return _if_found(f"adds {_shown(op)}", f"if rows {rows}", f"because rows {rows}", query, context)


@rule(WARNS, ops.CreateCheckConstraintOp, CommandOp)
def add_check(subject: Any, context: RuleContext) -> Problem | None:
    """Report a new CHECK, which fails if existing rows violate it.

    A condition that is NULL for a row is not violated (PostgreSQL manual, "Check Constraints"). With NOT VALID, updates
    of these rows fail at once, and VALIDATE CONSTRAINT later.
    """
    op = subject if isinstance(subject, ops.CreateCheckConstraintOp) else _validated(subject, Check, context)
    if op is None:
        return None
    condition = as_sql(op.to_constraint().sqltext, context.facts)
    rows = table(op.table_name, schema=op.schema)
    query: Select[Any] = select(literal_column("*")).select_from(rows).where(literal_column(f"NOT ({condition})"))
    violate = f"rows of {op.table_name} violate it"
    if op is not subject:
        validates = f"validates {_shown(op, 'of')}, which fails because {violate}"
        return _if_violated(validates, query, context, fails=True)
    if _is_not_valid(op, context):
        consequence = f"{violate}, so updates of these rows and VALIDATE CONSTRAINT will fail"
        return _if_violated(f"adds {_shown(op)}; {consequence}", query, context)
    others = [*context.tables.table(op.table_name, op.schema).checks.values(), *_dropped_here(op, Check, context)]
    is_same = (check.valid and _is_same(check.condition, condition, context) for check in others)
    if (_accepts_new_columns(op, condition, context) or any(is_same)) and not context.tables.finds(query):
        return None
    return _if_found(f"adds {_shown(op)}", f"if {violate}", f"because {violate}", query, context)


def _accepts_new_columns(op: ops.CreateCheckConstraintOp, condition: str, context: RuleContext) -> bool:
    """Return True if the condition is about columns that are new, and accepts that they are NULL in all rows."""
    known = context.tables.table(op.table_name, op.schema).columns.values()
    if not (unfilled := {each.name for each in known if each.unfilled}):
        return False
    from ..sql.trees import accepts  # its library takes its time to load

    return accepts(condition, unfilled, {each.name for each in known if each.nullable is False}, context.facts)


def _is_unfilled(op: Any, columns: Iterable[Any], context: RuleContext) -> bool:
    """Return True if one of ``columns`` is new, and still NULL in all rows, which no foreign or unique key rejects."""
    known = context.tables.table(*table_of(op)).columns
    return any(known[name].unfilled for name in column_names(columns) if name in known)


def _was_unique(op: Any, context: RuleContext) -> bool:
    """Return True if the table has, or had before this revision, a key that already rejects the same duplicates."""
    known, columns = context.tables.table(*table_of(op)), set(column_names(op.columns))
    others = [*(known.indexes[name] for name in known.unique), *_dropped_here(op, list, context), known.primary_key]
    return not _rejects_equal_nulls(op, context) and any(other and columns.issuperset(other) for other in others)


def _rejects_equal_nulls(op: Any, context: RuleContext) -> bool:
    """Return True for NULLS NOT DISTINCT, with which two NULLs are duplicates."""
    return bool(op.kw.get(f"{context.facts.dialect}_nulls_not_distinct"))


def _dropped_here(op: Any, kind: type, context: RuleContext) -> list[Any]:
    """Return the values of a kind in KnownTable.dropped that this revision has dropped from the operation's table.

    Return an empty list if rows of the table have changed, which may now violate what was dropped.
    """
    table_name, schema = table_of(op)
    if context.tables.written & {(schema, table_name), None}:
        return []
    drops = context.revision_ops(ops.DropConstraintOp, ops.DropIndexOp)
    names = {str(each.index_name if isinstance(each, ops.DropIndexOp) else each.constraint_name) for each in drops}
    dropped = context.tables.table(table_name, schema).dropped
    return [key for name, key in dropped.items() if name in names and isinstance(key, kind)]


def _is_same(condition: str, other: str, context: RuleContext) -> bool:
    """Return True if the conditions of two CHECKs differ only in parentheses, quotes around names, and the like."""
    if condition == other:
        return True
    from ..sql.trees import expression_of  # its library takes its time to load

    return bool(expression_of(condition, context.facts) == expression_of(other, context.facts))


def _validated(op: CommandOp, kind: type, context: RuleContext) -> Any:
    """Return the operation that adds the constraint that VALIDATE CONSTRAINT validates; None for any other command.

    Return None too if it is not of ``kind``, ForeignKey or Check, or not known.
    """
    if op.words != "VALIDATE CONSTRAINT" or op.table_name is None:
        return None
    known, schemas = context.tables.table(op.table_name, op.schema), {"source_schema": op.schema}
    if kind is Check and op.name in known.checks:
        condition: ColumnElement[bool] = literal_column(known.checks[op.name].condition)
        return ops.CreateCheckConstraintOp(op.name, op.table_name, condition, schema=op.schema)
    for key in known.foreign_keys if kind is ForeignKey else ():
        if key.name == op.name:
            schemas["referent_schema"], referred = key.referred
            return ops.CreateForeignKeyOp(
                key.name, op.table_name, referred, key.columns, key.referred_columns, **schemas
            )
    return None


def _if_violated(what: str, query: Select[Any], context: RuleContext, fails: bool = False) -> Problem | None:
    """Return a problem that blocks if ``query`` finds rows that violate a NOT VALID constraint, and otherwise None.

    ``fails`` is True for its validation, which is certain to fail on such rows.
    """
    return Problem(what, _correct(query, context), BLOCKS, fails=fails) if context.tables.finds(query) else None


def _correct(query: Select[Any], context: RuleContext) -> str:
    """Return the advice to correct the rows that ``query`` finds; after this revision if that adds what it reads."""
    rows = as_sql(query, context.facts)
    new: list[set[object]] = [{each.table_name} for each in context.revision_ops(ops.CreateTableOp)]
    new += [{each.new_table_name} for each in context.revision_ops(ops.RenameTableOp)]
    new += [{each.table_name, each.column.name} for each in context.revision_ops(ops.AddColumnOp)]
    new += [{each.table_name, each.modify_name} for each in context.revision_ops(ops.AlterColumnOp)]
    if any(names.issubset(re.findall(r"\w+", rows)) for names in new):
        when = "add it in the next revision, and before that correct or delete these rows; after this one"
    else:
        when = "correct or delete these rows in an earlier revision;"
    return f"{when} this query finds them:\n    {rows}"


def _if_found(what: str, if_there: str, because: str, query: Select[Any], context: RuleContext) -> Problem:
    """Return a problem that blocks if ``query`` finds rows that violate the constraint, and otherwise warns."""
    found = context.tables.finds(query)
    return Problem(
        f"{what}, which fails {because if found else if_there}",
        _correct(query, context),
        BLOCKS if found else WARNS,
        fails=bool(found),
    )


@rule(WARNS, ops.DropConstraintOp)
def drop_constraint(op: ops.DropConstraintOp, context: RuleContext) -> Problem | None:
    """Report a dropped constraint: the database then accepts rows that it used to reject.

    Exempt is a constraint that the revision creates again, also under another name or for its renamed column, whose
    table or column the revision drops too, or that only rejects NULL in a column that is NOT NULL.
    """
    created = {getattr(each, "constraint_name", None) for each in context.revision_ops(ops.AddConstraintOp)} - {None}
    if op.constraint_name in created or drops_table(op.table_name, op.schema, context):
        return None
    if _is_implied_by_not_null(op, context) or _goes_with_column(op, context) or _comes_back(op, context):
        return None
    return Problem(
        f"drops {_named('constraint', op.constraint_name)} of {op.table_name}; the database will then accept rows that"
        " it used to reject",
        "keep it, or say at the top of the script why it is no longer needed:\n"
        f"    {assurance_line('drop-constraint')}",
    )


def _is_implied_by_not_null(op: ops.DropConstraintOp, context: RuleContext) -> bool:
    """Return True if the constraint is a CHECK (column IS NOT NULL) of a column that is NOT NULL anyway."""
    known = context.tables.table(op.table_name, op.schema)
    check = known.checks.get(str(op.constraint_name))
    not_null = [name for name, column in known.columns.items() if column.nullable is False]
    return check is not None and any(proves_not_null(check.condition, name, alone=True) for name in not_null)


def _comes_back(op: ops.DropConstraintOp, context: RuleContext) -> bool:
    """Return True if at the end of the revision the table has a constraint that rejects the same rows."""
    tables, table = context.tables.branch(), (op.table_name, op.schema)
    for each in dropwhile(lambda each: each is not context.operation, context.revision.upgrade):
        if tables.of(each.op) == table:
            tables.apply(each.op)
    known = tables.table(*table)
    match known.dropped.get(str(op.constraint_name)):
        case ForeignKey() as key:
            return key in known.foreign_keys
        case Check(condition):
            return any(_is_same(condition, each.condition, context) for each in known.checks.values())
        case [*columns]:
            keys = filter(None, [known.primary_key, *(known.indexes[name] for name in known.unique)])
            return any(set(columns).issuperset(key) for key in keys)
    return False


def _goes_with_column(op: ops.DropConstraintOp, context: RuleContext) -> bool:
    """Return True if the constraint is on a column that the revision also drops; primary keys do not count."""
    known, name = context.tables.table(op.table_name, op.schema), str(op.constraint_name)
    keys = [column for key in known.foreign_keys if key.name == name for column in key.columns]
    condition = known.checks[name].condition if name in known.checks else ""
    words = re.findall(r"\w+", re.sub(r"'(?:[^']|'')*'", "", condition))
    return not dropped_columns(op.table_name, op.schema, context).isdisjoint(
        {*words, *keys, *known.indexes.get(name, ())}
    )


@rule(BLOCKS, ops.CreateForeignKeyOp, ops.CreateCheckConstraintOp, ops.AddColumnOp, on=POSTGRESQL, locks=True)
def constraint_scan_blocks(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """Report a foreign key or CHECK that scans all rows under a lock, because it is added without NOT VALID.

    The lock is SHARE ROW EXCLUSIVE for a foreign key, ACCESS EXCLUSIVE for a CHECK (PostgreSQL, "ALTER TABLE").
    """
    for made in implied_ops(op, context.facts, ops.CreateForeignKeyOp, ops.CreateCheckConstraintOp):
        if _is_not_valid(made, context):
            continue
        where, schema = table_of(made)
        locks = f"reads and writes of {where}"
        if isinstance(made, ops.CreateForeignKeyOp):
            locks = f"writes to {where} and {made.referent_table}"
        instead = (
            f"{column_alone(op, context.facts)}add the constraint without validating existing rows:\n"
            f"{context.python(named(made, context, postgresql_not_valid=True), batch=False)}\n"
            "and validate existing rows in the next revision:\n"
            + execute(context.postgresql.validate_sql(where, schema, name_for(made, context)))
        )
        if isinstance(made, ops.CreateForeignKeyOp) and context.tables.is_partitioned(where, schema):
            instead = REHEARSE
        yield Problem(f"adds {_shown(made)}, which blocks {locks} while all rows are scanned", instead)


@rule(BLOCKS, CommandOp, on=POSTGRESQL, locks=True, code="constraint-scan-blocks")
def validated_at_once(op: CommandOp, context: RuleContext) -> Problem | None:
    """Report VALIDATE CONSTRAINT in the revision that adds the constraint: ADD holds its lock until the revision ends.

    An autocommit block commits what comes before it, and so releases that lock.
    """
    if op.words != "VALIDATE CONSTRAINT" or context.operation.autocommit:
        return None
    where, is_locked = (op.table_name, op.schema), False
    for each in takewhile(lambda each: each is not context.operation, context.revision.upgrade):
        if each.autocommit:
            is_locked = False
        elif isinstance(each.op, ops.CreateForeignKeyOp | ops.CreateCheckConstraintOp) and table_of(each.op) == where:
            name = each.op.constraint_name if each.statement is not None else name_for(each.op, context)
            is_locked |= str(name) == op.name
    if not is_locked:
        return None
    return Problem(
        f"validates constraint {op.name} of {op.table_name} in the revision that adds it, which holds its lock until"
        " the end; so this scan of all rows blocks writes",
        "validate it in the next revision:\n"
        + execute(context.postgresql.validate_sql(op.table_name or "", op.schema, op.name or "")),
    )


@rule(BLOCKS, *UNIQUE, ops.AddColumnOp, on=POSTGRESQL, locks=True)
def unique_constraint_blocks(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """Report a unique constraint or primary key: its index is built under an ACCESS EXCLUSIVE lock ("ALTER TABLE")."""
    for made in implied_ops(op, context.facts, *UNIQUE):
        index, use = by_index(made, name_for(made, context), context.facts)
        online = f"create a unique index concurrently, in a separate revision:\n{concurrently(index, context.facts)}\n"
        online += f"and turn that index into the constraint in the next revision:\n{execute(use)}"
        yield Problem(
            f"adds {_shown(made)}, which blocks reads and writes of {index.table_name} while its index is built",
            REHEARSE
            if context.tables.is_partitioned(str(index.table_name), index.schema)
            else column_alone(op, context.facts) + online,
        )


def by_index(made: Any, name: conv, facts: Facts) -> tuple[ops.CreateIndexOp, str]:
    """Return the operation that creates a unique index, and the SQL that makes it the constraint that ``made`` adds.

    ``name`` is that of the constraint.
    """
    where, schema = table_of(made)
    kept = {option: value for option, value in made.kw.items() if option.startswith("postgresql_")}
    index = ops.CreateIndexOp(name, where, made.columns, schema=schema, unique=True, **kept)
    kind = "UNIQUE" if isinstance(made, ops.CreateUniqueConstraintOp) else "PRIMARY KEY"
    deferrable = {True: " DEFERRABLE", False: " NOT DEFERRABLE", None: ""}[made.kw.get("deferrable")]
    initially = f" INITIALLY {made.kw['initially']}" if made.kw.get("initially") else ""
    return index, (
        f"ALTER TABLE {facts.quoted(where, schema)} ADD CONSTRAINT {facts.quoted(name)} {kind}"
        f" USING INDEX {facts.quoted(name)}{deferrable}{initially}"
    )


@rule(BLOCKS, CreateExcludeConstraintOp, on=POSTGRESQL, locks=True)
def exclude_constraint(op: CreateExcludeConstraintOp, _context: RuleContext) -> Problem:
    """Report an EXCLUDE constraint: its index is always built under a lock that blocks reads (PostgreSQL manual)."""
    return Problem(
        f"adds {_named('EXCLUDE constraint', op.constraint_name)} to {op.table_name}, which blocks reads and writes"
        " while its index is built",
        REHEARSE,
    )


@rule(WARNS, ops.CreateForeignKeyOp, ops.AddColumnOp, on=MYSQL)
def add_foreign_key_blocks(op: ops.MigrateOperation, context: RuleContext) -> Iterator[Problem]:
    """Report a new foreign key on a table with rows, for which the server copies the table and blocks writes.

    ALGORITHM=INPLACE would need foreign_key_checks=0 (MySQL manual, "Online DDL Operations").
    """
    for made in implied_ops(op, context.facts, ops.CreateForeignKeyOp):
        where, schema = table_of(made)
        if context.tables.has_rows(where, schema) is not False:
            yield Problem(
                f"adds {_shown(made)}; the server rebuilds {where} for this and blocks writes until it is done",
                REHEARSE,
            )


@rule(BLOCKS, ops.AddColumnOp, ops.CreateTableOp, on=MYSQL, new_tables=True)
def inline_references_ignored(op: ops.AddColumnOp | ops.CreateTableOp, context: RuleContext) -> Iterator[Problem]:
    """Report REFERENCES in a column's definition, from which MySQL before 9.0 creates no foreign key (bug 102904)."""
    if not context.mysql.ignores_inline_references:
        return
    table = as_table(op)
    for _constraint, made in constraints_of(table):
        if isinstance(made, ops.CreateForeignKeyOp) and table.columns[made.local_cols[0]].info.get("inline_references"):
            yield Problem(
                f"has REFERENCES in the definition of {table.name}.{made.local_cols[0]}; this version of the database"
                " silently ignores it and creates no foreign key",
                "create the foreign key as a constraint of the table, which works on every version:\n"
                + context.python(named(made, context), batch=False),
            )


def _is_not_valid(op: Any, context: RuleContext) -> bool:
    return bool(op.kw.get(f"{context.facts.dialect}_not_valid"))


def _shown(op: Any, preposition: str = "to") -> str:
    return f"{_named(KINDS[op.constraint_type], op.constraint_name)} {preposition} {table_of(op)[0]}"


def _named(kind: str, name: Any) -> str:
    return f"{kind} {name}" if name else f"{'an' if kind.startswith('E') else 'a'} {kind}"


def _duplicates(op: Any, context: RuleContext) -> Select[Any]:
    """Return a query for values that several rows share; NULL counts only if the constraint has NULLS NOT DISTINCT."""
    keys = [_expression(each, context) for each in op.columns]
    rows = select(*keys, func.count()).select_from(table(op.table_name, schema=op.schema))
    if not _rejects_equal_nulls(op, context):
        rows = rows.where(*(key.is_not(None) for key in keys))
    if (condition := op.kw.get(f"{context.facts.dialect}_where")) is not None:
        rows = rows.where(text(condition) if isinstance(condition, str) else _literal(condition, context))
    return rows.group_by(*keys).having(func.count() > 1)


def _expression(key: Any, context: RuleContext) -> Any:
    """Return a key of an index, which is a column or an expression, without ASC and DESC."""
    if isinstance(key, UnaryExpression):
        return _expression(key.element, context)
    if isinstance(key, str) or hasattr(key, "table"):
        return column(getattr(key, "name", key))
    return _literal(key, context)


def _literal(element: Any, context: RuleContext) -> Any:
    """Return the element as SQL text without table names, so that the query does not add its table to FROM."""
    return literal_column(f"({as_sql(element, context.facts)})")


def _orphans(op: ops.CreateForeignKeyOp) -> Select[Any]:
    """Return a query for rows that refer to a missing row; a row with NULL in the foreign key refers to no row."""
    rows = table(op.source_table, *map(column, op.local_cols), schema=op.kw.get("source_schema"))
    referred = table(op.referent_table, *map(column, op.remote_cols), schema=op.kw.get("referent_schema"))
    there = referred.alias("referred")
    pairs = zip(op.local_cols, op.remote_cols, strict=True)
    same = exists(literal_column("1")).where(*(there.c[remote] == rows.c[local] for local, remote in pairs))
    not_null = (rows.c[local].is_not(None) for local in op.local_cols)
    return select(literal_column("*")).select_from(rows).where(*not_null, ~same)
