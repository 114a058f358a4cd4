"""The interface to the other databases of a server, beside which rehearsals create their copy."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from ..errors import MigrationError, summary
from .base import SCRATCH


class Databases(ABC):
    """The databases on the same server as that of ``engine``; a rehearsal creates one there."""

    denied: tuple[object, ...] = ()
    """The server's codes for errors that say which right is missing."""

    setup: tuple[str, ...] = ()
    """What an administrator may run once, for users who may not create a scratch database and its login."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @abstractmethod
    def path(self, name: str) -> str:
        """Return what a URL contains for the database ``name``."""

    @abstractmethod
    def make(self, connection: Connection, name: str) -> None:
        """Create an empty database with this one's character set. Raise MigrationError if the user may not."""

    @abstractmethod
    def login(self, connection: Connection, name: str, original: Connection) -> URL:
        """Create a user with rights in the database ``name`` only, and return the URL to log in there.

        The user finds the same tables by their names as that of ``original``. Raise MigrationError if that is denied.
        """

    @abstractmethod
    def drop(self, connection: Connection, name: str) -> bool:
        """End the database's sessions, drop it and its user. Return False if the database does not exist."""

    @abstractmethod
    def clear(self, connection: Connection) -> None:
        """Drop everything in the database of ``connection`` except the table SCRATCH."""

    @abstractmethod
    def has(self, connection: Connection, name: str) -> bool:
        """Return True if the user can see a database of that name."""

    @abstractmethod
    def server(self, connection: Connection) -> str:
        """Return what tells the server of ``connection`` from all others, by whatever address it was reached."""

    @abstractmethod
    def confine(self, connection: Connection) -> None:
        """Make sure that the server refuses to sessions like ``connection`` whatever is outside of their database.

        Raise MigrationError if their user has rights elsewhere.
        """

    def is_denied(self, error: BaseException | None) -> bool:
        """Return whether the server refused a statement for want of a right, in ``error`` or in what led to it."""
        while error is not None:
            driver = getattr(error, "orig", error)
            if any(code in self.denied for code in (getattr(driver, "sqlstate", None), *driver.args[:1])):
                return True
            error = error.__context__
        return False

    @contextmanager
    def denials_refused(self) -> Iterator[None]:
        """Raise MigrationError for an error of a right that is missing, and other errors as they are."""
        try:
            yield
        except DBAPIError as error:
            if not self.is_denied(error):
                raise
            raise self.refused(f"the server denies it ({summary(error)})") from error

    def refused(self, why: str) -> MigrationError:
        """Return the error for a user who cannot have a scratch database whose user has no rights elsewhere."""
        return MigrationError(
            f"{why}, and a rehearsal needs a scratch database whose user has no rights outside of it.",
            "as the server's administrator, create the database and its user once, or use a separate server; then set"
            " its URL:",
            *self.setup,
            f"export MIGRATION_REHEARSAL_URL={self.engine.dialect.name}://rehearsal:PASSWORD@SERVER/rehearsal",
        )

    def needs_rights(self, what: str) -> MigrationError:
        """Return the error for a script, or a copy, that needs more rights than the user of the copy may have."""
        return MigrationError(
            what,
            "if this needs rights outside of the copy, rehearse on a server of its own, from which nothing else can be"
            " reached:",
            f"export MIGRATION_REHEARSAL_URL={self.engine.dialect.name}://USER:PASSWORD@OTHER_SERVER",
        )


def login_of(name: str) -> str:
    """Return the user of the scratch database ``name``: at most 32 characters, as MySQL allows, with its hash."""
    return f"{SCRATCH}_{name[-8:]}"
