"""What a database does with an operation, by product and version: what rules ask. Nothing here needs a connection."""

import re
from collections.abc import Mapping
from typing import Any

from alembic.operations.ops import AlterColumnOp
from sqlalchemy import (
    Column,
    Constraint,
    DefaultClause,
    Dialect,
    Enum,
    FetchedValue,
    Integer,
    Select,
    TextClause,
)
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeEngine

from .casts import KINDS, WIDENING, Cast, Kind, cast, kind_of, spelled
from .dialects import dialect_of

UNLIMITED = 1_000_000_000


class Facts:
    """Pessimistic, unless a product is known to do better; ``version`` is the lowest that a revision has to work on.

    Without a version it is the oldest that is still in use.
    """

    product: str
    dialect: str
    """The name of SQLAlchemy's dialect."""

    ddl_commits = True
    """Whether a DDL statement commits what was done before it."""

    one_writer = False
    """Whether a transaction that has written keeps all other writers out, whatever they write."""

    ends_transaction = frozenset(
        ["BEGIN", "COMMIT", "ROLLBACK", "PREPARE TRANSACTION", "COMMIT PREPARED", "ROLLBACK PREPARED", "XA"]
    ) | {"SET AUTOCOMMIT"}
    """The commands that end the transaction in which a revision runs, or begin another."""

    heavy_commands: Mapping[str, str] = {}
    """The commands that keep others out of a table until they are done, and what to do instead."""

    reaches_out: re.Pattern[str] | None = None
    """What the keywords of a statement, joined by single spaces, begin with if it changes more than its database."""

    holds_code: re.Pattern[str] | None = None
    """What they begin with if the statement contains SQL that runs later, or that stands in strings."""

    runs_strings: re.Pattern[str] | None = None
    """What they contain before an expression whose value is run as SQL."""

    concurrent_indexes = False
    """Whether an index can be made, and dropped, without keeping writers out, if a statement asks for it."""

    invents_values = False
    """Whether a column that is added with NOT NULL and no default gets values in the rows that are there."""

    not_null_scans = False
    """Whether nobody can read a table while a column of it becomes NOT NULL, unless a CHECK says that it is."""

    generated_not_null = True
    """Whether a generated column may be NOT NULL."""

    adding_rewrites = False
    """Whether a table is made anew for a column that has another value in each row."""

    stable_functions: frozenset[str] = frozenset()
    """Functions that give a default the same value in all rows of a statement."""

    without_default: tuple[type[TypeEngine[Any]], ...] = ()
    """Types whose columns take no constant as a default."""

    enums_are_types = False
    """Whether an enum is a type of its own, beside the tables that use it."""

    sequences = False
    """Whether it has sequences, besides auto-incremented keys."""

    enum_catalogue: str | None = None
    """The table of the system catalogue that has the values of enums."""

    unvalidated_constraints = False
    """Whether a foreign key or CHECK can be added without a look at the rows; else all are read under a lock."""

    constraints_from_indexes = False
    """Whether a unique index can become a constraint; making both at once keeps everyone out of the table."""

    exclude_constraints = False

    unnamed_primary_keys = False
    """Whether a primary key is dropped without a name."""

    foreign_keys_copy = False
    """Whether a foreign key is added by copying its table, while writers wait."""

    foreign_keys_need_index = False
    """Whether an index stays for as long as a foreign key of its table has no other that begins with its columns; a key
    that has none gets one, of its own name."""

    blocking_indexes: frozenset[str] = frozenset()
    """Kinds of indexes that keep writers out while they are made, by their word in CREATE INDEX."""

    checks_stop_renames = False
    """Whether a column cannot be renamed while a CHECK names it."""

    longest_name = 63
    """How long a name may be, in characters or bytes; a longer one is cut or refused."""

    names_in_bytes = True

    kinds: Mapping[str, Kind] = KINDS
    """Its types, by name."""

    sizes_hold = True
    """Whether values are held to the size of their type."""

    widening = WIDENING
    """Families of types of which the second holds all values of the first."""

    json_has_no_equality = False
    """Whether a column of type JSON keeps what was written, and cannot be compared."""

    grammar = ""
    """What sqlglot calls this database's SQL."""

    folds_names = False
    """Whether a name without quotes is the same in lower case."""

    default_schema: str | None = None
    """Where a table is if no schema is named."""

    keys_in_tables = False
    """Whether a definition of a table may have KEY and INDEX in it."""

    runs_comments = False
    """Whether what stands between /*! and */ is run."""

    rebuilds = False
    """Whether a column or a constraint is changed by making the table anew, in Alembic's batch mode."""

    redefines_columns = False
    """Whether a column is changed, and renamed, by saying all of it anew: its type, default and comment."""

    enums_by_place = False
    """Whether rows have the value of an enum by its place in the list."""

    auto_increment_blocks_writes = False
    """Whether nobody can write to a table while it gets a column whose values the database numbers."""

    oldest: tuple[int, ...] = ()

    def __init__(self, version: tuple[int, ...] = ()) -> None:
        self.version = version or self.oldest

    def way_out(self, words: str, _text: str, _concurrently: bool) -> str | None:
        """What to do instead of a command that keeps others out of a table for long; None if it does not.

        ``words`` and the rest are a CommandOp's.
        """
        return self.heavy_commands.get(words)

    def is_too_long(self, name: str) -> bool:
        """Whether ``name`` is cut or refused."""
        return len(name.encode() if self.names_in_bytes else name) > self.longest_name

    def shortened(self, name: str) -> str:
        """Its beginning, as far as it is not too long."""
        return next(name[:end] for end in range(len(name), 0, -1) if not self.is_too_long(name[:end]))

    @property
    def names_end(self) -> bool:
        """Whether a name may be too long at all."""
        return self.longest_name < UNLIMITED

    def kind(self, type_: TypeEngine[Any] | None) -> Kind | None:
        """What a type is here; None if that is not known."""
        return kind_of(type_, self.dialect, self.kinds)

    def spelled(self, type_: TypeEngine[Any] | None) -> str:
        """A type as CREATE TABLE has it; its class where it has no SQL here."""
        return "a type that nobody knows" if type_ is None else spelled(type_, self.dialect) or type(type_).__name__

    def cast(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> Cast:
        """What becomes of the values of a column whose type changes; what is not known loses some."""
        found = cast(self.kind(old), self.kind(new), self.widening)
        return Cast.KEEPS if found is Cast.SHRINKS and not self.sizes_hold else found

    def rewrites(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> bool:
        """Whether the table is made anew for another type, and nobody may read it until it is."""
        kind = self.kind(old)
        return kind is None or kind != self.kind(new)

    @property
    def sql_dialect(self) -> Dialect:
        """SQLAlchemy's dialect, to write SQL with."""
        return dialect_of(self.dialect)

    def default(self, default: FetchedValue | None) -> str:
        """What stands behind DEFAULT in the definition of a column, as SQLAlchemy writes it; empty if nothing does."""
        if not isinstance(default, DefaultClause):
            return ""
        column = Column("x", Integer(), server_default=default)
        element: Any = CreateColumn(column)
        compiler = self.sql_dialect.ddl_compiler(self.sql_dialect, element)
        return str(compiler.get_column_specification(column)).partition(" DEFAULT ")[2]

    @property
    def ignores_inline_references(self) -> bool:
        """Whether REFERENCES in the definition of a column makes no foreign key, and no error."""
        return False

    @property
    def alters_by_copy(self) -> bool:
        """Whether ALTER TABLE copies the table for some changes, and nobody can write to it until that is done."""
        return False

    def copies_for_type(self, _before: TypeEngine[object] | None, _after: TypeEngine[object]) -> bool:
        """Whether the table is copied when a column's type changes so; ``before`` is None if nobody knows it."""
        return self.alters_by_copy

    def copies_for_default(self, _default: str) -> bool:
        """Whether the table is copied for a new column with that default, as default() has it."""
        return self.alters_by_copy

    def copies_for_check(self, _inline: bool) -> bool:
        """Whether the table is copied for a new CHECK constraint, ``inline`` in the definition of a new column."""
        return self.alters_by_copy

    def copies_for_auto_increment(self, _numbered: bool) -> bool:
        """Whether the table is copied when the database begins, or ceases, to number an existing column's values."""
        return self.alters_by_copy

    def crosses_length_bytes(
        self, _before: TypeEngine[object] | None, _after: TypeEngine[object], _width: int | None = None
    ) -> bool:
        """Whether a text grows so far that its length takes another byte, and every row has to be written again.

        ``width`` is how many bytes a character may take in the column, where that is known.
        """
        return False

    def enum_values(self, _type: TypeEngine[object] | None) -> list[str]:
        """The values of an enum that rows have by their place in the list; empty for any other type."""
        return []

    def has_width(self, _width: int, _table: str, _column: str, _schema: str | None) -> Select[tuple[int]] | None:
        """Finds the column if its characters take at most ``width`` bytes; None if the database does not tell."""
        return None

    def has_engine(self, _engine: str, _table: str, _schema: str | None) -> Select[tuple[int]] | None:
        """Finds the table if it is of that storage engine; None if the database has none."""
        return None

    def partitions(self, _table: str, _schema: str | None) -> TextClause | None:
        """Return the query for the partitions of a partitioned table: one row with NULL if it has none, no row if the
        table is not partitioned; None if partitions make no difference on this database.
        """
        return None

    def is_constant(self, _default: str) -> bool:
        """Whether a default, as default() has it, can be had by rows that are there without writing them."""
        return True

    def redefines_column(self, _operation: AlterColumnOp) -> bool:
        """Whether the statement for it says all of the column anew, and what it leaves out is lost."""
        return False

    def renaming(self, _kind: str, _table: str, _schema: str | None, _old: str, _new: str) -> str:
        """Return the statement that renames an index (``kind`` ix) or a unique constraint (uq); empty without one."""
        return ""

    def quoted(self, name: str, schema: str | None = None) -> str:
        """The name as SQL."""
        return ".".join(self.sql_dialect.identifier_preparer.quote(part) for part in (schema, name) if part)

    def enum(self, _kind: TypeEngine[Any]) -> tuple[str, str] | None:
        """Where an enum is a type of the database's own: its name, quoted, and the statement that creates it."""
        return None

    def enum_type(self, _kind: TypeEngine[Any]) -> Enum | None:
        """Where an enum is a type of the database's own: SQLAlchemy's type for it, with name, schema and values."""
        return None

    def growing_enum(self, _name: str, _value: str, _before: str | None = None) -> str:
        """The statement that adds a value to the enum of that name, for what enum() knows; last, or before another."""
        return ""

    def existing_enum(self, kind: TypeEngine[Any]) -> TypeEngine[Any]:
        """The type for a table that is created when its enum is there already."""
        return kind

    def validating(self, _table: str, _schema: str | None, _constraint: str) -> str | None:
        """The statement that lets a foreign key look at the rows that were there before it."""
        return None

    def makes(self, constraint: Constraint) -> bool:
        """Whether it is made here: that of a type, such as Enum, is not where the type itself says it."""
        compiler = self.sql_dialect.ddl_compiler(self.sql_dialect, None)  # type: ignore[arg-type]
        return constraint._create_rule is None or bool(constraint._create_rule(compiler))
