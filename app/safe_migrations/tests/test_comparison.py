"""CHECKs, server defaults and generated columns, as `flask db migrate`, `check` and `status` compare them."""

import re
import warnings
from contextlib import nullcontext
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy.exc import DBAPIError, SAWarning

from .support import AGREE, Models, is_mariadb, on_postgresql, with_targets

with_plain_targets = pytest.mark.parametrize(
    ("backend", "targets"),
    [("sqlite", ""), ("sqlite", "postgresql"), ("mysql", ""), ("postgresql", "")],
    indirect=["backend"],
)
THING = """
from sqlalchemy import Computed, func, text
from sqlalchemy.dialects import mysql, postgresql


class Thing(db.Model):
    __table_args__ = (
        CheckConstraint("a > 0", name="a_positive"),
        CheckConstraint("a < 1000"),
        CheckConstraint("name <> 'it''s 100%' AND name IN ('x', 'y')", name="name_known"),
        CheckConstraint(sa.column("a") * 2 > sa.column("b"), name="expression"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[int] = mapped_column(server_default="5")
    b: Mapped[int | None] = mapped_column(CheckConstraint("b >= 0", name="b_not_negative"))
    name: Mapped[str] = mapped_column(String(20), server_default="x")
"""
# The arguments of more columns: on every database, and on one only.
KINDS = r"""
Integer, server_default=text("0")
sa.BigInteger, server_default=text("-7")
sa.SmallInteger, server_default="-1"
String(40), server_default="it's 100%: (\\)"
String(40), server_default=""
String(40), server_default="007"
String(40), server_default="true"
String(40), server_default="NULL"
String(40), server_default=text("'typed'")
String(60), server_default=text("NULL")
String(60), server_default=sa.FetchedValue()
String(60), server_default=sa.tuple_(func.lower("ABC"))
sa.Boolean, server_default=sa.true()
sa.Boolean, server_default=sa.false()
sa.Boolean, server_default="1"
sa.Boolean(name="flag_bool", create_constraint=True), server_default="0"
Numeric(8, 2), server_default="1.50"
Numeric(8, 2), server_default=text("0")
sa.Float, server_default="1.5"
sa.Double, server_default=text("2.50")
sa.DateTime, server_default=func.now()
sa.DateTime, server_default=text("CURRENT_TIMESTAMP")
sa.DateTime(timezone=True), server_default=func.current_timestamp()
sa.DateTime, server_default="2020-01-02 03:04:05"
sa.Date, server_default="2020-01-02"
sa.Date, server_default=text("(CURRENT_DATE)")
sa.Time, server_default="03:04:05"
sa.Enum("cat", "dog", name="kind"), server_default="cat"
sa.Enum("cat", "dog", name="plain_kind", native_enum=False, create_constraint=True), server_default="dog"
sa.Enum("cat", "dog", name="checked_kind", create_constraint=True)
JSON, server_default="{}"
Integer, Computed("CASE WHEN a > 3 AND (b IS NULL OR b <> 4) THEN 1 ELSE abs(a) END", persisted=True)
String(90), Computed("lower(name) || '-' || coalesce(name, 'it''s')", persisted=True)
"""
ONLY = {
    "sqlite": """
Integer, Computed("a * 2")
Integer, server_default=text("(strftime('%s', 'now'))")
Text, server_default=text("(lower(hex(randomblob(16))))")
""",
    "mysql": """
Integer, Computed("a * 2")
sa.DateTime, server_default=text("CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP")
mysql.DATETIME(fsp=6), server_default=func.now(6)
sa.TIMESTAMP, server_default=func.now()
sa.TIMESTAMP
Text, server_default=text("('x')")
String(60), server_default=text("(uuid())")
mysql.BIT(1), server_default=text("b'0'")
mysql.INTEGER(unsigned=True), server_default="3"
mysql.SET("a", "b"), server_default="a"
""",
    "postgresql": """
sa.ARRAY(Text), server_default="{}"
sa.ARRAY(Integer), server_default=text("ARRAY[1, 2]")
Integer, sa.Identity()
sa.BigInteger, sa.Identity(always=True, start=100, increment=5)
sa.SmallInteger, sa.Identity(cycle=True)
postgresql.JSONB, server_default=text("'{\\"b\\": 1, \\"a\\": 2}'::jsonb")
sa.Interval, server_default="1 day"
postgresql.INET, server_default="127.0.0.1"
sa.Uuid, server_default=func.gen_random_uuid()
sa.DateTime, server_default=text("(now() AT TIME ZONE 'utc')")
sa.Float, server_default=func.random()
""",
}


def kinds(models: Models, convention: bool) -> str:
    """Return the text of a model with many kinds of columns; without ``convention``, one CHECK has no name."""
    dialect = models.engine.dialect.name
    lines = [*KINDS.strip().splitlines(), *ONLY[dialect].strip().splitlines()]
    found = THING
    for number, line in enumerate(lines):
        found += f"    c{number}: Mapped[Any] = mapped_column({line}, nullable={'Identity' not in line})\n"
    if convention:
        found = found.replace('        CheckConstraint("a < 1000"),\n', "")
    else:
        path = models.path / "app" / "extensions.py"
        models.write("app/extensions.py", path.read_text().replace("naming_convention=NAMING_CONVENTION", ""))
    if dialect == "mysql":
        found = found.replace("lower(name) || '-' || coalesce(name, 'it''s')", "concat(lower(name), '-', 'it''s')")
        if is_mariadb(models.engine.url):  # the CHECK of a column has no name there
            return found.replace('CheckConstraint("b >= 0", name="b_not_negative")', "Integer")
        return found.replace('JSON, server_default="{}"', """JSON, server_default=text("('{}')")""")
    return found


def up_down_up(project: Models, **environ: str) -> None:
    """Upgrade to head, downgrade to base, and upgrade again."""
    for args in (("upgrade",), ("downgrade", "base"), ("upgrade",)):
        project.ok(*args, **environ)


def runs_on_sqlite(project: Models, folder: Path) -> None:
    """Run the scripts of a server on SQLite too."""
    if project.engine.dialect.name != "sqlite":
        up_down_up(project, DATABASE_URL=f"sqlite:///{folder / 'other.db'}")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("created", ["by migrate", "by create_all"])
def test_no_noise(empty: Models, created: str) -> None:
    """`check`, `migrate` and `status` find no difference in what the models created, after a second upgrade too."""
    empty.models(kinds(empty, created == "by migrate"))
    if created == "by migrate":
        empty.ok("migrate", "-m", "Begin")
        up_down_up(empty)
        assert "agree with the database" in empty.ok("status")
    else:
        create = "from wsgi import app, db\nwith app.app_context():\n    db.create_all()\n"
        empty.write("create.py", create.replace("app, db", "app\nfrom app.extensions import db"))
        assert 0 == empty.run("create").returncode
    assert AGREE in empty.ok("check")
    assert "" == empty.migrate()
    if (created, empty.engine.dialect.name) == ("by migrate", "postgresql"):  # where no temporary table can be created
        empty.execute(f"ALTER DATABASE {empty.engine.url.database} SET default_transaction_read_only = on")
        assert AGREE in empty.ok("check")


CUP = """
class Cup(db.Model):
    __table_args__ = (CheckConstraint("size <> 7{more}", name="{name}"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    size: Mapped[int | None]
"""
TYPES = """
    flag: Mapped[Any] = mapped_column(sa.Boolean(name="flag_bool", create_constraint=True), nullable=True)
    kind: Mapped[str | None] = mapped_column(sa.Enum("a", native_enum=False, create_constraint=True, name="kinds"))
"""


@with_plain_targets
def test_checks_by_name(empty: Models, tmp_path: Path, targets: str) -> None:
    """A CHECK is added, also that of a new column's type where the database creates one, and another one dropped. No
    rule blocks, and it all runs on SQLite too.
    """
    empty.environ["MIGRATION_TARGETS"] = targets
    empty.become(CUP.format(name="large", more=""))
    empty.execute("INSERT INTO cup (id, size) VALUES (1, 3)")
    empty.models(CUP.format(name="great", more=" AND size > 0") + TYPES)
    found = empty.ok("status")
    assert all(each in found for each in ("remove_constraint ck_cup_large", "add_constraint ck_cup_great"))
    script = empty.migrate()
    assert [] == empty.blocking()
    assert ("VALIDATE CONSTRAINT ck_cup_great" in script) == ("postgresql" in (targets, empty.engine.dialect.name))
    empty.there_and_back()
    assert [] == empty.blocking("--all")
    runs_on_sqlite(empty, tmp_path)
    with pytest.raises(DBAPIError):
        empty.execute("INSERT INTO cup (id, size) VALUES (2, 7)")


CAN = """
class Can(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    color: Mapped[str | None] = mapped_column(
        sa.Enum({}, native_enum=False, create_constraint=True, name="color_enum")
    )
"""


@with_targets
@pytest.mark.parametrize("value", ["blue", "grün: 5"])
def test_values_of_a_checked_enum(empty: Models, tmp_path: Path, targets: str, value: str) -> None:
    """A new value of an Enum with a CHECK is a difference, also if the column is long enough for it: the CHECK is
    replaced, and the downgrade brings the old one back.
    """
    empty.environ["MIGRATION_TARGETS"] = targets
    insert = f"INSERT INTO can (id, color) VALUES (1, '{value.replace(':', chr(92) + ':')}')"
    empty.become(CAN.format('"red", "green"'))
    (before,) = empty.rows("SELECT version_num FROM alembic_version")
    empty.models(CAN.format(f'"red", "green", "{value}"'))
    found = empty.ok("status")
    assert all(f"{each}_constraint ck_can_color_enum" in found for each in ("remove", "add"))
    empty.migrate()
    assert [] == empty.blocking()
    empty.there_and_back()
    empty.execute(insert, "DELETE FROM can")
    runs_on_sqlite(empty, tmp_path)
    empty.ok("downgrade", *before)
    with pytest.raises(DBAPIError):
        empty.execute(insert)


@pytest.mark.parametrize("to_enum", [True, False])
def test_text_and_checked_enum(empty: Models, to_enum: bool) -> None:
    """The CHECK of an Enum is created once if a text becomes the Enum, and dropped if the Enum becomes a text; the
    downgrade takes that back.
    """
    enum = CAN.format('"red", "purple"')
    plain = re.sub(r"sa.Enum.*", f"String({4 if to_enum else 9})", enum)
    insert = "INSERT INTO can (id, color) VALUES (1, 'blue')"
    empty.become(plain if to_enum else enum)
    (before,) = empty.rows("SELECT version_num FROM alembic_version")
    empty.become(enum if to_enum else plain)
    assert AGREE in empty.ok("check")
    with pytest.raises(DBAPIError) if to_enum else nullcontext():
        empty.execute(insert)
    empty.execute("DELETE FROM can")
    empty.ok("downgrade", *before)
    with nullcontext() if to_enum else pytest.raises(DBAPIError):
        empty.execute(insert)


def test_native_enum_with_a_check(empty: Models) -> None:
    """A new value of an Enum that has a CHECK only where ENUM is not a type is accepted after the upgrade."""
    before = CAN.format('"red", "green"').replace("native_enum=False, ", "")
    empty.become(before)
    empty.models(before.replace('"green"', '"green", "purple"'))
    empty.migrate()
    assert [] == empty.blocking()
    if empty.engine.dialect.name == "postgresql":  # no downgrade removes the value
        empty.ok("upgrade")
    else:
        empty.there_and_back()
    empty.execute("INSERT INTO can (id, color) VALUES (1, 'purple')")
    assert AGREE in empty.ok("check")


BOX = """
class Box(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    a: Mapped[int]
    text: Mapped[str | None] = mapped_column(String(40), server_default={})
    number: Mapped[int | None] = mapped_column(server_default={})
    yes: Mapped[bool | None] = mapped_column(server_default={})
    price: Mapped[Decimal | None] = mapped_column(Numeric(8, 2), server_default={})
    at: Mapped[datetime | None] = mapped_column(server_default={})
    day: Mapped[date | None] = mapped_column(server_default={})
"""
BEFORE = ('"x"', '"1"', "sa.true()", "None", "sa.func.now()", '"2020-01-01"')
AFTER = ('"it\'s 100%"', '"2"', "sa.false()", '"1.50"', '"2020-01-02 00:00:00"', "None")


@with_targets
def test_server_defaults(empty: Models, tmp_path: Path, targets: str) -> None:
    """A server default that is changed, added or dropped is a difference; the script for it is safe and runs."""
    empty.environ["MIGRATION_TARGETS"] = targets
    empty.become(BOX.format(*BEFORE))
    empty.execute("INSERT INTO box (id, a) VALUES (1, 2)")
    empty.models(BOX.format(*AFTER))
    columns = ("text", "number", "yes", "price", "at", "day")
    assert f"from the database: {', '.join(f'modify_default box.{name}' for name in columns)}\n" in empty.ok("status")
    empty.migrate()
    assert [] == empty.blocking()
    empty.there_and_back()
    runs_on_sqlite(empty, tmp_path)


@on_postgresql
@pytest.mark.parametrize("after", ["sa.Identity(start=5, increment=10, always=True)", "nullable=False"])
def test_identity(empty: Models, after: str) -> None:
    """An Identity is altered or dropped, and the downgrade takes that back."""
    box = BOX.format(*BEFORE)
    empty.become(box + "    counter: Mapped[int] = mapped_column(sa.BigInteger, sa.Identity(start=5))\n")
    empty.models(box + f"    counter: Mapped[int] = mapped_column(sa.BigInteger, {after})\n")
    assert "differ from the database: modify_default box.counter\n" in empty.ok("status")
    empty.migrate()
    empty.there_and_back()


ADDED_AGAIN = """
class Box(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[int]
    twice: Mapped[int] = mapped_column(sa.Computed("price * {}", persisted={}), index=True)
    __table_args__ = (sa.UniqueConstraint("twice", "price"), Index("ix_box_both", "price", "twice"))
"""


@pytest.mark.filterwarnings("ignore:Computed column")
@pytest.mark.parametrize("persisted", [True, None], ids=["stored", "default"])
def test_lines_that_generate_a_column_again(empty: Models, persisted: bool | None) -> None:
    """The lines that `migrate` and `check` print run, up and down, with indexes; drop-column does not report them."""
    empty.become(ADDED_AGAIN.format(2, persisted))
    empty.execute("INSERT INTO box (id, price) VALUES (1, 5)")
    empty.models(ADDED_AGAIN.format(3, persisted))
    of_check, of_migrate = (empty.fails(command).partition("    def upgrade():") for command in ("check", "migrate"))
    assert of_check[2] == of_migrate[2]
    assert [True] * 2 == ['revision -m "generate box.twice again"' in each[0] for each in (of_check, of_migrate)]
    lines = dedent("".join(of_check[1:]))
    parent = empty.rows("SELECT version_num FROM alembic_version")[0][0]
    head = f"import sqlalchemy as sa\nfrom alembic import op\n\nrevision = 'again'\ndown_revision = {parent!r}\n\n\n"
    empty.write("migrations/versions/again.py", head + lines)
    stored = persisted or empty.engine.dialect.name == "postgresql"
    codes = {"postgresql": {"volatile-default-rewrites"}, "mysql": {"alter-copies-table"}} if stored else {}
    keys = {"postgresql": {"create-index-blocks-writes", "unique-constraint-blocks"}}
    found, product = empty.blocking("again"), empty.engine.dialect.name
    assert codes.get(product, set()) | keys.get(product, set()) == {each["code"] for each in found}
    assert not any("plain column" in each["instead"] for each in found)

    def see() -> None:
        assert [(15,)] == empty.rows("SELECT twice FROM box")

    empty.there_and_back(see)
    assert "The downgrade deletes" not in empty.ok("-x", "review=warn", "downgrade")


@pytest.mark.filterwarnings("error")
@on_postgresql
def test_no_warning_of_the_comparison(empty: Models) -> None:
    """`check` creates its temporary table without a warning of SQLAlchemy that the column is STORED."""
    empty.models(ADDED_AGAIN.format(2, None))
    with warnings.catch_warnings(action="ignore", category=SAWarning):
        empty.migrate()
        empty.ok("upgrade")
    empty.models(ADDED_AGAIN.format(3, None))
    assert "Computed column" not in empty.fails("check")


GENERATED = '    total: Mapped[int | None] = mapped_column(sa.Computed("a * {}", persisted=True))\n'


@pytest.mark.filterwarnings("error")
def test_generated_columns(empty: Models) -> None:
    """Another expression of a generated column is a difference; no script changes it, and `migrate` says how to."""
    box = BOX.format(*BEFORE)
    empty.become(box + GENERATED.format(2))
    for changed in (box + GENERATED.format(3), box + "    total: Mapped[int | None]\n"):
        empty.models(changed)
        assert "differ from the database: modify_default box.total\n" in empty.ok("status")
        empty.fails("check")
        assert "batch_op.drop_column('total')" in empty.fails("migrate")
    empty.models(changed + "    more: Mapped[int | None]\n")
    printed = empty.fails("check")
    assert all(each in printed for each in ("add_column box.more", "batch_op.drop_column('total')", "def downgrade():"))
    script = empty.migrate()
    assert ("more" in script, "total" in script) == (True, False)
