"""Statements for which Alembic has no operation."""

from collections.abc import Iterator

from alembic.operations.ops import MigrateOperation

from .ops import CommandOp
from .words import Unreadable, Words


def _listed(text: str) -> tuple[str, ...]:
    """What stands between its commas, the longest first."""
    return tuple(sorted((" ".join(part.split()) for part in text.split(",")), key=len, reverse=True))


# Of what CREATE, ALTER and DROP have behind them.
KINDS = _listed("""
    TABLE, VIEW, INDEX, SEQUENCE, TRIGGER, FUNCTION, PROCEDURE, ROUTINE, AGGREGATE, EVENT, TYPE, DOMAIN, SCHEMA,
    DATABASE, EXTENSION, POLICY, RULE, ROLE, USER, GROUP, SERVER, TABLESPACE, COLLATION, CONVERSION, CAST, LANGUAGE,
    OPERATOR, PUBLICATION, SUBSCRIPTION, STATISTICS, PACKAGE, TRANSFORM, SYSTEM, INSTANCE, MATERIALIZED VIEW, FOREIGN
    TABLE, FOREIGN DATA WRAPPER, EVENT TRIGGER, ACCESS METHOD, OWNED BY, OPERATOR CLASS, OPERATOR FAMILY, DEFAULT
    PRIVILEGES, LARGE OBJECT, USER MAPPING, PACKAGE BODY, TEXT SEARCH CONFIGURATION, TEXT SEARCH DICTIONARY, TEXT
    SEARCH PARSER, TEXT SEARCH TEMPLATE, LOGFILE GROUP, RESOURCE GROUP, SPATIAL REFERENCE SYSTEM""")
# Parts of an ALTER of more or less than two words.
PHRASES = _listed("""
    CONVERT TO CHARACTER SET, DEFAULT CHARACTER SET, CHARACTER SET, DEFAULT COLLATE, DEFAULT CHARSET, CHARSET,
    COLLATE, ENABLE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, NO FORCE ROW LEVEL
    SECURITY, ENABLE REPLICA TRIGGER, ENABLE ALWAYS TRIGGER, SET WITHOUT CLUSTER, SET ACCESS METHOD, SET NOT NULL,
    SET, RESET, INHERIT, OF, FORCE, RESTART, ENGINE, COMMENT, AUTO_INCREMENT, ROW_FORMAT, KEY_BLOCK_SIZE, CHECKSUM,
    STATS_PERSISTENT, TABLESPACE, UNION, ENCRYPTION, COMPRESSION, PAGE_COMPRESSED, CONNECTION, ENCRYPTED, PACK_KEYS""")
SETS = _listed(
    "SCHEMA, TABLESPACE, LOGGED, UNLOGGED, STATISTICS, STORAGE, COMPRESSION, GENERATED, DEFAULT, DATA, EXPRESSION"
)
# First words, and those that say the same.
COMMANDS = _listed("""
    BEGIN, BEGIN NOT ATOMIC, START TRANSACTION, COMMIT, COMMIT PREPARED, END, ROLLBACK, ROLLBACK PREPARED, ABORT,
    PREPARE TRANSACTION, SAVEPOINT, RELEASE, XA, LOCK, LOCK TABLE, LOCK TABLES, UNLOCK TABLES, VACUUM, VACUUM FULL,
    CLUSTER, REINDEX, OPTIMIZE TABLE, REPAIR TABLE, REFRESH MATERIALIZED VIEW, COMMENT ON, SECURITY LABEL, REASSIGN
    OWNED, GRANT, REVOKE, SET, RESET, ANALYZE, EXPLAIN, SHOW, USE, DISCARD, COPY, LOAD, LOAD DATA, CALL, EXEC,
    EXECUTE, PREPARE, DEALLOCATE, DO, PRAGMA, VALUES, TABLE, NOTIFY, LISTEN, UNLISTEN, CHECKPOINT, FLUSH, ATTACH,
    DETACH, DESCRIBE, DESC, IMPORT FOREIGN SCHEMA, KILL""")
SAME = {
    "START TRANSACTION": "BEGIN",
    "END": "COMMIT",
    "ABORT": "ROLLBACK",
    "LOCK": "LOCK TABLE",
    "LOCK TABLES": "LOCK TABLE",
}
WITH_TABLES = {"LOCK TABLE", "VACUUM FULL", "VACUUM", "CLUSTER", "OPTIMIZE TABLE", "REPAIR TABLE"}
# Words that may stand before the names.
NOISE = ("VERBOSE", "ANALYZE", "FREEZE", "ONLY", "FULL", "TABLE", "LOCAL", "NO_WRITE_TO_BINLOG", "IF", "EXISTS")
# PRAGMAs that only read, with a name in parentheses.
READING_PRAGMAS = ("table_", "index_", "foreign_key_", "database_", "function_", "integrity_", "quick_", "collation_")
# Of what they create or drop ON a table.
ON_TABLE = {"TRIGGER", "POLICY", "RULE"}


def take_longest(words: Words, phrases: tuple[str, ...]) -> str:
    """Read the longest of the phrases that is next; empty if none is."""
    return next((found for found in phrases if words.take(*found.split())), "")


def phrase(words: Words) -> str:
    """Read what a part of an ALTER does: ``DETACH PARTITION``."""
    if words.follows("SET") and words.keyword(1) in SETS:
        return f"{words.next().keyword} {words.next().keyword}"
    if found := take_longest(words, PHRASES):
        return found
    found = words.take_any(words.keyword()) if not words.done else ""
    if found and words.keyword().isalpha():
        found += f" {words.next().keyword}"
    return found


def defines(words: Words, verb: str, kind: str) -> Iterator[CommandOp]:
    """CREATE, ALTER or DROP of anything but tables and indexes."""
    concurrently = words.take("CONCURRENTLY")
    words.take("IF", "NOT", "EXISTS")
    words.take("IF", "EXISTS")
    table, schema = _on_table(words) if kind in ON_TABLE else (None, None)
    text, what = words.text, f"{verb} {kind}"
    cascade = verb == "DROP" and words.has("CASCADE")
    if verb != "DROP":
        name, own_schema = words.qualified() if _is_name(words) else (None, None)
        if verb == "ALTER":
            if words.follows("("):
                words.skip_group()
            what += f" ... {phrase(words)}"
        drops = verb == "ALTER" and " ... DROP" in what
        yield CommandOp(what, name, table, schema or own_schema, drops, cascade, concurrently, text=text)
        return
    for part in words.parts():
        name, own_schema = part.qualified() if _is_name(part) else (part.text, None)
        yield CommandOp(what, name, table, schema or own_schema, True, cascade, concurrently, text=text)


def _is_name(words: Words) -> bool:
    return not words.done and words.words[words.at].is_name


def _on_table(words: Words) -> tuple[str | None, str | None]:
    """The table behind ON, or TO of a rule, or nothing."""
    ahead = Words(words.source, words.words, words.facts, words.at)
    while not ahead.done:
        if ahead.take("ON") or ahead.take("TO"):
            if ahead.keyword(1) in {"TO", "OR"}:
                continue
            return ahead.qualified() if _is_name(ahead) else (None, None)
        ahead.next()
    return None, None


def command(words: Words) -> Iterator[MigrateOperation]:
    """Any other statement. Raises Unreadable if its first words are none that are known here."""
    text, first = words.text, take_longest(words, COMMANDS)
    if not first:
        raise Unreadable(text)
    known = SAME.get(first, first)
    if known == "SET" and words.has("AUTOCOMMIT"):
        known = "SET AUTOCOMMIT"
    elif known == "VACUUM" and words.follows("(") and any(part.keyword() == "FULL" for part in words.group()):
        known = "VACUUM FULL"
    elif known == "ROLLBACK" and words.has("TO"):
        known = "ROLLBACK TO"
    elif known == "COPY" and (words.has("FROM", "PROGRAM", "") or words.has("TO", "PROGRAM", "")):
        known = "COPY PROGRAM"
    elif known == "PRAGMA":
        yield _pragma(words)
        return
    concurrently = words.has("CONCURRENTLY")
    if known in WITH_TABLES:
        while words.take_any(*NOISE):
            pass
        for part in words.parts() or [words]:
            while part.take_any(*NOISE):
                pass
            table, schema = part.qualified() if _is_name(part) else (None, None)
            yield CommandOp(known, None, table, schema, concurrently=concurrently, text=text)
        return
    yield CommandOp(known, _reindexed(words) if known == "REINDEX" else None, concurrently=concurrently, text=text)


def _reindexed(words: Words) -> str | None:
    if words.follows("("):
        words.skip_group()
    words.take_any("TABLE", "INDEX", "SCHEMA", "DATABASE", "SYSTEM")
    words.take("CONCURRENTLY")
    return words.qualified()[0] if _is_name(words) else None


def _pragma(words: Words) -> CommandOp:
    text, (name, _) = words.text, words.qualified()
    writes = words.follows("=") or (words.follows("(") and not name.lower().startswith(READING_PRAGMAS))
    return CommandOp("SET PRAGMA" if writes else "PRAGMA", name.lower(), text=text)
