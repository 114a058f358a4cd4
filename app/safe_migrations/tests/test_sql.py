"""Raw SQL becomes the operations that say the same, whatever database it is for."""

import cProfile
import gc
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import ops

from ..adapters.facts import Facts
from ..review.known_schema import KnownSchema
from ..review.sql.ops import CommandOp, Translation
from ..review.sql.translation import translate
from .support import Project

ALL = ("sqlite", "mysql", "mariadb", "postgresql")


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


SHORT = {"any": ALL, "sqlite": ("sqlite",), "mysql": ("mysql", "mariadb"), "postgresql": ("postgresql",)}
# Statements of the files in sql/, each with its operations in the lines below it, which begin with an arrow.
CASES = [
    (dialect, statement, re.findall(r"^--> (.+)", operations, re.MULTILINE))
    for name, dialects in SHORT.items()
    for statement, operations in re.findall(
        r"^(.+)\n((?:-->.+\n)*)", (Path(__file__).with_name("sql") / f"{name}.sql").read_text("utf-8"), re.MULTILINE
    )
    for dialect in dialects
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


@pytest.mark.parametrize(
    ("body", "destroys"),
    [
        ("PERFORM '--'; DELETE FROM users;", True),
        ("PERFORM '/*'; DELETE FROM users; PERFORM '*/';", True),
        ("PERFORM E'\\'--'; DELETE FROM users;", True),
        ('PERFORM "a--b"(); DELETE FROM users;', True),
        ("EXECUTE 'DELETE FROM users';", True),
        ("-- don't\nDELETE FROM users; -- don't", True),
        ("-- isn't this a DELETE FROM users\nPERFORM f();", False),
        ("RAISE NOTICE 'it''s time to drop it';", False),
        ("RAISE NOTICE '--'; DROP TABLE users;", True),
        ("ALTER TABLE a ADD CONSTRAINT b CHECK (c > 0); EXCEPTION WHEN duplicate_object THEN NULL;", False),
        ("IF x THEN ALTER TYPE s.kind ADD VALUE 'y'; END IF;", False),
        ('ALTER TABLE IF EXISTS ONLY "a b"."c" ADD COLUMN d int;', False),
        ("ALTER TABLE a ADD COLUMN b int, DROP COLUMN c;", True),
        ("ALTER TABLE a ADD COLUMN b int, ALTER COLUMN c TYPE int;", True),
        ("ALTER TABLE a OWNER TO b; ALTER FUNCTION f(int, text) OWNER TO b;", False),
        ("ALTER MATERIALIZED VIEW a OWNER TO b;", False),
        ("ALTER TABLE a ALTER COLUMN b TYPE int;", True),
    ],
)
def test_destructive_block(body: str, destroys: bool) -> None:
    """A block destroys by a word outside of comments and messages, except where it adds something or gives it away."""
    (found,) = translate(ops.ExecuteSQLOp(f"DO $$ BEGIN {body} END $$"), "postgresql")
    assert isinstance(found.op, CommandOp)
    assert (True, destroys) == (found.op.may_do_anything, found.op.may_destroy)


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


@pytest.mark.parametrize(("element", "expected"), ELEMENTS)
def test_elements(element: Any, expected: str) -> None:
    """SQLAlchemy's constructs: DML with its parameters, DDL, text with an escaped colon."""
    for dialect in ALL:
        (found,) = read(element, dialect)
        assert found.startswith(expected), dialect


@pytest.mark.parametrize("statement", dict.fromkeys(statement for _, statement, _ in CASES))
def test_never_raises(in_any_app: None, statement: str) -> None:
    """No statement raises an error, be it cut off or another database's, and its operations can be applied."""
    for dialect, end in product(ALL, {*range(1, len(statement), 29), len(statement)}):
        tables = KnownSchema(Facts())
        for found in translate(ops.ExecuteSQLOp(statement[:end]), dialect):
            tables.apply(found.op)


DELETED = "ChangeRows a verb=DELETE bounded=True"
LARGE: dict[str, tuple[int, Callable[[range], str], list[str]]] = {
    "VALUES": (
        150,
        lambda terms: f"INSERT INTO a (b) VALUES {', '.join(f'({n})' for n in terms)}",
        ["ChangeRows a verb=INSERT bounded=True given=True"],
    ),
    "OR": (900, lambda terms: f"DELETE FROM a WHERE {' OR '.join(f'id = {n}' for n in terms)}", [DELETED]),
    "IN": (900, lambda terms: f"DELETE FROM a WHERE id IN ({', '.join(map(str, terms))})", [DELETED]),
    "statements": (40, lambda terms: "; ".join(f"DELETE FROM a WHERE id = {n}" for n in terms), [DELETED] * 40),
}


@pytest.mark.parametrize(("size", "statement", "expected"), LARGE.values(), ids=LARGE)
def test_large(size: int, statement: Callable[[range], str], expected: list[str]) -> None:
    """What a statement takes to be read grows with its terms, and not with their square: that would be minutes."""
    calls = []
    read(statement(range(2)), "mysql")  # imports the library and fills caches
    gc.disable()  # or what earlier tests left would count
    for terms in (range(size // 4), range(size // 2), range(size)):
        with cProfile.Profile() as profile:
            found = read(statement(terms), "mysql")
        calls.append(sum(entry.callcount for entry in profile.getstats()))
    gc.enable()
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
    """A statement that is nested too deep to be parsed cannot be reviewed; those around it are read."""
    nested = "(" * 60 + "1" + ")" * 60
    found = read(f"DROP VIEW v; {statement.format(nested)}; DROP TABLE a", dialect)
    assert ["Command words=DROP VIEW name=v drops=True", expected.format(nested), "DropTable a"] == found


def test_loaded_only_for_sql(project: Project) -> None:
    """The library that reads SQL takes its time, and no script without SQL waits for it."""
    project.write("see.py", "import sys, app.safe_migrations.review.reviewer; sys.exit('sqlglot' in sys.modules)")
    assert 0 == project.run("see").returncode
