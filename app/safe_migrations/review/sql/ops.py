"""Operations for what Alembic has none."""

from dataclasses import dataclass
from typing import Any

from alembic.operations.ops import MigrateOperation
from sqlalchemy.types import UserDefinedType

# Commands that run what stands elsewhere, or in them as a text.
MAY_DO_ANYTHING = {"DO", "BEGIN NOT ATOMIC", "CALL", "EXEC", "EXECUTE", "PREPARE", "LOAD", "SET PRAGMA", "COPY PROGRAM"}
LOSES_DATA = {"DROP DATABASE", "DROP SCHEMA", "DROP MATERIALIZED VIEW", "DROP TABLESPACE", "DROP OWNED BY"}
LOSES_DATA |= {"DROP PARTITION", "TRUNCATE PARTITION", "DISCARD TABLESPACE", "DISCARD PARTITION", "DROP SYSTEM"}
LOSES_DATA |= {"ALTER TYPE ... DROP ATTRIBUTE"}
# Those that no statement takes back.
NO_WAY_BACK = {"ALTER TYPE ... ADD VALUE"}
# Those that change no value, beside each CREATE.
KEEPS_DATA = {"COMMENT ON", "SET", "ANALYZE", "GRANT", "REVOKE", "PRAGMA", "REFRESH MATERIALIZED VIEW", "OWNER TO"}
KEEPS_DATA |= {
    "VALIDATE CONSTRAINT",
    "ADD UNIQUE USING INDEX",
    "ADD PRIMARY KEY USING INDEX",
    "ALTER TYPE ... ADD VALUE",
}
KEEPS_DATA |= {"RENAME INDEX", "RENAME CONSTRAINT"}
# Those that leave a downgrade nothing to take back.
KEEPS_SCHEMA = {"VALIDATE CONSTRAINT", "ANALYZE", "REFRESH MATERIALIZED VIEW", "SET"}


@dataclass
class ChangeRowsOp(MigrateOperation):
    """A statement, or a part of one, that changes the rows of a table."""

    verb: str
    """UPDATE, DELETE, INSERT, REPLACE (an INSERT that may overwrite), MERGE or TRUNCATE."""
    table_name: str
    schema: str | None = None
    bounded: bool = True
    """Whether something says which rows: a WHERE that is not always true, a LIMIT, a join; or rows are given."""
    columns: tuple[str, ...] = ()
    """Those that an UPDATE sets."""
    given: bool = False
    """Whether the rows of an INSERT stand in it."""
    cascade: bool = False
    """Whether TRUNCATE takes the rows of tables that refer to it."""
    text: str = ""


@dataclass
class CommandOp(MigrateOperation):
    """Any other statement, or part of an ALTER TABLE."""

    words: str
    """What it is: ``DROP VIEW``, ``ALTER TYPE ... RENAME VALUE``; of an ALTER TABLE the part: ``DETACH PARTITION``."""
    name: str | None = None
    """What it is about; a table stands in ``table_name``."""
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
        """Whether it runs what cannot be seen in it."""
        return self.words in MAY_DO_ANYTHING

    @property
    def loses_data(self) -> bool:
        """Whether rows or values go with what it drops."""
        return self.words in LOSES_DATA or self.cascade

    @property
    def keeps_schema(self) -> bool:
        """Whether the schema is the same afterwards."""
        return self.words in KEEPS_SCHEMA

    @property
    def has_way_back(self) -> bool:
        """Whether a statement can take back what this does."""
        return self.words not in NO_WAY_BACK

    @property
    def keeps_data(self) -> bool:
        """Whether it is known that no value changes."""
        return self.parsed and (self.words in KEEPS_DATA or self.words.startswith("CREATE "))


class NamedType(UserDefinedType[Any]):
    """A type that SQLAlchemy's dialect does not know: an enum's or a domain's name."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_options: Any) -> str:
        """As the script wrote it."""
        return self.name
