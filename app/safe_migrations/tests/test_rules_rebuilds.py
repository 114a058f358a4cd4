"""What SQLite refuses outside of batch mode, or loses in it, is found, and nothing else: SQLite is asked."""

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import CompileError, OperationalError

from ..adapters.products import FACTS
from ..review.known_schema import KnownSchema
from ..review.recorder import Batch, Operation
from .support import Models, on_postgresql, on_sqlite, operations_of, problems

pytestmark = pytest.mark.usefixtures("in_any_app")
PET = "id INTEGER PRIMARY KEY, a INTEGER, s VARCHAR(20), CONSTRAINT u UNIQUE (a)"
NOW = "sa.DateTime(), server_default=sa.func.now()"
UNIQUE, KEY = "sa.Integer(), unique=True", "sa.Integer(), primary_key=True"
REFERENCE = "sa.Integer(), sa.ForeignKey('pet.id', name='fk')"
COLUMNS = (
    "sa.Integer()",
    "sa.Integer(), nullable=False, server_default='0'",
    'sa.String(9), server_default="it\'s"',
    "sa.Integer(), server_default=sa.text('-1')",
    "sa.Integer(), server_default=sa.text('(0)')",
    "sa.Boolean(), server_default=sa.false()",
    "sa.Boolean(), server_default=sa.text('false')",
    "sa.Integer(), server_default=sa.text('NULL')",
    "sa.DateTime(), server_default=sa.text('CURRENT_TIMESTAMP')",
    "sa.DateTime(), server_default=sa.text('(CURRENT_TIMESTAMP)')",
    "sa.Integer(), server_default=sa.text('(1 + 1)')",
    "sa.String(9), server_default=sa.text('(lower(1))')",
    "sa.Integer(), sa.Computed('a + 1', persisted=False)",
    "sa.Integer(), sa.Computed('a + 1', persisted=True)",
    "sa.Integer(), sa.CheckConstraint('x > 0')",
    "sa.Integer(), index=True",
    NOW,
    UNIQUE,
    KEY,
    REFERENCE,
)
CHANGES: dict[str, ops.MigrateOperation] = {
    "rename": ops.AlterColumnOp("pet", "a", modify_name="b"),
    "rename, typed": ops.AlterColumnOp("pet", "a", modify_name="b", existing_type=sa.Integer()),
    "nothing": ops.AlterColumnOp("pet", "a", existing_type=sa.Integer()),
    "type": ops.AlterColumnOp("pet", "a", modify_type=sa.BigInteger()),
    "nullable": ops.AlterColumnOp("pet", "a", modify_nullable=False),
    "default": ops.AlterColumnOp("pet", "a", modify_server_default="1"),
    "no default": ops.AlterColumnOp("pet", "a", modify_server_default=None),
    "comment": ops.AlterColumnOp("pet", "a", modify_comment="c"),
    "foreign key": ops.CreateForeignKeyOp("fk", "pet", "pet", ["a"], ["id"]),
    "unique": ops.CreateUniqueConstraintOp("uq", "pet", ["s"]),
    "check": ops.CreateCheckConstraintOp("ck", "pet", "a > 0"),
    "primary key": ops.CreatePrimaryKeyOp("pk", "pet", ["a"]),
    "drop": ops.DropConstraintOp("u", "pet", "unique"),
    "drop column": ops.DropColumnOp("pet", "s"),
    "index": ops.CreateIndexOp("ix", "pet", ["a"]),
    "rename table": ops.RenameTableOp("pet", "animal"),
}


@pytest.fixture
def connect() -> Iterator[Callable[..., sa.Connection]]:
    """Yield a function that connects to a database in memory after it has run statements there."""
    engine = sa.create_engine("sqlite://")

    def run(*statements: str) -> sa.Connection:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        return engine.connect()

    yield run
    engine.dispose()


@pytest.fixture
def connection(connect: Callable[..., sa.Connection]) -> Iterator[sa.Connection]:
    """Yield a connection to a database with a row in pet."""
    with connect(f"CREATE TABLE pet ({PET})", "INSERT INTO pet VALUES (1, 1, 'a')") as connection:
        yield connection


def known(connection: sa.Connection | None = None) -> KnownSchema:
    """Return the tables on SQLite, of a database or of none."""
    return KnownSchema(FACTS["sqlite"](), connection)


def add(column: str) -> ops.AddColumnOp:
    """Return what adds a column x to pet."""
    return ops.AddColumnOp("pet", eval(f"sa.Column('x', {column})", {"sa": sa}))


def in_batch(*operations: ops.MigrateOperation, **options: Any) -> list[Operation]:
    """Return operations that stand in one batch on pet."""
    block = Batch("pet", None, options, list(operations))
    return [Operation(op, 1, block=block) for op in operations]


def refused(connection: sa.Connection, op: ops.MigrateOperation, batch: bool = False) -> str:
    """Return what SQLite, or Alembic, says when it is done; empty if it is done."""
    made = Operations(MigrationContext.configure(connection))
    try:
        if batch:
            with made.batch_alter_table("pet") as block:
                block.invoke(op)
        else:
            made.invoke(op)
    except (NotImplementedError, OperationalError, CompileError) as error:
        return str(getattr(error, "orig", error))
    return ""


@pytest.mark.parametrize(
    ("column", "batch"),
    [(column, batch) for column in COLUMNS for batch in (False, True) if (column, batch) != (UNIQUE, True)],
)
def test_add_column_limits(connection: sa.Connection, column: str, batch: bool) -> None:
    """A column is found where SQLite, or Alembic, refuses to add it, with SQLite's words; batch mode adds most."""
    operation = in_batch(add(column))[0] if batch else Operation(add(column), 1)
    found = problems("add-column-limits", operation, known(connection))
    words = refused(connection, add(column), batch)
    assert bool(words) == bool(found)
    assert batch <= (bool(found) == (column == KEY))
    if "column" in words and column != KEY:
        assert words in found[0].what


@pytest.mark.parametrize(("column", "count"), [(NOW, 0), (UNIQUE, 1)])
def test_add_column_to_a_new_table(column: str, count: int) -> None:
    """A table that the same run creates takes a default that is no constant; UNIQUE no table takes."""
    new = known()
    new.apply(ops.CreateTableOp("pet", [sa.Column("id", sa.Integer(), primary_key=True)]))
    assert count == len(problems("add-column-limits", Operation(add(column), 1), new))


@pytest.mark.parametrize("name", CHANGES)
def test_constraint_outside_batch(connection: sa.Connection, name: str) -> None:
    """A change is found where SQLite, or Alembic, refuses it; a column's name is the only thing that may change."""
    found = problems("constraint-outside-batch", Operation(CHANGES[name], 1), known(connection))
    takes_not_null = sqlite3.sqlite_version_info >= (3, 53)  # and the history may run on an older one
    assert bool(found) == (bool(refused(connection, CHANGES[name])) or (takes_not_null and name == "nullable"))
    assert [] == problems("constraint-outside-batch", in_batch(CHANGES[name])[0], known())


PLAIN = "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"
NOCASE = PLAIN.replace("TEXT", "TEXT COLLATE NOCASE")
NAMED = PLAIN.replace(
    ")",
    ", owner INTEGER, CONSTRAINT ck CHECK (age >= 0),"
    " CONSTRAINT fk FOREIGN KEY (owner) REFERENCES user (id) ON DELETE CASCADE)",
)
VIEW = "CREATE VIEW v AS SELECT name FROM pet"
BIG = ops.AlterColumnOp("pet", "age", modify_type=sa.BigInteger())
NOT_NULL = ops.AlterColumnOp("pet", "age", modify_nullable=False)
DROP = ops.DropColumnOp("pet", "name")
LOSES = "changes pet: SQLite has to rebuild pet, and would lose "


def lost(tables: KnownSchema, *operations: ops.MigrateOperation, **options: Any) -> str:
    """Return what a batch loses, as the rule says; each operation of it is shown to the rule."""
    tables = tables.branch()
    batch = in_batch(*operations, **options)
    found = [problem for operation in batch for problem in problems("rebuild-loses", operation, tables)]
    assert len(found) < 2
    return "".join(problem.what for problem in found)


@pytest.mark.parametrize(
    ("statements", "operations", "words"),
    [
        ([PLAIN.replace("KEY", "KEY AUTOINCREMENT")], [BIG], f"{LOSES}AUTOINCREMENT"),
        ([NOCASE], [BIG, NOT_NULL], f"{LOSES}COLLATE"),
        ([NOCASE], [add(NOW)], f"{LOSES}COLLATE"),
        ([PLAIN.replace(")", ", CHECK (age >= 0))")], [BIG], f"{LOSES}CHECK"),
        ([PLAIN.replace("TEXT", "TEXT CHECK (name <> '')")], [BIG], f"{LOSES}CHECK"),
        ([PLAIN.replace(")", ", owner REFERENCES user (id) ON DELETE CASCADE)")], [BIG], f"{LOSES}ON DELETE"),
        ([PLAIN.replace(")", ", twice AS (age * 2))")], [BIG], "twice"),
        ([PLAIN.replace("TEXT", "TEXT UNIQUE ON CONFLICT IGNORE")], [BIG], f"{LOSES}ON CONFLICT"),
        ([PLAIN, VIEW], [DROP], "the view v would not work after this change"),
        ([NOCASE], [DROP], ""),
        ([NOCASE], [add("sa.Integer()")], ""),
        ([NOCASE], [add("sa.Integer(), server_default='1'")], ""),
        ([NOCASE], [ops.CreateIndexOp("ix2", "pet", ["age"])], ""),
        ([PLAIN], [BIG], ""),
        ([NAMED], [BIG], ""),
        ([PLAIN, VIEW], [BIG], ""),
        ([PLAIN, "CREATE TRIGGER t AFTER INSERT ON pet BEGIN UPDATE pet SET age = 0; END"], [BIG], ""),
        ([PLAIN, "CREATE INDEX ix ON pet (lower(name))"], [BIG], ""),
        ([PLAIN, "CREATE INDEX ix ON pet (name DESC)"], [BIG], ""),
        ([PLAIN, "CREATE INDEX ix ON pet (name) WHERE age > 1"], [BIG], ""),
        ([PLAIN, "CREATE INDEX ix ON pet (name COLLATE NOCASE)"], [BIG], ""),
        ([PLAIN, "CREATE UNIQUE INDEX ix ON pet (name)"], [BIG], ""),
    ],
)
def test_rebuild_loses(
    connect: Callable[..., sa.Connection], statements: list[str], operations: list[ops.MigrateOperation], words: str
) -> None:
    """What a batch loses is found, once; not what it puts back, or drops on purpose, nor where it rebuilds nothing."""
    with connect("CREATE TABLE user (id INTEGER PRIMARY KEY)", *statements) as connection:
        what = lost(known(connection), *operations)
    assert (bool(words), True) == (bool(what), words in what)


def test_rebuild_on_request(connect: Callable[..., sa.Connection]) -> None:
    """A batch that is told to rebuild the table loses what another would not."""
    with connect(NOCASE) as connection:
        assert "would lose COLLATE" in lost(known(connection), add("sa.Integer()"), recreate="always")


@pytest.mark.parametrize("from_database", [True, False])
def test_copy_that_leaves_out_a_column(connect: Callable[..., sa.Connection], from_database: bool) -> None:
    """A column, with its foreign key, that copy_from lacks is found, in a database and by the history."""
    statements = ("CREATE TABLE user (id INTEGER PRIMARY KEY)", NAMED)
    columns = (sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text), sa.Column("age", sa.Integer))
    copy = sa.Table("pet", sa.MetaData(), *columns, sa.CheckConstraint("age >= 0", name="ck"))
    with connect(*(statements if from_database else ())) as connection:
        tables = known(connection)
        for statement in () if from_database else statements:
            for step in operations_of(f"op.execute({statement!r})", "sqlite"):
                tables.follow(step)
        assert f"{LOSES}column owner and foreign key (owner) to user" in lost(tables, BIG, copy_from=copy)


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ("", ""),
        (
            "op.create_table('animal', sa.Column('age', sa.Integer()))\n"
            "op.add_column('animal', sa.Column('name', sa.String(9, collation='NOCASE')))\n"
            "op.rename_table('animal', 'pet')",
            "would lose COLLATE",
        ),
        (
            "op.create_table('user', sa.Column('id', sa.Integer(), primary_key=True))\n"
            "op.create_table('pet', sa.Column('age', sa.Integer()), sa.Column('owner', sa.Integer(), "
            "sa.ForeignKey('user.id', ondelete='CASCADE', match='FULL')))",
            "would lose ON DELETE",
        ),
        (
            "op.execute('CREATE TABLE pet (id INTEGER PRIMARY KEY AUTOINCREMENT, age INTEGER)')",
            "would lose AUTOINCREMENT",
        ),
    ],
    ids=["unknown", "altered and renamed", "foreign key in a column", "SQL"],
)
def test_rebuild_by_history(history: str, words: str) -> None:
    """Without a database the operations tell, those of SQL too, on the way back as well."""
    tables = known()
    for step in operations_of(history, "sqlite"):
        tables.follow(step)
    for way in (tables, tables.branch()):
        assert (bool(words), True) == (bool(lost(way, BIG)), words in lost(way, BIG))


@on_sqlite
def test_check_of_a_type_in_a_generated_history(empty: Models) -> None:
    """The CHECK of a column's type is in the table once, also after the rules read it: no later rebuild loses it."""
    pet = "class Pet(db.Model):\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
    for name, kind in (("ok", "Boolean("), ("kind", "Enum('a', native_enum=False, ")):
        pet += f"    {name}: Mapped[Any] = mapped_column(sa.{kind}create_constraint=True, name='{name}'))\n"
    large = "sa.CheckConstraint('n > 0', name='large')"
    for column in ("server_default='1'", "server_default='2'", large, large.replace("large", "big")):
        empty.become(f"{pet}    n: Mapped[int] = mapped_column({column})\n")
    assert [] == empty.blocking("--all")


def test_rebuild_after_the_column_is_dropped() -> None:
    """A column that an earlier operation has dropped takes along what it has."""
    tables = known()
    create = "op.create_table('pet', sa.Column('age', sa.Integer()), sa.Column('name', sa.String(9, 'NOCASE')))"
    for step in (*operations_of(create, "sqlite"), *in_batch(DROP)):
        tables.follow(step)
    assert "" == lost(tables, BIG)


def test_branch() -> None:
    """A table that the trial of a downgrade drops remains in the trial of the upgrades."""
    tables = known()
    create = "op.create_table('pet', sa.Column('age', sa.Integer()), sa.Column('name', sa.String(9, 'NOCASE')))"
    for step in operations_of(create, "sqlite"):
        tables.follow(step)
    branch = tables.branch()
    for step in operations_of("op.drop_table('pet')", "sqlite"):
        branch.follow(step)
    assert "" == lost(branch, BIG)
    assert "would lose COLLATE" in lost(tables, BIG)


@on_postgresql
def test_another_database(database: str) -> None:
    """One that is asked for what a script deserves on SQLite has no such table: nothing is found, and it goes on."""
    engine = sa.create_engine(database)
    with engine.connect() as connection:
        assert "" == lost(known(connection), BIG)
        assert 1 == connection.scalar(sa.text("SELECT 1"))
    engine.dispose()
