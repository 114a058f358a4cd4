"""Rules about scripts and SQL: what they find beside the pairs of RULES.md, and that the servers do what they claim."""

from textwrap import indent

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import ObjectNotExecutableError, OperationalError

from ..adapters.products import FACTS
from ..review.reviewer import review_revisions
from .example.app.extensions import db
from .support import (
    FIRST,
    Operating,
    Project,
    Review,
    ReviewOn,
    found,
    levels,
    locks,
    on_mysql,
    on_postgresql,
    on_sqlite,
    revision,
)

PRODUCTS = tuple(FACTS)
NEW = "op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))\n"
ADD = "op.add_column('{}', sa.Column('age', sa.Integer()))\n"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DROP SCHEMA archive", ["blocks"]),
        ("DROP MATERIALIZED VIEW v", ["blocks"]),
        ("DROP OWNED BY me", ["blocks"]),
        ("DROP TYPE kind CASCADE", ["blocks"]),
        ("ALTER TABLE pet DROP CONSTRAINT c CASCADE", ["blocks"]),
        ("ALTER TABLE pet DROP PARTITION p", ["blocks"]),
        ("ALTER TYPE pair DROP ATTRIBUTE a", ["blocks"]),
        ("DROP VIEW a, b", ["warns", "warns"]),
        ("DROP TRIGGER t ON pet", ["warns"]),
        ("DROP VIEW a; CREATE VIEW a AS SELECT 1", []),
        ("ALTER TYPE kind RENAME TO \"kind_old\"; CREATE TYPE kind AS ENUM ('a'); DROP TYPE kind_old", []),
        ("ALTER TYPE kind RENAME TO kind_older; DROP TYPE kind_old", ["warns"]),
        ("DO $$ BEGIN DELETE FROM pet; END $$", ["blocks"]),
        ("DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'pet CASCADE'; END $$", ["blocks"]),
        ("DO $$ BEGIN -- all of it\nUPDATE pet SET a = 1; RAISE NOTICE 'done'; END $$", ["blocks"]),
        ("CALL p()", ["warns"]),
        ("COPY pet FROM PROGRAM 'id'", ["warns"]),
        ("COPY pet FROM STDIN", []),
        ("FROBNICATE pet", ["warns"]),
        ("ALTER TABLE pet ADD", ["blocks"]),
        ("-- drop it\nDROP TABLE 'pet", ["blocks"]),
        ("DROP TABLE pet ALSO toy", ["blocks"]),
        ("SELECT 1; DROP TABLE 'pet", ["blocks"]),
        ("CREATE GIZMO pet ON DELETE CASCADE", ["warns"]),
        ("UPDATE pet SET a = = 1", ["blocks"]),
        ("MERGE INTO pet USING old ON true WHEN MATCHED THEN DELETE", ["blocks"]),
        *(
            (statement, [])
            for statement in (
                "CREATE VIEW v AS SELECT 1",
                "CREATE FUNCTION f() RETURNS int AS 'SELECT 1' LANGUAGE sql",
                "CREATE SEQUENCE s",
                "GRANT SELECT ON pet TO me",
                "SET search_path TO x",
                "PRAGMA table_info(pet)",
                "PRAGMA foreign_keys = OFF",
                "SELECT id FROM pet WHERE name LIKE 'a' ESCAPE '\\'",
                "ALTER TABLE pet VALIDATE CONSTRAINT c",
                "DROP TABLE pet",
                "SELECT (((",
                "",
            )
        ),
    ],
)
def test_raw_sql(review: Review, statement: str, expected: list[str]) -> None:
    """What drops data blocks, and what cannot be read and may change the schema. What drops anything else, or cannot be
    read, warns. What falls under another rule has no other finding.
    """
    assert expected == levels(review(f"op.execute({statement!r})", "postgresql"), "raw-sql")


@pytest.mark.parametrize(
    "code",
    [
        "CREATE TYPE kind AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN null;",
        "-- drop nothing, update nothing\nCREATE ROLE me;",
        "IF EXISTS (SELECT 1 FROM pet FOR UPDATE) THEN RAISE EXCEPTION 'drop the rows of % first', 'pet'; END IF;",
        "EXECUTE format('GRANT INSERT, UPDATE, DELETE ON pet TO %I', 'me'); REVOKE UPDATE (a) ON pet FROM me;",
        "CREATE TABLE toy (pet_id INT REFERENCES pet ON DELETE CASCADE ON UPDATE\nCASCADE);",
        "CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON pet EXECUTE FUNCTION f();",
        "INSERT INTO pet VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1;",
        "CREATE OR REPLACE FUNCTION f() RETURNS int AS 'SELECT 1' LANGUAGE sql;",
    ],
)
def test_harmless_block(review: Review, code: str) -> None:
    """A DO that has such a word only in a comment, a message, a right, a foreign key or a trigger warns."""
    statement = f"DO $$ BEGIN {code} END $$"
    assert ["warns"] == levels(review(f"op.execute({statement!r})", "postgresql"), "raw-sql")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("BEGIN NOT ATOMIC DELETE FROM pet; END", "blocks"),
        ("BEGIN NOT ATOMIC INSERT INTO pet VALUES (1); END", "warns"),
        ('EXECUTE IMMEDIATE "DELETE FROM pet"', "blocks"),
        ("PREPARE s FROM 'DROP TABLE pet'", "blocks"),
        ("CALL p()", "warns"),
    ],
)
def test_block_on_mariadb(review: Review, statement: str, expected: str) -> None:
    """MariaDB's blocks and strings that are executed are judged by their words too."""
    assert [expected] == levels(review(f"op.execute({statement!r})", "mariadb"), "raw-sql")


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("BEGIN", 1),
        ("START TRANSACTION", 1),
        ("INSERT INTO pet VALUES (1); COMMIT", 1),
        ("ROLLBACK", 1),
        ("SET autocommit = 0", 1),
        ("SAVEPOINT x", 0),
        ("ROLLBACK TO SAVEPOINT x", 0),
        ("INSERT INTO pet VALUES ('COMMIT')", 0),
        ("LOCK TABLES pet WRITE", None),
    ],
)
def test_transaction_control(review: Review, product: str, statement: str, expected: int | None) -> None:
    """What ends the transaction, whatever it is called; a savepoint does not, and LOCK TABLES does on MySQL."""
    if expected is None:
        expected = int(product in {"mysql", "mariadb"})
    assert expected == len(found(review(f"op.execute({statement!r})", product), "transaction-control"))


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("session.execute(sa.text('SELECT 1'))\nsession.rollback()", [13]),
        ("session.execute(sa.text('SELECT 1'))\nsession.commit()\nsession.close()", []),
        ("session.rollback()", []),
        ("with session.begin():\n    print(session.scalar(sa.text('SELECT 1')))", []),
    ],
)
def test_transaction_of_a_session(review: Review, product: str, body: str, expected: list[int]) -> None:
    """A session's rollback() ends the revision's transaction; its commit() does not, nor an end of the recording."""
    script = f"def upgrade():\n    session = sa.orm.Session(op.get_bind())\n{indent(body, '    ')}"
    findings = found(review(f"import sqlalchemy.orm\n\n\n{script}", product), "transaction-control")
    assert expected == [each.line for each in findings]


@on_mysql
@pytest.mark.parametrize(
    "statement",
    ["COMMIT", "BEGIN", "SET autocommit = 1", "LOCK TABLES user WRITE", "ALTER TABLE user ADD COLUMN age INTEGER"],
)
def test_commits(operating: Operating, statement: str) -> None:
    """MySQL and MariaDB commit what was done before these (manual, "Statements That Cause an Implicit Commit")."""
    connection, op = operating
    op.execute("UPDATE user SET email = 'x'")
    op.execute("SET autocommit = 0")
    op.execute(statement)
    connection.rollback()
    assert "x" == connection.scalar(text("SELECT email FROM user"))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("VACUUM FULL pet", 1),
        ("VACUUM (FULL, ANALYZE) pet", 1),
        ("VACUUM pet", 0),
        ("CLUSTER pet USING ix", 1),
        ("REINDEX INDEX ix", 1),
        ("REINDEX INDEX CONCURRENTLY ix", 0),
        ("LOCK TABLE pet", 1),
        ("LOCK TABLE pet IN SHARE ROW EXCLUSIVE MODE", 1),
        ("LOCK TABLE pet IN ROW EXCLUSIVE MODE", 0),
        ("LOCK TABLE pet IN ACCESS SHARE MODE", 0),
        ("ALTER TABLE pet DETACH PARTITION p", 1),
        ("ALTER TABLE pet DETACH PARTITION p CONCURRENTLY", 0),
        ("ALTER TABLE pet SET LOGGED", 1),
        ("TRUNCATE pet CASCADE", 1),
        ("TRUNCATE pet", 0),
    ],
)
def test_lock_heavy(review: Review, statement: str, expected: int) -> None:
    """The concurrent form, and modes in which others read and write, are no reason; a new table is none either."""
    assert expected == len(found(review(f"op.execute({statement!r})", "postgresql"), "lock-heavy-command"))
    if " pet" in statement:
        assert [] == found(review(f"{NEW}op.execute({statement!r})", "postgresql"), "lock-heavy-command")


@on_postgresql
@pytest.mark.parametrize(
    ("statement", "modes"),
    [
        ("CLUSTER child USING child_pkey", {"child": "AccessExclusiveLock"}),
        ("REINDEX TABLE child", {"child": "ShareLock"}),
        ("LOCK TABLE child", {"child": "AccessExclusiveLock"}),
        ("LOCK TABLE child IN SHARE MODE", {"child": "ShareLock"}),
        ("ALTER TABLE parts DETACH PARTITION part", {"parts": "AccessExclusiveLock"}),
        ("ALTER TABLE child SET UNLOGGED", {"child": "AccessExclusiveLock"}),
        ("TRUNCATE parent CASCADE", {"child": "AccessExclusiveLock"}),
        ("CREATE INDEX other ON child (id)", {"child": "ShareLock"}),
        ("DROP INDEX ix", {"child": "AccessExclusiveLock"}),
        ("ALTER TABLE child ADD UNIQUE (id)", {"child": "AccessExclusiveLock"}),
        ("ALTER TABLE part ADD PRIMARY KEY (id)", {"part": "AccessExclusiveLock"}),
        ("ALTER TABLE child ADD EXCLUDE USING btree (id WITH =)", {"child": "AccessExclusiveLock"}),
        ("ALTER TABLE child ALTER id TYPE BIGINT", {"child": "AccessExclusiveLock"}),
        ("ALTER TABLE child ADD CHECK (id > 0)", {"child": "AccessExclusiveLock"}),
        (
            "ALTER TABLE child ADD FOREIGN KEY (id) REFERENCES parent",
            {"child": "ShareRowExclusiveLock", "parent": "ShareRowExclusiveLock"},
        ),
        ("ALTER TABLE child VALIDATE CONSTRAINT fk", {"child": "ShareUpdateExclusiveLock", "parent": "RowShareLock"}),
        ("ALTER TABLE child VALIDATE CONSTRAINT ck", {"child": "ShareUpdateExclusiveLock"}),
        (
            "ALTER TABLE child ADD a INT; ALTER TABLE parent ADD a INT; UPDATE parent SET a = 1",
            {"child": "AccessExclusiveLock", "parent": "AccessExclusiveLock"},
        ),
    ],
)
def test_locks(operating: Operating, statement: str, modes: dict[str, str]) -> None:
    """What statements lock until the transaction ends: TRUNCATE CASCADE a table that it does not name."""
    connection, op = operating
    op.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    op.execute("CREATE TABLE child (id INTEGER PRIMARY KEY REFERENCES parent)")
    op.execute("CREATE INDEX ix ON child (id)")
    op.execute("ALTER TABLE child ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES parent NOT VALID")
    op.execute("ALTER TABLE child ADD CONSTRAINT ck CHECK (id > 0) NOT VALID")
    op.execute("CREATE TABLE parts (id INTEGER NOT NULL) PARTITION BY LIST (id)")
    op.execute("CREATE TABLE part PARTITION OF parts FOR VALUES IN (1)")
    connection.commit()
    op.execute(statement)
    in_order = [f"{each}Lock" for each in ("AccessExclusive", "ShareRowExclusive", "Share", "ShareUpdateExclusive")]
    strongest = {
        table: next(mode for mode in (*in_order, "RowShareLock") if mode in locks(connection, table)) for table in modes
    }
    connection.rollback()
    assert modes == strongest


@on_postgresql
def test_vacuum_full_waits_for_readers(operating: Operating) -> None:
    """VACUUM FULL waits for open transactions that have read the table; VACUUM does not."""
    connection, _ = operating
    connection.execute(text('SELECT * FROM "user"'))
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
        other.execute(text("SET lock_timeout = 300"))
        with pytest.raises(OperationalError, match="lock timeout"):
            other.execute(text('VACUUM FULL "user"'))
        other.execute(text('VACUUM "user"'))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("def upgrade():\n    from app import models", [8]),
        ("def upgrade():\n    import app.models, sys", [8]),
        ("def upgrade():\n    import app.safe_migrations", []),
        ("def upgrade():\n    from os import path", []),
        ("def upgrade():\n    from applause import nothing", []),
    ],
)
def test_imports(review: Review, script: str, expected: list[int]) -> None:
    """Wherever in the script, with the line; what only sounds like it is none."""
    assert expected == [finding.line for finding in found(review(script, "sqlite"), "imports-app-models")]


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        (NEW, "pass", ["missing-downgrade"]),
        (NEW, '"""Nothing."""', ["missing-downgrade"]),
        (NEW, "return None", ["missing-downgrade"]),
        (NEW, "...\nif False:\n    op.drop_table('pet')", ["missing-downgrade"]),
        (NEW, "op.execute('SELECT 1')", ["missing-downgrade"]),
        (NEW, "op.execute('SELECT drop_pet()')", []),
        ("op.execute('SELECT 1')", "return", []),
        (NEW, "raise NotImplementedError('one way')", []),
        (NEW, "op.drop_table('pet')", []),
        (NEW, "for row in op.get_bind().execute(sa.text('SELECT 1')):\n    pass", ["not-inspectable"]),
        ("op.backfill('pet', {'a': 1}, where='a IS NULL')", "pass", []),
        ("op.backfill('pet', {'a': 1})", "pass", ["missing-downgrade"]),
        ("op.backfill('pet', {'a': 1}, where='a IS NULL OR b = 2')", "pass", ["missing-downgrade"]),
        ("op.backfill('pet', {'a': 1, 'b': 2}, where='a IS NULL OR b IS NULL')", "pass", ["missing-downgrade"]),
        ("pass", "pass", []),
        (NEW, "op.drop_table()", ["not-inspectable"]),
        (NEW, "drop_table('pet')", ["not-inspectable"]),
        (NEW, "int(op.get_bind().execute(sa.text('SELECT 1')))", ["not-inspectable"]),
    ],
)
def test_missing_downgrade(review: Review, up: str, down: str, expected: list[str]) -> None:
    """An upgrade that does nothing needs none, a one-way one says so; one that fails or reads the database is there."""
    _, script = revision("a1", FIRST, up, down)
    findings = review(script[script.index("def upgrade") :], "sqlite")
    told = [each.code for each in findings if each.code in ("missing-downgrade", "not-inspectable")]
    assert expected == told


def test_absent_downgrade(project: Project, in_any_app: None) -> None:
    """A script that does not define downgrade() has one finding about it: that it is missing."""
    up = "def upgrade():\n    op.drop_table('a')\n"
    project.write("migrations/versions/b1.py", f"from alembic import op\nrevision = 'b1'\ndown_revision = None\n{up}")
    script = ScriptDirectory(str(project.path / "migrations")).get_revision("b1")
    assert script is not None
    findings = review_revisions([script], {"b1"}, FACTS["sqlite"]())
    assert {"drop-table", "missing-downgrade"} == {finding.code for finding in findings}


@on_mysql
def test_first_table_is_free_again(operating: Operating) -> None:
    """Where DDL commits, a table is free before the next one is altered; and what is done stays, whatever follows."""
    connection, op = operating
    op.execute("CREATE TABLE toy (id INTEGER)")
    op.execute("ALTER TABLE user ADD COLUMN age INTEGER")
    op.execute("ALTER TABLE toy ADD COLUMN age INTEGER")
    with db.engine.begin() as other:
        other.execute(text("SET innodb_lock_wait_timeout = 1"))
        other.execute(text("SET lock_wait_timeout = 1"))
        other.execute(text("UPDATE user SET age = 3"))
    connection.rollback()
    assert 3 == connection.scalar(text("SELECT age FROM user"))


DROP_THEN_UNIQUE = "op.drop_column('user', 'email')\nop.create_index('ix', 'toy', ['name'], unique=True)"
CONCURRENTLY = "    op.create_index('{}', '{}', ['id'], postgresql_concurrently=True)\n"


@pytest.mark.parametrize(
    ("code", "up", "words"),
    [
        ("several-tables", ADD.format("user") + ADD.format("toy"), "revision a1 alters user and toy, and each stays"),
        (
            "several-tables",
            ADD.format("user") + "op.drop_table('toy')\nop.rename_table('ball', 'x')",
            "alters user, toy and ball, and",
        ),
        (
            "several-tables",
            ADD.format("user") + "op.rename_table('toy', 'ball')\n" + ADD.format("ball"),
            "alters user and toy, and",
        ),
        ("several-tables", ADD.format("user") + ADD.format("user"), ""),
        ("several-tables", "op.rename_table('toy', 'ball')\n" + ADD.format("ball"), ""),
        ("several-tables", NEW + ADD.format("user") + ADD.format("pet"), ""),
        ("several-tables", NEW + "op.drop_table('pet')\n" + ADD.format("user"), ""),
        ("several-tables", ADD.format("user") + "op.execute('UPDATE toy SET a = 1 WHERE id = 1')", ""),
        (
            "several-tables",
            "with op.get_context().autocommit_block():\n"
            + CONCURRENTLY.format("ix", "user")
            + CONCURRENTLY.format("iy", "toy"),
            "",
        ),
        ("several-ddl", DROP_THEN_UNIQUE, "deletes values of user.email and then changes toy, which can fail"),
        (
            "several-ddl",
            "op.drop_table('toy')\nop.alter_column('user', 'email', nullable=False)",
            "deletes the rows of toy and then changes user",
        ),
        (
            "several-ddl",
            "op.execute('ALTER TABLE user DROP a; ALTER TABLE user ADD UNIQUE (b)')",
            "deletes values of user.a and then",
        ),
        ("several-ddl", "op.execute('ALTER TABLE user DROP a, ADD UNIQUE (b)')", ""),
        (
            "several-ddl",
            "op.add_column('user', sa.Column('email_2', sa.String(9), sa.Computed('email')))\n"
            + DROP_THEN_UNIQUE.replace("'email'", "'email_2'"),
            "",
        ),
        ("several-ddl", DROP_THEN_UNIQUE.replace(", unique=True", ""), ""),
        ("several-ddl", "op.create_unique_constraint('uq', 'toy', ['name'])\nop.drop_column('user', 'email')", ""),
        ("several-ddl", ADD.format("user") + ADD.format("toy"), ""),
        ("several-ddl", NEW + "op.drop_table('pet')\nop.create_unique_constraint('uq', 'toy', ['name'])", ""),
    ],
)
def test_several(review: Review, code: str, up: str, words: str) -> None:
    """Old tables altered in one transaction; and values deleted before another statement that commits and can fail."""
    messages = [each.message for each in found(review(up, "mysql" if code == "several-ddl" else "postgresql"), code)]
    assert int(bool(words)) == len(messages)
    assert words in "".join(messages)


MISSING = "op.add_column('nosuch', sa.Column('x', sa.Integer()))\nop.add_column('user', sa.Column('x', sa.Integer()))"


@on_sqlite
@pytest.mark.parametrize("last", ["op.add_column('nosuch', sa.Column('y', sa.Integer()))", ""])
def test_missing_table(review_on: ReviewOn, last: str) -> None:
    """A table that neither the database has nor an earlier operation creates is reported once, with no advice on it."""
    findings = review_on(f"{MISSING}\n{last}" if last else "op.backfill('nosuch', {'x': 1}, where='x > 1')")
    (finding,) = found(findings, "missing-object")
    assert (
        "revision a1 changes table nosuch, which this database does not have, and which no earlier operation creates "
        "(missing-object)."
    ) == finding.message
    assert (
        "correct the name, or create the table before this operation:\n"
        "    op.create_table('nosuch', sa.Column('id', sa.BigInteger(), primary_key=True))"
    ) == finding.instead
    assert [] == [each for each in findings if "nosuch" in each.instead and each is not finding]


PET = "op.create_table('pet', sa.Column('id', sa.Integer()))\n"
LACKS = "revision a1 names column {}, which does not exist at that point (missing-object)."


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("op.drop_column('user', 'nope')", ["user.nope"]),
        ("op.alter_column('user', 'nope', nullable=False, existing_type=sa.Integer())", ["user.nope"]),
        ("op.backfill('user', {'nope': 1, 'email': 'x', 'other': 2})", ["user.nope", "user.other"]),
        ("with op.batch_alter_table('user') as batch:\n    batch.drop_column('nope')", ["user.nope"]),
        (f"{PET}op.drop_column('pet', 'name')", ["pet.name"]),
        (f"{PET}op.rename_table('pet', 'cat')\nop.drop_column('cat', 'name')", ["cat.name"]),
        ("op.drop_column('user', 'email')\nop.drop_column('user', 'email')", ["user.email"]),
        ("op.drop_column('user', 'Email')", []),
        ("op.add_column('user', sa.Column('nope', sa.Integer()))\nop.drop_column('user', 'nope')", []),
        ("op.execute('CREATE TABLE pet AS SELECT * FROM user')\nop.drop_column('pet', 'name')", []),
        ("op.create_table('pet', sa.Column('id', sa.Integer()), if_not_exists=True)\nop.drop_column('pet', 'x')", []),
        (
            "op.create_table('child', sa.Column('id', sa.Integer()), postgresql_inherits='user')\n"
            "op.drop_column('child', 'email')",
            [],
        ),
        ("op.execute('SET search_path TO other')\nop.drop_column('user', 'nope')", []),
        ("op.execute('CALL change_it()')\nop.drop_column('user', 'nope')", []),
        ("op.drop_column('user', 'nope', if_exists=True)", []),
        (
            "with op.batch_alter_table('user') as batch:\n"
            "    batch.alter_column('email', new_column_name='mail')\n    batch.drop_column('mail')",
            [],
        ),
    ],
)
def test_missing_column(review: Review, review_on: ReviewOn, up: str, expected: list[str]) -> None:
    """A column is reported if its table certainly lacks it, both with a database and without."""
    for findings in (review(up, "postgresql"), review_on(up)):
        told = [each.message for each in found(findings, "missing-object")]
        assert [LACKS.format(name) for name in expected] == told


@on_sqlite
@pytest.mark.parametrize(
    "first",
    [
        "op.create_table('nosuch', sa.Column('id', sa.Integer()))",
        "op.execute('CREATE TABLE nosuch AS SELECT 1 AS id')",
        "op.rename_table('user', 'nosuch')",
        "op.execute('CALL make_it()')",
    ],
)
def test_table_of_an_earlier_step(review_on: ReviewOn, first: str) -> None:
    """An earlier operation may create the table; SQL that cannot be read may have done so."""
    findings = review_on(f"{first}\nop.add_column('nosuch', sa.Column('x', sa.Integer()))")
    assert [] == found(findings, "missing-object")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("1 / 0", "flask db rehearse"),
        ("with op.batch_alter_table('user') as batch:\n    batch.backfill('user')", "flask db rehearse"),
        ("op.get_bind().execute(sa.text('SELECT 1')).all()", 'flask db revision -m "move the rows"'),
    ],
)
def test_where_a_review_stops(review: Review, body: str, line: str) -> None:
    """An error of the script has to be corrected; to move its rows to another revision only helps if it reads rows."""
    (finding,) = found(review(body, "postgresql"), "not-inspectable")
    assert line == finding.instead.splitlines()[-1].strip()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("add_column('toy', sa.Column('a', sa.Text(), server_default=sa.text({})))", 1),
        ("add_column('toy', sa.Column('a', sa.Text(), sa.Computed({})))", 1),
        ("add_column('toy', sa.Column('a', sa.Text(), sa.CheckConstraint({})))", 1),
        ("alter_column('toy', 'name', server_default=sa.text({}))", 1),
        ("create_table('pet', sa.Column('a', sa.Text()), sa.CheckConstraint({}))", 1),
        ("create_check_constraint('ck', 'toy', {})", 1),
        ("create_check_constraint('ck', 'toy', sa.and_(sa.text({}), sa.text('id > 0')))", 1),
        ("create_index('ix', 'toy', [sa.text({})], postgresql_where=sa.text({}))", 2),
        ("add_column('toy', sa.Column('a', sa.Text(), server_default={}))", 0),
        ("create_index('ix', 'toy', ['name'], postgresql_where=sa.column('name') == ':x')", 0),
    ],
)
def test_colon_in_ddl(review: Review, call: str, expected: int) -> None:
    """A colon before a word in a text() of DDL is a parameter, which has no value there; with a backslash it is not."""
    for sql, number in (
        ("\"name <> 'a :x 5'\"", expected),
        ("\"name <> 'a \\\\:x 5'\"", 0),
        ("\"name::text > '1:2: 3'\"", 0),
    ):
        body = f"op.{call}".replace("{}", sql)
        assert ["blocks"] * number == levels(review(body, "postgresql"), "colon-in-ddl")


def test_colon_becomes_null(review: Review, operating: Operating) -> None:
    """SQLAlchemy writes NULL for it, but not with the line of the finding, also if another colon has a backslash."""
    connection, op = operating
    for written, kept, lost in (("'a :x b'", "a :x b", "a NULL b"), (r"'\:a :b %'", ":a :b %", ":a NULL %")):
        default = f"sa.text({written!r})"
        column = f"sa.Column('t', sa.String(9), server_default={default})"
        (finding,) = found(review(f"op.create_table('pet', {column})", "sqlite"), "colon-in-ddl")
        for code, expected in ((default, lost), (finding.instead.splitlines()[1].strip(), kept)):
            made = sa.Column("t", sa.String(9), server_default=eval(code, {"sa": sa}))
            op.create_table("pet", sa.Column("id", sa.Integer()), made)
            connection.execute(sa.table("pet", sa.column("id")).insert().values(id=1))
            assert expected == connection.scalar(sa.text("SELECT t FROM pet"))
            op.drop_table("pet")


@pytest.mark.parametrize("method", ["execute", "scalar", "scalars"])
def test_text_that_is_not_executable(review: Review, operating: Operating, method: str) -> None:
    """A connection executes no plain text since SQLAlchemy 2, so such a script fails on any database."""
    call = f"op.get_bind().{method}(\"UPDATE toy SET name = ''\")"
    (finding,) = found(review(call, "sqlite"), "not-inspectable")
    assert ("blocks", True) == (finding.level, "Not an executable object" in finding.message)
    with pytest.raises(ObjectNotExecutableError):
        exec(call, {"op": operating[1]})
