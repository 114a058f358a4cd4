"""What a database does with an operation, by product and version: what rules ask. Nothing here needs a connection."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.types import TypeEngine

from app.safe_migrations.adapters.casts import KINDS, WIDENING, Cast, Kind, cast, kind_of, spelled

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

    concurrent_indexes = False
    """Whether an index can be made, and dropped, without keeping writers out, if a statement asks for it."""

    invents_values = False
    """Whether a column that is added with NOT NULL and no default gets values in the rows that are there."""

    not_null_scans = False
    """Whether nobody can read a table while a column of it becomes NOT NULL, unless a CHECK says that it is."""

    adding_rewrites = False
    """Whether a table is made anew for a column that has another value in each row."""

    stable_functions: frozenset[str] = frozenset()
    """Functions that give a default the same value in all rows of a statement."""

    enums_are_types = False
    """Whether an enum is a type of its own, beside the tables that use it."""

    longest_name = 63
    """How long a name may be, in characters or bytes; a longer one is cut or refused."""

    names_in_bytes = True

    kinds: Mapping[str, Kind] = KINDS
    """Its types, by name."""

    sizes_hold = True
    """Whether values are held to the size of their type."""

    widening = WIDENING
    """Families of types of which the second holds all values of the first."""

    json_is_text = False
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

    @property
    def names_end(self) -> bool:
        """Whether a name may be too long at all."""
        return self.longest_name < UNLIMITED

    def kind(self, type_: TypeEngine[Any] | None) -> Kind | None:
        """What a type is here; None if that is not known."""
        return kind_of(type_, self.dialect, self.kinds)

    def spelled(self, type_: TypeEngine[Any] | None) -> str:
        """A type as CREATE TABLE has it."""
        return (type_ is not None and spelled(type_, self.dialect)) or "of a type that nobody knows"

    def cast(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> Cast:
        """What becomes of the values of a column whose type changes; what is not known loses some."""
        found = cast(self.kind(old), self.kind(new), self.widening)
        return Cast.KEEPS if found is Cast.SHRINKS and not self.sizes_hold else found

    def rewrites(self, old: TypeEngine[Any] | None, new: TypeEngine[Any]) -> bool:
        """Whether the table is made anew for another type, and nobody may read it until it is."""
        kind = self.kind(old)
        return kind is None or kind != self.kind(new)
