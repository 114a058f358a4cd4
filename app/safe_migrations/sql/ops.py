"""Operations for what Alembic has none."""

from dataclasses import dataclass
from typing import Any

from alembic.operations.ops import MigrateOperation
from sqlalchemy.types import UserDefinedType


@dataclass
class ChangeRowsOp(MigrateOperation):
    """A statement, or a part of one, that changes the rows of a table."""

    verb: str
    """UPDATE, DELETE, INSERT, REPLACE, MERGE or TRUNCATE."""
    table_name: str
    schema: str | None = None
    bounded: bool = True
    """Whether something says which rows: a WHERE that is not always true, a LIMIT, a join; or rows are given."""
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


class NamedType(UserDefinedType[Any]):
    """A type that SQLAlchemy's dialect does not know: an enum's or a domain's name."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_options: Any) -> str:
        """As the script wrote it."""
        return self.name
