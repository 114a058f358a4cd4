"""Rules about whole scripts, e.g. a missing downgrade, and about raw SQL commands, e.g. COMMIT or DROP VIEW."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alembic.operations import ops
from flask import current_app
from sqlalchemy import CheckConstraint, ClauseElement, Column, MetaData, Table, TextClause, text
from sqlalchemy.sql.visitors import iterate

from ...adapters.exact_sql import escaped, exact, parameters
from ..findings import EXAMPLE_REASON, Assurances, assurance_line
from ..recorder import Operation, Revision, irreversible_reason
from ..sql.ops import BackfillOp, ChangeRowsOp, CommandOp
from .registry import BLOCKS, BOTH, POSTGRESQL, WARNS, Problem, RuleContext, rule
from .suggestions import REHEARSE, autocommit, execute, identifier, new_revision

RAISE = '    def downgrade():\n        raise NotImplementedError("why it cannot be reversed")'

CONCURRENTLY = "use CONCURRENTLY in an autocommit block (DETACH PARTITION supports it from PostgreSQL 14 on):"
HEAVY = {
    **dict.fromkeys(("REINDEX", "DETACH PARTITION"), ""),
    "LOCK TABLE": "remove LOCK TABLE: each statement takes the locks it needs. To wait up to 30 seconds for a lock:\n"
    "    export MIGRATION_LOCK_TIMEOUT=30",
    **dict.fromkeys(
        ("VACUUM FULL", "CLUSTER", "SET TABLESPACE", "SET LOGGED", "SET UNLOGGED", "SET ACCESS METHOD"), REHEARSE
    ),
}
"""The commands that block reads or writes on PostgreSQL until they are done, and what to do instead.

What can run CONCURRENTLY has an empty text.
"""
LIGHT = re.compile(r"\b(?<!SHARE )(ACCESS SHARE|ROW SHARE|ROW EXCLUSIVE)\s+MODE\b", re.IGNORECASE)
"""The modes of LOCK TABLE that do not block reads or writes."""

CONTAINERS = {"DROP DATABASE", "DROP SCHEMA", "DROP OWNED BY"}
"""The commands that drop objects without naming them."""

TABLES = "SELECT table_schema, table_name FROM information_schema.tables ORDER BY 1, 2"
"""The query that finds all tables; SQLite has none of CONTAINERS."""

CHANGES_TABLE = (
    ops.AddColumnOp,
    ops.AlterColumnOp,
    ops.DropColumnOp,
    ops.AddConstraintOp,
    ops.CreateIndexOp,
    BackfillOp,
)
"""Operations that fail without their table."""


@rule(WARNS, CommandOp)
def raw_sql(op: CommandOp, context: RuleContext) -> Problem | None:
    """Report raw SQL that the review cannot read, that runs other SQL (CALL), or that drops an object.

    Other rules cover the raw SQL that the review can read.
    """
    shown = " ".join(op.text.split())
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    if op.may_do_anything or not (op.parsed or op.may_read_only):
        return Problem(
            f"executes SQL that cannot be reviewed: {shown}",
            "use Alembic's operations, or plain SQL with one statement in each op.execute(); or check the SQL yourself,"
            " and say at the top of the script why it is safe:\n"
            f"    {assurance_line('raw-sql')}",
            BLOCKS if op.may_destroy else WARNS,
        )
    return _dropped(op, context) if op.drops else None


def _dropped(op: CommandOp, context: RuleContext) -> Problem | None:
    verb, _, kind = op.words.partition(" ")
    name = op.name or op.table_name or ""
    what = f"drops {kind.lower()} {name}".strip() if verb == "DROP" else f"executes {op.words} on {name}"
    instead = (
        "first deploy code that does not use it, and execute this in the next release, with this line in the script:\n"
        '    safety_assured = {"raw-sql": "nothing has used it since the last release"}'
    )
    if op.loses_data:
        if op.words in CONTAINERS:
            instead = f"drop each object by its own name; this query finds the tables:\n    {TABLES}"
        elif op.cascade:
            without = re.sub(r"(?i)\s+CASCADE\b", "", op.text)
            instead = "first drop each dependent object by its own name, and then this one without CASCADE:\n"
            instead += execute(without)
        also = "which drops everything that depends on it, too" if op.cascade else "which deletes the data in it"
        return Problem(f"{what}, {also}", instead, BLOCKS)
    others: list[CommandOp] = context.revision_ops(CommandOp)
    if any((each.words, each.name) == (f"CREATE {kind}", op.name) for each in others):
        return None
    renamed = rf'\bRENAME\s+TO\s+"?{re.escape(name)}"?[\s;]*$'  # no running code uses the new name
    if any(each.words.startswith("ALTER") and re.search(renamed, each.text, re.IGNORECASE) for each in others):
        return None
    return Problem(f"{what}, which running code may still use", instead)


@rule(
    *(BLOCKS, ops.CreateTableOp, ops.AddColumnOp, ops.AlterColumnOp, ops.CreateCheckConstraintOp, ops.CreateIndexOp),
    directions=BOTH,
    new_tables=True,
)
def colon_in_ddl(op: Any, context: RuleContext) -> Iterator[Problem]:
    """Report a colon in the SQL of a default, CHECK or index: with a word, SQLAlchemy takes it for a parameter.

    DDL has no parameters, so SQLAlchemy writes NULL in their place: ``{"aNULL}`` for ``{"a":true}``.
    """
    if context.in_sql:
        return
    for sql in _texts_of(op):
        if names := parameters(sql):
            yield Problem(
                f"has :{names[0]} in the SQL of {op.table_name}; SQLAlchemy takes it for a parameter and writes NULL",
                f"write a backslash before the colon:\n    sa.text({escaped(exact(sql))!r})",
            )


def _texts_of(op: Any) -> Iterator[TextClause]:
    """Yield each text() in the defaults, CHECKs, generated columns and index expressions of an operation."""
    parts: Iterable[Any] = getattr(op, "columns", [getattr(op, "column", None)])
    found = [getattr(op, name, None) for name in ("modify_server_default", "condition")]
    for part in [*parts, *(check for column in parts if isinstance(column, Column) for check in column.constraints)]:
        default = getattr(part, "server_default", None)
        found += [getattr(default, "arg", None), getattr(default, "sqltext", None)]
        found.append(part.sqltext if isinstance(part, CheckConstraint) else None if isinstance(part, Column) else part)
    found += getattr(op, "kw", {}).values() if isinstance(op, ops.CreateIndexOp) else []
    if isinstance(op, ops.CreateCheckConstraintOp) and isinstance(op.condition, str):
        found.append(text(op.condition))
    for each in found:
        for element in iterate(each) if isinstance(each, ClauseElement) else ():
            if isinstance(element, TextClause):
                yield element


@rule(BLOCKS, CommandOp, new_tables=True)
def transaction_control(op: CommandOp, context: RuleContext) -> Problem | None:
    """Report SQL that begins or ends a transaction, e.g. COMMIT: a failed revision is then not rolled back as a whole.

    Alembic itself begins and ends the transaction of a revision.
    """
    if op.words not in context.facts.ends_transaction:
        return None
    return Problem(
        f"executes {op.words}, which begins or ends a transaction; if the revision fails after that, its earlier"
        " changes remain",
        "remove it, because Alembic begins and commits the transaction; put a statement that cannot run in a"
        f" transaction into an autocommit block, for example:\n{autocommit(context.facts.outside_transaction)}",
    )


@rule(BLOCKS, CommandOp, ChangeRowsOp, on=POSTGRESQL)
def lock_heavy_command(op: CommandOp | ChangeRowsOp, context: RuleContext) -> Problem | None:
    """Report a command that blocks reads or writes until it is done (PostgreSQL manual, "Explicit Locking").

    TRUNCATE counts only with CASCADE, which locks and empties further tables.
    """
    if isinstance(op, ChangeRowsOp):
        if not op.cascade:
            return None
        return Problem(
            f"truncates {op.table_name} with CASCADE, which locks and empties all tables that refer to it",
            "list every table to empty, without CASCADE; PostgreSQL names those that are missing:\n"
            + execute(re.sub(r"(?i)\s+CASCADE\b", "", op.text)),
        )
    if op.words not in HEAVY or op.concurrently or (op.words == "LOCK TABLE" and LIGHT.search(op.text)):
        return None
    name = op.table_name or op.name or "the database"
    instead = HEAVY.get(op.words) or f"{CONCURRENTLY}\n{autocommit(_with_concurrently(op, context))}"
    return Problem(f"executes {op.words} on {name}, which blocks other sessions until it is done", instead)


def _with_concurrently(op: CommandOp, context: RuleContext) -> str:
    """Return the SQL of the operation, REINDEX or DETACH PARTITION, with CONCURRENTLY."""
    text = context.operation.statement or op.text
    if op.words == "REINDEX":
        return re.sub(r"(?i)(\b(TABLE|INDEX|SCHEMA|DATABASE|SYSTEM)\b)", r"\1 CONCURRENTLY", text, count=1)
    return f"{text.rstrip('; ')} CONCURRENTLY"


@rule(WARNS, Revision)
def not_inspectable(revision: Revision, _context: RuleContext) -> Iterator[Problem]:
    """Report a script that the review could follow only up to a line, e.g. because the script reads rows there.

    Block it if arguments of an operation are wrong there, so that a run fails too.
    """
    for direction, reason in revision.not_inspectable.items():
        absent = not hasattr(revision.script.module, direction)
        if direction == "downgrade" and (absent or irreversible_reason(Path(revision.script.path)) is not None):
            continue
        if reason.fails:
            instead = "correct that line; then review the script again:\n    flask db review"
            yield Problem(f"fails in line {reason.line}: {reason}", instead, BLOCKS, line=reason.line, fails=True)
            continue
        if not reason.stops:
            yield Problem(
                f"uses another connection than op.get_bind() in {direction}(); what that changes stays if the revision"
                " fails",
                "use op.get_bind(), to which a session can be bound:\n    session = sa.orm.Session(op.get_bind())",
                line=reason.line,
            )
            continue
        split = (
            "split the revision: leave only the schema changes in this one, and move everything else to a new one:\n"
        )
        split += new_revision("move the rows")
        correct = "correct that line, if it fails in an upgrade, too; this tries it on a copy of the database:\n"
        correct += "    flask db rehearse"
        yield Problem(
            f"was reviewed only in part from line {reason.line} of {direction}() on: {reason}",
            correct if reason.is_error else split,
            line=reason.line,
        )


@rule(WARNS, Revision, code="missing-object")
def missing_tables(revision: Revision, context: RuleContext) -> Iterator[Problem]:
    """Report a change of a table that the connected database does not have, and that no earlier operation creates."""
    tables, reported = context.tables.branch(), set[tuple[str, str | None]]()
    for operation in revision.reached("upgrade") if tables.connection is not None else ():
        table = tables.of(operation.op)
        changes = isinstance(operation.op, CHANGES_TABLE) and operation.statement is None  # SQL may say IF EXISTS
        if changes and table is not None and table not in reported and tables.is_missing(*table):
            reported.add(table)
            name = ".".join(filter(None, (table[1], table[0])))
            yield Problem(
                f"changes table {name}, which this database does not have, and which no earlier operation creates",
                "correct the name, or create the table before this operation:\n"
                f"    op.create_table({table[0]!r}, sa.Column('id', sa.BigInteger(), primary_key=True))",
                line=operation.line,
            )
        tables.apply(operation.op)


@rule(
    *(WARNS, ops.AlterColumnOp, ops.DropColumnOp, BackfillOp), directions=BOTH, new_tables=True, code="missing-object"
)
def missing_columns(op: ops.AlterColumnOp | ops.DropColumnOp | BackfillOp, context: RuleContext) -> Iterator[Problem]:
    """Report a column that its table certainly does not have at that point."""
    block = context.operation.block
    renames = block is not None and any(getattr(each, "modify_name", None) for each in block.operations)
    if context.in_sql or getattr(op, "if_exists", None) or renames:  # in a batch, the old name may be the right one
        return
    for name in op.columns if isinstance(op, BackfillOp) else [op.column_name]:
        if context.tables.lacks_column(op.table_name, name, op.schema):
            columns = ", ".join(context.tables.table(op.table_name, op.schema).columns)
            yield Problem(
                f"names column {op.table_name}.{name}, which does not exist at that point",
                f"correct the name (the table has: {columns}), or remove this operation; then review the script again:"
                "\n    flask db review",
            )


@rule(WARNS, Revision)
def imports_app_models(revision: Revision, _context: RuleContext) -> Iterator[Problem]:
    """Report imports from the app: when its models change later, the script may fail."""
    own = {"app", current_app.import_name.partition(".")[0]} if current_app else {"app"}
    text = Path(revision.script.path).read_bytes()
    imports_own = rf"^\s*(from|import)\b.*\b({'|'.join(own)})\b".encode()
    if not re.search(imports_own, text, re.MULTILINE):  # most scripts; parsing one takes longer than all other rules
        return
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for name in [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]:
            if name.partition(".")[0] in own and not name.startswith("app.safe_migrations"):
                yield Problem(
                    f"imports {name}; when that module changes, this revision may break",
                    "declare the tables that the revision needs in the script, with sa.table():\n"
                    + _declared(name, [each.name for each in node.names]),
                    line=node.lineno,
                )


def _declared(module: str, names: list[str]) -> str:
    """Return the lines that declare the tables of the models ``names`` of a module; an example if there are none."""
    models = (getattr(sys.modules.get(module), name, None) for name in names)
    tables = [table for model in models if isinstance(table := getattr(model, "__table__", None), Table)]
    lines = []
    for table in tables or [Table("user", MetaData(), Column("id"), Column("email"))]:
        columns = ", ".join(f"sa.column({column.name!r})" for column in table.columns)
        schema = f", schema={table.schema!r}" if table.schema else ""
        lines.append(f"    {identifier(table.name)} = sa.table({table.name!r}, {columns}{schema})")
    return "\n".join(lines)


@rule(WARNS, Revision)
def missing_downgrade(revision: Revision, _context: RuleContext) -> Problem | None:
    """Report a revision whose downgrade() is missing or changes nothing, so that its upgrade cannot be reverted.

    Exempt are upgrades that leave the schema alone, or that no statement can revert, and a downgrade() that raises.
    """
    if not lacks_downgrade(revision):
        return None
    downgrade = getattr(revision.script.module, "downgrade", None)
    return Problem(
        "makes changes in upgrade(), but its downgrade() " + ("is missing" if downgrade is None else "reverts nothing"),
        f"write a downgrade(), or let it raise an error with the reason why the upgrade cannot be reversed:\n{RAISE}",
        line=None if downgrade is None else downgrade.__code__.co_firstlineno,
    )


def lacks_downgrade(revision: Revision) -> bool:
    """Return True if downgrade() is missing or changes nothing, and upgrade() makes changes that it could revert.

    An upgrade and a status run no downgrade(): there, one that calls something is assumed to change something.
    """
    if not any(map(_can_be_reverted, revision.upgrade)):
        return False
    downgrade = getattr(revision.script.module, "downgrade", None)
    if downgrade is None:
        return True
    if "downgrade" not in revision.recordings:
        return not (downgrade.__code__.co_names or downgrade.__code__.co_freevars)  # without names it can call nothing
    return not ("downgrade" in revision.not_inspectable or any(map(_can_be_reverted, revision.downgrade)))


def _can_be_reverted(operation: Operation) -> bool:
    """Return True if the operation changes anything, unless no statement can revert that.

    A backfill of what was NULL counts as none: a database at the revision before may have these values.
    """
    op = operation.op
    if isinstance(op, ChangeRowsOp):
        return not op.replaces_only_null
    return not isinstance(op, CommandOp) or (op.is_reversible and not op.keeps_schema)


@rule(WARNS, Assurances)
def safety_assured(assurances: Assurances, _context: RuleContext) -> Iterator[Problem]:
    """Report a safety_assured that is not a dict, and each entry with an unknown code or without a reason."""
    declared = assurances.declared
    if not isinstance(declared, dict):
        yield Problem(
            "has a safety_assured that is not a dict, so no finding is acknowledged",
            f"write a dict of codes and reasons:\n    {assurance_line('drop-column')}",
        )
        return
    for code, reason in declared.items():
        if code not in assurances.known:
            yield Problem(
                f"lists {code!r} in safety_assured, but there is no such rule",
                "remove the entry, or correct it to a code shown by:\n    flask db review",
            )
        elif not assurances.is_reason(reason):
            lacks = "with a placeholder instead of a reason" if assurances.note(code) else "without a reason"
            yield Problem(
                f"lists {code} in safety_assured {lacks}, so no finding of this code is acknowledged",
                f"write what makes it safe, for example:\n    {assurance_line(code, reason=EXAMPLE_REASON)}",
            )
