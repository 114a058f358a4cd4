"""CREATE, ALTER, DROP and RENAME of tables and indexes."""

from collections.abc import Callable, Iterator
from typing import Any

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Constraint, ForeignKeyConstraint, PrimaryKeyConstraint, UniqueConstraint

from .commands import phrase
from .definitions import (
    Definition,
    Table,
    index,
    literal,
    read_column,
    read_constraint,
    read_options,
)
from .ops import LOSES_DATA, CommandOp
from .types import read_type
from .words import Unreadable, Words

# Parts of an ALTER TABLE that say how it is done.
HOW = ("ALGORITHM", "LOCK")
# What ALTER TABLE ... DROP takes that is no column.
DROPS = {"PARTITION", "SYSTEM", "PERIOD"}
FOREIGN_KEY = ("ondelete", "onupdate", "deferrable", "initially")


def create_table(words: Words) -> Iterator[ops.MigrateOperation]:
    """Columns, constraints and indexes; of AS SELECT, LIKE and PARTITION OF nothing is known."""
    words.take("IF", "NOT", "EXISTS")
    name, schema = table = words.qualified()
    parts = words.group() if words.follows("(") and words.keyword(1) != "SELECT" else []
    items: list[Any] = []
    constraints: list[Any] = []
    indexes: list[ops.MigrateOperation] = []
    for part in parts:
        if part.keyword() in {"LIKE", "PERIOD"}:
            continue
        constraint = read_constraint(part, table)
        if isinstance(constraint, ops.CreateIndexOp):
            indexes.append(constraint)
        elif constraint is not None:
            constraints.append(constraint)
        else:
            items.append(read_column(part, name).column())
    known = {column.name.lower(): column.name for column in items}
    if len(known) < len(items):
        raise Unreadable(words.text)
    has_key = any(column.primary_key for column in items)
    for constraint in constraints:
        if isinstance(constraint, ops.CreatePrimaryKeyOp) and has_key:
            raise Unreadable(words.text)
        items += _of_table(constraint, known)
    yield ops.CreateTableOp(name, items, schema=schema)
    yield from indexes


def _of_table(op: Any, known: dict[str, str]) -> Iterator[Constraint]:
    """As it stands in a CREATE TABLE; those on expressions, or columns of a SELECT, are left out."""
    names = op.local_cols if isinstance(op, ops.CreateForeignKeyOp) else getattr(op, "columns", [])
    if not {each.lower() for each in names} <= known.keys():
        return
    columns, name = [known[each.lower()] for each in names], op.constraint_name
    if isinstance(op, ops.CreatePrimaryKeyOp):
        yield PrimaryKeyConstraint(*columns, name=name)
    elif isinstance(op, ops.CreateUniqueConstraintOp):
        yield UniqueConstraint(*columns, name=name)
    elif isinstance(op, ops.CreateCheckConstraintOp):
        yield CheckConstraint(op.condition, name=name)
    elif isinstance(op, ops.CreateForeignKeyOp):
        referred = ".".join(part for part in (op.kw.get("referent_schema"), op.referent_table) if part)
        options = {key: op.kw[key] for key in FOREIGN_KEY if key in op.kw}
        targets = [f"{referred}.{column}" for column in op.remote_cols]
        yield ForeignKeyConstraint(columns, targets, name=name, **options)


def alter_table(words: Words) -> Iterator[ops.MigrateOperation]:
    """Each part, with ALGORITHM and LOCK as ``kw`` of all of them."""
    words.take("IF", "EXISTS")
    words.take("ONLY")
    table = words.qualified()
    words.take("*")
    if words.take_any("WAIT"):
        words.next()
    words.take("NOWAIT")
    how: dict[str, Any] = {}
    parts = []
    for part in words.parts():
        if part.take_any(*HOW):
            part.take("=")
            how[part.words[0].keyword.lower()] = part.next().keyword
        else:
            parts.append(part)
    for part in parts:
        for op in _altered(part, table):
            if how:
                vars(op).setdefault("kw", {}).update(how)
            yield op


def _altered(words: Words, table: Table) -> Iterator[ops.MigrateOperation]:
    start = words.at
    read = ALTERS.get(words.keyword())
    if read is not None:
        words.next()
        try:
            found = list(read(words, table))
        except Unreadable:
            found = [_unread(words, table)]
        if found:
            yield from found
            return
    words.at = start
    yield _part(words, table)


def _unread(words: Words, table: Table) -> CommandOp:
    return CommandOp(f"ALTER TABLE ... {words.words[0].keyword}", None, *table, parsed=False, text=words.text)


def _part(words: Words, table: Table) -> CommandOp:
    """A part of an ALTER TABLE that Alembic has no operation for."""
    action = phrase(words)
    name = words.words[words.at].text if not words.done and words.words[words.at].is_name else None
    concurrently = words.has("CONCURRENTLY")
    return CommandOp(action, name, *table, action in LOSES_DATA, concurrently=concurrently, text=words.text)


def _add(words: Words, table: Table) -> Iterator[ops.MigrateOperation]:
    name, schema = table
    is_column = words.take("COLUMN")
    if not is_column and (words.follows("PARTITION") or words.follows("PERIOD", "FOR")):
        return
    if not is_column and (constraint := read_constraint(words, table)) is not None:
        yield constraint
        return
    words.take("IF", "NOT", "EXISTS")
    for part in words.group() if words.follows("(") else [words]:
        if (constraint := read_constraint(part, table)) is not None:
            yield constraint
        else:
            added = ops.AddColumnOp(name, read_column(part, name).column(), schema=schema)
            vars(added)["inline_references"] = bool(added.column.foreign_keys)  # an option of newer Alembic
            yield added


def _drop(words: Words, table: Table) -> Iterator[ops.MigrateOperation]:
    name, schema = table
    if words.take("PRIMARY", "KEY"):
        yield ops.DropConstraintOp("PRIMARY", name, "primary", schema=schema)
        return
    if words.keyword() in DROPS and words.keyword(1):
        return
    kind = "COLUMN"
    if words.take("FOREIGN", "KEY"):
        kind = "foreignkey"
    elif words.facts.keys_in_tables and words.take_any("KEY", "INDEX"):
        kind = "INDEX"
    elif words.keyword(1) and (taken := words.take_any("CONSTRAINT", "CHECK", "COLUMN")) != "COLUMN":
        kind = {"CHECK": "check", "CONSTRAINT": ""}.get(taken, "COLUMN")
    words.take("IF", "EXISTS")
    dropped = words.name()
    if kind == "COLUMN":
        yield ops.DropColumnOp(name, dropped, schema=schema)
    elif kind == "INDEX":
        yield ops.DropIndexOp(dropped, name, schema=schema)
    else:
        yield ops.DropConstraintOp(dropped, name, kind or None, schema=schema)
        if words.has("CASCADE"):
            yield CommandOp("DROP CONSTRAINT", dropped, *table, drops=True, cascade=True, text=words.text)


def _modify(words: Words, table: Table) -> Iterator[ops.MigrateOperation]:
    words.take("COLUMN")
    words.take("IF", "EXISTS")
    found = read_column(words, table[0])
    yield _redefined(found.name, found, table)


def _change(words: Words, table: Table) -> Iterator[ops.MigrateOperation]:
    words.take("COLUMN")
    words.take("IF", "EXISTS")
    before = words.name()
    yield _redefined(before, read_column(words, table[0]), table)


def _redefined(name: str, found: Definition, table: Table) -> ops.AlterColumnOp:
    """All that is said of a column, and what is not said goes: its NOT NULL, default and comment."""
    options: dict[str, Any] = {"autoincrement": True} if found.options.get("autoincrement") else {}
    return ops.AlterColumnOp(
        table[0],
        name,
        schema=table[1],
        modify_type=found.type,
        modify_nullable=found.nullable is not False and not found.options.get("primary_key"),
        modify_server_default=found.default,
        modify_comment=found.comment,
        modify_name=found.name if found.name != name else None,
        **options,
    )


def _alter_column(words: Words, table: Table) -> Iterator[ops.MigrateOperation]:
    is_column = words.take("COLUMN")
    if not is_column and words.keyword() in {"INDEX", "CONSTRAINT", "CHECK"} and words.keyword(2) not in {"", "DATA"}:
        return
    words.take("IF", "EXISTS")
    column = words.name()

    def altered(**changes: Any) -> ops.AlterColumnOp:
        return ops.AlterColumnOp(table[0], column, schema=table[1], **changes)

    if words.take("TYPE") or words.take("SET", "DATA", "TYPE"):
        kind, _ = read_type(words)
        found = Definition(column, kind)
        read_options(words, found)
        yield altered(modify_type=found.type, **({"postgresql_using": found.using} if found.using else {}))
    elif words.take("SET", "NOT", "NULL"):
        yield altered(modify_nullable=False)
    elif words.take("DROP", "NOT", "NULL"):
        yield altered(modify_nullable=True)
    elif words.take("SET", "DEFAULT"):
        yield altered(modify_server_default=literal(words.rest))
    elif words.take("DROP", "DEFAULT"):
        yield altered(modify_server_default=None)
    else:
        yield CommandOp(f"ALTER COLUMN ... {phrase(words)}", column, *table, text=words.text)


def _rename(words: Words, table: Table) -> Iterator[ops.MigrateOperation]:
    name, schema = table
    if words.keyword(2) == "TO" and words.keyword() in {"INDEX", "KEY", "CONSTRAINT"}:
        return
    is_column = words.take("COLUMN") or words.keyword(1) == "TO"
    if not is_column:
        words.take_any("TO", "AS", "=")
        yield ops.RenameTableOp(name, words.qualified()[0], schema=schema)
        return
    words.take("IF", "EXISTS")
    before = words.name()
    words.take("TO")
    yield ops.AlterColumnOp(name, before, schema=schema, modify_name=words.name())


ALTERS: dict[str, Callable[[Words, Table], Iterator[ops.MigrateOperation]]] = {
    "ADD": _add,
    "DROP": _drop,
    "MODIFY": _modify,
    "CHANGE": _change,
    "ALTER": _alter_column,
    "RENAME": _rename,
}


def rename_tables(words: Words) -> Iterator[ops.MigrateOperation]:
    """RENAME TABLE a TO b, c TO d."""
    words.take("IF", "EXISTS")
    for part in words.parts():
        name, schema = part.qualified()
        if not part.take("TO"):
            raise Unreadable(words.text)
        yield ops.RenameTableOp(name, part.qualified()[0], schema=schema)


def drop_tables(words: Words) -> Iterator[ops.MigrateOperation]:
    """Each of them."""
    words.take("IF", "EXISTS")
    for name, schema in names(words):
        yield ops.DropTableOp(name, schema=schema)


def create_index(words: Words, kinds: set[str]) -> Iterator[ops.MigrateOperation]:
    """With ``kinds`` of UNIQUE, FULLTEXT, SPATIAL."""
    options: dict[str, Any] = {}
    if words.take("CONCURRENTLY"):
        options["postgresql_concurrently"] = True
    words.take("IF", "NOT", "EXISTS")
    name = None if words.follows("ON") else words.qualified()[0]
    if words.take("USING"):
        words.next()
    if not words.take("ON"):
        raise Unreadable(words.text)
    words.take("ONLY")
    table = words.qualified()
    if words.take("USING"):
        options["postgresql_using"] = words.name()
    if prefix := kinds & {"FULLTEXT", "SPATIAL"}:
        options["mysql_prefix"] = prefix.pop()
    made = index(words, name, table, options)
    made.unique = "UNIQUE" in kinds
    made.kw.update(_how(words))
    yield made


def drop_index(words: Words) -> Iterator[ops.MigrateOperation]:
    """Each of them; MySQL has one, ON its table."""
    options: dict[str, Any] = {"postgresql_concurrently": True} if words.take("CONCURRENTLY") else {}
    words.take("IF", "EXISTS")
    found = list(names(words))
    table, schema = words.qualified() if words.take("ON") else (None, None)
    options |= _how(words)
    for name, own_schema in found:
        yield ops.DropIndexOp(name, table, schema=schema or own_schema, **options)


def names(words: Words) -> Iterator[Table]:
    """Read one, or several between commas."""
    yield words.qualified()
    while words.take(","):
        yield words.qualified()


def _how(words: Words) -> dict[str, str]:
    found = {}
    while not words.done:
        if (option := words.take_any(*HOW)) and not words.done:
            words.take("=")
            found[option.lower()] = words.next().keyword
        else:
            words.next()
    return found
