"""What SQLAlchemy does not read of a SQLite table: a rebuild keeps it, or is refused before it changes anything."""

import re
import sqlite3
from contextlib import closing

import pytest

from ..adapters.sqlite.table_texts import TableText
from .support import FIRST, Project, revision

PLAIN = "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"
TABLES = {
    "autoincrement": "CREATE TABLE pet (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, age INTEGER)",
    "collate": "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, age INTEGER)",
    "check": "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, CHECK (age >= 0))",
    "check-inline": "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> ''), age INTEGER)",
    "on-delete": "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER,"
    " owner INTEGER REFERENCES user (id) ON DELETE CASCADE)",
    "generated": "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, twice AS (age * 2))",
    "on-conflict": "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT UNIQUE ON CONFLICT IGNORE, age INTEGER)",
}
GENERATED = {
    kind: f"CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, twice INTEGER AS (age * 2) {kind})"
    for kind in ("STORED", "VIRTUAL")
}
OPTIONS = {
    "STRICT": "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER) STRICT",
    "WITHOUT ROWID": "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER) WITHOUT ROWID",
}
OBJECTS = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON pet BEGIN UPDATE pet SET age = 0 WHERE id = new.id; END",
    "view": "CREATE VIEW v AS SELECT name FROM pet",
    "expression-index": "CREATE INDEX ix ON pet (lower(name))",
    "desc-index": "CREATE INDEX ix ON pet (name DESC)",
    "partial-index": "CREATE INDEX ix ON pet (name) WHERE age > 1",
    "collate-index": "CREATE INDEX ix ON pet (name COLLATE NOCASE)",
    "unique-index": "CREATE UNIQUE INDEX ix ON pet (name)",
}
CHANGE = "with op.batch_alter_table('pet') as batch:\n    batch.alter_column('age', type_=sa.BigInteger())"
REVIEWED = {"MIGRATION_REVIEW": "enforce"}


def with_table(project: Project, *statements: str) -> None:
    """Bring the database to a revision that made the table pet with ``statements``, and put a row in."""
    project.write(*revision("a1", FIRST, "\n".join(f"op.execute({statement!r})" for statement in statements)))
    project.ok("upgrade")
    run(project, "INSERT INTO pet (id, name, age) VALUES (1, 'Rex', 3)")


def run(project: Project, statement: str) -> list[tuple[object, ...]]:
    """Run and commit a statement on the database, and return its rows."""
    with closing(sqlite3.connect(project.path / "instance" / "app.db")) as connection, connection:
        return connection.execute(statement).fetchall()


def state(project: Project) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """What the database says of itself, and the rows."""
    return run(project, "SELECT name, sql FROM sqlite_master ORDER BY name"), run(project, "SELECT * FROM pet")


def text_of(project: Project, name: str) -> str:
    """The CREATE statement of ``name``, without quotes."""
    return next(str(text) for found, text in state(project)[0] if found == name).replace('"', "")


def refused(project: Project, up: str, down: str = "pass", command: str = "upgrade") -> str:
    """Return what a command says that does not run the script, and fail the test if it changes anything."""
    before = state(project)
    project.write(*revision("b1", "a1", up, down))
    done = project.db(command, **REVIEWED)
    assert (1, before, False) == (done.returncode, state(project), "Traceback" in done.stderr), done.stderr
    return done.stderr


@pytest.mark.parametrize("name", TABLES)
def test_tables(project: Project, name: str) -> None:
    """What stands in the CREATE TABLE: the change is refused, and nothing is changed."""
    with_table(project, TABLES[name])
    assert "SQLite has to rebuild pet, and " in refused(project, CHANGE)


def test_a_downgrade_that_loses_is_refused_until_the_script_accepts_it(project: Project) -> None:
    """A downgrade that would lose something is refused, because no review covers it; the message says how to accept."""
    with_table(project, TABLES["check"])
    project.write(*revision("b1", "a1", "pass", CHANGE))
    project.ok("upgrade", **REVIEWED)
    said = refused(project, "pass", CHANGE, "downgrade")
    assert "would lose CHECK (AGE >= 0) (rebuild-loses)." in said
    assert "or, if you accept the loss, say so at the top of migrations/versions/b1.py; nothing was changed" in said
    assured = 'safety_assured = {"rebuild-loses": "why it is safe"}'
    assert assured in said
    project.write(*revision("b1", "a1", "pass", CHANGE, more=assured))
    said = project.db("downgrade", **REVIEWED).stderr
    assert 'In safety_assured, "why it is safe" is a placeholder, not a reason.' in said
    project.write(*revision("b1", "a1", "pass", CHANGE, more=assured.replace("why it is safe", "a test")))
    project.ok("downgrade", **REVIEWED)
    assert "BIGINT" in text_of(project, "pet")


@pytest.mark.parametrize(("review", "told"), [("warn", True), ("off", False)])
def test_a_loss_that_the_setting_accepts(project: Project, review: str, told: bool) -> None:
    """MIGRATION_REVIEW=warn and off also apply to what only a step finds."""
    with_table(project, TABLES["autoincrement"])
    project.write(*revision("b1", "a1", "pass", CHANGE))
    project.ok("upgrade")
    assert told == ("would lose AUTOINCREMENT" in project.ok("downgrade", MIGRATION_REVIEW=review))
    assert "AUTOINCREMENT" not in text_of(project, "pet")


@pytest.mark.parametrize(
    ("table", "option"),
    [
        (TABLES["autoincrement"], "'sqlite_autoincrement': False"),
        (OPTIONS["STRICT"], "'sqlite_strict': False"),
        (OPTIONS["WITHOUT ROWID"], "'sqlite_with_rowid': True"),
    ],
)
def test_what_table_kwargs_remove_has_to_be_assured(project: Project, table: str, option: str) -> None:
    """What table_kwargs remove is refused like any other loss, until the script says why it is safe."""
    with_table(project, table)
    batch = f"with op.batch_alter_table('pet', recreate='always', table_kwargs={{{option}}}) as batch:\n    "
    change = f"{batch}batch.alter_column('name', existing_type=sa.Text(), nullable=True)"
    assert "(rebuild-loses)" in refused(project, change)
    project.write(*revision("b1", "a1", change, more='safety_assured = {"rebuild-loses": "a test"}'))
    project.ok("upgrade", **REVIEWED)
    assert not re.search("AUTOINCREMENT|STRICT|WITHOUT", text_of(project, "pet"))


@pytest.mark.parametrize("name", OPTIONS)
def test_options(project: Project, name: str) -> None:
    """What stands behind the CREATE TABLE: newer releases of SQLAlchemy read it; with others the change is refused."""
    with_table(project, OPTIONS[name])
    before = state(project)
    change = "with op.batch_alter_table('pet') as batch:\n    batch.alter_column('age', nullable=False)"
    project.write(*revision("b1", "a1", change))
    done = project.db("upgrade")
    if done.returncode:
        assert before == state(project)
    else:
        assert name in text_of(project, "pet")
        assert "NOT NULL" in text_of(project, "pet")


@pytest.mark.parametrize("name", OBJECTS)
def test_objects(project: Project, name: str) -> None:
    """Indexes, triggers and views on the table are again what they were."""
    with_table(project, PLAIN, OBJECTS[name])
    project.write(*revision("b1", "a1", CHANGE))
    project.ok("upgrade")
    created = OBJECTS[name].split()[2 if "UNIQUE" not in OBJECTS[name] else 3]
    assert OBJECTS[name] == text_of(project, created)
    assert "BIGINT" in text_of(project, "pet")
    run(project, "INSERT INTO pet (id, name, age) VALUES (2, 'Bella', 2)")


LOST = {
    "autoincrement": "AUTOINCREMENT",
    "collate": "COLLATE",
    "check": "CHECK",
    "check-inline": "CHECK",
    "on-delete": "ON DELETE",
    "on-conflict": "ON CONFLICT",
    "trigger": "TRIGGER",
    "expression-index": "lower",
    "desc-index": "DESC",
    "collate-index": "COLLATE",
}


@pytest.mark.parametrize("name", LOST)
def test_lost_on_stock(project: Project, name: str) -> None:
    """The damage: stock loses it, and exits 0."""
    project.make_stock()
    with_table(project, *([TABLES[name]] if name in TABLES else [PLAIN, OBJECTS[name]]))
    assert LOST[name] in str(state(project)[0])
    project.write(*revision("b1", "a1", CHANGE))
    project.ok("upgrade")
    assert LOST[name] not in str(state(project)[0])


@pytest.mark.parametrize("kind", GENERATED)
@pytest.mark.parametrize("name", ["name", "age"])
def test_a_table_with_a_generated_column_can_be_altered(project: Project, kind: str, name: str) -> None:
    """A generated column stays generated and is not copied, also if `age`, which it reads, changes."""
    with_table(project, GENERATED[kind])
    change = f"with op.batch_alter_table('pet') as batch:\n    batch.alter_column({name!r}, type_=sa.{{}}())"
    project.write(
        *revision("b1", "a1", change.format("BigInteger" if name == "age" else "Text"), change.format("Text"))
    )
    project.environ["MIGRATION_REVIEW"] = "enforce"
    project.ok("upgrade")
    project.ok("downgrade")
    run(project, "INSERT INTO pet (id, name, age) VALUES (2, 'Bella', 2)")
    assert [(1, 6), (2, 4)] == run(project, "SELECT id, twice FROM pet")


def test_a_generated_column_that_is_dropped_is_gone(project: Project) -> None:
    """Dropping a generated column is not a loss; SQLite's own DROP COLUMN refuses a STORED one."""
    with_table(project, GENERATED["STORED"])
    drop = "with op.batch_alter_table('pet', recreate='always') as batch:\n    batch.drop_column('twice')"
    project.write(*revision("b1", "a1", drop))
    project.ok("upgrade")
    assert "twice" not in text_of(project, "pet")


def test_expressions_of_generated_columns_are_read_as_typed() -> None:
    """The expression of a generated column is read exactly, whatever else its line has."""
    sql = """CREATE TABLE t (id INTEGER, "a b" TEXT AS (lower(x) || ':' /* ) */) STORED, c NUMERIC(3, 1), -- AS (1)
        d INTEGER GENERATED ALWAYS AS (c >= 1.5), CHECK (c > (1)))"""
    assert {"a b": "lower(x) || ':'", "d": "c >= 1.5"} == TableText.of(sql).generated


def test_constraints_and_indexes_are_written_in_one_order(project: Project) -> None:
    """A rebuilt table has its constraints by name, for a set has no order of its own; indexes keep theirs."""
    names = ["f", "b", "d", "a", "e", "c"]
    unique = ", ".join(f"CONSTRAINT {name} UNIQUE (name, age, {name}{name})" for name in names)
    columns = ", ".join(f"{name}{name} INTEGER" for name in names)
    indexes = [f"CREATE INDEX x{name} ON pet ({name}{name})" for name in names]
    with_table(
        project, f"CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, {columns}, {unique})", *indexes
    )
    project.write(*revision("b1", "a1", CHANGE))
    project.ok("upgrade")
    assert sorted(names) == re.findall(r"CONSTRAINT (\w) UNIQUE", text_of(project, "pet"))
    found = run(project, "SELECT name FROM sqlite_master WHERE name GLOB 'x?' ORDER BY rowid")
    assert [(f"x{name}",) for name in names] == found


@pytest.mark.parametrize("name", ["generated", "STORED", "VIRTUAL", "view"])
def test_crash_on_stock(project: Project, name: str) -> None:
    """The damage: stock ends in an error, and leaves a temporary table behind."""
    project.make_stock()
    tables = TABLES | GENERATED
    with_table(project, *([tables[name]] if name in tables else [PLAIN, OBJECTS[name]]))
    project.write(*revision("b1", "a1", CHANGE))
    assert 1 == project.db("upgrade").returncode


FAMILY = (
    "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, age INTEGER, owner INTEGER,"
    " CONSTRAINT fk FOREIGN KEY (owner) REFERENCES user (id) ON DELETE CASCADE, CONSTRAINT ck CHECK (age >= 0))"
)


@pytest.mark.parametrize(
    ("change", "gone", "stays"),
    [
        ("batch.drop_column('name')", "COLLATE", ("ON DELETE CASCADE", "CONSTRAINT ck CHECK")),
        ("batch.drop_constraint('fk', type_='foreignkey')", "ON DELETE", ("COLLATE", "ck CHECK")),
    ],
)
def test_what_the_script_drops(project: Project, change: str, gone: str, stays: tuple[str, str]) -> None:
    """A column or a constraint with a name that the script drops takes along what it has."""
    table = FAMILY if gone == "COLLATE" else FAMILY.replace(" COLLATE NOCASE", "")
    with_table(project, table)
    project.write(*revision("b1", "a1", f"with op.batch_alter_table('pet') as batch:\n    {change}"))
    project.ok("upgrade")
    assert gone not in text_of(project, "pet")
    assert [] == [word for word in stays if word not in text_of(project, "pet") and word in table]


def test_a_foreign_key_made_anew(project: Project) -> None:
    """One that is dropped and created without ON DELETE loses that on purpose; one that the script leaves does not.

    SQLAlchemy reads nothing after MATCH.
    """
    table = FAMILY.replace(" COLLATE NOCASE", "").replace("(id) ON", "(id) MATCH FULL ON")
    with_table(project, table)
    assert "would lose ON DELETE" in refused(project, CHANGE)
    again = "batch.drop_constraint('fk', type_='foreignkey'); batch.create_foreign_key('fk', 'user', ['owner'], ['id'])"
    project.write(*revision("b1", "a1", f"with op.batch_alter_table('pet') as batch:\n    {again}"))
    project.ok("upgrade", **REVIEWED)
    assert "ON DELETE" not in text_of(project, "pet")


def test_a_column_with_its_foreign_key(project: Project) -> None:
    """A column goes with its foreign key and ON DELETE, whether that stands in the column or behind the columns."""
    for table in (FAMILY.replace(" COLLATE NOCASE", ""), TABLES["on-delete"]):
        with_table(project, "DROP TABLE IF EXISTS pet", table)
        change = "with op.batch_alter_table('pet') as batch:\n    batch.drop_column('owner')"
        project.write(*revision("b1", "a1", change, f"op.execute({PLAIN!r})"))
        project.ok("upgrade")
        assert "ON DELETE" not in text_of(project, "pet")
        run(project, f"UPDATE alembic_version SET version_num = '{FIRST}'")
        (project.path / "migrations/versions/b1.py").unlink()


def test_an_index_that_the_script_drops(project: Project) -> None:
    """What the script takes away on purpose stays away."""
    with_table(project, PLAIN, "CREATE INDEX ix ON pet (name)")
    change = "with op.batch_alter_table('pet') as batch:\n    batch.drop_index('ix')\n    batch.drop_column('age')"
    project.write(*revision("b1", "a1", change))
    project.ok("upgrade")
    assert "CREATE INDEX" not in str(state(project))


@pytest.mark.parametrize("name", ["trigger", "view"])
def test_a_column_that_is_used(project: Project, name: str) -> None:
    """A trigger or a view that uses a column which goes away: refused, with its name."""
    with_table(project, PLAIN, OBJECTS[name].replace("name FROM", "age FROM"))
    drop = "with op.batch_alter_table('pet') as batch:\n    batch.drop_column('age')"
    assert "(rebuild-loses)" in refused(project, drop)


@pytest.mark.parametrize("value", ["12x", "abc", "012", ""])
def test_casts(project: Project, value: str) -> None:
    """A type change that would change a value is refused, with the row; it runs when the value is corrected."""
    with_table(project, PLAIN)
    run(project, f"UPDATE pet SET name = '{value}'")
    change = "with op.batch_alter_table('pet') as batch:\n    batch.alter_column('name', type_=sa.Integer())"
    before = state(project)
    project.write(*revision("b1", "a1", change))
    said = project.db("upgrade").stderr
    assert f"changing pet.name to INTEGER would turn {value!r} into " in said
    assert before == state(project)
    run(project, "UPDATE pet SET name = '12'")
    project.ok("upgrade")


def test_cast_on_stock(project: Project) -> None:
    """The damage: stock makes 12 of '12x', and exits 0."""
    project.make_stock()
    with_table(project, PLAIN.replace("name TEXT", "name VARCHAR(9)"))
    run(project, "UPDATE pet SET name = '12x'")
    change = "with op.batch_alter_table('pet') as batch:\n    batch.alter_column('name', type_=sa.Integer())"
    project.write(*revision("b1", "a1", change))
    project.ok("upgrade")
    assert [(1, 12, 3)] == state(project)[1]


def test_leftover(project: Project) -> None:
    """A temporary table of an earlier failure, by stock, is named, with what to do."""
    with_table(project, PLAIN)
    run(project, "CREATE TABLE _alembic_tmp_pet (id INTEGER)")
    assert 'DROP TABLE "_alembic_tmp_pet";' in refused(project, CHANGE)


def test_right_behind_the_rebuild(project: Project) -> None:
    """What a script does after the rebuild stands: drops, new definitions, rows; and triggers work meanwhile."""
    index = "CREATE INDEX ix ON pet (name)"
    with_table(project, PLAIN, index, "CREATE INDEX low ON pet (lower(name))", OBJECTS["trigger"])
    change = (
        f"{CHANGE}\n    batch.drop_index('ix')\n    batch.create_index('ix', ['name'], unique=True)\n"
        "op.execute(\"INSERT INTO pet (id, name, age) VALUES (2, 'Bella', 5)\")\n"
        "op.execute('DROP INDEX low')\nop.execute('DROP TRIGGER t')\n"
        "op.execute('CREATE INDEX new ON pet (age DESC)')\n"
        "with op.batch_alter_table('pet') as batch:\n    batch.alter_column('age', nullable=False)"
    )
    project.write(*revision("b1", "a1", change))
    project.ok("upgrade")
    schema, rows = state(project)
    assert "CREATE UNIQUE INDEX ix ON pet (name)" == text_of(project, "ix")
    assert "CREATE INDEX new ON pet (age DESC)" == text_of(project, "new")
    assert [] == [name for name, _ in schema if name in ("low", "t")]
    assert [(1, "Rex", 0), (2, "Bella", 0)] == rows


@pytest.mark.parametrize(
    "table", ["pet", "organization_membership_role_permission_x", "my table", "a(b)", "Größe", "order"]
)
def test_names(project: Project, table: str) -> None:
    """A column with an index is renamed, there and back, in tables of any name."""
    up = f"op.create_table({table!r}, sa.Column('id', sa.Integer(), primary_key=True), sa.Column('n', sa.Integer()))"
    project.write(*revision("a1", FIRST, f"{up}\nop.create_index('ix', {table!r}, ['n'])"))
    rename = "with op.batch_alter_table({!r}) as batch:\n    batch.alter_column({!r}, new_column_name={!r})"
    project.write(*revision("b1", "a1", rename.format(table, "n", "m"), rename.format(table, "m", "n")))
    project.ok("upgrade")
    project.ok("downgrade")
    project.ok("upgrade")
    ((text,),) = run(project, "SELECT sql FROM sqlite_master WHERE name = 'ix'")
    assert str(text).endswith("(m)")


RENAME = "with op.batch_alter_table('pet') as batch:\n    batch.alter_column('name', new_column_name='called')"


@pytest.mark.parametrize("name", ["collate", "check-inline"])
def test_a_renamed_column(project: Project, name: str) -> None:
    """A column that gets another name has not been dropped: what it has may not go."""
    with_table(project, TABLES[name])
    assert "(rebuild-loses)" in refused(project, RENAME)


@pytest.mark.parametrize("sort", ["DESC", "COLLATE NOCASE"])
def test_an_index_on_a_renamed_column(project: Project, sort: str) -> None:
    """An index follows a renamed column, without what Alembic does not read of it: that is refused."""
    with_table(project, PLAIN, f"CREATE INDEX ix ON pet (name {sort})")
    assert "the index ix of pet cannot be recreated after this change" in refused(project, RENAME)
    drop = RENAME.replace(":\n", ":\n    batch.drop_index('ix')\n")
    project.write(*revision("b1", "a1", drop, more='safety_assured = {"rename-column": "a test"}'))
    project.ok("upgrade", **REVIEWED)


@pytest.mark.parametrize(
    ("table", "change", "loss"),
    [
        ("check", "batch.create_check_constraint('ck', 'age < 99')", "CHECK (AGE >= 0)"),
        ("collate", "batch.add_column(sa.Column('x', sa.String(9, collation='NOCASE')))", "COLLATE"),
    ],
)
def test_what_is_added_does_not_hide_a_loss(project: Project, table: str, change: str, loss: str) -> None:
    """A new constraint or column does not stand in for what the table loses."""
    with_table(project, TABLES[table])
    batch = f"with op.batch_alter_table('pet', recreate='always') as batch:\n    {change}"
    assert f"would lose {loss}" in refused(project, batch)


def test_a_check_that_sqlalchemy_misreads(project: Project) -> None:
    """SQLAlchemy takes ``:b`` in a condition for a parameter, and would write NULL."""
    with_table(project, PLAIN)
    run(project, "DROP TABLE pet")
    run(project, PLAIN.replace("age INTEGER", "age INTEGER, CONSTRAINT ck CHECK (name <> ' :b' AND age > 0)"))
    assert "would lose CHECK (NAME <> ' :b' AND AGE > 0) (rebuild-loses)." in refused(project, CHANGE)


def test_copy_from_and_table_args_restore_what_is_not_read(project: Project) -> None:
    """The remedy of the message works: the script gives what SQLAlchemy does not read, and nothing is lost."""
    with_table(project, TABLES["check"].replace("KEY,", "KEY AUTOINCREMENT,"))
    run(project, "UPDATE sqlite_sequence SET seq = 77")
    given = "table_args=(sa.CheckConstraint('age>=0'),), table_kwargs={'sqlite_autoincrement': True}"
    project.write(*revision("b1", "a1", CHANGE.replace("'pet'", f"'pet', {given}")))
    project.ok("upgrade", **REVIEWED)
    assert [(78,)] == run(project, "INSERT INTO pet (age) VALUES (1) RETURNING id")
    assert "CHECK (age>=0)" in text_of(project, "pet")
