"""ALTER TABLE clauses that restore a table's definition on MySQL or MariaDB, from its SHOW CREATE before and now.

SHOW CREATE TABLE returns a text with a line for each column, key and constraint, and then the options:

    CREATE TABLE `pet` (
      `id` int NOT NULL AUTO_INCREMENT,
      PRIMARY KEY (`id`),
      CONSTRAINT `fk_pet_owner` FOREIGN KEY (`owner`) REFERENCES `user` (`id`)
    ) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4
"""

import re
from dataclasses import dataclass

from .catalog import quoted

NAME = r"(`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\")"
COUNTER = re.compile(r" AUTO_INCREMENT=\d+")
FORMS = {
    "COLUMN": re.compile(NAME),
    "KEY": re.compile(rf"(?:UNIQUE |FULLTEXT |SPATIAL |VECTOR )?KEY {NAME}"),
    "PRIMARY KEY": re.compile(r"PRIMARY KEY()"),
    "FOREIGN KEY": re.compile(rf"CONSTRAINT {NAME} FOREIGN KEY"),
    "CONSTRAINT": re.compile(rf"CONSTRAINT {NAME} CHECK"),
}
CHARSET = re.compile(r" DEFAULT CHARSET=(\w+)")
FOREIGN_KEY = re.compile(rf",\n  CONSTRAINT {NAME} FOREIGN KEY [^\n]*?(?=,\n|\n\))")
NO_OPTION = {
    "COMMENT": "''",
    "ROW_FORMAT": "DEFAULT",
    "KEY_BLOCK_SIZE": "0",
    **dict.fromkeys(("STATS_PERSISTENT", "STATS_AUTO_RECALC", "STATS_SAMPLE_PAGES", "PACK_KEYS"), "DEFAULT"),
    **dict.fromkeys(("MAX_ROWS", "MIN_ROWS", "AVG_ROW_LENGTH", "CHECKSUM", "DELAY_KEY_WRITE"), "0"),
}
TYPE = r"\w+(?:\((?:'(?:[^'\\]|\\.|'')*'|[^')])*\))?"
# What a column's line requires of its values, outside strings and names. CHECK always comes last.
DEMAND = re.compile(r"( NOT NULL)\b|( AUTO_INCREMENT\b| CHECK \(.*)|'(?:[^'\\]|\\.|'')*'|`(?:[^`]|``)*`")
COLLATION = re.compile(r" COLLATE=(\w+)")
KEYS = ("KEY", "PRIMARY KEY")
SWAPPED = "COMMENT='_migration_swapped'"
"""The comment of a table whose columns had swapped names: these are restored, the rest of its definition is not yet."""

Part = tuple[str, str]


@dataclass
class Definition:
    """The parts of a SHOW CREATE TABLE.

    ``lines`` has the line of each column, key and constraint in order, by kind and name, e.g. ``("COLUMN", "id")``;
    names of columns are in lower case.
    """

    lines: dict[Part, str]
    options: str
    partitions: str

    @classmethod
    def read(cls, text: str) -> "Definition":
        """Return the parts of a SHOW CREATE TABLE.

        A line that matches none of FORMS has the kind OTHER, and the whole line as its name.
        """
        _, _, rest = text.partition("(\n")
        body, _, tail = rest.rpartition("\n) ") if "\n) " in rest else rest.rpartition("\n)")
        options, _, partitions = tail.partition("\n")
        lines = {}
        for line in body.split(",\n  "):
            line = line.strip()
            found = ((kind, _unquoted(match[1])) for kind, form in FORMS.items() if (match := form.match(line)))
            kind, name = next(found, ("OTHER", line))
            lines[kind, name.lower() if kind == "COLUMN" else name] = line
        return cls(lines, options, partitions.strip())

    def column_definition(self, column: str) -> str:
        """Return the definition of a column to write in ALTER TABLE, so that SHOW CREATE TABLE is the same again.

        The collation is left out if it is the table's: else MySQL would show the column's character set beside it.
        """
        line = self.lines["COLUMN", column]
        own = COLLATION.search(self.options)
        return re.sub(rf"^({NAME} {TYPE}) COLLATE {own[1]}\b", r"\1", line) if own else line

    def of(self, *kinds: str) -> list[Part]:
        """Return kind and name of each part of these kinds, in their order: ``[("KEY", "ix_pet_name")]``."""
        return [part for part in self.lines if part[0] in kinds]

    @property
    def key(self) -> list[str]:
        """Return the columns of the primary key; an empty list if there is none.

        The list is also empty if the key has only a prefix of a column: a copy of the rows cannot have such a key.
        """
        line = self.lines.get(("PRIMARY KEY", ""), "")
        if re.search(rf"{NAME}\(\d+\)", line):
            return []
        return [_unquoted(match[0]).lower() for match in re.finditer(NAME, line)]

    @property
    def charset(self) -> str:
        """Return the table's character set, which columns have that do not name one; empty if it shows none."""
        found = CHARSET.search(self.options)
        return found[1] if found else ""


def without_counter(text: str) -> str:
    """Return the SHOW CREATE TABLE ``text`` without AUTO_INCREMENT=..., which changes with each new row."""
    return COUNTER.sub("", text, count=1)


def without_foreign_keys(text: str) -> str:
    """Return the SHOW CREATE TABLE ``text`` without its foreign keys."""
    return FOREIGN_KEY.sub("", text)


def with_nullable(text: str, now: str, columns: set[str]) -> str:
    """Return the SHOW CREATE TABLE ``text`` with ``columns`` nullable, so that they can be added before their values.

    The AUTO_INCREMENT of ``columns`` is left out. So are generated columns, and the keys and CHECKs on these or on
    ``columns``, unless ``now``, the present SHOW CREATE TABLE, has the same line already.
    """
    old, new = Definition.read(text), Definition.read(now)
    back = {part: line for part, line in old.lines.items() if new.lines.get(part) != line and part[0] != "FOREIGN KEY"}
    generated = {name for (kind, name), line in back.items() if kind == "COLUMN" and "GENERATED ALWAYS" in line}

    def is_left_out(part: Part) -> bool:
        if part[0] == "COLUMN":
            return part[1] in generated
        return any(quoted(name) in back.get(part, "").lower() for name in columns | generated)

    lines = [
        DEMAND.sub(_undemanding, line) if part[0] == "COLUMN" and part[1] in columns else line
        for part, line in old.lines.items()
        if not is_left_out(part)
    ]
    return f"{text.partition('(')[0]}(\n  " + ",\n  ".join(lines) + f"\n) {old.options}\n{old.partitions}".rstrip()


def _undemanding(match: re.Match[str]) -> str:
    return " NULL" if match[1] else "" if match[2] else match[0]


def revert_clauses(now: str, before: str, renamed: dict[str, str], foreign_keys: bool = False) -> list[str]:
    """Return what follows ALTER TABLE and the name in the statements that give a table its definition ``before`` again.

    ``now`` and ``before`` are SHOW CREATE TABLE texts; ``renamed`` has the earlier name of each renamed column, by its
    name in ``now``. If columns swapped names, the clauses only drop foreign keys and CHECKs that differ, rename the
    columns and set the table's comment to SWAPPED; call this again, with the new ``now``, for all other differences.
    One ALTER TABLE could do both, but MariaDB 10.11.19 crashes if it also adds a FULLTEXT index to such a column.

    Foreign keys are added only if ``foreign_keys`` is set. Foreign keys and CHECKs are dropped and added in separate
    statements, because the servers cannot drop and add the same name in one. Differences that ALTER TABLE cannot
    revert remain.
    """
    new, old = Definition.read(now), Definition.read(before)
    renamed = {
        name: former
        for name, former in renamed.items()
        if SWAPPED not in new.options
        and ("COLUMN", name) in new.lines
        and ("COLUMN", former) in old.lines
        and (("COLUMN", former) not in new.lines or former in renamed)
    }
    constraints = ("FOREIGN KEY", "CONSTRAINT")
    moved = _moved(new, old, "CONSTRAINT")
    first = [
        f"DROP {part[0]} {quoted(part[1])}" for part in new.of(*constraints) if part in moved or _differ(new, old, part)
    ]
    if any(("COLUMN", former) in new.lines for former in renamed.values()):
        swaps = [f"RENAME COLUMN {quoted(name)} TO {quoted(former)}" for name, former in renamed.items()]
        return [turn for turn in (", ".join(first), ", ".join([*swaps, SWAPPED])) if turn]
    added = [part for part in old.of("FOREIGN KEY") if foreign_keys and _differ(new, old, part)]
    last = [f"ADD {old.lines[part]}" for part in [*added, *moved]]
    middle = [*_drop_keys(new, old), *_columns(new, old, renamed)]
    middle += [f"ADD {old.lines[key]}" for key in _moved(new, old, *KEYS)]
    if without_counter(new.options) != without_counter(old.options):
        gone = [f"{name}={none}" for name, none in NO_OPTION.items() if f" {name}=" in new.options]
        gone = [option for option in gone if f" {option.partition('=')[0]}=" not in old.options]
        middle.append(" ".join([*gone, old.options]).strip())
    elif new.options != old.options and (counter := COUNTER.search(old.options)):
        middle.append(counter[0].strip())
    turns = [", ".join(first), ", ".join(middle), ", ".join(last)]
    if new.partitions != old.partitions:
        turns.insert(2, old.partitions or "REMOVE PARTITIONING")
    return [turn for turn in turns if turn]


def _differ(new: Definition, old: Definition, part: Part) -> bool:
    return new.lines.get(part) != old.lines.get(part)


def _moved(new: Definition, old: Definition, *kinds: str) -> list[Part]:
    """Return the keys or constraints to add: the first that is missing or differs, and all that follow it in ``old``.

    Those that follow are dropped and added again, because ALTER TABLE adds each as the last one.
    """
    parts = old.of(*kinds)
    kept = [part for part in new.of(*kinds) if not _differ(new, old, part)]
    same = next((at for at, (a, b) in enumerate(zip(parts, kept, strict=False)) if a != b), min(len(parts), len(kept)))
    return parts[same:]


def _drop_keys(new: Definition, old: Definition) -> list[str]:
    back = set(_moved(new, old, *KEYS))
    keys = [key for key in new.of(*KEYS) if key in back or key not in old.lines]
    return [f"DROP {kind} {quoted(name) if name else ''}".rstrip() for kind, name in keys]


def _columns(new: Definition, old: Definition, renamed: dict[str, str]) -> list[str]:
    """Return the clauses that drop, add and change columns until all are as before, in their old order."""
    wanted = [name for _, name in old.of("COLUMN")]
    current = {renamed.get(name, name): name for _, name in new.of("COLUMN")}
    computed = {
        name
        for name in set(current) & set(wanted)
        if "GENERATED ALWAYS" in new.lines["COLUMN", current[name]] + old.lines["COLUMN", name]
        and new.lines["COLUMN", current[name]] != old.lines["COLUMN", name]
    }
    clauses = [
        f"DROP COLUMN {quoted(name)}" for former, name in current.items() if former not in wanted or former in computed
    ]
    order = [name for name in current if name in wanted and name not in computed]
    for at, name in enumerate(wanted):
        line = old.column_definition(name)
        place = f"AFTER {quoted(wanted[at - 1])}" if at else "FIRST"
        if name not in order:
            clauses.append(f"ADD COLUMN {line} {place}")
        elif order[at] != name or new.lines["COLUMN", current[name]] != old.lines["COLUMN", name]:
            clauses.append(f"CHANGE COLUMN {quoted(current[name])} {line} {place}")
        order = [*order[:at], name, *(other for other in order[at:] if other != name)]
    return clauses


def _unquoted(name: str) -> str:
    return name[1:-1].replace(name[:1] * 2, name[:1])
