"""What a database does with an operation, by product and version: what rules ask. Nothing here needs a connection."""


class Facts:
    """Pessimistic, unless a product is known to do better; ``version`` is the lowest that a revision has to work on.

    Without a version it is the oldest that is still in use.
    """

    product: str
    dialect: str
    """The name of SQLAlchemy's dialect."""

    ddl_commits = True
    """Whether a DDL statement commits what was done before it."""

    concurrent_indexes = False
    """Whether an index can be made, and dropped, without keeping writers out, if a statement asks for it."""

    longest_name = 63
    """How long a name may be, in characters or bytes; a longer one is cut or refused."""

    names_in_bytes = True

    oldest: tuple[int, ...] = ()

    def __init__(self, version: tuple[int, ...] = ()) -> None:
        self.version = version or self.oldest

    def is_too_long(self, name: str) -> bool:
        """Whether ``name`` is cut or refused."""
        return len(name.encode() if self.names_in_bytes else name) > self.longest_name
