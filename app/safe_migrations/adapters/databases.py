"""The interface to the other databases of a server, where rehearsals create their copy, and what reaches them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import URL, Connection, Engine

from ..errors import MigrationError


def no_scratch(why: str, *lines: str) -> MigrationError:
    """Return the error for a user who may not create the scratch database of a rehearsal."""
    return MigrationError(
        f"{why}, and a rehearsal needs a scratch database.",
        "give the user that right, as the server's administrator, or name another server or an empty database:",
        *lines,
        "export MIGRATION_REHEARSAL_URL=DIALECT://USER:PASSWORD@SERVER/DATABASE",
    )


@dataclass(frozen=True)
class Outside:
    """The things outside its database that a statement can reach, as only its text shows."""

    schemas: Mapping[str, set[str]] = field(default_factory=dict)
    """Other schemas by name, each with the names of its objects, all in lower case."""
    functions: set[str] = field(default_factory=set)
    """Functions of the server, in lower case, that change more than the database."""
    languages: set[str] = field(default_factory=set)
    """Untrusted procedural languages, whose routines can do anything."""
    extensions: set[str] = field(default_factory=set)
    """Extensions that would bring such functions."""
    code: Mapping[str, str] = field(default_factory=dict)
    """The text of each trigger and routine of the database: ``{"trigger t": "CREATE TRIGGER ..."}``."""
    views: Mapping[str, str] = field(default_factory=dict)
    """The text of each updatable view."""


class Databases(ABC):
    """The databases on the same server as that of ``engine``; a rehearsal creates one there."""

    cursor_classes: tuple[str, ...] = ()
    """Attributes of a driver's connection that hold its cursor classes."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @abstractmethod
    def path(self, name: str) -> str:
        """Return what a URL contains for the database ``name``."""

    @abstractmethod
    def make(self, connection: Connection, name: str) -> None:
        """Create an empty database with this one's character set. Raise MigrationError if the user may not."""

    @abstractmethod
    def drop(self, connection: Connection, name: str) -> bool:
        """End the database's sessions and drop it. Return False if it does not exist."""

    @abstractmethod
    def clear(self, connection: Connection) -> None:
        """Drop everything in the database of ``connection`` except the table SCRATCH."""

    @abstractmethod
    def has(self, connection: Connection, name: str) -> bool:
        """Return True if the user can see a database of that name."""

    def outside(self, _connection: Connection, _real: URL, _is_shared: bool) -> Outside:
        """Return what a statement on ``connection`` can reach: the database ``real``, and all others on its server if
        the two share it.
        """
        return Outside()

    def confine(self, connection: Connection) -> None:
        """Remove from the database of ``connection`` what leads to others, such as PostgreSQL's user mappings."""
        return
