"""The private names of dependencies do what internals.py expects of them."""

import io

import flask_migrate
import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from .. import internals
from ..adapters.dialects import dialect_of


def test_inspects() -> None:
    """`sqlalchemy.inspect()` returns an instance of the class that is registered."""

    class Subject: ...

    class Found:
        def __init__(self, subject: Subject) -> None:
            self.subject = subject

    internals.inspects(Subject, Found)
    subject = Subject()
    found: Found = sa.inspect(subject)
    assert (Found, subject) == (type(found), found.subject)


def test_copy_column() -> None:
    """The copy has the foreign keys, and the column itself stays in no table."""
    column = sa.Column("owner_id", sa.Integer, sa.ForeignKey("user.id"))
    for _ in range(2):
        copied = internals.copy_column(column)
        sa.Table("pet", sa.MetaData(), copied)
        assert 1 == len(copied.foreign_keys)
        assert column not in copied.table.columns.values()


def test_percent_in_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path with a % arrives unchanged in the Config that Flask-Migrate makes; its own Config refuses it."""
    migrate = flask_migrate.Migrate(directory="50% off")
    with Flask("app").app_context():
        monkeypatch.setattr("flask_migrate.Config", internals._CorrectedConfig.__base__)
        with pytest.raises(ValueError, match="invalid interpolation syntax"):
            migrate.get_config()
        internals.correct_config()
        assert "50% off" == migrate.get_config().get_main_option("script_location")


def test_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alembic prints to the sys.stdout of the moment, as click's runner replaces it; by itself it does not."""
    with Flask("app").app_context():
        for corrected in (False, True):
            monkeypatch.setattr("flask_migrate.Config", internals._CorrectedConfig.__base__)
            if corrected:
                internals.correct_config()
            monkeypatch.setattr("sys.stdout", printed := io.StringIO())
            flask_migrate.Migrate(directory="x").get_config().print_stdout("told")
            assert ("told\n" if corrected else "") == printed.getvalue()


def test_variants_of() -> None:
    """The types that with_variant() added, by dialect."""
    text = sa.Text()
    assert {"mysql": text} == internals.variants_of(sa.String(9).with_variant(text, "mysql"))


def test_before_psycopg_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener is called before each of the two functions connects, and can refuse that."""
    for owner in (psycopg, psycopg.Connection):
        monkeypatch.setattr(owner, "connect", owner.connect)  # it is as before after the test

    def refuse() -> None:
        raise LookupError

    internals.before_psycopg_connects(psycopg, refuse)
    for connect in (psycopg.connect, psycopg.Connection.connect):
        with pytest.raises(LookupError):
            connect("host=127.0.0.1 port=1")


def test_before_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener is called once for each way to get a connection, and can refuse it; the pool stays as it is."""
    monkeypatch.setattr(sa.Engine, "raw_connection", sa.Engine.raw_connection)  # it is as before after the test
    calls: list[str] = []

    def listener() -> None:
        calls.append("called")
        if len(calls) > 2:
            raise LookupError

    internals.before_checkout(listener)
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE pet (id INTEGER)")
    engine.raw_connection().close()
    assert 2 == len(calls)
    for refused in (engine.connect, engine.raw_connection, engine.begin().__enter__):
        with pytest.raises(LookupError):
            refused()
    calls.clear()
    assert ["pet"] == sa.inspect(engine).get_table_names()
    engine.dispose()


def test_instead_of_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the listener returns is what an engine, its begin() and a session connect to; after None, all is usual."""
    monkeypatch.setattr(sa.Engine, "connect", sa.Engine.connect)  # it is as before after the test
    engine, other = sa.create_engine("sqlite://"), sa.create_engine("sqlite://")
    found = [None, other.connect(), other.connect()]
    internals.instead_of_connecting(lambda: found.pop() if found else None)
    with engine.begin() as connection:
        assert other is connection.engine
    with Session(engine) as session:
        assert other is session.connection().engine
    for _ in range(2):
        with engine.connect() as connection:
            assert engine is connection.engine
    engine.dispose()
    other.dispose()


def test_is_created() -> None:
    """The CHECK of an Enum is created where the database has no enums; any other CHECK is created everywhere."""
    kind = sa.Enum("a", "b", name="kind", create_constraint=True)
    table = sa.Table("pet", sa.MetaData(), sa.Column("kind", kind), sa.CheckConstraint("kind > 'a'", name="own"))
    checks = {str(each.name): each for each in table.constraints if isinstance(each, sa.CheckConstraint)}
    for dialect, created in (("sqlite", True), ("mysql", False), ("postgresql", False)):
        assert created == internals.is_created(checks["kind"], dialect_of(dialect))
        assert internals.is_created(checks["own"], dialect_of(dialect))


def test_initialize() -> None:
    """An instance of a subclass of Inspector reads the database."""

    class Own(sa.Inspector):
        def __init__(self, connection: sa.Connection) -> None:
            internals.initialize(self, connection)

    with sa.create_engine("sqlite://", poolclass=sa.NullPool).connect() as connection:
        connection.exec_driver_sql("CREATE TABLE pet (id INTEGER)")
        assert ["pet"] == Own(connection).get_table_names()
