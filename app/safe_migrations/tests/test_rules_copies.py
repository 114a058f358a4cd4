"""What copies a table is found, and nothing else: MySQL and MariaDB are asked the same question."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.operations.ops import ExecuteSQLOp, MigrateOperation
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from ..adapters.facts import Facts
from ..adapters.mysql.facts import MySQLFacts
from ..adapters.products import FACTS
from ..review.findings import Finding
from ..review.known_schema import KnownSchema
from ..review.recorder import Operation
from ..review.rules import RULES, Problem, RuleContext
from ..review.sql.translation import translate
from .support import is_mariadb

CODES = ("alter-copies-table", "varchar-crosses-255-bytes", "enum-reorder")
PET = (
    "CREATE TABLE pet (id INTEGER AUTO_INCREMENT PRIMARY KEY, i INTEGER, n INTEGER NOT NULL DEFAULT 3, s20 VARCHAR(20),"
    " s40 VARCHAR(40), s80 VARCHAR(80), l40 VARCHAR(40) CHARACTER SET latin1, l200 VARCHAR(200) CHARACTER SET latin1,"
    " b VARBINARY(200), c CHAR(32), t TEXT, d NUMERIC(10, 2), f FLOAT, w DATETIME, e ENUM('a', 'b', 'c'),"
    " o TINYINT(1), m SET('a', 'b')) DEFAULT CHARSET=utf8mb4"
)
COLUMNS: dict[str, sa.types.TypeEngine[Any]] = {
    "i": sa.Integer(),
    "s20": sa.String(20),
    "s40": sa.String(40),
    "s80": sa.String(80),
    "l40": mysql.VARCHAR(40, charset="latin1"),
    "l200": mysql.VARCHAR(200, charset="latin1"),
    "b": sa.VARBINARY(200),
    "c": sa.CHAR(32),
    "t": sa.Text(),
    "d": sa.Numeric(10, 2),
    "f": sa.Float(),
    "w": sa.DateTime(),
    "e": sa.Enum("a", "b", "c"),
    "o": sa.Boolean(),
    "m": mysql.SET("a", "b"),
}
TYPES: list[tuple[str, sa.types.TypeEngine[Any]]] = [
    ("i", sa.BigInteger()),
    ("i", sa.SmallInteger()),
    ("i", mysql.INTEGER(display_width=11)),
    ("i", mysql.INTEGER(unsigned=True)),
    ("i", sa.String(11)),
    ("s20", sa.String(63)),
    ("s20", sa.String(64)),
    ("s40", sa.String(63)),
    ("s40", sa.String(64)),
    ("s40", sa.String(20)),
    ("s40", sa.Text()),
    ("s40", sa.CHAR(40)),
    ("s40", sa.Enum("a", "b")),
    ("s40", mysql.VARCHAR(40, charset="latin1")),
    ("s80", sa.String(200)),
    ("s80", sa.String(40)),
    ("l40", mysql.VARCHAR(255, charset="latin1")),
    ("l40", mysql.VARCHAR(300, charset="latin1")),
    ("l200", mysql.VARCHAR(255, charset="latin1")),
    ("l200", mysql.VARCHAR(256, charset="latin1")),
    ("l40", sa.String(40)),
    ("b", sa.VARBINARY(255)),
    ("b", sa.VARBINARY(256)),
    ("c", sa.CHAR(36)),
    ("c", sa.String(32)),
    ("t", sa.Text(200)),
    ("t", mysql.LONGTEXT()),
    ("t", sa.String(100)),
    ("t", sa.JSON()),
    ("d", sa.Numeric(12, 2)),
    ("d", sa.Numeric(10, 4)),
    ("d", mysql.DECIMAL(10, 2)),
    ("f", sa.Double()),
    ("f", sa.Float(10)),
    ("f", sa.Float(30)),
    ("w", sa.Date()),
    ("w", mysql.DATETIME(fsp=6)),
    ("w", sa.TIMESTAMP()),
    ("e", sa.Enum("a", "b", "c", "d")),
    ("e", sa.Enum("b", "a", "c")),
    ("e", sa.Enum("a", "b")),
    ("e", sa.Enum("a", "x", "b", "c")),
    ("e", sa.Enum("a", "b", "c", *map(str, range(300)))),
    ("e", sa.String(9)),
    ("m", mysql.SET("a", "b", "c")),
    ("m", mysql.SET("b", "a")),
    ("m", mysql.SET("a", "b", *"cdefghi")),
    ("o", mysql.TINYINT()),
    ("o", sa.Integer()),
]
Change = Callable[[Operations], Any]
CHANGES: dict[str, Change] = {
    "add column": lambda op: op.add_column("pet", sa.Column("x", sa.Integer())),
    "add default": lambda op: op.add_column("pet", sa.Column("x", sa.Integer(), nullable=False, server_default="0")),
    "add string": lambda op: op.add_column("pet", sa.Column("x", sa.String(9), server_default="a")),
    "add now": lambda op: op.add_column("pet", sa.Column("x", sa.DateTime(), server_default=sa.func.now())),
    "add CURRENT_TIMESTAMP": lambda op: op.add_column(
        "pet", sa.Column("x", sa.DateTime(), server_default=sa.text("CURRENT_TIMESTAMP"))
    ),
    "add quoted number": lambda op: op.add_column("pet", sa.Column("x", sa.Float(), server_default=sa.text("'-1.5'"))),
    "add negative number": lambda op: op.add_column("pet", sa.Column("x", sa.Float(), server_default=sa.text("-1.5"))),
    "add boolean": lambda op: op.add_column("pet", sa.Column("x", sa.Boolean(), server_default=sa.false())),
    "add text number": lambda op: op.add_column("pet", sa.Column("x", sa.Integer(), server_default=sa.text("7"))),
    "add expression": lambda op: op.add_column("pet", sa.Column("x", sa.Integer(), server_default=sa.text("(1 + 1)"))),
    "add utc": lambda op: op.add_column(
        "pet", sa.Column("x", sa.DateTime(), server_default=sa.text("(utc_timestamp())"))
    ),
    "add comment": lambda op: op.add_column("pet", sa.Column("x", sa.Integer(), comment="c")),
    "add virtual": lambda op: op.add_column("pet", sa.Column("x", sa.Integer(), sa.Computed("i + 1"))),
    "add virtual, said": lambda op: op.add_column("pet", sa.Column("x", sa.Integer(), sa.Computed("i + 1", False))),
    "add stored": lambda op: op.add_column("pet", sa.Column("x", sa.Integer(), sa.Computed("i + 1", True))),
    "add check inline": lambda op: op.add_column("pet", sa.Column("x", sa.Integer(), sa.CheckConstraint("x > 0"))),
    "drop column": lambda op: op.drop_column("pet", "i"),
    "rename": lambda op: op.alter_column("pet", "i", new_column_name="j", existing_type=sa.Integer()),
    "rename string": lambda op: op.alter_column("pet", "s40", new_column_name="j", existing_type=sa.String(40)),
    "not null": lambda op: op.alter_column("pet", "i", nullable=False, existing_type=sa.Integer()),
    "null": lambda op: op.alter_column("pet", "n", nullable=True, existing_type=sa.Integer()),
    "default": lambda op: op.alter_column("pet", "i", server_default="5"),
    "default of a date": lambda op: op.alter_column(
        "pet", "w", existing_type=sa.DateTime(), server_default=sa.func.now()
    ),
    "no default": lambda op: op.alter_column("pet", "n", server_default=None),
    "comment": lambda op: op.alter_column("pet", "i", comment="c", existing_type=sa.Integer()),
    "begin to number": lambda op: op.alter_column(
        "owner", "id", autoincrement=True, existing_type=sa.Integer(), existing_nullable=False
    ),
    "cease to number": lambda op: op.alter_column(
        "pet", "id", autoincrement=False, existing_type=sa.Integer(), existing_nullable=False
    ),
    "wrong existing_type": lambda op: op.alter_column("pet", "i", nullable=False, existing_type=sa.BigInteger()),
    "table comment": lambda op: op.create_table_comment("pet", "c"),
    "index": lambda op: op.create_index("ix", "pet", ["i"]),
    "unique": lambda op: op.create_unique_constraint("uq", "pet", ["i"]),
    "check": lambda op: op.create_check_constraint("ck", "pet", "i > 0"),
    "add primary key": lambda op: op.create_primary_key("pk", "bare", ["id"]),
    "drop primary key": lambda op: op.drop_constraint("PRIMARY", "owner", type_="primary"),
    "rename table": lambda op: op.rename_table("pet", "animal"),
    "innodb": lambda op: op.execute("ALTER TABLE pet ENGINE = InnoDB"),
    "engine": lambda op: op.execute("ALTER TABLE pet ENGINE = MyISAM"),
    "convert": lambda op: op.execute("ALTER TABLE pet CONVERT TO CHARACTER SET latin1"),
} | {
    f"{name} to {type_!r:.40}": lambda op, name=name, type_=type_: op.alter_column(
        "pet", name, existing_type=COLUMNS[name], type_=type_, existing_nullable=True
    )
    for name, type_ in TYPES
}


@contextmanager
def server(database: str) -> Iterator[tuple[sa.Connection, Facts]]:
    """A connection, and the facts of the server."""
    engine = sa.create_engine(database, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection, FACTS["mariadb" if is_mariadb(engine.url) else "mysql"]()
    finally:
        engine.dispose()


def make(connection: sa.Connection) -> None:
    """The tables that are changed, as they were."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS pet, animal, owner, bare")
    for statement in (PET, "CREATE TABLE owner (id INTEGER PRIMARY KEY)", "CREATE TABLE bare (id INTEGER NOT NULL)"):
        connection.exec_driver_sql(statement)


def operation(change: Change, dialect: str) -> tuple[Operation, list[str]]:
    """What Alembic makes of it: the operation, and its statements."""
    written = io.StringIO()
    made = Operations(MigrationContext.configure(dialect_name=dialect, opts={"as_sql": True, "output_buffer": written}))
    found: list[MigrateOperation] = []
    invoke = made.invoke

    def note(operation: MigrateOperation) -> Any:
        found.append(operation)
        return invoke(operation)

    made.invoke = note  # type: ignore[method-assign]
    change(made)
    first = in_sql(str(found[0].sqltext))[0] if isinstance(found[0], ExecuteSQLOp) else Operation(found[0], 1)
    return first, [statement.strip() for statement in written.getvalue().split(";\n") if statement.strip()]


def in_sql(statement: str) -> list[Operation]:
    """Return the operations of SQL, as a script that executes it has them."""
    found = translate(ExecuteSQLOp(statement), "mysql")
    return [Operation(each.op, 1, statement=each.statement, requests=each.requests) for each in found]


def found_in(operation: Operation, tables: KnownSchema) -> list[str]:
    """The codes of the rules that have something to say of it."""
    case = RuleContext(cast(Any, None), "upgrade", operation, tables)
    codes = []
    for rule in (RULES[code] for code in CODES):
        if isinstance(operation.op, rule.classes):
            problems = rule.find(operation.op, case) or ()
            codes += [rule.code for _ in ((problems,) if isinstance(problems, Problem) else problems)]
    assert len(codes) < 2
    return codes


def copies(connection: sa.Connection, statements: list[str]) -> bool:
    """Whether the server refuses to do it while rows can be written."""
    refused = False
    for statement in statements:
        if not statement.startswith("ALTER TABLE") or "RENAME TO" in statement:
            connection.exec_driver_sql(statement)
            continue
        # ALGORITHM says nothing of an engine on MariaDB.
        clause = "LOCK=NONE" if "ENGINE" in statement else "ALGORITHM=INPLACE, LOCK=NONE"
        found = re.fullmatch(r"(ALTER TABLE \w+) (.*)", statement, re.DOTALL)
        assert found
        try:
            connection.exec_driver_sql(f"{found[1]} {clause}, {found[2]}")
        except DBAPIError as error:
            if "is not supported" not in str(error.orig):
                raise
            refused = True
            connection.exec_driver_sql(statement)
    return refused


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_servers(database: str) -> None:
    """A change is found where the server refuses ALGORITHM=INPLACE, LOCK=NONE: by the database, or by the script."""
    with server(database) as (connection, facts):
        expected, found = {}, {}
        for name, change in CHANGES.items():
            make(connection)
            op, statements = operation(change, facts.dialect)
            found[name] = {bool(found_in(op, KnownSchema(facts, connection)))}
            if name not in ("innodb", "wrong existing_type"):  # which only the database can tell
                found[name].add(bool(found_in(op, KnownSchema(facts))))
            expected[name] = {copies(connection, statements)}
        assert expected == found


def problems(code: str, change: Change, facts: Facts, tables: KnownSchema | None = None) -> list[Problem]:
    """What one rule says of it."""
    made, _statements = operation(change, facts.dialect)
    case = RuleContext(cast(Any, None), "upgrade", made, tables or KnownSchema(facts))
    found = RULES[code].find(made.op, case) or ()
    return [found] if isinstance(found, Problem) else list(found)


def test_words() -> None:
    """The message has the types as SQL, the way out as Python, both with the names of the script."""
    facts = FACTS["mysql"]()
    (found,) = problems("alter-copies-table", CHANGES["i to BigInteger()"], facts)
    assert (
        Problem(
            "changes pet.i from INTEGER to BIGINT; the server copies the table for this and blocks writes until it is"
            " done",
            "backfill a new column in batches, and switch the next release to it; in this revision only add it:\n"
            "    op.add_column('pet', sa.Column('i_new', sa.BigInteger(), nullable=True))\n"
            "Or use gh-ost or pt-online-schema-change, which copy the table without blocking writes.",
        )
        == found
    )
    (found,) = problems("varchar-crosses-255-bytes", CHANGES["s40 to String(length=64)"], facts)
    assert "extends pet.s40 from VARCHAR(40) to VARCHAR(64), past 255 bytes; the server copies the table" in found.what
    (found,) = problems("enum-reorder", CHANGES["e to Enum('a', 'b')"], facts)
    assert found.what.startswith(
        "removes c from the values of pet.e, which rows store by position; the server copies the table"
    )
    (found,) = problems("enum-reorder", CHANGES["e to Enum('a', 'x', 'b', 'c')"], facts)
    assert "sa.Enum('a', 'b', 'c', 'x')" in found.instead
    assert found.what.startswith("reorders the values of pet.e")


def test_versions() -> None:
    """MariaDB 11.2 copies without blocking writes, unless it adds AUTO_INCREMENT."""
    for version, expected in (((10, 5), 1), ((11, 1), 1), ((11, 2), 0), ((12, 0), 0)):
        facts = FACTS["mariadb"](version)
        for name in ("i to BigInteger()", "add stored", "drop primary key", "engine"):
            assert expected == len(problems("alter-copies-table", CHANGES[name], facts)), (version, name)
    number = sa.Column("x", sa.Integer(), primary_key=True)
    for product in ("mysql", "mariadb"):
        facts = FACTS[product]((12, 0))
        assert (
            "with AUTO_INCREMENT"
            in problems("alter-copies-table", lambda op: op.add_column("pet", number), facts)[0].what
        )


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_numbered_column(database: str) -> None:
    """Nobody can write while a table gets a column whose values the server numbers."""
    with server(database) as (connection, _facts):
        make(connection)
        statement = "ALTER TABLE bare ADD COLUMN x INTEGER AUTO_INCREMENT PRIMARY KEY"
        with pytest.raises(DBAPIError, match="LOCK=NONE is not supported"):
            connection.exec_driver_sql(f"{statement}, LOCK=NONE")


def test_default_words() -> None:
    """The lines to paste do all that the sentences before them announce, in the order in which they have to run."""
    uuid = sa.Column("x", sa.String(36), server_default=sa.text("(uuid())"))
    for product in ("mysql", "mariadb"):
        (found,) = problems("alter-copies-table", lambda op: op.add_column("pet", uuid), FACTS[product]())
        assert found.instead.startswith(
            "add the column without a default, and then set the default for new rows:\n"
            "    op.add_column('pet', sa.Column('x', sa.String(length=36), nullable=True))\n"
            "    op.alter_column('pet', 'x', existing_type=sa.String(length=36), server_default=sa.text('(uuid())'))\n"
            "and backfill existing rows in a separate revision (many rows in batches, by a script outside the "
            "migrations that commits after each batch):\n"
            "    op.execute('UPDATE pet SET x = (uuid()) WHERE x IS NULL')\n"
        )


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_default_that_differs(database: str) -> None:
    """A default that is another for each row copies, on MariaDB too; MySQL refuses it or copies."""
    with server(database) as (connection, facts):
        make(connection)

        def change(op: Operations) -> None:
            op.add_column("pet", sa.Column("x", sa.String(36), server_default=sa.text("(uuid())")))

        assert 1 == len(problems("alter-copies-table", change, facts))
        with pytest.raises(DBAPIError, match=r"INPLACE is not supported|unsafe"):
            connection.exec_driver_sql("ALTER TABLE pet ADD x VARCHAR(36) DEFAULT (uuid()), ALGORITHM=INPLACE")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER TABLE pet ENGINE=MyISAM", 1),
        ("ALTER TABLE pet MODIFY i BIGINT", 1),
        ("ALTER TABLE pet ADD COLUMN x DATETIME DEFAULT (now())", 1),
        ("ALTER TABLE pet ADD COLUMN x DATETIME DEFAULT now()", 0),
        ("ALTER TABLE pet CONVERT TO CHARACTER SET utf8mb4, ALGORITHM=INPLACE, LOCK=NONE", 0),
        ("ALTER TABLE pet MODIFY i BIGINT, ALGORITHM=INSTANT", 0),
        ("ALTER TABLE pet DROP PRIMARY KEY, ADD PRIMARY KEY (i), ALGORITHM=INPLACE, LOCK=NONE", 0),
        ("ALTER TABLE pet ADD COLUMN x INTEGER, ALGORITHM=COPY", 1),
        ("ALTER TABLE pet DROP COLUMN i, LOCK=EXCLUSIVE", 1),
        ("ALTER TABLE pet ADD INDEX ix (i), ALGORITHM=INPLACE, LOCK=SHARED", 1),
        ("ALTER TABLE pet ADD FOREIGN KEY (i) REFERENCES pet (id), ALGORITHM = copy", 1),
        ("ALTER TABLE pet FORCE, ALGORITHM=COPY", 1),
        ("CREATE INDEX ix ON pet (i) LOCK SHARED", 1),
        ("DROP INDEX ix ON pet ALGORITHM=COPY", 1),
        ("ALTER TABLE pet ADD COLUMN x INTEGER, ALGORITHM=DEFAULT, LOCK=DEFAULT", 0),
        ("ALTER TABLE pet COMMENT 'ENGINE=MyISAM'", 0),
        ("ALTER TABLE pet ADD COLUMN engine INTEGER", 0),
        ("SELECT 'ALTER TABLE pet ENGINE=MyISAM'", 0),
    ],
)
def test_sql(statement: str, expected: int) -> None:
    """SQL is read like operations; what the server would refuse rather than copy is no reason."""
    found = []
    for op in in_sql(statement):
        found += found_in(op, KnownSchema(FACTS["mysql"]()))
    assert expected == len(found)


def test_asked_for() -> None:
    """The message has the words of the statement; MariaDB 11.2 lets others write, unless a lock is asked for."""
    (op,) = in_sql("ALTER TABLE pet ADD CONSTRAINT fk FOREIGN KEY (i) REFERENCES pet (id), ALGORITHM=COPY")
    case = RuleContext(cast(Any, None), "upgrade", op, KnownSchema(FACTS["mysql"]()))
    (problem,) = cast("Iterator[Problem]", RULES["alter-copies-table"].find(op.op, case))
    assert "requests ALGORITHM=COPY, which blocks writes to pet until the statement is done" == problem.what
    for statement, expected in (("ALGORITHM=COPY", 0), ("ALGORITHM=COPY, LOCK=SHARED", 1), ("LOCK=NONE", 0)):
        (op,) = in_sql(f"ALTER TABLE pet ADD COLUMN x INTEGER, {statement}")
        assert expected == len(found_in(op, KnownSchema(FACTS["mariadb"]((11, 2))))), statement


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_json_again(review_on: Callable[..., list[Finding]]) -> None:
    """JSON is LONGTEXT on MariaDB, which shows it so: a column that stays what it is copies no table."""
    up = "op.alter_column('user', 'j', existing_type=sa.JSON(), comment='said')"
    findings = review_on(up, "ALTER TABLE {user} ADD COLUMN j JSON")
    assert [] == [finding for finding in findings if finding.code in ("alter-copies-table", "change-type")]


@pytest.mark.parametrize("backend", ["mysql"], indirect=True)
def test_width_of_the_database(database: str) -> None:
    """How many bytes a character takes is the database's answer, where the type does not say so."""
    with server(database) as (connection, facts):
        connection.exec_driver_sql("CREATE TABLE pet (s VARCHAR(200), t VARCHAR(300)) DEFAULT CHARSET=latin1")
        tables = KnownSchema(facts, connection)
        assert isinstance(facts, MySQLFacts)
        assert [(1,), ()] == [tables.first(facts.width_of("pet", column, None)) for column in ("s", "missing")]

        def grow(column: str, old: int, new: int) -> Change:
            types: dict[str, Any] = {"existing_type": sa.String(old), "type_": sa.String(new)}
            return lambda op: op.alter_column("pet", column, existing_nullable=True, **types)

        for column, old, new, crosses in (("s", 200, 255, 0), ("s", 200, 256, 1), ("t", 300, 400, 0)):
            assert crosses == len(problems("varchar-crosses-255-bytes", grow(column, old, new), facts, tables))
