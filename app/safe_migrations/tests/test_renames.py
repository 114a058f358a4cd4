"""Renames keep the rows: `flask db migrate` asks on a terminal, and takes -x rename=... anywhere."""

import re

import pytest
from sqlalchemy import make_url

from .support import PETS, USERS, Models, generated_anywhere, on_servers, on_sqlite, revision

BOX = """
class Box(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(9))
"""
NICKNAMED = PETS.replace("nick:", "nickname:")
ASKED = "Was pet.nick renamed to pet.nickname?"


@generated_anywhere
def test_columns(pets: Models, generating: dict[str, str]) -> None:
    """Columns keep their values, and their unique constraints, indexes and foreign keys, on each database; also if
    the script was generated on SQLite.
    """
    after = NICKNAMED.replace("name:", "title:").replace("nicktitle:", "nickname:").replace('"name"', '"title"')
    pets.models(USERS.replace("username:", "login:"), after.replace("owner_id:", "keeper_id:"))
    columns = ("user.username:login", "pet.name:title", "pet.nick:nickname", "pet.owner_id:keeper_id")
    assert "drop_column" not in pets.migrate(*(f"rename={column}" for column in columns), **generating)

    def see() -> None:
        assert [(1, "ann"), (2, "bob")] == pets.rows("SELECT id, login FROM {user} ORDER BY id")
        expected = [(1, "rex", "r", 3, 1), (2, "tom", None, 5, None)]
        assert expected == pets.rows("SELECT id, title, nickname, age, keeper_id FROM pet ORDER BY id")

    pets.there_and_back(see)
    assert {"uq_pet_title"} == set(re.findall(r"uq_pet_\w+", str(pets.schema())))


def test_column_of_a_check(pets: Models, backend: str) -> None:
    """A CHECK follows the rename of its column. MySQL and MariaDB refuse that: no script is written, and what the
    message says to do helps.
    """
    pets.models(USERS, PETS.replace("age:", "years:").replace('"age"', '"years"').replace("age >= 0", "years >= 0"))
    if backend == "mysql":
        scripts = pets.scripts()
        said = pets.fails("-x", "rename=pet.age:years", "migrate")
        assert "MySQL and MariaDB cannot rename pet.age while CHECK ck_pet_age_not_negative names it." in said
        assert scripts == pets.scripts()
        line = "op.drop_constraint(op.f('ck_pet_age_not_negative'), 'pet', type_='check')"
        assert f"    {line}\n" in said
        pets.write(*revision("c1", "b0", line))
        pets.ok("upgrade")
    assert "drop_column" not in pets.migrate("rename=pet.age:years")
    pets.there_and_back()
    assert [(1, 3), (2, 5)] == pets.rows("SELECT id, years FROM pet ORDER BY id")


def test_nothing_about_constraints_that_follow(pets: Models) -> None:
    """Neither the review nor the upgrade reports constraints that follow a rename as dropped, added or violated."""
    animals = PETS.replace("class Pet(", "class Animal(").replace("ix_pet", "ix_animal").replace("pet.id", "animal.id")
    pets.models(USERS.replace("username", "login"), animals)
    pets.environ["MIGRATION_REVIEW"] = "enforce"
    answers = "rename=pet:animal", "rename=user.username:login", "safe=rename-table:x", "safe=rename-column:x"
    assert "'ck_pet_age_not_negative'" in pets.migrate(*answers)
    said = pets.ok("review") + pets.ok("upgrade")
    assert not re.search(r"\((drop-constraint|add-[a-z-]+)\)", said), said


def test_tables(pets: Models) -> None:
    """Tables with a column of each, and with what else changes in them: indexes, unique constraints and
    CHECKs follow, keys keep their names.
    """
    after = NICKNAMED.replace("Pet(", "Animal(").replace("ix_pet", "ix_animal").replace("pet.id", "animal.id")
    after = after.replace("String(80)", "String(90)").replace("Toy(", "Plaything(").replace("pet_id:", "animal_id:")
    pets.models(USERS, after)
    answers = ("pet:animal", "toy:plaything", "animal.nick:nickname", "toy.pet_id:animal_id")
    assert "drop_table" not in pets.migrate(*(f"rename={answer}" for answer in answers))

    def see() -> None:
        expected = [(1, "rex", "r", 3, 1), (2, "tom", None, 5, None)]
        assert expected == pets.rows("SELECT id, name, nickname, age, owner_id FROM animal ORDER BY id")
        assert [(1, 1, 2), (2, 2, None)] == pets.rows("SELECT id, animal_id, spare_id FROM plaything ORDER BY id")

    pets.there_and_back(see)
    names = set(re.findall(r"(?:ix|uq|ck|fk|pk)_(?:pet|toy|animal|plaything)_?\w*", str(pets.schema())))
    assert {"ix_animal_both", "ix_animal_nickname", "uq_animal_name", "ix_plaything_animal_id"} <= names
    assert not [name for name in names if re.match("(ix|uq|ck)_(pet|toy)", name)]
    assert {"ck_animal_age_not_negative", "fk_toy_pet_id_pet", "fk_toy_spare_id_pet"} <= names


def test_primary_key(pets: Models) -> None:
    """A renamed key is still numbered by the database, by AUTO_INCREMENT or by the sequence that it had."""
    pets.become(USERS, PETS, BOX)
    pets.execute("INSERT INTO box (label) VALUES ('a')")
    pets.models(USERS, PETS, BOX.replace("id:", "number:").replace("Box(", "Crate("))
    assert "RENAME COLUMN id TO number" in pets.migrate("rename=box:crate", "rename=box.id:number")
    pets.ok("upgrade")
    pets.execute("INSERT INTO crate (label) VALUES ('b')")
    assert [(1, "a"), (2, "b")] == pets.rows("SELECT number, label FROM crate ORDER BY number")
    pets.ok("downgrade", "-1")
    pets.execute("INSERT INTO box (label) VALUES ('c')")
    assert [(1,), (2,), (3,)] == pets.rows("SELECT id FROM box ORDER BY id")


@on_servers
def test_renamed_unique_index(pets: Models) -> None:
    """A unique index that a script renamed is dropped as one, though MySQL reports it as a unique constraint too."""
    indexed = BOX.replace("String(9)", "String(9), index=True, unique=True")
    pets.become(USERS, PETS, indexed)
    pets.models(USERS, PETS, indexed.replace("label:", "name:"))
    pets.migrate("rename=box.label:name")
    pets.ok("upgrade")
    assert "ix_box_name" in str(pets.schema())
    pets.models(USERS, PETS, BOX.replace("label:", "name:"))
    script = pets.migrate()
    assert "drop_index(" in script
    assert "drop_constraint(" not in script


@on_servers
def test_tables_of_other_schemas(pets: Models, backend: str, database: str) -> None:
    """With include_schemas=True tables of each schema are renamed, whichever schema Alembic reads first: that depends
    on the hash seed. A table of another app, in a schema that the models do not have, stays.
    """
    ours, theirs = f"{make_url(database).database}_ours", f"{make_url(database).database}_theirs"
    include = f"lambda name, kind, _parents: kind != 'schema' or name in (None, '{ours}', '{theirs}')"
    pets.configure(f"include_schemas=True, include_name={include}")
    cage = f"""
class Cage(db.Model):
    __table_args__ = {{"schema": "{ours}"}}
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(index=True)
"""
    try:
        pets.execute(f"CREATE SCHEMA {ours}", f"CREATE SCHEMA {theirs}", f"CREATE TABLE {theirs}.bar (id INTEGER)")
        pets.become(USERS, PETS, cage)
        pets.execute(f"INSERT INTO {ours}.cage VALUES (1, 2)")
        pets.models(USERS, PETS.replace("Toy(", "Plaything("), cage.replace("Cage(", "Box("))
        assert "drop_table" not in pets.migrate("rename=toy:plaything", f"rename={ours}.cage:box")
        pets.ok("upgrade")
        assert [(1, 2)] == pets.rows(f"SELECT * FROM {ours}.box")
        assert "remove_table bar" in pets.db("check").stderr
        pets.ok("downgrade", "-1")
    finally:
        cascade = " CASCADE" if backend == "postgresql" else ""
        pets.execute(f"DROP SCHEMA IF EXISTS {ours}{cascade}", f"DROP SCHEMA IF EXISTS {theirs}{cascade}")


COUNTED = """
class Animal(db.Model):
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(9), unique=True)
    years: Mapped[int | None]
"""


@on_sqlite
def test_what_sqlite_hides(empty: Models) -> None:
    """A unique constraint that follows a rename rebuilds the table on SQLite: where that would lose AUTOINCREMENT, or a
    CHECK without a name, the review says what to write.
    """
    empty.execute(
        "CREATE TABLE pet (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name VARCHAR(9) NOT NULL,"
        " age INTEGER CHECK (age > 0), CONSTRAINT uq_pet_name UNIQUE (name))",
        "INSERT INTO pet (name, age) VALUES ('rex', 3)",
    )
    empty.models(COUNTED)
    empty.migrate("rename=pet:animal", "rename=pet.age:years")
    assert "would lose AUTOINCREMENT and CHECK (" in empty.fails("upgrade", MIGRATION_REVIEW="enforce")


@on_sqlite
def test_on_stock(pets: Models) -> None:
    """The damage: stock generates a script that drops the column with all that was in it."""
    pets.make_stock()
    pets.models(USERS, NICKNAMED)
    pets.ok("migrate")
    pets.ok("upgrade")
    assert [(None,), (None,)] == pets.rows("SELECT nickname FROM pet")


def questions(text: str) -> list[str]:
    """Return what was asked."""
    return re.findall(r"Was .*?\?", text)


@on_sqlite
def test_questions(pets: Models) -> None:
    """On a terminal each likely pair is asked, the best first; a pair that is taken leaves no question, and
    `flask db check` never asks.
    """
    extra = "    remark: Mapped[str | None] = mapped_column(String(40))\n"
    pets.models(USERS, NICKNAMED.replace("Toy(", "Toys(").replace("    age:", extra + "    age:"))
    assert "Was" not in pets.asked("y\ny\n", "check").stderr
    done = pets.asked("y\n\ny\n\n", "migrate")
    assert ["Was toy renamed to toys?", ASKED] == questions(done.stderr)
    assert "Was" not in done.stdout
    pets.ok("upgrade")
    assert [(1, "r", None), (2, None, None)] == pets.rows("SELECT id, nickname, remark FROM pet ORDER BY id")
    assert [(1, 1, 2), (2, 2, None)] == pets.rows("SELECT id, pet_id, spare_id FROM toys ORDER BY id")


@on_sqlite
@pytest.mark.parametrize(
    ("typed", "options", "asked", "drops"),
    [
        pytest.param("", ["-x", "rename=pet.nick:nickname"], [], [False], id="answered with -x"),
        pytest.param("n\n\n", [], [ASKED], [True], id="no"),
        pytest.param("\n\n", [], [ASKED], [True], id="Enter"),
        pytest.param("", [], [ASKED], [], id="Ctrl-D"),
    ],
)
def test_answers(pets: Models, typed: str, options: list[str], asked: list[str], drops: list[bool]) -> None:
    """The answer is no unless somebody says yes, -x answers beforehand, and Ctrl-D writes no script."""
    pets.models(USERS, NICKNAMED)
    done = pets.asked(typed, *options, "migrate")
    assert asked == questions(done.stderr)
    assert drops == ["drop_column" in script.read_text() for script in pets.scripts()[1:]]
    assert (not drops) == (done.returncode == 1 and "Aborted!" in done.stderr)


WRONG_PAIRS = [
    ("pet.nic", "nickname"),
    ("pet.nick", "nicknam"),
    ("pet.name", "nickname"),
    ("pet", "pet"),
]


@on_sqlite
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        *(
            (f"rename={old}:{new}", f"{old} must exist only in the database, and {new} only in the models.\nFix: ")
            for old, new in WRONG_PAIRS
        ),
        ("rename=pet.nick", "write it as rename=TABLE.OLD:NEW for a column, or rename=OLD:NEW for a table.\nFix: "),
        (
            "default=toy.color:0",
            "toy.color is neither a new NOT NULL column without a default nor a column that becomes NOT NULL.\nFix: ",
        ),
        ("default=toy.size:big", "'big' is not an integer.\nFix: "),
        ("drop=toys", "the database has no table toys, or a model still defines it.\nFix: "),
    ],
)
def test_wrong_answers(pets: Models, answer: str, why: str) -> None:
    """What does not fit is refused, with what would, and no script is written."""
    pets.models(USERS, NICKNAMED + "    size: Mapped[int]\n")
    scripts = pets.scripts()
    done = pets.db("-x", answer, "migrate")
    said = done.stderr
    assert 2 == done.returncode
    assert f"Error: -x {answer} cannot be used: {why}" in said
    assert ("must exist" in why) == ('    flask db -x rename=pet.nick:nickname migrate -m "..."' in said), said
    assert scripts == pets.scripts()
