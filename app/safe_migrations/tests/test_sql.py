"""Raw SQL becomes the operations that say the same, whatever database it is for."""

import re
import subprocess
import sys
import time
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


# Databases and a statement, and below it its operations.
STATEMENTS = r"""
all: ALTER TABLE a ADD COLUMN b INTEGER NOT NULL DEFAULT 5
    AddColumn a b INTEGER() NOT NULL DEFAULT 5
all: ALTER TABLE a ADD b VARCHAR(20) DEFAULT 'x, y; -- no comment' UNIQUE
    AddColumn a b VARCHAR(length=20) DEFAULT 'x, y; -- no comment' UNIQUE
all: ALTER TABLE a ADD COLUMN b INTEGER CONSTRAINT fk REFERENCES c (id) ON DELETE CASCADE
    AddColumn a b INTEGER() -> c.id inline_references inline_references=True
all: ALTER TABLE a ADD b INT GENERATED ALWAYS AS (c * (2 + 1)) STORED
    AddColumn a b INTEGER() AS c * (2 + 1) True
all: ALTER TABLE a DROP COLUMN b
    DropColumn a column_name=b
all: ALTER TABLE a DROP b
    DropColumn a column_name=b
all: ALTER TABLE a RENAME TO b
    RenameTable a new_table_name=b
all: ALTER TABLE a RENAME COLUMN x TO y
    AlterColumn a column_name=x modify_name=y
all: alter table a /* ; drop table b; */ add -- drop column c,
    Command a words=ALTER TABLE ... ADD parsed=False
all: CREATE INDEX ix ON a (b, lower(c))
    CreateIndex a index_name=ix columns=['b', 'lower(c)']
all: CREATE UNIQUE INDEX ix ON s.a (b)
    CreateIndex s.a index_name=ix columns=['b'] unique=True
all: DROP TABLE a
    DropTable a
all: DROP TABLE IF EXISTS a, s.b; DROP INDEX ix;
    DropTable a
    DropTable s.b
    DropIndex index_name=ix
all: CREATE TABLE a (id INTEGER PRIMARY KEY, b INT REFERENCES c (id), d NUMERIC(10, 2) NOT NULL, CONSTRAINT u UNIQUE (b), FOREIGN KEY (b) REFERENCES c (id), CHECK (d > 0))
    CreateTable a (id INTEGER() NOT NULL PRIMARY_KEY, b INTEGER() -> c.id inline_references, d NUMERIC(precision=10, scale=2) NOT NULL, UniqueConstraint, ForeignKeyConstraint, CheckConstraint)
all: CREATE TABLE a AS SELECT * FROM b
    CreateTable a
all: SELECT 'DROP TABLE a; DELETE FROM b'
    Command words=SELECT
all: -- DROP TABLE a
all: INSERT INTO a (b) VALUES ('DELETE FROM c')
    ChangeRows a verb=INSERT bounded=True given=True
all: UPDATE a SET b = 1
    ChangeRows a verb=UPDATE bounded=False columns=('b',)
all: UPDATE a SET b = 1 WHERE 1 = 1 OR c = 2
    ChangeRows a verb=UPDATE bounded=False columns=('b',)
all: UPDATE a SET b = 1 WHERE c = 2
    ChangeRows a verb=UPDATE bounded=True columns=('b',)
all: DELETE FROM s.a
    ChangeRows s.a verb=DELETE bounded=False
all: DELETE FROM a WHERE id IN (SELECT id FROM b)
    ChangeRows a verb=DELETE bounded=True
all: DELETE FROM a WHERE true
    ChangeRows a verb=DELETE bounded=False
all: DELETE FROM a WHERE 1 = 0
    ChangeRows a verb=DELETE bounded=True
all: WITH x AS (SELECT 1 AS id) DELETE FROM a WHERE id IN (SELECT id FROM x)
    ChangeRows a verb=DELETE bounded=True
all: BEGIN
    Command words=BEGIN
all: COMMIT
    Command words=COMMIT
all: ROLLBACK TO SAVEPOINT x
    Command words=ROLLBACK TO
all: CREATE VIEW v AS SELECT 1
    Command words=CREATE VIEW name=v
all: DROP VIEW v
    Command words=DROP VIEW name=v drops=True
all: GRANT nothing that anybody could read
    Command words=GRANT
all: ALTER TABLE a ADD
    Command a words=ALTER TABLE ... ADD parsed=False
all: FROBNICATE a
    Command words=FROBNICATE A parsed=False
all: UPDATE a SET
    ChangeRows a verb=UPDATE bounded=False
all: DROP TABLE 'a
    Command words=DROP TABLE parsed=False
postgresql: ALTER TABLE ONLY public."User" ADD CONSTRAINT fk FOREIGN KEY (x, y) REFERENCES o.p (q, r) ON DELETE SET NULL NOT VALID
    CreateForeignKey User constraint_name=fk referent_table=p local_cols=['x', 'y'] remote_cols=['q', 'r'] kw={'ondelete': 'SET NULL', 'referent_schema': 'o', 'postgresql_not_valid': True}
postgresql: ALTER TABLE a ALTER b TYPE bigint USING b::bigint, ALTER COLUMN c SET NOT NULL, ALTER c DROP NOT NULL, ALTER d SET DEFAULT now(), ALTER d DROP DEFAULT
    AlterColumn a column_name=b modify_type=BIGINT kw={'postgresql_using': 'b::bigint'}
    AlterColumn a column_name=c modify_nullable=False
    AlterColumn a column_name=c modify_nullable=True
    AlterColumn a column_name=d modify_server_default=now()
    AlterColumn a column_name=d
postgresql: ALTER TABLE a ADD b timestamptz DEFAULT now(), ADD c double precision, ADD d varchar(20)[], ADD e mood NOT NULL, ADD f numeric(10,2), ADD g timestamp(3) without time zone
    AddColumn a b TIMESTAMP(timezone=True) DEFAULT CURRENT_TIMESTAMP
    AddColumn a c DOUBLE_PRECISION()
    AddColumn a d ARRAY(VARCHAR(length=20), dimensions=1)
    AddColumn a e NamedType('mood') NOT NULL
    AddColumn a f NUMERIC(precision=10, scale=2)
    AddColumn a g TIMESTAMP(precision=3)
postgresql: ALTER TABLE a ADD b bigserial, ADD c int GENERATED BY DEFAULT AS IDENTITY, ADD d text DEFAULT 'x'::text COLLATE "C"
    AddColumn a b BIGINT() NOT NULL DEFAULT nextval('a_b_seq'::regclass)
    AddColumn a c INTEGER() NOT NULL IDENTITY
    AddColumn a d TEXT(collation='C') DEFAULT CAST('x' AS TEXT)
postgresql: ALTER TABLE A ADD UNIQUE NULLS NOT DISTINCT (B), ADD CONSTRAINT c CHECK (b > 0) NOT VALID, ADD PRIMARY KEY (id)
    CreateUniqueConstraint a columns=['b'] kw={'postgresql_nulls_not_distinct': True}
    CreateCheckConstraint a constraint_name=c condition=b > 0 kw={'postgresql_not_valid': True}
    CreatePrimaryKey a columns=['id']
postgresql: ALTER TABLE a ADD CONSTRAINT u UNIQUE USING INDEX ix, ADD CONSTRAINT p PRIMARY KEY USING INDEX ix, VALIDATE CONSTRAINT c
    Command a words=ADD UNIQUE USING INDEX name=ix
    Command a words=ADD PRIMARY KEY USING INDEX name=ix
    Command a words=VALIDATE CONSTRAINT name=c
postgresql: ALTER TABLE a DROP CONSTRAINT IF EXISTS c CASCADE
    DropConstraint a constraint_name=c
    Command a words=DROP CONSTRAINT name=c drops=True cascade=True
postgresql: ALTER TABLE a RENAME CONSTRAINT x TO y
    Command a words=RENAME CONSTRAINT name=x
postgresql: ALTER TABLE a RENAME x TO y
    AlterColumn a column_name=x modify_name=y
postgresql: ALTER TABLE a DETACH PARTITION p CONCURRENTLY
    Command a words=DETACH PARTITION name=p concurrently=True
postgresql: ALTER TABLE a ENABLE ROW LEVEL SECURITY, SET (fillfactor = 70), OWNER TO me, SET SCHEMA s
    Command a words=ENABLE ROW LEVEL SECURITY
    Command a words=SET
    Command a words=OWNER TO name=me
    Command a words=SET SCHEMA name=s
postgresql: CREATE INDEX CONCURRENTLY IF NOT EXISTS ix ON s.t USING gin (a gin_trgm_ops, lower(b) DESC) WHERE d IS NULL
    CreateIndex s.t index_name=ix columns=['a', 'lower(b) DESC'] kw={'postgresql_concurrently': True, 'postgresql_using': 'gin'}
postgresql: DROP INDEX CONCURRENTLY IF EXISTS s.ix, iy
    DropIndex s index_name=ix kw={'postgresql_concurrently': True}
    DropIndex index_name=iy kw={'postgresql_concurrently': True}
postgresql: CREATE TYPE mood AS ENUM ('a'); ALTER TYPE mood RENAME VALUE 'a' TO 'x'; ALTER TYPE mood ADD VALUE 'c'; DROP TYPE mood CASCADE
    Command words=CREATE TYPE name=mood
    Command words=ALTER TYPE ... RENAME VALUE name=mood
    Command words=ALTER TYPE ... ADD VALUE name=mood
    Command words=DROP TYPE name=mood drops=True cascade=True
postgresql: VACUUM FULL a, b; VACUUM (FULL, ANALYZE) a; VACUUM a; CLUSTER a USING ix; REINDEX TABLE CONCURRENTLY a
    Command a words=VACUUM FULL
    Command b words=VACUUM FULL
    Command a words=VACUUM FULL
    Command a words=VACUUM
    Command a words=CLUSTER
    Command words=REINDEX name=a concurrently=True
postgresql: LOCK TABLE ONLY a IN ACCESS EXCLUSIVE MODE; LOCK b
    Command a words=LOCK TABLE
    Command b words=LOCK TABLE
postgresql: START TRANSACTION; END; ABORT; SAVEPOINT x; RELEASE x
    Command words=BEGIN
    Command words=COMMIT
    Command words=ROLLBACK
    Command words=SAVEPOINT
    Command words=RELEASE
postgresql: TRUNCATE a, s.b RESTART IDENTITY CASCADE
    ChangeRows a verb=TRUNCATE bounded=False cascade=True
    ChangeRows s.b verb=TRUNCATE bounded=False cascade=True
postgresql: WITH x AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM x
    ChangeRows a verb=DELETE bounded=False
    ChangeRows b verb=INSERT bounded=True
postgresql: UPDATE a AS x SET b = c.d FROM c WHERE x.id = c.id
    ChangeRows a verb=UPDATE bounded=True columns=('b',)
postgresql: DELETE FROM a USING b
    ChangeRows a verb=DELETE bounded=False
postgresql: COPY a FROM PROGRAM 'id'; COPY a TO PROGRAM $$id$$; COPY (SELECT b FROM program) TO STDOUT; COPY a FROM STDIN
    Command words=COPY PROGRAM
    Command words=COPY PROGRAM
    Command words=COPY
    Command words=COPY
postgresql: DO $$ BEGIN DELETE FROM a; DROP TABLE b; END $$; SELECT 1
    Command words=DO
    Command words=SELECT
postgresql: CREATE FUNCTION f() RETURNS trigger AS $fn$ BEGIN DELETE FROM a; RETURN NEW; END $fn$ LANGUAGE plpgsql; CREATE TRIGGER t BEFORE UPDATE OR DELETE ON a EXECUTE FUNCTION f()
    Command words=CREATE FUNCTION name=f
    Command a words=CREATE TRIGGER name=t
postgresql: CREATE FUNCTION f() RETURNS int BEGIN ATOMIC DELETE FROM a; SELECT 1; END; DROP TABLE a
    Command words=CREATE FUNCTION name=f
    DropTable a
postgresql: REFRESH MATERIALIZED VIEW CONCURRENTLY v; DROP MATERIALIZED VIEW v; DROP SCHEMA s CASCADE; DROP OWNED BY me; DROP FUNCTION f(int, text)
    Command words=REFRESH MATERIALIZED VIEW concurrently=True
    Command words=DROP MATERIALIZED VIEW name=v drops=True
    Command words=DROP SCHEMA name=s drops=True cascade=True
    Command words=DROP OWNED BY name=me drops=True
    Command words=DROP FUNCTION name=f drops=True
postgresql: COMMENT ON TABLE a IS 'DROP TABLE a'; SET LOCAL lock_timeout = '5s'; ANALYZE a; COPY a FROM STDIN; CREATE EXTENSION x
    Command words=COMMENT ON
    Command words=SET
    Command words=ANALYZE
    Command words=COPY
    Command words=CREATE EXTENSION name=x
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
mysql: ALTER TABLE a ADD b INT AS (c + 1) VIRTUAL, ADD d LONGTEXT, ADD e SET('x'), ADD f DOUBLE PRECISION
    AddColumn a b INTEGER() AS c + 1 False
    AddColumn a d LONGTEXT()
    AddColumn a e SET('x')
    AddColumn a f DOUBLE(asdecimal=True)
mysql: ALTER TABLE a ADD INDEX ix (b(10)), ADD UNIQUE KEY uq (c), ADD FULLTEXT INDEX ft (d), ADD SPATIAL KEY (e), ADD PRIMARY KEY (id)
    CreateIndex a index_name=ix columns=['b'] kw={'mysql_length': {'b': 10}}
    CreateUniqueConstraint a constraint_name=uq columns=['c']
    CreateIndex a index_name=ft columns=['d'] kw={'mysql_prefix': 'FULLTEXT'}
    CreateIndex a columns=['e'] kw={'mysql_prefix': 'SPATIAL'}
    CreatePrimaryKey a columns=['id']
mysql: ALTER TABLE a ADD CONSTRAINT fk FOREIGN KEY ix (b) REFERENCES c (id) ON UPDATE CASCADE, ADD FOREIGN KEY (b) REFERENCES c (id)
    CreateForeignKey a constraint_name=fk referent_table=c local_cols=['b'] remote_cols=['id'] kw={'onupdate': 'CASCADE'}
    CreateForeignKey a referent_table=c local_cols=['b'] remote_cols=['id']
mysql: ALTER TABLE a DROP INDEX ix, DROP KEY iy, DROP PRIMARY KEY, DROP FOREIGN KEY fk, DROP CONSTRAINT c, DROP CHECK d
    DropIndex a index_name=ix
    DropIndex a index_name=iy
    DropConstraint a constraint_name=PRIMARY constraint_type=primary
    DropConstraint a constraint_name=fk constraint_type=foreignkey
    DropConstraint a constraint_name=c
    DropConstraint a constraint_name=d constraint_type=check
mysql: ALTER TABLE a RENAME INDEX x TO y, RENAME AS b
    Command a words=RENAME INDEX name=x
    RenameTable a new_table_name=b
mysql: ALTER TABLE a ENGINE=InnoDB ROW_FORMAT=DYNAMIC, CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, FORCE
    Command a words=ENGINE
    Command a words=CONVERT TO CHARACTER SET
    Command a words=FORCE
mysql: ALTER ONLINE IGNORE TABLE a ADD b INT
    AddColumn a b INTEGER()
mysql: RENAME TABLE a TO b, c TO d
    RenameTable a new_table_name=b
    RenameTable c new_table_name=d
mysql: CREATE FULLTEXT INDEX ix ON a (b) ALGORITHM=INPLACE LOCK=SHARED
    CreateIndex a index_name=ix columns=['b'] kw={'mysql_prefix': 'FULLTEXT'} asks={'algorithm': 'INPLACE', 'lock': 'SHARED'}
mysql: DROP INDEX ix ON s.a LOCK=NONE
    DropIndex s.a index_name=ix asks={'lock': 'NONE'}
mysql: CREATE TABLE a (id INT NOT NULL AUTO_INCREMENT, b VARCHAR(9), PRIMARY KEY (id), KEY ix (b), UNIQUE KEY u (b), FULLTEXT KEY ft (b)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
    CreateTable a (id INTEGER() NOT NULL, b VARCHAR(length=9), PrimaryKeyConstraint, UniqueConstraint)
    CreateIndex a index_name=ix columns=['b']
    CreateIndex a index_name=ft columns=['b'] kw={'mysql_prefix': 'FULLTEXT'}
mysql: CREATE OR REPLACE TABLE a (id INT)
    DropTable a
    CreateTable a (id INTEGER())
mysql: DROP TEMPORARY TABLE a
    Command words=DROP TEMPORARY TABLE
mysql: UPDATE a SET b = 1 ORDER BY id LIMIT 10
    ChangeRows a verb=UPDATE bounded=True columns=('b',)
mysql: UPDATE a JOIN c ON a.id = c.id SET c.b = 1
    ChangeRows c verb=UPDATE bounded=True columns=('b',)
mysql: DELETE x FROM a AS x JOIN b ON x.id = b.id
    ChangeRows a verb=DELETE bounded=True
mysql: DELETE FROM a WHERE b = 'it\'s; DROP TABLE x' # all of them
    ChangeRows a verb=DELETE bounded=True
mysql: TRUNCATE TABLE a
    ChangeRows a verb=TRUNCATE bounded=False
mysql: REPLACE INTO a VALUES (1)
    ChangeRows a verb=REPLACE bounded=True given=True
mysql: INSERT IGNORE INTO a VALUES (1) ON DUPLICATE KEY UPDATE b = 2
    ChangeRows a verb=REPLACE bounded=True given=True
mysql: CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN IF NEW.x THEN DELETE FROM b; END IF; SET NEW.x = 1; END; DROP VIEW v
    Command a words=CREATE TRIGGER name=t
    Command words=DROP VIEW name=v drops=True
mysql: BEGIN NOT ATOMIC DELETE FROM a; END
    Command words=BEGIN NOT ATOMIC
mysql: CREATE DEFINER=`root`@`%` SQL SECURITY INVOKER VIEW v AS SELECT 1
    Command words=CREATE VIEW name=v
mysql: SET FOREIGN_KEY_CHECKS=0; SET SESSION autocommit=0; LOCK TABLES a WRITE, b READ; UNLOCK TABLES
    Command words=SET
    Command words=SET AUTOCOMMIT
    Command a words=LOCK TABLE
    Command b words=LOCK TABLE
    Command words=UNLOCK TABLES
mysql: /*!40101 DROP TABLE a */; /* DROP TABLE b */
    DropTable a
mysql: DROP DATABASE d; DROP PROCEDURE IF EXISTS p; DROP EVENT e; LOAD DATA INFILE 'x' INTO TABLE a
    Command words=DROP DATABASE name=d drops=True
    Command words=DROP PROCEDURE name=p drops=True
    Command words=DROP EVENT name=e drops=True
    Command words=LOAD DATA
sqlite: ALTER TABLE [my a] ADD "b"
    AddColumn my a b NullType()
sqlite: CREATE TABLE main.a (id INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT COLLATE NOCASE) WITHOUT ROWID, STRICT
    CreateTable a (id INTEGER() NOT NULL PRIMARY_KEY, b TEXT(collation='NOCASE'))
sqlite: CREATE INDEX ix ON a (b COLLATE NOCASE DESC) WHERE b IS NOT NULL
    CreateIndex a index_name=ix columns=['b']
sqlite: CREATE TRIGGER t AFTER UPDATE ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM b; END; DROP TABLE a
    Command a words=CREATE TRIGGER name=t
    DropTable a
sqlite: PRAGMA foreign_keys = OFF; PRAGMA table_info(a); PRAGMA foreign_keys; PRAGMA user_version(5)
    Command words=SET PRAGMA name=foreign_keys
    Command words=PRAGMA name=table_info
    Command words=PRAGMA name=foreign_keys
    Command words=SET PRAGMA name=user_version
sqlite: INSERT OR REPLACE INTO a VALUES (1)
    ChangeRows a verb=REPLACE bounded=True given=True
mysql: UPDATE a x LEFT JOIN c y ON x.id = y.id SET x.b = 1
    ChangeRows a verb=UPDATE bounded=False columns=('b',)
all: INSERT INTO a SELECT * FROM b; INSERT INTO s.a (b) VALUES ('UPDATE'); INSERT INTO a DEFAULT VALUES
    ChangeRows a verb=INSERT bounded=True
    ChangeRows s.a verb=INSERT bounded=True given=True
    ChangeRows a verb=INSERT bounded=True
postgresql: INSERT INTO a (b) VALUES (1) ON CONFLICT DO NOTHING
    ChangeRows a verb=INSERT bounded=True given=True
postgresql: INSERT INTO a (b) VALUES (1) ON CONFLICT (b) DO UPDATE SET b = 2
    ChangeRows a verb=REPLACE bounded=True given=True
postgresql: INSERT INTO a (b) SELECT b FROM c ON CONFLICT (b) DO UPDATE SET b = 2
    ChangeRows a verb=REPLACE bounded=False
postgresql: INSERT INTO a (b) SELECT b FROM c WHERE d < 5 ON CONFLICT (b) DO UPDATE SET b = 2
    ChangeRows a verb=REPLACE bounded=True
sqlite: INSERT INTO a (b) SELECT b FROM c WHERE true ON CONFLICT (b) DO UPDATE SET b = 2
    ChangeRows a verb=REPLACE bounded=False
postgresql: INSERT INTO a (b) SELECT 1 ON CONFLICT (b) DO UPDATE SET b = 2
    ChangeRows a verb=REPLACE bounded=True
postgresql: DROP TABLE "A"; DROP INDEX "B"; DROP VIEW "C"; TRUNCATE "A"; DELETE FROM "A"
    DropTable A
    DropIndex index_name=B
    Command words=DROP VIEW name=C drops=True
    ChangeRows A verb=TRUNCATE bounded=False
    ChangeRows A verb=DELETE bounded=False
postgresql: ALTER TABLE "A" DROP COLUMN "B", DROP "C", RENAME COLUMN "D" TO "E", ADD COLUMN "F" INT, DROP CONSTRAINT "G"
    DropColumn A column_name=B
    DropColumn A column_name=C
    AlterColumn A column_name=D modify_name=E
    AddColumn A F INTEGER()
    DropConstraint A constraint_name=G
postgresql: TRUNCATE ONLY a, ONLY s.b; DROP TABLE a, ONLY
    ChangeRows a verb=TRUNCATE bounded=False
    ChangeRows s.b verb=TRUNCATE bounded=False
    DropTable a
    DropTable only
postgresql: ALTER TABLE a ALTER b SET STATISTICS 100, ALTER c DROP IDENTITY, REPLICA IDENTITY FULL, CLUSTER ON ix, DISABLE TRIGGER USER
    Command a words=ALTER COLUMN ... SET STATISTICS name=b
    Command a words=ALTER COLUMN ... DROP IDENTITY name=c
    Command a words=REPLICA IDENTITY
    Command a words=CLUSTER ON name=ix
    Command a words=DISABLE TRIGGER name=user
postgresql: CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f(); CREATE RULE r AS ON UPDATE TO a DO INSTEAD NOTHING; DROP POLICY p ON a
    Command words=CREATE EVENT TRIGGER name=t
    Command a words=CREATE RULE name=r
    Command a words=DROP POLICY name=p drops=True
postgresql: ALTER TABLE a ADD b float, ADD c real, ADD d interval(3), ADD e tsvector, ADD f integer[][], ADD g bytea, ADD h int4range
    AddColumn a b DOUBLE_PRECISION()
    AddColumn a c REAL()
    AddColumn a d INTERVAL(precision=3)
    AddColumn a e TSVECTOR()
    AddColumn a f ARRAY(INTEGER(), dimensions=2)
    AddColumn a g BYTEA()
    AddColumn a h INT4RANGE()
postgresql: ALTER TABLE a ADD partition int, ALTER partition SET DEFAULT 5, DROP c; ALTER TYPE p ADD ATTRIBUTE a int, DROP ATTRIBUTE b
    AddColumn a partition INTEGER()
    AlterColumn a column_name=partition modify_server_default=5
    DropColumn a column_name=c
    Command words=ALTER TYPE ... DROP ATTRIBUTE name=p drops=True
mysql: CREATE INDEX ix USING BTREE ON a (b(10) DESC, c) COMMENT 'x'
    CreateIndex a index_name=ix columns=['b', 'c'] kw={'mysql_length': {'b': 10}}
mysql: ALTER TABLE a ADD b BIGINT(20) UNSIGNED, ADD c DECIMAL(8, 2) UNSIGNED, ADD d VARBINARY(16), ADD e BLOB, ADD f BOOL, ADD g FLOAT
    AddColumn a b BIGINT(display_width=20, unsigned=True)
    AddColumn a c NUMERIC(unsigned=True, precision=8, scale=2)
    AddColumn a d VARBINARY(length=16)
    AddColumn a e BLOB()
    AddColumn a f BOOLEAN()
    AddColumn a g FLOAT()
mysql: ALTER TABLE a ADD b INT CHECK (b > 0) NOT ENFORCED, DROP c
    Command a words=ALTER TABLE ... ADD parsed=False
    DropColumn a column_name=c
postgresql: ALTER TABLE a ADD b bit varying(5); ALTER TABLE a ALTER b TYPE bit varying(6); ALTER TABLE a FROBNICATE b, DROP c d
    Command a words=ALTER TABLE ... ADD parsed=False
    Command a words=ALTER TABLE ... ALTER parsed=False
    Command a words=ALTER TABLE ... FROBNICATE parsed=False
    Command a words=ALTER TABLE ... DROP parsed=False
sqlite: CREATE TABLE a (b INT UNIQUE ON CONFLICT REPLACE)
    Command words=CREATE TABLE parsed=False
"""  # noqa: E501
CASES = [
    (dialects, statement, [line.strip() for line in expected.splitlines()])
    for dialects, statement, expected in re.findall(r"^(\w+): (.*)\n((?: {4}.*\n)*)", STATEMENTS, re.MULTILINE)
]


@pytest.mark.parametrize(("dialects", "statement", "expected"), CASES)
def test_statement(dialects: str, statement: str, expected: list[str]) -> None:
    """Each part of each statement, with all that it says."""
    for dialect in SHORT[dialects]:
        assert expected == [shown(each) for each in translate(ops.ExecuteSQLOp(statement), dialect)]


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


def test_enum_types() -> None:
    """What Alembic is given by sa.Enum(...).create(op.get_bind()) and its drop()."""
    kind = postgresql.ENUM("a", "b", name="kind")
    for element, expected in (
        (postgresql.CreateEnumType(kind), "Command words=CREATE TYPE name=kind"),
        (postgresql.DropEnumType(kind), "Command words=DROP TYPE name=kind drops=True"),
    ):
        assert [expected] == [shown(each) for each in translate(ops.ExecuteSQLOp(element), "postgresql")]


@pytest.mark.parametrize("dialect", ALL)
def test_elements(dialect: str) -> None:
    """SQLAlchemy's constructs: DML with its parameters, DDL, text with an escaped colon."""
    metadata = sa.MetaData()
    pet = sa.Table("pet", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(9)))
    index = sa.Index("ix", pet.c.name)
    unique = sa.UniqueConstraint(pet.c.name, name="u")
    ddl: Any = sa.DDL("DROP VIEW v")  # type: ignore[no-untyped-call]
    for element, expected in (
        (pet.update().values(name="x"), "ChangeRows pet verb=UPDATE bounded=False"),
        (pet.update().where(sa.true()).values(name="x"), "ChangeRows pet verb=UPDATE bounded=False"),
        (pet.update().where(pet.c.name == "x").values(name=None), "ChangeRows pet verb=UPDATE bounded=True"),
        (pet.delete().where(pet.c.id.in_([1, 2])), "ChangeRows pet verb=DELETE bounded=True"),
        (pet.delete(), "ChangeRows pet verb=DELETE bounded=False"),
        (pet.insert().values(name="x"), "ChangeRows pet verb=INSERT bounded=True"),
        (sa.text("DELETE FROM pet WHERE name = :name AND 'a\\:b' = name"), "ChangeRows pet verb=DELETE bounded=True"),
        (ddl, "Command words=DROP VIEW name=v drops=True"),
        (sa.schema.CreateTable(pet), "CreateTable pet (id INTEGER() NOT NULL"),
        (sa.schema.CreateIndex(index), "CreateIndex pet index_name=ix"),
        (sa.schema.DropIndex(index), "DropIndex"),
        (sa.schema.AddConstraint(unique), "CreateUniqueConstraint pet constraint_name=u"),
        (sa.schema.DropConstraint(unique), "Drop"),  # on MySQL an index
        (sa.schema.DropTable(sa.table("pet")), "DropTable pet"),  # type: ignore[arg-type]
    ):
        (found,) = translate(ops.ExecuteSQLOp(element), dialect)
        assert shown(found).startswith(expected)


@pytest.mark.parametrize("dialect", ALL)
def test_never_raises(dialect: str) -> None:
    """Nor for half a statement, nor for another database's; and what comes of it can be followed."""
    for _, statement, _ in CASES:
        for end in range(1, len(statement), 29):
            tables = KnownSchema(Facts())
            for found in translate(ops.ExecuteSQLOp(statement[:end]), dialect):
                tables.apply(found.op)


@pytest.mark.parametrize("dialect", ALL)
def test_large(dialect: str) -> None:
    """What a statement takes to be read grows with its terms, and not with their square: that would be minutes."""
    terms = range(20_000)
    start = time.process_time()
    for statement, expected in (
        ("INSERT INTO a (b) VALUES " + ", ".join(f"('{n}')" for n in terms), "verb=INSERT bounded=True given=True"),
        ("DELETE FROM a WHERE " + " OR ".join(f"id = {n}" for n in terms[:5_000]), "verb=DELETE bounded=True"),
        (f"DELETE FROM a WHERE id IN ({', '.join(map(str, terms[:5_000]))})", "verb=DELETE bounded=True"),
    ):
        assert [f"ChangeRows a {expected}"] == [shown(each) for each in translate(ops.ExecuteSQLOp(statement), dialect)]
    many = ";".join(f"DELETE FROM a WHERE id = {n}" for n in terms[:1_000])
    assert 1_000 == len(translate(ops.ExecuteSQLOp(many), dialect))
    assert time.process_time() - start < 20


@pytest.mark.parametrize("dialect", ALL)
def test_nested(dialect: str) -> None:
    """What is nested deeper than can be read is a statement that nobody can review, and those around it are read."""
    for deep, expected in (
        ("DELETE FROM a WHERE {}", "Command words=DELETE FROM parsed=False"),
        ("UPDATE a SET b = {}", "Command words=UPDATE A parsed=False"),
        ("SELECT {}", "Command words=SELECT {} parsed=False"),
        ("INSERT INTO a SELECT {}", "Command words=INSERT INTO parsed=False"),
    ):
        nested = "(" * 60 + "1" + ")" * 60
        found = translate(ops.ExecuteSQLOp(f"DROP VIEW v; {deep.format(nested)}; DROP TABLE a"), dialect)
        around = ["Command words=DROP VIEW name=v drops=True", "DropTable a"]
        assert [around[0], expected.format(nested), around[1]] == [shown(each) for each in found]


def test_loaded_only_for_sql() -> None:
    """The library that reads SQL takes its time, and no script without SQL waits for it."""
    code = "import sys, app.safe_migrations.review.reviewer; sys.exit('sqlglot' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parents[1], check=False).returncode
