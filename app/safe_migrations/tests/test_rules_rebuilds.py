"""What SQLite refuses outside of batch mode, or loses in it, is found, and nothing else: SQLite is asked."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import CompileError, OperationalError

from ..adapters.products import FACTS
from ..review.findings import Level
from ..review.known_schema import KnownSchema
from ..review.recorder import Batch, Operation
from ..review.rules import RULES, Problem, RuleContext
from ..review.sql.translation import translate
from .support import Project, revision
from .test_rebuilds import CHANGE, FAMILY, OBJECTS, PLAIN, TABLES, state, with_table

pytestmark = pytest.mark.usefixtures("in_app")

FACTS_OF_SQLITE = FACTS["sqlite"]()
PET = "CREATE TABLE pet (id INTEGER PRIMARY KEY, a INTEGER, s VARCHAR(20), CONSTRAINT u UNIQUE (a))"
COLUMNS: dict[str, Callable[[], sa.Column[Any]]] = {
    "plain": lambda: sa.Column("x", sa.Integer()),
    "not null": lambda: sa.Column("x", sa.Integer(), nullable=False, server_default="0"),
    "string": lambda: sa.Column("x", sa.String(9), server_default="it's"),
    "number": lambda: sa.Column("x", sa.Integer(), server_default=sa.text("-1")),
    "in parentheses": lambda: sa.Column("x", sa.Integer(), server_default=sa.text("(0)")),
    "false": lambda: sa.Column("x", sa.Boolean(), server_default=sa.false()),
    "false as text": lambda: sa.Column("x", sa.Boolean(), server_default=sa.text("false")),
    "null": lambda: sa.Column("x", sa.Integer(), server_default=sa.text("NULL")),
    "now": lambda: sa.Column("x", sa.DateTime(), server_default=sa.func.now()),
    "CURRENT_TIMESTAMP": lambda: sa.Column("x", sa.DateTime(), server_default=sa.text("CURRENT_TIMESTAMP")),
    "(CURRENT_TIMESTAMP)": lambda: sa.Column("x", sa.DateTime(), server_default=sa.text("(CURRENT_TIMESTAMP)")),
    "expression": lambda: sa.Column("x", sa.Integer(), server_default=sa.text("(1 + 1)")),
    "function": lambda: sa.Column("x", sa.String(9), server_default=sa.text("(lower('A'))")),
    "virtual": lambda: sa.Column("x", sa.Integer(), sa.Computed("a + 1", persisted=False)),
    "stored": lambda: sa.Column("x", sa.Integer(), sa.Computed("a + 1", persisted=True)),
    "unique": lambda: sa.Column("x", sa.Integer(), unique=True),
    "primary key": lambda: sa.Column("x", sa.Integer(), primary_key=True),
    "foreign key": lambda: sa.Column("x", sa.Integer(), sa.ForeignKey("pet.id", name="fk")),
    "check": lambda: sa.Column("x", sa.Integer(), sa.CheckConstraint("x > 0")),
    "index": lambda: sa.Column("x", sa.Integer(), index=True),
}
CHANGES: dict[str, Callable[[], ops.MigrateOperation]] = {
    "rename": lambda: ops.AlterColumnOp("pet", "a", modify_name="b"),
    "rename, typed": lambda: ops.AlterColumnOp("pet", "a", modify_name="b", existing_type=sa.Integer()),
    "nothing": lambda: ops.AlterColumnOp("pet", "a", existing_type=sa.Integer()),
    "type": lambda: ops.AlterColumnOp("pet", "a", modify_type=sa.BigInteger()),
    "nullable": lambda: ops.AlterColumnOp("pet", "a", modify_nullable=False),
    "default": lambda: ops.AlterColumnOp("pet", "a", modify_server_default="1"),
    "no default": lambda: ops.AlterColumnOp("pet", "a", modify_server_default=None),
    "comment": lambda: ops.AlterColumnOp("pet", "a", modify_comment="c"),
    "foreign key": lambda: ops.CreateForeignKeyOp("fk", "pet", "pet", ["a"], ["id"]),
    "unique": lambda: ops.CreateUniqueConstraintOp("uq", "pet", ["s"]),
    "check": lambda: ops.CreateCheckConstraintOp("ck", "pet", "a > 0"),
    "primary key": lambda: ops.CreatePrimaryKeyOp("pk", "pet", ["a"]),
    "drop": lambda: ops.DropConstraintOp("u", "pet", "unique"),
    "drop column": lambda: ops.DropColumnOp("pet", "s"),
    "index": lambda: ops.CreateIndexOp("ix", "pet", ["a"]),
    "rename table": lambda: ops.RenameTableOp("pet", "animal"),
}


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    """To a database with a row in pet."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as found:
        found.exec_driver_sql(PET)
        found.exec_driver_sql("INSERT INTO pet VALUES (1, 1, 'a')")
        found.commit()
        yield found
    engine.dispose()


def known(connection: sa.Connection | None = None) -> KnownSchema:
    """The tables on SQLite."""
    return KnownSchema(FACTS_OF_SQLITE, connection)


def found_in(code: str, operation: Operation, tables: KnownSchema | None = None) -> list[Problem]:
    """What one rule says."""
    if not isinstance(operation.op, RULES[code].classes):
        return []
    found = RULES[code].find(operation.op, RuleContext(cast(Any, None), "upgrade", operation, tables or known()))
    return [found] if isinstance(found, Problem) else list(found or ())


def in_batch(table: str, *operations: ops.MigrateOperation, **options: Any) -> list[Operation]:
    """Operations that stand in one batch."""
    block = Batch(table, None, options, list(operations))
    return [Operation(op, 1, batch=True, block=block) for op in operations]


def refused(connection: sa.Connection, op: ops.MigrateOperation) -> str:
    """What SQLite, or Alembic, says when it is done outside of batch mode; empty if it is done."""
    try:
        Operations(MigrationContext.configure(connection)).invoke(op)
    except (NotImplementedError, OperationalError, CompileError) as error:
        return str(getattr(error, "orig", error))
    return ""


@pytest.mark.parametrize("name", COLUMNS)
def test_add_column_limits(connection: sa.Connection, name: str) -> None:
    """A column is found where SQLite, or Alembic, refuses to add it; the message has SQLite's words."""
    found = found_in("add-column-limits", Operation(ops.AddColumnOp("pet", COLUMNS[name]()), 1), known(connection))
    words = refused(connection, ops.AddColumnOp("pet", COLUMNS[name]()))
    assert bool(words) == bool(found)
    if "column" in words and name != "primary key":
        assert words in found[0].what


@pytest.mark.parametrize("name", sorted(COLUMNS.keys() - {"unique"}))
def test_add_column_in_batch(connection: sa.Connection, name: str) -> None:
    """Batch mode adds all, but for a primary key of a table that is not rebuilt, and UNIQUE without a name."""
    (operation,) = in_batch("pet", ops.AddColumnOp("pet", COLUMNS[name]()))
    assert (name == "primary key") == bool(found_in("add-column-limits", operation, known(connection)))
    made = Operations(MigrationContext.configure(connection))
    try:
        with made.batch_alter_table("pet") as batch:
            batch.add_column(COLUMNS[name]())
    except OperationalError:
        assert name == "primary key"


def test_add_column_without_rows(connection: sa.Connection) -> None:
    """Without rows SQLite takes a default that is no constant: it warns. UNIQUE it takes in no table."""
    connection.exec_driver_sql("DELETE FROM pet")
    connection.commit()
    now, unique = (Operation(ops.AddColumnOp("pet", COLUMNS[name]()), 1) for name in ("now", "unique"))
    assert [Level.WARNS] == [found.level for found in found_in("add-column-limits", now, known(connection))]
    assert "" == refused(connection, ops.AddColumnOp("pet", COLUMNS["now"]()))
    new = known()
    new.apply(ops.CreateTableOp("pet", [sa.Column("id", sa.Integer(), primary_key=True)]))
    assert [] == found_in("add-column-limits", now, new)
    assert 1 == len(found_in("add-column-limits", unique, new))


@pytest.mark.parametrize("name", CHANGES)
def test_constraint_outside_batch(connection: sa.Connection, name: str) -> None:
    """A change is found where SQLite, or Alembic, refuses it; a column's name is the only thing that may change."""
    found = found_in("constraint-outside-batch", Operation(CHANGES[name](), 1), known(connection))
    takes_not_null = sqlite3.sqlite_version_info >= (3, 53)  # and the history may run on an older one
    assert bool(found) == (bool(refused(connection, CHANGES[name]())) or (takes_not_null and name == "nullable"))
    assert [] == found_in("constraint-outside-batch", in_batch("pet", CHANGES[name]())[0])


def test_words() -> None:
    """The lines to paste are the same change, in batch mode."""
    for name, expected in (
        ("type", "batch_op.alter_column('a',"),
        ("foreign key", "batch_op.create_foreign_key('fk', 'pet', ['a'], ['id'])"),
        ("drop", "batch_op.drop_constraint('u', type_='unique')"),
        ("primary key", "batch_op.create_primary_key('pk', ['a'])"),
    ):
        (found,) = found_in("constraint-outside-batch", Operation(CHANGES[name](), 1))
        assert found.instead.startswith("rebuild the table in batch mode:\n    with op.batch_alter_table('pet')")
        assert expected in found.instead
    (found,) = found_in("add-column-limits", Operation(ops.AddColumnOp("pet", COLUMNS["foreign key"]()), 1))
    assert "batch_op.create_foreign_key('fk', 'pet', ['x'], ['id'])" in found.instead


@pytest.fixture
def pets(tmp_path: Path) -> Iterator[Callable[..., sa.Connection]]:
    """Makes a database of statements, and connects to it."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'pets.db'}")

    def make(*statements: str) -> sa.Connection:
        with engine.begin() as connection:
            for statement in ("CREATE TABLE IF NOT EXISTS user (id INTEGER PRIMARY KEY)", *statements):
                connection.exec_driver_sql(statement)
        return engine.connect()

    yield make
    engine.dispose()


def lost(tables: KnownSchema, *operations: ops.MigrateOperation, **options: Any) -> str:
    """What a batch loses, as the rule says; each operation of it is shown to the rule."""
    found: list[Problem] = []
    tables = tables.branch()
    for operation in in_batch("pet", *operations, **options):
        found += found_in("rebuild-loses", operation, tables)
    assert len(found) < 2
    return found[0].what if found else ""


@pytest.mark.parametrize("name", TABLES)
def test_rebuild_loses(pets: Callable[..., sa.Connection], name: str) -> None:
    """Whatever the guard refuses is found before, once for a batch; a new column alone or an index is no rebuild."""
    with pets(TABLES[name]) as connection:
        tables = known(connection)
        big = ops.AlterColumnOp("pet", "age", modify_type=sa.BigInteger())
        what = lost(tables, big, ops.AlterColumnOp("pet", "age", modify_nullable=False))
        assert what.startswith("changes pet: SQLite has to rebuild pet, and ")
        assert "rebuild-loses" not in what
        assert "" == lost(tables, ops.AddColumnOp("pet", sa.Column("x", sa.Integer())))
        assert "" == lost(tables, ops.CreateIndexOp("ix2", "pet", ["age"]))
        assert "" != lost(tables, ops.AddColumnOp("pet", sa.Column("x", sa.Integer())), recreate="always")
        assert "" == lost(tables, ops.AddColumnOp("pet", sa.Column("x", sa.Integer(), server_default="1")))
        assert "" != lost(tables, ops.AddColumnOp("pet", COLUMNS["now"]()))


@pytest.mark.parametrize(
    "statements",
    [
        (PLAIN,),
        (FAMILY.replace(" COLLATE NOCASE", ""),),
        *((PLAIN, text) for text in OBJECTS.values()),
    ],
)
def test_rebuild_keeps(pets: Callable[..., sa.Connection], statements: tuple[str, ...]) -> None:
    """What is read, or put back, is no reason: constraints with names, ON DELETE of a table's key, triggers, views."""
    with pets(*statements) as connection:
        assert "" == lost(known(connection), ops.AlterColumnOp("pet", "age", modify_type=sa.BigInteger()))


def test_what_goes_on_purpose(pets: Callable[..., sa.Connection]) -> None:
    """A column that is dropped may take along what it has; a view that uses it may not be left behind."""
    drop = ops.DropColumnOp("pet", "name")
    with pets(FAMILY) as connection:
        assert "" == lost(known(connection), drop)
    with pets("DROP TABLE pet", PLAIN, OBJECTS["view"]) as connection:
        assert "the view v would not work after this change" in lost(known(connection), drop)


def test_rebuild_by_history() -> None:
    """Without a database the operations tell: those of a table that was made, altered and renamed."""
    tables = known()
    column = sa.Column("name", sa.String(9, collation="NOCASE"))
    steps = [
        ops.CreateTableOp("animal", [sa.Column("id", sa.Integer(), primary_key=True), sa.Column("age", sa.Integer())]),
        ops.AddColumnOp("animal", column),
        ops.RenameTableOp("animal", "pet"),
    ]
    big = ops.AlterColumnOp("pet", "age", modify_type=sa.BigInteger())
    assert "" == lost(tables, big), "nothing is known"
    for step in steps:
        tables.follow(Operation(step, 1))
    assert "would lose COLLATE" in lost(tables, big)
    assert "would lose COLLATE" in lost(tables.branch(), big), "the way back"
    for done in in_batch("pet", ops.DropColumnOp("pet", "name")):
        tables.follow(done)
    assert "" == lost(tables, big)


def test_rebuild_by_history_with_a_foreign_key_in_a_column() -> None:
    """A foreign key that stands in a column is a part of the table that the history creates."""
    tables = known()
    owner = sa.Column("owner", sa.Integer(), sa.ForeignKey("user.id", ondelete="CASCADE", match="FULL"))
    for name, columns in (("user", []), ("pet", [owner])):
        create = ops.CreateTableOp(name, [sa.Column("id", sa.Integer(), primary_key=True), *columns])
        tables.follow(Operation(create, 1))
    assert "would lose ON DELETE" in lost(tables, ops.AlterColumnOp("pet", "owner", modify_type=sa.BigInteger()))


def test_rebuild_by_sql() -> None:
    """SQL tells too."""
    tables = known()
    text = "CREATE TABLE pet (id INTEGER PRIMARY KEY AUTOINCREMENT, age INTEGER)"
    for found in translate(ops.ExecuteSQLOp(text), "sqlite"):
        tables.follow(Operation(found.op, 1, statement=found.statement))
    assert "would lose AUTOINCREMENT" in lost(tables, ops.AlterColumnOp("pet", "age", modify_nullable=False))


def test_review(project: Project) -> None:
    """An upgrade says so before it begins, and may be told that it is wanted: then the guard refuses."""
    with_table(project, TABLES["collate"])
    before = state(project)
    project.write(*revision("b1", "a1", CHANGE))
    done = project.db("upgrade", MIGRATION_REVIEW="enforce")
    assert (1, before) == (done.returncode, state(project))
    assert "revision b1 changes pet: SQLite has to rebuild pet, and would lose COLLATE (rebuild-loses)." in done.stderr
    assert "safety_assured" in done.stderr


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_another_database(database: str) -> None:
    """One that is asked for what a script deserves on SQLite has no such table: nothing is found, and it goes on."""
    engine = sa.create_engine(database)
    with engine.connect() as connection:
        assert "" == lost(known(connection), ops.AlterColumnOp("pet", "age", modify_type=sa.BigInteger()))
        assert 1 == connection.scalar(sa.text("SELECT 1"))
    engine.dispose()
