"""Renames keep the rows: `flask db migrate` asks on a terminal, and takes -x rename=... anywhere."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, make_url, text

from .support import Project, on_servers, revision, schema_of

MODELS = '''"""The models."""

from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, Integer, Numeric, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import db

'''

USER = """
class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(80), unique=True)
    email: Mapped[str] = mapped_column(String(120), unique=True)
"""

BEFORE = """
class Pet(db.Model):
    __table_args__ = (CheckConstraint("age >= 0", name="age_not_negative"), Index("ix_pet_both", "name", "age"))
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True, server_default="x")
    nick: Mapped[str | None] = mapped_column(String(40), index=True)
    age: Mapped[int] = mapped_column(Integer)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))


class Toy(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    pet_id: Mapped[int] = mapped_column(ForeignKey("pet.id", ondelete="CASCADE"), index=True)
    spare_id: Mapped[int | None] = mapped_column(ForeignKey("pet.id"))
"""

BOX = """
class Box(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(String(9))
"""

ROWS = (
    "INSERT INTO {user} (id, username, email) VALUES (1, 'ann', 'a@x'), (2, 'bob', 'b@x')",
    "INSERT INTO pet (id, name, nick, age, owner_id) VALUES (1, 'rex', 'r', 3, 1), (2, 'tom', NULL, 5, NULL)",
    "INSERT INTO toy (id, pet_id, spare_id) VALUES (1, 1, 2), (2, 2, NULL)",
)

AGREE = "No new upgrade operations detected."


@pytest.fixture
def rows(database: str) -> Iterator[Callable[[str], list[Any]]]:
    """Reads rows; {user} in the SQL is the table's name, quoted."""
    engine = create_engine(database)

    def read(sql: str) -> list[Any]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(named(sql, connection)))]

    yield read
    engine.dispose()


def named(sql: str, connection: Connection) -> str:
    """``sql`` with the name of the table user."""
    return sql.format(user=connection.dialect.identifier_preparer.quote("user"))


def write(database: str, *statements: str) -> None:
    """Run ``statements``."""
    engine = create_engine(database)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(named(statement, connection)))
    finally:
        engine.dispose()


def models(project: Project, *classes: str) -> None:
    """Let these be the models."""
    project.write("app/models.py", MODELS + "\n".join(classes))


@pytest.fixture
def pets(project: Project, database: str) -> Project:
    """A project whose database has users, pets and toys."""
    models(project, USER, BEFORE)
    for script in project.scripts():
        script.unlink()
    project.ok("migrate", "-m", "Begin", "--rev-id", "b0")
    project.ok("upgrade")
    write(database, *ROWS)
    return project


def schema(database: str) -> dict[str, object]:
    """The schema, names and all."""
    engine = create_engine(database)
    with engine.connect() as connection:
        found = schema_of(connection)
    engine.dispose()
    return found


def migrate(project: Project, *answers: str, **environ: str) -> str:
    """Migrate with answers; the new scripts."""
    before = project.scripts()
    project.ok(*(part for answer in answers for part in ("-x", answer)), "migrate", "-m", "Change", **environ)
    return "\n".join(script.read_text() for script in project.scripts() if script not in before)


def there_and_back(project: Project, database: str, see: Callable[[], None]) -> None:
    """Upgrade and ``see``; the models agree, and the downgrade brings the schema back. Then up again."""
    before = schema(database)
    project.ok("upgrade")
    see()
    assert AGREE in project.ok("check")
    after = schema(database)
    project.ok("downgrade", "b0")
    assert before == schema(database)
    project.ok("upgrade")
    see()
    assert after == schema(database)


COLUMNS = ("user.username:login", "pet.name:title", "pet.nick:nickname", "pet.owner_id:keeper_id")


def rename_columns(project: Project) -> None:
    """In the models, as COLUMNS say."""
    after = BEFORE.replace("name:", "title:").replace('"name"', '"title"').replace("nick:", "nickname:")
    models(project, USER.replace("username:", "login:"), after.replace("owner_id:", "keeper_id:"))


def test_columns(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """Several columns at once, with unique constraints, indexes, and foreign keys from and to them."""
    rename_columns(pets)

    def see() -> None:
        assert [(1, "ann"), (2, "bob")] == rows("SELECT id, login FROM {user} ORDER BY id")
        expected = [(1, "rex", "r", 3, 1), (2, "tom", None, 5, None)]
        assert expected == rows("SELECT id, title, nickname, age, keeper_id FROM pet ORDER BY id")

    assert "drop_column" not in migrate(pets, *(f"rename={answer}" for answer in COLUMNS))
    there_and_back(pets, database, see)
    assert "uq_pet_title" in str(schema(database))
    assert "uq_pet_name" not in str(schema(database))


def test_column_of_a_check(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """A CHECK follows the rename of its column. MySQL and MariaDB refuse that: no script is written, and what the
    message says to do helps.
    """
    models(pets, USER, BEFORE.replace("age:", "years:").replace('"age"', '"years"').replace("age >= 0", "years >= 0"))
    if database.startswith("mysql"):
        scripts, head = pets.scripts(), pets.db("current").stdout.split()[0]
        done = pets.db("-x", "rename=pet.age:years", "migrate")
        assert "MySQL and MariaDB cannot rename pet.age while CHECK ck_pet_age_not_negative names it." in done.stderr
        assert scripts == pets.scripts()
        line = "op.drop_constraint(op.f('ck_pet_age_not_negative'), 'pet', type_='check')"
        assert f"    {line}\n" in done.stderr
        pets.write(*revision("c1", head, line))
        pets.ok("upgrade")
    script = migrate(pets, "rename=pet.age:years")
    assert "drop_column" not in script
    pets.ok("upgrade")
    assert [(1, 3), (2, 5)] == rows("SELECT id, years FROM pet ORDER BY id")
    assert AGREE in pets.ok("check")
    pets.ok("downgrade", "-1")
    pets.ok("upgrade")


def test_tables(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """Tables with a column of each, and with what else changes in them: indexes and unique constraints follow, keys and
    CHECKs keep their names.
    """
    after = BEFORE.replace("Pet(", "Animal(").replace("ix_pet", "ix_animal").replace("pet.id", "animal.id")
    after = after.replace("nick:", "nickname:").replace("String(80)", "String(90)").replace("Toy(", "Plaything(")
    models(pets, USER, after.replace("pet_id:", "animal_id:"))

    def see() -> None:
        expected = [(1, "rex", "r", 3, 1), (2, "tom", None, 5, None)]
        assert expected == rows("SELECT id, name, nickname, age, owner_id FROM animal ORDER BY id")
        assert [(1, 1, 2), (2, 2, None)] == rows("SELECT id, animal_id, spare_id FROM plaything ORDER BY id")

    answers = ("pet:animal", "toy:plaything", "animal.nick:nickname", "toy.pet_id:animal_id")
    script = migrate(pets, *(f"rename={answer}" for answer in answers))
    assert "drop_table" not in script
    there_and_back(pets, database, see)
    names = set(re.findall(r"(?:ix|uq|ck|fk|pk)_(?:pet|toy|animal|plaything)_?\w*", str(schema(database))))
    assert {"ix_animal_both", "ix_animal_nickname", "uq_animal_name", "ix_plaything_animal_id"} <= names
    assert not [name for name in names if re.match("(ix|uq)_(pet|toy)", name)]
    assert {"ck_pet_age_not_negative", "fk_toy_pet_id_pet", "fk_toy_spare_id_pet"} <= names


def test_primary_key(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """A renamed key is still numbered by the database, by AUTO_INCREMENT or by the sequence that it had."""
    models(pets, USER, BEFORE, BOX)
    pets.ok("migrate")
    pets.ok("upgrade")
    write(database, "INSERT INTO box (label) VALUES ('a')")
    head = pets.db("current").stdout.split()[0]
    models(pets, USER, BEFORE, BOX.replace("id:", "number:").replace("Box(", "Crate("))
    script = migrate(pets, "rename=box:crate", "rename=box.id:number")
    assert "RENAME COLUMN id TO number" in script
    pets.ok("upgrade")
    write(database, "INSERT INTO crate (label) VALUES ('b')")
    assert [(1, "a"), (2, "b")] == rows("SELECT number, label FROM crate ORDER BY number")
    assert AGREE in pets.ok("check")
    pets.ok("downgrade", head)
    write(database, "INSERT INTO box (label) VALUES ('c')")
    assert [(1,), (2,), (3,)] == rows("SELECT id FROM box ORDER BY id")


def test_checks_compared_by_name(pets: Project, database: str) -> None:
    """With Alembic's plugin for CHECKs these follow a rename too; ours is added to what the app asks for."""
    factory = (pets.path / "app" / "__init__.py").read_text()
    plugins = 'autogenerate_plugins=["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"]'
    pets.write("app/__init__.py", factory.replace("migrate.init_app(app, db)", f"migrate.init_app(app, db, {plugins})"))
    assert AGREE in pets.ok("check")
    after = BEFORE.replace("Pet(", "Animal(").replace("ix_pet", "ix_animal").replace("pet.id", "animal.id")
    models(pets, USER, after)
    migrate(pets, "rename=pet:animal")
    there_and_back(pets, database, lambda: None)
    assert "ck_animal_age_not_negative" in str(schema(database))


@on_servers
def test_renamed_unique_index(pets: Project, database: str) -> None:
    """A unique index that a script renamed is dropped as one, though MySQL reports it as a unique constraint too."""
    box = BOX.replace("String(9)", "String(9), index=True, unique=True")
    models(pets, USER, BEFORE, box)
    pets.ok("migrate")
    pets.ok("upgrade")
    models(
        pets, USER, BEFORE, BOX.replace("label:", "name:").replace("String(9)", "String(9), index=True, unique=True")
    )
    migrate(pets, "rename=box.label:name")
    pets.ok("upgrade")
    assert "ix_box_name" in str(schema(database))
    models(pets, USER, BEFORE, BOX.replace("label:", "name:"))
    script = migrate(pets)
    assert "drop_index(" in script
    assert "drop_constraint(" not in script


@on_servers
def test_tables_of_other_schemas(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """With include_schemas=True tables of each schema are renamed, whichever schema Alembic reads first: that depends
    on the hash seed. A table of another app, in a schema that the models do not have, stays.
    """
    ours, theirs = f"{make_url(database).database}_ours", f"{make_url(database).database}_theirs"
    factory = (pets.path / "app" / "__init__.py").read_text()
    include = f"lambda name, kind, _parents: kind != 'schema' or name in (None, '{ours}', '{theirs}')"
    hide = f"migrate.init_app(app, db, include_schemas=True, include_name={include})"
    pets.write("app/__init__.py", factory.replace("migrate.init_app(app, db)", hide))
    cage = """
class Cage(db.Model):
    __tablename__ = "{1}"
    __table_args__ = {{"schema": "{0}"}}
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(index=True)
"""
    try:
        write(database, f"CREATE SCHEMA {ours}", f"CREATE SCHEMA {theirs}", f"CREATE TABLE {theirs}.bar (id INTEGER)")
        models(pets, USER, BEFORE, cage.format(ours, "cage"))
        pets.ok("migrate")
        pets.ok("upgrade")
        write(database, f"INSERT INTO {ours}.cage VALUES (1, 2)")
        models(pets, USER, BEFORE.replace("Toy(", "Plaything("), cage.format(ours, "box"))
        script = migrate(pets, "rename=toy:plaything", f"rename={ours}.cage:box")
        assert "drop_table" not in script
        pets.ok("upgrade")
        assert [(1, 2)] == rows(f"SELECT * FROM {ours}.box")
        assert "remove_table bar" in pets.db("check").stderr
        pets.ok("downgrade", "-1")
    finally:
        drop = "DROP SCHEMA IF EXISTS {}" + (" CASCADE" if "postgresql" in database else "")
        write(database, drop.format(ours), drop.format(theirs))


@pytest.mark.parametrize("backend", ["mysql", "postgresql"], indirect=True)
def test_generated_elsewhere(pets: Project, database: str, tmp_path: Path, rows: Callable[[str], list[Any]]) -> None:
    """A script that was generated on SQLite does the same on the others."""
    elsewhere = {"DATABASE_URL": f"sqlite:///{tmp_path / 'elsewhere.db'}"}
    pets.ok("upgrade", **elsewhere)
    rename_columns(pets)
    migrate(pets, *(f"rename={answer}" for answer in COLUMNS), **elsewhere)

    def see() -> None:
        assert [(1, "ann"), (2, "bob")] == rows("SELECT id, login FROM {user} ORDER BY id")
        assert [(1, "rex", 3), (2, "tom", 5)] == rows("SELECT id, title, age FROM pet ORDER BY id")

    there_and_back(pets, database, see)


COUNTED = """
class Pet(db.Model):
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(9), unique=True)
    age: Mapped[int | None]
"""


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_what_sqlite_hides(project: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """A unique constraint that follows a rename rebuilds the table on SQLite: where that would lose AUTOINCREMENT, or a
    CHECK without a name, the review says what to write.
    """
    project.ok("upgrade")
    write(
        database,
        "CREATE TABLE pet (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, name VARCHAR(9) NOT NULL,"
        " age INTEGER CHECK (age > 0), CONSTRAINT uq_pet_name UNIQUE (name))",
        "INSERT INTO pet (name, age) VALUES ('rex', 3)",
    )
    models(project, USER, COUNTED.replace("Pet(", "Animal(").replace("age:", "years:"))
    migrate(project, "rename=pet:animal", "rename=pet.age:years")
    done = project.db("upgrade", MIGRATION_REVIEW="enforce")
    assert "would lose AUTOINCREMENT and CHECK (" in done.stderr
    assert "(rename-table)" in done.stderr
    assert "(rename-column)" in done.stderr
    assert [(1, "rex", 3)] == rows("SELECT id, name, age FROM pet")


def test_on_stock(pets: Project, rows: Callable[[str], list[Any]]) -> None:
    """The damage: stock generates a script that drops the column with all that was in it."""
    pets.make_stock()
    models(pets, USER, BEFORE.replace("nick:", "nickname:"))
    pets.ok("migrate", "-m", "Rename")
    pets.ok("upgrade")
    assert [(None,), (None,)] == rows("SELECT nickname FROM pet")


def asked(project: Project, answers: str, *args: str) -> "subprocess.CompletedProcess[str]":
    """``flask db migrate ARGS`` on a terminal, where somebody types ``answers``."""
    ours, theirs = pty.openpty()
    os.write(ours, answers.encode())
    try:
        return subprocess.run(
            [sys.executable, "-m", "flask", "db", *args, "migrate", "-m", "Change"],
            cwd=project.path,
            env={"PATH": os.environ["PATH"], **project.environ},
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)


def questions(text: str) -> list[str]:
    """What was asked."""
    return re.findall(r"Was .*?\?", text)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_questions(pets: Project, database: str, rows: Callable[[str], list[Any]]) -> None:
    """On a terminal each likely pair is asked, the best first; a pair that is taken leaves no question."""
    after = BEFORE.replace("nick:", "nickname:").replace("Toy(", "Toys(")
    extra = "    remark: Mapped[str | None] = mapped_column(String(40))\n"
    models(pets, USER, after.replace("    age:", extra + "    age:"))
    done = asked(pets, "y\n\ny\n\n")
    assert ["Was toy renamed to toys?", "Was pet.nick renamed to pet.nickname?"] == questions(done.stderr)
    assert "Was" not in done.stdout
    pets.ok("upgrade")
    assert [(1, "r", None), (2, None, None)] == rows("SELECT id, nickname, remark FROM pet ORDER BY id")
    assert [(1, 1, 2), (2, 2, None)] == rows("SELECT id, pet_id, spare_id FROM toys ORDER BY id")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_answers(pets: Project) -> None:
    """Nobody has to say yes, -x answers beforehand, Ctrl-D writes no script, and `flask db check` never asks."""
    models(pets, USER, BEFORE.replace("nick:", "nickname:"))
    scripts = pets.scripts()
    done = asked(pets, "\x04")
    assert (1, scripts, True) == (done.returncode, pets.scripts(), "Aborted!" in done.stderr)
    done = asked(pets, "", "-x", "rename=pet.nick:nickname")
    (script,) = set(pets.scripts()) - set(scripts)
    assert ([], True) == (questions(done.stderr), "drop_column" not in script.read_text())
    script.unlink()
    assert ["Was pet.nick renamed to pet.nickname?"] == questions(asked(pets, "n\n").stderr)
    (script,) = set(pets.scripts()) - set(scripts)
    assert "drop_column" in script.read_text()
    script.unlink()
    assert "Was" not in pets.db("check").stderr


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_wrong_answers(pets: Project) -> None:
    """What does not fit is refused, with what would, and no script is written."""
    models(pets, USER, BEFORE.replace("nick:", "nickname:"))
    scripts = pets.scripts()
    for answer in (
        "pet.nic:nickname",
        "pet.nick:nicknam",
        "pet.name:nickname",
        "pet.nick:age",
        "pet.name:name",
        "pets:animal",
        "pet:pet",
    ):
        old, _, new = answer.partition(":")
        why = f"{old} must exist only in the database, and {new} only in the models."
        done = pets.db("-x", f"rename={answer}", "migrate")
        assert (1, True) == (done.returncode, f"Error: -x rename={answer} cannot be used: {why}" in done.stderr), (
            done.stderr
        )
        assert "Fix: " in done.stderr
    assert '    flask db -x rename=pet.nick:nickname migrate -m "..."' in done.stderr
    why = "write it as rename=TABLE.OLD:NEW for a column, or rename=OLD:NEW for a table."
    assert why in pets.db("-x", "rename=pet.nick", "migrate").stderr
    assert scripts == pets.scripts()
