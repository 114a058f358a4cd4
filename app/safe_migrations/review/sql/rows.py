"""Statements that change rows, wherever in a statement they stand: sqlglot tells which tables, and which rows."""

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

from .ops import ChangeRowsOp, CommandOp
from .tables import names
from .words import Unreadable, Words

# Words behind the verb that change nothing of what is asked here.
MODIFIERS = ("LOW_PRIORITY", "QUICK", "IGNORE")
# Nodes of a condition: what sqlglot takes to simplify one grows with their square, to a second at a thousand.
LONG = 200


def truncate(words: Words) -> Iterator[ChangeRowsOp]:
    """TRUNCATE of one or several tables."""
    words.take("TABLE")
    words.take("ONLY")
    cascade = words.has("CASCADE")
    for name, schema in names(words):
        yield ChangeRowsOp("TRUNCATE", name, schema, bounded=False, cascade=cascade, text=words.text)


def gives_rows(words: Words) -> bool:
    """Whether it is an INSERT INTO ... VALUES: what stands behind need not be read to know what it does."""
    ahead = Words(words.source, words.words, words.facts, 1)
    if ahead.take("OR"):
        ahead.take_any("IGNORE", "REPLACE", "ABORT", "FAIL", "ROLLBACK")
    while ahead.take_any(*MODIFIERS):
        pass
    try:
        if not ahead.take("INTO"):
            return False
        ahead.qualified()
        if ahead.follows("("):
            ahead.skip_group()
    except Unreadable:
        return False
    return ahead.follows("VALUES")


def insert(words: Words, verb: str) -> Iterator[ChangeRowsOp]:
    """INSERT or REPLACE that sqlglot does not read: the rows are given."""
    if words.follows("INSERT", "OR", "REPLACE") or words.has("DO", "UPDATE") or words.has("KEY", "UPDATE"):
        verb = "REPLACE"
    while not words.done and not words.take("INTO"):
        words.next()
    target, given = words.qualified(), words.has("VALUES")
    reads_all = not given and words.has("FROM") and not (words.has("WHERE") or words.has("LIMIT"))
    yield ChangeRowsOp(verb, *target, bounded=not (verb == "REPLACE" and reads_all), given=given, text=words.text)


def change_rows(words: Words) -> list[ChangeRowsOp | CommandOp]:
    """Each change in a statement, those of its CTEs first; a SELECT that has none. Raises Unreadable.

    Sqlglot raises RecursionError for some dozens of parentheses, and anything for what it does not expect.
    """
    try:
        return list(_changes(words))
    except Exception as error:
        raise Unreadable(words.text) from error


def _changes(words: Words) -> Iterator[ChangeRowsOp | CommandOp]:
    from sqlglot import exp, parse_one

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    tree = parse_one(_plain(words), read=words.facts.grammar)
    changes = tree.find_all(exp.Update, exp.Delete, exp.Insert, exp.Merge, bfs=False)
    found: list[Any] = [node for node in changes if not isinstance(node.parent, exp.When)]
    for node in sorted(found, key=lambda node: node.find_ancestor(exp.CTE) is None):
        verb = "REPLACE" if _overwrites(node) else node.key.upper()
        for table in _targets(node):
            if not isinstance(table, exp.Table):
                raise Unreadable(words.text)
            columns = tuple(column.name for column in _assigned(node)) if verb == "UPDATE" else ()
            given = isinstance(node.args.get("expression"), exp.Values)
            yield ChangeRowsOp(verb, *_named(table, words), _is_bounded(node), columns, given, text=words.text)
    if not found:
        if not isinstance(tree, exp.Query):
            raise Unreadable(words.text)
        yield CommandOp("SELECT", text=words.text)


def _overwrites(node: Any) -> bool:
    """INSERT OR REPLACE, ON CONFLICT DO UPDATE, ON DUPLICATE KEY UPDATE."""
    conflict = node.args.get("conflict")
    return node.args.get("alternative") == "REPLACE" or bool(conflict and conflict.expressions)


def _plain(words: Words) -> str:
    """Without what sqlglot does not know and nobody asks for: UPDATE OR IGNORE a, DELETE QUICK FROM a."""
    head, rest = words.words[0], Words(words.source, words.words, words.facts, 1)
    if head.keyword not in {"UPDATE", "DELETE"}:
        return words.text
    if rest.take("OR"):
        rest.next()
    while rest.take_any(*MODIFIERS):
        pass
    return f"{head.text} {rest.rest}"


def _named(table: Any, words: Words) -> tuple[str, str | None]:
    folds = words.facts.folds_names
    parts = [part.this.lower() if folds and not part.args.get("quoted") else part.this for part in table.parts]
    schema = parts[-2] if len(parts) > 1 else None
    return parts[-1], None if schema == words.facts.default_schema else schema


def _targets(node: Any) -> list[Any]:
    """The tables whose rows change; an alias is not one of them."""
    from sqlglot import exp

    if isinstance(node, (exp.Insert, exp.Merge)):
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
    from sqlglot import exp

    return [each.this for each in update.expressions if isinstance(each.this, exp.Column)]


def _joined(table: Any) -> list[Any]:
    return [table, *(join.this for join in table.args.get("joins") or ())]


def _is_bounded(node: Any) -> bool:
    from sqlglot import exp

    if isinstance(node, exp.Insert):
        rows = node.expression
        if not (_overwrites(node) and isinstance(rows, exp.Select) and rows.find(exp.From)):
            return True
        where = rows.find(exp.Where)
        return bool(rows.find(exp.Limit) or (where and _chooses(where.this)))
    if isinstance(node, exp.Merge):
        return not any(_takes_all(when, node.args["on"]) for when in node.args["whens"].expressions)
    if node.args.get("limit"):
        return True
    roots = [node.this, *(node.args.get("using") or ())]
    joins = [join for root in roots for join in root.args.get("joins") or () if not join.side]
    conditions = [join.args["on"] for join in joins if join.args.get("on")]
    if where := node.args.get("where"):
        conditions.append(where.this)
    return any(join.args.get("using") for join in joins) or any(map(_chooses, conditions))


def _takes_all(when: Any, on: Any) -> bool:
    """Whether this part of a MERGE changes all rows: those without a partner, or with one where ON is always true."""
    condition = when.args.get("condition")
    if when.args["then"].name == "DO NOTHING" or (condition and _chooses(condition)):
        return False
    return bool(when.args.get("source") or (when.args.get("matched") and not _chooses(on)))


def _chooses(condition: Any) -> bool:
    """Whether it is not the same for all rows, or is never true; of a long one nobody asks, for that takes too long."""
    from sqlglot import exp
    from sqlglot.optimizer.simplify import simplify

    if next(islice(condition.walk(), LONG, None), None) is not None:
        return True
    simplified = simplify(condition.copy())
    asks = simplified.find(exp.Column, exp.Query, exp.Anonymous, exp.Exists)
    return asks is not None or simplified == exp.false() or simplified.name == "0"
