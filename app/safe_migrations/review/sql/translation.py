"""From what `op.execute()` was given to operations."""

from collections.abc import Iterator
from typing import Any

from alembic.operations import ops
from alembic.operations.ops import ExecuteSQLOp, MigrateOperation
from sqlalchemy import DDL, TextClause, schema
from sqlalchemy.sql.elements import ClauseElement

from ...adapters.dialects import dialect_of
from .commands import KINDS, command, defines, take_longest
from .ops import CommandOp
from .rows import change_rows, gives_rows, insert, truncate
from .tables import (
    alter_table,
    create_index,
    create_table,
    drop_index,
    drop_tables,
    rename_tables,
)
from .words import Unreadable, Words, statements

# How far into a CREATE its kind may stand: CREATE OR REPLACE ALGORITHM = x DEFINER = a @ b SQL SECURITY DEFINER VIEW.
HEAD = 15
# What EXPLAIN ANALYZE, and ANALYZE on MariaDB, run while they explain it.
EXPLAINED = {"UPDATE", "DELETE", "WITH", "MERGE", "INSERT", "REPLACE"}


def translated(op: ExecuteSQLOp, dialect: str) -> list[MigrateOperation]:
    """Return an operation for each thing that its statements do; what cannot be read is a CommandOp too."""
    statement: Any = op.sqltext
    try:
        if (found := _of_element(statement)) is not None:
            return [found]
        statement = _text(statement, dialect)
        return [each for words in statements(statement, dialect) for each in _translated(words)]
    except Exception:
        return [_unparsed(str(statement))]


def _of_element(element: Any) -> MigrateOperation | None:
    """Of SQLAlchemy's DDL, where Alembic makes its operations of it itself."""
    if not isinstance(getattr(element, "element", None), schema.SchemaItem):
        return None  # a sa.table() has no columns or metadata for Alembic's from_table(): its SQL is read instead
    if isinstance(element, schema.CreateTable):
        return ops.CreateTableOp.from_table(element.element)
    if isinstance(element, schema.DropTable):
        return ops.DropTableOp.from_table(element.element)
    if isinstance(element, schema.CreateIndex):
        return ops.CreateIndexOp.from_index(element.element)
    if isinstance(element, schema.DropIndex):
        return ops.DropIndexOp.from_index(element.element)
    if isinstance(element, schema.AddConstraint):
        return ops.AddConstraintOp.from_constraint(element.element)
    if isinstance(element, schema.DropConstraint):
        return ops.DropConstraintOp.from_constraint(element.element)
    return None


def _text(statement: Any, dialect: str) -> str:
    """As the database gets it, but for parameters, which are ``:name``."""
    if isinstance(statement, str):
        return statement.replace("\\:", ":")
    if isinstance(statement, TextClause):
        return statement.text.replace("\\:", ":")
    if isinstance(statement, DDL):
        return statement.statement
    if isinstance(statement, ClauseElement):
        return str(statement.compile(dialect=dialect_of(dialect), compile_kwargs={"render_postcompile": True}))
    return str(statement)


def _translated(words: Words) -> list[MigrateOperation]:
    try:
        found = list(_read(words))
        for op in found:
            vars(op)["statement"] = words.text
        return found
    except Exception:
        return [_unparsed(words.text)]


def _unparsed(text: str) -> CommandOp:
    return CommandOp(" ".join(text.split()[:2]).upper(), parsed=False, text=text)


def _read(words: Words) -> Iterator[MigrateOperation]:
    verb = words.keyword()
    if words.follows("SET", "STATEMENT") and words.has("FOR"):
        while not words.take("FOR"):
            words.next()
        yield from _read(Words(words.source, words.words[words.at :], words.facts))
    elif _explains_a_change(words, verb):
        while words.keyword() not in EXPLAINED:
            words.next()
        yield from _read(Words(words.source, words.words[words.at :], words.facts))
    elif verb == "CREATE":
        yield from _create(words)
    elif verb == "ALTER":
        yield from _alter(words)
    elif verb == "DROP":
        yield from _drop(words)
    elif words.take("RENAME", "TABLE") or words.take("RENAME", "TABLES"):
        yield from rename_tables(words)
    elif words.take("TRUNCATE"):
        yield from truncate(words)
    elif verb in {"UPDATE", "DELETE", "WITH", "MERGE", "SELECT", "("}:
        yield from change_rows(words)
    elif verb in {"INSERT", "REPLACE"}:
        yield from _insert(words, verb)
    else:
        yield from command(words)


def _explains_a_change(words: Words, verb: str) -> bool:
    runs = verb in {"EXPLAIN", "ANALYZE"} and words.has("ANALYZE") and not words.has("TABLE")
    return runs and any(map(words.has, EXPLAINED))


def _insert(words: Words, verb: str) -> Iterator[MigrateOperation]:
    if verb == "INSERT" and not gives_rows(words):
        try:
            yield from change_rows(words)
            return
        except Unreadable:
            pass
    yield from insert(words, verb)


def _create(words: Words) -> Iterator[MigrateOperation]:
    before = set()
    while not (kind := take_longest(words, KINDS)):
        if words.done or words.at > HEAD:
            raise Unreadable(words.text)
        before.add(words.next().keyword)
    if kind == "TABLE":
        if "REPLACE" in before:
            yield from drop_tables(Words(words.source, words.words[words.at : words.at + 1], words.facts))
        yield from create_table(words)
    elif kind == "INDEX":
        yield from create_index(words, before)
    else:
        yield from defines(words, "CREATE", kind)


def _alter(words: Words) -> Iterator[MigrateOperation]:
    words.next()
    while words.take_any("ONLINE", "IGNORE"):
        pass
    kind = take_longest(words, KINDS)
    if not kind:
        raise Unreadable(words.text)
    if kind == "TABLE" and not words.follows("ALL"):
        yield from alter_table(words)
    else:
        yield from defines(words, "ALTER", kind)


def _drop(words: Words) -> Iterator[MigrateOperation]:
    words.next()
    if words.take("TEMPORARY"):
        yield CommandOp("DROP TEMPORARY TABLE", text=words.text)
        return
    kind = take_longest(words, KINDS)
    if kind == "TABLE":
        yield from drop_tables(words)
    elif kind == "INDEX":
        yield from drop_index(words)
    elif kind:
        yield from defines(words, "DROP", kind)
    else:
        raise Unreadable(words.text)
