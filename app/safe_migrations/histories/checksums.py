"""Checksums of revision scripts, which change with what a script runs, but not with its comments and metadata."""

import ast
from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby

METADATA = {"revision", "down_revision", "depends_on", "branch_labels", "safety_assured", "requires", "replaces"}
"""The variables of a script that do not change what it runs: `rebase`, or a later acknowledgement, edits them."""

LEFT_OUT = {"lineno", "col_offset", "end_lineno", "end_col_offset", "ctx", "kind"}
"""Fields of a node without effect: its place, whether a name is read or assigned (as its parent says), u of u"text"."""

NOTHING = (ast.Pass, ast.Expr)


def digest(source: bytes) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of ``source``."""
    return sha256(source).hexdigest()[:32]


def checksum(source: bytes) -> str:
    """Return the digest of the script's syntax tree, without docstrings, METADATA and statements that do nothing.

    It is the same for all versions of Python that the package supports, unlike that of ast.dump() or ast.unparse().
    Raise SyntaxError if ``source`` is not Python.
    """
    tree = ast.parse(source)
    tree.body = [statement for statement in tree.body if not _is_metadata(statement)]
    return digest("\n".join(_words(tree)).encode())


def _is_metadata(statement: ast.stmt) -> bool:
    names = assigned_names(statement)
    return bool(names) and names <= METADATA


def assigned_names(statement: ast.stmt) -> set[str]:
    """Return the variables to which ``statement`` assigns; an empty text for any other target."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return set()
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return {getattr(target, "id", "") for target in targets}


def _words(tree: ast.AST) -> Iterator[str]:
    """Yield the tree as text: the class of each node with the names of its fields, then their values.

    Empty fields are left out, because newer versions of Python add more of them; so are those in LEFT_OUT. Use ascii(),
    because the output of repr() depends on Python's version of Unicode.
    """
    left: list[object] = [tree]
    while left:
        each = left.pop()
        if isinstance(each, ast.AST):
            if isinstance(each, ast.JoinedStr):
                each.values = _joined(each.values)
            words, values = type(each).__name__, []
            for name, value in vars(each).items():
                if isinstance(value, list):
                    value = [item for item in value if not isinstance(item, NOTHING) or not _does_nothing(item)]
                if name not in LEFT_OUT and value is not None and value != []:
                    words += f" {name}"
                    values.append(value)
            yield words
            left += values[::-1]
        elif isinstance(each, list):
            yield f"[{len(each)}]"
            left += each[::-1]
        else:
            yield ascii(each)


def _does_nothing(item: ast.Pass | ast.Expr) -> bool:
    """Return True for a statement that does nothing, such as a docstring."""
    return isinstance(item, ast.Pass) or isinstance(item.value, ast.Constant)


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string, with neighbouring texts as one: versions of Python split them differently."""
    found: list[ast.expr] = []
    for is_text, parts in groupby(values, lambda value: isinstance(value, ast.Constant)):
        if is_text:
            text = "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
            found += [ast.Constant(text)] if text else []
        else:
            found += parts
    return found
