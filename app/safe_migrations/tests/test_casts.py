"""What facts tell of changes of types, before what servers do with values."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import CHAR, TypeEngine

from ..adapters.casts import Cast, spelled
from ..adapters.facts import Facts
from ..adapters.mysql.facts import MySQLFacts
from ..adapters.postgresql.facts import PostgreSQLFacts
from ..adapters.products import FACTS
from ..adapters.sqlite.facts import SQLiteFacts
from ..database import Database

LARGEST: dict[TypeEngine[Any], str] = {
    sa.SmallInteger(): "-32768",
    sa.Integer(): "-2147483648",
    sa.BigInteger(): "-9223372036854775807",
    sa.Numeric(8, 0): "-99999999",
    sa.Numeric(10, 2): "-99999999.25",
    sa.Numeric(12, 2): "-9999999999.25",
    sa.Numeric(12, 4): "-99999999.0625",
    sa.Float(24): "0.1",
    sa.Double(): "0.1",
    sa.String(3): "'bcd'",
    sa.String(5): "'bcdéé'",
    sa.String(80): f"'{'é' * 80}'",
    CHAR(3): "'bcd'",
    sa.Text(): f"'{'é' * 1000}'",
    sa.Boolean(): "true",
    sa.Date(): "'2026-11-22'",
    sa.DateTime(): "'2026-11-22 21:39:14'",
    sa.Time(): "'21:39:14'",
    sa.JSON(): "'[\"é\"]'",
}
"""Types, and a value each that only those take which are as large."""
LARGEST_OF_ONE: dict[str, dict[TypeEngine[Any], str]] = {
    "sqlite": {},
    "postgresql": {
        sa.Numeric(): "0.00000000000000000000000000000000000000001",
        sa.String(): f"'{'é' * 1000}'",
        sa.DateTime(timezone=True): "'2026-11-22 21:39:14.123456+03:00'",
        postgresql.TIMESTAMP(precision=3): "'2026-11-22 21:39:14.123'",
        postgresql.JSONB(): "'[\"é\"]'",
        sa.Uuid(): "'fb3704ab-ff84-4000-8000-000000000000'",
    },
    "mysql": {
        mysql.INTEGER(unsigned=True): "4294967295",
        mysql.TINYINT(1): "-128",
        mysql.TINYTEXT(): f"'{'e' * 255}'",
        mysql.LONGTEXT(): f"'{'é' * 40000}'",
        sa.Text(10_000): f"'{'é' * 32000}'",
        sa.Text(63): f"'{'e' * 255}'",
        mysql.DATETIME(fsp=6): "'2026-11-22 21:39:14.123456'",
        mysql.ENUM("bcd", "a"): "'bcd'",
        mysql.ENUM("a", "bcd", "é"): "'bcd'",
    },
}


@pytest.fixture
def connection(database: str) -> Iterator[sa.Connection]:
    """To an empty database, where each statement is a transaction."""
    engine = sa.create_engine(database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def kept(facts: Facts) -> Iterator[tuple[TypeEngine[Any], str, list[TypeEngine[Any]]]]:
    """Each type with its largest value, and those of which the facts say that they keep its values."""
    types = {**LARGEST, **LARGEST_OF_ONE.get(facts.dialect, LARGEST_OF_ONE["mysql"])}
    for old, value in types.items():
        yield old, value, [new for new in types if new is not old and facts.cast(old, new) is Cast.KEEPS]


def make(run: Any, facts: Facts, old: TypeEngine[Any], value: str, columns: int = 1) -> None:
    """A table with the value in each of the columns x0, x1, ..., and in y."""
    type_ = spelled(old, facts.dialect)
    run("DROP TABLE IF EXISTS pet")
    run(f"CREATE TABLE pet ({''.join(f'x{n} {type_}, ' for n in range(columns))} y {type_})")
    run(f"INSERT INTO pet VALUES ({', '.join([value] * (columns + 1))})")


def change(run: Any, facts: Facts, types: list[TypeEngine[Any]], back: bool = False) -> None:
    """Change the types of x0, x1, ..., on SQLite as Alembic does; ``back`` where PostgreSQL has to be told how."""
    names = {f"x{n}": spelled(type_, facts.dialect) for n, type_ in enumerate(types)}
    if facts.dialect == "sqlite":
        casts = "".join(f"CAST({x} AS {type_}) AS {x}, " for x, type_ in names.items())
        run(f"CREATE TABLE tmp AS SELECT {casts} y FROM pet")
        run("DROP TABLE pet")
        run("ALTER TABLE tmp RENAME TO pet")
    elif facts.dialect == "postgresql":
        using = "USING {x}::{type_}" if back else ""
        changes = (f"ALTER {x} TYPE {type_} {using.format(x=x, type_=type_)}" for x, type_ in names.items())
        run(f"ALTER TABLE pet {', '.join(changes)}")
    else:
        run(f"ALTER TABLE pet {', '.join(f'MODIFY {x} {type_}' for x, type_ in names.items())}")


def test_values_are_kept(connection: sa.Connection) -> None:
    """Where facts say so, the largest value is the same in the other type, or when it comes back from there."""
    facts = Database(connection).facts
    run = connection.exec_driver_sql
    for old, value, types in kept(facts):
        if not types:
            continue
        make(run, facts, old, value, len(types))
        change(run, facts, types)
        if facts.sizes_hold:
            change(run, facts, [old] * len(types), back=True)
            same = "CAST(x{n} AS CHAR(2000)) = CAST(y AS CHAR(2000))"
        else:
            same = "x{n} = y"
        row = run(f"SELECT {', '.join(same.format(n=n) for n in range(len(types)))} FROM pet").one()
        assert [] == [(old, new) for new, kept in zip(types, row, strict=True) if not kept]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_rewrites(connection: sa.Connection) -> None:
    """PostgreSQL rewrites a table where the facts say so, and only there."""
    facts = PostgreSQLFacts()
    run = connection.exec_driver_sql
    run("SET timezone = 'Europe/Berlin'")  # in UTC, times need no other zone
    for old, value, types in kept(facts):
        for new in types:
            make(run, facts, old, value)
            before = run("SELECT pg_relation_filenode('pet')").scalar()
            change(run, facts, [new])
            rewritten = run("SELECT pg_relation_filenode('pet')").scalar() != before
            assert (old, new, facts.rewrites(old, new)) == (old, new, rewritten)


@pytest.mark.parametrize(
    ("facts", "old", "new", "expected"),
    [
        (PostgreSQLFacts, sa.String(80), sa.String(40), Cast.SHRINKS),
        (SQLiteFacts, sa.String(80), sa.String(40), Cast.KEEPS),
        (PostgreSQLFacts, sa.Text(), sa.String(80), Cast.SHRINKS),
        (PostgreSQLFacts, sa.BigInteger(), sa.Integer(), Cast.SHRINKS),
        (MySQLFacts, mysql.INTEGER(unsigned=True), sa.Integer(), Cast.SHRINKS),
        (MySQLFacts, sa.Integer(), mysql.BIGINT(unsigned=True), Cast.SHRINKS),
        (MySQLFacts, mysql.DATETIME(fsp=6), sa.DateTime(), Cast.SHRINKS),
        (MySQLFacts, sa.Text(), sa.String(80), Cast.SHRINKS),
        (MySQLFacts, mysql.TINYTEXT(), sa.String(255), Cast.KEEPS),
        (MySQLFacts, sa.String(80), mysql.TINYTEXT(), Cast.SHRINKS),
        (MySQLFacts, mysql.MEDIUMTEXT(), sa.Text(100_000), Cast.KEEPS),
        (MySQLFacts, sa.String(10_000), sa.Text(10_000), Cast.KEEPS),
        (MySQLFacts, mysql.TINYTEXT(), sa.Text(63), Cast.KEEPS),
        (MySQLFacts, sa.Text(), sa.Text(63), Cast.SHRINKS),
        (MySQLFacts, mysql.LONGBLOB(), sa.LargeBinary(65_536), Cast.SHRINKS),
        (MySQLFacts, mysql.TINYINT(1), sa.Boolean(), Cast.KEEPS),
        (PostgreSQLFacts, sa.Numeric(10, 2), sa.Numeric(8, 2), Cast.SHRINKS),
        (PostgreSQLFacts, sa.Numeric(10, 2), sa.Numeric(10, 4), Cast.SHRINKS),
        (PostgreSQLFacts, sa.Numeric(10, 2), sa.Integer(), Cast.LOSES),
        (PostgreSQLFacts, sa.Integer(), sa.String(10), Cast.SHRINKS),
        (PostgreSQLFacts, sa.String(80), sa.Integer(), Cast.LOSES),
        (SQLiteFacts, sa.String(80), sa.Integer(), Cast.LOSES),
        (SQLiteFacts, sa.Date(), sa.DateTime(), Cast.LOSES),
        (SQLiteFacts, sa.Text(), sa.JSON(), Cast.LOSES),
        (PostgreSQLFacts, sa.DateTime(), sa.Date(), Cast.LOSES),
        (PostgreSQLFacts, sa.BigInteger(), sa.Double(), Cast.LOSES),
        (PostgreSQLFacts, None, sa.Text(), Cast.KEEPS),
        (PostgreSQLFacts, None, sa.String(80), Cast.SHRINKS),
        (PostgreSQLFacts, None, sa.Integer(), Cast.LOSES),
    ],
)
def test_casts(facts: type[Facts], old: TypeEngine[Any] | None, new: TypeEngine[Any], expected: Cast) -> None:
    """Sizes are compared within a family, an unknown one as the largest; SQLite does not enforce sizes."""
    assert expected == facts().cast(old, new)


@pytest.mark.parametrize("facts", FACTS.values())
def test_percent(facts: type[Facts]) -> None:
    """A name, a type and a default are written as they are, with one % where there is one: no driver reads them."""
    made = facts()
    assert "a%b" == made.quoted("a%b").strip('`"')
    assert "'a%b'" == made.default(sa.DefaultClause("a%b"))


def test_spelled() -> None:
    """Values are as people wrote them; what has no SQL is told by its class."""
    facts = FACTS["mysql"]()
    assert ["ENUM('open')", "String", "an unknown type"] == [
        facts.spelled(each) for each in (sa.Enum("open"), sa.String(), None)
    ]
