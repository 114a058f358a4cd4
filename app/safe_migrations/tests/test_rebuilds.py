"""What SQLAlchemy does not read of a SQLite table: a rebuild keeps it, or is refused before it changes anything."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ..adapters.sqlite.table_texts import TableText
from .support import FIRST, Project, copied, revision

# In the process, CI makes errors of what SQLAlchemy and Alembic warn of here.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Skipped unsupported reflection"),
    pytest.mark.filterwarnings("ignore:Unnamed CHECK constraint"),
]
PLAIN = "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"
TABLES = {
    "autoincrement": PLAIN.replace("KEY", "KEY AUTOINCREMENT"),
    "collate": PLAIN.replace("TEXT", "TEXT COLLATE NOCASE"),
    "check": f"{PLAIN[:-1]}, CHECK (age >= 0))",
    "check_inline": PLAIN.replace("TEXT", "TEXT CHECK (name <> '')"),
    "on_delete": f"{PLAIN[:-1]}, owner INTEGER REFERENCES user (id) ON DELETE CASCADE)",
    "generated": f"{PLAIN[:-1]}, twice AS (age * 2))",
    "default": PLAIN.replace("TEXT", "TEXT DEFAULT '{\"mail\":true}'"),
    "on_conflict": PLAIN.replace("TEXT", "TEXT UNIQUE ON CONFLICT IGNORE"),
}
GENERATED = {kind: f"{PLAIN[:-1]}, twice INTEGER AS (age * 2) {kind})" for kind in ("STORED", "VIRTUAL")}
OBJECTS = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON pet BEGIN UPDATE pet SET age = 0 WHERE id = new.id; END",
    "view": "CREATE VIEW v AS SELECT name FROM pet",
    "expression_index": "CREATE INDEX ix ON pet (lower(name))",
    "desc_index": "CREATE INDEX ix ON pet (name DESC)",
    "partial_index": "CREATE INDEX ix ON pet (name) WHERE age > 1",
    "collate_index": "CREATE INDEX ix ON pet (name COLLATE NOCASE)",
    "unique_index": "CREATE UNIQUE INDEX ix ON pet (name)",
}
UNIQUE = f"{PLAIN[:-1]}, code VARCHAR(9) UNIQUE)"
FAMILY = (
    "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, age INTEGER, owner INTEGER,"
    " CONSTRAINT fk FOREIGN KEY (owner) REFERENCES user (id) ON DELETE CASCADE, CONSTRAINT ck CHECK (age >= 0))"
)
KEYS = FAMILY.replace(" COLLATE NOCASE", "")
MATCH = KEYS.replace("(id) ON", "(id) MATCH FULL ON")  # SQLAlchemy reads nothing after MATCH
# SQLAlchemy takes :b for a parameter, and would write NULL; it removes the backslash of \\:c.
COLONS = "CONSTRAINT ck CHECK (name <> ' :b' AND name <> '\\:c' AND age > 0)"
COLON_INDEX = "CREATE INDEX ix ON pet (name, age) WHERE age <> ' :b' OR age <> '\\:c'"
DEFAULTS = (
    *("'{\"mail\":true}'", "'a :x b'", "'\\:x'", "'\\\\:x'", "'::x'", "' :a:b '", "' :a::b '", "'100%'", "'%(a)s %%'"),
    *(
        "''",
        "'it''s :x'",
        "(length(':x'))",
        "(':x' <> 'x')",
        "((1) + (2))",
        "1",
        "-1.5",
        "x'3A78'",
        "TRUE",
        "NULL",
        "CURRENT_TIMESTAMP",
    ),
)
INDEX = "CREATE INDEX ix ON pet (name)"
LEFTOVER = "CREATE TABLE _alembic_tmp_pet (id INTEGER)"
REVIEWED = {"MIGRATION_REVIEW": "enforce"}


def batch(*changes: str, options: str = "") -> str:
    """Return the lines that make the changes of pet in batch mode."""
    block = f"with op.batch_alter_table('pet'{options}) as batch:"
    return "\n    batch.".join([block, *changes])


ALWAYS = ", recreate='always'"
NEW_NAME = "alter_column('name', new_column_name='called')"
NEW_COLUMN = "add_column(sa.Column('x', sa.String(9, collation='NOCASE')))"
NEW_CHECK = "create_check_constraint('ck', 'age < 99')"
NEW_KEY = "create_foreign_key('fk', 'user', ['owner'], ['id'])"
DROP_KEY = "drop_constraint('fk', type_='foreignkey')"
CHANGE = batch("alter_column('age', type_=sa.BigInteger())")
RENAME = batch(NEW_NAME)
NOT_NULL = batch("alter_column('age', nullable=False)")
TO_INTEGER = batch("alter_column('name', type_=sa.Integer())")


ID, NAME, AGE = (
    "sa.Column('id', sa.Integer, primary_key=True)",
    "sa.Column('name', sa.Text)",
    "sa.Column('age', sa.Integer)",
)
OWNER = "sa.Column('owner', sa.Integer)"


def with_copy(*items: str) -> str:
    """Return the lines that change pet, with a table of these columns and constraints as copy_from."""
    copy = f"sa.Table('pet', sa.MetaData(), {', '.join(items)})"
    return batch("alter_column('name', type_=sa.String(9))", options=f", copy_from={copy}")


WITHOUT_AGE = with_copy(ID, NAME)
OLD_NUMBER = "INSERT INTO pet (id, name) VALUES (7, '007')"
AS_INTEGER = ", reflect_args=[sa.Column('name', sa.Integer)]"


@pytest.fixture
def project(project: Project, first_database: Path) -> Project:
    """Return a copy of the example with a copy of the database at the first revision."""
    (project.path / "instance").mkdir()
    shutil.copy(first_database, project.path / "instance")
    return project


def with_table(project: Project, *statements: str) -> None:
    """Make the table pet with ``statements``, and put a row in."""
    for statement in (*statements, "INSERT INTO pet (id, name, age) VALUES (1, 'Rex', 3)"):
        run(project, statement)


def run(project: Project, statement: str) -> list[tuple[object, ...]]:
    """Run and commit a statement on the database, and return its rows."""
    with closing(sqlite3.connect(project.path / "instance" / "app.db")) as connection, connection:
        return connection.execute(statement).fetchall()


def state(project: Project) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Return what the database says of itself, and the rows."""
    return run(project, "SELECT name, sql FROM sqlite_master ORDER BY name"), run(project, "SELECT * FROM pet")


def texts(project: Project) -> dict[str, str]:
    """Return the CREATE statement of each object, without quotes."""
    found = run(project, "SELECT name, sql FROM sqlite_master")
    return {str(name): str(text).replace('"', "") for name, text in found}


def refused(project: Project, up: str, down: str = "pass", command: str = "upgrade") -> str:
    """Return what a command says that does not run the script, and fail the test if it changes anything."""
    before = state(project)
    project.write(*revision("b1", FIRST, up, down))
    said = project.fails(command, **REVIEWED)
    assert (before, False) == (state(project), "Traceback" in said), said
    return said


REFUSED = {
    "CHECK": ([TABLES["check"]], CHANGE, "SQLite has to rebuild pet, and "),  # test_rules_rebuilds.py has the others
    "key with MATCH": ([MATCH], CHANGE, "would lose ON DELETE"),
    "COLLATE of a renamed column": ([TABLES["collate"]], RENAME, "would lose COLLATE"),
    "CHECK of a renamed column": ([TABLES["check_inline"]], RENAME, "(rebuild-loses)"),
    "DESC of a renamed column": ([PLAIN, OBJECTS["desc_index"]], RENAME, "the index ix of pet cannot be recreated"),
    "COLLATE in an index": ([PLAIN, OBJECTS["collate_index"]], RENAME, "the index ix of pet cannot be recreated"),
    "CHECK beside a new one": ([TABLES["check"]], batch(NEW_CHECK, options=ALWAYS), "would lose CHECK (AGE >= 0)"),
    "COLLATE beside a new one": ([TABLES["collate"]], batch(NEW_COLUMN, options=ALWAYS), "would lose COLLATE"),
    "trigger on a dropped column": ([PLAIN, OBJECTS["trigger"]], batch("drop_column('age')"), "(rebuild-loses)"),
    "view of a dropped column": ([PLAIN, OBJECTS["view"]], batch("drop_column('name')"), "the view v "),
    "copy_from without a column": ([PLAIN], WITHOUT_AGE, "and would lose column age (rebuild-loses)."),
    "copy_from without a key": (
        [f"{PLAIN[:-1]}, owner INTEGER REFERENCES user (id))"],
        with_copy(ID, NAME, AGE, OWNER),
        "and would lose foreign key (owner) to user (rebuild-loses).",
    ),
    "copy_from with one of two keys": (
        [f"{PLAIN[:-1]}, owner INTEGER REFERENCES user (id) REFERENCES pet (id))"],
        with_copy(ID, NAME, AGE, OWNER.replace(")", ", sa.ForeignKey('pet.id'))")),
        "and would lose foreign key (owner) to user (rebuild-loses).",
    ),
    "copy_from with another key": (
        [f"{PLAIN[:-1]}, owner INTEGER REFERENCES user (id))"],
        with_copy(ID, NAME, AGE, OWNER.replace(")", ", sa.ForeignKey('pet.id'))")),
        "and would lose foreign key (owner) to user (rebuild-loses).",
    ),
    "copy_from without UNIQUE": (
        [f"{PLAIN[:-1]}, UNIQUE (name, age))"],
        with_copy(ID, NAME, AGE),
        "and would lose UNIQUE (age, name) (rebuild-loses).",
    ),
    "copy_from with UNIQUE of some rows": (
        [f"{PLAIN[:-1]}, UNIQUE (name))"],
        with_copy(ID, NAME, AGE, "sa.Index('ix', 'name', unique=True, sqlite_where=sa.text('age > 1'))"),
        "and would lose UNIQUE (name) (rebuild-loses).",
    ),
    "copy_from with UNIQUE of an expression": (
        [f"{PLAIN[:-1]}, UNIQUE (name))"],
        with_copy(ID, "c := sa.Column('name', sa.Text)", AGE, "sa.Index('ix', sa.func.length(c), unique=True)"),
        "and would lose UNIQUE (name) (rebuild-loses).",
    ),
    "copy_from without PRIMARY KEY": (
        [PLAIN],
        with_copy(ID.replace(", primary_key=True", ""), NAME, AGE),
        "primary key (id)",
    ),
    "copy_from without CHECK": (
        [f"{PLAIN[:-1]}, CONSTRAINT ck CHECK (age > 0))"],
        with_copy(ID, NAME, AGE),
        "and would lose CHECK (AGE > 0) (rebuild-loses).",
    ),
    "copy_from without DEFAULT": (
        [PLAIN.replace("TEXT", "TEXT DEFAULT 'x' NOT NULL")],
        with_copy(ID, NAME, AGE),
        "and would lose DEFAULT 'x' of name and NOT NULL of name (rebuild-loses).",
    ),
    "reflect_args with a type": (
        [PLAIN, OLD_NUMBER],
        CHANGE.replace("'pet'", f"'pet'{AS_INTEGER}"),
        "copying pet.name (TEXT) into a column of type INTEGER would change '007' (change-type).\n"
        "Instead: use TEXT in reflect_args or copy_from, as in the database; nothing was changed. ",
    ),
    "CHECK of another column": (
        [f"{PLAIN[:-1]}, CHECK (name <> 'age'))"],
        batch("drop_column('age')", options=ALWAYS),
        "and would lose CHECK (NAME <> 'age') (rebuild-loses).",
    ),
    "UNIQUE that is not read": ([UNIQUE], CHANGE, "and would lose UNIQUE (code) (rebuild-loses)."),
    "UNIQUE of a renamed column": (
        [UNIQUE],
        batch("alter_column('code', new_column_name='isbn')"),
        "and would lose UNIQUE (code) (rebuild-loses).",
    ),
    "leftover of stock": ([PLAIN, LEFTOVER], CHANGE, 'DROP TABLE "_alembic_tmp_pet";'),
}


@pytest.mark.parametrize(("statements", "change", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(project: Project, statements: list[str], change: str, message: str) -> None:
    """A change that would lose a part of the table, or break what uses it, is refused before it changes anything."""
    with_table(project, *statements)
    assert message in refused(project, change)


NAMED_OBJECTS = [re.sub(r"INDEX ix", f"INDEX {name}", text) for name, text in OBJECTS.items()]
REBUILT = {
    "objects": ([PLAIN, *NAMED_OBJECTS], CHANGE, [*NAMED_OBJECTS, "BIGINT"], []),
    "STRICT": ([f"{PLAIN} STRICT"], NOT_NULL, ["STRICT", "NOT NULL"], []),
    "WITHOUT ROWID": ([f"{PLAIN} WITHOUT ROWID"], NOT_NULL, ["WITHOUT ROWID", "NOT NULL"], []),
    "dropped column": ([FAMILY], batch("drop_column('name')"), ["ON DELETE CASCADE", "CONSTRAINT ck"], ["COLLATE"]),
    "dropped constraint": ([KEYS], batch(DROP_KEY), ["CONSTRAINT ck CHECK"], ["ON DELETE"]),
    "dropped column of a key": ([KEYS], batch("drop_column('owner')"), ["CONSTRAINT ck CHECK"], ["ON DELETE"]),
    "dropped column with a key": ([TABLES["on_delete"]], batch("drop_column('owner')"), [], ["ON DELETE"]),
    # SQLAlchemy does not read UNIQUE after parentheses.
    "dropped column with UNIQUE": ([UNIQUE], batch("drop_column('code')", options=ALWAYS), [], ["code"]),
    "dropped column of a primary key": (
        [PLAIN.replace(" PRIMARY KEY", "").replace(")", ", e INTEGER, PRIMARY KEY (id, e))")],
        batch("drop_column('e')"),
        ["PRIMARY KEY (id)"],
        [],
    ),
    "dropped column without its UNIQUE in copy_from": (
        [f"{PLAIN[:-1]}, owner INTEGER, UNIQUE (name, owner))"],
        f"{with_copy(ID, NAME, AGE, OWNER)}\n    batch.drop_column('owner')",
        [],
        ["owner"],
    ),
    "dropped column with ON CONFLICT": (
        [f"{PLAIN[:-1]}, UNIQUE (name, age) ON CONFLICT IGNORE)"],
        batch("drop_column('name')"),
        [],
        ["CONFLICT"],
    ),
    "dropped column with a CHECK": (
        [f"{PLAIN[:-1]}, CHECK (name <> ''))"],
        batch("drop_column('name')", options=ALWAYS),
        [],
        ["name TEXT", "<>"],
    ),
    "UNIQUE of a renamed column": (
        [UNIQUE],
        batch("alter_column('code', new_column_name='isbn')", "create_unique_constraint('uq', ['code'])"),
        ["UNIQUE (isbn)"],
        ["code"],
    ),
    "unique index of a renamed column": (
        [UNIQUE],
        batch("alter_column('code', new_column_name='isbn')", "create_index('uq', ['code'], unique=True)"),
        ["UNIQUE INDEX uq ON pet (isbn)"],
        ["code"],
    ),
    "dropped UNIQUE and primary key": (
        [f"{PLAIN.replace(' PRIMARY KEY', '')[:-1]}, CONSTRAINT one UNIQUE (name), CONSTRAINT two PRIMARY KEY (id))"],
        batch("drop_constraint('one', type_='unique')", "drop_constraint('two', type_='primary')"),
        [],
        ["CONSTRAINT one", "CONSTRAINT two"],
    ),
    "key to another table": (
        [KEYS],
        batch(DROP_KEY, NEW_KEY.replace("'user', ['owner']", "'pet', ['owner']")),
        ["REFERENCES pet (id)"],
        ["REFERENCES user"],
    ),
    "recreated key": ([MATCH], batch(DROP_KEY, NEW_KEY), ["REFERENCES user"], ["ON DELETE"]),
    # SQLite's own DROP COLUMN refuses a STORED one.
    "dropped generated": ([GENERATED["STORED"]], batch("drop_column('twice')", options=ALWAYS), [], ["twice"]),
    "CHECK with :b": ([f"{PLAIN[:-1]}, {COLONS})"], CHANGE, [COLONS], []),
    "index with :b of a renamed column": ([PLAIN, COLON_INDEX], RENAME, [COLON_INDEX.replace("name", "called")], []),
    "copy_from": (
        [PLAIN.replace("TEXT", "TEXT DEFAULT '1' NOT NULL"), INDEX, "CREATE INDEX low ON pet (id, name)"],
        with_copy(ID, NAME.replace("Text", "Text, nullable=False, server_default=sa.text('1')"), AGE),
        [INDEX, "VARCHAR(9)"],
        [],
    ),
    "generated column that only copy_from has": (
        [PLAIN],
        with_copy(ID, NAME, AGE, "sa.Column('twice', sa.Integer, sa.Computed('age * 2'))"),
        ["twice INTEGER GENERATED ALWAYS AS (age * 2)"],
        [],
    ),
    "key that copy_from has": (
        [f"{PLAIN[:-1]}, owner INTEGER REFERENCES User (id))"],
        with_copy(ID, NAME, AGE, OWNER.replace(")", ", sa.ForeignKey('user.id'))")),
        ["FOREIGN KEY(owner) REFERENCES user (id)"],
        [],
    ),
    "key that copy_from has in a schema": (
        [f"{PLAIN[:-1]}, owner INTEGER REFERENCES user (id))"],
        with_copy(ID, NAME, AGE, OWNER.replace(")", ", sa.ForeignKey('main.user.id'))"))
        .replace("MetaData(", "MetaData(schema='main'")
        .replace("'pet', copy", "'pet', schema='main', copy"),
        ["FOREIGN KEY(owner) REFERENCES user (id)"],
        [],
    ),
    "dropped column of copy_from": (
        [f"{PLAIN[:-1]}, owner INTEGER)", INDEX.replace("name", "owner"), "CREATE INDEX low ON pet (lower(name))"],
        f"{with_copy(ID, NAME, AGE, OWNER)}\n    batch.drop_column('owner')\n    batch.create_index('ix', ['id'])",
        ["INDEX ix ON pet (id)", "INDEX low ON pet (lower(name))"],
        ["owner"],
    ),
    "dropped index": ([PLAIN, INDEX], batch("drop_index('ix')", "drop_column('name')"), [], ["INDEX"]),
    "renamed without index": ([PLAIN, OBJECTS["desc_index"]], batch("drop_index('ix')", NEW_NAME), [], ["INDEX"]),
}


@pytest.mark.parametrize(("statements", "change", "kept", "gone"), REBUILT.values(), ids=REBUILT)
def test_rebuild(project: Project, statements: list[str], change: str, kept: list[str], gone: list[str]) -> None:
    """Indexes, triggers, views and options are again what they were, except for what the script itself drops."""
    with_table(project, *statements)
    assured = 'safety_assured = {"drop-column": "a test", "rename-column": "a test"}'
    project.write(*revision("b1", FIRST, change, more=assured))
    project.ok("upgrade", **REVIEWED)
    found = "\n".join(texts(project).values())
    assert (kept, []) == ([word for word in kept if word in found], [word for word in gone if word in found])
    assert [(2,)] == run(project, "INSERT INTO pet (id, age) VALUES (2, 2) RETURNING id")


def test_defaults_are_kept(project: Project) -> None:
    """Each default keeps its SQL, and so the value that a new row gets, whatever the script changes besides."""
    columns = ", ".join(f"d{number} TEXT DEFAULT {default}" for number, default in enumerate(DEFAULTS))
    with_table(project, f"{PLAIN[:-1]}, {columns})")
    defaults = "SELECT name, dflt_value FROM pragma_table_xinfo('pet') WHERE name GLOB 'd*'"
    values = f"SELECT {', '.join(f'd{number}' for number in range(len(DEFAULTS) - 1))} FROM pet"
    before, row = run(project, defaults), run(project, values)
    no_default = "alter_column('d0', new_column_name='e0', server_default=None)"
    assured = 'safety_assured = {"rename-column": "a test"}'
    project.write(*revision("b1", FIRST, f"{CHANGE}\n{batch(no_default)}", more=assured))
    project.ok("upgrade", **REVIEWED)
    assert before[1:] == run(project, defaults)
    run(project, "INSERT INTO pet (id) VALUES (2)")
    assert [(None, *row[0][1:])] == run(project, f"{values.replace('d0', 'e0')} WHERE id = 2")


def test_a_downgrade_that_loses_is_refused_until_the_script_accepts_it(project: Project) -> None:
    """A downgrade that would lose something is refused, because no review covers it; the message says how to accept."""
    with_table(project, TABLES["check"])
    project.write(*revision("b1", FIRST, "pass", CHANGE))
    project.ok("upgrade", **REVIEWED)
    said = refused(project, "pass", CHANGE, "downgrade")
    assert "would lose CHECK (AGE >= 0) (rebuild-loses)." in said
    assert "or, if you accept the loss, say so at the top of migrations/versions/b1.py; nothing was changed" in said
    assured = 'safety_assured = {"rebuild-loses": "why it is safe"}'
    assert assured in said
    project.write(*revision("b1", FIRST, "pass", CHANGE, more=assured))
    said = project.db("downgrade", **REVIEWED).stderr
    assert 'In safety_assured, "why it is safe" is a placeholder, not a reason; write ' in said
    project.write(*revision("b1", FIRST, "pass", CHANGE, more=assured.replace("why it is safe", "a test")))
    project.ok("downgrade", **REVIEWED)
    assert "BIGINT" in texts(project)["pet"]


@pytest.mark.parametrize(("review", "told"), [("warn", True), ("off", False)])
def test_a_loss_that_the_setting_accepts(project: Project, review: str, told: bool) -> None:
    """MIGRATION_REVIEW=warn and off also apply to what only a step finds."""
    with_table(project, TABLES["autoincrement"])
    project.write(*revision("b1", FIRST, "pass", CHANGE))
    project.ok("upgrade")
    assert told == ("would lose AUTOINCREMENT" in project.ok("downgrade", MIGRATION_REVIEW=review))
    assert "AUTOINCREMENT" not in texts(project)["pet"]


KWARGS = {
    "'sqlite_autoincrement': False": TABLES["autoincrement"],
    "'sqlite_strict': False": f"{PLAIN} STRICT",
    "'sqlite_with_rowid': True": f"{PLAIN} WITHOUT ROWID",
}


@pytest.mark.parametrize("option", KWARGS)
def test_what_table_kwargs_remove_has_to_be_assured(project: Project, option: str) -> None:
    """What table_kwargs remove is refused like any other loss, until the script says why it is safe."""
    with_table(project, KWARGS[option])
    nothing = "alter_column('name', existing_type=sa.Text(), nullable=True)"
    change = batch(nothing, options=f"{ALWAYS}, table_kwargs={{{option}}}")
    assert "(rebuild-loses)" in refused(project, change)
    project.write(*revision("b1", FIRST, change, more='safety_assured = {"rebuild-loses": "a test"}'))
    project.ok("upgrade", **REVIEWED)
    assert not re.search("AUTOINCREMENT|STRICT|WITHOUT", texts(project)["pet"])


def test_copy_from_and_table_args_restore_what_is_not_read(project: Project) -> None:
    """The remedy of the message works: the script gives what SQLAlchemy does not read, and nothing is lost."""
    with_table(project, TABLES["check"].replace("KEY,", "KEY AUTOINCREMENT,"))
    run(project, "UPDATE sqlite_sequence SET seq = 77")
    given = "table_args=(sa.CheckConstraint('age>=0'),), table_kwargs={'sqlite_autoincrement': True}"
    project.write(*revision("b1", FIRST, CHANGE.replace("'pet'", f"'pet', {given}")))
    project.ok("upgrade", **REVIEWED)
    assert [(78,)] == run(project, "INSERT INTO pet (age) VALUES (1) RETURNING id")
    assert "CHECK (age>=0)" in texts(project)["pet"]


LOST = {
    "autoincrement": "AUTOINCREMENT",
    "collate": "COLLATE",
    "check": "CHECK",
    "check_inline": "CHECK",
    "on_delete": "ON DELETE",
    "default": "mail:true",
    "on_conflict": "ON CONFLICT",
    "trigger": "TRIGGER",
    "expression_index": "lower",
    "desc_index": "DESC",
    "collate_index": "COLLATE",
}
# How stock fails, and whether it leaves a temporary table behind.
CRASH = {
    "generated": ("Can't generate DDL for NullType()", False),
    "STORED": ('near ")": syntax error', False),
    "view": ("error in view v", True),
}


def on_stock(name: str, text: str) -> str:
    """Return ``text`` with names of its own for the table and what is on it: one database has those of all cases."""
    return re.sub(r"\b(pet|ix|t)\b", rf"\1_{name}", text)


ATTEMPTS = """
import flask_migrate, json, sys
from wsgi import app

errors = {}
with app.app_context():
    for revision in sys.argv[1:]:
        try:
            flask_migrate.upgrade(revision=revision)
        except Exception as error:
            errors[revision] = str(error)
print(json.dumps(errors))
"""


# A child of user, whose rows go if that is rebuilt while foreign keys are enforced.
CHILD = (
    "INSERT INTO user VALUES (1, 'alice', 'alice@example.com')",
    "CREATE TABLE child (id INTEGER PRIMARY KEY, owner_id INTEGER REFERENCES user (id) ON DELETE CASCADE)",
    "INSERT INTO child VALUES (1, 1)",
)
PARENT = "with op.batch_alter_table('user') as batch:\n    batch.alter_column('username', type_=sa.String(100))"


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory, first_database: Path) -> tuple[dict[str, str], Project]:
    """Return the errors of upgrades on stock by revision, and the project: b1 changes the tables of LOST, a
    type, and a parent.
    """
    project = copied(tmp_path_factory.mktemp("stock"))
    (project.path / "instance").mkdir()
    shutil.copy(first_database, project.path / "instance")
    project.make_stock()
    tables = TABLES | GENERATED | {"cast": PLAIN.replace("TEXT", "VARCHAR(9)"), "copy": PLAIN}
    for name in (*LOST, *CRASH, "cast", "copy"):
        statements = [tables[name]] if name in tables else [PLAIN, OBJECTS[name]]
        for each in (*statements, "INSERT INTO pet (id, name) VALUES (1, '12x')"):
            run(project, on_stock(name, each))
    for statement in CHILD:
        run(project, statement)
    changes = [
        on_stock("cast", TO_INTEGER),
        on_stock("copy", WITHOUT_AGE),
        *(on_stock(name, CHANGE) for name in LOST),
        PARENT,
    ]
    project.write(*revision("b1", FIRST, "\n".join(changes)))
    for name in CRASH:
        project.write(*revision(name, "b1", on_stock(name, CHANGE)))
    project.write("attempts.py", ATTEMPTS)
    return json.loads(project.run("attempts", "b1", *CRASH).stdout), project


@pytest.mark.parametrize("name", LOST)
def test_lost_on_stock(stock: tuple[dict[str, str], Project], name: str) -> None:
    """The damage: stock loses it, without an error."""
    errors, project = stock
    found = texts(project)
    assert (False, True) == ("b1" in errors, "BIGINT" in found[f"pet_{name}"])
    assert LOST[name] not in "\n".join(text for each, text in found.items() if each.endswith(name))


def test_copy_from_on_stock(stock: tuple[dict[str, str], Project]) -> None:
    """The damage: stock deletes the values of each column that copy_from leaves out, without an error."""
    assert [(1, "12x")] == run(stock[1], "SELECT * FROM pet_copy")


def test_cast_on_stock(stock: tuple[dict[str, str], Project]) -> None:
    """The damage: stock makes 12 of '12x', without an error."""
    assert [(12,)] == run(stock[1], "SELECT name FROM pet_cast")


def test_rows_of_children_on_stock(stock: tuple[dict[str, str], Project]) -> None:
    """The damage: with foreign keys enforced, stock deletes the rows of children, without an error."""
    assert [] == run(stock[1], "SELECT * FROM child")


def test_rows_of_children_are_kept(project: Project) -> None:
    """A type change rebuilds the parent's table; ON DELETE CASCADE does not run in the rebuild."""
    for statement in CHILD:
        run(project, statement)
    project.write(*revision("b1", FIRST, PARENT))
    project.ok("upgrade")
    assert [(1, 1)] == run(project, "SELECT * FROM child")


@pytest.mark.parametrize("name", CRASH)
def test_crash_on_stock(stock: tuple[dict[str, str], Project], name: str) -> None:
    """The damage: stock ends in an error, and may leave a temporary table behind."""
    errors, project = stock
    error, leaves_table = CRASH[name]
    assert (True, leaves_table) == (error in errors[name], f"_alembic_tmp_pet_{name}" in texts(project))


@pytest.mark.parametrize("kind", GENERATED)
def test_a_table_with_a_generated_column_can_be_altered(project: Project, kind: str) -> None:
    """A generated column stays generated and is not copied, also if `age`, which it reads, changes."""
    with_table(project, GENERATED[kind])
    up = [batch("alter_column('name', type_=sa.String(9))"), batch("alter_column('age', type_=sa.BigInteger())")]
    down = [batch(f"alter_column('{name}', type_=sa.Text())") for name in ("name", "age")]
    project.write(*revision("b1", FIRST, "\n".join(up), "\n".join(down)))
    project.ok("upgrade", **REVIEWED)
    project.ok("downgrade", **REVIEWED)
    run(project, "INSERT INTO pet (id, name, age) VALUES (2, 'Bella', 2)")
    assert [(1, 6), (2, 4)] == run(project, "SELECT id, twice FROM pet")


def test_expressions_of_generated_columns_are_read_as_typed() -> None:
    """The expression of a generated column is read exactly, whatever else its line has."""
    sql = """CREATE TABLE t (id INTEGER, "a b" TEXT AS (lower(x) || ':' /* ) */) STORED, c NUMERIC(3, 1), -- AS (1)
        d INTEGER GENERATED ALWAYS AS (c >= 1.5), CHECK (c > (1)))"""
    assert {"a b": "lower(x) || ':'", "d": "c >= 1.5"} == TableText.of(sql).generated


def test_constraints_and_indexes_are_written_in_one_order(project: Project) -> None:
    """A rebuilt table has its constraints by name, for a set has no order of its own; indexes keep theirs."""
    names = ["f", "b", "d", "a", "e", "c"]
    columns = ", ".join(f"{name}{name} INTEGER" for name in names)
    unique = ", ".join(f"CONSTRAINT {name} UNIQUE (name, age, {name}{name})" for name in names)
    indexes = [f"CREATE INDEX x{name} ON pet ({name}{name})" for name in names]
    with_table(project, f"{PLAIN[:-1]}, {columns}, {unique})", *indexes)
    project.write(*revision("b1", FIRST, CHANGE))
    project.ok("upgrade")
    assert sorted(names) == re.findall(r"CONSTRAINT (\w) UNIQUE", texts(project)["pet"])
    found = run(project, "SELECT name FROM sqlite_master WHERE name GLOB 'x?' ORDER BY rowid")
    assert [(f"x{name}",) for name in names] == found


def test_casts(project: Project) -> None:
    """A type change that would change a value is refused, with the row; it runs when the value is corrected."""
    with_table(project, PLAIN)
    project.write(*revision("b1", FIRST, TO_INTEGER))
    for value in ("12x", "abc", "012", ""):
        run(project, f"UPDATE pet SET name = '{value}'")
        before = state(project)
        assert f"changing pet.name to INTEGER would turn {value!r} into " in project.db("upgrade").stderr
        assert before == state(project)
    run(project, "UPDATE pet SET name = '12'")
    project.ok("upgrade")


@pytest.mark.parametrize("change", ["reflect_args", "a cast"])
def test_numbers_of_another_spelling(project: Project, change: str) -> None:
    """A change to FLOAT accepts '1.50', whose number is the same; it refuses an integer that FLOAT cannot store."""
    with_table(project, PLAIN, "INSERT INTO pet (id) VALUES (3)")
    reflected = CHANGE.replace("'pet'", "'pet', reflect_args=[sa.Column('name', sa.Float())]")
    lines = {"reflect_args": reflected, "a cast": TO_INTEGER.replace("Integer", "Float")}
    project.write(*revision("b1", FIRST, lines[change]))
    run(project, "UPDATE pet SET name = '9007199254740993' WHERE id = 1")
    assert "'9007199254740993'" in project.fails("upgrade")
    run(project, "UPDATE pet SET name = '1.50' WHERE id = 1")
    project.ok("upgrade")
    assert [(1.5,)] == run(project, "SELECT name FROM pet WHERE id = 1")


def test_right_behind_the_rebuild(project: Project) -> None:
    """Changes by the script after the rebuild remain: drops, new definitions, rows that its trigger has seen."""
    with_table(project, PLAIN, INDEX, "CREATE INDEX low ON pet (lower(name))", OBJECTS["trigger"])
    then = (
        "INSERT INTO pet (id, name, age) VALUES (2, 'Bella', 5)",
        "DROP INDEX low",
        "DROP TRIGGER t",
        "CREATE INDEX new ON pet (age DESC)",
    )
    unique = CHANGE + "\n    batch.drop_index('ix')\n    batch.create_index('ix', ['name'], unique=True)"
    lines = [unique, *(f"op.execute({each!r})" for each in then), NOT_NULL]
    project.write(*revision("b1", FIRST, "\n".join(lines)))
    project.ok("upgrade")
    found = texts(project)
    assert ("CREATE UNIQUE INDEX ix ON pet (name)", "CREATE INDEX new ON pet (age DESC)") == (found["ix"], found["new"])
    assert set() == {"low", "t"} & found.keys()
    assert [(1, "Rex", 0), (2, "Bella", 0)] == state(project)[1]


def test_names(project: Project) -> None:
    """A column with an index is renamed, there and back, in tables of any name."""
    tables = ("pet", "organization_membership_role_permission_x", "my table", "a(b)", "Größe", "order")
    rename = "with op.batch_alter_table({!r}) as batch:\n    batch.alter_column({!r}, new_column_name={!r})"
    for number, table in enumerate(tables):
        run(project, f'CREATE TABLE "{table}" (id INTEGER NOT NULL PRIMARY KEY, n INTEGER)')
        run(project, f'CREATE INDEX ix{number} ON "{table}" (n)')
    up, down = ("\n".join(rename.format(table, *names) for table in tables) for names in ("nm", "mn"))
    project.write(*revision("b1", FIRST, up, down))
    for command in ("upgrade", "downgrade", "upgrade"):
        project.ok(command)
    assert [True] * 6 == [texts(project)[f"ix{number}"].endswith("(m)") for number in range(6)]
