"""The conversion of column types in sqlglot's trees into SQLAlchemy's types."""

import inspect
import re
from typing import Any

from sqlalchemy.exc import ArgumentError
from sqlalchemy.types import ARRAY, NullType, TypeEngine
from sqlglot import exp

from ...adapters.dialects import dialect_of
from ...adapters.facts import Facts
from .ops import NamedType

# What the dialects call sqlglot's types, where they use another name.
NAMES = {
    "int": ("integer",),
    "varchar": ("character varying", "varchar"),
    "char": ("character", "char"),
    "bpchar": ("character",),
    "decimal": ("numeric",),
    "double": ("double precision", "double"),
    "float": ("real", "float"),
    "varbinary": ("bytea", "varbinary", "blob"),
    "timestamptz": ("timestamp with time zone", "timestamp"),
    "timetz": ("time with time zone",),
    "serial": ("integer",),
    "bigserial": ("bigint",),
    "smallserial": ("smallint",),
}


def type_of(node: Any, facts: Facts) -> TypeEngine[Any]:
    """Return SQLAlchemy's type for a type in sqlglot's tree; a NamedType if the dialect has no type of that name."""
    dimensions = 0
    while node.this == exp.DType.ARRAY:
        dimensions, node = dimensions + 1, node.expressions[0]
    written = node.sql(dialect=facts.grammar)
    name = (node.this.name if isinstance(node.this, exp.DType) else written).lower()
    if name == "userdefined":
        name = written.partition("(")[0].lower()
    unsigned = re.fullmatch(r"u(\w*int|decimal|double)", name)
    name = unsigned[1] if unsigned else name
    known: dict[str, Any] = dialect_of(facts.dialect).ischema_names  # type: ignore[attr-defined]
    kinds = {each: known.get(each) or known.get(each.upper()) for each in NAMES.get(name, (name,))}
    name, kind = next(((each, kind) for each, kind in kinds.items() if kind not in (None, NullType)), (name, None))
    options = ({"timezone": True} if "with time zone" in name else {}) | ({"unsigned": True} if unsigned else {})
    made = NamedType(written) if kind is None else _made(kind, [_value(each) for each in node.expressions], options)
    return ARRAY(made, dimensions=dimensions) if dimensions else made


def _made(kind: Any, values: list[Any], options: dict[str, Any]) -> TypeEngine[Any]:
    """Return an instance of the class ``kind`` with the given arguments; without any if the class rejects them."""
    takes = inspect.signature(kind.__init__).parameters
    for fraction in ("fsp", "precision"):
        if values and fraction in takes and "timezone" in takes:
            options[fraction] = values.pop()
    try:
        made: TypeEngine[Any] = kind(*values, **options)
    except (TypeError, ValueError, ArgumentError):
        made = kind()
    return made


def _value(node: Any) -> Any:
    node = node.this if node.key == "datatypeparam" else node
    return int(node.name) if node.is_int else node.name
