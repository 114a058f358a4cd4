"""Types of columns, as SQLAlchemy's dialect has them."""

import inspect
import re
from typing import Any

from sqlalchemy.exc import ArgumentError
from sqlalchemy.types import ARRAY, NullType, TypeEngine

from ...adapters.dialects import dialect_of
from .ops import NamedType
from .words import Words

# Words that go on with a type; PRECISION stands behind DOUBLE, VARYING behind CHARACTER or BIT.
CONTINUES = ("PRECISION", "VARYING", "UNSIGNED", "SIGNED", "ZEROFILL")
SAME = (
    ("int", "integer", "int4", "serial", "serial4"),
    ("bigint", "int8", "bigserial", "serial8"),
    ("smallint", "int2", "smallserial", "serial2"),
    ("varchar", "character varying", "char varying"),
    ("char", "character", "bpchar"),
    ("boolean", "bool"),
    ("numeric", "decimal", "dec"),
    ("double precision", "double", "float8"),
    ("real", "float4"),
    ("bit varying", "varbit"),
    ("timestamp with time zone", "timestamptz"),
    ("timestamp without time zone", "timestamp"),
    ("time with time zone", "timetz"),
    ("time without time zone", "time"),
)
SERIAL = {"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"}


def read_type(words: Words) -> tuple[TypeEngine[Any], str]:
    """Read a type; also its name in lower case."""
    start = words.at
    word = words.next()
    name = word.text.lower()
    while words.take("."):
        name = words.next().text
    marks = set()
    arguments: list[str] = []
    dimensions = end = 0
    while not words.done:
        if (more := words.take_any(*CONTINUES)) in {"PRECISION", "VARYING"}:
            name += f" {more.lower()}"
        elif more:
            marks.add(more)
        elif words.follows("("):
            arguments = [part.text for part in words.group()]
        elif words.take("WITH", "TIME", "ZONE"):
            name += " with time zone"
        elif words.take("WITHOUT", "TIME", "ZONE"):
            name += " without time zone"
        elif words.follows("[") or words.follows("ARRAY"):
            end = end or words.at
            dimensions += 1
            words.next()
        elif not words.take("]") and not (dimensions and words.keyword().isdigit() and words.next()):
            break
    written = Words(words.source, words.words[start : end or words.at], words.facts).text
    found = _of_dialect(name, arguments, marks, words.facts.dialect, written)
    return (ARRAY(found, dimensions=dimensions) if dimensions else found), name


def _of_dialect(name: str, arguments: list[str], marks: set[str], dialect: str, written: str) -> TypeEngine[Any]:
    known: dict[str, Any] = dialect_of(dialect).ischema_names  # type: ignore[attr-defined]
    same = next((names for names in SAME if name in names), (name,))
    for candidate in (name, *same):
        kind = known.get(candidate) or known.get(candidate.upper())
        if kind is not None and kind is not NullType:
            return _made(kind, next((each for each in same if each in known), candidate), arguments, marks)
    return NamedType(written)


def _made(kind: Any, name: str, arguments: list[str], marks: set[str]) -> TypeEngine[Any]:
    """An instance, of what its class takes of the arguments."""
    takes = inspect.signature(kind.__init__).parameters
    values: list[Any] = [_value(argument) for argument in arguments]
    options = {
        option: True
        for option, is_so in {
            "timezone": "with time zone" in name,
            "varying": name == "bit varying",
            "unsigned": "UNSIGNED" in marks,
            "zerofill": "ZEROFILL" in marks,
        }.items()
        if is_so and (option in takes or "kw" in takes)
    }
    for fraction in ("fsp", "precision"):
        if values and fraction in takes and "timezone" in takes:
            options[fraction] = values.pop()
    try:
        made: TypeEngine[Any] = kind(*values, **options)
    except (TypeError, ValueError, ArgumentError):
        made = kind()
    return made


def _value(argument: str) -> Any:
    if re.fullmatch(r"\d+", argument):
        return int(argument)
    return argument[1:-1].replace(argument[0] * 2, argument[0]) if argument[:1] in "'\"" else argument
