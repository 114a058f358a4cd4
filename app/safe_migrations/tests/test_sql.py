"""Raw SQL becomes the operations that say the same, whatever database it is for."""

import cProfile
import gc
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import ops
from sqlalchemy.dialects import postgresql

from ..adapters.facts import Facts
from ..review.known_schema import KnownSchema
from ..review.sql.ops import CommandOp, Translation
from ..review.sql.translation import translate
from .support import PACKAGE

ALL = ("sqlite", "mysql", "mariadb", "postgresql")
SHORT = {"sqlite": ("sqlite",), "mysql": ("mysql", "mariadb"), "postgresql": ("postgresql",), "all": ALL}


def shown(found: Translation) -> str:
    """The operation in one line: its class, its table, and all that it says."""
    op = found.op
    said = {name: value for name, value in vars(op).items() if name not in {"text", "table_name", "source_table"}}
    said["asks"] = found.requests
    table = ".".join(
        filter(None, [said.pop("schema", None), getattr(op, "table_name", None) or getattr(op, "source_table", None)])
    )
    if said.get("parsed") is True:
        del said["parsed"]
    words = [type(op).__name__.removesuffix("Op"), table, *(shown_value(*item) for item in said.items())]
    return " ".join(word for word in words if word)


def shown_value(name: str, value: Any) -> str:
    """Nothing where it says nothing."""
    if isinstance(value, sa.Column):
        return shown_column(value)
    if isinstance(value, (list, tuple)) and any(isinstance(item, sa.schema.SchemaItem) for item in value):
        return "(" + ", ".join(shown_item(item) for item in value) + ")"
    if value is None or value is False or value in ({}, [], ()) or value == "":
        return f"{name}={value}" if name in {"modify_nullable", "bounded", "parsed"} and value is False else ""
    if isinstance(value, list):
        value = [str(item) for item in value]
    return f"{name}={value}"


def shown_item(item: Any) -> str:
    """A column, or a constraint."""
    return shown_column(item) if isinstance(item, sa.Column) else type(item).__name__


def shown_column(column: "sa.Column[Any]") -> str:
    """Its name, type and options."""
    words = [column.name, re.sub(r"\s+", " ", repr(column.type)), "" if column.nullable else "NOT NULL"]
    words.append(f"DEFAULT {column.server_default.arg}" if isinstance(column.server_default, sa.DefaultClause) else "")
    words += [f"AS {each.sqltext} {bool(each.persisted)}" for each in [column.computed] if each is not None]
    words += [option.upper() for option in ("primary_key", "unique", "identity", "comment") if getattr(column, option)]
    words += [f"-> {key.target_fullname}" for key in column.foreign_keys]
    return " ".join(filter(None, [*words, *column.info]))


# Databases, a statement, and its operation, or below it its operations.
STATEMENTS = r"""
all: ALTER TABLE a ADD COLUMN b INTEGER NOT NULL DEFAULT 5 -> AddColumn a b INTEGER() NOT NULL DEFAULT 5
all: ALTER TABLE a ADD b VARCHAR(20) DEFAULT 'x, y; -- no comment' UNIQUE -> AddColumn a b VARCHAR(length=20) DEFAULT 'x, y; -- no comment' UNIQUE
all: ALTER TABLE a ADD COLUMN b INTEGER CONSTRAINT fk REFERENCES c (id) ON DELETE CASCADE -> AddColumn a b INTEGER() -> c.id inline_references inline_references=True
all: ALTER TABLE a ADD b INT GENERATED ALWAYS AS (c * (2 + 1)) STORED -> AddColumn a b INTEGER() AS c * (2 + 1) True
all: ALTER TABLE a DROP b -> DropColumn a column_name=b
all: ALTER TABLE a RENAME TO b -> RenameTable a new_table_name=b
all: ALTER TABLE a RENAME COLUMN x TO y -> AlterColumn a column_name=x modify_name=y
all: alter table a /* ; drop table b; */ add -- drop column c, -> Command a words=ALTER TABLE ... ADD parsed=False
all: CREATE INDEX ix ON a (b, lower(c)) -> CreateIndex a index_name=ix columns=['b', 'lower(c)']
all: CREATE UNIQUE INDEX ix ON s.a (b) -> CreateIndex s.a index_name=ix columns=['b'] unique=True
all: DROP TABLE IF EXISTS a, s.b; DROP INDEX ix;
    DropTable a
    DropTable s.b
    DropIndex index_name=ix
all: CREATE TABLE a (id INTEGER PRIMARY KEY, b INT REFERENCES c (id), d NUMERIC(10, 2) NOT NULL, CONSTRAINT u UNIQUE (b), FOREIGN KEY (b) REFERENCES c (id), CHECK (d > 0))
    CreateTable a (id INTEGER() NOT NULL PRIMARY_KEY, b INTEGER() -> c.id inline_references, d NUMERIC(precision=10, scale=2) NOT NULL, UniqueConstraint, ForeignKeyConstraint, CheckConstraint)
all: CREATE TABLE a AS SELECT * FROM b -> CreateTable a
all: SELECT 'DROP TABLE a; DELETE FROM b' -> Command words=SELECT
all: -- DROP TABLE a ->
all: INSERT INTO a (b) VALUES ('DELETE FROM c') -> ChangeRows a verb=INSERT bounded=True given=True
all: UPDATE a SET b = 1 -> ChangeRows a verb=UPDATE bounded=False columns=('b',)
all: UPDATE a SET b = 1 WHERE 1 = 1 OR c = 2 -> ChangeRows a verb=UPDATE bounded=False columns=('b',)
all: UPDATE a SET b = 1 WHERE c = 2 -> ChangeRows a verb=UPDATE bounded=True columns=('b',)
all: DELETE FROM s.a -> ChangeRows s.a verb=DELETE bounded=False
all: DELETE FROM a WHERE true -> ChangeRows a verb=DELETE bounded=False
all: DELETE FROM a WHERE 1 = 0 -> ChangeRows a verb=DELETE bounded=True
all: WITH x AS (SELECT 1 AS id) DELETE FROM a WHERE id IN (SELECT id FROM x) -> ChangeRows a verb=DELETE bounded=True
all: BEGIN -> Command words=BEGIN
all: ROLLBACK TO SAVEPOINT x -> Command words=ROLLBACK TO
all: DROP VIEW v -> Command words=DROP VIEW name=v drops=True
all: GRANT nothing that anybody could read -> Command words=GRANT
all: ALTER TABLE a ADD -> Command a words=ALTER TABLE ... ADD parsed=False
all: FROBNICATE a -> Command words=FROBNICATE A parsed=False
all: UPDATE a SET -> ChangeRows a verb=UPDATE bounded=False
all: DROP TABLE 'a -> Command words=DROP TABLE parsed=False
all: INSERT INTO a SELECT * FROM b -> ChangeRows a verb=INSERT bounded=True source=(None, 'b')
all: INSERT INTO a DEFAULT VALUES -> ChangeRows a verb=INSERT bounded=True
postgresql: ALTER TABLE ONLY public."User" ADD CONSTRAINT fk FOREIGN KEY (x, y) REFERENCES o.p (q, r) ON DELETE SET NULL NOT VALID
    CreateForeignKey User constraint_name=fk referent_table=p local_cols=['x', 'y'] remote_cols=['q', 'r'] kw={'ondelete': 'SET NULL', 'referent_schema': 'o', 'postgresql_not_valid': True}
postgresql: ALTER TABLE a ALTER b TYPE bigint USING b::bigint, ALTER COLUMN c SET NOT NULL, ALTER c DROP NOT NULL, ALTER d SET DEFAULT now(), ALTER d DROP DEFAULT
    AlterColumn a column_name=b modify_type=BIGINT kw={'postgresql_using': 'b::bigint'}
    AlterColumn a column_name=c modify_nullable=False
    AlterColumn a column_name=c modify_nullable=True
    AlterColumn a column_name=d modify_server_default=now()
    AlterColumn a column_name=d
postgresql: ALTER TABLE a ADD b timestamptz DEFAULT now() -> AddColumn a b TIMESTAMP(timezone=True) DEFAULT CURRENT_TIMESTAMP
postgresql: ALTER TABLE a ADD e mood NOT NULL -> AddColumn a e NamedType('mood') NOT NULL
postgresql: ALTER TABLE a ADD g timestamp(3) without time zone -> AddColumn a g TIMESTAMP(precision=3)
postgresql: ALTER TABLE a ADD b bigserial -> AddColumn a b BIGINT() NOT NULL DEFAULT nextval('a_b_seq'::regclass)
postgresql: ALTER TABLE a ADD c int GENERATED BY DEFAULT AS IDENTITY -> AddColumn a c INTEGER() NOT NULL IDENTITY
postgresql: ALTER TABLE a ADD d text DEFAULT 'x'::text COLLATE "C" -> AddColumn a d TEXT(collation='C') DEFAULT CAST('x' AS TEXT)
postgresql: ALTER TABLE A ADD UNIQUE NULLS NOT DISTINCT (B) -> CreateUniqueConstraint a columns=['b'] kw={'postgresql_nulls_not_distinct': True}
postgresql: ALTER TABLE A ADD CONSTRAINT c CHECK (b > 0) NOT VALID -> CreateCheckConstraint a constraint_name=c condition=b > 0 kw={'postgresql_not_valid': True}
postgresql: ALTER TABLE a ADD CONSTRAINT u UNIQUE USING INDEX ix -> Command a words=ADD UNIQUE USING INDEX name=ix
postgresql: ALTER TABLE a VALIDATE CONSTRAINT c -> Command a words=VALIDATE CONSTRAINT name=c
postgresql: ALTER TABLE a DROP CONSTRAINT IF EXISTS c CASCADE
    DropConstraint a constraint_name=c
    Command a words=DROP CONSTRAINT name=c drops=True cascade=True
postgresql: ALTER TABLE a RENAME CONSTRAINT x TO y -> Command a words=RENAME CONSTRAINT name=x
postgresql: ALTER TABLE a RENAME x TO y -> AlterColumn a column_name=x modify_name=y
postgresql: ALTER TABLE a DETACH PARTITION p CONCURRENTLY -> Command a words=DETACH PARTITION name=p concurrently=True
postgresql: ALTER TABLE a OWNER TO me -> Command a words=OWNER TO name=me
postgresql: ALTER TABLE a SET SCHEMA s -> Command a words=SET SCHEMA name=s
postgresql: CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON s.t USING gin (a gin_trgm_ops, lower(b) DESC) WHERE d IS NULL
    CreateIndex s.t index_name=ix columns=['a', 'lower(b) DESC'] kw={'postgresql_concurrently': True, 'postgresql_using': 'gin'}
postgresql: DROP INDEX CONCURRENTLY IF EXISTS s.ix, iy
    DropIndex s index_name=ix kw={'postgresql_concurrently': True}
    DropIndex index_name=iy kw={'postgresql_concurrently': True}
postgresql: ALTER TYPE mood RENAME VALUE 'a' TO 'x' -> Command words=ALTER TYPE ... RENAME VALUE name=mood
postgresql: DROP TYPE mood CASCADE -> Command words=DROP TYPE name=mood drops=True cascade=True
postgresql: VACUUM FULL a, b
    Command a words=VACUUM FULL
    Command b words=VACUUM FULL
postgresql: VACUUM (FULL, ANALYZE) a -> Command a words=VACUUM FULL
postgresql: REINDEX TABLE CONCURRENTLY a -> Command words=REINDEX name=a concurrently=True
postgresql: LOCK TABLE ONLY a IN ACCESS EXCLUSIVE MODE -> Command a words=LOCK TABLE
postgresql: LOCK b -> Command b words=LOCK TABLE
postgresql: START TRANSACTION -> Command words=BEGIN
postgresql: END -> Command words=COMMIT
postgresql: ABORT -> Command words=ROLLBACK
postgresql: TRUNCATE a, s.b RESTART IDENTITY CASCADE
    ChangeRows a verb=TRUNCATE bounded=False cascade=True
    ChangeRows s.b verb=TRUNCATE bounded=False cascade=True
postgresql: WITH x AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM x
    ChangeRows a verb=DELETE bounded=False
    ChangeRows b verb=INSERT bounded=True
postgresql: UPDATE a AS x SET b = c.d FROM c WHERE x.id = c.id -> ChangeRows a verb=UPDATE bounded=True columns=('b',)
postgresql: DELETE FROM a USING b -> ChangeRows a verb=DELETE bounded=False
postgresql: COPY a FROM PROGRAM 'id' -> Command words=COPY PROGRAM
postgresql: COPY (SELECT b FROM program) TO STDOUT -> Command words=COPY
postgresql: DO $$ BEGIN DELETE FROM a; DROP TABLE b; END $$; SELECT 1
    Command words=DO
    Command words=SELECT
postgresql: CREATE FUNCTION f() RETURNS trigger AS $fn$ BEGIN DELETE FROM a; RETURN NEW; END $fn$ LANGUAGE plpgsql; CREATE TRIGGER t BEFORE UPDATE OR DELETE ON a EXECUTE FUNCTION f()
    Command words=CREATE FUNCTION name=f
    Command a words=CREATE TRIGGER name=t
postgresql: CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM a; SELECT 1; END; DROP TABLE a
    Command words=CREATE FUNCTION name=f
    DropTable a
postgresql: REFRESH MATERIALIZED VIEW CONCURRENTLY v -> Command words=REFRESH MATERIALIZED VIEW concurrently=True
postgresql: DROP OWNED BY me -> Command words=DROP OWNED BY name=me drops=True
postgresql: DROP FUNCTION f(int, text) -> Command words=DROP FUNCTION name=f drops=True
postgresql: COMMENT ON TABLE a IS 'DROP TABLE a' -> Command words=COMMENT ON
postgresql: SET LOCAL lock_timeout = '5s' -> Command words=SET
postgresql: INSERT INTO a (b) VALUES (1) ON CONFLICT DO NOTHING -> ChangeRows a verb=INSERT bounded=True given=True
postgresql: INSERT INTO a (b) VALUES (1) ON CONFLICT (b) DO UPDATE SET b = 2 -> ChangeRows a verb=REPLACE bounded=True given=True
postgresql: INSERT INTO a (b) SELECT b FROM c ON CONFLICT (b) DO UPDATE SET b = 2 -> ChangeRows a verb=REPLACE bounded=False
postgresql: INSERT INTO a (b) SELECT b FROM c WHERE d < 5 ON CONFLICT (b) DO UPDATE SET b = 2 -> ChangeRows a verb=REPLACE bounded=True
postgresql: DROP TABLE "A" -> DropTable A
postgresql: DROP VIEW "C" -> Command words=DROP VIEW name=C drops=True
postgresql: TRUNCATE "A" -> ChangeRows A verb=TRUNCATE bounded=False
postgresql: DELETE FROM "A" -> ChangeRows A verb=DELETE bounded=False
postgresql: ALTER TABLE "A" DROP COLUMN "B" -> DropColumn A column_name=B
postgresql: ALTER TABLE "A" RENAME COLUMN "D" TO "E" -> AlterColumn A column_name=D modify_name=E
postgresql: TRUNCATE ONLY a, ONLY s.b
    ChangeRows a verb=TRUNCATE bounded=False
    ChangeRows s.b verb=TRUNCATE bounded=False
postgresql: DROP TABLE a, ONLY
    DropTable a
    DropTable only
postgresql: ALTER TABLE a ALTER b SET STATISTICS 100 -> Command a words=ALTER COLUMN ... SET STATISTICS name=b
postgresql: ALTER TABLE a DISABLE TRIGGER USER -> Command a words=DISABLE TRIGGER name=user
postgresql: CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f() -> Command words=CREATE EVENT TRIGGER name=t
postgresql: CREATE RULE r AS ON UPDATE TO a DO INSTEAD NOTHING -> Command a words=CREATE RULE name=r
postgresql: DROP POLICY p ON a -> Command a words=DROP POLICY name=p drops=True
postgresql: ALTER TABLE a ADD b float -> AddColumn a b DOUBLE_PRECISION()
postgresql: ALTER TABLE a ADD d interval(3) -> AddColumn a d INTERVAL(precision=3)
postgresql: ALTER TABLE a ADD f integer[][] -> AddColumn a f ARRAY(INTEGER(), dimensions=2)
postgresql: ALTER TABLE a ADD partition int, ALTER partition SET DEFAULT 5, DROP c
    AddColumn a partition INTEGER()
    AlterColumn a column_name=partition modify_server_default=5
    DropColumn a column_name=c
postgresql: ALTER TYPE p ADD ATTRIBUTE a int, DROP ATTRIBUTE b -> Command words=ALTER TYPE ... DROP ATTRIBUTE name=p drops=True
postgresql: ALTER TABLE a ALTER b TYPE bit varying(6) -> Command a words=ALTER TABLE ... ALTER parsed=False
postgresql: ALTER TABLE a FROBNICATE b, DROP c d
    Command a words=ALTER TABLE ... FROBNICATE parsed=False
    Command a words=ALTER TABLE ... DROP parsed=False
mysql: ALTER TABLE `my db`.`us``er` ADD `b` INT UNSIGNED NOT NULL COMMENT 'x, y' AFTER c, DROP c, ALGORITHM=INPLACE, LOCK = NONE
    AddColumn my db.us`er b INTEGER(unsigned=True) NOT NULL COMMENT asks={'algorithm': 'INPLACE', 'lock': 'NONE'}
    DropColumn my db.us`er column_name=c asks={'algorithm': 'INPLACE', 'lock': 'NONE'}
mysql: ALTER TABLE a MODIFY COLUMN b VARCHAR(20) CHARACTER SET latin1 NOT NULL DEFAULT 'x', CHANGE c d TEXT, MODIFY e INT AUTO_INCREMENT
    AlterColumn a column_name=b modify_nullable=False modify_server_default='x' modify_type=VARCHAR(20)
    AlterColumn a column_name=c modify_nullable=True modify_name=d modify_type=TEXT
    AlterColumn a column_name=e modify_nullable=True modify_type=INTEGER kw={'autoincrement': True}
mysql: ALTER TABLE a ADD (b ENUM('x', 'y'), c DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), d TINYINT(1))
    AddColumn a b ENUM('x', 'y')
    AddColumn a c DATETIME(fsp=6) DEFAULT CURRENT_TIMESTAMP(6)
    AddColumn a d TINYINT(display_width=1)
mysql: ALTER TABLE a ADD b INT AS (c + 1) VIRTUAL -> AddColumn a b INTEGER() AS c + 1 False
mysql: ALTER TABLE a ADD e SET('x') -> AddColumn a e SET('x')
mysql: ALTER TABLE a ADD INDEX ix (b(10)) -> CreateIndex a index_name=ix columns=['b'] kw={'mysql_length': {'b': 10}}
mysql: ALTER TABLE a ADD UNIQUE KEY uq (c) -> CreateUniqueConstraint a constraint_name=uq columns=['c']
mysql: ALTER TABLE a ADD SPATIAL KEY (e) -> CreateIndex a columns=['e'] kw={'mysql_prefix': 'SPATIAL'}
mysql: ALTER TABLE a ADD PRIMARY KEY (id) -> CreatePrimaryKey a columns=['id']
mysql: ALTER TABLE a ADD CONSTRAINT fk FOREIGN KEY ix (b) REFERENCES c (id) ON UPDATE CASCADE
    CreateForeignKey a constraint_name=fk referent_table=c local_cols=['b'] remote_cols=['id'] kw={'onupdate': 'CASCADE'}
mysql: ALTER TABLE a DROP KEY iy -> DropIndex a index_name=iy
mysql: ALTER TABLE a DROP PRIMARY KEY -> DropConstraint a constraint_name=PRIMARY constraint_type=primary
mysql: ALTER TABLE a DROP FOREIGN KEY fk -> DropConstraint a constraint_name=fk constraint_type=foreignkey
mysql: ALTER TABLE a DROP CONSTRAINT c -> DropConstraint a constraint_name=c
mysql: ALTER TABLE a DROP CHECK d -> DropConstraint a constraint_name=d constraint_type=check
mysql: ALTER TABLE a RENAME INDEX x TO y -> Command a words=RENAME INDEX name=x
mysql: ALTER TABLE a RENAME AS b -> RenameTable a new_table_name=b
mysql: ALTER TABLE a ENGINE=InnoDB ROW_FORMAT=DYNAMIC -> Command a words=ENGINE
mysql: ALTER TABLE a CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin -> Command a words=CONVERT TO CHARACTER SET
mysql: ALTER ONLINE IGNORE TABLE a ADD b INT -> AddColumn a b INTEGER()
mysql: RENAME TABLE a TO b, c TO d
    RenameTable a new_table_name=b
    RenameTable c new_table_name=d
mysql: CREATE FULLTEXT INDEX ix ON a (b) ALGORITHM=INPLACE LOCK=SHARED
    CreateIndex a index_name=ix columns=['b'] kw={'mysql_prefix': 'FULLTEXT'} asks={'algorithm': 'INPLACE', 'lock': 'SHARED'}
mysql: DROP INDEX ix ON s.a LOCK=NONE -> DropIndex s.a index_name=ix asks={'lock': 'NONE'}
mysql: CREATE TABLE a (id INT NOT NULL AUTO_INCREMENT, b VARCHAR(9), PRIMARY KEY (id), KEY ix (b), UNIQUE KEY u (b), FULLTEXT KEY ft (b)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
    CreateTable a (id INTEGER() NOT NULL, b VARCHAR(length=9), PrimaryKeyConstraint, UniqueConstraint)
    CreateIndex a index_name=ix columns=['b']
    CreateIndex a index_name=ft columns=['b'] kw={'mysql_prefix': 'FULLTEXT'}
mysql: CREATE OR REPLACE TABLE a (id INT)
    DropTable a
    CreateTable a (id INTEGER())
mysql: DROP TEMPORARY TABLE a -> Command words=DROP TEMPORARY TABLE
mysql: UPDATE a SET b = 1 ORDER BY id LIMIT 10 -> ChangeRows a verb=UPDATE bounded=True columns=('b',)
mysql: UPDATE a JOIN c ON a.id = c.id SET c.b = 1 -> ChangeRows c verb=UPDATE bounded=True columns=('b',)
mysql: DELETE x FROM a AS x JOIN b ON x.id = b.id -> ChangeRows a verb=DELETE bounded=True
mysql: DELETE FROM a WHERE b = 'it\'s; DROP TABLE x' # all of them -> ChangeRows a verb=DELETE bounded=True
mysql: REPLACE INTO a VALUES (1) -> ChangeRows a verb=REPLACE bounded=True given=True
mysql: INSERT IGNORE INTO a VALUES (1) ON DUPLICATE KEY UPDATE b = 2 -> ChangeRows a verb=REPLACE bounded=True given=True
mysql: CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN IF NEW.x THEN DELETE FROM b; END IF; SET NEW.x = 1; END; DROP VIEW v
    Command a words=CREATE TRIGGER name=t
    Command words=DROP VIEW name=v drops=True
mysql: BEGIN NOT ATOMIC DELETE FROM a; END -> Command words=BEGIN NOT ATOMIC
mysql: CREATE DEFINER=`root`@`%` SQL SECURITY INVOKER VIEW v AS SELECT 1 -> Command words=CREATE VIEW name=v
mysql: SET SESSION autocommit=0 -> Command words=SET AUTOCOMMIT
mysql: LOCK TABLES a WRITE, b READ
    Command a words=LOCK TABLE
    Command b words=LOCK TABLE
mysql: /*!40101 DROP TABLE a */; /* DROP TABLE b */ -> DropTable a
mysql: DROP DATABASE d -> Command words=DROP DATABASE name=d drops=True
mysql: LOAD DATA INFILE 'x' INTO TABLE a -> Command words=LOAD DATA
mysql: UPDATE a x LEFT JOIN c y ON x.id = y.id SET x.b = 1 -> ChangeRows a verb=UPDATE bounded=False columns=('b',)
mysql: CREATE INDEX ix USING BTREE ON a (b(10) DESC, c) COMMENT 'x' -> CreateIndex a index_name=ix columns=['b', 'c'] kw={'mysql_length': {'b': 10}}
mysql: ALTER TABLE a ADD b BIGINT(20) UNSIGNED -> AddColumn a b BIGINT(display_width=20, unsigned=True)
mysql: ALTER TABLE a ADD f BOOL -> AddColumn a f BOOLEAN()
mysql: ALTER TABLE a ADD b INT CHECK (b > 0) NOT ENFORCED, DROP c
    Command a words=ALTER TABLE ... ADD parsed=False
    DropColumn a column_name=c
sqlite: ALTER TABLE [my a] ADD "b" -> AddColumn my a b NullType()
sqlite: CREATE TABLE main.a (id INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT COLLATE NOCASE) WITHOUT ROWID, STRICT
    CreateTable a (id INTEGER() NOT NULL PRIMARY_KEY, b TEXT(collation='NOCASE'))
sqlite: CREATE INDEX ix ON a (b COLLATE NOCASE DESC) WHERE b IS NOT NULL -> CreateIndex a index_name=ix columns=['b']
sqlite: CREATE TRIGGER t AFTER UPDATE ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM b; END; DROP TABLE a
    Command a words=CREATE TRIGGER name=t
    DropTable a
sqlite: PRAGMA foreign_keys = OFF -> Command words=SET PRAGMA name=foreign_keys
sqlite: PRAGMA table_info(a) -> Command words=PRAGMA name=table_info
sqlite: PRAGMA user_version(5) -> Command words=SET PRAGMA name=user_version
sqlite: INSERT OR REPLACE INTO a VALUES (1) -> ChangeRows a verb=REPLACE bounded=True given=True
sqlite: INSERT INTO a (b) SELECT b FROM c WHERE true ON CONFLICT (b) DO UPDATE SET b = 2 -> ChangeRows a verb=REPLACE bounded=False
sqlite: CREATE TABLE a (b INT UNIQUE ON CONFLICT REPLACE) -> Command words=CREATE TABLE parsed=False
"""  # noqa: E501
CASES = [
    (dialect, statement, [line.strip() for line in expected.splitlines() if line.strip()])
    for dialects, statement, expected in re.findall(
        r"^(\w+): (.*?)(?: ->|$)((?:.*\n)(?: {4}.*\n)*)", STATEMENTS, re.MULTILINE
    )
    for dialect in SHORT[dialects]
]


def read(statement: Any, dialect: str) -> list[str]:
    """Return the operations of a statement."""
    return [shown(each) for each in translate(ops.ExecuteSQLOp(statement), dialect)]


@pytest.mark.parametrize(("dialect", "statement", "expected"), CASES)
def test_statement(dialect: str, statement: str, expected: list[str]) -> None:
    """Each part of each statement, with all that it says."""
    assert expected == read(statement, dialect)


@pytest.mark.parametrize(
    ("dialect", "statement"),
    [
        ("postgresql", "ALTER TABLE a ADD CONSTRAINT x EXCLUDE USING gist (room WITH =)"),
        ("postgresql", "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE"),
        ("postgresql", "EXPLAIN (ANALYZE, BUFFERS) DELETE FROM a"),
        ("postgresql", "EXPLAIN ANALYZE WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x"),
        ("mysql", "ANALYZE FORMAT=JSON UPDATE a SET b = 1"),
        ("mysql", "SET STATEMENT max_statement_time=5 FOR DELETE FROM a"),
        ("mysql", "ALTER TABLE a DROP PARTITION p, q"),
        ("mysql", "ALTER TABLE a PARTITION BY HASH(id) PARTITIONS 4"),
        ("mysql", "ALTER TABLE a ORDER BY b, c"),
        ("mysql", "REPLACE INTO a SELECT * FROM c"),
        ("mysql", "UPDATE LOW_PRIORITY a SET b = 1 WHERE c = 1"),
        ("mysql", "DELETE QUICK FROM a LIMIT 1000"),
        ("sqlite", "UPDATE OR IGNORE a SET b = 1"),
    ],
)
def test_destructive(dialect: str, statement: str) -> None:
    """Rare statements are not read: a word of theirs says that they may change the schema or rows."""
    found = [each.op for each in translate(ops.ExecuteSQLOp(statement), dialect)]
    assert found
    assert all(isinstance(op, CommandOp) and op.may_destroy for op in found)


@pytest.mark.parametrize("statement", ["CREATE GIZMO a ON DELETE CASCADE", "FROBNICATE a", "SELECT ((("])
def test_not_destructive(statement: str) -> None:
    """What is not read and has no such word only warns."""
    (found,) = translate(ops.ExecuteSQLOp(statement), "postgresql")
    assert isinstance(found.op, CommandOp)
    assert (found.op.parsed, found.op.may_destroy) == (False, False)


def test_created_table_is_known() -> None:
    """What later operations refer to: its columns, keys and constraints, but for those on columns that it lacks."""
    tables = KnownSchema(Facts())
    columns = "id INT, b INT CONSTRAINT fk1 REFERENCES c (x), d INT"
    constraints = "PRIMARY KEY (id), CONSTRAINT u UNIQUE (d), CONSTRAINT v UNIQUE (gone)"
    foreign = "CONSTRAINT fk2 FOREIGN KEY (b, d) REFERENCES s.e (f, g) ON DELETE CASCADE"
    for found in translate(ops.ExecuteSQLOp(f"CREATE TABLE a ({columns}, {constraints}, {foreign})"), "postgresql"):
        tables.apply(found.op)
    known = tables.table("a")
    assert ["id", "b", "d"] == list(known.columns)
    assert ["id"] == known.primary_key
    assert {"u": ["d"]} == known.indexes
    assert [("fk1", (None, "c")), ("fk2", ("s", "e"))] == [(each.name, each.referred) for each in known.foreign_keys]


METADATA = sa.MetaData()
PET = sa.Table("pet", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(9)))
INDEX = sa.Index("ix", PET.c.name)
UNIQUE = sa.UniqueConstraint(PET.c.name, name="u")
ELEMENTS: list[tuple[Any, str]] = [
    (PET.update().values(name="x"), "ChangeRows pet verb=UPDATE bounded=False"),
    (PET.update().where(sa.true()).values(name="x"), "ChangeRows pet verb=UPDATE bounded=False"),
    (PET.update().where(PET.c.name == "x").values(name=None), "ChangeRows pet verb=UPDATE bounded=True"),
    (PET.delete().where(PET.c.id.in_([1, 2])), "ChangeRows pet verb=DELETE bounded=True"),
    (PET.delete(), "ChangeRows pet verb=DELETE bounded=False"),
    (PET.insert().values(name="x"), "ChangeRows pet verb=INSERT bounded=True"),
    (sa.text("DELETE FROM pet WHERE name = :name AND 'a\\:b' = name"), "ChangeRows pet verb=DELETE bounded=True"),
    (sa.DDL("DROP VIEW v"), "Command words=DROP VIEW name=v drops=True"),  # type: ignore[no-untyped-call]
    (sa.schema.CreateTable(PET), "CreateTable pet (id INTEGER() NOT NULL"),
    (sa.schema.CreateIndex(INDEX), "CreateIndex pet index_name=ix"),
    (sa.schema.DropIndex(INDEX), "DropIndex"),
    (sa.schema.AddConstraint(UNIQUE), "CreateUniqueConstraint pet constraint_name=u"),
    (sa.schema.DropConstraint(UNIQUE), "Drop"),  # on MySQL an index
    (sa.schema.DropTable(sa.table("pet")), "DropTable pet"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize(("element", "expected"), ELEMENTS)
def test_elements(element: Any, expected: str, dialect: str) -> None:
    """SQLAlchemy's constructs: DML with its parameters, DDL, text with an escaped colon."""
    (found,) = read(element, dialect)
    assert found.startswith(expected)


KIND = postgresql.ENUM("a", "b", name="kind")


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (postgresql.CreateEnumType(KIND), "Command words=CREATE TYPE name=kind"),
        (postgresql.DropEnumType(KIND), "Command words=DROP TYPE name=kind drops=True"),
    ],
)
def test_enum_types(element: Any, expected: str) -> None:
    """What Alembic is given by sa.Enum(...).create(op.get_bind()) and its drop()."""
    assert [expected] == read(element, "postgresql")


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize("statement", dict.fromkeys(statement for _, statement, _ in CASES))
def test_never_raises(in_any_app: None, dialect: str, statement: str) -> None:
    """Nor for half a statement, nor for another database's; and what comes of it can be followed."""
    for end in {*range(1, len(statement), 29), len(statement)}:
        tables = KnownSchema(Facts())
        for found in translate(ops.ExecuteSQLOp(statement[:end]), dialect):
            tables.apply(found.op)


DELETED = "ChangeRows a verb=DELETE bounded=True"
LARGE: dict[str, tuple[int, Callable[[range], str], list[str]]] = {
    "VALUES": (
        400,
        lambda terms: f"INSERT INTO a (b) VALUES {', '.join(f'({n})' for n in terms)}",
        ["ChangeRows a verb=INSERT bounded=True given=True"],
    ),
    "OR": (1_200, lambda terms: f"DELETE FROM a WHERE {' OR '.join(f'id = {n}' for n in terms)}", [DELETED]),
    "IN": (1_200, lambda terms: f"DELETE FROM a WHERE id IN ({', '.join(map(str, terms))})", [DELETED]),
    "statements": (100, lambda terms: "; ".join(f"DELETE FROM a WHERE id = {n}" for n in terms), [DELETED] * 100),
}


@pytest.mark.parametrize(("size", "statement", "expected"), LARGE.values(), ids=LARGE)
def test_large(size: int, statement: Callable[[range], str], expected: list[str]) -> None:
    """What a statement takes to be read grows with its terms, and not with their square: that would be minutes."""
    calls = []
    read(statement(range(2)), "mysql")  # imports the library and fills caches
    gc.collect()  # or what earlier tests left would count
    for terms in (range(size // 4), range(size // 2), range(size)):
        with cProfile.Profile() as profile:
            found = read(statement(terms), "mysql")
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    assert expected == found
    assert (calls[2] - calls[1]) / (calls[1] - calls[0]) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("dialect", ALL)
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM a WHERE {}", "Command words=DELETE FROM parsed=False"),
        ("UPDATE a SET b = {}", "Command words=UPDATE A parsed=False"),
        ("SELECT {}", "Command words=SELECT {} parsed=False"),
        ("INSERT INTO a SELECT {}", "Command words=INSERT INTO parsed=False"),
    ],
)
def test_nested(dialect: str, statement: str, expected: str) -> None:
    """What is nested deeper than can be read is a statement that nobody can review, and those around it are read."""
    nested = "(" * 60 + "1" + ")" * 60
    found = read(f"DROP VIEW v; {statement.format(nested)}; DROP TABLE a", dialect)
    assert ["Command words=DROP VIEW name=v drops=True", expected.format(nested), "DropTable a"] == found


def test_loaded_only_for_sql() -> None:
    """The library that reads SQL takes its time, and no script without SQL waits for it."""
    code = "import sys, app.safe_migrations.review.reviewer; sys.exit('sqlglot' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parents[1], check=False).returncode
