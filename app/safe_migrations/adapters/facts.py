"""The behaviour of each product and version, e.g. whether a type change rewrites the table; without a connection."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, DefaultClause, Dialect, Enum, FetchedValue, Integer, Select
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeEngine

from .casts import KINDS, WIDENING, Cast, Kind, cast, kind_of, spelled
from .dialects import dialect_of


class Facts:
    """The behaviour of one product at ``version``; if that is empty, at its oldest version that is still maintained.

    The values of attributes here are the safe assumptions; the subclass of a product overrides them.
    """

    product: str
    dialect: str
    """The name of SQLAlchemy's dialect."""

    oldest: tuple[int, ...] = ()

    grammar = ""
    """The name of sqlglot's dialect."""

    default_schema: str | None = None
    """The schema of a table that is named without a schema."""

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

    locks_out_writers = False
    """Whether no other session can write to the database while a revision runs."""

    outside_transaction = "VACUUM"
    """A statement that cannot run in a transaction, or that ends it."""

    online_ddl = False
    """Whether indexes and constraints can be added without blocking writes: CONCURRENTLY, NOT VALID, USING INDEX."""

    pipes_are_or = False
    """Whether || between two values is OR, which makes a number of them, instead of joining two texts."""

    needs_dropped_default = False
    """Whether an INSERT needs a value for a nullable column whose default was dropped."""

    invents_values = False
    """Whether existing rows get an invented value in a NOT NULL column without a default."""

    generated_not_null = True
    """Whether a generated column may be NOT NULL."""

    rebuilds = False
    """Whether columns and constraints are changed by rebuilding the table, in Alembic's batch mode."""

    rewrites_sql = True
    """Whether the database reports defaults and expressions in words of its own, not as they were written."""

    without_default: tuple[type[TypeEngine[Any]], ...] = ()
    """Types whose columns cannot have a constant default."""

    enums_are_types = False
    """Whether an enum is a type in the database, separate from the tables that use it."""

    unnamed_primary_keys = False
    """Whether a primary key is dropped without the name of its constraint: DROP PRIMARY KEY."""

    foreign_keys_need_index = False
    """Whether a foreign key needs an index that begins with its columns.

    The server creates a missing index, with the name of the foreign key, leaves it if only the foreign key is dropped,
    and refuses to drop the last index that the foreign key can use.
    """

    checks_stop_renames = False
    """Whether a column cannot be renamed while a CHECK constraint contains its name."""

    kinds: Mapping[str, Kind] = KINDS
    """The Kind of each type, by its name in CREATE TABLE."""

    sizes_hold = True
    """Whether the size of a type limits its values."""

    widening = WIDENING
    """Pairs (old, new) of families of types: the new one can store all values of the old one."""

    def __init__(self, version: tuple[int, ...] = ()) -> None:
        self.version = version or self.oldest

    def is_too_long(self, name: str) -> bool:
        """Return True if ``name`` is longer than the database allows, so that it is cut or refused."""
        return len(name.encode() if self.names_in_bytes else name) > self.longest_name

    def shortened(self, name: str) -> str:
        """Return ``name`` cut to the length that the database allows."""
        return next(name[:end] for end in range(len(name), 0, -1) if not self.is_too_long(name[:end]))

    def kind(self, type_: TypeEngine[Any] | None) -> Kind | None:
        """Return the Kind of a type in this database; None if the type is None or cannot be written here."""
        return kind_of(type_, self.dialect, self.kinds)

    def spelled(self, type_: TypeEngine[Any] | None) -> str:
        """Return a type as CREATE TABLE writes it, e.g. VARCHAR(80).

        Return the name of its Python class if the dialect cannot write it, and "an unknown type" for None.
        """
        return "an unknown type" if type_ is None else spelled(type_, self.dialect) or type(type_).__name__

    def cast(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> Cast:
        """Return the effect on a column's values if its type changes from ``old`` (None if unknown) to ``new``."""
        found = cast(self.kind(old), self.kind(new), self.widening)
        return Cast.KEEPS if found is Cast.SHRINKS and not self.sizes_hold else found

    def rewrites(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> bool:
        """Return True if changing a column's type from ``old`` to ``new`` rewrites the table, which blocks reads.

        By default, return True unless both have the same Kind, also if ``old`` is None.
        """
        kind = self.kind(old)
        return kind is None or kind != self.kind(new)

    @property
    def sql_dialect(self) -> Dialect:
        """Return SQLAlchemy's dialect for this product, which writes SQL."""
        return dialect_of(self.dialect)

    def default(self, default: FetchedValue | None) -> str:
        """Return the SQL of a server_default, as CREATE TABLE has it after DEFAULT.

        Return an empty string for None, and for what is not a DEFAULT, e.g. Computed or Identity.
        """
        if not isinstance(default, DefaultClause):
            return ""
        column = Column("x", Integer(), server_default=default)
        element: Any = CreateColumn(column)
        compiler = self.sql_dialect.ddl_compiler(self.sql_dialect, element)
        return str(compiler.get_column_specification(column)).partition(" DEFAULT ")[2]

    def copies_for_default(self, _default: str) -> bool:
        """Return True if adding a column with this default copies the table, which blocks writes until it is done.

        The default is SQL, as default() returns it.
        """
        return False

    def is_partitioned(self, _table: str, _schema: str | None) -> Select[tuple[int]] | None:
        """Return a query that has a row if the table is partitioned; None if that does not matter in this database."""
        return None

    def is_constant(self, _default: str) -> bool:
        """Return True if the default is constant, so that adding a column with it does not write existing rows.

        The default is SQL, as default() returns it.
        """
        return True

    def renaming(self, _kind: str, _table: str, _schema: str | None, _old: str, _new: str) -> str:
        """Return the SQL that renames an index (``kind`` is ix), a unique constraint (uq) or a CHECK (ck).

        Return an empty string if the product has none.
        """
        return ""

    def quoted(self, name: str, schema: str | None = None) -> str:
        """Return the name as SQL, with its schema if given, e.g. ``shop."order"``; quoted only where necessary."""
        return ".".join(self.sql_dialect.identifier_preparer.quote(part) for part in (schema, name) if part)

    def enum(self, _kind: TypeEngine[Any]) -> tuple[str, str] | None:
        """Return the quoted name and the CREATE TYPE of the enum that enum_type() returns; None if that is None."""
        return None

    def enum_type(self, _kind: TypeEngine[Any]) -> Enum | None:
        """Return SQLAlchemy's type for an enum that is a separate type in the database, with name, schema and values.

        For an array, return that of its items. Return None for any other type.
        """
        return None

    def add_enum_value_sql(self, _name: str, _value: str, _before: str | None = None) -> str:
        """Return the SQL that adds a value to the enum type ``_name``, at the end or before the value ``_before``.

        The name is SQL, as quoted() returns it; the values are plain texts. The SQL does nothing if the value exists.
        Return an empty string if enums are not separate types in the database.
        """
        return ""

    def cast_sql(self, _name: str, _old: TypeEngine[Any] | None, _new: TypeEngine[Any] | None) -> str | None:
        """Return the SQL that converts a column's values if the database does not do it by itself; None if it does."""
        return None

    def differ_sql(self, one: str, other: str) -> str:
        """Return the condition, as SQL, that two values (SQL) differ, also if only in case or in spaces at the end.

        NULL differs from all other values.
        """
        return f"{one} IS DISTINCT FROM {other}"

    def validate_sql(self, _table: str, _schema: str | None, _constraint: str) -> str | None:
        """Return the SQL that checks existing rows against a constraint that was added as NOT VALID.

        Return None if the database has no NOT VALID.
        """
        return None
