"""Syntax trees of SQL, as sqlglot parses it, and the names of tables and columns in these trees."""

import logging
from collections.abc import Collection
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.simplify import simplify

from ...adapters.facts import Facts

CONSTANTS = (exp.Literal, exp.Neg, exp.Boolean, exp.Null)
COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.In, exp.Between)


class Unread(Exception):  # noqa: N818  # not an error: the statement becomes an operation that says so
    """The exception for SQL that neither sqlglot nor a pattern in phrases.py can read."""


def tree_of(text: str, facts: Facts) -> Any:
    """Return the syntax tree of one SQL statement. Raise Unread if sqlglot cannot parse the statement."""
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of each statement that it keeps as text
    try:
        tree = parse_one(text, read=facts.grammar)
    except (SqlglotError, RecursionError) as error:  # it recurses several times for each parenthesis
        raise Unread(text) from error
    if isinstance(tree, exp.Command):
        raise Unread(text)
    return tree


def expression_of(sql: str, facts: Facts) -> Any:
    """Return the syntax tree of an expression without parentheses, quotes around names, and casts of constants.

    Return ``sql`` itself if it cannot be parsed.
    """
    try:
        select = tree_of(f"SELECT {sql}", facts)
    except Unread:
        return sql
    for node in list(select.find_all(exp.Paren, exp.Introducer, exp.Cast, exp.Identifier, exp.Anonymous)):
        is_cast = isinstance(node, exp.Cast) and isinstance(node.this, CONSTANTS)
        if isinstance(node, exp.Paren) or is_cast:
            node.replace(node.this)
        elif isinstance(node, exp.Introducer):
            node.replace(node.expression)
        elif isinstance(node, exp.Identifier):
            node.replace(exp.Identifier(this=node.name.lower(), quoted=False))
        elif isinstance(node, exp.Anonymous) and (name := str(node.this).lower()) == "now":  # MySQL's other word
            node.replace(exp.CurrentTimestamp(this=next(iter(node.expressions), None)))
        elif isinstance(node, exp.Anonymous):
            node.set("this", name)
    return select.expressions[0] if len(select.expressions) == 1 else sql


def accepts(condition: str, null: Collection[str], never_null: Collection[str], facts: Facts) -> bool:
    """Return True if a CHECK certainly accepts rows with NULL in the columns ``null``, and none in ``never_null``.

    It accepts a row for which the condition is true or NULL. A comparison with NULL is NULL.
    """

    def known(node: Any) -> Any:
        is_null = isinstance(node, exp.Is) and isinstance(node.expression, exp.Null)
        if is_null and isinstance(node.this, exp.Column) and node.this.name in never_null:
            return exp.true() if node.args.get("negate") else exp.false()
        return exp.null() if isinstance(node, exp.Column) and node.name in null else node

    tree = expression_of(condition, facts)
    if isinstance(tree, str):
        return False
    tree = simplify(exp.select(tree.transform(known)))
    for node in list(tree.find_all(*COMPARISONS)):
        operands = node.this, node.args.get("expression")
        if any(isinstance(each, exp.Null) for each in operands):
            node.replace(exp.null())
        elif all(isinstance(each, exp.Boolean) for each in operands) and isinstance(node, exp.EQ | exp.NEQ):
            node.replace(exp.convert((operands[0] == operands[1]) is isinstance(node, exp.EQ)))
    unknown = exp.and_(exp.null(), exp.true())  # how simplify() writes NULL
    return simplify(tree).expressions[0] in (exp.true(), exp.null(), unknown)


def name_of(node: Any, facts: Facts) -> str:
    """Return the first name in a node of a syntax tree, e.g. ``email`` for ``email(20) DESC``.

    The name is in lower case if the database converts names without quotes. Raise Unread if the node has no name.
    """
    found = node if isinstance(node, exp.Identifier) else node.find(exp.Identifier)
    if found is None:
        raise Unread(node.sql())
    name: str = found.name
    return name.lower() if facts.folds_names and not found.args.get("quoted") else name


def table_of(node: Any, facts: Facts) -> tuple[str, str | None]:
    """Return the name of the table in a node, and its schema; None for the default schema."""
    names = [name_of(part, facts) for part in node.parts]
    schema = names[-2] if len(names) > 1 else None
    return names[-1], None if schema == facts.default_schema else schema
