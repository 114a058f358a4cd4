"""What MySQL and MariaDB copy, drop or ignore is found, and nothing else: the server is asked the same question."""

import re
from collections.abc import Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from alembic.operations import Operations
from alembic.operations.ops import AlterColumnOp, CreateTableOp
from alembic.runtime.migration import MigrationContext
from sqlalchemy import BigInteger, Enum, Integer, Numeric, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from ..adapters.facts import Facts
from ..adapters.mysql.facts import MariaDBFacts, MySQLFacts
from ..adapters.products import FACTS
from ..database import Database
from ..review.known_schema import KnownSchema
from ..review.recorder import Operation
from ..review.rules import Problem
from .support import ReviewOn, empty_database, found, on_mysql, operations_of, problems

CODES = ("alter-copies-table", "varchar-crosses-255-bytes", "enum-reorder")
TABLES = (
    "CREATE TABLE pet (id INTEGER AUTO_INCREMENT PRIMARY KEY, i INTEGER, n INTEGER NOT NULL DEFAULT 3, s20 VARCHAR(20),"
    " s40 VARCHAR(40), s80 VARCHAR(80), l40 VARCHAR(40) CHARACTER SET latin1, l200 VARCHAR(200) CHARACTER SET latin1,"
    " b VARBINARY(200), c CHAR(32), t TEXT, d NUMERIC(10, 2), f FLOAT, w DATETIME, e ENUM('a', 'b', 'c'),"
    " o TINYINT(1), m SET('a', 'b')) DEFAULT CHARSET=utf8mb4",
    "CREATE TABLE owner (id INTEGER PRIMARY KEY)",
    "CREATE TABLE bare (id INTEGER NOT NULL)",
)
latin1 = partial(mysql.VARCHAR, charset="latin1")
# For each column of pet: its type, and those that it is changed to.
TYPES: dict[str, list[sa.types.TypeEngine[Any]]] = {
    "i": [Integer(), BigInteger(), sa.SMALLINT(), mysql.INTEGER(11), mysql.INTEGER(unsigned=True), String(11)],
    "s20": [String(20), String(63), String(64)],
    "s40": [String(40), String(63), String(64), String(20), Text(), sa.CHAR(40), Enum("a", "b"), latin1(40)],
    "s80": [String(80), String(200), String(40)],
    "l40": [latin1(40), latin1(255), latin1(300), String(40)],
    "l200": [latin1(200), latin1(255), latin1(256)],
    "b": [sa.VARBINARY(200), sa.VARBINARY(255), sa.VARBINARY(256)],
    "c": [sa.CHAR(32), sa.CHAR(36), String(32)],
    "t": [Text(), Text(200), mysql.LONGTEXT(), String(100), sa.JSON()],
    "d": [Numeric(10, 2), Numeric(12, 2), Numeric(10, 4), mysql.DECIMAL(10, 2)],
    "f": [sa.Float(), sa.Double(), sa.Float(10), sa.Float(30)],
    "w": [sa.DateTime(), sa.Date(), mysql.DATETIME(fsp=6), sa.TIMESTAMP()],
    "e": [
        Enum("a", "b", "c"),
        Enum("a", "b", "c", "d"),
        Enum("b", "a", "c"),
        Enum("a", "b"),
        Enum("a", "x", "b", "c"),
        Enum("a", "b", "c", *map(str, range(300))),
        String(9),
    ],
    "m": [mysql.SET("a", "b"), mysql.SET("a", "b", "c"), mysql.SET("b", "a"), mysql.SET("a", "b", *"cdefghi")],
    "o": [sa.Boolean(), mysql.TINYINT(), Integer()],
}
ADD = "op.add_column('pet', sa.Column('x', {}))"
ADDED = (
    "sa.Integer()",
    "sa.Integer(), nullable=False, server_default='0'",
    "sa.String(9), server_default='a'",
    "sa.DateTime(), server_default=sa.func.now()",
    "sa.DateTime(), server_default=sa.text('CURRENT_TIMESTAMP')",
    "sa.DateTime(), server_default=sa.text('(utc_timestamp())')",
    "sa.Float(), server_default=sa.text(\"'-1.5'\")",
    "sa.Float(), server_default=sa.text('-1.5')",
    "sa.Boolean(), server_default=sa.false()",
    "sa.Integer(), server_default=sa.text('7')",
    "sa.Integer(), server_default=sa.text('(1 + 1)')",
    "sa.Integer(), comment='c'",
    "sa.Integer(), sa.Computed('i + 1')",
    "sa.Integer(), sa.Computed('i + 1', False)",
    "sa.Integer(), sa.Computed('i + 1', True)",
    "sa.Integer(), sa.CheckConstraint('x > 0')",
)
WRONG_TYPE = "op.alter_column('pet', 'i', nullable=False, existing_type=sa.BigInteger())"
ALTER_TYPE = "op.alter_column('pet', '{}', existing_type={}, type_={}, existing_nullable=True)"
OTHER = (
    "op.alter_column('pet', 'i', new_column_name='j', existing_type=sa.Integer())",
    "op.alter_column('pet', 's40', new_column_name='j', existing_type=sa.String(40))",
    "op.alter_column('pet', 'i', nullable=False, existing_type=sa.Integer())",
    WRONG_TYPE,
    "op.alter_column('pet', 'n', nullable=True, existing_type=sa.Integer())",
    "op.alter_column('pet', 'i', server_default='5')",
    "op.alter_column('pet', 'w', existing_type=sa.DateTime(), server_default=sa.func.now())",
    "op.alter_column('pet', 'n', server_default=None)",
    "op.alter_column('pet', 'i', comment='c', existing_type=sa.Integer())",
    "op.alter_column('owner', 'id', autoincrement=True, existing_type=sa.Integer(), existing_nullable=False)",
    "op.alter_column('pet', 'id', autoincrement=False, existing_type=sa.Integer(), existing_nullable=False)",
    "op.drop_column('pet', 'i')",
    "op.create_table_comment('pet', 'c')",
    "op.create_index('ix', 'pet', ['i'])",
    "op.create_unique_constraint('uq', 'pet', ['i'])",
    "op.create_check_constraint('ck', 'pet', 'i > 0')",
    "op.create_primary_key('pk', 'bare', ['id'])",
    "op.drop_constraint('PRIMARY', 'owner', type_='primary')",
    "op.rename_table('pet', 'animal')",
    "op.execute('ALTER TABLE pet ENGINE = InnoDB')",
    "op.execute('ALTER TABLE pet ENGINE = MyISAM')",
    "op.execute('ALTER TABLE pet CONVERT TO CHARACTER SET latin1')",
)
CHANGES = [
    *(pytest.param(change, {}, id=change) for change in (*map(ADD.format, ADDED), *OTHER)),
    *(
        pytest.param(ALTER_TYPE.format(column, "old", "new"), {"old": old, "new": new}, id=f"{column} to {new!r:.40}")
        for column, (old, *types) in TYPES.items()
        for new in types
    ),
]


@pytest.fixture(scope="module")
def connection() -> Iterator[sa.Connection]:
    """Yield a connection to a database of this module, outside transactions."""
    with empty_database("mysql", Path()) as url:
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            yield connection
        engine.dispose()


@pytest.fixture
def server(connection: sa.Connection) -> tuple[sa.Connection, MySQLFacts]:
    """Return the connection, with the tables as they were, and the facts of the server."""
    connection.exec_driver_sql("DROP TABLE IF EXISTS toy, pet, animal, owner, bare")
    for statement in TABLES:
        connection.exec_driver_sql(statement)
    facts = Database(connection).facts
    assert isinstance(facts, MySQLFacts)
    return connection, facts


def found_in(operation: Operation, tables: KnownSchema) -> list[Problem]:
    """Return what the rules about copies report; no two report the same operation."""
    found = [problem for code in CODES for problem in problems(code, operation, tables)]
    assert len(found) < 2
    return found


def report(code: str, script: str, facts: Facts, **names: object) -> list[Problem]:
    """Return what one rule reports of a line of a script, without a database."""
    (operation,) = operations_of(script, facts.dialect, **names)
    return problems(code, operation, KnownSchema(facts))


def statements_of(script: str, dialect: str, **names: object) -> list[str]:
    """Return the statements that a line of a script emits."""
    written = StringIO()
    options = {"as_sql": True, "output_buffer": written}
    exec(script, {"op": Operations(MigrationContext.configure(dialect_name=dialect, opts=options)), "sa": sa, **names})
    return [statement.strip() for statement in written.getvalue().split(";\n") if statement.strip()]


def copies(connection: sa.Connection, statements: list[str]) -> bool:
    """Return True if the server refuses to run the statements while rows can be written."""
    refused = False
    for statement in statements:
        if not statement.startswith("ALTER TABLE") or "RENAME TO" in statement:
            connection.exec_driver_sql(statement)
            continue
        # ALGORITHM says nothing of an engine on MariaDB.
        clause = "LOCK=NONE" if "ENGINE" in statement else "ALGORITHM=INPLACE, LOCK=NONE"
        parts = re.fullmatch(r"(ALTER TABLE \w+) (.*)", statement, re.DOTALL)
        assert parts
        try:
            connection.exec_driver_sql(f"{parts[1]} {clause}, {parts[2]}")
        except DBAPIError as error:
            if "is not supported" not in str(error.orig):
                raise
            refused = True
            connection.exec_driver_sql(statement)
    return refused


@pytest.mark.parametrize(("script", "names"), CHANGES)
def test_copies(server: tuple[sa.Connection, MySQLFacts], script: str, names: dict[str, object]) -> None:
    """A change is found where the server refuses ALGORITHM=INPLACE, LOCK=NONE: by the database, or by the script."""
    connection, facts = server
    operation = operations_of(script, facts.dialect, **names)[0]
    found = {bool(found_in(operation, KnownSchema(facts, connection)))}
    if "InnoDB" not in script and script != WRONG_TYPE:  # which only the database can tell
        found.add(bool(found_in(operation, KnownSchema(facts))))
    assert {copies(connection, statements_of(script, facts.dialect, **names))} == found


@pytest.mark.parametrize(("version", "expected"), [((10, 5), 1), ((11, 1), 1), ((11, 2), 0), ((12, 0), 0)])
@pytest.mark.parametrize(
    "script",
    [
        ALTER_TYPE.format("i", "sa.Integer()", "sa.BigInteger()"),
        ADD.format("sa.Integer(), sa.Computed('i + 1', True)"),
        "op.drop_constraint('PRIMARY', 'owner', type_='primary')",
        "op.execute('ALTER TABLE pet ENGINE = MyISAM')",
    ],
)
def test_versions(script: str, version: tuple[int, ...], expected: int) -> None:
    """No copy is reported on MariaDB from 11.2 on, which copies without blocking writes."""
    assert expected == len(report("alter-copies-table", script, FACTS["mariadb"](version)))


@pytest.mark.parametrize("product", ["mysql", "mariadb"])
def test_numbered_column(product: str) -> None:
    """Each version blocks writes to number the rows of a table."""
    (problem,) = report("alter-copies-table", ADD.format("sa.Integer(), primary_key=True"), FACTS[product]((12, 0)))
    assert "with AUTO_INCREMENT" in problem.what


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("ALTER TABLE bare ADD COLUMN x INTEGER AUTO_INCREMENT PRIMARY KEY, LOCK=NONE", "LOCK=NONE is not supported"),
        ("ALTER TABLE pet ADD x VARCHAR(36) DEFAULT (uuid()), ALGORITHM=INPLACE", "INPLACE is not supported|unsafe"),
    ],
)
def test_refused(server: tuple[sa.Connection, MySQLFacts], statement: str, error: str) -> None:
    """The server cannot number rows, or give each another default, without blocking writes."""
    with pytest.raises(DBAPIError, match=error):
        server[0].exec_driver_sql(statement)


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
def test_copies_by_sql(statement: str, expected: int) -> None:
    """SQL is read like operations; what the server would refuse rather than copy is no reason."""
    operations = operations_of(f"op.execute({statement!r})", "mysql")
    assert expected == sum(len(found_in(operation, KnownSchema(FACTS["mysql"]()))) for operation in operations)


@pytest.mark.parametrize(
    ("request_", "expected"), [("ALGORITHM=COPY", 0), ("ALGORITHM=COPY, LOCK=SHARED", 1), ("LOCK=NONE", 0)]
)
def test_requested_lock(request_: str, expected: int) -> None:
    """MariaDB 11.2 lets others write during a copy, unless a lock is requested."""
    script = f"op.execute('ALTER TABLE pet ADD COLUMN x INTEGER, {request_}')"
    assert expected == len(report("alter-copies-table", script, FACTS["mariadb"]((11, 2))))


@on_mysql
def test_json_again(review_on: ReviewOn) -> None:
    """JSON is LONGTEXT on MariaDB, which shows it so: a column that stays what it is copies no table."""
    up = "op.alter_column('user', 'j', existing_type=sa.JSON(), comment='said')"
    findings = review_on(up, "ALTER TABLE {user} ADD COLUMN j JSON")
    assert [] == found(findings, "alter-copies-table") + found(findings, "change-type")


@pytest.mark.parametrize(
    ("column", "old", "new", "crosses"), [("l200", 200, 255, 0), ("l200", 200, 256, 1), ("l300", 300, 400, 0)]
)
def test_width_of_the_database(
    server: tuple[sa.Connection, MySQLFacts], column: str, old: int, new: int, crosses: int
) -> None:
    """How many bytes a character takes is the database's answer, where the type does not say so."""
    connection, facts = server
    connection.exec_driver_sql("ALTER TABLE pet ADD COLUMN l300 VARCHAR(300) CHARACTER SET latin1")
    (operation,) = operations_of(
        ALTER_TYPE.format(column, "old", "new"), facts.dialect, old=String(old), new=String(new)
    )
    tables = KnownSchema(facts, connection)
    assert [(1,), ()] == [tables.first(facts.width_of("pet", each, None)) for each in (column, "missing")]
    assert crosses == len(problems("varchar-crosses-255-bytes", operation, tables))


NOW = "CURRENT_TIMESTAMP"
ON_UPDATE = f"{NOW} ON UPDATE {NOW}"
BINARY = "utf8mb4_bin"
# A column; what a change of something else says of it; what this drops, and what would keep it.
RESTATED: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("sa.String(20), nullable=False", {}, "NOT NULL", {"existing_nullable": False}),
    ("sa.String(20), nullable=False", {"existing_nullable": True}, "NOT NULL", {"existing_nullable": False}),
    ('sa.String(20), server_default="it\'s"', {}, "DEFAULT", {"existing_server_default": "it's"}),
    (
        "sa.String(36), server_default=sa.text('(uuid())')",
        {},
        "DEFAULT",
        {"existing_server_default": sa.text("(uuid())")},
    ),
    (
        f"sa.DateTime(), server_default=sa.text('{ON_UPDATE}')",
        {"existing_server_default": sa.text(NOW)},
        "ON UPDATE",
        {"existing_server_default": sa.text(ON_UPDATE)},
    ),
    ("sa.String(20), comment='said'", {"modify_nullable": False}, "COMMENT 'said'", {"existing_comment": "said"}),
    (
        f"sa.String(20, collation='{BINARY}')",
        {"existing_type": String(20)},
        f"COLLATE {BINARY}",
        {"existing_type": mysql.VARCHAR(20, collation=BINARY)},
    ),
    ("sa.Integer(), primary_key=True", {"existing_nullable": False}, "AUTO_INCREMENT", {"autoincrement": True}),
    ("sa.Integer(), sa.Computed('1 + 1', persisted=True)", {}, "its generation expression", {}),
]


def x(column: str) -> sa.Column[Any]:
    """Return a column x, without a table."""
    return cast("sa.Column[Any]", eval(f"sa.Column('x', {column})", {"sa": sa}))


def dropped(op: Any, tables: KnownSchema, statement: str | None = None) -> str:
    """Return what the change drops, in the words of the rule."""
    found = problems("modify-drops-attributes", Operation(op, 1, statement=statement), tables)
    return "".join(problem.what.partition("does not repeat: ")[2] for problem in found)


@pytest.mark.parametrize(
    ("column", "said", "kept", "attribute"),
    [
        *((column, said, False, attribute) for column, said, attribute, _ in RESTATED),
        *((column, {**said, **keeping}, True, attribute) for column, said, attribute, keeping in RESTATED if keeping),
    ],
)
def test_restated(
    server: tuple[sa.Connection, MySQLFacts], column: str, said: dict[str, Any], kept: bool, attribute: str
) -> None:
    """What the rule says is what is gone from SHOW CREATE TABLE; what is said stays."""
    connection, facts = server
    made = Operations(MigrationContext.configure(connection))
    word = {"its generation expression": "STORED"}.get(attribute, attribute).lower()

    def shown() -> str:
        line = str(connection.exec_driver_sql("SHOW CREATE TABLE pet").one()[1]).splitlines()[1]
        return line.lower().replace("persistent", "stored").replace("default null", "")

    made.drop_table("pet")
    made.invoke(CreateTableOp("pet", [x(column)]))
    history = KnownSchema(facts)
    history.apply(CreateTableOp("pet", [x(column)]))
    nullable = {} if "nullable=False" in column else {"existing_nullable": True}
    change = {} if "modify_nullable" in said else {"modify_comment": "new"}
    op = AlterColumnOp("pet", "x", **{"existing_type": x(column).type, **nullable, **change, **said})
    by_database, by_history = dropped(op, KnownSchema(facts, connection)), dropped(op, history)
    assert word in shown()
    made.invoke(op)
    assert kept == (word in shown())
    if kept:
        assert ("", "") == (by_database, by_history)
    else:
        assert attribute in by_database
        assert attribute == "ON UPDATE" or attribute in by_history


@pytest.mark.parametrize("facts", [MySQLFacts(), MariaDBFacts()], ids=lambda facts: facts.product)
def test_restated_character_set(facts: MySQLFacts) -> None:
    """A MODIFY that names the character set keeps the collation if that is the set's default."""
    for collation, lost in (("ascii_general_ci", ""), ("ascii_bin", "COLLATE ascii_bin")):
        tables = KnownSchema(facts)
        old = mysql.VARCHAR(20, charset="ascii", collation=collation)
        tables.apply(CreateTableOp("pet", [sa.Column("x", old)]))
        new = mysql.VARCHAR(25, charset="ascii")
        assert lost == dropped(AlterColumnOp("pet", "x", modify_type=new, existing_nullable=True), tables)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"modify_type": Text()}, "NOT NULL, if the column is NOT NULL"),
        ({"modify_comment": "c"}, "NOT NULL, if the column is NOT NULL, its type, which Alembic requires"),
        ({"modify_nullable": False}, "its type, which Alembic requires"),
        ({"modify_type": Text(), "existing_type": String(20), "existing_nullable": True}, ""),
        ({"modify_nullable": False, "existing_type": String(20)}, ""),
        ({"modify_server_default": "x"}, ""),
    ],
)
def test_restated_unknown(change: dict[str, Any], expected: str) -> None:
    """Without database and history what the script does not say may be lost; what Flask-Migrate writes is enough."""
    assert expected == dropped(AlterColumnOp("pet", "x", **change), KnownSchema(FACTS["mysql"]()))


def known_pet() -> KnownSchema:
    """Return the schema after a script has created pet with a column x that has attributes."""
    tables = KnownSchema(FACTS["mysql"]())
    column = x("sa.String(20), nullable=False, server_default='a', comment='c'")
    tables.apply(CreateTableOp("pet", [column]))
    return tables


@pytest.mark.parametrize(
    ("change", "is_known", "expected"),
    [
        ("MODIFY x VARCHAR(30)", True, "NOT NULL, DEFAULT 'a', COMMENT 'c'"),
        ("CHANGE x y VARCHAR(30) NOT NULL DEFAULT 'b' COMMENT 'd'", True, ""),
        ("ALTER COLUMN x SET DEFAULT 'c'", True, ""),
        ("MODIFY x VARCHAR(30)", False, "NOT NULL, if the column is NOT NULL"),
        ("MODIFY x VARCHAR(30) NOT NULL", False, ""),
        ("RENAME COLUMN x TO y", False, ""),
    ],
)
def test_restated_by_sql(change: str, is_known: bool, expected: str) -> None:
    """MODIFY in SQL says all of a column: what goes is what the column has, and the statement does not say."""
    (operation,) = operations_of(f"op.execute({f'ALTER TABLE pet {change}'!r})", "mysql")
    tables = known_pet() if is_known else KnownSchema(FACTS["mysql"]())
    assert expected == dropped(operation.op, tables, operation.statement)


REFERENCES = {
    "pet.x": "ALTER TABLE pet ADD COLUMN x INTEGER REFERENCES owner (id)",
    "toy.pet": "CREATE TABLE toy (id INTEGER PRIMARY KEY, pet INTEGER REFERENCES owner (id))",
}


@pytest.mark.parametrize("column", REFERENCES)
def test_inline_references(server: tuple[sa.Connection, MySQLFacts], column: str) -> None:
    """What the facts say of the server's version is what it does, in ALTER and in CREATE TABLE."""
    connection, facts = server
    connection.exec_driver_sql(REFERENCES[column])
    keys = sa.inspect(connection).get_foreign_keys(column.partition(".")[0])
    assert facts.ignores_inline_references == (not keys)


@pytest.mark.usefixtures("in_app")
@pytest.mark.parametrize("column", REFERENCES)
@pytest.mark.parametrize(
    ("product", "version", "ignored"),
    [
        ("mysql", (8, 4), True),
        ("mysql", (9, 0), False),
        ("mysql", (), True),
        ("mariadb", (10, 4), True),
        ("mariadb", (10, 5), False),
    ],
)
def test_inline_references_of_versions(product: str, version: tuple[int, ...], ignored: bool, column: str) -> None:
    """MySQL before 9.0 and MariaDB before 10.5 read it and forget it."""
    script = f"op.execute({REFERENCES[column]!r})"
    found = report("inline-references-ignored", script, FACTS[product](version))
    assert ignored == bool(found)
    for problem in found:
        assert f"has REFERENCES in the definition of {column}" in problem.what
        assert ", 'owner', ['" in problem.instead


def test_restated_default_with_a_colon() -> None:
    """The line to paste has a backslash, without which SQLAlchemy writes NULL in place of a parameter."""
    tables = known_pet()
    tables.table("pet").columns["x"].default = "'a :b'"  # as the database has it
    tables.table("pet").columns["x"].type = None
    operation = Operation(AlterColumnOp("pet", "x", modify_comment="c"), 1)
    (problem,) = problems("modify-drops-attributes", operation, tables)
    assert r"""existing_server_default=sa.text("'a \\:b'")""" in problem.instead
