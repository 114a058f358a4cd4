"""Patterns that translate SQL statements and parts of ALTER TABLE without sqlglot's parser.

They are for SQL that sqlglot cannot parse, and for SQL whose first words say all that the rules need. A pattern is a
regular expression over the keywords of a statement (`Words.keywords`), in which ``{name}`` stands for a name. It has to
match the whole statement, because a word that the pattern does not expect may change the meaning.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from ...adapters.sql_words import Words
from .ops import LOSES_DATA, CommandOp
from .trees import Unread

Table = tuple[str | None, str | None]
"""The name of a table and its schema; None if unknown, or for the default schema."""

NAME = r"[\w$]*(?: \. [\w$]*)*"
# The kinds of objects that CREATE, ALTER and DROP name, besides tables and indexes. Longer ones come first.
KINDS = (
    "FOREIGN TABLE|MATERIALIZED VIEW|EVENT TRIGGER|OWNED BY|DEFAULT PRIVILEGES|VIEW|SEQUENCE|TRIGGER|FUNCTION|PROCEDURE"
    "|AGGREGATE|EVENT|TYPE|DOMAIN|SCHEMA|DATABASE|EXTENSION|POLICY|RULE|ROLE|USER|SERVER|TABLESPACE|COLLATION|CAST"
    "|OPERATOR|PUBLICATION|SUBSCRIPTION|STATISTICS"
)
# CREATE OR REPLACE ALGORITHM = x DEFINER = a @ b SQL SECURITY DEFINER VIEW
CREATE = r"CREATE (?:\S* ){0,14}?"

# Statements, and what they are called in a CommandOp: by default their words.
STATEMENTS: Mapping[str, str] = {
    r"BEGIN NOT ATOMIC .*": "BEGIN NOT ATOMIC",
    r"(?:BEGIN|START TRANSACTION)(?: .*)?": "BEGIN",
    r"(?P<words>COMMIT PREPARED|ROLLBACK PREPARED|PREPARE TRANSACTION|XA)(?: .*)?": "",
    r"(?:COMMIT|END)(?: .*)?": "COMMIT",
    r"ROLLBACK(?: \w+)? TO .*": "ROLLBACK TO",
    r"(?:ROLLBACK|ABORT)(?: .*)?": "ROLLBACK",
    r"SET .*\bAUTOCOMMIT\b.*": "SET AUTOCOMMIT",
    r"LOCK(?: TABLES?)? (?P<tables>.*)": "LOCK TABLE",
    r"VACUUM (?:FULL|\( .*?\bFULL\b.*?\))(?: (?:VERBOSE|ANALYZE|FREEZE))*(?: (?P<tables>.*))?": "VACUUM FULL",
    r"(?P<words>VACUUM|CLUSTER)(?: \( .*? \))?(?: (?:VERBOSE|ANALYZE|FREEZE))*(?: (?P<tables>.*))?": "",
    r"(?P<words>OPTIMIZE|REPAIR)(?: LOCAL| NO_WRITE_TO_BINLOG)? TABLE (?P<tables>.*)": r"\g<words> TABLE",
    r"REINDEX(?: \( .*? \))? TABLE(?: CONCURRENTLY)? {table}": "REINDEX",
    r"REINDEX(?: \( .*? \))?(?: TABLE| INDEX| SCHEMA| DATABASE| SYSTEM)?(?: CONCURRENTLY)? {name}": "REINDEX",
    r"COPY (?:.* )?(?:FROM|TO) PROGRAM (?: .*)?": "COPY PROGRAM",  # a string follows
    rf"PRAGMA (?:{NAME} \. )?{{name}}": "PRAGMA",
    rf"PRAGMA (?:{NAME} \. )?"
    r"(?P<name>(?:TABLE|INDEX|FOREIGN_KEY|DATABASE|FUNCTION|INTEGRITY|QUICK|COLLATION)_\w+) \( .*": "PRAGMA",
    rf"PRAGMA (?:{NAME} \. )?{{name}} (?:=|\() .*": "SET PRAGMA",
    # The statement behind SET STATEMENT, EXPLAIN or ANALYZE may run.
    r"(?P<words>SET(?! STATEMENT\b)|(?:ANALYZE|EXPLAIN)(?!.* (?:UPDATE|DELETE|MERGE|INSERT|REPLACE)\b))(?: .*)?": "",
    r"(?P<words>LOAD DATA|UNLOCK TABLES|REFRESH MATERIALIZED VIEW|COMMENT ON|SECURITY LABEL|REASSIGN OWNED"
    r"|IMPORT FOREIGN SCHEMA|SAVEPOINT|RELEASE|REINDEX|GRANT|REVOKE|RESET|SHOW|USE|DISCARD|COPY"
    r"|LOAD|CALL|EXEC|EXECUTE|PREPARE|DEALLOCATE|DO|PRAGMA|VALUES|TABLE|NOTIFY|LISTEN|UNLISTEN|CHECKPOINT|FLUSH"
    r"|ATTACH|DETACH|DESCRIBE|DESC|KILL)(?: .*)?": "",
    r"DROP TEMPORARY TABLE .*": "DROP TEMPORARY TABLE",
    rf"{CREATE}(?P<kind>(?<!EVENT )TRIGGER|POLICY|RULE) (?:IF NOT EXISTS )?{{name}} (?:.*? )??"
    r"(?:ON(?! \S* TO )|TO) {table}(?: .*)?": r"CREATE \g<kind>",
    r"(?P<words>DROP (?:TRIGGER|POLICY|RULE))(?: IF EXISTS)? {name} ON {table}(?: CASCADE| RESTRICT)?": "",
    rf"{CREATE}(?P<kind>{KINDS})(?: CONCURRENTLY)?(?: IF NOT EXISTS)?(?: {{name}})?(?: .*)?": r"CREATE \g<kind>",
    r"(?P<kind>ALTER TYPE) {name} (?:.* )?(?P<action>DROP ATTRIBUTE) .*": r"\g<kind> ... \g<action>",
    rf"ALTER (?P<kind>INDEX|{KINDS})(?: IF EXISTS)? {{name}}(?: \( .*? \))? (?P<action>[A-Z]\w*(?: [A-Z]\w*)?)"
    r"(?: .*)?": r"ALTER \g<kind> ... \g<action>",
    rf"(?P<words>DROP (?:{KINDS}))(?: CONCURRENTLY)?(?: IF EXISTS)? (?P<names>.*)": "",
}

# Parts of ALTER TABLE.
PARTS: Mapping[str, str] = {
    rf"ADD(?: CONSTRAINT {NAME})? (?P<kind>UNIQUE|PRIMARY KEY) USING INDEX {{name}}(?: .*)?": (
        r"ADD \g<kind> USING INDEX"
    ),
    r"(?P<words>VALIDATE CONSTRAINT) {name}": "",
    r"(?P<words>ALTER CONSTRAINT) {name} .*": "",
    r"(?P<words>RENAME CONSTRAINT) {name} TO {new}": "",
    r"RENAME (?:INDEX|KEY) {name} TO {new}": "RENAME INDEX",
    r"(?P<words>ALTER (?:INDEX|KEY|CHECK)) {name} (?:NOT )?(?:VISIBLE|INVISIBLE|IGNORED|ENFORCED)": "",
    r"ALTER(?: COLUMN)? {name} (?!(?:SET|DROP) (?:NOT|DEFAULT|DATA)\b)"
    r"(?P<action>(?:SET|RESET|ADD|DROP|RESTART)(?: \w+)?)(?: .*)?": r"ALTER COLUMN ... \g<action>",
    r"(?P<words>(?:ATTACH|DETACH) PARTITION) {name}(?: .*)?": "",
    r"(?P<words>OWNER TO|SET SCHEMA|SET TABLESPACE|SET ACCESS METHOD|CLUSTER ON|INHERIT|NO INHERIT|OF) {name}": "",
    r"(?P<words>SET LOGGED|SET UNLOGGED|SET WITHOUT CLUSTER|SET WITHOUT OIDS|NOT OF|FORCE|ENABLE KEYS|DISABLE KEYS"
    r"|(?:ENABLE|DISABLE|FORCE|NO FORCE) ROW LEVEL SECURITY|DISCARD TABLESPACE|IMPORT TABLESPACE)": "",
    r"(?P<words>(?:ENABLE|DISABLE)(?: REPLICA| ALWAYS)? (?:TRIGGER|RULE)) {name}": "",
    r"(?P<words>REPLICA IDENTITY) .*": "",
    r"(?P<words>SET|RESET) \( .*": "",
    r"CONVERT TO (?:CHARACTER SET|CHARSET) .*": "CONVERT TO CHARACTER SET",
    r"(?:DEFAULT )?(?P<words>CHARACTER SET|CHARSET|COLLATE)(?: =)? \w+(?: .*)?": "",
    r"(?P<words>ENGINE|AUTO_INCREMENT|COMMENT|ROW_FORMAT|KEY_BLOCK_SIZE|CHECKSUM|STATS_\w+|MAX_ROWS|MIN_ROWS"
    r"|AVG_ROW_LENGTH|TABLESPACE|UNION|ENCRYPTION|ENCRYPTED|COMPRESSION|PAGE_COMPRESSED|PACK_KEYS)(?: =)? .*": "",
}


@dataclass(frozen=True)
class Phrase:
    """A match of a pattern: the words of a statement or of a part of it, and the groups that the pattern found."""

    words: Words
    match: re.Match[str]

    def __contains__(self, group: str) -> bool:
        return group in self.match.re.groupindex and self.match[group] is not None

    def part(self, group: str) -> Words:
        """Return the words that ``group`` of the pattern has matched; the group has to be in this Phrase."""
        start = self.match.string.count(" ", 0, self.match.start(group))
        return self.words.part(start, start + self.match[group].count(" ") + 1)

    def name(self, group: str = "name") -> tuple[str, str | None]:
        """Return the name that ``group`` matched, and its schema (None for the default one).

        Raise Unread if ``group`` matched something other than a name, such as a string literal.
        """
        found = self.part(group).name()
        if found is None:
            raise Unread(self.words.text)
        return found

    def names(self, group: str) -> list[tuple[str, str | None]]:
        """Return the names in ``group``, which are separated by commas, each with its schema.

        Raise Unread if something other than a name is in the list.
        """
        found = [find(part, r"(?:ONLY )?{name}(?: \*)?") for part in self.part(group).parts()]
        if not all(found):
            raise Unread(self.words.text)
        return [phrase.name() for phrase in found if phrase]

    def objects(self, group: str) -> list[Table]:
        """Return the name in ``group``, e.g. "name", or else the names in the list "names"; each with its schema.

        An item of the list that is not a name is returned as text. Return [(None, None)] if neither group matched.
        """
        if group in self:
            return [self.name(group)]
        parts = self.part(f"{group}s").parts() if f"{group}s" in self else []
        names = (part.part(part.keywords.startswith("ONLY ")).name() or (part.text, None) for part in parts)
        return [*names] or [(None, None)]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for group in ("name", "table", "new"):
        pattern = pattern.replace(f"{{{group}}}", f"(?P<{group}>{NAME})")
    return re.compile(pattern)


def find(words: Words, pattern: str) -> Phrase | None:
    """Return the Phrase if the pattern matches all of ``words``, else None.

    Where the pattern has ``{name}``, ``{table}`` or ``{new}``, a name has to stand in the words.
    """
    match = _compiled(pattern).fullmatch(words.keywords)
    phrase = Phrase(words, match) if match else None
    if phrase and all(phrase.part(group).name() for group in ("name", "table", "new") if group in phrase):
        return phrase
    return None


def commands(words: Words, patterns: Mapping[str, str], table: Table = (None, None)) -> list[CommandOp]:
    """Return a CommandOp for each object that the statement names, or one without a name if it names none.

    The first of the ``patterns`` that matches gives the kind of command (its value) and the names. Return an empty list
    if no pattern matches. For a part of ALTER TABLE, ``table`` is the altered table.
    """
    found = ((find(words, pattern), said) for pattern, said in patterns.items())
    phrase, said = next(((phrase, said) for phrase, said in found if phrase), (None, ""))
    if phrase is None:
        return []
    what = phrase.match.expand(said or r"\g<words>")
    drops = what in LOSES_DATA or re.match(r"DROP (?!TEMPORARY)|ALTER (?!COLUMN).* \.\.\. DROP", what) is not None
    cascade, concurrently = drops and words.keywords.endswith(" CASCADE"), "CONCURRENTLY" in words.keywords.split()
    names, tables = phrase.objects("name"), [table] if table[0] else phrase.objects("table")
    return [
        CommandOp(what, name, table_name, schema or own_schema, drops, cascade, concurrently, text=words.text)
        for name, own_schema in names
        for table_name, schema in tables
    ]
