"""The translation of columns, constraints and indexes in CREATE TABLE, and in ALTER TABLE ... ADD, MODIFY or CHANGE."""

import re
from typing import Any

from alembic.operations import ops
from sqlalchemy import CheckConstraint, Column, Computed, ForeignKey, Identity, TextClause, text
from sqlalchemy.types import NullType
from sqlglot import exp

from ...adapters.exact_sql import escaped
from ...adapters.facts import Facts
from ...adapters.sql_words import Words
from .phrases import Phrase, find
from .reflected_types import type_of
from .trees import Unread, name_of, table_of, tree_of

Name = tuple[str, str | None]
"""The name of a table, and its schema (None for the default schema)."""
INDEX = (
    r"(?:(?P<prefix>FULLTEXT|SPATIAL)(?: INDEX| KEY)?|INDEX|KEY)(?: IF NOT EXISTS)?(?: {name})?(?: USING \w+)?"
    r" (?P<columns>\( .*)"
)


def definition(words: Words, table: Name, prefix: str = "") -> "Column[Any] | ops.MigrateOperation":
    """Translate one definition into a column, or into the operation that adds a constraint or an index to ``table``.

    If ``words`` begin with a type instead of a column name, ``prefix`` is the missing name and a space. Raise Unread if
    sqlglot cannot parse the definition, or if the definition is something else, e.g. EXCLUDE.
    """
    if words.facts.keys_in_tables and (found := find(words, INDEX)):
        return index(found, table)
    not_valid = words.keywords.endswith(" NOT VALID")
    written = words.part(0, -2) if not_valid else words
    tree = tree_of(f"CREATE TABLE t ({prefix}{written.text})", words.facts)
    items = tree.this.expressions if isinstance(tree, exp.Create) and isinstance(tree.this, exp.Schema) else []
    if len(items) != 1:
        raise Unread(words.text)
    if isinstance(items[0], (exp.ColumnDef, exp.Identifier)):
        return _column(items[0], words, table)
    return _constraint(items[0], words.facts, table, {"postgresql_not_valid": True} if not_valid else {})


def sql_of(node: Any, facts: Facts) -> TextClause:
    """Return the SQL of an expression in sqlglot's tree, in the dialect of the database."""
    return literal(node.sql(dialect=facts.grammar, comments=False, normalize_functions=False))


def literal(expression: str) -> TextClause:
    """Return the expression as text(), without parameters."""
    return text(escaped(expression))


def _column(node: Any, words: Words, table: Name) -> "Column[Any]":
    """Return the column that ``node`` defines; ``info["inline_references"]`` is set if ``node`` has REFERENCES."""
    facts, name = words.facts, name_of(node, words.facts)
    type_: Any = type_of(node.kind, facts) if node.args.get("kind") else NullType()
    options: dict[str, Any] = {}
    items: list[Any] = []
    if node.args.get("kind") and node.kind.this in (exp.DType.SERIAL, exp.DType.BIGSERIAL, exp.DType.SMALLSERIAL):
        options = {"nullable": False, "server_default": text(f"nextval('{table[0]}_{name}_seq'::regclass)")}
    for constraint in node.args.get("constraints") or ():
        if not isinstance(constraint, exp.ColumnConstraint):  # such as the IN or OUT of a parameter
            raise Unread(words.text)
        found, label = constraint.kind, constraint.args.get("this") and name_of(constraint.this, facts)
        match found:
            case exp.NotNullColumnConstraint():
                options["nullable"] = bool(found.args.get("allow_null"))
            case exp.DefaultColumnConstraint():
                value = found.this
                if isinstance(value, exp.Collate):  # of the column: sqlglot takes it for a part of the default
                    type_.collation, value = value.expression.name, value.this
                options["server_default"] = sql_of(value, facts)
            case exp.PrimaryKeyColumnConstraint():
                options["primary_key"] = True
            case exp.UniqueColumnConstraint():
                options["unique"] = True
            case exp.AutoIncrementColumnConstraint():
                options["autoincrement"] = True
            case exp.CommentColumnConstraint():
                options["comment"] = found.name
            case exp.Reference():
                referred, schema, columns, timing = _reference(found, facts)
                target = ".".join(part for part in (schema, referred, (columns or [name])[0]) if part)
                items.append(ForeignKey(target, name=label, **timing))
                options["info"] = {"inline_references": True}
            case exp.CheckColumnConstraint():
                items.append(CheckConstraint(sql_of(found.this, facts), name=label))
            case exp.ComputedColumnConstraint():
                stored = re.search(r"\b(STORED|PERSISTENT|PERSISTED)\b", words.keywords) is not None
                items.append(Computed(sql_of(found.this.unnest(), facts), persisted=stored))
            case exp.GeneratedAsIdentityColumnConstraint():
                items.append(Identity(always=bool(found.this)))
                options["nullable"] = False
            case exp.CollateColumnConstraint() if hasattr(type_, "collation"):
                type_.collation = found.this.name
            case exp.CharacterSetColumnConstraint() if hasattr(type_, "charset"):
                type_.charset = found.this.name
    return Column(name, type_, *items, **options)


def _reference(node: Any, facts: Facts) -> tuple[str, str | None, list[str], dict[str, Any]]:
    """Return the parts of REFERENCES: table, schema, columns, and options such as ``{"ondelete": "CASCADE"}``.

    The columns are an empty list if REFERENCES names only the table, i.e. its primary key.
    """
    target = node.this
    columns = [name_of(each, facts) for each in target.expressions] if isinstance(target, exp.Schema) else []
    referred, schema = table_of(target.this if isinstance(target, exp.Schema) else target, facts)
    return referred, schema, columns, _options(node)


def _options(node: Any) -> dict[str, Any]:
    """Return ON DELETE, ON UPDATE, DEFERRABLE and INITIALLY as SQLAlchemy's arguments: ``{"ondelete": "CASCADE"}``."""
    found: dict[str, Any] = {}
    for option in node.args.get("options") or ():
        words = option.split(" ")
        if words[0] == "ON":
            found[f"on{words[1].lower()}"] = " ".join(words[2:])
        elif words[0] == "INITIALLY":
            found["initially"] = words[1]
        elif words[-1] == "DEFERRABLE":
            found["deferrable"] = words[0] != "NOT"
    return found


def _constraint(node: Any, facts: Facts, table: Any, options: dict[str, Any]) -> ops.MigrateOperation:
    name, (table_name, schema) = None, table
    if isinstance(node, exp.Constraint):
        if len(node.expressions) != 1:
            raise Unread(node.sql())
        name, node = name_of(node.this, facts), node.expressions[0]
    match node:
        case exp.PrimaryKey():
            columns = [name_of(each, facts) for each in node.expressions]
            return ops.CreatePrimaryKeyOp(name, table_name, columns, schema=schema)
        case exp.UniqueColumnConstraint() if isinstance(node.this, exp.Schema):
            name = name_of(node.this.this, facts) if node.this.args.get("this") else name
            columns = [name_of(each, facts) for each in node.this.expressions]
            if node.args.get("nulls"):
                options["postgresql_nulls_not_distinct"] = True
            return ops.CreateUniqueConstraintOp(name, table_name, columns, schema=schema, **_options(node), **options)
        case exp.ForeignKey():
            name = name or (node.args.get("this") and name_of(node.this, facts))
            referred, referred_schema, referred_columns, timing = _reference(node.args["reference"], facts)
            columns = [name_of(each, facts) for each in node.expressions]
            schemas = {"source_schema": schema, "referent_schema": referred_schema}
            options = timing | {key: value for key, value in schemas.items() if value} | options
            return ops.CreateForeignKeyOp(name, table_name, referred, columns, referred_columns or columns, **options)
        case exp.CheckColumnConstraint():
            return ops.CreateCheckConstraintOp(name, table_name, sql_of(node.this, facts), schema=schema, **options)
    raise Unread(node.sql())


def index(found: Phrase, table: Name) -> ops.CreateIndexOp:
    """Return the operation that creates the index in ``found``: a CREATE INDEX, or an INDEX in a table definition.

    Raise Unread if the parenthesis before the columns is not closed.
    """
    group = found.part("columns").group()
    if group is None:
        raise Unread(found.words.text)
    columns: list[Any] = []
    lengths: dict[str, int] = {}
    for part in group[0]:
        if column := find(part, r"{name} \( (?P<length>\d+) \)(?: ASC| DESC)?"):  # of a prefix
            columns.append(column.name()[0])
            lengths[columns[-1]] = int(column.match["length"])
        elif column := find(part, r"{name}(?: \w.*)?"):  # an operator class, a collation or an order may follow
            columns.append(column.name()[0])
        else:
            columns.append(literal(part.text))
    options: dict[str, Any] = {"mysql_length": lengths} if lengths else {}
    if "prefix" in found:
        options["mysql_prefix"] = found.match["prefix"]
    if "concurrently" in found:
        options["postgresql_concurrently"] = True
    if "using" in found:
        options["postgresql_using"] = found.match["using"].lower()
    name = found.name()[0] if "name" in found else None
    return ops.CreateIndexOp(name, table[0], columns, schema=table[1], unique="unique" in found, **options)
