"""Facts about what a database does with an operation, by product and version. Nothing here needs a connection."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, DefaultClause, Dialect, Enum, FetchedValue, Integer, Select
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeEngine

from .casts import KINDS, WIDENING, Cast, Kind, cast, kind_of, spelled
from .dialects import dialect_of


class Facts:
    """The facts of one product. Without a ``version``, they are those of the oldest that is still maintained.

    Defaults are pessimistic: a product says where it does better.
    """

    product: str
    dialect: str
    """The name of SQLAlchemy's dialect."""

    oldest: tuple[int, ...] = ()

    grammar = ""
    """The name of sqlglot's dialect."""

    default_schema: str | None = None
    """The schema of a table without one."""

    folds_names = False
    """Whether names without quotes are converted to lower case."""

    keys_in_tables = False
    """Whether CREATE TABLE may contain KEY and INDEX."""

    runs_comments = False
    """Whether the SQL between /*! and */ is executed."""

    longest_name: float = 63
    """The maximum length of a name, in bytes or characters. Longer ones are cut or refused."""

    names_in_bytes = True

    ends_transaction = frozenset(
        ["BEGIN", "COMMIT", "ROLLBACK", "PREPARE TRANSACTION", "COMMIT PREPARED", "ROLLBACK PREPARED", "XA"]
    ) | {"SET AUTOCOMMIT"}
    """The commands that end the revision's transaction, or begin another one."""

    online_ddl = False
    """Whether indexes and constraints have forms that do not block others: CONCURRENTLY, NOT VALID, USING INDEX."""

    invents_values = False
    """Whether existing rows get an invented value in a NOT NULL column without a default."""

    generated_not_null = True
    """Whether a generated column may be NOT NULL."""

    rebuilds = False
    """Whether columns and constraints are changed by rebuilding the table, in Alembic's batch mode."""

    without_default: tuple[type[TypeEngine[Any]], ...] = ()
    """Types whose columns cannot have a constant default."""

    enums_are_types = False
    """Whether an enum is a type in the database, separate from the tables that use it."""

    unnamed_primary_keys = False
    """Whether a primary key is dropped without a name."""

    foreign_keys_need_index = False
    """Whether a foreign key needs an index that begins with its columns; the server creates a missing one, under the
    foreign key's name, and refuses to drop the only one."""

    checks_stop_renames = False
    """Whether a column cannot be renamed while a CHECK names it."""

    kinds: Mapping[str, Kind] = KINDS
    """The kinds of its types, by name."""

    sizes_hold = True
    """Whether the size of a type limits its values."""

    widening = WIDENING
    """Pairs of families of which the second holds all values of the first."""

    def __init__(self, version: tuple[int, ...] = ()) -> None:
        self.version = version or self.oldest

    def is_too_long(self, name: str) -> bool:
        """Return True if ``name`` is cut or refused."""
        return len(name.encode() if self.names_in_bytes else name) > self.longest_name

    def shortened(self, name: str) -> str:
        """Return the beginning of ``name`` that is not too long."""
        return next(name[:end] for end in range(len(name), 0, -1) if not self.is_too_long(name[:end]))

    def kind(self, type_: TypeEngine[Any] | None) -> Kind | None:
        """Return the kind of a type; None if it is unknown."""
        return kind_of(type_, self.dialect, self.kinds)

    def spelled(self, type_: TypeEngine[Any] | None) -> str:
        """Return a type as in CREATE TABLE; the name of its class if it has no SQL here."""
        return "an unknown type" if type_ is None else spelled(type_, self.dialect) or type(type_).__name__

    def cast(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> Cast:
        """Return what a change of type does to values; an unknown type loses some."""
        found = cast(self.kind(old), self.kind(new), self.widening)
        return Cast.KEEPS if found is Cast.SHRINKS and not self.sizes_hold else found

    def rewrites(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> bool:
        """Return True if a change of type rewrites the table and blocks reads."""
        kind = self.kind(old)
        return kind is None or kind != self.kind(new)

    @property
    def sql_dialect(self) -> Dialect:
        """Return SQLAlchemy's dialect, to write SQL with."""
        return dialect_of(self.dialect)

    def default(self, default: FetchedValue | None) -> str:
        """Return what SQLAlchemy writes after DEFAULT in a column's definition; empty if nothing."""
        if not isinstance(default, DefaultClause):
            return ""
        column = Column("x", Integer(), server_default=default)
        element: Any = CreateColumn(column)
        compiler = self.sql_dialect.ddl_compiler(self.sql_dialect, element)
        return str(compiler.get_column_specification(column)).partition(" DEFAULT ")[2]

    def copies_for_default(self, _default: str) -> bool:
        """Return True if a new column with that default, as default() returns it, makes ALTER TABLE copy the table.

        Writes wait until it is done.
        """
        return False

    def is_partitioned(self, _table: str, _schema: str | None) -> Select[tuple[int]] | None:
        """Return a query that finds the table if it is partitioned; None if that makes no difference here."""
        return None

    def is_constant(self, _default: str) -> bool:
        """Return True if existing rows can have a default, as default() returns it, without being written."""
        return True

    def renaming(self, _kind: str, _table: str, _schema: str | None, _old: str, _new: str) -> str:
        """Return the statement that renames an index (``kind`` ix) or a unique constraint (uq); empty without one."""
        return ""

    def quoted(self, name: str, schema: str | None = None) -> str:
        """Return the name as SQL, quoted where it has to be."""
        return ".".join(self.sql_dialect.identifier_preparer.quote(part) for part in (schema, name) if part)

    def enum(self, _kind: TypeEngine[Any]) -> tuple[str, str] | None:
        """Return the quoted name and the CREATE TYPE of an enum, where it is a type in the database."""
        return None

    def enum_type(self, _kind: TypeEngine[Any]) -> Enum | None:
        """Return SQLAlchemy's type for such an enum, with name, schema and values."""
        return None

    def add_enum_value_sql(self, _name: str, _value: str, _before: str | None = None) -> str:
        """Return the statement that adds a value to the enum of that name, at the end or before another value."""
        return ""

    def validate_sql(self, _table: str, _schema: str | None, _constraint: str) -> str | None:
        """Return the statement that validates existing rows against a constraint added as NOT VALID."""
        return None
