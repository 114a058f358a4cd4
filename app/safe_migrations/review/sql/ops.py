"""Operations for what Alembic has none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alembic.operations.ops import MigrateOperation
from sqlalchemy.types import UserDefinedType

# Commands that run SQL from elsewhere, or from a string.
MAY_DO_ANYTHING = {"DO", "BEGIN NOT ATOMIC", "CALL", "EXEC", "EXECUTE", "PREPARE", "LOAD", "SET PRAGMA", "COPY PROGRAM"}
LOSES_DATA = {"DROP DATABASE", "DROP SCHEMA", "DROP MATERIALIZED VIEW", "DROP TABLESPACE", "DROP OWNED BY"}
LOSES_DATA |= {"DISCARD TABLESPACE", "ALTER TYPE ... DROP ATTRIBUTE"}
# Commands that no statement reverts.
IRREVERSIBLE = {"ALTER TYPE ... ADD VALUE"}
# Commands that change no value, besides each CREATE.
KEEPS_DATA = {"COMMENT ON", "SET", "ANALYZE", "GRANT", "REVOKE", "PRAGMA", "REFRESH MATERIALIZED VIEW", "OWNER TO"}
KEEPS_DATA |= {"VALIDATE CONSTRAINT", "ADD UNIQUE USING INDEX", "ADD PRIMARY KEY USING INDEX"}
KEEPS_DATA |= {"ALTER TYPE ... ADD VALUE", "RENAME INDEX", "RENAME CONSTRAINT"}
# Commands that leave nothing for a downgrade to revert.
KEEPS_SCHEMA = {"VALIDATE CONSTRAINT", "ANALYZE", "REFRESH MATERIALIZED VIEW", "SET"}
# Words of a statement that changes the schema or existing rows.
DESTRUCTIVE = re.compile(r"(?<!\bON )\b(ALTER|DROP|RENAME|TRUNCATE|UPDATE|DELETE|MERGE|REPLACE)\s", re.IGNORECASE)


@dataclass
class ChangeRowsOp(MigrateOperation):
    """A statement, or a part of one, that changes the rows of a table."""

    verb: str
    """UPDATE, DELETE, INSERT, REPLACE (an INSERT that may overwrite) or TRUNCATE."""
    table_name: str
    schema: str | None = None
    bounded: bool = True
    """Whether it selects rows: by a WHERE that is not always true, a LIMIT or a join; or whether it contains them."""
    columns: tuple[str, ...] = ()
    """The columns that an UPDATE sets."""
    given: bool = False
    """Whether an INSERT contains its rows."""
    cascade: bool = False
    """Whether TRUNCATE also empties the tables that refer to it."""
    text: str = ""


@dataclass
class CommandOp(MigrateOperation):
    """Any other statement, or part of an ALTER TABLE."""

    words: str
    """What it is: ``DROP VIEW``, ``ALTER TYPE ... RENAME VALUE``; of an ALTER TABLE the part: ``DETACH PARTITION``."""
    name: str | None = None
    """The object; of a table, see ``table_name``."""
    table_name: str | None = None
    schema: str | None = None
    drops: bool = False
    cascade: bool = False
    concurrently: bool = False
    parsed: bool = True
    """Whether it is known what this does."""
    text: str = ""

    @property
    def may_do_anything(self) -> bool:
        """Return True if it runs SQL that it does not contain as SQL."""
        return self.words in MAY_DO_ANYTHING

    @property
    def may_destroy(self) -> bool:
        """Return True if it cannot be parsed and has a word of a statement that changes the schema or rows."""
        return not self.parsed and DESTRUCTIVE.search(f"{self.words} {self.text}") is not None

    @property
    def loses_data(self) -> bool:
        """Return True if it deletes rows or values with what it drops."""
        return self.words in LOSES_DATA or self.cascade

    @property
    def keeps_schema(self) -> bool:
        """Return True if the schema is the same afterwards."""
        return self.words in KEEPS_SCHEMA

    @property
    def is_reversible(self) -> bool:
        """Return True if a statement can revert this."""
        return self.words not in IRREVERSIBLE

    @property
    def keeps_data(self) -> bool:
        """Return True if it is known that no value changes."""
        return self.parsed and (self.words in KEEPS_DATA or self.words.startswith("CREATE "))


@dataclass(frozen=True)
class Translation:
    """One thing that a statement does."""

    op: MigrateOperation
    statement: str
    """The whole statement."""
    requests: Mapping[str, str] = field(default_factory=dict)
    """How a statement of MySQL asks to be run: ``{"algorithm": "INPLACE", "lock": "NONE"}``."""


class NamedType(UserDefinedType[Any]):
    """A type that SQLAlchemy's dialect does not know: the name of an enum or of a domain."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_options: Any) -> str:
        """Return it as the script has it."""
        return self.name
