"""Colons, backslashes and percent signs in SQL reach the database as they are written."""

import json
import re
from itertools import product

import pytest
import sqlalchemy as sa

from ..adapters.exact_sql import escaped
from .support import AGREE, PETS, USERS, Models, on_postgresql, on_servers, on_sqlite


def test_escaped() -> None:
    """Every text comes out of text() as it was, without a parameter; one that it does not change is not escaped."""
    for parts in product(["", ":", "\\", "a", " ", "::"], repeat=6):
        sql = "".join(parts)
        compiled = sa.text(escaped(sql)).compile()
        assert (sql, {}) == (str(compiled), compiled.params)
    assert "CAST('1:30' AS x)::text -- a: b" == escaped("CAST('1:30' AS x)::text -- a: b")


MODEL = r"""
class Rate(db.Model):
    __table_args__ = (
        CheckConstraint("kind <> '100%' AND kind <> 'a \\:x' AND kind <> '\\\\:x'", name="kind"),
        Index("ix_rate_part", "kind", postgresql_where=sa.text("kind <> '5% \\:x'")),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), server_default="5% %% :x")
    prefs: Mapped[str] = mapped_column(String(40), server_default=sa.text("'{\"mail\"\\:true, \"p\": \"7%\"}'"))
    quote: Mapped[str] = mapped_column(String(20), server_default="'it''s :x'")
    gen: Mapped[str | None] = mapped_column(String(60), sa.Computed(GENERATED, persisted=True))
"""
GENERATED = {"mysql": r"concat(kind, '% \\:x', '100%%')", "": r"kind || '% \\:x' || '100%%'"}
RATES = "SELECT kind, prefs, quote, gen FROM rate ORDER BY id"
RATE = ("5% %% :x", '{"mail":true, "p": "7%"}', "'it''s :x'", "5% %% :x% :x100%%")


def rate(backend: str, model: str = MODEL) -> str:
    """Return the model, for a backend."""
    generated = GENERATED.get(backend, GENERATED[""])
    return f'\nGENERATED = "{generated}"\n{model}'


def test_scripts(pets: Models, backend: str) -> None:
    """A script gives the database exactly the SQL of the model."""
    pets.models(USERS, PETS, rate(backend))
    script = pets.migrate()
    assert "%%%" not in script
    number = iter(range(1, 9))

    def see() -> None:
        pets.execute("DELETE FROM rate", f"INSERT INTO rate (id) VALUES ({next(number)})")
        assert [RATE] == pets.rows(RATES)
        for kind in ("100%", "a :x", ":x" if backend == "mysql" else "\\:x"):
            with pytest.raises(sa.exc.DBAPIError), pets.engine.begin() as connection:
                connection.execute(sa.text("UPDATE rate SET kind = :kind"), {"kind": kind})
        if backend == "postgresql":
            (index,) = [each for each in sa.inspect(pets.engine).get_indexes("rate") if each["name"] == "ix_rate_part"]
            assert "'5% :x'" in str(index["dialect_options"]["postgresql_where"])

    pets.there_and_back(see)


@on_postgresql
def test_expressions_of_indexes(pets: Models) -> None:
    """`check` finds no difference in an index on an expression with a colon, and a downgrade creates the same index."""
    colon = """Index("ix_colon", sa.text(r"(lower(name) || ' \\:x')"), sa.text("id DESC"))"""
    function = 'Index("ix_function", sa.func.replace(sa.text("name"), ":x", "50%"))'
    pets.models(USERS, PETS.replace('"name", "age"))', f'"name", "age"), {colon}, {function})'))
    pets.migrate()
    pets.there_and_back()
    pets.models(USERS, PETS)
    assert "' :x'" in pets.migrate()
    pets.there_and_back()


def test_scripts_of_changes(pets: Models, backend: str) -> None:
    """What a script says of a column, CHECK or index in the database is exactly what it is there."""
    pets.become(USERS, PETS, rate(backend))
    nullable = MODEL.replace("prefs: Mapped[str] =", "prefs: Mapped[str | None] =")
    nullable = nullable.replace("kind: Mapped[str] =", "kind: Mapped[str | None] =")
    pets.models(USERS, PETS, rate(backend, nullable))
    pets.migrate()

    def see() -> None:
        pets.execute("DELETE FROM rate", "INSERT INTO rate (id) VALUES (1)")
        assert [RATE] == pets.rows(RATES)

    pets.there_and_back(see)
    head = pets.rows("SELECT version_num FROM alembic_version")[0][0]
    gone = re.sub(r"    (__table_args__ = \((.|\n)*?\n    \)|prefs|quote|gen).*\n", "", MODEL)
    pets.models(USERS, PETS, gone)
    pets.migrate()
    pets.there_and_back()
    pets.ok("downgrade", head)
    see()
    with pytest.raises(sa.exc.DBAPIError):
        pets.execute(r"UPDATE rate SET kind = 'a \:x'")
    pets.ok("upgrade")
    pets.models(USERS, PETS)
    pets.migrate("drop=rate")
    pets.there_and_back()


LEVEL = """
class Level(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    level: Mapped[str] = mapped_column(sa.Enum(*{values!r}, name="grade"), server_default="5% :x")
"""


@on_servers
def test_enums(pets: Models) -> None:
    """The values of an enum, and those that are added to it, are exactly those of the model."""
    values: tuple[str, ...] = ("5% :x", ":y")
    for more in ((), ("100%", ":z")):
        values += more
        pets.become(USERS, PETS, LEVEL.format(values=values))
        assert AGREE in pets.ok("check")
    for value in values[1:]:
        with pets.engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO level (level) VALUES (:value)"), {"value": value})
    pets.execute("INSERT INTO level (id) VALUES (9)")
    assert [(value,) for value in [*values[1:], values[0]]] == pets.rows("SELECT level FROM level ORDER BY id")


def test_given_default(pets: Models) -> None:
    """A value for existing rows remains the default, exactly, whatever changes later, also if the column is dropped."""
    with_prefs = PETS.replace("\n\n\nclass Toy", "\n    prefs: Mapped[Any] = mapped_column(JSON)\n\n\nclass Toy")

    def see() -> None:
        pets.execute("DELETE FROM pet WHERE id = 9", "INSERT INTO pet (id, name, age) VALUES (9, 'new', 1)")
        for (prefs,) in pets.rows("SELECT prefs FROM pet"):
            assert {"mail": True, "p": "7%"} == (json.loads(prefs) if isinstance(prefs, str) else prefs)

    pets.models(USERS, with_prefs)
    pets.migrate('default=pet.prefs:{"mail":true, "p":"7%"}')
    pets.ok("upgrade")
    see()
    pets.become(USERS, with_prefs.replace("String(40), index", "String(60), index"))
    see()
    head = pets.rows("SELECT version_num FROM alembic_version")[0][0]
    pets.models(USERS, PETS.replace("String(40), index", "String(60), index"))
    assert '{"mail"\\\\:true, "p"' in pets.migrate()
    pets.ok("upgrade")
    pets.ok("downgrade", head)


def test_lines_of_generated_columns(pets: Models, backend: str) -> None:
    """The lines for a generated column that differs have exactly the expressions of the database and of the model."""
    pets.become(USERS, PETS, rate(backend))
    pets.models(USERS, PETS, rate(backend).replace("100%%", "101%%"))
    lines = pets.fails("migrate")
    assert (2, 1, 1) == (lines.count("'% \\\\:x'"), lines.count("'101%%'"), lines.count("'100%%'"))


def test_on_stock(pets: Models, backend: str) -> None:
    """The damage: stock writes NULL for a colon, doubles each %, and strips a text of its quotes, without an error."""
    pets.models(USERS, PETS, rate(backend))
    pets.make_stock()
    for command in ("migrate", "upgrade"):
        pets.ok(command)
    pets.execute("INSERT INTO rate (kind) VALUES ('a \\:x')")  # the CHECK of the model rejects it
    percent = "%" if backend == "sqlite" else "%%"
    damaged = ("a :x", f'{{"mail"NULL, "p": "7{percent}"}}', "it''s :x", f"a :x{percent} NULL100{percent * 2}")
    assert [damaged] == pets.rows(RATES)


@on_sqlite
def test_colons_without_a_backslash(pets: Models) -> None:
    """A colon that SQLAlchemy takes for a parameter stands in the script as written, and is reported."""
    pets.models(USERS, PETS, rate("sqlite", MODEL.replace("\\\\", "")))
    message = "SQLAlchemy takes :{} in the SQL of {} for a parameter, and db.create_all() writes NULL."
    said = pets.ok("migrate")
    found = ("true", "rate.prefs"), ("x", "ck_rate_kind"), ("x", "ix_rate_part")
    assert [True] * 3 == [message.format(*each) in said for each in found], said
    pets.ok("upgrade")
    pets.execute("INSERT INTO rate (id) VALUES (1)")
    assert [RATE] == pets.rows(RATES)
