"""sqlglot's trees, and the names in them."""

import logging
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from ...adapters.facts import Facts


class Unread(Exception):  # noqa: N818  # not an error: the statement becomes an operation that says so
    """SQL that neither sqlglot nor a phrase understands."""


def tree_of(text: str, facts: Facts) -> Any:
    """Return the tree of one statement. Raise Unread if sqlglot cannot parse it, or keeps it as text."""
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it warns of each statement that it keeps as text
    try:
        tree = parse_one(text, read=facts.grammar)
    except (SqlglotError, RecursionError) as error:  # it recurses several times for each parenthesis
        raise Unread(text) from error
    if isinstance(tree, exp.Command):
        raise Unread(text)
    return tree


def name_of(node: Any, facts: Facts) -> str:
    """Return the name in a node, of a column with a prefix length or an order too. Raise Unread if it has none."""
    found = node if isinstance(node, exp.Identifier) else node.find(exp.Identifier)
    if found is None:
        raise Unread(node.sql())
    name: str = found.name
    return name.lower() if facts.folds_names and not found.args.get("quoted") else name


def table_of(node: Any, facts: Facts) -> tuple[str, str | None]:
    """Return the name and the schema of a table, None for the default schema."""
    names = [name_of(part, facts) for part in node.parts]
    schema = names[-2] if len(names) > 1 else None
    return names[-1], None if schema == facts.default_schema else schema
