"""The translation of the SQL in `op.execute()` into operations, by sqlglot's parser or the patterns of phrases.py."""

import gc
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from alembic.operations import ops
from alembic.operations.ops import ExecuteSQLOp, MigrateOperation
from sqlalchemy import DDL, Column, DefaultClause, Delete, Dialect, TextClause, Update, text
from sqlalchemy.exc import CompileError
from sqlalchemy.schema import BaseDDLElement
from sqlalchemy.sql.elements import ClauseElement
from sqlglot.errors import TokenError

from ...adapters.dialects import dialect_of
from ...adapters.products import FACTS
from ...adapters.sql_words import Words, statements
from .definitions import definition, index, literal
from .ops import BackfillOp, ChangeRowsOp, CommandOp, Translation
from .phrases import PARTS, STATEMENTS, Phrase, commands, find
from .rows import change_rows, truncate
from .trees import Unread

# The classes of sqlglot stay until the process ends, when going over them once more would take 0.03 s.
gc.freeze()

ASKS = r"(ALGORITHM|LOCK)(?: =)? (DEFAULT|INSTANT|INPLACE|NOCOPY|COPY|NONE|SHARED|EXCLUSIVE)"


def translate(op: ExecuteSQLOp, dialect: str) -> list[Translation]:
    """Translate the SQL of ``op``, one or several statements, into operations.

    A statement that cannot be read becomes a CommandOp with ``parsed=False``.
    """
    sql = _text(op.sqltext, dialect)
    try:
        return [each for words in statements(sql, FACTS[dialect]()) for each in _of_statement(words)]
    except TokenError:  # of a quote or a comment without end
        rough = re.sub(r"/\*.*?\*/|--[^\n]*", " ", sql, flags=re.DOTALL)
        return [Translation(_unread(each.strip()), sql) for each in rough.split(";") if each.strip()]


def is_bounded(op: BackfillOp, dialect: str) -> bool:
    """Return False if the ``where`` of op.backfill() is always true, so that it changes all rows."""
    found = [each.op for each in translate(ExecuteSQLOp(op.statement), dialect)]
    return all(each.bounded for each in found if isinstance(each, ChangeRowsOp))


def _text(statement: Any, dialect: str) -> str:
    """Return the SQL of a statement as a string.

    Parameters are placeholders, e.g. ``:name``, except in an UPDATE, a DELETE or a text with a value for each.
    """
    if isinstance(statement, str):
        return statement.replace("\\:", ":")
    if isinstance(statement, Update | Delete) or (isinstance(statement, TextClause) and statement.compile().params):
        with suppress(Exception):  # a value that is unknown or has no literal
            return _with_values(statement, dialect_of(dialect))
    if isinstance(statement, TextClause):
        return statement.text.replace("\\:", ":")
    if isinstance(statement, DDL):
        return statement.statement
    if isinstance(statement, ClauseElement):
        options = {} if isinstance(statement, BaseDDLElement) else {"render_postcompile": True}
        return _readable(statement.compile(dialect=dialect_of(dialect), compile_kwargs=options))
    return str(statement)


def _with_values(statement: Update | Delete | TextClause, dialect: Dialect) -> str:
    """Return the SQL with values in place of parameters. Raise an error of SQLAlchemy's or Python's if one has none."""
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    values = compiled.construct_params()
    with suppress(CompileError):  # sa.column("age") has no type, which an integer in place of a parameter has
        return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    again = text(str(compiled)).bindparams(**values)
    return str(again.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _readable(compiled: Any) -> str:
    """Return the SQL with names of parameters that sqlglot reads: one made of a column "2fa" begins with a digit."""
    names = {compiled.escaped_bind_names.get(name, name) for name in compiled.params or ()}
    return re.sub(r":(\d\w*)", lambda found: f":p{found[1]}" if found[1] in names else found[0], str(compiled))


def _of_statement(words: Words) -> list[Translation]:
    requests = {how.lower(): value for how, value in re.findall(rf"\b{ASKS}\b", words.keywords)}
    try:
        return [Translation(op, words.text, requests) for op in _read(words)]
    except Unread:
        return [Translation(_unread(words.text), words.text)]


def _unread(text: str) -> CommandOp:
    return CommandOp(" ".join(text.split()[:2]).upper(), parsed=False, text=text)


def _read(words: Words) -> Sequence[MigrateOperation]:
    """Return the operations in one statement. Raise Unread if neither a pattern nor sqlglot can read the statement."""
    if words.keywords.partition(" ")[0] in {"UPDATE", "DELETE", "WITH", "SELECT", "(", "INSERT", "REPLACE"}:
        return list(change_rows(words))
    for pattern, read in TABLES_AND_INDEXES.items():
        if found := find(words, pattern):
            return list(read(found))
    if not (read_any := commands(words, STATEMENTS)):
        raise Unread(words.text)
    return read_any


def _create_table(found: Phrase) -> Iterator[MigrateOperation]:
    """Yield the operations of CREATE TABLE: for OR REPLACE a drop, then the table, then the indexes in the definition.

    For LIKE, the operation's ``info`` names the table whose columns are copied. The columns that come from AS SELECT or
    PARTITION OF are left out, because the statement does not name them; so are constraints on these columns.
    """
    table, table_schema = key = found.name("table")
    if "replace" in found:
        yield ops.DropTableOp(table, schema=table_schema)
    if "rest" in found and (like := find(found.part("rest"), r"(?:\( )?LIKE {table}(?: .*)?")):
        yield ops.CreateTableOp(table, [], schema=table_schema, info={"like": like.name("table")})
        return
    group = found.part("rest").group() if "rest" in found else None
    read = [definition(part, key) for part in group[0] if not part.keywords.startswith("SELECT ")] if group else []
    columns = {item.name: item for item in read if isinstance(item, Column)}
    keys = [item for item in read if isinstance(item, ops.CreatePrimaryKeyOp) or getattr(item, "primary_key", False)]
    if len(columns) < sum(isinstance(item, Column) for item in read) or len(keys) > 1:
        raise Unread(found.words.text)
    constraints: list[Any] = [item.to_constraint() for item in read if isinstance(item, ops.AddConstraintOp)]
    known = [each for each in constraints if {column.name for column in each.columns} <= columns.keys()]
    yield ops.CreateTableOp(table, [*columns.values(), *known], schema=table_schema)
    yield from (item for item in read if isinstance(item, ops.CreateIndexOp))


def _create_index(found: Phrase) -> Iterator[MigrateOperation]:
    yield index(found, found.name("table"))


def _drop_index(found: Phrase) -> Iterator[MigrateOperation]:
    options: dict[str, Any] = {"postgresql_concurrently": True} if "concurrently" in found else {}
    table, table_schema = found.name("table") if "table" in found else (None, None)
    for name, own_schema in found.names("names"):
        yield ops.DropIndexOp(name, table, schema=table_schema or own_schema, **options)


def _drop_tables(found: Phrase) -> Iterator[MigrateOperation]:
    for table, table_schema in found.names("names"):
        yield ops.DropTableOp(table, schema=table_schema)


def _rename_tables(found: Phrase) -> Iterator[MigrateOperation]:
    for part in found.part("pairs").parts():
        pair = find(part, r"{name}(?: WAIT \d+| NOWAIT)? TO {new}")
        if pair is None:
            raise Unread(part.text)
        yield ops.RenameTableOp(pair.name()[0], pair.name("new")[0], schema=pair.name()[1])


def _alter_table(found: Phrase) -> Iterator[MigrateOperation]:
    """Yield the operations of each part of ALTER TABLE; a part that cannot be read becomes an unparsed CommandOp."""
    table, rest = found.name("table"), found.part("rest")
    for part in rest.parts():
        if re.fullmatch(ASKS, part.keywords):
            continue
        try:
            read: Sequence[MigrateOperation] = commands(part, PARTS, table) or _altered(part, *table)
        except Unread:
            read = []
        what = f"ALTER TABLE ... {part.keywords.partition(' ')[0]}"
        yield from read or [CommandOp(what, None, *table, parsed=False, text=part.text)]


def _altered(part: Words, table: str, table_schema: str | None) -> Sequence[MigrateOperation]:
    found = ((find(part, pattern), read) for pattern, read in ALTERS.items())
    return next((list(read(phrase, table, table_schema)) for phrase, read in found if phrase), [])


def _add(found: Phrase, table: str, table_schema: str | None) -> Iterator[MigrateOperation]:
    words = found.part("definition")
    group = words.group()
    for part in group[0] if group else [words]:
        made = definition(part, (table, table_schema))
        if isinstance(made, Column):
            inline = True if made.foreign_keys else None
            yield ops.AddColumnOp(table, made, schema=table_schema, inline_references=inline)
        else:
            yield made


def _redefine(found: Phrase, table: str, table_schema: str | None) -> Iterator[MigrateOperation]:
    """Yield the operation for MODIFY or CHANGE, which give a column a whole new definition.

    NOT NULL, the default and the comment are removed if the new definition does not repeat them.
    """
    column = _only_column(definition(found.part("definition"), (table, table_schema)))
    name, default = found.name()[0] if "name" in found else column.name, column.server_default
    options: dict[str, Any] = {"autoincrement": True} if column.autoincrement is True else {}
    yield ops.AlterColumnOp(
        table,
        name,
        schema=table_schema,
        modify_type=column.type,
        modify_nullable=column.nullable,
        modify_server_default=default.arg if isinstance(default, DefaultClause) else default,
        modify_comment=column.comment,
        modify_name=column.name if column.name != name else None,
        **options,
    )


def _only_column(made: "Column[Any] | MigrateOperation") -> "Column[Any]":
    if not isinstance(made, Column):
        raise Unread
    return made


def _change_type(found: Phrase, table: str, table_schema: str | None) -> Iterator[MigrateOperation]:
    column = _only_column(definition(found.part("type"), (table, table_schema), prefix="x "))
    options: dict[str, Any] = {"postgresql_using": found.part("using").text} if "using" in found else {}
    yield ops.AlterColumnOp(table, found.name()[0], schema=table_schema, modify_type=column.type, **options)


def _alter_column(found: Phrase, table: str, table_schema: str | None) -> Iterator[MigrateOperation]:
    """Yield the operation for RENAME COLUMN, or for ALTER COLUMN that sets or drops NOT NULL or the default."""
    changes: dict[str, Any] = {}
    if "nullable" in found:
        changes["modify_nullable"] = found.match["nullable"] == "DROP"
    elif "default" in found:
        changes["modify_server_default"] = literal(found.part("default").text)
    elif "new" in found:
        changes["modify_name"] = found.name("new")[0]
    else:
        changes["modify_server_default"] = None
    yield ops.AlterColumnOp(table, found.name()[0], schema=table_schema, **changes)


def _rename(found: Phrase, table: str, table_schema: str | None) -> Iterator[MigrateOperation]:
    yield ops.RenameTableOp(table, found.name("new")[0], schema=table_schema)


def _drop(found: Phrase, table: str, table_schema: str | None) -> Iterator[MigrateOperation]:
    name, kind = found.name()[0] if "name" in found else "PRIMARY", found.match["kind"]
    if kind in ("INDEX", "KEY"):
        yield ops.DropIndexOp(name, table, schema=table_schema)
    elif kind in CONSTRAINTS:
        yield ops.DropConstraintOp(name, table, CONSTRAINTS[kind], schema=table_schema)
        if kind == "CONSTRAINT" and "cascade" in found:
            yield CommandOp(
                "DROP CONSTRAINT", name, table, table_schema, drops=True, cascade=True, text=found.words.text
            )
    else:
        yield ops.DropColumnOp(table, name, schema=table_schema)


CONSTRAINTS = {"CONSTRAINT": None, "PRIMARY KEY": "primary", "FOREIGN KEY": "foreignkey", "CHECK": "check"}
TABLES_AND_INDEXES: Mapping[str, Callable[[Phrase], Iterator[MigrateOperation]]] = {
    r"CREATE(?P<replace> OR REPLACE)?(?: (?:GLOBAL|LOCAL|TEMPORARY|TEMP|UNLOGGED|VIRTUAL))* TABLE(?: IF NOT EXISTS)?"
    r" {table}(?: (?P<rest>.*))?": _create_table,
    r"CREATE(?: OR REPLACE)?(?P<unique> UNIQUE)?(?: (?P<prefix>FULLTEXT|SPATIAL))? INDEX"
    r"(?P<concurrently> CONCURRENTLY)?(?: IF NOT EXISTS)?(?: {name})??(?: USING \w+)? ON(?: ONLY)? {table}"
    r"(?: USING (?P<using>\w*))? (?P<columns>\( .*)": _create_index,
    r"DROP INDEX(?P<concurrently> CONCURRENTLY)?(?: IF EXISTS)? (?P<names>.*?)(?: ON {table})?(?: CASCADE| RESTRICT)?"
    rf"(?: {ASKS})*": _drop_index,
    r"DROP TABLE(?: IF EXISTS)? (?P<names>.*?)(?: CASCADE| RESTRICT)?": _drop_tables,
    r"RENAME TABLES?(?: IF EXISTS)? (?P<pairs>.*)": _rename_tables,
    r"TRUNCATE(?: TABLE)? (?P<names>.*?)(?: (?:RESTART|CONTINUE) IDENTITY)?(?: CASCADE| RESTRICT)?": truncate,
    r"ALTER(?: ONLINE| IGNORE)* TABLE(?: IF EXISTS)?(?: ONLY)? {table}(?: \*)?(?: WAIT \d+| NOWAIT)? (?P<rest>.*)": (
        _alter_table
    ),
}
COLUMN = r"ALTER(?: COLUMN)?(?: IF EXISTS)? {name}"
ALTERS: Mapping[str, Callable[[Phrase, str, str | None], Iterator[MigrateOperation]]] = {
    r"ADD(?: COLUMN)?(?: IF NOT EXISTS)? (?P<definition>.*)": _add,
    r"MODIFY(?: COLUMN)?(?: IF EXISTS)? (?P<definition>.*)": _redefine,
    r"CHANGE(?: COLUMN)?(?: IF EXISTS)? {name} (?P<definition>.*)": _redefine,
    rf"{COLUMN}(?: SET DATA)? TYPE (?P<type>.*?)(?: USING (?P<using>.*))?": _change_type,
    rf"{COLUMN} (?P<nullable>SET|DROP) NOT NULL": _alter_column,
    rf"{COLUMN} SET DEFAULT (?P<default>.*)": _alter_column,
    rf"{COLUMN} DROP DEFAULT": _alter_column,
    r"RENAME(?: COLUMN)?(?: IF EXISTS)? {name} TO {new}": _alter_column,
    r"RENAME(?: TO| AS| =)? {new}": _rename,
    r"DROP (?P<kind>PRIMARY KEY)": _drop,
    r"DROP (?P<kind>CONSTRAINT|FOREIGN KEY|CHECK|INDEX|KEY)(?: IF EXISTS)? {name}"
    r"(?P<cascade> CASCADE)?(?: RESTRICT)?": _drop,
    r"DROP(?P<kind> COLUMN)?(?: IF EXISTS)? {name}(?: CASCADE| RESTRICT)?": _drop,
}
