"""What `flask db migrate` generates runs, on every database, and can be taken back."""

import json
import re
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from .support import (
    AGREE,
    PETS,
    USERS,
    Models,
    generated_anywhere,
    is_mariadb,
    on_mysql,
    on_postgresql,
    on_servers,
    on_sqlite,
    revision,
    with_targets,
)

SAID = "it's 100%: \\"
# By column: its type, the value that is given for existing rows, and the one that they have then.
FILLED: dict[str, tuple[TypeEngine[Any], str, object]] = {
    "age": (sa.Integer(), "0", 0),
    "active": (sa.Boolean(), "yes", True),
    "name": (sa.String(40), SAID, SAID),
    "price": (sa.Numeric(8, 2), "1.50", Decimal("1.50")),
    "born": (sa.Date(), "2020-02-29", date(2020, 2, 29)),
    "bio": (sa.Text(), SAID, SAID),
    "more": (sa.JSON(), '{"a":"it\'s"}', {"a": "it's"}),
    "color": (sa.Enum("RED", "BLUE", name="color"), "BLUE", "BLUE"),
    "number": (sa.Uuid(), "12345678-1234-5678-1234-567812345678", UUID("12345678-1234-5678-1234-567812345678")),
    "raw": (sa.LargeBinary(), "it's", b"it's"),
    "seen": (sa.DateTime(), "CURRENT_TIMESTAMP", ANY),
    "day": (sa.Date(), "CURRENT_DATE", ANY),
    "hour": (sa.Time(), "CURRENT_TIMESTAMP", ANY),
}


def columns(nullable: bool = False) -> str:
    """Return the columns of FILLED, for a model."""
    lines = "    {}: Mapped[Any] = mapped_column(sa.{!r}, nullable={})\n"
    return "".join(lines.format(name, kind, nullable) for name, (kind, _, _) in FILLED.items())


VALUES = [sa.column(name, kind) for name, (kind, _, _) in FILLED.items()]
ANSWERS = [f"default=user.{name}:{given}" for name, (_, given, _) in FILLED.items()]


@with_targets
def test_defaults(pets: Models, targets: str) -> None:
    """Existing rows get the values that were given, of any type, and no rule stops the upgrade. The values stay as the
    columns' defaults: the release that is still running inserts rows without these columns. Neither `flask db check`
    nor `flask db migrate` takes that for a difference.
    """
    pets.environ["MIGRATION_TARGETS"] = targets
    pets.models(USERS + columns() + "    grade: Mapped[int] = mapped_column(server_default='7', index=True)\n", PETS)
    script = pets.migrate(*ANSWERS)
    assert [] == pets.blocking()
    assert len(FILLED) <= script.count("# A later revision may drop the default.\n")
    query = sa.select(*VALUES, sa.column("grade")).select_from(sa.table("user"))
    expected = (*(value for _, _, value in FILLED.values()), 7)

    def see() -> None:
        ((number,),) = pets.rows("SELECT COUNT(*) FROM {user}")
        pets.execute(f"INSERT INTO {{user}} (id, username, email) VALUES ({number + 1}, 'u{number}', 'e{number}')")
        with pets.engine.connect() as connection:
            found = connection.execute(query).all()
        assert [expected] * (number + 1) == [tuple(row) for row in found]
        assert {(True, time)} == {(row.day == row.seen.date(), type(row.hour)) for row in found}

    pets.there_and_back(see)
    assert AGREE in pets.ok("check")
    assert "" == pets.migrate()
    assert "drop_column" not in script.partition("def downgrade")[0]


@with_targets
def test_values_for_nulls(pets: Models, targets: str) -> None:
    """A column that becomes NOT NULL gets the value that was given, of any type, where it has none, and only there.

    No finding stops the upgrade of a database with rows. A revision of its own changes the rows, by one short line for
    each column.
    """
    pets.environ["MIGRATION_TARGETS"] = targets
    pets.become(USERS + columns(nullable=True), PETS)
    pets.execute("UPDATE {user} SET age = 7, name = 'x' WHERE id = 2")
    pets.models(USERS + columns(), PETS)
    pets.environ["MIGRATION_REVIEW"] = "enforce"
    before = pets.scripts()
    said = pets.ok(*(part for answer in ANSWERS for part in ("-x", answer)), "migrate")
    fill, *_others = [script.read_text() for script in pets.scripts() if script not in before]
    lines = re.findall(r"    op\.backfill\('user', \{'(\w+)': .*\}, where=sa\.column\('\w+'\)\.is_\(None\)\)\n", fill)
    assert [*FILLED] == lines
    assert ["import sqlalchemy as sa", "from alembic import op"] == re.findall(r"^(?:from|import) .*", fill, re.M)
    assert "safety_assured" not in fill
    codes = r"\((?:unbounded-data-change|backfill-with-ddl|missing-downgrade)\)"
    assert [] == re.findall(rf" (?:warns|blocks): .*{codes}", said)
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    with pets.engine.connect() as connection:
        query = sa.select(*VALUES).select_from(sa.table("user")).order_by(sa.column("id"))
        first, second = (tuple(row) for row in connection.execute(query))
    expected = [value for _, _, value in FILLED.values()]
    assert expected == list(first)
    assert [7, True, "x", *expected[3:]] == list(second)
    pets.ok("downgrade", "-1")
    pets.ok("upgrade")


TASKS = """
kinds = sa.Enum("r", "it's", name="kinds")
db.Table("a log", sa.Column("kind", kinds, nullable={0}){1})


class Task(db.Model):
    __tablename__ = "a task"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[Any] = mapped_column("the kind", kinds, nullable={0})
"""


def test_values_with_and_without_key(pets: Models) -> None:
    """Rows are filled in batches where the table has a primary key, else by one UPDATE: also those of a new column for
    whose default MySQL would copy the table. The review and a rehearsal find nothing, and the SQL is complete.
    """
    pets.environ |= {"MIGRATION_TARGETS": "sqlite,mysql,mariadb,postgresql", "MIGRATION_REVIEW": "enforce"}
    pets.become(USERS, PETS, TASKS.format(True, ""))
    tables = [("a task", "the kind"), ("a log", "kind")]
    with pets.engine.begin() as connection:
        for table, kind in tables:
            rows: list[dict[str, object]] = [{kind: "r"}, {kind: None}]
            connection.execute(sa.insert(sa.table(table, sa.column(kind))).values(rows))
    note = ", sa.Column('note', Text, nullable=False)"
    pets.models(USERS, PETS, TASKS.format(False, note), "    note: Mapped[str] = mapped_column(Text)\n")
    before, given = pets.scripts(), [(table, f"{column}:it's") for table, kind in tables for column in (kind, "note")]
    answers = [part for table, answer in given for part in ("-x", f"default={table}.{answer}")]
    said = pets.ok(*answers, "migrate", "-m", "Change")
    assert [] == re.findall(" (?:warns|blocks): .*", said)
    written = "".join(script.read_text() for script in pets.scripts() if script not in before)
    assert sorted(re.findall(r"(?<= )op\.(?:backfill|execute\(sa).*", written)) == [
        "op.backfill('a task', {'note': \"it's\"}, where=sa.column('note').is_(None))",
        "op.backfill('a task', {'the kind': \"it's\"}, where=sa.column('the kind').is_(None))",
        "op.execute(sa.table('a log', sa.column('kind')).update()"
        ".where(sa.column('kind').is_(None)).values({'kind': sa.literal(\"it's\", literal_execute=True)}))",
        "op.execute(sa.table('a log', sa.column('note')).update()"
        ".where(sa.column('note').is_(None)).values({'note': sa.literal(\"it's\", literal_execute=True)}))",
    ]
    ((head,),) = pets.rows("SELECT version_num FROM alembic_version")
    (last,) = re.findall(r"(?:.*\n)?.*Fill a task.the kind(?:.*\n)+?Revision ID: (.*)", written)
    sql = pets.ok("upgrade", f"{head}:{last}", "--sql")
    assert 2 == len(re.findall("^UPDATE .a (?:log|task).+='it''s' WHERE", sql, re.MULTILINE))
    assert len(pets.scripts()) - len(before) == pets.ok("rehearse").count(" ok")
    pets.there_and_back()
    for table, kind in tables:
        query = sa.select(sa.column(kind, sa.String()), sa.column("note", sa.String())).select_from(sa.table(table))
        with pets.engine.connect() as connection:
            assert {("it's", "it's"), ("r", "it's")} == {tuple(row) for row in connection.execute(query)}


def test_downgrade_of_dropped_columns(pets: Models) -> None:
    """A downgrade gives existing rows a value in each NOT NULL column that it adds again, and brings back the schema:
    the column has no default that it did not have.
    """
    thing = "class Thing(db.Model):\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
    pets.become(USERS, PETS, thing + columns() + "    level: Mapped[int] = mapped_column(server_default='7')\n")
    values = {name: value for name, (_, _, value) in FILLED.items() if value is not ANY}
    values |= {"seen": datetime(2026, 1, 1), "day": date(2026, 1, 1), "hour": time(1)}
    table = sa.table("thing", *(sa.column(name, kind) for name, (kind, _, _) in FILLED.items()), sa.column("id"))
    with pets.engine.begin() as connection:
        connection.execute(sa.insert(table).values(id=1, **values))
    pets.models(USERS, PETS, thing)
    script = pets.migrate()
    assert 1 == script.count("# The dropped values are lost.")
    pets.there_and_back()
    pets.ok("downgrade")
    assert [(1, 0, "", 0, 7)] == pets.rows("SELECT id, age, bio, price, level FROM thing")


def test_downgrade_of_constrained_columns(pets: Models) -> None:
    """A NOT NULL column whose constraints may refuse any default comes back as nullable, and so without a failure."""
    thing = "class Thing(db.Model):\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
    column = "    {}: Mapped[int] = mapped_column({})\n"
    more = (("code", "unique=True"), ("tag", "unique=True, index=True"), ("user_id", "ForeignKey('user.id')"))
    check = "    __table_args__ = (CheckConstraint('size > 0', name='has_size'),)\n"
    columns = "".join(column.format(*each) for each in (*more, ("size", ""), ("age", "")))
    pets.become(USERS, PETS, thing + columns + check)
    pets.execute("INSERT INTO thing (id, code, tag, user_id, size, age) VALUES (1, 1, 1, 1, 1, 1), (2, 2, 2, 2, 2, 2)")
    pets.models(USERS, PETS, thing)
    heads = pets.rows("SELECT version_num FROM alembic_version")
    pets.ok("-x", "safe=drop-column:unused", "migrate", "-m", "Drop")
    told = pets.ok("rehearse", MIGRATION_REVIEW="enforce")
    assert 4 == told.count("was NOT NULL, and is nullable after the downgrade"), told
    pets.ok("upgrade")
    pets.ok("downgrade", *heads[0])
    null = (1, None, None, None, None, 0)
    assert [null, (2, *null[1:])] == pets.rows("SELECT id, code, tag, user_id, size, age FROM thing ORDER BY id")


@on_mysql
def test_downgrade_of_types_of_mysql(pets: Models) -> None:
    """A downgrade also restores columns whose default MySQL takes only as an expression, or only with a precision."""
    thing = "from sqlalchemy.dialects import mysql\n\n\nclass Thing(db.Model):\n"
    thing += "    id: Mapped[int] = mapped_column(primary_key=True)\n"
    types = ("DATETIME(fsp=6)", "TIMESTAMP(fsp=3)", "TIME(fsp=3)", "MEDIUMTEXT(), comment='x'", "MEDIUMBLOB()")
    lines = "    c{}: Mapped[Any] = mapped_column(mysql.{}, nullable=False)\n"
    pets.become(USERS, PETS, thing, *(lines.format(number, type_) for number, type_ in enumerate(types)))
    pets.execute("INSERT INTO thing VALUES (1, now(), now(), '01:00', 'x', 'x')")
    pets.models(USERS, PETS, thing)
    pets.migrate()
    pets.there_and_back()
    pets.ok("downgrade")
    assert [("", b"")] == pets.rows("SELECT c3, c4 FROM thing")


@pytest.mark.parametrize(
    ("backend", "change"),
    [
        ("mysql", "sa.Enum('r', 's', name='nicks')"),
        ("postgresql", "sa.Enum('r', 's', name='nicks')"),
        ("postgresql", "sa.Enum('r', 's', 't', name='other_nicks')"),
        ("postgresql", "String(50)"),
    ],
    indirect=["backend"],
)
def test_types_between_which_postgresql_does_not_cast(pets: Models, change: str) -> None:
    """A text that becomes an enum, or an enum another enum, is converted in both directions with its default."""
    before = "String(40)" if change.endswith("'nicks')") else "sa.Enum('r', 's', name='nicks')"
    nick = PETS.replace(", index=True)\n    age", ", server_default='r')\n    age")
    pets.become(USERS, nick.replace("String(40)", before))
    pets.execute("UPDATE pet SET nick = 's' WHERE id = 2")
    pets.models(USERS, nick.replace("String(40)", change))
    pets.migrate()
    pets.there_and_back()
    assert [("s",)] == pets.rows("SELECT nick FROM pet WHERE id = 2")


def test_tables_dropped_in_order(pets: Models) -> None:
    """A table is dropped before the table to which it refers, whichever of their names comes first."""
    tables = [("A1", "b1"), ("B1", None), ("B2", "a2"), ("A2", None)]
    models = [
        f"class {name}(db.Model):\n    id: Mapped[int] = mapped_column(primary_key=True)\n"
        + (f"    other_id: Mapped[int] = mapped_column(ForeignKey('{other}.id'), index=True)\n" if other else "")
        for name, other in tables
    ]
    pets.become(USERS, PETS, *models)
    pets.execute(
        *(
            f"INSERT INTO {name.lower()} VALUES (1{', 1' if other else ''})"
            for name, other in (*tables[1::-1], *tables[:1:-1])
        )
    )
    pets.models(USERS, PETS)
    script = pets.migrate("drop=a1", "drop=a2", "drop=b1", "drop=b2")
    dropped = re.findall(r"op.drop_table\('(\w+)'", script)
    assert [True, True] == [dropped.index("a1") < dropped.index("b1"), dropped.index("b2") < dropped.index("a2")]
    pets.there_and_back()


@on_postgresql
def test_one_table_per_revision(pets: Models) -> None:
    """Each revision alters one existing table, so that PostgreSQL locks no two at once, and `review` agrees."""
    column = "    seen: Mapped[int] = mapped_column(server_default='0')\n"
    pets.models(USERS + column, PETS.replace("\n\n\nclass Toy", f"\n{column}\n\nclass Gadget") + column)
    pets.migrate("rename=toy:gadget")
    assert 3 == len(pets.scripts()[1:])
    said = json.loads(pets.db("review", "--format", "json").stdout)
    assert ["rename-table"] == [each["code"] for each in said]
    pets.there_and_back()


@on_sqlite
@pytest.mark.parametrize(("answer", "drops"), [("", 0), ("y\n", 1)])
def test_questions(pets: Models, answer: str, drops: int) -> None:
    """On a terminal the value for existing rows is asked, again if it does not fit; without an answer the column is
    stock's. So is whether to drop a table that no model defines: no is the answer that nobody has to give.
    """
    user = (
        "    age: Mapped[int]\n    name: Mapped[str] = mapped_column(String(40), default='x')\n    rank: Mapped[int]\n"
    )
    pets.models(USERS + user, PETS.partition("class Toy")[0])
    done = pets.asked(f"{answer}\nold\n7\n\n\n", "migrate")
    integer = "integer; Enter to skip"
    expected = [("age", integer), ("age", integer), ("name", "text; '' is an empty string"), ("rank", integer)]
    assert expected == re.findall(r"user\.(\w+) is NOT NULL\. Value for existing rows \((.*?)\)", done.stderr)
    assert "Error: 'old' is not an integer." in done.stderr
    assert "No model defines table toy. Drop it and all its rows? [y/N]" in done.stderr
    script = pets.scripts()[-1].read_text()
    assert "sa.Column('age', sa.Integer(), server_default='7', nullable=False)" in script
    assert "sa.Column('name', sa.String(length=40), server_default='x', nullable=False)" in script
    assert "sa.Column('rank', sa.Integer(), nullable=False)" in script
    assert (drops, 1 - drops) == (script.count("op.drop_table('toy')"), done.stderr.count("Keeping table toy"))


def key(table: str, options: str = "", of_key: str = "") -> str:
    """Return a column with a foreign key to the table."""
    return f"    {table}_id: Mapped[int | None] = mapped_column(ForeignKey('{table}.id'{of_key}){options})\n"


CAGE = """
class Cage(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[str | None] = mapped_column(String(9), index=True)
"""
CRATE = CAGE.replace("Cage", "Crate") + key("cage", of_key=", use_alter=True") + key("crate", of_key=", use_alter=True")
BOTH_KEYS = key("cage", ", index=True") + key("user", ", index=True")


KEYS = {
    # MySQL drops no index that a foreign key needs (1553), be it for good or to become another of the same name.
    "index": (PETS + key("user", ", index=True, unique=True"), PETS + key("user", ", index=True")),
    "needed index": (PETS + key("user", ", index=True"), PETS + key("user")),
    # MySQL and MariaDB report a unique constraint as an index; SQLite could not drop it as one.
    "unique constraints": (
        PETS + key("user", ", unique=True"),
        PETS.replace("String(80), unique=True", "String(80)") + key("user"),
    ),
    "keys and their table": (CAGE + PETS + BOTH_KEYS, PETS + "    user_id: Mapped[int | None]\n"),
    # A new table gets its keys with use_alter also where no tables refer to each other in a circle.
    "use_alter": (PETS, PETS + CAGE + CRATE),
}


@pytest.mark.parametrize(
    ("backend", "targets", "before", "after"),
    [
        pytest.param(backend, targets, *KEYS[case], id=f"{case} {backend}")
        for backend, targets, cases in (
            ("sqlite", "postgresql", [*KEYS][2:]),
            ("mysql", "", KEYS),
            ("postgresql", "", [*KEYS][3:]),
        )
        for case in cases
    ],
    indirect=["backend"],
)
def test_keys_and_constraints(pets: Models, tmp_path: Path, targets: str, before: str, after: str) -> None:
    """A foreign key goes before the index and the table that it needs, one that stays keeps an index, and a unique
    constraint goes as one. A script of a server goes forth and back on SQLite too.
    """
    pets.environ["MIGRATION_TARGETS"] = targets
    pets.become(USERS, before)
    answers = []
    if CAGE in before:
        pets.execute("INSERT INTO cage (id) VALUES (1)", "UPDATE toy SET cage_id = 1, user_id = 1")
        answers = ["drop=cage"]
    pets.models(USERS, after)
    pets.migrate(*answers)
    pets.there_and_back()
    if pets.engine.dialect.name != "sqlite":
        for args in (("upgrade",), ("downgrade", "b0"), ("upgrade",)):
            pets.ok(*args, DATABASE_URL=f"sqlite:///{tmp_path / 'other.db'}")


@on_sqlite
def test_a_key_goes_and_a_column_is_filled(pets: Models) -> None:
    """What is asked of people, for which there may be no way back, comes after the operations are in order."""
    without = PETS.replace('mapped_column(ForeignKey("user.id", ondelete="CASCADE"))', "mapped_column(Integer)")
    pets.models(USERS, without.replace("    age:", "    bio: Mapped[str] = mapped_column(Text)\n    age:"))
    script = pets.migrate("default=pet.bio:none")
    assert ["drop_constraint", "create_foreign_key"] == re.findall("drop_constraint|create_foreign_key", script)
    pets.there_and_back()


KIND = """
class Kind(Enum):
    CAT = "c"
    DOG = "d"
"""
BOWL = """
class Size(Enum):
    BIG = "b"


class Bowl(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[Kind]
    size: Mapped[Size]
"""


def test_online_steps(pets: Models, backend: str) -> None:
    """With PostgreSQL among the targets, indexes come and go concurrently, each in a revision of its own; a unique
    constraint comes by such an index, and NOT NULL by a CHECK. No revision alters two tables. Foreign keys come NOT
    VALID, in a revision for each table, and are validated in one more; enums go with the downgrade. No rule blocks, and
    it all runs on every database, up, down and up again.
    """
    pets.environ["MIGRATION_TARGETS"] = "postgresql>=13"
    pets.execute("UPDATE pet SET nick = 't' WHERE nick IS NULL")
    unique = "nick: Mapped[str] = mapped_column(String(60), unique=True)\n    kind: Mapped[Kind | None]"
    after = PETS.replace("nick: Mapped[str | None] = mapped_column(String(40), index=True)", unique)
    after = after.replace('Index("ix_pet_both", "name", "age")', 'Index("ix_pet_both", "age", "name")')
    after = after.replace('"user.id", ondelete="CASCADE")', '"user.id", ondelete="RESTRICT"), index=True')
    indexed = key("cage", ", index=True")
    pets.models(KIND, CAGE, BOWL, USERS + indexed, after + indexed)
    script = pets.migrate()
    found = json.loads(pets.db("review", "b0:head", "--format", "json").stdout)
    assert [] == [finding for finding in found if finding["level"] == "blocks"]
    if backend == "postgresql":
        assert {"add-unique", "set-not-null"} == {finding["code"] for finding in found}
    expected = [
        "change",  # of the type of nick
        "change_toy",
        "change_user",
        "drop_index_ix_pet_both",
        "create_index_ix_pet_both",
        "create_index_ix_pet_owner_id",
        "create_index_ix_toy_cage_id",
        "create_index_ix_user_cage_id",
        "create_unique_index_uq_pet_nick",
        "add_constraint_uq_pet_nick",
        "drop_index_ix_pet_nick",
        "add_foreign_keys_to_pet",
        "add_foreign_keys_to_toy",
        "add_foreign_keys_to_user",
        "validate_foreign_keys",
        "add_not_null_check_to_pet_nick",
        "make_pet_nick_not_null",
    ]
    listed = pets.scripts()[1:]
    assert listed == sorted(listed)
    assert expected == [script.stem.split("_", 3)[3] for script in listed]
    concurrently = re.findall(r"autocommit_block\(\):\n +op\.(\w+)\(op\.f\('(\w+)'", script)
    assert {("drop_index", "ix_pet_nick"), ("create_index", "ix_toy_cage_id")} <= set(concurrently)
    assert 3 == len(re.findall(r"create_foreign_key\(.*postgresql_not_valid=True", script))
    assert "op.execute('ALTER TABLE toy VALIDATE CONSTRAINT fk_toy_cage_id_cage')" in script
    assert {"kind", "size"} == set(re.findall(r"DROP TYPE IF EXISTS (\w+)", script))
    for sql in (script, *([pets.ok("upgrade", "b0:head", "--sql")] if backend == "postgresql" else [])):
        assert ["kind", "size"] == sorted(re.findall(r"CREATE TYPE (\w+) AS ENUM", sql))
    for args in (("upgrade",), ("downgrade", "b0"), ("upgrade",)):
        pets.ok(*args)
    assert AGREE in pets.ok("check")
    assert [("r",), ("t",)] == pets.rows("SELECT nick FROM pet ORDER BY id")
    for value in ("NULL", "'r'"):
        with pytest.raises(DBAPIError):
            pets.execute(f"UPDATE pet SET nick = {value}")


@on_sqlite
def test_no_answer_and_no_target(pets: Models) -> None:
    """Without a terminal, answers and PostgreSQL among the targets there is one script, as autogenerate has it: a NOT
    NULL column without a value fails on rows.
    """
    toy = "    kind: Mapped[Kind | None]\n    size: Mapped[int]\n" + key("cage", ", index=True")
    pets.models(KIND, CAGE, BOWL, USERS, PETS + toy)
    script = pets.migrate()
    assert 2 == len(pets.scripts())
    assert [] == re.findall("autocommit_block|concurrently|not_valid|DROP TYPE|server_default", script)
    assert "NOT NULL" in pets.fails("upgrade")


def test_constraint_gets_another_name(pets: Models, backend: str) -> None:
    """A unique constraint or an index that differs in its name alone is renamed: at no time does the table take
    duplicates, and the review finds nothing.
    """
    named = 'db.UniqueConstraint("name", name="pet_name_key"), Index("both", "name", "age")'
    after = PETS.replace("String(80), unique=True", "String(80)")
    pets.models(USERS, after.replace('Index("ix_pet_both", "name", "age")', named))
    script = pets.migrate()
    if backend == "postgresql":
        assert [] == json.loads(pets.ok("review", "--format", "json"))
    assert 2 == len(pets.scripts())
    assert "ALTER TABLE pet RENAME CONSTRAINT uq_pet_name TO pet_name_key" in script
    pets.there_and_back()
    assert {"pet_name_key", "both"} <= set(re.findall(r"\w+", str(pets.schema()["pet"])))


@with_targets
def test_uniqueness_is_replaced_without_a_gap(pets: Models, targets: str) -> None:
    """What is unique is dropped last, after what takes its place: at each revision, and between two statements, the
    table refuses duplicates.
    """
    pets.environ["MIGRATION_TARGETS"] = targets
    pets.models(USERS, PETS.replace("String(80), unique=True", "String(80), unique=True, index=True"))
    upgrades = "".join(re.findall(r"def upgrade.*?def downgrade", pets.migrate(), re.DOTALL))
    create, drop = "create_index(op.f('ix_pet_name')", "drop_constraint(op.f('uq_pet_name')"
    assert upgrades.replace("batch_op", "op").index(create) < upgrades.replace("batch_op", "op").index(drop)
    for script in pets.scripts()[1:]:
        pets.ok("upgrade", script.stem.split("_")[2])
        with pytest.raises(DBAPIError):
            pets.execute("UPDATE pet SET name = 'rex'")
    pets.ok("downgrade", "b0")
    pets.there_and_back()


EVENT = """
class Event(db.Model):
    __table_args__ = ({0}{{"postgresql_partition_by": "RANGE (id)"}},)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(20){1})
    user_id: Mapped[int | None]{2}
"""


@on_postgresql
def test_partitioned_tables(pets: Models) -> None:
    """What a partitioned table gets is not created concurrently, nor NOT VALID: PostgreSQL refuses that. A partition
    is not a table that the models lack.
    """
    pets.become(USERS, PETS, EVENT.format("", "", ""))
    pets.execute(
        "CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (1) TO (9)",
        "CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (9) TO (99)",
        "INSERT INTO event (id, name) VALUES (1, 'one'), (9, 'nine')",
    )
    assert AGREE in pets.ok("check")
    scripts = pets.scripts()
    assert "event_1" not in pets.ok("migrate")
    assert scripts == pets.scripts()

    owner = ' = mapped_column(ForeignKey("user.id"))'
    pets.models(USERS, PETS, EVENT.format('db.UniqueConstraint("name", "id"), ', ", index=True", owner))
    pets.migrate()
    blocks = {each["code"]: each["instead"] for each in pets.blocking()}
    assert {"create-index-blocks-writes", "unique-constraint-blocks", "constraint-scan-blocks"} == set(blocks)
    assert [True] * 3 == [instead.startswith("run this revision in a quiet period") for instead in blocks.values()]
    pets.there_and_back()


@on_postgresql
@pytest.mark.parametrize("stock", [True, False])
def test_half_made_index(pets: Models, stock: bool) -> None:
    """A concurrent index that fails leaves an invalid one: stock cannot go on, here the next run creates it again."""
    body = "with op.get_context().autocommit_block():\n    op.create_index('ix', 'pet', ['age'], {}unique=True)"
    pets.write(*revision("a1", "b0", body.format("postgresql_concurrently=True, ")))
    pets.execute("UPDATE pet SET age = 5")
    assert "could not create unique index" in pets.fails("upgrade")
    pets.execute("UPDATE pet SET age = id")
    if stock:
        pets.make_stock()
    done = pets.db("upgrade")
    said = 'relation "ix" already exists' if stock else "Dropped the invalid index ix"
    assert (int(stock), True) == (done.returncode, said in done.stderr)


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


@generated_anywhere
def test_checks_go_with_their_column(pets: Models, generating: dict[str, str]) -> None:
    """The CHECKs of a column that is dropped go before it, and the downgrade brings them back, on each
    database; also by a script that was generated on SQLite. The review does not report them.
    """
    pets.become(USERS, PETS, BOX + CHECKED, **generating)
    pets.ok("upgrade")
    pets.execute("INSERT INTO box (id, size, low, high) VALUES (1, 'big', 1, 2)")
    pets.models(USERS, PETS, BOX)
    assert "create_check_constraint" in pets.migrate(**generating)
    found = json.loads(pets.db("review", "--format", "json", MIGRATION_TARGETS="sqlite").stdout)
    assert [] == [each["message"] for each in found if each["code"] != "drop-column"]
    pets.there_and_back()
    pets.ok("downgrade", "-1")
    for values in ("'huge', 1, 2", "'big', 0, 2", "'big', 2, 1"):
        with pytest.raises(DBAPIError):
            pets.execute(f"INSERT INTO box (id, size, low, high) VALUES (2, {values})")


@on_postgresql
def test_online_steps_by_name(pets: Models) -> None:
    """Indexes of one name in two schemas are two; one whose WHERE names a column that goes, goes with that; and a name
    made of long ones is not cut in two places.
    """
    pets.execute("CREATE SCHEMA one", "CREATE SCHEMA two")
    pets.configure("include_schemas=True")
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
    pets.become(USERS, PETS, table.format("One", "one", partial), before, table.format("Two", "two", ""))
    index = 'Index("ix_pet", "kept"), '
    after = f"    {long}: Mapped[int]\n"
    pets.models(USERS, PETS, table.format("One", "one", index), after, table.format("Two", "two", index))
    pets.execute("INSERT INTO one.pet (id) VALUES (1)")
    fill = f"op.backfill('pet', {{'{long}': 7}}, where=sa.column('{long}').is_(None), schema='one')\n"
    assert fill in pets.migrate(f"default=one.pet.{long}:7")
    pets.there_and_back()
    found = pets.rows("SELECT schemaname FROM pg_indexes WHERE tablename = 'pet' AND indexname = 'ix_pet' ORDER BY 1")
    assert [("one",), ("two",)] == found


@on_postgresql
def test_growing_enum_of_sqlite(empty: Models, tmp_path: Path) -> None:
    """On SQLite an enum with a longer value is a longer VARCHAR. With PostgreSQL among the targets, the review says
    that the type exists there, and how to add the value.
    """
    local = {"DATABASE_URL": f"sqlite:///{tmp_path / 'local.db'}", "MIGRATION_TARGETS": "postgresql"}
    user = USERS + "    kind: Mapped[Kind | None]\n"
    empty.become(KIND, user, **local)
    empty.models(KIND + "    ELEPHANT = 'e'\n", user)
    said = empty.ok("migrate", MIGRATION_REVIEW="enforce", **local)
    assert "creates enum kind, which exists already because user.kind has this type; this fails (enum-value)" in said
    add = "op.execute(\"ALTER TYPE kind ADD VALUE IF NOT EXISTS 'ELEPHANT'\")"
    assert f"\n    {add}\n" in said
    first, second = empty.scripts()
    second.unlink()
    empty.write(*revision("a2", first.stem.split("_")[2], add))
    empty.ok("upgrade")
    assert AGREE in empty.ok("check")


@on_postgresql
def test_added_values(pets: Models) -> None:
    """Values that an enum gets are seen, and added in the models' order, in a revision before what uses them; they stay
    when that is taken back, and a rehearsal knows that nobody can help it.
    """
    user = USERS + "    kind: Mapped[Kind | None]\n"
    pets.become(KIND, user, PETS)
    more = KIND.replace("    DOG", "    BAT = 'b'\n    DOG") + "    EMU = 'e'\n"
    pets.models(more, user, PETS)
    done = pets.db("check")
    assert (1, True) == (done.returncode, "add_enum_value kind.BAT, add_enum_value kind.EMU." in done.stderr)
    pets.migrate()
    assert [] == json.loads(pets.ok("review", "--format", "json"))
    assert " ok" in pets.ok("rehearse")
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    assert [("CAT",), ("BAT",), ("DOG",), ("EMU",)] == pets.rows("SELECT unnest(enum_range(NULL::kind))::text")

    other = "    other: Mapped[Kind] = mapped_column(server_default='FOX')\n"
    pets.models(more + "    FOX = 'f'\n", user + other, PETS)
    assert ["Add values to enums", "Change"] == re.findall(r'^"""(.+)$', pets.migrate(), re.MULTILINE)
    rehearsed = pets.ok("rehearse")
    assert (2, 1) == (rehearsed.count(" ok"), rehearsed.count("type kind keeps its new values, which no "))
    pets.ok("upgrade")
    pets.ok("downgrade", "-2")
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")


@on_servers
def test_portable_types_and_defaults(pets: Models, tmp_path: Path) -> None:
    """A script says types in SQLAlchemy's words, not in the server's, and the default func.now() as all databases know
    it: it runs on SQLite, which has no now().
    """
    gone = "    born: Mapped[datetime | None]\n    gone: Mapped[datetime | None]\n"
    at = "    at: Mapped[datetime] = mapped_column(server_default=db.func.now())\n"
    assert "server_default=sa.text('CURRENT_TIMESTAMP')" in pets.become(USERS, PETS + gone, BOX + at)
    assert AGREE in pets.ok("check")
    pets.models(USERS, PETS + "    born_on: Mapped[date | None]\n", BOX + at)
    script = pets.migrate("rename=toy.born:born_on")
    assert "existing_type=sa.DateTime()" in script
    assert "sa.Column('gone', sa.DateTime()" in script
    assert "postgresql." not in script
    pets.ok("upgrade", DATABASE_URL=f"sqlite:///{tmp_path / 'other.db'}")


TYPES = """
from sqlalchemy.dialects import postgresql

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


class Choice(TypeDecorator):
    impl = String
    cache_ok = True

    def __init__(self, choices):
        self.choices = choices
        super().__init__(20)


class Money(Choice):
    def __repr__(self):
        return f"Money({self.choices!r})"
"""


@on_sqlite
def test_imports(pets: Models) -> None:
    """Types of the app, and types of one database inside of others, are imported by the script. A type whose own
    __init__ does not take what repr() shows is written as the type below it.
    """
    pets.write("app/kinds.py", KINDS)
    pets.models(USERS, PETS, TYPES)
    script = pets.migrate()
    assert "import app.kinds\n" in script
    assert "app.kinds.Money(sa.String(length=20))" in script
    assert "sa.Column('kind', sa.String(length=20), nullable=False)" in script
    assert "sa.Column('many', sa.String(length=20).with_variant(sa.Text(), 'mysql'), nullable=False)" in script
    assert "postgresql.JSONB(astext_type=sa.Text())" in script
    pets.there_and_back()


@on_sqlite
def test_review_after(pets: Models) -> None:
    """The findings in the new script, for the targets too, are printed on stderr; the exit status stays 0."""
    pets.models(USERS, PETS.replace("    nick: Mapped[str | None] = mapped_column(String(40), index=True)\n", ""))
    done = pets.db("migrate", MIGRATION_REVIEW="enforce", MIGRATION_TARGETS="postgresql")
    assert (0, True) == (done.returncode, "blocks: revision" in done.stderr)
    assert "(drop-column)" in done.stderr
    assert "drop-column" not in done.stdout
    assert "drop-column" not in pets.db("revision", "-m", "Empty", MIGRATION_REVIEW="enforce").stderr


@on_sqlite
@pytest.mark.filterwarnings("ignore:Autogenerate rendered a drop_constraint")
def test_unnamed_constraints(pets: Models) -> None:
    """`drop_constraint(None)` fails: where a constraint has no name in the database, the review says how to name it."""
    pets.execute(
        "CREATE TABLE note (id INTEGER NOT NULL PRIMARY KEY, user_id INTEGER REFERENCES user (id))",
        "INSERT INTO note VALUES (1, 2)",
    )
    pets.models(USERS, PETS, BOX.replace("Box", "Note").replace("high:", "user_id:"))
    done = pets.db("migrate", MIGRATION_REVIEW="enforce")
    assert "(unnamed-drop)" in done.stderr
    convention = "naming_convention={'fk': 'fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s'}"
    fix = (
        f"if it has no name, pass {convention} to batch_alter_table() and write the name that this convention gives it:"
    )
    assert fix in done.stderr
    assert 1 == pets.db("upgrade").returncode
    script = pets.scripts()[-1]
    named = script.read_text().replace("drop_constraint(None", "drop_constraint('fk_note_user_id_user'")
    script.write_text(named.replace("table('note', schema=None)", f"table('note', {convention})"))
    pets.ok("upgrade")
    assert AGREE in pets.ok("check")
    pets.ok("downgrade")
    assert "fk_note_user_id_user" in str(pets.schema()["note"])


def test_generated_columns_go_before_what_they_are_computed_from(pets: Models) -> None:
    """The columns of a table are dropped in one order, whatever the seed of Python's hashes: generated ones first."""
    plain = BOX.replace("high:", "weight:") + "    a: Mapped[int | None]\n    z: Mapped[int | None]\n"
    generated = "".join(
        f'    {name}: Mapped[int | None] = mapped_column(db.Computed("weight * {factor}", persisted=True))\n'
        for factor, name in enumerate("ghij", 2)
    )
    pets.become(USERS, PETS, plain + generated)
    pets.execute("INSERT INTO box (id, weight) VALUES (1, 4)")
    pets.models(USERS, PETS, BOX.partition("    high:")[0])
    upgrade, _, downgrade = pets.migrate().partition("def downgrade")
    assert [*"jihg", "weight", "a", "z"] == re.findall(r"drop_column\('(\w+)'", upgrade)
    assert ["z", "a", "weight", *"ghij"] == re.findall(r"add_column\(sa.Column\('(\w+)'", downgrade)
    pets.there_and_back()


@pytest.mark.filterwarnings("ignore:Computed column")
def test_generated_column_that_is_not_null(pets: Models) -> None:
    """A generated column that is NOT NULL in the models is created, in a table that is there and in a new one; without
    the NOT NULL where the script may run on MariaDB, which has none for it: no difference to `flask db check`.
    """
    pets.become(USERS, PETS, BOX)
    pets.execute("INSERT INTO box (id, high) VALUES (1, 4)")
    doubled = '    twice: Mapped[int] = mapped_column(db.Computed("high * 2"), nullable=False)\n'
    pets.models(USERS, PETS, BOX + doubled, BOX.replace("Box", "Crate") + doubled)
    null = pets.engine.dialect.name == "mysql" and is_mariadb(pets.engine.url)
    assert 2 == len(re.findall(rf"'twice'.*nullable={null}\)", pets.migrate()))

    def see() -> None:
        assert [(8,)] == pets.rows("SELECT twice FROM box")
        assert [] == pets.rows("SELECT twice FROM crate")

    pets.there_and_back(see)


@on_mysql
def test_index_of_a_dropped_foreign_key(pets: Models) -> None:
    """The index that the server made for a foreign key, and leaves when it is dropped, is not a difference."""
    script = pets.become(
        USERS, PETS.replace('mapped_column(ForeignKey("user.id", ondelete="CASCADE"))', "mapped_column()")
    )
    assert ["fk_pet_owner_id_user"] == re.findall(r"drop_constraint\(batch_op.f\('(.*?)'", script)
    assert AGREE in pets.ok("check")
    pets.ok("downgrade")
    pets.ok("upgrade")
