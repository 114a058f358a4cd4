"""Rules about constraints: what they find beside the pairs of RULES.md, and that the servers do what they claim."""

from collections.abc import Callable
from textwrap import dedent
from typing import Any

import pytest
import sqlalchemy as sa
from flask_migrate import upgrade
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from ..review.findings import Finding
from .example.app.extensions import db
from .support import (
    FIRST,
    LOG,
    Operating,
    Project,
    Review,
    ReviewOn,
    execute,
    found,
    levels,
    on_mysql,
    on_postgresql,
    on_sqlite,
    revision,
)

PET = "CREATE TABLE pet (id INT PRIMARY KEY, a INT, b INT, name VARCHAR(20))"
OWNER = "CREATE TABLE owner (a INT NOT NULL, b INT NOT NULL, PRIMARY KEY (a, b))"


def pasted_query(finding: Finding) -> list[Any]:
    """The rows of the query that a finding gives."""
    with db.engine.connect() as connection:
        return list(connection.exec_driver_sql(finding.instead.splitlines()[1].strip().replace("%", "%%")))


@pytest.mark.parametrize(
    "made",
    [
        "with op.batch_alter_table('pet') as batch_op:\n    batch_op.create_unique_constraint('uq', ['a', 'b'])",
        "op.create_index('uq', 'pet', ['a', 'b'], unique=True)",
        "op.create_index('uq', 'pet', [sa.text('a'), sa.column('b').desc()], unique=True)",
    ],
)
def test_unique(review_on: ReviewOn, made: str) -> None:
    """It blocks where rows have the same values, which the query to paste shows; NULL is equal to nothing."""
    assert ["warns"] == levels(
        review_on(made, PET, "INSERT INTO pet VALUES (1, 1, NULL, ''), (2, 1, NULL, '')"), ("add-unique")
    )
    (finding,) = found(review_on(made, "INSERT INTO pet VALUES (3, 1, 2, ''), (4, 1, 2, '')"), "add-unique")
    assert "blocks" == finding.level
    assert finding.message.startswith("revision a1 adds a unique ")
    assert finding.message.endswith(" of pet, which fails because rows share a value (add-unique).")
    assert [(1, 2, 2)] == pasted_query(finding)


def test_unique_as_the_database_compares(review_on: ReviewOn, backend: str) -> None:
    """A MySQL or MariaDB server takes Alice for alice."""
    made = "op.create_unique_constraint('uq', 'pet', ['name'])"
    (level,) = levels(
        review_on(made, PET, "INSERT INTO pet VALUES (1, 1, 1, 'Alice'), (2, 1, 1, 'alice')"), "add-unique"
    )
    assert {"mysql": "blocks"}.get(backend, "warns") == level


TAG = "CREATE TABLE tag (a INT NOT NULL)"
EQUAL = "INSERT INTO pet VALUES (1, 1, 2, ''), (2, 1, 2, '')"
NULLS = "INSERT INTO pet VALUES (1, 1, NULL, ''), (2, 1, NULL, '')"
PRIMARY_KEY = "op.create_primary_key('pk', 'tag', ['a'])"
UNIQUE_A = "op.create_unique_constraint('uq', 'pet', ['a'])"
DELETE = "op.execute(sa.table('{}', sa.column('id')).delete().where(sa.column('id') == 2))\n"
ITSELF = "op.create_foreign_key('fk', 'pet', 'pet', ['{}'], ['id'])"


@on_sqlite
@pytest.mark.parametrize(
    ("code", "up", "statements", "expected"),
    [
        ("add-unique", PRIMARY_KEY, [TAG, "INSERT INTO tag VALUES (1), (2)"], ["warns"]),
        ("add-unique", PRIMARY_KEY, [TAG, "INSERT INTO tag VALUES (1), (1)"], ["blocks"]),
        ("add-unique", UNIQUE_A, [PET, EQUAL], ["blocks"]),
        ("add-unique", UNIQUE_A, [PET], ["warns"]),
        ("add-unique", DELETE.format("pet") + UNIQUE_A, [PET, EQUAL], ["warns"]),
        ("add-unique", f"op.get_bind().execute(sa.text('DELETE FROM pet'))\n{UNIQUE_A}", [PET, EQUAL], ["warns"]),
        ("add-unique", DELETE.format("owner") + UNIQUE_A, [PET, EQUAL], ["blocks"]),
        ("add-foreign-key", ITSELF.format("a"), [PET, EQUAL], ["warns"]),
        ("add-foreign-key", ITSELF.format("a"), [PET, "INSERT INTO pet VALUES (1, 2, 2, '')"], ["blocks"]),
    ],
)
def test_levels(review_on: ReviewOn, code: str, up: str, statements: list[str], expected: list[str]) -> None:
    """A primary key is unique, and a table may refer to itself; what the same run changes first does not block."""
    assert expected == levels(review_on(up, *statements), code)


@on_postgresql
@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        (["a"], "postgresql_where=sa.text('id > 1')", "warns"),
        (["a"], "postgresql_where=sa.text('id > 0')", "blocks"),
        (["a"], "postgresql_where=sa.column('id') > 0", "blocks"),
        (["a", "b"], "postgresql_nulls_not_distinct=True", "blocks"),
    ],
)
def test_unique_in_part(review_on: ReviewOn, columns: list[str], options: str, expected: str) -> None:
    """Of a partial index, only the rows that it is about count; and NULLs do where the script says that they do."""
    script = f"op.create_index('ix', 'pet', {columns}, unique=True, {options})"
    assert [expected] == levels(review_on(script, PET, NULLS), "add-unique")


def test_foreign_key(review_on: ReviewOn) -> None:
    """It blocks where rows refer to what is not there; a NULL among the columns refers to nothing."""
    made = (
        "with op.batch_alter_table('pet') as batch_op:\n"
        "    batch_op.create_foreign_key('fk', 'owner', ['a', 'b'], ['a', 'b'])"
    )
    rows = ("INSERT INTO owner VALUES (1, 2)", "INSERT INTO pet VALUES (1, 1, 2, ''), (2, 7, NULL, '')")
    assert ["warns"] == levels(review_on(made, PET, OWNER, *rows), "add-foreign-key")
    (finding,) = found(review_on(made, "INSERT INTO pet VALUES (3, 2, 1, '')"), "add-foreign-key")
    assert "blocks" == finding.level
    assert (
        "revision a1 adds foreign key fk to pet, which fails because rows of pet refer to missing rows of owner"
        " (add-foreign-key)."
    ) == finding.message
    assert (
        "correct or delete these rows in an earlier revision; this query finds them:\n"
        "    SELECT * FROM pet WHERE pet.a IS NOT NULL AND pet.b IS NOT NULL AND NOT (EXISTS (SELECT 1"
        " FROM owner AS referred WHERE referred.a = pet.a AND referred.b = pet.b))"
    ) == finding.instead
    assert [(3, 2, 1, "")] == pasted_query(finding)


@pytest.mark.parametrize("condition", ["\"name NOT LIKE '%:x' AND a > 1\"", "sa.column('a') > 1"])
def test_check(review_on: ReviewOn, condition: str) -> None:
    """It blocks where rows violate it; one whose condition is NULL does not."""
    made = f"with op.batch_alter_table('pet') as batch_op:\n    batch_op.create_check_constraint('ck', {condition})"
    assert ["warns"] == levels(
        review_on(made, PET, "INSERT INTO pet VALUES (1, 2, 1, 'b'), (2, NULL, 1, 'b')"), "add-check"
    )
    (finding,) = found(review_on(made, "INSERT INTO pet VALUES (3, 1, 1, 'b')"), "add-check")
    assert "blocks" == finding.level
    assert (
        "revision a1 adds CHECK constraint ck to pet, which fails because rows of pet violate it (add-check)."
    ) == finding.message
    assert [(3, 1, 1, "b")] == pasted_query(finding)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("c IS NULL OR (c >= 0 AND c < b)", []),
        ("c BETWEEN 0 AND 9", []),
        ("c > 3 AND NOT c IN (5, 6)", []),
        ("(id IS NULL) <> (c IS NULL)", []),
        ("(id IS NULL) = (c IS NULL)", ["warns"]),
        ("c IS NOT NULL", ["warns"]),
        ("coalesce(c, 1) > 1", ["warns"]),
        ("c > 3 OR a > 3", ["warns"]),
    ],
)
def test_check_of_a_new_column(review_on: ReviewOn, database: str, condition: str, expected: list[str]) -> None:
    """A new column is NULL in all rows, which most conditions accept; the database agrees."""
    added = "op.add_column('pet', sa.Column('c', sa.Integer()))\nwith op.batch_alter_table('pet') as batch_op:\n"
    made = f"{added}    batch_op.create_check_constraint('ck', {condition!r})"
    pet = PET.replace("INT PRIMARY", "INT NOT NULL PRIMARY")
    assert expected == levels(review_on(made, pet, "INSERT INTO pet VALUES (1, 2, 1, 'b')"), "add-check")
    query = sa.text(f"SELECT count(*) FROM (SELECT pet.*, a + NULL AS c FROM pet) t WHERE NOT ({condition})")
    with db.engine.connect() as connection:
        assert expected or connection.scalar(query) == 0


@on_postgresql
def test_validated_at_once(review_on: ReviewOn, operating: Operating) -> None:
    """VALIDATE CONSTRAINT beside what adds the constraint is reported, unless an autocommit block ends the lock."""
    made = "op.create_check_constraint('ck', 'pet', 'a > 0', postgresql_not_valid=True)\n"
    validate = "op.execute('ALTER TABLE pet VALIDATE CONSTRAINT ck_pet_ck')"
    row = "INSERT INTO pet VALUES (1, 1, 1, 'b')"
    assert ["blocks"] == levels(review_on(made + validate, PET, row), "constraint-scan-blocks")
    assert [] == found(review_on(made.replace("'ck'", "'other'") + validate), "constraint-scan-blocks")
    block = "with op.get_context().autocommit_block():\n    {}"
    assert [] == found(review_on(made + block.format(validate)), "constraint-scan-blocks")
    assert [] == found(review_on(block.format(made) + validate), "constraint-scan-blocks")
    assert [] == found(review_on(validate + "\n" + made), "constraint-scan-blocks")
    raw = "op.execute('ALTER TABLE pet ADD CONSTRAINT c CHECK (a > 0) NOT VALID')\n" + validate.replace(
        "ck_pet_ck", "c"
    )
    (finding,) = found(review_on(raw), "constraint-scan-blocks")
    with operating[0].begin_nested():
        exec(raw.splitlines()[0] + dedent(finding.instead.partition(":")[2]), {"op": operating[1]})


@on_sqlite
@pytest.mark.parametrize(
    ("made", "code", "found_later"),
    [
        ("op.create_check_constraint('ck', 'pet', 'age > 0')", "add-check", [(1, 1, 1, "", 0), (2, 1, 1, "", 0)]),
        ("op.create_unique_constraint('uq', 'pet', ['age'])", "add-unique", [(0, 2)]),
        ("op.create_foreign_key('fk', 'pet', 'kind', ['a'], ['id'])", "add-foreign-key", []),
    ],
    ids=["check", "unique", "foreign key"],
)
def test_query_for_what_the_revision_adds(
    review_on: ReviewOn, made: str, code: str, found_later: list[tuple[object, ...]]
) -> None:
    """The query that finds the rows of a new column, or a new table, is for the time after the revision, and runs."""
    execute(PET, "INSERT INTO pet VALUES (1, 1, 1, ''), (2, 1, 1, '')")
    add = "op.add_column('pet', sa.Column('age', sa.Integer(), server_default='0'))\n"
    add += "op.create_table('kind', sa.Column('id', sa.Integer(), primary_key=True))\n"
    (finding,) = found(review_on(add + made), code)
    assert finding.instead.startswith(
        "add it in the next revision, and before that correct or delete these rows; after "
    )
    execute(
        "ALTER TABLE pet ADD COLUMN age INTEGER DEFAULT 0",
        "CREATE TABLE kind (id INTEGER)",
        "INSERT INTO kind VALUES (1)",
    )
    assert found_later == [tuple(row) for row in pasted_query(finding)]


def test_not_validated(review: Review) -> None:
    """What PostgreSQL adds without a look at the rows fails on none; on others the option means nothing."""
    script = (
        "with op.batch_alter_table('user') as batch_op:\n"
        "    batch_op.create_foreign_key('fk', 'user', ['id'], ['id'], postgresql_not_valid=True)\n"
        "    batch_op.create_check_constraint('ck', 'id > 1', postgresql_not_valid=True)"
    )
    assert [] == review(script, "postgresql")
    codes = {finding.code for finding in review(script, "sqlite")}
    assert {"add-foreign-key", "add-check"} <= codes


@on_postgresql
@pytest.mark.parametrize(
    ("made", "code", "bad", "consequence"),
    [
        (
            "op.create_check_constraint('ck', 'pet', 'a < 4', postgresql_not_valid=True)",
            "add-check",
            "INSERT INTO pet VALUES (2, 5, 1, '')",
            "CHECK constraint ck to pet; rows of pet violate it, so updates of these rows and VALIDATE CONSTRAINT",
        ),
        (
            "op.create_foreign_key('fk', 'pet', 'pet', ['b'], ['id'], postgresql_not_valid=True)",
            "add-foreign-key",
            "INSERT INTO pet VALUES (2, 1, 7, '')",
            "foreign key fk to pet; rows of pet refer to missing rows of pet, so VALIDATE CONSTRAINT",
        ),
    ],
    ids=["check", "foreign key"],
)
def test_not_valid_yet(review_on: ReviewOn, made: str, code: str, bad: str, consequence: str) -> None:
    """It blocks where rows violate it, because its validation will fail; without such rows, nothing is reported."""
    assert [] == review_on(made, PET, "INSERT INTO pet VALUES (1, 1, 1, '')")
    (finding,) = review_on(made, bad)
    assert "blocks" == finding.level
    assert f"revision a1 adds {consequence} will fail ({code})." == finding.message
    assert [2] == [row.id for row in pasted_query(finding)]


@on_postgresql
@pytest.mark.parametrize(
    ("constraint", "bad", "code", "because"),
    [
        (
            "CHECK (name IN ('a:b', '%c') AND a > 0)",
            "INSERT INTO pet VALUES (3, 1, 1, 'd')",
            "add-check",
            "CHECK constraint Made of pet, which fails because rows of pet violate it",
        ),
        (
            "FOREIGN KEY (b) REFERENCES pet (id)",
            "INSERT INTO pet VALUES (3, 1, 7, 'a:b')",
            "add-foreign-key",
            "foreign key Made of pet, which fails because rows of pet refer to missing rows of pet",
        ),
    ],
    ids=["check", "foreign key"],
)
def test_validation_fails(
    review_on: ReviewOn, attempt: Callable[..., list[str]], constraint: str, bad: str, code: str, because: str
) -> None:
    """It blocks where rows violate what it validates, whoever acknowledged them when it was added as NOT VALID."""
    add = f'ALTER TABLE pet ADD CONSTRAINT "Made" {constraint} NOT VALID'
    validate = "op.execute('ALTER TABLE pet VALIDATE CONSTRAINT \"Made\"')"
    known = review_on(validate, PET, "INSERT INTO pet VALUES (1, 1, 1, 'a:b')", bad, add)
    (finding,) = found(known, code)
    assert (f"revision a1 validates {because} ({code}).", "blocks", True) == (
        finding.message,
        finding.level,
        finding.fails,
    )
    assert [3] == [row.id for row in pasted_query(finding)]
    assert any("violate" in line for line in attempt(upgrade)), "it fails without a review"
    undone = 'ALTER TABLE pet DROP CONSTRAINT "Made"'
    assert found(review_on(f"op.execute({add!r})\n{validate}", undone), code)[-1].fails, "added in the same run"
    assert [] == found(review_on(validate, "DELETE FROM pet WHERE id = 3", add), code)


DROP_KEY = "op.drop_constraint('fk', 'user', type_='foreignkey')\n"
MAKE_KEY = "op.create_foreign_key('{}', 'user', 'user', ['id'], ['id'], ondelete='CASCADE')"


@pytest.mark.parametrize(
    ("then", "expected"),
    [(MAKE_KEY.format("fk"), []), (MAKE_KEY.format("other"), ["warns"]), ("op.drop_table('user')", [])],
)
def test_constraint_that_comes_back(review: Review, then: str, expected: list[str]) -> None:
    """One that the script creates again, or that is dropped with its table, is not lost; under another name it is."""
    assert expected == levels(review(DROP_KEY + then, "postgresql"), "drop-constraint")


NOT_NULL = "op.alter_column('pet', 'age', existing_type=sa.Integer(), nullable=False)\n"


@on_postgresql
@pytest.mark.parametrize(
    ("check", "before", "expected"),
    [
        ("age IS NOT NULL", NOT_NULL, []),
        ("age IS NOT NULL", "", ["warns"]),
        ("age IS NOT NULL AND age > 0", NOT_NULL, ["warns"]),
        ("id IS NOT NULL", NOT_NULL, ["warns"]),
    ],
)
def test_drop_check_of_not_null(review_on: ReviewOn, check: str, before: str, expected: list[str]) -> None:
    """A CHECK that said what NOT NULL says now; not one that says more, or of a column that may be NULL."""
    table = f"CREATE TABLE pet (id INTEGER, age INTEGER, CONSTRAINT ck CHECK ({check}))"
    assert expected == levels(review_on(f"{before}op.drop_constraint('ck', 'pet')", table), "drop-constraint")


@on_postgresql
@pytest.mark.parametrize(
    ("code", "script"),
    [
        ("constraint-scan-blocks", "op.create_foreign_key(None, 'pet', 'user', ['a'], ['id'], ondelete='CASCADE')"),
        ("constraint-scan-blocks", "op.add_column('pet', sa.Column('c', sa.Integer(), sa.ForeignKey('user.id')))"),
        (
            "unique-constraint-blocks",
            "op.create_unique_constraint(None, 'user', ['id'], initially='DEFERRED')",
        ),
        ("unique-constraint-blocks", "op.create_primary_key('Pk', 'tag', ['id'])"),
    ],
)
def test_lines_run(
    review_on: ReviewOn,
    operating: Operating,
    project: Project,
    attempt: Callable[..., list[str]],
    code: str,
    script: str,
) -> None:
    """What a finding on PostgreSQL gives to paste makes the constraint that the script makes."""
    connection, op = operating
    execute(
        PET, "CREATE TABLE tag (id INT NOT NULL)", "INSERT INTO pet VALUES (1, 1, 1, '')", "INSERT INTO tag VALUES (1)"
    )
    (finding,) = found(review_on(script), code)
    with connection.begin() as transaction:
        exec(script, {"op": op, "sa": sa})
        expected = constraints(connection)
        transaction.rollback()
    parent = FIRST
    for number, lines in enumerate(finding.instead.split("\nand ")):
        project.write(*revision(f"{'abc'[number]}1", parent, dedent(lines.partition("\n")[2])))
        parent = f"{'abc'[number]}1"
    assert [] == attempt(upgrade)
    assert expected == constraints(connection)


def constraints(connection: Connection) -> list[Any]:
    """Return all but those of the log, as PostgreSQL writes them."""
    query = (
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid <> 0 AND conname NOT LIKE :log ORDER BY 1, 2"
    )
    return list(connection.execute(sa.text(query), {"log": f"{LOG}%"}))


@on_postgresql
def test_exclude_constraint(review_on: ReviewOn, operating: Operating) -> None:
    """An EXCLUDE constraint is reported; PostgreSQL cannot add one as NOT VALID."""
    connection, op = operating
    script = "op.create_exclude_constraint('ex', 'user', (sa.column('email'), '='), using='btree')"
    (finding,) = review_on(script)
    assert (
        "revision a1 adds EXCLUDE constraint ex to user, which blocks reads and writes while its index is built"
        " (exclude-constraint)."
    ) == finding.message
    with pytest.raises(DBAPIError, match="EXCLUDE constraints cannot be marked NOT VALID"):
        op.execute('ALTER TABLE "user" ADD CONSTRAINT ex EXCLUDE USING btree (email WITH =) NOT VALID')
    connection.rollback()


@on_mysql
def test_foreign_key_copies(review_on: ReviewOn, operating: Operating) -> None:
    """The server copies the table and keeps writers out, even if there is an index."""
    connection, _op = operating
    execute(PET, "CREATE INDEX ix ON pet (a)")
    script = "op.create_foreign_key('fk', 'pet', 'user', ['a'], ['id'])"
    assert [] == found(review_on(script), "add-foreign-key-blocks"), "no rows"
    (finding,) = found(review_on(script, "INSERT INTO pet VALUES (1, 1, 1, '')"), "add-foreign-key-blocks")
    assert (
        "revision a1 adds foreign key fk to pet; the server rebuilds pet for this and blocks writes until it is done"
        " (add-foreign-key-blocks)."
    ) == finding.message
    add = "ALTER TABLE pet ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES user (id), ALGORITHM={}, LOCK={}"
    for algorithm, lock in (("INPLACE", "SHARED"), ("INPLACE", "NONE"), ("COPY", "NONE")):
        with pytest.raises(OperationalError, match="1846"):
            connection.execute(sa.text(add.format(algorithm, lock)))
    connection.execute(sa.text(add.format("COPY", "SHARED")))
    connection.execute(sa.text("ALTER TABLE pet DROP FOREIGN KEY fk"))
    connection.execute(sa.text("SET foreign_key_checks = 0"))
    connection.execute(sa.text(add.format("INPLACE", "NONE")))
    connection.execute(sa.text("SET foreign_key_checks = 1"))


@on_postgresql
def test_foreign_key_in_definition(review_on: ReviewOn, operating: Operating) -> None:
    """PostgreSQL reads no rows for a REFERENCES in the definition of a new column, and does for a CHECK."""
    connection, _op = operating
    script = "op.add_column('pet', sa.Column('c', sa.Integer(), sa.ForeignKey('user.id')), inline_references=True)"
    assert [] == found(review_on(script, PET, "INSERT INTO pet VALUES (1, 1, 1, '')"), "constraint-scan-blocks")
    read = sa.text("SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'pet'")
    before = connection.scalar(read)
    connection.execute(sa.text('ALTER TABLE pet ADD COLUMN c INTEGER REFERENCES "user" (id)'))
    assert before == connection.scalar(read)
    connection.execute(sa.text('ALTER TABLE pet ADD CONSTRAINT other FOREIGN KEY (a) REFERENCES "user" (id)'))
    assert before != connection.scalar(read)
    connection.rollback()
    with pytest.raises(IntegrityError):
        connection.execute(sa.text("ALTER TABLE pet ADD COLUMN c INTEGER CHECK (c IS NOT NULL)"))


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("sa.Enum('a', 'b', name='kind', native_enum=False, create_constraint=True)", ["blocks"]),
        ("sa.Enum('a', 'b', name='kind', native_enum=False)", []),
        ("sa.Enum('a', 'b', name='kind', create_constraint=True)", []),
        ("sa.Boolean(name='yes', create_constraint=True)", []),
    ],
)
def test_check_of_a_type(review: Review, type_: str, expected: list[str]) -> None:
    """An enum that is a VARCHAR brings a CHECK along; a type of the database's own needs none."""
    findings = review(f"op.add_column('user', sa.Column('x', {type_}))", "postgresql")
    assert expected == levels(findings, "constraint-scan-blocks")
