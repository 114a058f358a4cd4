"""The translation of INSERT, UPDATE, DELETE and TRUNCATE: which tables they change, and whether all rows."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from sqlglot import exp
from sqlglot.optimizer.simplify import simplify

from ...adapters.facts import Facts
from ...adapters.sql_words import Words
from .ops import ChangeRowsOp, CommandOp
from .phrases import Phrase, find
from .trees import Unread, name_of, table_of, tree_of

# Nodes of a condition: the time that sqlglot takes to simplify one grows with their square, to a second at a thousand.
LONG = 200
MODIFIERS = r"(?: (?:LOW_PRIORITY|HIGH_PRIORITY|DELAYED|QUICK|IGNORE))*"
SAME = (exp.EQ, exp.NullSafeEQ, exp.GTE, exp.LTE)
"""Comparisons that are true of a value and itself, except of NULL."""
VALUES = rf"(?P<verb>INSERT|REPLACE)(?P<alternative> OR \w+)?{MODIFIERS} INTO {{table}}(?: \(.*?\))? VALUES .*"


def truncate(found: Phrase) -> Iterator[ChangeRowsOp]:
    """Yield an operation for each table that TRUNCATE lists."""
    for table, schema in found.names("names"):
        cascade = found.words.keywords.endswith(" CASCADE")
        yield ChangeRowsOp("TRUNCATE", table, schema, bounded=False, cascade=cascade, text=found.words.text)


def change_rows(words: Words) -> Iterator[ChangeRowsOp | CommandOp]:
    """Yield an operation for each table whose rows an INSERT, UPDATE or DELETE in a statement changes.

    Those in CTEs come first. For a SELECT that changes no rows, yield a CommandOp. Raise Unread if the statement cannot
    be read.
    """
    if found := find(words, VALUES):  # long ones are common, and need no tree
        replaces = re.search(r"\b(DO|KEY) UPDATE\b", words.keywords) or found.match["alternative"] == " OR REPLACE"
        table, schema = found.name("table")
        verb = "REPLACE" if replaces else found.match["verb"]
        yield ChangeRowsOp(verb, table, schema, given=True, text=words.text)
        return
    if re.match(r"(UPDATE|DELETE) (LOW_PRIORITY|QUICK|IGNORE)\b", words.keywords):  # to sqlglot the name of a table
        raise Unread(words.text)
    facts = words.facts
    tree = tree_of(words.text, facts)
    nodes: list[Any] = list(tree.find_all(exp.Update, exp.Delete, exp.Insert, bfs=False))
    for node in sorted(nodes, key=lambda node: node.find_ancestor(exp.CTE) is None):
        overwrites = _overwrites(node)
        verb = "REPLACE" if overwrites else node.key.upper()
        for each in _targets(node):
            if not isinstance(each, exp.Table):
                raise Unread(words.text)
            columns = tuple(name_of(column.this, facts) for column in _assigned(node)) if verb == "UPDATE" else ()
            given = isinstance(node.args.get("expression"), exp.Values)
            bounded = _is_bounded(node, overwrites)
            copy = {} if overwrites else _copy(node, facts)
            yield ChangeRowsOp(verb, *table_of(each, facts), bounded, columns, given, text=words.text, **copy)
    if not nodes:
        if not isinstance(tree, exp.Query):
            raise Unread(words.text)
        yield CommandOp("SELECT", text=words.text)


def _copy(node: Any, facts: Facts) -> dict[str, Any]:
    """Return the fields ``source`` and ``copied`` of an INSERT that copies all rows of one table, or {}."""
    rows = node.args.get("expression")
    if not isinstance(rows, exp.Select) or not _given(node) <= {"this", "expression"}:
        return {}
    if not _given(rows) <= {"expressions", "from_", "order"} or "from_" not in _given(rows):
        return {}
    table = rows.args["from_"].this
    if not isinstance(table, exp.Table) or not _given(table) <= {"this", "db", "alias"}:
        return {}
    name, schema = table_of(table, facts)
    listed = [name_of(each, facts) for each in node.this.expressions] if isinstance(node.this, exp.Schema) else None
    used = [{name_of(each.this, facts) for each in value.find_all(exp.Column)} for value in rows.expressions]
    if rows.is_star:
        copied = None if listed is None else frozenset(listed)
    elif listed is None:
        copied = frozenset().union(*used)
    else:
        copied = frozenset(each for each, names in zip(listed, used, strict=False) if each in names)
    return {"source": (schema, name), "copied": copied}


def _given(node: Any) -> set[str]:
    return {name for name, value in node.args.items() if value}


def _overwrites(node: Any) -> bool:
    """Return True if the node is an INSERT with OR REPLACE, ON CONFLICT DO UPDATE or ON DUPLICATE KEY UPDATE."""
    conflict = node.args.get("conflict")
    return node.args.get("alternative") == "REPLACE" or bool(conflict and conflict.expressions)


def _targets(node: Any) -> list[Any]:
    """Return the nodes of the tables whose rows the statement changes; for an alias, the node of its table."""
    if isinstance(node, exp.Insert):
        return [node.this.this if isinstance(node.this, exp.Schema) else node.this]
    if not isinstance(node.this, exp.Table):
        return [node.this]
    named = _joined(node.this)
    using = [each for root in node.args.get("using") or () for each in _joined(root)]
    real = {each.alias_or_name: each for each in [*using, *named] if isinstance(each, exp.Table) and each.this}
    if isinstance(node, exp.Delete):
        listed = node.args.get("tables") or (named if using else [node.this])
        return [real.get(each.name, each) for each in listed]
    changed = {id(found): found for column in _assigned(node) if (found := real.get(column.table))}
    return list(changed.values()) or [node.this]


def _assigned(update: Any) -> list[Any]:
    return [each.this for each in update.expressions if isinstance(each.this, exp.Column)]


def _joined(table: Any) -> list[Any]:
    return [table, *(join.this for join in table.args.get("joins") or ())]


def _is_bounded(node: Any, overwrites: bool) -> bool:
    if isinstance(node, exp.Insert):
        rows = node.expression
        if not (overwrites and isinstance(rows, exp.Select) and rows.find(exp.From)):
            return True
        where = rows.find(exp.Where)
        return bool(rows.find(exp.Limit) or (where and _selects(where.this)))
    if node.args.get("limit"):
        return True
    roots = [node.this, *(node.args.get("using") or ())]
    joins = [join for root in roots for join in root.args.get("joins") or () if not join.side]
    conditions = [join.args["on"] for join in joins if join.args.get("on")]
    if where := node.args.get("where"):
        conditions.append(where.this)
    return any(join.args.get("using") for join in joins) or any(map(_selects, conditions))


def _selects(condition: Any) -> bool:
    """Return False if the condition uses no column, or is true of each value, e.g. ``id = 1 OR 1 = 1``, else True.

    Return True for any condition with more than LONG nodes, because simplifying it takes too long.
    """
    if next(islice(condition.walk(), LONG, None), None) is not None:
        return True
    simplified = simplify(simplify(condition.copy()).transform(_plain))
    requests = simplified.find(exp.Column, exp.Table, exp.Anonymous)
    return requests is not None or simplified == exp.false() or simplified.name == "0"


def _plain(node: Any) -> Any:
    """Return true for a comparison of a value with itself, NOT and IS for IS NOT, and else the node."""
    if isinstance(node, exp.Is) and node.args.get("negate"):
        return exp.not_(exp.Is(this=node.this, expression=node.expression))
    return exp.true() if isinstance(node, SAME) and node.left == node.right else node
