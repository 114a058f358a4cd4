"""Rules about types and enums: what they find beside the pairs of RULES.md, and that the servers do what they claim."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic.operations import ops
from flask_migrate import downgrade, upgrade
from sqlalchemy.exc import DBAPIError

from ..adapters.postgresql.facts import PostgreSQLFacts
from ..review.known_schema import KnownSchema
from ..review.recorder import Operation
from .support import (
    FIRST,
    Operating,
    Project,
    Review,
    ReviewOn,
    found,
    levels,
    on_mysql,
    on_postgresql,
    on_servers,
    on_sqlite,
    revision,
)

SERVERS = ("mysql", "postgresql")  # on MariaDB nothing of this differs from MySQL


def alter(column: str, old: str | None, new: str) -> str:
    """A change of type, as Flask-Migrate writes it; without ``old`` the script does not say what it was."""
    existing = f"existing_type=sa.{old}, " if old else ""
    return (
        "with op.batch_alter_table('user') as batch_op:\n"
        f"    batch_op.alter_column({column!r}, {existing}type_=sa.{new}, existing_nullable=False)"
    )


def test_type_that_the_database_cannot_have(review: Review) -> None:
    """No rule raises an error about a type whose options the database lacks."""
    script = "from sqlalchemy.dialects import postgresql\n"
    script += "op.alter_column('user', 'email', existing_type=postgresql.DOUBLE_PRECISION(53), nullable=False)"
    assert not any("raised an error" in finding.message for finding in review(script, "mysql"))


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        (alter("email", "String(120)", "Text()"), {}),
        (alter("email", "String(120)", "String(255)"), {}),
        (alter("email", None, "String(255)"), {}),
        (alter("nobody_knows", None, "Text()"), {"postgresql": "warns"}),
        (alter("nobody_knows", None, "Integer()"), dict.fromkeys(("sqlite", *SERVERS), "blocks")),
        (alter("id", "Integer()", "BigInteger()"), {"postgresql": "warns"}),
        (alter("id", "Integer()", "String(20)"), {"postgresql": "warns"}),
        (alter("email", "DateTime()", "DateTime(timezone=True)"), {"postgresql": "warns"}),
        (alter("email", "Date()", "DateTime()"), {"sqlite": "blocks", "postgresql": "warns"}),
        (alter("email", "Boolean()", "Integer()"), {"postgresql": "blocks"}),
        (alter("email", "String(120)", "Enum('a', 'b', name='kind')"), dict.fromkeys(SERVERS, "blocks")),
        (alter("email", "Enum('a', 'b', name='kind')", "String(1)"), {"postgresql": "warns"}),
        (alter("email", "String(120)", "String(60)"), {}),
        (alter("email", "dialects.mysql.TINYINT()", "Text()"), {}),
        (alter("email", "String(120)", "dialects.mysql.YEAR()"), {"mysql": "blocks"}),
        ("op.alter_column('user', 'email', existing_type=sa.String(120), server_default='')", {}),
    ],
)
def test_change_type(review: Review, up: str, expected: dict[str, str]) -> None:
    """The finding depends on the database; the type before comes from the script, or from the history.

    A type of another database is none that the table has here, or can get.
    """
    findings = {product: levels(review(up, product), "change-type") for product in ("sqlite", *SERVERS)}
    assert expected == {product: level for product, each in findings.items() for level in each}


@on_sqlite
def test_change_type_without_values(review_on: ReviewOn) -> None:
    """Where a column has no value, none can be lost, unless the same run writes some before."""
    up = alter("age", None, "Integer()")
    fill = "op.execute(sa.table('user', sa.column('age')).update().values(age='12x'))\n"
    assert ["warns"] == levels(review_on(up, "ALTER TABLE {user} ADD COLUMN age VARCHAR(9)"), "change-type")
    assert ["blocks"] == levels(review_on(fill + up), "change-type")
    assert ["blocks"] == levels(review_on(up, "UPDATE {user} SET age = '12x'"), "change-type")
    assert ["warns"] == levels(review_on(up, "DELETE FROM {user}"), "change-type")


@on_servers
@pytest.mark.parametrize(
    ("old", "new", "small", "large"),
    [
        ("VARCHAR(20)", "String(5)", "'ééééé'", "'éééééé'"),
        ("BIGINT", "Integer()", "-2147483648", "2147483648"),
        ("BIGINT", "SmallInteger()", "32767", "-32769"),
        ("NUMERIC(10, 2)", "Numeric(5, 2)", "-999.99", "1000"),
        ("NUMERIC(10, 2)", "Numeric(10, 1)", "999.90", "0.01"),
        ("BIGINT", "Numeric(5, 2)", "999", "-1000"),
    ],
)
def test_shrink_column(database: str, review_on: ReviewOn, old: str, new: str, small: str, large: str) -> None:
    """It blocks where a value is too large, and warns where none is."""
    up = alter("age", None, new)
    values = [f"UPDATE {{user}} SET age = {value}" for value in (small, large)]
    assert ["warns"] == levels(review_on(up, f"ALTER TABLE {{user}} ADD COLUMN age {old}", values[0]), "shrink-column")
    findings = review_on(up, values[1])
    assert ["blocks"] == levels(findings, "shrink-column")
    assert [] == levels(findings, "change-type")


@pytest.mark.parametrize(("product", "expected"), [("sqlite", []), *((server, ["blocks"]) for server in SERVERS)])
def test_shrink_column_unknown(review: Review, product: str, expected: list[str]) -> None:
    """A smaller size blocks if there is no database, or if the size before is unknown; SQLite enforces no length."""
    for column, old in (("email", "String(120)"), ("email", None), ("nobody_knows", None)):
        assert expected == levels(review(alter(column, old, "String(60)"), product), "shrink-column")


RENAME = "op.alter_column('user', 'email', existing_type=sa.{}, existing_nullable=False, new_column_name='nick')"


@pytest.mark.parametrize("product", SERVERS)
def test_type_of_a_rename(review: Review, product: str) -> None:
    """MySQL's CHANGE gives the column the type that the script says it has, which may be another than it has."""
    shrunk, changed = (review(RENAME.format(type_), product) for type_ in ("String(100)", "Integer()"))
    same = review(RENAME.format("String(120)"), product)
    expected = [] if product == "postgresql" else ["blocks"]
    assert (expected, expected) == (levels(shrunk, "shrink-column"), levels(changed, "change-type"))
    assert [] == found(same, "shrink-column") + found(same, "change-type")


@on_mysql
def test_type_of_a_rename_on_a_server(database: str, review_on: ReviewOn) -> None:
    """A stated type is compared with the database's: another name of the same stored type is no change."""
    long = "UPDATE {user} SET email = REPEAT('x', 111)"
    assert ["blocks"] == levels(review_on(RENAME.format("String(100)"), long), "shrink-column")
    null = "op.alter_column('user', 'email', existing_type=sa.String(100), nullable=True)"
    assert ["blocks"] == levels(review_on(null), "shrink-column")
    same = {"BOOL": "Boolean()", "JSON": "JSON()", "TEXT": "Text(1000)", "DECIMAL(10, 2)": "Numeric(10, 2)"}
    same |= {"DATETIME": "DateTime(timezone=True)", "ENUM('a', 'b')": "Enum('a', 'b')", "FLOAT": "Float()"}
    same |= {"CHAR(32)": "CHAR(32)", "BLOB": "LargeBinary()", "DOUBLE": "Double()", "TIME": "Time()"}
    for number, (sql, type_) in enumerate(same.items()):
        up = f"op.alter_column('user', 'x{number}', existing_type=sa.{type_}, new_column_name='y')"
        findings = review_on(up, f"ALTER TABLE {{user}} ADD COLUMN x{number} {sql}")
        assert [] == found(findings, "shrink-column") + found(findings, "change-type"), (sql, type_)


@pytest.mark.parametrize(
    ("column", "type_", "using"),
    [
        ("email", "Integer()", "postgresql_using='email::INTEGER'"),
        ("email", "dialects.postgresql.UUID()", "postgresql_using='email::UUID'"),
        ("id", "Boolean()", "postgresql_using='id::BOOLEAN'"),
        ("id", "Date()", ""),
    ],
)
def test_cast_with_using(review: Review, column: str, type_: str, using: str) -> None:
    """A cast that PostgreSQL does only with USING has the argument in its lines, unless the script has it."""
    old = "String(120)" if column == "email" else "Integer()"
    (finding,) = found(review(alter(column, old, type_), "postgresql"), "change-type")
    assert (using != "", True) == ("tell PostgreSQL how" in finding.instead, using in finding.instead)
    given = alter(column, old, type_).replace(", existing_nullable", ", postgresql_using='1', existing_nullable")
    assert ["tell PostgreSQL" in each.instead for each in found(review(given, "postgresql"), "change-type")] == [False]


@on_servers
def test_shrink_column_cuts(operating: Operating) -> None:
    """A text that is too long is refused; digits that are too many are cut in silence, in strict mode too."""
    connection, op = operating
    op.add_column("user", sa.Column("price", sa.Numeric(10, 3), server_default="1.555"))
    op.alter_column("user", "price", existing_type=sa.Numeric(10, 3), type_=sa.Numeric(10, 1))
    assert 1.6 == float(str(connection.scalar(sa.select(sa.column("price")).select_from(sa.table("user")))))
    with pytest.raises(DBAPIError, match=r"too long|truncated"):
        op.alter_column("user", "username", existing_type=sa.String(80), type_=sa.String(3))
    connection.rollback()


PET = "op.create_table('pet', sa.Column('id', sa.BigInteger(), primary_key=True), sa.Column({}))"


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("op.create_table('pet', sa.Column('id', sa.SmallInteger(), primary_key=True))", ["32,767"]),
        ("op.create_table('pet', sa.Column('id', sa.Integer(), primary_key=True))", []),
        ("op.add_column('user', sa.Column('nr', sa.Integer(), primary_key=True))", ["2,147,483,647"]),
        ("op.create_table('pet', sa.Column('code', sa.String(3), primary_key=True))", []),
        (PET.format("'user_id', sa.Integer(), sa.ForeignKey('user.id')"), []),
        (PET.format("'user_id', sa.BigInteger(), sa.ForeignKey('user.id')"), ["INTEGER"]),
        (PET.format("'user_id', sa.String(3), sa.ForeignKey('user.id')"), ["INTEGER"]),
        (PET.format("'user_name', sa.String(3), sa.ForeignKey('user.username')"), []),
        (PET.format("'nobody_id', sa.Integer(), sa.ForeignKey('nobody.id')"), []),
        (PET.format("'parent_id', sa.Integer(), sa.ForeignKey('pet.id')"), ["BIGINT"]),
        (
            PET.format("'user_id', sa.BigInteger()")
            + "\nop.create_foreign_key('fk', 'pet', 'user', ['user_id'], ['id'])",
            ["INTEGER"],
        ),
        ("op.add_column('user', sa.Column('friend_id', sa.BigInteger(), sa.ForeignKey('user.id')))", ["INTEGER"]),
        (
            "op.create_table('a', sa.Column('user_id', sa.Integer(), sa.ForeignKey('user.id'), primary_key=True))\n"
            "op.create_table('b', sa.Column('x', sa.Integer()), sa.Column('y', sa.Integer()), "
            "sa.PrimaryKeyConstraint('x', 'y'))",
            [],
        ),
    ],
)
def test_small_key(review: Review, up: str, expected: list[str]) -> None:
    """Small keys that auto-increment are reported (32-bit ones not in new tables), and foreign keys of another type."""
    findings = found(review(up, "mysql"), "small-key")
    assert expected == [word for word in expected if findings and word in findings[0].message]
    assert len(expected) == len(findings)


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("op.create_table('pet', sa.Column('a', sa.JSON()), sa.Column('b', sa.JSON()))", 2),
        (alter("email", "String(120)", "JSON()"), 1),
        ("op.add_column('user', sa.Column('a', sa.Text()))", 0),
    ],
)
def test_json_column(review: Review, up: str, expected: int) -> None:
    """A column of type json is reported in a new table, a new column and a change of type."""
    assert expected == len(found(review(up, "postgresql"), "json-column"))


PET_KIND = "op.create_table('pet', sa.Column('kind', {}))"
DOWN = "op.drop_table('pet')\n{}"
KIND = "sa.Enum('cat', 'dog', name='kind')"


def both(up: str, down: str) -> str:
    """A script with both."""
    return (
        "from sqlalchemy.dialects.postgresql import ENUM\n\n\n"
        f"def upgrade():\n    {up.replace(chr(10), chr(10) + '    ')}\n\n\n"
        f"def downgrade():\n    {down.replace(chr(10), chr(10) + '    ')}\n"
    )


@pytest.mark.parametrize(
    ("up", "down", "expected"),
    [
        (PET_KIND.format(KIND), DOWN.format(""), ["kind"]),
        (PET_KIND.format("sa.ARRAY(sa.Enum('cat', name='kind'))"), DOWN.format(""), ["kind"]),
        (PET_KIND.format("ENUM('cat', name='kind')"), DOWN.format("op.execute('DROP TYPE other')"), ["kind"]),
        (f"{KIND}.create(op.get_bind())", "op.drop_column('user', 'kind')", ["kind"]),
        ("op.execute('CREATE TYPE \"Kind\" AS ENUM (\\'a\\')')", "op.drop_column('user', 'kind')", ["Kind"]),
        (PET_KIND.format(KIND), DOWN.format("sa.Enum(name='kind').drop(op.get_bind())"), []),
        (PET_KIND.format(KIND), DOWN.format("ENUM(name='kind').drop(op.get_bind(), checkfirst=False)"), []),
        (PET_KIND.format(KIND), DOWN.format("op.execute('DROP TYPE IF EXISTS kind')"), []),
        (PET_KIND.format(KIND), "pass", []),
        (PET_KIND.format("ENUM('cat', name='kind', create_type=False)"), DOWN.format(""), []),
        (PET_KIND.format("sa.Enum('cat', name='kind', native_enum=False)"), DOWN.format(""), []),
        ("op.add_column('user', sa.Column('kind', sa.Enum('cat', name='kind')))", "op.drop_column('user', 'kind')", []),
    ],
)
def test_enum_outlives_table(review: Review, up: str, down: str, expected: list[str]) -> None:
    """It is what makes a type, and does not drop it by any of the ways; ADD COLUMN makes none."""
    findings = found(review(both(up, down), "postgresql"), "enum-outlives-table")
    assert expected == [name for name in expected if findings and f"creates enum {name}," in findings[0].message]
    assert len(expected) == len(findings)


@on_postgresql
@pytest.mark.parametrize(
    ("down", "error"), [("", 'type "kind" already exists'), ("sa.Enum(name='kind').drop(op.get_bind())", "")]
)
def test_next_upgrade_fails(
    attempt: Callable[..., list[str]], database: str, project: Project, down: str, error: str
) -> None:
    """Because the type is there; what the rule gives to paste helps."""
    project.write(*revision("a1", FIRST, PET_KIND.format(KIND), DOWN.format(down)))
    assert [] == attempt(upgrade)
    assert [] == attempt(downgrade)
    assert (error in "".join(attempt(upgrade)), bool(error)) == (True, bool(error))


@pytest.mark.parametrize(
    ("up", "expected"),
    [
        ("op.execute(\"ALTER TYPE kind RENAME VALUE 'cat' TO 'lion'\")", 1),
        ("op.execute(\"ALTER TYPE kind ADD VALUE 'lion'\")", 0),
        ("op.execute('ALTER TYPE kind RENAME TO old')", 0),
        (f"{KIND}.create(op.get_bind())\nop.execute(\"ALTER TYPE kind RENAME VALUE 'cat' TO 'lion'\")", 0),
        (f"op.alter_column('user', 'email', existing_type={KIND}, type_=sa.Enum('dog', name='kind2'))", 1),
        (f"op.alter_column('user', 'email', existing_type={KIND}, type_=sa.Enum('dog', 'cat', 'cow', name='kind'))", 0),
    ],
)
def test_enum_value(review: Review, up: str, expected: int) -> None:
    """A value that is renamed or goes; not one that comes, nor those of a type that the same revision makes."""
    findings = review(up, "postgresql")
    assert expected == len(found(findings, "enum-value"))
    assert [] == found(findings, "change-type")


ADD_KIND = f"op.add_column('user', sa.Column('kind', {KIND}))"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", ["kind"]),
        ("op.execute(\"CREATE TYPE kind_of_pet AS ENUM ('a')\")", ["kind"]),
        (PET_KIND.format(KIND), []),
        (f"{PET_KIND.format(KIND)}\nop.drop_table('pet')", []),
        (f"{KIND}.create(op.get_bind(), checkfirst=True)", []),
        ("op.execute(\"CREATE TYPE public.Kind AS ENUM ('cat', 'dog')\")", []),
        ("op.execute('ALTER TYPE pet_kind RENAME TO kind')", []),
        (
            "op.execute(\"DO $$ BEGIN CREATE TYPE kind AS ENUM ('a'); END $$\")",
            [],
        ),
        (f"op.alter_column('user', 'email', existing_type={KIND}, nullable=True)", []),
        ("op.add_column('older', sa.Column('a', sa.Integer()))", []),
        ("op.execute('CREATE TABLE pet (id int, kind KIND)')", []),
        ("op.execute('ALTER TABLE \"user\" ADD COLUMN mood kind[]')", []),
        ("op.execute('ALTER TABLE \"user\" ALTER COLUMN email TYPE kind USING email::kind')", []),
        ("op.execute('CREATE TABLE pet (id int)')", ["kind"]),
        ("print(sa.inspect(op.get_bind()).get_enums())", []),
    ],
)
def test_missing_types(review: Review, before: str, expected: list[str]) -> None:
    """A new column needs the type of its enum, once; not where an operation may have created it, or tables are old."""
    findings = found(review(f"{before}\n{ADD_KIND}\n{ADD_KIND}", "postgresql"), "missing-object")
    assert [(True, f"the enum type {name} does") for name in expected] == [
        (each.fails, text) for each in findings if (text := "the enum type kind does") in each.message
    ]
    assert [] == found(review(f"{before}\n{ADD_KIND}", "mysql"), "missing-object")


def test_missing_types_of_an_older_table(review: Review) -> None:
    """Who adds a column to a table that the history has not created may have a type that it has not created either."""
    assert [] == found(review(ADD_KIND.replace("'user'", "'older'"), "postgresql"), "missing-object")


def test_missing_types_of_a_branch() -> None:
    """A branch of the schema knows the types that operations before it named, and adds none to the schema itself."""
    tables = KnownSchema(PostgreSQLFacts())
    kinds = [sa.Enum("a", name=name) for name in ("Kind", "mood")]
    pets = [ops.CreateTableOp(f"pet{number}", [sa.Column("kind", kind)]) for number, kind in enumerate(kinds)]
    tables.follow(Operation(pets[0], 1))
    copy = tables.branch()
    copy.follow(Operation(pets[1], 1))
    for schema, lacking in ((copy, []), (tables, ["mood"])):
        query, pet = sa.select(1), (None, "pet0")
        assert lacking == [name for name in ("kind", "mood") if schema.lacks_type(name, query, pet)]


@on_postgresql
def test_missing_types_on_a_server(operating: Operating, review_on: ReviewOn) -> None:
    """A new column creates no type, nor does a batch that rebuilds its table; one that the database has is found."""
    connection, op = operating
    for recreate in ("auto", "always"):
        with (
            pytest.raises(DBAPIError, match='type "kind" does not exist'),
            op.batch_alter_table("user", recreate=recreate) as batch,
        ):
            batch.add_column(sa.Column("kind", sa.Enum("cat", name="kind")))
        connection.rollback()
    assert ["blocks"] == levels(review_on(ADD_KIND), "missing-object")
    assert [] == levels(
        review_on(ADD_KIND, "CREATE SCHEMA zoo", "CREATE TYPE zoo.kind AS ENUM ('cat')"), "missing-object"
    )


@pytest.mark.parametrize(
    ("backend", "before", "statement", "error"),
    [
        ("mysql", [], "CREATE TABLE pet (a BIGINT, FOREIGN KEY (a) REFERENCES user (id))", r"3780|errno: 150"),
        (
            "postgresql",
            ['CREATE TABLE pet (a SMALLINT REFERENCES "user" (id))'],
            "INSERT INTO pet VALUES (40000)",
            "out of range",
        ),
        ("postgresql", ["CREATE TABLE pet (a JSON)"], "SELECT DISTINCT a FROM pet", "identify an equality operator"),
        (
            "postgresql",
            ["CREATE TYPE kind AS ENUM ('cat')", "ALTER TYPE kind RENAME VALUE 'cat' TO 'lion'"],
            "SELECT CAST('cat' AS kind)",
            "invalid input value for enum",
        ),
    ],
    ids=["foreign key of another type", "foreign key that runs out", "json", "renamed enum value"],
    indirect=["backend"],
)
def test_servers_refuse(operating: Operating, before: list[str], statement: str, error: str) -> None:
    """What the rules warn of fails on the server."""
    connection, _op = operating
    for each in before:
        connection.exec_driver_sql(each)
    with pytest.raises(DBAPIError, match=error):
        connection.exec_driver_sql(statement)
    connection.rollback()
