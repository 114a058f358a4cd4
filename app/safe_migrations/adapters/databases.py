"""The interface to create, use and drop scratch databases, in which rehearsals run."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from ..errors import MigrationError, summary
from .base import SCRATCH


class Databases(ABC):
    """The databases on the server of ``engine``, where a rehearsal creates its scratch database."""

    denied: tuple[object, ...] = ()
    """The server's error codes for a missing right."""

    setup: tuple[str, ...] = ()
    """The SQL for an administrator to run once if the user may not create a scratch database and its user."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @abstractmethod
    def path(self, name: str) -> str:
        """Return the part of a URL that stands for the database ``name``: its name, on SQLite its file's path."""

    @abstractmethod
    def make(self, connection: Connection, name: str) -> None:
        """Create the empty database ``name``, with the character set of the database of ``connection``.

        Raise MigrationError if the user may not create a database.
        """

    @abstractmethod
    def login(self, connection: Connection, name: str, original: Connection) -> URL:
        """Create a user with rights in the database ``name`` only, and return the URL to log in there as this user.

        The user gets the search path of ``original``, the connection to the app's database, so that the name of a table
        means the same table. Raise MigrationError if the server denies this.
        """

    @abstractmethod
    def drop(self, connection: Connection, name: str) -> bool:
        """End all sessions in the database ``name``, then drop this database and its user.

        Return False if the database did not exist.
        """

    @abstractmethod
    def clear(self, connection: Connection) -> None:
        """Drop everything in the database of ``connection``, except the table that marks it as a scratch database."""

    @abstractmethod
    def has(self, connection: Connection, name: str) -> bool:
        """Return True if the user of ``connection`` can see a database ``name`` on the server."""

    @abstractmethod
    def server(self, connection: Connection) -> str:
        """Return a string that identifies the server of ``connection``, whatever address the URL has."""

    @abstractmethod
    def confine(self, connection: Connection) -> None:
        """Make sure that the user of ``connection`` can change nothing outside of this one database.

        Raise MigrationError if the user has rights elsewhere on the server.
        """

    def is_denied(self, error: BaseException | None) -> bool:
        """Return True if ``error``, or an error that led to it, says that the user lacks a right on the server."""
        while error is not None:
            driver = getattr(error, "orig", error)
            if any(code in self.denied for code in (getattr(driver, "sqlstate", None), *driver.args[:1])):
                return True
            error = error.__context__
        return False

    @contextmanager
    def denials_refused(self) -> Iterator[None]:
        """Raise MigrationError in place of a database error about a missing right; raise other errors unchanged."""
        try:
            yield
        except DBAPIError as error:
            if not self.is_denied(error):
                raise
            raise self.refused(f"this user lacks a right on the server ({summary(error)})") from error

    def refused(self, why: str) -> MigrationError:
        """Return the error that a rehearsal cannot have a scratch database with a user limited to it, and ``why``."""
        return MigrationError(
            f"{why}; a rehearsal needs a scratch database, and a user who has rights only there.",
            "as the server's administrator, create such a database and user once, or use a separate server; then set"
            " the URL:",
            *self.setup,
            f"export MIGRATION_REHEARSAL_URL={self.engine.dialect.name}://rehearsal:PASSWORD@SERVER/rehearsal",
        )

    def needs_rights(self, what: str) -> MigrationError:
        """Return the error of a rehearsal that failed with ``what``, maybe because its user has too few rights."""
        return MigrationError(
            what,
            "if the cause is that the rehearsal's user has rights only in the scratch database, rehearse on a separate"
            " server, from which nothing else can be reached:",
            f"export MIGRATION_REHEARSAL_URL={self.engine.dialect.name}://USER:PASSWORD@OTHER_SERVER",
        )


def login_of(name: str) -> str:
    """Return the name of the user of the scratch database ``name``; both end with the same hash.

    It has at most 32 characters, because MySQL allows no more.
    """
    return f"{SCRATCH}_{name[-8:]}"
