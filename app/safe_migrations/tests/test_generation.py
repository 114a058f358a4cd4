"""What `flask db migrate` generates runs, on every database, and can be taken back."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.exc import DBAPIError

from .support import FIRST, Project, is_mariadb, on_postgresql, revision
from .test_renames import (  # the fixtures too
    AGREE,
    BEFORE,
    USER,
    asked,
    migrate,
    models,
    pets,
    rows,
    schema,
    there_and_back,
    write,
)

__all__ = ["pets", "rows"]

FILLED = """
class Color(Enum):
    RED = "r"
    BLUE = "b"


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(80), unique=True)
    email: Mapped[str] = mapped_column(String(120), unique=True)
    age: Mapped[int] = mapped_column(index=True)
    active: Mapped[bool]
    name: Mapped[str] = mapped_column(String(40))
    price: Mapped[Decimal] = mapped_column(Numeric(8, 2))
    born: Mapped[date]
    seen: Mapped[datetime]
    bio: Mapped[str] = mapped_column(Text)
    more: Mapped[dict[str, Any]] = mapped_column(JSON)
    color: Mapped[Color]
    number: Mapped[UUID]
    day: Mapped[date]
    hour: Mapped[time]
    raw: Mapped[bytes] = mapped_column(db.LargeBinary)
    grade: Mapped[int] = mapped_column(server_default="7")
"""

VALUES = {
    "age": "0",
    "active": "yes",
    "name": "it's 100%: \\",
    "price": "1.50",
    "born": "2020-02-29",
    "seen": "CURRENT_TIMESTAMP",
    "bio": "it's 100%: \\",
    "more": '{"a":"it\'s"}',
    "color": "BLUE",
    "number": "12345678-1234-5678-1234-567812345678",
    "day": "CURRENT_DATE",
    "hour": "CURRENT_TIMESTAMP",
    "raw": "it's",
}


COMPARED = "init_app(app, db, compare_server_default=True)"


@pytest.mark.parametrize("targets", ["", "postgresql"])
def test_defaults(pets: Project, database: str, rows: Callable[[str], list[Any]], targets: str) -> None:
    """Existing rows get the values that were given, of any type, and no rule stops the upgrade. The values stay as the
    columns' defaults: the release that is still running inserts rows without these columns. Neither `flask db check`
    nor `flask db migrate` takes that for a difference.
    """
    pets.environ["MIGRATION_TARGETS"] = targets
    models(pets, FILLED, BEFORE)
    script = migrate(pets, *(f"default=user.{name}:{value}" for name, value in VALUES.items()))
    found = json.loads(pets.db("review", "--format", "json").stdout)
    assert [] == [finding for finding in found if finding["level"] == "blocks"]
    assert len(VALUES) <= script.count("# A later revision may drop the default.\n")
    old = "INSERT INTO {{user}} (id, username, email) VALUES ({0}, 'u{0}', 'e{0}')"

    def see() -> None:
        write(database, old.format(len(rows("SELECT id FROM {user}")) + 1))
        found = rows("SELECT age, active, name, price, born, bio, color, grade FROM {user}")
        expected = (0, True, VALUES["name"], 1.5, "2020-02-29", VALUES["bio"], "BLUE", 7)
        assert [expected] * len(found) == [
            (age, bool(active), name, float(price), str(born), bio, color, grade)
            for age, active, name, price, born, bio, color, grade in found
        ]
        found = rows("SELECT day, hour, seen, more, raw FROM {user}")
        assert len(found) == sum(
            str(day).startswith(str(seen)[:10])
            and re.fullmatch(r"\d\d?:\d\d:\d\d(\.\d+)?", str(hour)) is not None
            and (json.loads(more) if isinstance(more, str) else more) == {"a": "it's"}
            and bytes(raw) == b"it's"
            for day, hour, seen, more, raw in found
        )

    there_and_back(pets, database, see)
    factory = (pets.path / "app" / "__init__.py").read_text()
    pets.write("app/__init__.py", factory.replace("init_app(app, db)", COMPARED))
    assert AGREE in pets.ok("check")
    scripts = pets.scripts()
    pets.ok("migrate")
    assert scripts == pets.scripts()
    assert "drop_column" not in script.partition("def downgrade")[0]


@pytest.mark.parametrize("stock", [False, True])
def test_defaults_with_quotes_are_no_difference(pets: Project, database: str, stock: bool) -> None:
    """With compare_server_default=True a default with a quote, and one of JSON, is not compared; one without is. Stock
    sees a difference where there is none, and on PostgreSQL it fails with a syntax error.
    """
    if stock:
        pets.make_stock()
    factory = (pets.path / "app" / "__init__.py").read_text()
    pets.write("app/__init__.py", factory.replace("init_app(app, db)", COMPARED))
    said = "it's 100%: \\"
    user = USER + "    said: Mapped[str] = mapped_column(String(20), server_default={!r})\n"
    user += '    more: Mapped[Any] = mapped_column(JSON, server_default=\'{{"it":"is"}}\')\n'
    if database.startswith("mysql") and not is_mariadb(make_url(database)):  # has no default for JSON but an expression
        user = user.partition("    more")[0]
    models(pets, user.format(said), BEFORE)
    for script in pets.scripts():
        script.unlink()
    write(database, "DROP TABLE toy", "DROP TABLE pet", "DROP TABLE {user}", "DELETE FROM alembic_version")
    pets.ok("migrate", "-m", "Begin")
    pets.ok("upgrade")
    done = pets.db("check")
    assert ("No new upgrade operations" in done.stdout) != stock, done.stdout + done.stderr
    if not stock:
        models(pets, user.format("it is 100%"), BEFORE)
        assert "modify_default user.said" in pets.db("check").stderr
        models(pets, user.format("it isn't"), BEFORE)
        assert AGREE in pets.ok("check")


@on_postgresql
def test_default_that_cannot_be_compared(pets: Project) -> None:
    """A default that cannot be compared is an error that names the column."""
    factory = (pets.path / "app" / "__init__.py").read_text()
    pets.write("app/__init__.py", factory.replace("init_app(app, db)", COMPARED))
    models(pets, USER, BEFORE.replace('server_default="x"', 'server_default=db.text("nope()")'))
    done = pets.db("check")
    assert (1, True) == (done.returncode, "the server default of pet.name cannot be compared" in done.stderr), done


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_questions_for_defaults(pets: Project, rows: Callable[[str], list[Any]]) -> None:
    """On a terminal the value is asked, again if it does not fit; no answer is none, and the script is stock's."""
    user = USER + "    age: Mapped[int]\n    name: Mapped[str] = mapped_column(String(40), default='x')\n"
    models(pets, user + "    rank: Mapped[int]\n", BEFORE)
    done = asked(pets, "old\n7\n\n\n")
    asks = r"user\.(\w+) is NOT NULL\. Value for existing rows \((.*?)\)"
    integer = "integer; Enter to skip"
    expected = [("age", integer), ("age", integer), ("name", "text; '' is an empty string"), ("rank", integer)]
    assert expected == re.findall(asks, done.stderr)
    assert "Error: 'old' is not an integer." in done.stderr
    script = pets.scripts()[-1].read_text()
    assert "sa.Column('age', sa.Integer(), server_default='7', nullable=False)" in script
    assert "sa.Column('name', sa.String(length=40), server_default='x', nullable=False)" in script
    assert "sa.Column('rank', sa.Integer(), nullable=False)" in script


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_wrong_defaults(pets: Project) -> None:
    """What does not fit is refused, and no script is written; without an answer it is stock's, which fails on rows."""
    models(pets, USER + "    age: Mapped[int]\n", BEFORE)
    scripts = pets.scripts()
    for answer, why in (
        (
            "user.ages:0",
            "user.ages is neither a new NOT NULL column without a default nor a column that becomes NOT NULL",
        ),
        ("user.age:old", "'old' is not an integer"),
    ):
        done = pets.db("-x", f"default={answer}", "migrate")
        assert (1, True) == (done.returncode, f"-x default={answer} cannot be used: {why}." in done.stderr), done.stderr
    assert scripts == pets.scripts()
    pets.ok("migrate")
    assert "NOT NULL" in pets.db("upgrade").stderr


MORE = """
class Kind(Enum):
    CAT = "c"
    DOG = "d"


class Cage(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[Kind]
    lock: Mapped[str] = mapped_column(String(9), index=True)


class Size(Enum):
    BIG = "b"


class Bowl(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[Kind]
    size: Mapped[Size]
"""


COLUMN_OF_LOG = (
    "    id: Mapped[int] = mapped_column(primary_key=True)\n"
    "    at: Mapped[datetime] = mapped_column(server_default=db.func.now())\n"
)
NICK = "nick: Mapped[str] = mapped_column(String(60), unique=True)"


def add_more(project: Project) -> None:
    """A new table with an enum and an index; in tables that are there the enum too, indexes, and foreign keys."""
    after = BEFORE.replace("    age:", "    kind: Mapped[Kind | None]\n    age:")
    after = after.replace(
        'ForeignKey("user.id", ondelete="CASCADE")', 'ForeignKey("user.id", ondelete="CASCADE"), index=True'
    )
    after += "    cage_id: Mapped[int | None] = mapped_column(ForeignKey('cage.id'), index=True)\n"
    models(project, USER, MORE, after)


def test_online_steps(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """With PostgreSQL among the targets, indexes are made concurrently, each in a revision of its own, and foreign keys
    come NOT VALID and are validated in one more; enums go with the downgrade. It all runs on every database.
    """
    pets.environ["MIGRATION_TARGETS"] = "postgresql>=13"
    add_more(pets)
    script = migrate(pets)
    there_and_back(pets, database, lambda: None)
    concurrently = re.findall(r"autocommit_block\(\):\n +op\.(\w+)\(op.f\('(\w+)'", script)
    assert {("create_index", "ix_pet_owner_id"), ("create_index", "ix_toy_cage_id")} < set(concurrently)
    listed = pets.scripts()[1:]
    assert (5, listed) == (len(listed), sorted(listed))
    assert 1 == script.count("postgresql_not_valid=True")
    assert "op.execute('ALTER TABLE toy VALIDATE CONSTRAINT fk_toy_cage_id_cage')" in script
    assert [1, 1] == [script.count(f"CREATE TYPE {name} AS ENUM") for name in ("kind", "size")]
    assert {"kind", "size"} == set(re.findall(r"DROP TYPE IF EXISTS (\w+)", script))
    if "postgresql" in database:
        sql = pets.ok("upgrade", "b0:head", "--sql")
        assert [1, 1] == [sql.count(f"CREATE TYPE {name} AS ENUM") for name in ("kind", "size")]


def test_online_constraints(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """With PostgreSQL among the targets, a unique constraint comes by an index that is made concurrently, NOT NULL by a
    CHECK, and indexes go concurrently; what is made anew under its name is dropped just before. No rule blocks, and it
    all runs on every database, and in a rehearsal.
    """
    pets.environ["MIGRATION_TARGETS"] = "postgresql"
    write(database, "UPDATE pet SET nick = 't' WHERE nick IS NULL")
    after = BEFORE.replace("nick: Mapped[str | None] = mapped_column(String(40), index=True)", NICK)
    after = after.replace('Index("ix_pet_both", "name", "age")', 'Index("ix_pet_both", "age", "name")')
    models(pets, USER, after.replace('"user.id", ondelete="CASCADE")', '"user.id", ondelete="RESTRICT"), index=True'))
    migrate(pets)
    found = json.loads(pets.db("review", "b0:head", "--format", "json").stdout)
    assert [] == [finding for finding in found if finding["level"] == "blocks"]
    assert (
        [
            "change",  # of the type of nick
            "drop_index_ix_pet_both",
            "create_index_ix_pet_both",
            "create_index_ix_pet_owner_id",
            "create_unique_index_uq_pet_nick",
            "add_constraint_uq_pet_nick",
            "drop_index_ix_pet_nick",
            "add_foreign_keys_to_pet",
            "validate_foreign_keys",
            "add_not_null_check_to_pet_nick",
            "make_pet_nick_not_null",
        ]
        == [script.stem.split("_", 3)[3] for script in pets.scripts()[1:]]
    )
    rehearsed = pets.db("rehearse")
    assert (0, 11) == (rehearsed.returncode, rehearsed.stdout.count(" ok")), rehearsed.stdout
    there_and_back(pets, database, lambda: None)
    assert [("r",), ("t",)] == rows("SELECT nick FROM pet ORDER BY id")
    for statement in ("UPDATE pet SET nick = NULL", "UPDATE pet SET nick = 'r'"):
        with pytest.raises(DBAPIError):
            write(database, statement)


def test_constraint_gets_another_name(pets: Project, database: str) -> None:
    """A unique constraint or an index that differs in its name alone is renamed: at no time does the table take
    duplicates, and the review finds nothing.
    """
    named = 'db.UniqueConstraint("name", name="pet_name_key"), Index("both", "name", "age")'
    after = BEFORE.replace("String(80), unique=True", "String(80)")
    after = after.replace('Index("ix_pet_both", "name", "age")', named)
    models(pets, USER, after)
    script = migrate(pets)
    if "postgresql" in database:
        assert [] == json.loads(pets.ok("review", "--format", "json"))
    assert 2 == len(pets.scripts())
    assert "ALTER TABLE pet RENAME CONSTRAINT uq_pet_name TO pet_name_key" in script
    there_and_back(pets, database, lambda: None)
    assert {"pet_name_key", "both"} <= set(re.findall(r"\w+", str(schema(database)["pet"])))


@pytest.mark.parametrize("targets", ["", "postgresql"])
def test_uniqueness_is_replaced_without_a_gap(pets: Project, database: str, targets: str) -> None:
    """What is unique is dropped last, after what takes its place: at each revision, and between two statements, the
    table refuses duplicates.
    """
    pets.environ["MIGRATION_TARGETS"] = targets
    models(pets, USER, BEFORE.replace("String(80), unique=True", "String(80), unique=True, index=True"))
    script = migrate(pets)
    upgrades = "".join(re.findall(r"def upgrade.*?def downgrade", script, re.DOTALL))
    create, drop = "create_index(op.f('ix_pet_name')", "drop_constraint(op.f('uq_pet_name')"
    assert upgrades.replace("batch_op", "op").index(create) < upgrades.replace("batch_op", "op").index(drop)
    for target in [script.stem.split("_")[2] for script in pets.scripts()[1:]]:
        pets.ok("upgrade", target)
        with pytest.raises(DBAPIError):
            write(database, "UPDATE pet SET name = 'rex'")
    pets.ok("downgrade", "b0")
    there_and_back(pets, database, lambda: None)


@pytest.mark.parametrize("targets", ["", "sqlite,postgresql"])
def test_unique_constraint_goes(pets: Project, database: str, tmp_path: Path, targets: str) -> None:
    """A unique constraint is dropped as one, and comes back as one, though MySQL and MariaDB report an index; the one
    of a foreign key's column too. The script runs on SQLite as well.
    """
    pets.environ["MIGRATION_TARGETS"] = targets
    friend = "    friend_id: Mapped[int | None] = mapped_column(ForeignKey('user.id'){})\n"
    models(pets, USER, BEFORE, friend.format(", unique=True"))
    migrate(pets)
    pets.ok("upgrade")
    models(pets, USER, BEFORE.replace("String(80), unique=True", "String(80)"), friend.format(""))
    script = migrate(pets)
    assert "create_index(" not in script
    before, head = schema(database), pets.db("current").stdout.split()[0]
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    pets.ok("downgrade", head)
    assert before == schema(database)
    other = {"DATABASE_URL": f"sqlite:///{tmp_path / 'other.db'}"}
    for args in (("upgrade",), ("downgrade", "-1"), ("upgrade",)):
        pets.ok(*args, **other)


EVENT = """
class Event(db.Model):
    __table_args__ = ({0}{{"postgresql_partition_by": "RANGE (id)"}},)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20){1})
    user_id: Mapped[int | None]{2}
"""


@on_postgresql
def test_partitioned_tables(pets: Project, database: str) -> None:
    """What a partitioned table gets is not created concurrently, nor NOT VALID: PostgreSQL refuses that. A partition
    is not a table that the models lack.
    """
    models(pets, USER, BEFORE, EVENT.format("", "", ""))
    migrate(pets)
    pets.ok("upgrade")
    write(
        database,
        "CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (1) TO (9)",
        "CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (9) TO (99)",
        "INSERT INTO event (id, name) VALUES (1, 'one'), (9, 'nine')",
    )
    assert AGREE in pets.ok("check")
    scripts = pets.scripts()
    assert "event_1" not in pets.ok("migrate")
    assert scripts == pets.scripts()

    key = ' = mapped_column(ForeignKey("user.id"))'
    models(pets, USER, BEFORE, EVENT.format('db.UniqueConstraint("name", "id"), ', ", index=True", key))
    migrate(pets)
    found = json.loads(pets.db("review", "--format", "json").stdout)
    blocks = {each["code"]: each["instead"] for each in found if each["level"] == "blocks"}
    assert {"create-index-blocks-writes", "unique-constraint-blocks", "constraint-scan-blocks"} == set(blocks)
    assert [True] * 3 == [instead.startswith("run this revision in a quiet period") for instead in blocks.values()]
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    pets.ok("downgrade", "-1")


@pytest.mark.parametrize("stock", [True, False])
@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_half_made_index(project: Project, database: str, stock: bool) -> None:
    """A concurrent index that fails leaves an invalid one: stock cannot go on, here the next run makes it anew."""
    body = "with op.get_context().autocommit_block():\n    op.create_index('ix', 'user', ['username'], {}unique=True)"
    project.write(*revision("a1", FIRST, body.format("postgresql_concurrently=True, ")))
    project.ok("upgrade", FIRST)
    if stock:
        project.make_stock()
    add = "INSERT INTO {user} (id, username, email) VALUES "
    write(database, "ALTER TABLE {user} DROP CONSTRAINT uq_user_username", f"{add} (1, 'a', 'a'), (2, 'a', 'b')")
    assert "could not create unique index" in project.db("upgrade").stderr
    write(database, "DELETE FROM {user} WHERE id = 2")
    done = project.db("upgrade")
    assert (1 if stock else 0) == done.returncode
    assert ('relation "ix" already exists' if stock else "Dropped the invalid index ix") in done.stderr


def test_keys_go_first(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """A foreign key goes before its index, which MySQL would not drop (1553), and before the table it refers to."""
    cage = "\nclass Cage(db.Model):\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
    columns = "".join(
        f"    {name}_id: Mapped[int | None] = mapped_column(ForeignKey('{table}.id'), index=True)\n"
        for name, table in (("cage", "cage"), ("user", "user"))
    )
    models(pets, USER, cage, BEFORE + columns)
    migrate(pets)
    pets.ok("upgrade")
    write(database, "INSERT INTO cage (id) VALUES (1)", "UPDATE toy SET cage_id = 1, user_id = 1")
    models(pets, USER, BEFORE + columns.replace("ForeignKey('user.id'), index=True", "").splitlines(True)[1])
    script = migrate(pets, "drop=cage")
    assert "drop_table('cage')" in script
    before = schema(database)
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    pets.ok("downgrade")
    assert before == schema(database)
    pets.ok("upgrade")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_key_goes_and_a_column_is_filled(pets: Project, database: str) -> None:
    """What is asked of people, for which there may be no way back, comes after the operations are in order."""
    without = BEFORE.replace('mapped_column(ForeignKey("user.id", ondelete="CASCADE"))', "mapped_column(Integer)")
    models(pets, USER, without.replace("    age:", "    bio: Mapped[str] = mapped_column(Text)\n    age:"))
    script = migrate(pets, "default=pet.bio:none")
    assert ["drop_constraint", "create_foreign_key"] == re.findall("drop_constraint|create_foreign_key", script)
    there_and_back(pets, database, lambda: None)


BOX = """
class Box(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    high: Mapped[int | None]
"""
CHECKED = """
    size: Mapped[str | None] = mapped_column(String(9))
    low: Mapped[int | None]
    __table_args__ = (
        CheckConstraint("size <> 'huge'", name="size"),
        CheckConstraint("low > 0", name="low"),
        CheckConstraint("low < high", name="order"),
    )
"""
SIZES = "INSERT INTO box (id, size, low, high) VALUES ({0}, {1}, {2}, {3})"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_checks_go_with_their_column(pets: Project, database: str, tmp_path: Path, elsewhere: bool) -> None:
    """The CHECKs of a column that is dropped go before it, and the downgrade brings them back, on each
    database; also by a script that was generated on SQLite. The review does not report them.
    """
    local = {}
    if elsewhere:
        local = {"DATABASE_URL": f"sqlite:///{tmp_path / 'local.db'}", "MIGRATION_TARGETS": "postgresql"}
        pets.ok("upgrade", **local)
    models(pets, USER, BEFORE, BOX + CHECKED)
    migrate(pets, **local)
    pets.ok("upgrade")
    if elsewhere:
        pets.ok("upgrade", **local)
    write(database, SIZES.format(3, "'big'", 1, 2))
    models(pets, USER, BEFORE, BOX)
    script = migrate(pets, **local)
    assert "create_check_constraint" in script
    found = json.loads(pets.db("review", "--format", "json", MIGRATION_TARGETS="sqlite").stdout)
    assert [] == [each["message"] for each in found if each["code"] != "drop-column"]
    before = schema(database)
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    pets.ok("downgrade", "-1")
    assert before == schema(database)
    write(database, SIZES.format(4, "'tiny'", 1, 2))
    for number, values in enumerate((("'huge'", 1, 2), ("'big'", 0, 2), ("'big'", 2, 1)), 5):
        with pytest.raises(DBAPIError):
            write(database, SIZES.format(number, *values))
    pets.ok("upgrade")


@pytest.mark.parametrize("targets", ["", "postgresql"])
def test_index_of_a_key_that_stays(pets: Project, database: str, targets: str) -> None:
    """MySQL drops no index that a foreign key needs, be it for good or to become another one of the same name."""
    pets.environ["MIGRATION_TARGETS"] = targets
    for column in ("index=True, unique=True", "index=True", ""):
        models(
            pets, USER, BEFORE, f"    user_id: Mapped[int | None] = mapped_column(ForeignKey('user.id'), {column})\n"
        )
        head = pets.db("current").stdout.split()[0]
        migrate(pets)
        before = schema(database)
        pets.ok("upgrade")
        assert AGREE in pets.ok("check")
        pets.ok("downgrade", head)
        assert before == schema(database)
        pets.ok("upgrade")


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_online_steps_by_name(pets: Project, database: str) -> None:
    """Indexes of one name in two schemas are two; one whose WHERE names a column that goes, goes with that; and a name
    made of long ones is not cut in two places.
    """
    write(database, "CREATE SCHEMA one", "CREATE SCHEMA two")
    factory = (pets.path / "app" / "__init__.py").read_text()
    pets.write("app/__init__.py", factory.replace("init_app(app, db)", "init_app(app, db, include_schemas=True)"))
    long = f"a_name_of_{'many_' * 8}letters"
    table = """
class {0}(db.Model):
    __tablename__ = "pet"
    __table_args__ = ({2}{{"schema": "{1}"}},)
    id: Mapped[int] = mapped_column(primary_key=True)
    kept: Mapped[int | None]
"""
    before = f"    gone: Mapped[int | None]\n    {long}: Mapped[int | None]\n"
    partial = 'Index("ix_partial", "kept", postgresql_where=db.text("gone > 0")), '
    models(pets, USER, BEFORE, table.format("One", "one", partial), before, table.format("Two", "two", ""))
    migrate(pets)
    pets.ok("upgrade")
    index = 'Index("ix_pet", "kept"), '
    after = f"    {long}: Mapped[int]\n"
    models(pets, USER, BEFORE, table.format("One", "one", index), after, table.format("Two", "two", index))
    migrate(pets)
    there_and_back(pets, database, lambda: None)
    found = inspect(engine := create_engine(database))
    assert [["ix_pet"]] * 2 == [
        [each["name"] for each in found.get_indexes("pet", schema)] for schema in ("one", "two")
    ]
    engine.dispose()


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_online_steps_reviewed(pets: Project, database: str) -> None:
    """The revisions made for indexes, and for the foreign keys of each table, have no findings."""
    column = "    cage_id: Mapped[int | None] = mapped_column(ForeignKey('cage.id'), index=True)\n"
    models(pets, USER + column, MORE, BEFORE + column)
    migrate(pets)
    found = json.loads(pets.db("review", "b0:head", "--format", "json").stdout)
    assert {"change.py"} == {finding["file"].rpartition("_")[2] for finding in found}, found
    names = " ".join(script.name for script in pets.scripts())
    assert {"toy", "user"} == set(re.findall(r"add_foreign_keys_to_(\w+)\.py", names))
    there_and_back(pets, database, lambda: None)


@on_postgresql
def test_growing_enum_of_sqlite(project: Project, database: str, tmp_path: Path) -> None:
    """On SQLite an enum with a longer value is a longer VARCHAR. With PostgreSQL among the targets, the review says
    that the type exists there, and how to add the value.
    """
    local = {"DATABASE_URL": f"sqlite:///{tmp_path / 'local.db'}", "MIGRATION_TARGETS": "postgresql"}
    kind = "\nclass Kind(Enum):\n    CAT = 'c'\n    DOG = 'd'\n"
    user = USER + "    kind: Mapped[Kind | None]\n"
    for script in project.scripts():
        script.unlink()
    models(project, kind, user)
    project.ok("migrate", **local)
    project.ok("upgrade", **local)
    models(project, kind + "    ELEPHANT = 'e'\n", user)
    done = project.db("migrate", MIGRATION_REVIEW="enforce", **local)
    assert (
        "creates enum kind, which exists already because user.kind has this type; this fails (enum-value)"
        in done.stderr
    )
    add = "    op.execute(\"ALTER TYPE kind ADD VALUE IF NOT EXISTS 'ELEPHANT'\")"
    assert add in done.stderr
    script = project.scripts()[-1]
    alter = (
        "    if op.get_context().dialect.name == 'sqlite':\n"
        "        with op.batch_alter_table('user') as batch_op:\n"
        "            batch_op.alter_column('kind', existing_type=sa.String({}), type_=sa.String({}))\n"
    )
    head, _, _ = script.read_text().partition("def upgrade")
    on_postgresql = f"    if op.get_context().dialect.name == 'postgresql':\n    {add}\n"
    up, down = alter.format(3, 8) + on_postgresql, alter.format(8, 3)
    script.write_text(f"{head}def upgrade() -> None:\n{up}\n\ndef downgrade() -> None:\n{down}")
    project.ok("upgrade", **local)
    project.ok("upgrade")
    assert AGREE in project.ok("check")
    write(database, "INSERT INTO {user} (id, username, email, kind) VALUES (1, 'a', 'b', 'DOG')")
    project.ok("downgrade", "-1")
    write(database, "UPDATE {user} SET kind = 'CAT'::kind")
    project.ok("upgrade")
    write(database, "UPDATE {user} SET kind = 'ELEPHANT'")
    for target in ("-1", "base"):
        project.ok("downgrade", target, **local)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_added_values(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """Values that an enum gets are seen, and added in the models' order, in a revision before what uses them; they stay
    when that is taken back, and a rehearsal knows that nobody can help it.
    """
    kind = "\nclass Kind(Enum):\n    CAT = 'c'\n    DOG = 'd'\n"
    user = USER + "    kind: Mapped[Kind | None]\n"
    models(pets, kind, user, BEFORE)
    migrate(pets)
    pets.ok("upgrade")
    more = kind.replace("    DOG", "    BAT = 'b'\n    DOG") + "    EMU = 'e'\n"
    models(pets, more, user, BEFORE)
    done = pets.db("check")
    assert (1, True) == (done.returncode, "add_enum_value kind.BAT, add_enum_value kind.EMU." in done.stderr)
    migrate(pets)
    assert [] == json.loads(pets.ok("review", "--format", "json"))
    assert " ok" in pets.ok("rehearse")
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    assert [("CAT",), ("BAT",), ("DOG",), ("EMU",)] == rows("SELECT unnest(enum_range(NULL::kind))::text")

    models(
        pets, more + "    FOX = 'f'\n", user + "    other: Mapped[Kind] = mapped_column(server_default='FOX')\n", BEFORE
    )
    scripts = set(pets.scripts())
    migrate(pets)
    assert ["Add values to enums", "Change"] == [
        script.read_text().partition("\n")[0].strip('"') for script in pets.scripts() if script not in scripts
    ]
    rehearsed = pets.ok("rehearse")
    assert (2, 1) == (rehearsed.count(" ok"), rehearsed.count("type kind keeps its new values, which no "))
    pets.ok("upgrade")
    pets.ok("downgrade", "-2")
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_portable_types(pets: Project) -> None:
    """A script says a column's type in SQLAlchemy's words, not in PostgreSQL's: it may run on MySQL too."""
    models(pets, USER + "    born: Mapped[datetime | None]\n    gone: Mapped[datetime | None]\n", BEFORE)
    migrate(pets)
    pets.ok("upgrade")
    models(pets, USER + "    born_on: Mapped[date | None]\n", BEFORE)
    script = migrate(pets, "rename=user.born:born_on")
    assert "existing_type=sa.DateTime()" in script
    assert "sa.Column('gone', sa.DateTime()" in script
    assert "postgresql.TIMESTAMP" not in script


@pytest.mark.parametrize("backend", ["mysql", "postgresql"], indirect=True)
def test_now(pets: Project, tmp_path: Path) -> None:
    """The default func.now() is written as all databases know it: the script runs on SQLite, which has no now()."""
    models(pets, USER, BEFORE, "\nclass Log(db.Model):\n", COLUMN_OF_LOG)
    assert "server_default=sa.text('CURRENT_TIMESTAMP')" in migrate(pets)
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    pets.ok("upgrade", DATABASE_URL=f"sqlite:///{tmp_path / 'other.db'}")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_no_target(pets: Project) -> None:
    """Without PostgreSQL among the targets there is one script, as autogenerate has it."""
    add_more(pets)
    script = migrate(pets)
    assert 2 == len(pets.scripts())
    assert set() == {word for word in ("autocommit_block", "concurrently", "not_valid", "DROP TYPE") if word in script}


def test_unknown_tables(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """A table that no model defines is dropped if -x says so, else kept; `flask db check` reports it."""
    models(pets, USER, BEFORE.partition("class Toy")[0])
    scripts = pets.scripts()
    said = pets.ok("migrate", "-m", "Drop")
    assert "Keeping table toy, which no model defines. To drop it: flask db -x drop=toy migrate" in said
    assert scripts == pets.scripts()
    done = pets.db("check")
    assert (1, True) == (done.returncode, "remove_table toy" in done.stderr)
    assert 'flask db -x drop=toy migrate -m "..."' in done.stderr
    assert "the database has no table toys, or a model still defines it" in pets.db("-x", "drop=toys", "migrate").stderr
    assert [(1, 1, 2), (2, 2, None)] == rows("SELECT * FROM toy ORDER BY id")
    migrate(pets, "drop=toy")
    there_and_back(pets, database, lambda: None)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_unknown_tables_on_a_terminal(pets: Project) -> None:
    """There it is asked, and no is the answer that nobody has to give."""
    models(pets, USER, BEFORE.partition("class Toy")[0])
    done = asked(pets, "\n")
    assert "No model defines table toy. Drop it and all its rows? [y/N]" in done.stderr
    assert "Keeping table toy" in done.stderr
    asked(pets, "y\n\n")
    assert "op.drop_table('toy')" in pets.scripts()[-1].read_text()


TYPES = """
from sqlalchemy.dialects import postgresql
from sqlalchemy import JSON

from app.kinds import Choice, Money


class Thing(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Any] = mapped_column(Money(String(20)))
    kind: Mapped[Any] = mapped_column(Choice(["a", "b"]))
    many: Mapped[Any] = mapped_column(Choice("c").with_variant(Text(), "mysql"))
    data: Mapped[Any] = mapped_column(JSON().with_variant(postgresql.JSONB(astext_type=Text()), "postgresql"))
"""

KINDS = """
from sqlalchemy import String, TypeDecorator


class Money(TypeDecorator):
    impl = String
    cache_ok = True

    def __init__(self, kind=String(9)):
        self.kind = kind
        super().__init__(20)

    def __repr__(self):
        return f"Money(kind={self.kind!r})"


class Choice(TypeDecorator):
    impl = String
    cache_ok = True

    def __init__(self, choices):
        self.choices = choices
        super().__init__(20)
"""


def test_imports(pets: Project, database: str) -> None:
    """Types of the app, and types of one database inside of others, are imported by the script. A type whose own
    __init__ does not take what repr() shows is written as the type below it.
    """
    pets.write("app/kinds.py", KINDS)
    models(pets, USER, BEFORE, TYPES)
    script = migrate(pets)
    assert "import app.kinds\n" in script
    assert "app.kinds.Money(kind=sa.String(length=20))" in script
    assert "sa.Column('kind', sa.String(length=20), nullable=False)" in script
    assert "sa.Column('many', sa.String(length=20).with_variant(sa.Text(), 'mysql'), nullable=False)" in script
    assert "postgresql.JSONB(astext_type=sa.Text())" in script
    there_and_back(pets, database, lambda: None)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_imports_on_stock(pets: Project) -> None:
    """The damage: stock's script does not run."""
    pets.make_stock()
    pets.write("app/kinds.py", KINDS)
    models(pets, USER, BEFORE, TYPES)
    pets.ok("migrate")
    assert "NameError" in pets.db("upgrade").stderr


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_review_after(pets: Project) -> None:
    """What a review finds in the new script, for the targets too, is told on stderr; the exit status stays 0."""
    models(pets, USER, BEFORE.replace("    nick: Mapped[str | None] = mapped_column(String(40), index=True)\n", ""))
    done = pets.db("migrate", MIGRATION_REVIEW="enforce", MIGRATION_TARGETS="postgresql")
    assert (0, True) == (done.returncode, "blocks: revision" in done.stderr)
    assert "(drop-column)" in done.stderr
    assert "drop-column" not in done.stdout
    assert "drop-column" not in pets.db("revision", "-m", "Empty", MIGRATION_REVIEW="enforce").stderr


LEGACY = """
class Note(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None]
"""


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_unnamed_constraints(pets: Project, database: str) -> None:
    """`drop_constraint(None)` fails: where a constraint has no name in the database, the review says how to name it."""
    write(
        database,
        "CREATE TABLE note (id INTEGER NOT NULL PRIMARY KEY, user_id INTEGER REFERENCES user (id))",
        "INSERT INTO note VALUES (1, 2)",
    )
    models(pets, USER, BEFORE, LEGACY)
    done = pets.db("migrate", MIGRATION_REVIEW="enforce")
    assert "(unnamed-drop)" in done.stderr
    convention = "naming_convention={'fk': 'fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s'}"
    assert (
        f"if it has no name, pass {convention} to batch_alter_table() and write the name that this convention gives it:"
        in done.stderr
    )
    assert 1 == pets.db("upgrade").returncode
    script = pets.scripts()[-1]
    script.write_text(
        script.read_text()
        .replace("batch_alter_table('note', schema=None)", f"batch_alter_table('note', {convention})")
        .replace("drop_constraint(None", "drop_constraint('fk_note_user_id_user'")
    )
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    pets.ok("downgrade")
    assert "fk_note_user_id_user" in str(schema(database)["note"])


BARE_BOX = """
class Box(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    weight: Mapped[int | None]
    a: Mapped[int | None]
"""
GENERATED = "".join(
    f'    {name}: Mapped[int | None] = mapped_column(db.Computed("weight * {factor}", persisted=True))\n'
    for factor, name in enumerate("ghij", 2)
)


@pytest.mark.parametrize("seed", ["1", "2"])
def test_generated_columns_go_before_what_they_are_computed_from(pets: Project, database: str, seed: str) -> None:
    """The columns of a table are dropped in one order, whatever the seed of Python's hashes: generated ones first."""
    models(pets, USER, BEFORE, BARE_BOX + "    z: Mapped[int | None]\n" + GENERATED)
    migrate(pets)
    pets.ok("upgrade")
    write(database, "INSERT INTO box (id, weight) VALUES (1, 4)")
    models(pets, USER, BEFORE, BARE_BOX.replace("    weight: Mapped[int | None]\n    a: Mapped[int | None]\n", ""))
    upgrade, _, downgrade = migrate(pets, PYTHONHASHSEED=seed).partition("def downgrade")
    assert [*"jihg", "weight", "a", "z"] == re.findall(r"drop_column\('(\w+)'", upgrade)
    assert ["z", "a", "weight", *"ghij"] == re.findall(r"add_column\(sa.Column\('(\w+)'", downgrade)
    pets.ok("upgrade")
    pets.ok("downgrade", "-1")
    pets.ok("upgrade")


ALTERED = """
class Crate(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    box_id: Mapped[int | None] = mapped_column(ForeignKey("box.id", use_alter=True))
    crate_id: Mapped[int | None] = mapped_column(ForeignKey("crate.id", use_alter=True))
"""


def test_a_key_with_use_alter_is_created(pets: Project, database: str) -> None:
    """A new table gets its foreign keys that have use_alter, also where no tables refer to each other in a circle."""
    models(pets, USER, BEFORE, BARE_BOX, ALTERED)
    migrate(pets)

    def see() -> None:
        engine = create_engine(database)
        keys = inspect(engine).get_foreign_keys("crate")
        engine.dispose()
        assert ["box", "crate"] == sorted(key["referred_table"] for key in keys)

    there_and_back(pets, database, see)


DOUBLED = '    twice: Mapped[int] = mapped_column(db.Computed("weight * 2"){})\n'


@pytest.mark.parametrize("explicit", ["", ", nullable=False"])
def test_generated_column_that_is_not_null(
    pets: Project, database: str, rows: Callable[[str], list[Any]], explicit: str
) -> None:
    """A generated column that is NOT NULL in the models is created, in a table that is there and in a new one; without
    the NOT NULL where the script may run on MariaDB, which has none for it: no difference to `flask db check`.
    """
    weighed = BARE_BOX.replace("weight: Mapped[int | None]", "weight: Mapped[int]")
    models(pets, USER, BEFORE, weighed)
    migrate(pets)
    pets.ok("upgrade")
    write(database, "INSERT INTO box (id, weight) VALUES (1, 4)")
    doubled = DOUBLED.format(explicit)
    models(pets, USER, BEFORE, weighed + doubled, weighed.replace("Box", "Crate") + doubled)
    script = migrate(pets)
    null = database.startswith("mysql") and is_mariadb(make_url(database))
    assert 2 == len(re.findall(rf"'twice'.*nullable={null}\)", script))

    def see() -> None:
        assert [(8,)] == rows("SELECT twice FROM box")
        assert [] == rows("SELECT twice FROM crate")

    before = schema(database)
    pets.ok("upgrade")
    see()
    assert AGREE in pets.ok("check")
    pets.ok("downgrade", "-1")
    assert before == schema(database)
    pets.ok("upgrade")
    see()
