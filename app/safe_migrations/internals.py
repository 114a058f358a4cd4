"""Everything private that this package uses of its dependencies. tests/safe_migrations/test_internals.py holds each of
them against the installed versions, so that an upgrade of a dependency that takes one away fails there first.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flask_migrate
from sqlalchemy import Column, Connection, Constraint, Dialect, Engine, Inspector, PoolProxiedConnection, inspect
from sqlalchemy.inspection import _inspects
from sqlalchemy.types import TypeEngine


def copy_column(column: "Column[Any]") -> "Column[Any]":
    """Return a copy of a column that is in no table yet, with its foreign keys.

    SQLAlchemy 2.1 copies columns with their tables only (Table.to_metadata), and foreign keys not a second time.
    """
    return column._copy()


def initialize(inspector: Inspector, connection: Connection) -> None:
    """Let an instance of a subclass of Inspector inspect ``connection``.

    SQLAlchemy 2.1 deprecates Inspector's own __init__(), and inspect() makes no subclass but the dialect's.
    """
    vars(inspector).update(vars(inspect(connection)))


def variants_of(kind: TypeEngine[Any]) -> Mapping[str, TypeEngine[Any]]:
    """Return what with_variant() added to a type, by dialect. SQLAlchemy 2.1 has no public way to read it."""
    return kind._variant_mapping


def inspects(subject: type, inspector: type) -> None:
    """Let sqlalchemy.inspect() return ``inspector`` for an instance of ``subject``.

    SQLAlchemy 2.1 registers its own classes so; there is no public way for another class.
    """
    _inspects(subject)(inspector)


def allow_percent_in_path() -> None:
    """Let the path of the migrations contain a ``%``, in all that Flask-Migrate does in this process.

    Flask-Migrate 4.1 hands the path to ConfigParser, for which a ``%`` has to be doubled, before it calls what
    Migrate.configure() has registered. It makes each Config from this name of its module.
    """
    flask_migrate.Config = _PercentConfig


class _PercentConfig(flask_migrate.Config):  # type: ignore[misc]  # it has no types
    def set_main_option(self, name: str, value: str) -> None:
        super().set_main_option(name, value.replace("%", "%%") if name == "script_location" else value)


def before_checkout(listener: Callable[[], None]) -> None:
    """Call ``listener``, which may raise, before any engine takes a connection from its pool or opens one.

    SQLAlchemy 2.1 has no event for that: it closes a connection that is refused when it is checked out, and a database
    in memory with it.
    """
    connect = Engine.raw_connection

    def raw_connection(self: Engine) -> PoolProxiedConnection:
        listener()
        return connect(self)

    Engine.raw_connection = raw_connection  # type: ignore[method-assign]


def is_created(constraint: Constraint, dialect: Dialect) -> bool:
    """Return False for the CHECK of a type, such as Enum, that the dialect expresses by the type itself.

    SQLAlchemy 2.1 keeps that condition in the constraint; otherwise only the text of a CREATE TABLE shows it.
    """
    compiler = dialect.ddl_compiler(dialect, None)  # type: ignore[arg-type]
    return constraint._create_rule is None or bool(constraint._create_rule(compiler))
