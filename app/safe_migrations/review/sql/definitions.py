"""What stands between the parentheses of a CREATE TABLE, or behind ALTER TABLE ... ADD: columns and constraints."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from alembic.ddl.postgresql import CreateExcludeConstraintOp
from alembic.operations import ops
from sqlalchemy import CheckConstraint, Column, Computed, ForeignKey, Identity, text
from sqlalchemy.types import NullType, TypeEngine

from .ops import CommandOp
from .types import SERIAL, read_type
from .words import Unreadable, Words

# Where an option of a column begins, and with it the end of the type or the default before it.
OPTIONS: tuple[tuple[str, ...], ...] = (
    *(("CONSTRAINT",), ("NOT", "NULL"), ("NULL",), ("DEFAULT",), ("PRIMARY", "KEY"), ("KEY",), ("UNIQUE",)),
    *(("REFERENCES",), ("CHECK",), ("GENERATED",), ("AS",), ("AUTO_INCREMENT",), ("AUTOINCREMENT",), ("COLLATE",)),
    *(("CHARACTER", "SET"), ("CHARSET",), ("COMMENT",), ("ON", "UPDATE"), ("ON", "CONFLICT"), ("FIRST",), ("AFTER",)),
    *(("INVISIBLE",), ("VISIBLE",), ("USING",), ("NOT", "VALID"), ("DEFERRABLE",), ("INITIALLY",), ("NOT", "ENFORCED")),
)
ACTIONS = (("NO", "ACTION"), ("SET", "NULL"), ("SET", "DEFAULT"), ("CASCADE",), ("RESTRICT",))
Table = tuple[str, str | None]
"""Name and schema."""


@dataclass
class Definition:
    """What is said of a column."""

    name: str
    type: TypeEngine[Any]
    nullable: bool | None = None
    default: Any = None
    comment: str | None = None
    using: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)

    def column(self) -> "Column[Any]":
        """As SQLAlchemy has it; ``info["inline_references"]`` tells that REFERENCES stood in it."""
        default = [self.default] if isinstance(self.default, (Computed, Identity)) else []
        options: dict[str, Any] = {**self.options, "comment": self.comment, "info": self.info}
        if not default:
            options["server_default"] = self.default
        if self.nullable is not None:
            options["nullable"] = self.nullable
        return Column(self.name, self.type, *default, *self.items, **options)


def read_column(words: Words, table: str) -> Definition:
    """Read all of a column's definition."""
    name = words.name()
    if words.done or _option(words):
        found = Definition(name, NullType())
    else:
        kind, written = read_type(words)
        found = Definition(name, kind)
        if written in SERIAL:
            found.nullable, found.default = False, text(f"nextval('{table}_{name}_seq'::regclass)")
    read_options(words, found)
    return found


def read_options(words: Words, found: Definition) -> None:
    """Read what stands behind a column's type; what is not known here is left out."""
    constraint: str | None = None
    while not words.done:
        option = _option(words)
        words.at += len(option) or 1
        if option == ("CONSTRAINT",):
            constraint = None if _option(words) else words.name()
        elif option in READ:
            READ[option](words, found, constraint)


def _option(words: Words) -> tuple[str, ...]:
    return next((option for option in OPTIONS if words.follows(*option)), ())


def _expression(words: Words) -> str:
    """Read up to the next option."""
    start, depth = words.at, 0
    while not words.done and (depth or words.at == start or not _option(words)):
        depth += {"(": 1, ")": -1}.get(words.next().keyword, 0)
    return Words(words.source, words.words[start : words.at], words.facts).text


def _default(words: Words, found: Definition, _name: str | None) -> None:
    found.default = literal(_expression(words))


def literal(expression: str) -> Any:
    """What SQLAlchemy takes as a server's default; a colon in it begins no parameter."""
    return text(re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", expression))


def _nullable(is_so: bool) -> Callable[[Words, Definition, str | None], None]:
    def read(_words: Words, found: Definition, _name: str | None) -> None:
        found.nullable = is_so

    return read


def _set(option: str) -> Callable[[Words, Definition, str | None], None]:
    def read(words: Words, found: Definition, _name: str | None) -> None:
        found.options[option] = True
        words.take("KEY")

    return read


def _references(words: Words, found: Definition, name: str | None) -> None:
    (table, schema), columns, options = read_reference(words)
    target = ".".join(part for part in (schema, table, (columns or [found.name])[0]) if part)
    found.items.append(ForeignKey(target, name=name, **options))
    found.info["inline_references"] = True


def _check(words: Words, found: Definition, name: str | None) -> None:
    found.items.append(CheckConstraint(literal(words.skip_group()), name=name))


def _generated(words: Words, found: Definition, name: str | None) -> None:
    always = not words.take("BY", "DEFAULT") and words.take("ALWAYS")
    if words.take("AS", "IDENTITY"):
        found.nullable, found.default = False, Identity(always=always)
    elif words.take("AS"):
        _computed(words, found, name)


def _computed(words: Words, found: Definition, _name: str | None) -> None:
    expression = words.skip_group() if words.follows("(") else _expression(words)
    kept = words.take_any("STORED", "PERSISTENT", "PERSISTED", "VIRTUAL")
    found.default = Computed(literal(expression), persisted=kept not in {"", "VIRTUAL"})


def _collation(option: str) -> Callable[[Words, Definition, str | None], None]:
    def read(words: Words, found: Definition, _name: str | None) -> None:
        words.take("=")
        name = words.next().text
        if hasattr(found.type, option):
            setattr(found.type, option, name)

    return read


def _comment(words: Words, found: Definition, _name: str | None) -> None:
    found.comment = words.next().text


def _using(words: Words, found: Definition, _name: str | None) -> None:
    found.using = words.rest
    words.at = len(words.words)


def _on_update(words: Words, _found: Definition, _name: str | None) -> None:
    _expression(words)


READ: dict[tuple[str, ...], Callable[[Words, Definition, str | None], None]] = {
    ("NOT", "NULL"): _nullable(False),
    ("NULL",): _nullable(True),
    ("DEFAULT",): _default,
    ("PRIMARY", "KEY"): _set("primary_key"),
    ("KEY",): _set("primary_key"),
    ("UNIQUE",): _set("unique"),
    ("AUTO_INCREMENT",): _set("autoincrement"),
    ("AUTOINCREMENT",): _set("autoincrement"),
    ("REFERENCES",): _references,
    ("CHECK",): _check,
    ("GENERATED",): _generated,
    ("AS",): _computed,
    ("COLLATE",): _collation("collation"),
    ("CHARACTER", "SET"): _collation("charset"),
    ("CHARSET",): _collation("charset"),
    ("COMMENT",): _comment,
    ("USING",): _using,
    ("ON", "UPDATE"): _on_update,
}


def read_reference(words: Words) -> tuple[Table, list[str], dict[str, Any]]:
    """Read what stands behind REFERENCES: the table, its columns, the options of a foreign key."""
    table = words.qualified()
    columns = [part.name() for part in words.group()] if words.follows("(") else []
    options: dict[str, Any] = {}
    while not words.done:
        if words.follows("ON", "DELETE") or words.follows("ON", "UPDATE"):
            words.next()
            direction = words.next().keyword
            action = next((action for action in ACTIONS if words.take(*action)), ())
            options[f"on{direction.lower()}"] = " ".join(action)
        elif words.take("MATCH"):
            words.next()
        elif words.take("NOT", "DEFERRABLE"):
            options["deferrable"] = False
        elif words.take("DEFERRABLE"):
            options["deferrable"] = True
        elif words.take("INITIALLY"):
            options["initially"] = words.next().keyword
        else:
            break
    return table, columns, options


def read_constraint(words: Words, table: Table) -> ops.MigrateOperation | None:
    """Read a constraint or an index of a table; None, with nothing read, if the next words begin none."""
    start, name = words.at, None
    if words.take("CONSTRAINT"):
        words.take("IF", "NOT", "EXISTS")
        name = None if _constraint(words) else words.name()
    read = _constraint(words)
    if read is None:
        words.at = start
        return None
    return read(words, table, name)


def _constraint(words: Words) -> Callable[[Words, Table, str | None], ops.MigrateOperation] | None:
    for keywords, read in CONSTRAINTS.items():
        if words.follows(*keywords):
            return read
    if words.facts.keys_in_tables and words.keyword() in {"KEY", "INDEX", "FULLTEXT", "SPATIAL"}:
        return _index
    return None


def _primary_key(words: Words, table: Table, name: str | None) -> ops.MigrateOperation:
    words.take("PRIMARY", "KEY")
    if words.take("USING", "INDEX"):
        return CommandOp("ADD PRIMARY KEY USING INDEX", words.name(), *table, text=words.text)
    columns = [part.column for part in _columns(words)]
    return ops.CreatePrimaryKeyOp(name, table[0], columns, schema=table[1])


def _unique(words: Words, table: Table, name: str | None) -> ops.MigrateOperation:
    words.take("UNIQUE")
    if words.take("USING", "INDEX"):
        return CommandOp("ADD UNIQUE USING INDEX", words.name(), *table, text=words.text)
    words.take_any("KEY", "INDEX")
    options = {}
    if words.take("NULLS", "NOT", "DISTINCT"):
        options["postgresql_nulls_not_distinct"] = True
    words.take("NULLS", "DISTINCT")
    name = _name_before_columns(words) or name
    columns = [part.column for part in _columns(words)]
    return ops.CreateUniqueConstraintOp(name, table[0], columns, schema=table[1], **options)


def _foreign_key(words: Words, table: Table, name: str | None) -> ops.MigrateOperation:
    words.take("FOREIGN", "KEY")
    words.take("IF", "NOT", "EXISTS")
    name = name or _name_before_columns(words)
    if not words.follows("("):
        words.name()
    columns = [part.name() for part in words.group()]
    if not words.take("REFERENCES"):
        raise Unreadable(words.text)
    (referred, schema), referred_columns, options = read_reference(words)
    options |= {key: value for key, value in {"source_schema": table[1], "referent_schema": schema}.items() if value}
    options |= _not_valid(words)
    return ops.CreateForeignKeyOp(name, table[0], referred, columns, referred_columns or columns, **options)


def _table_check(words: Words, table: Table, name: str | None) -> ops.MigrateOperation:
    words.take("CHECK")
    condition = literal(words.skip_group())
    return ops.CreateCheckConstraintOp(name, table[0], condition, schema=table[1], **_not_valid(words))


def _exclude(words: Words, table: Table, name: str | None) -> ops.MigrateOperation:
    words.take("EXCLUDE")
    options: dict[str, Any] = {"using": words.name()} if words.take("USING") else {}
    elements = []
    for part in words.group():
        at = next((at for at in range(len(part.words)) if part.words[at].keyword == "WITH"), len(part.words))
        operator = Words(part.source, part.words[at + 1 :], part.facts).text
        elements.append((Words(part.source, part.words[:at], part.facts).text, operator))
    return CreateExcludeConstraintOp(name, table[0], elements, schema=table[1], **options)


def _index(words: Words, table: Table, _name: str | None) -> ops.MigrateOperation:
    prefix = words.take_any("FULLTEXT", "SPATIAL")
    words.take_any("KEY", "INDEX")
    words.take("IF", "NOT", "EXISTS")
    name = _name_before_columns(words)
    return index(words, name, table, {"mysql_prefix": prefix} if prefix else {})


CONSTRAINTS: dict[tuple[str, ...], Callable[[Words, Table, str | None], ops.MigrateOperation]] = {
    ("PRIMARY", "KEY"): _primary_key,
    ("UNIQUE",): _unique,
    ("FOREIGN", "KEY"): _foreign_key,
    ("CHECK",): _table_check,
    ("EXCLUDE",): _exclude,
}


@dataclass
class IndexColumn:
    """A column of an index, with the length of a prefix; or an expression."""

    column: str
    is_expression: bool = False
    length: int | None = None


def index(words: Words, name: str | None, table: Table, options: dict[str, Any]) -> ops.CreateIndexOp:
    """Read the columns of an index, and what follows them."""
    columns = _columns(words)
    if lengths := {part.column: part.length for part in columns if part.length}:
        options["mysql_length"] = lengths
    found = [literal(part.column) if part.is_expression else part.column for part in columns]
    return ops.CreateIndexOp(name, table[0], found, schema=table[1], **options)


def _columns(words: Words) -> list[IndexColumn]:
    if words.take("USING"):
        words.next()
    return [_index_column(part) for part in words.group()]


def _index_column(words: Words) -> IndexColumn:
    whole = words.text
    if words.words[0].is_name and words.keyword(1) != ".":
        name = words.name()
        if words.follows("(") and words.keyword(1).isdigit() and words.keyword(2) == ")":
            return IndexColumn(name, length=int(words.keyword(1)))
        if not words.follows("(") and (words.done or words.words[words.at].is_name):
            return IndexColumn(name)
    return IndexColumn(whole, is_expression=True)


def _name_before_columns(words: Words) -> str | None:
    name = None if words.follows("(") or words.follows("USING") else words.name()
    if words.take("USING"):
        words.next()
    return name


def _not_valid(words: Words) -> dict[str, Any]:
    return {"postgresql_not_valid": True} if words.has("NOT", "VALID") else {}
