"""All private names of dependencies that this package uses.

tests/test_internals.py tests each one, and fails first if a new version of a dependency lacks it.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import flask_migrate
from sqlalchemy import Column, Connection, Constraint, Dialect, Engine, Inspector, PoolProxiedConnection, inspect
from sqlalchemy.inspection import _inspects
from sqlalchemy.types import TypeEngine


def copy_column(column: "Column[Any]") -> "Column[Any]":
    """Return a copy of ``column`` with its foreign keys. The copy belongs to no table yet.

    SQLAlchemy 2.1 has no public way: Table.to_metadata() copies whole tables only.
    """
    return column._copy()


def initialize(inspector: Inspector, connection: Connection) -> None:
    """Initialize ``inspector``, an instance of this package's subclass of Inspector, to inspect ``connection``.

    SQLAlchemy 2.1 deprecates Inspector.__init__(), and inspect() returns an instance of the dialect's own class.
    """
    vars(inspector).update(vars(inspect(connection)))


def variants_of(kind: TypeEngine[Any]) -> Mapping[str, TypeEngine[Any]]:
    """Return the variants that with_variant() added to the type, by dialect name.

    SQLAlchemy 2.1 has no public way to read them.
    """
    return kind._variant_mapping


def inspects(subject: type, inspector: type) -> None:
    """Register a class: from then on sqlalchemy.inspect(x) returns ``inspector(x)`` for each instance x of ``subject``.

    SQLAlchemy 2.1 has no public way to register a class.
    """
    _inspects(subject)(inspector)


def correct_config() -> None:
    """Allow a ``%`` in the path of the migrations folder, and print where a test runner looks, in all of this process.

    Flask-Migrate 4.1 passes the path to ConfigParser, which requires ``%%`` for a ``%``; and Alembic prints to what was
    sys.stdout when it was imported. The functions that Migrate.configure() registers run too late to correct the first,
    so replace the class flask_migrate.Config.
    """
    flask_migrate.Config = _CorrectedConfig


class _CorrectedConfig(flask_migrate.Config):  # type: ignore[misc]  # it has no types
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, stdout=sys.stdout, **options)

    def set_main_option(self, name: str, value: str) -> None:
        super().set_main_option(name, value.replace("%", "%%") if name == "script_location" else value)


def before_checkout(listener: Callable[[], None]) -> None:
    """From now on, call ``listener`` before any engine takes a connection from its pool or opens one.

    If ``listener`` raises an error, the engine takes and opens none, and the error passes through.

    SQLAlchemy 2.1 has no event for this moment. A refusal at its checkout event closes the connection, which deletes a
    database in memory.
    """
    connect = Engine.raw_connection

    def raw_connection(self: Engine) -> PoolProxiedConnection:
        listener()
        return connect(self)

    Engine.raw_connection = raw_connection  # type: ignore[method-assign]


def instead_of_connecting(listener: Callable[[], Any]) -> None:
    """From now on, let connect() and begin() of any engine yield what ``listener`` returns, unless that is None.

    SQLAlchemy 2.1 has no event for this moment either.
    """
    connect = Engine.connect

    def stand_in_or_connection(self: Engine) -> Connection:
        return listener() or connect(self)

    Engine.connect = stand_in_or_connection  # type: ignore[method-assign]


def before_psycopg_connects(psycopg: Any, listener: Callable[[], None]) -> None:
    """From now on, call ``listener`` before psycopg connects, which its library in C does without an audit event.

    ``psycopg`` is the module, which only an app that uses PostgreSQL loads.
    """
    connect = psycopg.Connection.connect

    def connect_after_listener(cls: type, *args: Any, **options: Any) -> Any:
        listener()
        return connect.__func__(cls, *args, **options)

    psycopg.Connection.connect = classmethod(connect_after_listener)
    psycopg.connect = psycopg.Connection.connect


def is_created(constraint: Constraint, dialect: Dialect) -> bool:
    """Return False if the dialect does not create the constraint, such as an Enum's CHECK where ENUM is a type.

    SQLAlchemy 2.1 has no public way to ask; only the text of a CREATE TABLE shows it.
    """
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]
    return constraint._create_rule is None or bool(constraint._create_rule(compiler))
