"""The behaviour of PostgreSQL, e.g. which type changes rewrite the table."""

from math import inf
from typing import Any

from sqlalchemy import Select, column, func, select, table
from sqlalchemy.dialects.postgresql import ENUM, CreateEnumType
from sqlalchemy.types import TypeEngine

from ..casts import Cast, enum_of
from ..facts import Facts

GROW_IN_PLACE = ("text", "decimal", "datetime", "time")
"""Families of types whose size can grow without a rewrite of the table (PostgreSQL manual, "ALTER TABLE", Notes)."""

STABLE = frozenset(
    (
        *("now", "transaction_timestamp", "statement_timestamp", "timezone", "date_trunc", "extract", "date_part"),
        *("to_char", "to_date", "to_timestamp", "make_date", "make_time", "make_timestamp", "make_interval", "age"),
        *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "current_setting"),
        *("current_user", "current_schema", "current_database", "session_user", "pg_backend_pid", "txid_current"),
        *("lower", "upper", "md5", "concat", "coalesce", "nullif", "greatest", "least", "substr", "substring"),
        *("replace", "length", "round", "floor", "ceil", "abs", "encode", "decode", "trim", "cast", "array", "row"),
        *("jsonb_build_object", "json_build_object", "json_build_array", "jsonb_build_array", "to_json", "to_jsonb"),
        *("varchar", "char", "numeric", "decimal", "timestamp", "time", "bit", "float", "character", "varying"),
        *("interval", "in", "and", "or", "not", "case", "when", "then", "else"),
    )
)
"""Immutable and stable functions of PostgreSQL's manual, and keywords and types that parentheses may follow."""


class PostgreSQLFacts(Facts):
    """The behaviour of PostgreSQL, as its manual has it in "ALTER TABLE" and "Explicit Locking"."""

    product = dialect = "postgresql"
    oldest = (12,)
    grammar = "postgres"
    folds_names = True
    default_schema = "public"
    online_ddl = True
    enums_are_types = True
    stable_functions = STABLE
    """Names of functions that return the same value for all rows of a statement."""

    def rewrites(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> bool:
        """Return True if changing a column's type from ``old`` to ``new`` rewrites the table, which blocks reads.

        A larger size does not rewrite it, e.g. VARCHAR(20) to VARCHAR(80). Return True if ``old`` is None.
        """
        was, becomes = self.kind(old), self.kind(new)
        if was is None or becomes is None or was == becomes:
            return was is None or becomes is None
        if was.family not in GROW_IN_PLACE or (was.family, was.stored) != (becomes.family, becomes.stored):
            return True
        same_scale = was.family != "decimal" or becomes.scale in (was.scale, inf)
        return self.cast(old, new) is not Cast.KEEPS or was.stored == "padded" or not same_scale

    def is_partitioned(self, table_name: str, schema: str | None) -> Select[tuple[int]]:
        """Return a query that has a row if the table is partitioned: then CREATE INDEX CONCURRENTLY fails."""
        oid = func.to_regclass(self.quoted(table_name, schema))
        return select(1).select_from(table("pg_class")).where(column("relkind") == "p", column("oid") == oid)

    def types_named(self, name: str) -> Select[Any]:
        """Return a query that finds a row for each type with that name, in any schema."""
        return select(1).select_from(table("pg_type")).where(column("typname") == name)

    def renaming(self, kind: str, table: str, schema: str | None, old: str, new: str) -> str:
        """Return the SQL that renames an index (``kind`` is ix), a unique constraint or a CHECK; it changes no row."""
        if kind == "ix":
            return f"ALTER INDEX {self.quoted(old, schema)} RENAME TO {self.quoted(new)}"
        return f"ALTER TABLE {self.quoted(table, schema)} RENAME CONSTRAINT {self.quoted(old)} TO {self.quoted(new)}"

    def enum(self, kind: TypeEngine[Any]) -> tuple[str, str] | None:
        """Return the quoted name and the CREATE TYPE of the enum that enum_type() returns; None if that is None."""
        here = self.enum_type(kind)
        if here is None:
            return None
        return self.quoted(str(here.name), here.schema), str(CreateEnumType(here).compile(dialect=self.sql_dialect))

    def add_enum_value_sql(self, name: str, value: str, before: str | None = None) -> str:
        """Return the SQL that adds a value to the enum type ``name``, at the end or before the value ``before``.

        The name is SQL, as quoted() returns it; the values are plain texts. The SQL does nothing if the value exists.
        From version 12 on it can run in a transaction, but the same transaction cannot use the new value.
        """
        literal = value.replace("'", "''")
        place = "" if before is None else " BEFORE '{}'".format(before.replace("'", "''"))
        return f"ALTER TYPE {name} ADD VALUE IF NOT EXISTS '{literal}'{place}"

    def enum_type(self, kind: TypeEngine[Any]) -> ENUM | None:
        """Return the enum type of ``kind``, or of its items if it is an array; None for any other type.

        An enum without a name is not a type of its own: return None for it too.
        """
        here = enum_of(getattr(kind, "item_type", kind), self.dialect)
        return here if isinstance(here, ENUM) and here.name else None

    def cast_sql(self, name: str, old: TypeEngine[Any] | None, new: TypeEngine[Any] | None) -> str | None:
        """Return the expression for USING, if no assignment cast leads from ``old`` to ``new``; else None.

        A text can be assigned to nothing but a text, and an enum only to a text (PostgreSQL manual, "CREATE CAST").
        """
        before, after = self.kind(old), self.kind(new)
        if before is None or after is None or after.family == "text":
            return None
        families = {before.family, after.family}
        if before.family in ("text", "enum") and (before.family, before.name) != (after.family, after.name):
            return f"{self.quoted(name)}{'::text' if before.family == 'enum' else ''}::{self.spelled(new)}"
        return f"{self.quoted(name)}::{self.spelled(new)}" if families == {"boolean", "integer"} else None

    def validate_sql(self, table: str, schema: str | None, constraint: str) -> str:
        """Return the SQL that checks existing rows against a NOT VALID constraint, without blocking reads or writes."""
        return f"ALTER TABLE {self.quoted(table, schema)} VALIDATE CONSTRAINT {self.quoted(constraint)}"
