"""The texts of tables and indexes, which SQLite keeps as they were typed: cut into parts, and what they say."""

import re
from collections.abc import Callable

TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|('(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|[^\w\s])", re.DOTALL
)
SAID_OF_TABLES = {"AUTOINCREMENT", "CONFLICT", "DEFERRABLE", "DEFERRED", "STRICT", "ROWID", "VIRTUAL"}
CONSTRAINTS = {"CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN"}
KEYWORDS = {*SAID_OF_TABLES, *CONSTRAINTS, "COLLATE", "AS"}
# What a CREATE TABLE can say and SQLAlchemy does not read, or reads in part.
FEATURES = {
    "AUTOINCREMENT": r"\bAUTOINCREMENT\b",
    "COLLATE": r"\bCOLLATE\b",
    "a CHECK constraint": r"\bCHECK\s*\(",
    "a generated column": r"\bAS\s*\((?!\s*SELECT\b)",
    "ON DELETE": r"\bON\s+DELETE\b",
    "ON UPDATE": r"\bON\s+UPDATE\b",
    "ON CONFLICT": r"\bON\s+CONFLICT\b",
    "DEFERRABLE": r"\bDEFERRABLE\b",
    "STRICT": r"\)[^)]*\bSTRICT\b[^)]*$",
    "WITHOUT ROWID": r"\)[^)]*\bWITHOUT\s+ROWID\b[^)]*$",
}

# What SQLAlchemy reflects completely: tables and indexes as it writes them, with a space between all parts.
NAME = r"(?:\"[^\"]+\"|\w+)"
NAMES = rf"\( {NAME}(?: , {NAME})* \)"
COLUMN = (
    rf"{NAME} (?!(?:NOT|NULL|DEFAULT|PRIMARY|UNIQUE|REFERENCES)\b)[A-Z]\w*(?: PRECISION)?(?: \( \d+(?: , \d+)? \))?"
    r"(?: DEFAULT (?:'[^']*'|-?[\d.]+|CURRENT_\w+))?(?: NOT NULL)?(?: PRIMARY KEY)?"
)
REFERENCE = rf"FOREIGN KEY {NAMES} REFERENCES {NAME} {NAMES}"
OPTIONS = r"(?: ON (?:DELETE|UPDATE) (?:CASCADE|RESTRICT|SET NULL|SET DEFAULT|NO ACTION))*"  # read if it is named
KEY = rf"(?:CONSTRAINT {NAME} )?(?:PRIMARY KEY|UNIQUE) {NAMES}"
ITEM = rf"(?:{KEY}|CONSTRAINT {NAME} {REFERENCE}{OPTIONS}|{REFERENCE}|{COLUMN})"
READ_WHOLE = re.compile(
    rf"CREATE (?:TABLE {NAME} \( {ITEM}(?: , {ITEM})* \)|(?:UNIQUE )?INDEX {NAME} ON {NAME} {NAMES})", re.IGNORECASE
)


def is_read_whole(sql: str) -> bool:
    """Return True if SQLAlchemy certainly reflects everything in the statement; it may do so for others too."""
    return "--" not in sql and "/*" not in sql and READ_WHOLE.fullmatch(" ".join(parts_of(sql))) is not None


def bracketed(parts: list[str], start: int) -> str:
    """From the parenthesis at ``start`` to the one that closes it, as typed: what stands in quotes may be text."""
    depth = 0
    for at in range(start, len(parts)):
        depth += (parts[at] == "(") - (parts[at] == ")")
        if not depth:
            return " ".join(parts[start : at + 1])
    return " ".join(parts[start:])


def parts_of(sql: str) -> list[str]:
    """Names, words, strings and signs, without white space and comments."""
    return [part for part in TOKEN.findall(sql) if part]


def tokens_of(parts: list[str]) -> list[str]:
    """All but strings in upper case, and names without quotes if they need none."""
    found = []
    for part in parts:
        bare = part[1:-1].upper() if part[0] in '"`[' else part.upper()
        found.append(part if part[0] == "'" else f'"{bare}"' if part[0] in '"`[' and bare in KEYWORDS else bare)
    return found


def items_of(parts: list[str]) -> tuple[list[str], list[list[str]], list[str]]:
    """The parts before the columns and constraints of a CREATE TABLE, those of each, and those behind."""
    if "(" not in parts:
        return parts, [], []
    start, end = parts.index("(") + 1, len(parts) - parts[::-1].index(")") - 1
    items: list[list[str]] = [[]]
    depth = 0
    for part in parts[start:end]:
        depth += (part == "(") - (part == ")")
        if part == "," and not depth:
            items.append([])
        else:
            items[-1].append(part)
    return parts[:start], items, parts[end:]


def unquoted(name: str) -> str:
    """A name in lower case, as SQLite compares names."""
    return (name[1:-1].replace(name[-1] * 2, name[-1]) if name[:1] in ('"', "`", "[") else name).lower()


def name_of(item: list[str]) -> str:
    """The name of a column, or of a constraint if it has one."""
    is_constraint = item[0].upper() == "CONSTRAINT"
    return unquoted(item[1] if is_constraint else item[0])


def said_of_columns(parts: list[str]) -> dict[str, list[str]]:
    """Collation and expression of each column that has one, by its name in lower case."""
    found: dict[str, list[str]] = {}
    for item in filter(None, items_of(parts)[1]):
        tokens = tokens_of(item)
        if tokens[0] in CONSTRAINTS:
            continue
        for at, token in enumerate(tokens):
            if token == "COLLATE":
                found.setdefault(name_of(item), []).append(f"COLLATE {tokens[at + 1]}")
            elif token == "AS" and tokens[at + 1 : at + 2] == ["("]:
                found.setdefault(name_of(item), []).append(f"AS {bracketed(item, at + 1)}")
    return found


def generated_as(sql: str) -> dict[str, str]:
    """Return the expressions of generated columns, as typed, by column name in lower case.

    SQLAlchemy's own pattern misses AS without GENERATED ALWAYS, and reads too much if the line goes on.
    """
    found: dict[str, str] = {}
    depth, start, column, before = 0, -1, "", ""
    for match in TOKEN.finditer(sql):
        part = match[1]
        if not part:  # a comment
            continue
        if part == "(":
            depth += 1
            start = match.end() if depth == 2 and before.upper() == "AS" else start
        elif part == ")":
            depth -= 1
            if depth == 1 and start >= 0:
                found[column], start = sql[start : match.start()], -1
        elif depth == 1 and before in ("(", ","):
            column = unquoted(part)
        before = part
    return found


def lost(old: str, new: str, kept: set[str], read: set[str]) -> list[str]:
    """The FEATURES that ``old`` has more often than ``new``, but for what goes with columns that are not ``kept``, and
    for constraints that were ``read`` whole, by their names in lower case: if these say less now, it is on purpose.
    """

    def is_read(item: list[str]) -> bool:
        return item[0].upper() == "CONSTRAINT" and name_of(item) in read

    now = " ".join(_without(parts_of(new), is_read))
    before = " ".join(_without(_without_what_goes(parts_of(old), parts_of(new), kept), is_read))
    return [name for name in FEATURES if count(name, now) < count(name, before)]


def count(feature: str, text: str) -> int:
    """How often a CREATE TABLE says one of FEATURES; not in strings."""
    return len(re.findall(FEATURES[feature], " ".join(_blank(part) for part in parts_of(text)), re.IGNORECASE))


def _blank(part: str) -> str:
    return "''" if part[0] == "'" else part


def _without_what_goes(old: list[str], new: list[str], kept: set[str]) -> list[str]:
    """``old`` without columns that are not ``kept``, their foreign keys, and constraints that ``new`` does not name.

    Those were dropped on purpose: SQLAlchemy reads every column and every constraint that has a name.
    """
    names = kept | {name_of(item) for item in items_of(new)[1] if item[0].upper() == "CONSTRAINT"}

    def goes(item: list[str]) -> bool:
        tokens = tokens_of(item)
        if tokens[:2] == ["FOREIGN", "KEY"]:
            return not all(unquoted(part) in kept for part in item[3 : tokens.index(")")] if part != ",")
        return tokens[0] not in ("CHECK", "UNIQUE", "PRIMARY") and name_of(item) not in names

    return _without(old, goes)


def _without(parts: list[str], goes: Callable[[list[str]], bool]) -> list[str]:
    """A CREATE TABLE without the columns and constraints of which ``goes`` is true."""
    head, items, tail = items_of(parts)
    staying = [part for item in items if item and not goes(item) for part in (",", *item)][1:]
    return [*head, *staying, *tail]


def type_of(kind: str) -> str:
    """A type as SQLAlchemy writes it: ``NUMERIC(10, 2)``; INT has the same affinity as INTEGER."""
    kind = re.sub(r"\s*,\s*", ", ", kind.upper())
    return "INTEGER" if kind == "INT" else kind


def inner_of(default: str) -> str:
    """A default without the parentheses that may stand around it."""
    while default.startswith("(") and default.endswith(")"):
        default = default[1:-1]
    return default


def plain(text: str) -> str:
    """A statement without quotes, spaces and case."""
    return re.sub(r"[\s\"`\[\]]|IF NOT EXISTS", "", text).lower()


def blunt(text: str) -> str:
    """An index as SQLAlchemy reads it."""
    return re.sub(r"\s+(?:DESC|ASC|COLLATE\s+\w+)\b", "", text, flags=re.IGNORECASE)
